"""The toy IDE interface: what the registers do, with AtaDrives behind them.

States: idle; BSY (a command, a block or DMA under way, or SRST); DRQ (a block waits for the CPU).
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import unpack
from typing import Any, Final

from ddsdk.regs import Reg8, Reg16, Reg32
from ddsdk.sim.ata_drive import AtaCommand, AtaDrive, AtaResult, Taskfile
from ddsdk.sim.ata_taskfile import BSY, DRDY, DRQ, DSC, ERR, Protocol
from ddsdk.sim.machine import Machine
from ddsdk.sim.model import HwModel
from ddsdk.sim.pci import BarSpec, SimPciFunction

from .toy_regs import BmCommand, BmStatus, ToyRegs

READY: Final = DRDY | DSC
NIEN, SRST, HOB = 0x02, 0x04, 0x80
FIFOS: Final = ("FEATURE", "NSECTOR", "LBAL", "LBAM", "LBAH")


class ToyIde(HwModel):
    """One channel with up to two drives, by unit."""

    regs = ToyRegs
    FAULTS = {"dma-error": "the bus master reports a PCI error, nothing moves",
              "interrupt-lost": "a command ends, and no interrupt says so",
              "drq-stuck": "a command ends with DRQ left over"}

    def __init__(self, drives: Mapping[int, AtaDrive]) -> None:
        self.drives = drives
        super().__init__()

    def reset(self) -> None:
        """Power on."""
        super().reset()
        self.fifo = {name: [0, 0] for name in FIFOS}
        self.status, self.error, self.device, self.control = READY, 0x01, 0, 0
        self.command: AtaCommand | None = None
        self.waiting = False                    # DMA: the drive is ready, the bus master was not started
        self.buffer = bytearray()
        self.at = 0
        self.last: AtaResult | None = None      # PIO in: how it ended, once the block is taken

    # -- the command block -----------------------------------------------------------------------------

    def _push(self, name: str, value: int) -> None:
        if not self.status & (BSY | DRQ):
            self.fifo[name] = [self.fifo[name][1], int(value)]
            self.control &= ~HOB

    def _pull(self, name: str) -> int:
        return self.fifo[name][0 if self.control & HOB else 1] if self._drive is not None else 0

    def w_FEATURE(self, value: Reg8) -> None:
        self._push("FEATURE", value)

    def w_NSECTOR(self, value: Reg8) -> None:
        self._push("NSECTOR", value)

    def w_LBAL(self, value: Reg8) -> None:
        self._push("LBAL", value)

    def w_LBAM(self, value: Reg8) -> None:
        self._push("LBAM", value)

    def w_LBAH(self, value: Reg8) -> None:
        self._push("LBAH", value)

    def r_NSECTOR(self) -> int:
        return self._pull("NSECTOR")

    def r_LBAL(self) -> int:
        return self._pull("LBAL")

    def r_LBAM(self) -> int:
        return self._pull("LBAM")

    def r_LBAH(self) -> int:
        return self._pull("LBAH")

    def r_DEVICE(self) -> int:
        return self.device

    def w_DEVICE(self, value: Reg8) -> None:
        self.device = int(value)

    def r_ERROR(self) -> int:
        return self.error

    @property
    def _drive(self) -> AtaDrive | None:
        return self.drives.get(self.device >> 4 & 1)

    def r_ALTSTATUS(self) -> int:
        return self.status if self._drive is not None else 0x00

    def r_STATUS(self) -> int:
        self.irq.lower()
        return self.r_ALTSTATUS()

    def w_COMMAND(self, value: Reg8) -> None:
        drive = self._drive
        if drive is None or self.status & (BSY | DRQ):
            return
        low = [self.fifo[name][1] for name in FIFOS]
        high = [self.fifo[name][0] for name in FIFOS]
        command = drive.begin(Taskfile(int(value), *low, self.device, *high))
        self.command, self.status, self.waiting, self.last = command, BSY, False, None
        self.clock.after_ns(command.service_ns, self._ready, command)

    def w_CONTROL(self, value: Reg8) -> None:
        before, self.control = self.control, int(value)
        if self.control & SRST:
            self._drop()
            self.status = BSY
        elif before & SRST:
            took = max((drive.timing.reset_ns for drive in self.drives.values()), default=0)
            self.clock.after_ns(took, self._reset_done)

    def _drop(self) -> None:
        self.command, self.waiting = None, False
        self.values["BM_STATUS"] &= ~BmStatus.ACTIVE.mask
        self.irq.lower()

    def _reset_done(self) -> None:
        results = [drive.reset() for drive in self.drives.values()]
        if results:
            self.status, self.error = results[0].status, results[0].error
            self._show(results[0].taskfile)

    # -- a command under way ---------------------------------------------------------------------------

    def _ready(self, command: AtaCommand) -> None:
        """BSY falls: over, or time for data."""
        if command is not self.command or (command.result is not None and command.result.hang):
            return
        if command.result is not None or command.protocol is Protocol.NON_DATA:
            self._end(command.result or command.move())
        elif command.protocol is Protocol.PIO_IN:
            self._next_block(command)
        elif command.protocol is Protocol.PIO_OUT:
            self._offer(command, interrupt=False)
        else:
            self.status, self.waiting = READY | DRQ, True
            self._run_dma()

    def _end(self, result: AtaResult | None, interrupt: bool = True) -> None:
        assert result is not None
        stuck = DRQ if self.faults.hit("drq-stuck") is not None else 0
        self.status, self.error, self.command = result.status | stuck, result.error, None
        self._show(result.taskfile)
        if interrupt and self.faults.hit("interrupt-lost") is None:
            self._interrupt()

    def _show(self, tf: Taskfile) -> None:
        self.fifo["NSECTOR"] = [tf.hob_nsector, tf.nsector]
        for name in ("lbal", "lbam", "lbah"):
            self.fifo[name.upper()] = [getattr(tf, f"hob_{name}"), getattr(tf, name)]
        self.device = self.device & 0xF0 | tf.device & 0x0F

    def _interrupt(self) -> None:
        if not self.control & NIEN:
            self.values["BM_STATUS"] |= BmStatus.INTR.mask
            self.irq.raise_()

    # -- programmed I/O --------------------------------------------------------------------------------

    def _next_block(self, command: AtaCommand) -> None:
        self.buffer, self.at = bytearray(min(command.block_bytes, command.nbytes - command.moved)), 0
        self.last = command.move([memoryview(self.buffer)])
        if self.last is not None and self.last.status & (ERR | 0x20):
            self._end(self.last)
            return
        self.status = READY | DRQ
        self._interrupt()

    def r_DATA(self) -> int:
        command = self.command
        if not self.status & DRQ or command is None or command.protocol is not Protocol.PIO_IN:
            return 0xFFFF
        word = int.from_bytes(self.buffer[self.at:self.at + 2], "little")
        self.at += 2
        if self.at >= len(self.buffer):
            if self.last is not None:
                self._end(self.last, interrupt=False)
            else:
                self.status = BSY
                self.clock.after_ns(self._cable_ns(), self._again, command)
        return word

    def _cable_ns(self) -> int:
        drive = self._drive
        return drive.timing.data_ns(len(self.buffer)) if drive is not None else 0

    def _again(self, command: AtaCommand) -> None:
        if command is self.command:
            self._next_block(command)

    def _offer(self, command: AtaCommand, interrupt: bool) -> None:
        self.buffer, self.at = bytearray(min(command.block_bytes, command.nbytes - command.moved)), 0
        self.status = READY | DRQ
        if interrupt:
            self._interrupt()

    def w_DATA(self, value: Reg16) -> None:
        command = self.command
        if not self.status & DRQ or command is None or command.protocol is not Protocol.PIO_OUT:
            return
        self.buffer[self.at:self.at + 2] = int(value).to_bytes(2, "little")
        self.at += 2
        if self.at >= len(self.buffer):
            self.status = BSY
            self.clock.after_ns(self._cable_ns(), self._taken, command)

    def _taken(self, command: AtaCommand) -> None:
        if command is not self.command:
            return
        result = command.move([memoryview(self.buffer)])
        if result is not None:
            self._end(result)
        else:
            self._offer(command, interrupt=True)

    # -- the bus master --------------------------------------------------------------------------------

    def w_BM_COMMAND(self, value: BmCommand) -> None:
        self.store("BM_COMMAND", int(value))
        if value.START:
            self.values["BM_STATUS"] |= BmStatus.ACTIVE.mask
            self._run_dma()
        else:
            self.values["BM_STATUS"] &= ~BmStatus.ACTIVE.mask

    def _run_dma(self) -> None:
        command = self.command
        if not self.waiting or command is None or not self.values["BM_STATUS"] & BmStatus.ACTIVE.mask:
            return
        self.waiting = False
        if self.faults.hit("dma-error") is not None:
            self.values["BM_STATUS"] |= BmStatus.ERROR.mask | BmStatus.INTR.mask
            self.irq.raise_()
            return
        drive = self._drive
        assert drive is not None
        self.clock.after_ns(drive.timing.data_ns(command.nbytes), self._dma_done, command)

    def _dma_done(self, command: AtaCommand) -> None:
        if command is not self.command:
            return
        to_device = command.protocol.to_device
        views, left = [], command.nbytes
        for bus_addr, length in self._prds():
            take = min(length, left)
            if take:
                views += self.dma.view(bus_addr, take, to_device)
            left -= take
        result = command.move(views)
        self.values["BM_STATUS"] &= ~BmStatus.ACTIVE.mask
        if result is not None:                  # else the table was too short: the drive still wants data
            self._end(result)

    def _prds(self) -> list[tuple[int, int]]:
        found, at = [], self.values["PRD_TABLE"]
        while True:
            bus_addr, count, flags = unpack("<IHH", self.dma.read(at, 8))
            found.append((bus_addr, count or 0x10000))
            if flags & 0x8000:
                return found
            at += 8

    def w_PRD_TABLE(self, value: Reg32) -> None:
        self.values["PRD_TABLE"] = int(value) & ~3


def build(machine: Machine, targets: Mapping[tuple[int, int], Any]) -> SimPciFunction:
    """HardwareModelInfo.build: *targets* are AtaDrives by (channel, unit)."""
    drives = {unit: drive for (channel, unit), drive in targets.items() if channel == 0}
    return SimPciFunction(ToyIde(drives), vendor=0x1234, device=0x1DE0, bars={0: BarSpec("io", 0x10)},
                          class_code=0x010180)
