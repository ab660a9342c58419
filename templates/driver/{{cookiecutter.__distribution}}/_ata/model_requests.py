"""The command a drive has under way: BSY, blocks through the data port, the bus master's table, its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE
from ddsdk.errors import HardwareFault
from ddsdk.sim.ata_drive import AtaCommand, AtaDrive, AtaResult, Taskfile
from ddsdk.sim.ata_taskfile import BSY, DF, DRDY, DRQ, DSC, ERR, Protocol

from .frames import LAST, REGION_BYTES, Prd
from .regs import BmCommand, BmStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from .model import {{cookiecutter.__Name}}Model

_READY: Final = DRDY | DSC
_NOTHING: Final = 0xFFFF
_PRD = Prd.on(WIRE_LE)


class Commands:
    """At most one command at a time.  `waiting`: the drive is ready for DMA, and the bus master has not begun."""

    def __init__(self, model: {{cookiecutter.__Name}}Model) -> None:
        self._model = model
        self.forget()
        self._ended = 0

    def forget(self) -> None:
        """A reset."""
        self._drive: AtaDrive | None = None
        self._command: AtaCommand | None = None
        self._last: AtaResult | None = None     # how a read ends, once its last block is taken
        self._block = bytearray()
        self._at = 0
        self._dma = 0                           # which run of the bus master counts
        self.waiting = False

    def take(self, drive: AtaDrive, taskfile: Taskfile) -> None:
        """COMMAND was written: BSY shows in a moment."""
        model = self._model
        self.forget()
        self._drive, self._command = drive, drive.begin(taskfile)
        model.later(model.timing.busy_ns, self._busy, self._command)

    def _busy(self, command: AtaCommand) -> None:
        model = self._model
        model.status = BSY
        if model.strikes("firmware-fault") is not None or model.strikes("command-hung") is not None:
            return
        if model.strikes("irq-spurious") is not None:
            model.interrupt()
        if self._ended and model.strikes("irq-stale") is not None:
            model.interrupt()
        model.later(command.service_ns, self._ready, command)

    def _ready(self, command: AtaCommand) -> None:
        """BSY falls: over, or time for data."""
        if command.result is not None and command.result.hang:
            return
        if command.result is not None or command.protocol is Protocol.NON_DATA:
            self._end(command.result or command.move())
        elif command.protocol is Protocol.PIO_IN:
            self._next_block(command)
        elif command.protocol is Protocol.PIO_OUT:
            self._offer(command)
        else:
            self._model.status, self.waiting = _READY | DRQ, True
            self.run_dma()

    # -- its end ---------------------------------------------------------------------------------------------

    def _end(self, result: AtaResult | None, interrupt: bool = True) -> None:
        assert result is not None
        model = self._model
        if model.strikes("completion-lost") is not None:
            model.status = BSY
            return
        struck = model.strikes("completion-late")
        if struck is None:
            self._ends(result, interrupt)
        else:
            model.status = BSY
            model.later(struck.get("ns", model.timing.late_ns), self._ends, result, True)

    def _ends(self, result: AtaResult, interrupt: bool) -> None:
        model = self._model
        stuck = DRQ if model.strikes("drq-stuck") is not None else 0
        model.status, model.error, self._command = result.status | stuck, result.error, None
        model.show(result.taskfile)
        self._ended += 1
        if interrupt and model.strikes("irq-lost") is None:
            model.interrupt()
        if model.strikes("irq-twice") is not None:
            model.later(model.timing.again_ns, model.interrupt)

    # -- programmed I/O --------------------------------------------------------------------------------------

    def _new_block(self, command: AtaCommand) -> None:
        self._block, self._at = bytearray(min(command.block_bytes, command.nbytes - command.moved)), 0

    def _next_block(self, command: AtaCommand) -> None:
        """Of a read."""
        self._new_block(command)
        self._last = command.move([memoryview(self._block)])
        if self._last is not None and self._last.status & (ERR | DF):
            self._end(self._last)
            return
        self._model.status = _READY | DRQ
        self._model.interrupt()

    def _offer(self, command: AtaCommand, interrupt: bool = False) -> None:
        """Room for a block of a write."""
        self._new_block(command)
        self._model.status = _READY | DRQ
        if interrupt:
            self._model.interrupt()

    def read_word(self) -> int:
        """DATA is read."""
        command = self._command
        if not self._model.status & DRQ or command is None or command.protocol is not Protocol.PIO_IN:
            return _NOTHING
        word = int.from_bytes(self._block[self._at:self._at + 2], "little")
        self._at += 2
        if self._at >= len(self._block):
            if self._last is not None:
                self._end(self._last, interrupt=False)
            else:
                self._over_the_cable(self._next_block, command)
        return word

    def write_word(self, word: int) -> None:
        """DATA is written."""
        command = self._command
        if not self._model.status & DRQ or command is None or command.protocol is not Protocol.PIO_OUT:
            return
        self._block[self._at:self._at + 2] = word.to_bytes(2, "little")
        self._at += 2
        if self._at >= len(self._block):
            self._over_the_cable(self._taken, command)

    def _over_the_cable(self, then: Callable[[AtaCommand], None], command: AtaCommand) -> None:
        assert self._drive is not None
        self._model.status = BSY
        self._model.later(self._drive.timing.data_ns(len(self._block)), then, command)

    def _taken(self, command: AtaCommand) -> None:
        result = command.move([memoryview(self._block)])
        if result is None:
            self._offer(command, interrupt=True)
        else:
            self._end(result)

    # -- the bus master --------------------------------------------------------------------------------------

    def run_dma(self) -> None:
        """Begin once drive and bus master are both ready."""
        model, command, drive = self._model, self._command, self._drive
        if not self.waiting or command is None or drive is None or not model.values["BM_STATUS"] & BmStatus.ACTIVE.mask:
            return
        self.waiting = False
        if model.strikes("dma-error") is not None:
            model.values["BM_STATUS"] |= BmStatus.ERROR.mask
            model.values["BM_STATUS"] &= ~BmStatus.ACTIVE.mask
            model.interrupt()
            return
        if BmCommand(model.values["BM_COMMAND"]).READ is command.protocol.to_device:
            raise HardwareFault(f"BM_COMMAND.READ does not go with command {command.taskfile.command:#04x}")
        model.later(drive.timing.data_ns(command.nbytes), self._dma_done, command, self._dma)

    def stop_dma(self) -> None:
        """The bus master stopped; a drive in the middle of its data waits for ever."""
        self._dma += 1

    def _dma_done(self, command: AtaCommand, run: int) -> None:
        if run != self._dma:
            return
        model, views, left, room = self._model, list[memoryview](), command.nbytes, 0
        for address, count in self._table():
            room += count
            take = min(count, left)
            if take:
                views += model.dma.view(address, take, command.protocol.to_device)
            left -= take
        result = command.move(views)
        if room <= command.moved:
            model.values["BM_STATUS"] &= ~BmStatus.ACTIVE.mask
        if result is not None:                  # else the table is too short: the drive still wants data
            self._end(result)

    def _table(self) -> list[tuple[int, int]]:
        """The regions of memory the table names, checked."""
        found, at = list[tuple[int, int]](), self._model.values["PRD_TABLE"]
        while True:
            entry = _PRD.unpack(self._model.dma.read(at, _PRD.size))
            count = entry.COUNT or REGION_BYTES
            if (entry.ADDRESS | count) & 1 or entry.ADDRESS % REGION_BYTES + count > REGION_BYTES:
                raise HardwareFault(f"table entry at {at:#x}: {count} bytes at {entry.ADDRESS:#x}; both must be even,"
                                    " and no region crosses a multiple of 64 KiB")
            if entry.FLAGS & ~LAST:
                raise HardwareFault(f"table entry at {at:#x}: FLAGS {entry.FLAGS:#06x}, only bit 15 may be set")
            found.append((entry.ADDRESS, count))
            if entry.FLAGS & LAST:
                return found
            at += _PRD.size
