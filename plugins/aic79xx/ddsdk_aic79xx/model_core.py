"""The chip as the PCI host meets it: the register window.

How the host controls the chip is in model_control.py, what the sequencer does with it in model_sequencer.py, the SCSI
core in model_scsi.py, the bus in model_bus.py.  Stricter than silicon: nothing but the queue and interrupt registers
may be touched while the sequencer runs, an access is one byte wide (HNSCB_QOFF: two), unknown offsets and write-only
registers that are read raise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn

from ddsdk.bus import PciFunction
from ddsdk.errors import RegisterAccessFault
from ddsdk.sim.scsi_target import ScsiTarget

from .model_chips import AIC7901, ChipProfile
from .model_control import SCB_BYTES, ChipControl, RunState
from .model_scratch import SCRATCH_AT, SCRATCH_BYTES
from .regs import CommonRegs, Mode, Scratch

_SCB_AT: Final = SCRATCH_AT + SCRATCH_BYTES
_WINDOW_END: Final = _SCB_AT + SCB_BYTES
_REGISTERS_END: Final = 0x200
_COMMON: Final = frozenset(one.offset + n for one in CommonRegs.registers for n in range(one.size))
#: What may be touched while the sequencer runs.
_ALWAYS: Final = frozenset(range(0x01, 0x10)) | {0x18}
_RESET, _READY, _GONE = RunState.RESET, RunState.READY, RunState.GONE
_CFG: Final = int(Mode.CFG)
_INTSTAT: Final = CommonRegs.INTSTAT.offset
_HCNTRL: Final = CommonRegs.HCNTRL.offset
_HNSCB: Final = CommonRegs.HNSCB_QOFF.offset
_NAMES: Final[Mapping[int, str]] = {one.offset + n: one.name for one in Scratch.registers for n in range(one.size)}


class Window:
    """A BAR that shows part of the register file."""

    def __init__(self, core: AicCore, first: int, size: int) -> None:
        self._core, self._first, self.size = core, first, size

    def read(self, offset: int, size: int) -> int:
        """See `bus.Window.read`."""
        return self._core.read(self._first + offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """See `bus.Window.write`."""
        self._core.write(self._first + offset, size, value)


class AicCore(ChipControl):
    """One PCI function.  *targets* are those of its own bus, by id.  `function`: its configuration space (mode 4)."""

    def __init__(self, profile: ChipProfile = AIC7901, targets: Mapping[int, ScsiTarget] | None = None) -> None:
        self.function: PciFunction | None = None
        super().__init__(profile, targets or {})
        self.windows["low"] = Window(self, 0, 0x100)
        self.windows["high"] = Window(self, 0x100, 0x100)

    # -- the window ------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        """A CPU read; see the module's docstring for what raises."""
        armed = self.faults.armed
        if offset == _INTSTAT and size == 1 and not armed and self.state is _READY:
            if self.trace.on:                               # what a poll reads, kept short
                self.trace.add("read", "INTSTAT", self.intstat)
            return self.intstat
        if self.state is _GONE or ("adapter-gone" in armed and self._struck_gone()):
            return (1 << 8 * size) - 1
        if size != 1 or self.state is _RESET:
            self._check("read", offset, size)
        if offset in _COMMON:
            if not self.stopped and offset not in _ALWAYS:
                self._running("read", offset)
            return super().read(offset, size)
        if not self.stopped:
            self._running("read", offset)
        if offset < SCRATCH_AT:
            return self.banks[self.src].read(offset, size)
        if self.src == _CFG:
            return self._config(offset).config_read(offset - SCRATCH_AT, 1)
        memory, at = self._memory("read", offset, self.src)
        if self.trace.on:
            self.trace.add("read", _NAMES.get(offset, f"scb {offset - _SCB_AT:#x}"), memory[at])
        return memory[at]

    def write(self, offset: int, size: int, value: int) -> None:
        """A CPU write; see the module's docstring for what raises."""
        armed = self.faults.armed
        if self.state is _GONE or (armed and "adapter-gone" in armed and self._struck_gone()):
            return
        if (size != 1 and offset != _HNSCB) or size > 2 or self.state is _RESET:
            self._check("write", offset, size)
        if offset in _COMMON:
            if not self.stopped and offset not in _ALWAYS:
                self._running("write", offset)
            super().write(offset, size, value)
            return
        if not self.stopped:
            self._running("write", offset)
        if offset < SCRATCH_AT:
            self.banks[self.dst].write(offset, size, value)
            return
        if self.dst == _CFG:
            self._config(offset).config_write(offset - SCRATCH_AT, 1, value)
            return
        memory, at = self._memory("write", offset, self.dst)
        if self.trace.on:
            self.trace.add("write", _NAMES.get(offset, f"scb {offset - _SCB_AT:#x}"), value)
        memory[at] = value

    def _struck_gone(self) -> bool:
        if self.faults.hit("adapter-gone") is None:
            return False
        self.vanish()
        return True

    def _memory(self, verb: str, offset: int, mode: int) -> tuple[bytearray, int]:
        """Scratch, or the SCB that this mode's SCBPTR points to."""
        if offset < _SCB_AT:
            return self.scratch, offset - SCRATCH_AT
        if offset < _WINDOW_END:
            return self.slots, self.scbptr(mode) * SCB_BYTES + offset - _SCB_AT
        raise RegisterAccessFault(f"{self.profile.chip.name}: {verb} at {offset:#x}: the register file ends at"
                                  f" {_WINDOW_END:#x} in this mode")

    def _config(self, offset: int) -> PciFunction:
        if self.function is None or offset >= _REGISTERS_END:
            raise RegisterAccessFault(f"{self.profile.chip.name}: {offset:#x} in CFG mode is past the end")
        return self.function

    def _check(self, verb: str, offset: int, size: int) -> None:
        name = self.profile.chip.name
        if size != 1 and not (size == 2 and offset == _HNSCB):
            raise RegisterAccessFault(f"{name}: {size}-byte {verb} at {offset:#x}: the chip takes single bytes, and"
                                      " HNSCB_QOFF as one of 16 bits")
        if self.state is _RESET and offset != _HCNTRL:
            raise RegisterAccessFault(f"{name}: {verb} at {offset:#x} in reset: only HCNTRL answers; wait for"
                                      " CHIPRSTACK, then write HCNTRL without CHIPRST")

    def _running(self, verb: str, offset: int) -> NoReturn:
        raise RegisterAccessFault(f"{self.profile.chip.name}: {verb} at {offset:#x} while the sequencer runs; write"
                                  " HCNTRL.PAUSE and wait until it reads back")
