"""What SCRIPTS see of memory: the host's, by DMA, and the chip's own RAM.

Coherent memory and RAM are looked up as whole pieces and kept as long as they stay what they are: programs, tables,
messages lie there.  All else is asked for access by access.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault

from .model_decode import WINDOW, Run, decode

if TYPE_CHECKING:
    from .model_core import SymChip

_WORDS2: Final = Struct("<II")
_WORD: Final = Struct("<I")
#: First address, address past the end, bytes.
Area = tuple[int, int, memoryview]


class ScriptsMemory:
    """Bytes, words and decoded instructions by bus address.  `refresh()` comes first, each time SCRIPTS go on.

    `runs`: what was decoded last, by address; whether its bytes are still there is for the reader to see.  `kept`:
    small pieces of memory that were asked for, by address << 8 | length.
    """

    def __init__(self, chip: SymChip) -> None:
        self._chip = chip
        self._areas: list[Area] = []
        self.runs: dict[int, Run] = {}
        self.kept: dict[int, memoryview] = {}
        self._revoked = -1
        self._ram = 0                           # bus address of the on-chip RAM

    def started(self) -> None:
        """SCRIPTS are started: BARs may have moved."""
        ram = self._chip.ram_base()
        if ram != self._ram:
            self._ram, self._revoked = ram, -1

    def refresh(self) -> None:
        """Time has passed: the host may have taken memory back."""
        dma = self._chip.dma
        if dma.revoked != self._revoked or not dma.bus_master:
            self._revoked = dma.revoked
            self._areas.clear()
            self.runs.clear()
            self.kept.clear()
        elif dma.trace.on:
            self._areas.clear()
            self.kept.clear()

    def area(self, address: int) -> Area | None:
        """The piece around *address* that can be kept, or None."""
        for area in self._areas:
            if area[0] <= address < area[1]:
                return area
        chip, ram = self._chip, self._ram
        if ram and ram <= address < ram + chip.ram.size:
            area = ram, ram + chip.ram.size, memoryview(chip.ram.bytes)
        else:
            found = chip.dma.coherent(address)
            if found is None:
                return None
            area = found[0], found[0] + len(found[1]), found[1]
        self._areas.append(area)
        return area

    def run_at(self, address: int) -> Run | None:
        """The run at *address*, decoded anew from the bytes that are there; None: nothing there can be kept."""
        area = self.area(address)
        if area is None or address & 3:
            return None
        offset, view = address - area[0], area[2]
        run = decode(type(self._chip), address, bytes(view[offset:offset + WINDOW]))
        if run is not None:
            run.view, run.offset = view, offset
            self.runs[address] = run
        return run

    def keep(self, address: int, length: int, to_device: bool) -> memoryview | None:
        """Those few bytes, for `kept`; None: they are not in one piece, or not to be kept."""
        if self.area(address) is None or self._chip.dma.trace.on:
            views = self.views(address, length, to_device)
            return views[0] if len(views) == 1 else None
        (view,) = self.views(address, length, to_device)
        self.kept[address << 8 | length] = view
        return view

    def views(self, address: int, length: int, to_device: bool) -> list[memoryview]:
        """Bytes to read (*to_device*) or write.  DmaFault where the chip may not."""
        dma = self._chip.dma
        if not dma.trace.on and length > 0:
            for start, end, view in self._areas:
                if start <= address and address + length <= end:
                    return [view[address - start:address - start + length]]
        area = self.area(address) if self._ram else None
        if area is not None and area[0] == self._ram and address + length <= area[1]:
            return [area[2][address - area[0]:address - area[0] + length]]
        return dma.view(address, length, to_device)

    def words2(self, address: int) -> tuple[int, int]:
        """Two words at *address*, an instruction or a table entry."""
        if address & 3:
            raise HardwareFault(f"{type(self._chip).__name__}: SCRIPTS fetch at {address:#x}, not a multiple of 4")
        area = self.area(address)
        if area is None or address + 8 > area[1]:
            return _WORDS2.unpack(b"".join(self.views(address, 8, True)))
        return _WORDS2.unpack_from(area[2], address - area[0])

    def word(self, address: int) -> int:
        """One word at *address*."""
        (value,) = _WORD.unpack(b"".join(self.views(address, 4, True)))
        return int(value)
