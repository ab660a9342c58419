"""Data phases: the S/G list as the chip walks it, host memory as the target sees it, residuals.

hw-aic7xxx.md 5.1, 5.2 and 7 item 8.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.scsi_unit import ScatterData

from .frames import (
    SCB_DATAPTR,
    SG_BYTES,
    SG_FULL_RESID,
    SG_HIGH_MASK,
    SG_HIGH_SHIFT,
    SG_LAST,
    SG_LEN_MASK,
    SG_LIST_NULL,
    SG_PTR_MASK,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddsdk.sim.dma import DmaDomain

_POINTERS: Final = Struct("<3I")
_ELEMENT: Final = Struct("<2I")
_RESIDUAL: Final = Struct("<2I")
#: Elements beyond which a list has no end.
_LONGEST: Final = 4096


class SgList(ScatterData):
    """The rest of an SCB's list, from its data pointers on; the host's side of a data phase (`DataPhase`).

    `elements`: (address, length, second half of the element).  `base` is where the element after the first one is.
    """

    to_device: bool | None = None           # the chip learns it from the bus phase

    def __init__(self, slot: bytearray, dma: DmaDomain, chunk: int, reach: int) -> None:
        dataptr, datacnt, sgptr = _POINTERS.unpack_from(slot, SCB_DATAPTR)
        self._dma = dma
        self._reach = reach
        self.elements: list[tuple[int, int, int]] = []
        self.base = sgptr & SG_PTR_MASK
        self.length = 0
        if sgptr & SG_LIST_NULL:
            return
        self._add(dataptr, datacnt)
        if not datacnt & SG_LAST:
            self._fetch(chunk)

    def _add(self, address: int, half: int) -> None:
        length = half & SG_LEN_MASK
        if not length:
            raise HardwareFault(f"S/G element {len(self.elements)} at {address:#x} has no length")
        address |= (half & SG_HIGH_MASK) >> SG_HIGH_SHIFT << 32
        if address >> 32 != address + length - 1 >> 32:
            raise HardwareFault(f"S/G element {len(self.elements)}: {length} bytes at {address:#x} cross 4 GiB; the"
                                " upper address bits do not count on")
        if address >= self._reach:
            raise HardwareFault(f"S/G element {len(self.elements)} at {address:#x}: the chip does dual address cycles"
                                " only with DEVCONFIG.DACEN set")
        self.elements.append((address, length, half))
        self.length += length

    def _fetch(self, chunk: int) -> None:
        """Elements come in aligned pieces of *chunk* bytes, whatever of them is used."""
        at = self.base
        while len(self.elements) < _LONGEST:
            piece = at & -chunk
            data = self._dma.read(piece, chunk)
            for offset in range(at - piece, chunk, SG_BYTES):
                address, half = _ELEMENT.unpack_from(data, offset)
                self._add(address, half)
                if half & SG_LAST:
                    return
            at = piece + chunk
        raise HardwareFault(f"the S/G list at {self.base:#x} has more than {_LONGEST} elements and no last one")

    # -- DataPhase ---------------------------------------------------------------------------------

    def _views(self, n: int, to_device: bool) -> list[memoryview]:
        view: Callable[[int, int, bool], list[memoryview]] = self._dma.view
        views: list[memoryview] = []
        for address, length, _ in self.elements:
            if n <= 0:
                break
            views += view(address, min(n, length), to_device)
            n -= length
        return views

    # -- where it stopped --------------------------------------------------------------------------

    def position(self, moved: int) -> tuple[int, int]:
        """RESIDUAL_DATACNT and RESIDUAL_SGPTR after *moved* bytes: the pointer is one past the element under way."""
        for number, (_, length, half) in enumerate(self.elements):
            if moved < length:
                return half & ~SG_LEN_MASK | length - moved, self.base + number * SG_BYTES
            moved -= length
        return 0, self.base | SG_LIST_NULL

    def remap(self, done: int, address: int, count: int) -> None:
        """After *done* bytes the host set the DMA engine to *count* bytes at *address*; HardwareFault if not right.

        The list goes on behind the element that was under way.
        """
        number = 0
        while done >= self.elements[number][1]:
            done -= self.elements[number][1]
            number += 1
        start, length, half = self.elements[number]
        first = [(start, done, half)] if done else []
        self.elements[number:number + 1] = [*first, (address, count, half)]
        if count != length - done:
            raise HardwareFault(f"HCNT {count:#x} where {length - done:#x} bytes of the element are left")


def put_residual(slot: bytearray, sg: SgList, moved: int) -> None:
    """A data phase is over: residual fields, and FULL_RESID is no more."""
    _RESIDUAL.pack_into(slot, 0, *sg.position(moved))
    slot[SCB_DATAPTR + 8] &= ~SG_FULL_RESID


def save_pointers(slot: bytearray, sg: SgList, moved: int) -> None:
    """SAVE DATA POINTER: data pointers and S/G pointer are where the residual is."""
    datacnt, sgptr = sg.position(moved)
    if sgptr & SG_LIST_NULL:
        return                              # all of it moved: nothing will ask for the pointers
    number = (sgptr - sg.base) // SG_BYTES
    address, length, _ = sg.elements[number]
    address += length - (datacnt & SG_LEN_MASK)
    _POINTERS.pack_into(slot, SCB_DATAPTR, address & 0xFFFFFFFF, datacnt, sgptr)
