"""The data engine: a command's scatter list, fetched by DMA from host memory, and what of it did not move."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.scsi_unit import ScatterData

from .frames import SG_HIGH_ADDR_MASK, SG_HIGH_ADDR_SHIFT, SG_LAST_SEG, SG_LEN_MASK, SG_PTR_MASK, SgFlag

if TYPE_CHECKING:
    from .model_control import ChipControl

_DATA: Final = Struct("<QII")           # dataptr, datacnt, sgptr at 18 of the SCB
_DATA_AT, _SGPTR_AT = 0x18, 0x24
_RESID: Final = Struct("<II")
_ELEMENT: Final = Struct("<II")
_ELEMENT64: Final = Struct("<QII")
#: Bytes of the list that one prefetch brings.
_PREFETCH: Final = 128
#: A list that has no end within so many elements has none.
_RUNAWAY: Final = 4096


class DataPhase(ScatterData):
    """The data phase of one command, as the target sees it (`sim.scsi_unit.DataPhase`).

    The chip learns the direction from the target, so `to_device` is None.  `length`: bytes of the list.
    """

    to_device: bool | None = None

    def __init__(self, chip: ChipControl, slot: memoryview) -> None:
        self._view = chip.dma.view
        self._slot = slot
        address, count, self._sgptr = _DATA.unpack_from(slot, _DATA_AT)
        #: (bus address, bytes, the element's length word)
        self._elements: list[tuple[int, int, int]] = []
        self._size = 8
        if not self._sgptr & SgFlag.LIST_NULL:
            self._size = chip.constant("SG_SIZEOF")
            self._elements.append((address, count & SG_LEN_MASK, count))        # dataptr is whole, in every mode
            if not count & SG_LAST_SEG:
                self._walk(chip)
        self.length = sum([size for _, size, _ in self._elements])

    def _walk(self, chip: ChipControl) -> None:
        at = self._sgptr & SG_PTR_MASK
        while len(self._elements) < _RUNAWAY:
            room = _PREFETCH - at % _PREFETCH
            chunk = chip.dma.read(at, room)
            for offset in range(0, room, self._size):
                if self._size == 8:
                    address, word = _ELEMENT.unpack_from(chunk, offset)
                    address |= (word >> SG_HIGH_ADDR_SHIFT & SG_HIGH_ADDR_MASK) << 32
                else:
                    address, word, _ = _ELEMENT64.unpack_from(chunk, offset)
                self._elements.append((address, word & SG_LEN_MASK, word))
                if word & SG_LAST_SEG:
                    return
            at += room
        raise HardwareFault(f"the scatter list at {self._sgptr & SG_PTR_MASK:#x} has no last element")

    # -- what the target calls -------------------------------------------------------------------------

    def _views(self, n: int, to_device: bool) -> list[memoryview]:
        views: list[memoryview] = []
        for address, size, _ in self._elements:
            if n <= 0:
                break
            part = min(n, size)
            views += self._view(address, part, to_device)
            n -= part
        return views

    # -- what is left ----------------------------------------------------------------------------------

    def note(self, moved: int, *, overrun: bool = False) -> bool:
        """Put the residual into the SCB; whether there is any.  Without a data phase FULL_RESID stays as it was."""
        slot = self._slot
        if self._sgptr & SgFlag.LIST_NULL or (not moved and not overrun):
            return bool(self.length)
        slot[_SGPTR_AT] &= ~int(SgFlag.FULL_RESID) & 0xFF       # of the flag itself the rest of the byte is no part
        if moved == self.length:
            flag = SgFlag.OVERRUN_RESID if overrun else SgFlag.LIST_NULL
            _RESID.pack_into(slot, 0, 0, int(flag))
            return overrun
        _RESID.pack_into(slot, 0, *self.pointers(moved))
        return True

    def pointers(self, moved: int) -> tuple[int, int]:
        """(residual count, residual S/G pointer) once *moved* bytes, fewer than all, are over."""
        first = self._sgptr & SG_PTR_MASK
        for number, (_, size, word) in enumerate(self._elements):
            if moved < size:
                return (word & ~SG_LEN_MASK) | (size - moved), first + number * self._size
            moved -= size
        raise AssertionError("all of it has moved")

    def place(self, moved: int) -> tuple[int, int]:
        """(bus address, bytes left in its element) where the transfer goes on."""
        for address, size, _ in self._elements:
            if moved < size:
                return address + moved, size - moved
            moved -= size
        raise AssertionError("all of it has moved")
