"""A host that drives the chip register by register: what the vectors' host would do, by hand."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from typing import Any, Final

from attrs import define, field

from ddsdk.bus import PCI_COMMAND, Window
from ddsdk.regs import Placed
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.sim.trace import Trace
from ddsdk_aic79xx.model import AIC7901, AicCore, ChipProfile, build
from ddsdk_aic79xx.model_target import Agreement
from ddsdk_aic79xx.regs import CchanRegs, CfgRegs, CommonRegs, DffRegs, Mode, ModeRegs, Scratch, ScsiRegs
from ddsdk_aic79xx.sequencer import odd_parity

#: Memory of the vectors: elements, scatter lists, the shared block (output queue, reserved element), sense buffers.
POOL, LISTS, SHARED, SENSE = 0x01000000, 0x01100000, 0x01200000, 0x01300000
RESERVED = SHARED + 0x400
MEMORY_BYTES: Final = 36 << 20
DISK_BYTES: Final = 64 << 20
#: The segments of the vectors' READ.
SEGMENTS = ((0x02000E00, 0x200), (0x02345000, 0x1000), (0x02347000, 0x2E00))
TARGET = 3
#: Constants as the loader patches them: prefetch geometry, 8-byte elements, 48 bytes of an SCB.
CONSTANTS = (128, 120, 0x80, 0x7F, 8, 0, 48)
PROGRAM = [odd_parity(0)] + [odd_parity(one) for one in CONSTANTS] + [odd_parity(0)] * 28
PACKETS = Agreement(0x08, 0x3F, 1, 0x03)


@define
class ChipHost:
    """CPU and memory on one side of the bus, the chip on the other."""

    machine: Machine
    function: SimPciFunction
    chip: AicCore
    target: ScsiTarget
    window: Window
    hnscb: int = 0
    limit_ns: int = field(default=2_000_000_000)

    # -- registers ---------------------------------------------------------------------------------

    def r(self, reg: Placed[Any]) -> int:
        """A register, byte by byte."""
        return sum(self.window.read(reg.offset + n, 1) << 8 * n for n in range(reg.size))

    def w(self, reg: Placed[Any], value: int) -> None:
        """A register, byte by byte."""
        for n in range(reg.size):
            self.window.write(reg.offset + n, 1, value >> 8 * n & 0xFF)

    def mode(self, mode: int) -> None:
        """Show the banks of *mode*."""
        self.w(CommonRegs.MODE_PTR, mode | mode << 4)

    def slot(self, tag: int, length: int = 64) -> bytes:
        """What the window shows of an on-chip SCB.  The chip is paused."""
        self.mode(Mode.SCSI)
        self.w(ModeRegs.SCBPTR, tag)
        return bytes(self.window.read(0x180 + n, 1) for n in range(length))

    def poke(self, paddr: int, data: bytes) -> None:
        """Host memory."""
        self.machine.memory.write(paddr, data)

    def peek(self, paddr: int, length: int) -> bytes:
        """Host memory."""
        return self.machine.memory.read(paddr, length)

    # -- time --------------------------------------------------------------------------------------

    def advance(self, us: int) -> None:
        """Let time pass."""
        self.machine.clock.advance(us * 1000)

    def until(self, condition: Callable[[], object]) -> bool:
        """Wait until it holds; false after `limit_ns`."""
        step_ns, waited_ns = 1000, 0
        while not condition():
            if waited_ns > self.limit_ns:
                return False
            self.machine.clock.advance(step_ns)
            waited_ns += step_ns
            step_ns = min(2 * step_ns, 1_000_000)
        return True

    def interrupt(self) -> int:
        """Wait for INTSTAT; what it is."""
        assert self.until(lambda: self.r(CommonRegs.INTSTAT)), "no interrupt"
        return self.r(CommonRegs.INTSTAT)

    def seqint(self) -> int:
        """Wait for SEQINT; its code.  Cleared, the chip is paused."""
        assert self.interrupt() & 0x04
        code = self.r(CommonRegs.SEQINTCODE)
        self.w(CommonRegs.CLRINT, 0x04)
        return code

    # -- bring-up ----------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop the sequencer."""
        self.w(CommonRegs.HCNTRL, 0x04)
        assert self.until(lambda: self.r(CommonRegs.HCNTRL) & 0x04)

    def go(self, mode: int | None = None) -> None:
        """Let it run, *mode* put back first."""
        if mode is not None:
            self.mode(mode)
        self.w(CommonRegs.HCNTRL, 0x00)

    def reset(self) -> None:
        """Chip reset; paused afterwards."""
        self.w(CommonRegs.HCNTRL, 0x01)
        assert self.until(lambda: self.r(CommonRegs.HCNTRL) & 0x01)
        self.w(CommonRegs.HCNTRL, 0x04)

    def download(self, words: list[int] | None = None) -> None:
        """The program, word by word."""
        self.w(CommonRegs.SEQCTL0, 0xB1)
        self.w(CommonRegs.PRGMCNT, 0)
        for word in PROGRAM if words is None else words:
            for n in range(4):
                self.w(CommonRegs.SEQRAM, word >> 8 * n & 0xFF)
        self.w(CommonRegs.SEQCTL0, 0xB0)

    def restart(self) -> None:
        """The program from its beginning."""
        self.w(CommonRegs.SEQCTL0, 0x12)
        self.go()

    def init(self) -> None:
        """Every value that the program and the packet engine go by.  The chip is paused."""
        self.mode(Mode.SCSI)
        for scsi, value in ((ScsiRegs.IOWNID, 7), (ScsiRegs.SXFRCTL1, 0x27), (ScsiRegs.SIMODE1, 0xA4),
                            (ScsiRegs.SCSISEQ1, 0x12)):
            self.w(scsi, value)
        for mode in (Mode.DFF0, Mode.DFF1):
            self.mode(mode)
            self.w(DffRegs.LONGJMP_ADDR, 0x80FF)
        self.mode(Mode.CFG)
        for cfg, value in ((CfgRegs.SIMODE0, 0x0C), (CfgRegs.LQIMODE1, 0xFF), (CfgRegs.LUNPTR, 0x14),
                           (CfgRegs.LUNLEN, 0x0F), (CfgRegs.CMDLENPTR, 0x16), (CfgRegs.FLAGPTR, 0x17),
                           (CfgRegs.CDBLIMIT, 0x7F), (CfgRegs.SCBAUTOPTR, 0x90)):
            self.w(cfg, value)
        self.mode(Mode.CCHAN)
        for byte in (Scratch.SEQ_FLAGS, Scratch.SEQ_FLAGS2, Scratch.LOCAL_HS_MAILBOX):
            self.w(byte, 0)
        for head in (*Scratch.WAITING_SCB_TAILS, Scratch.WAITING_TID_HEAD, Scratch.WAITING_TID_TAIL,
                     Scratch.COMPLETE_SCB_HEAD, Scratch.COMPLETE_DMA_SCB_HEAD):
            self.w(head, 0xFF00)
        for counter in (Scratch.QFREEZE_COUNT, Scratch.CMDS_PENDING):
            self.w(counter, 0)
        for address, place in ((Scratch.SHARED_DATA_ADDR, SHARED), (Scratch.QOUTFIFO_NEXT_ADDR, SHARED),
                               (Scratch.NEXT_QUEUED_SCB_ADDR, RESERVED)):
            self.w(address, place)
        self.w(Scratch.QOUTFIFO_ENTRY_VALID_TAG, 0x80)
        self.w(CchanRegs.QOFF_CTLSTA, 7)
        for offset in (CchanRegs.SNSCB_QOFF, CchanRegs.SDSCB_QOFF):
            self.w(offset, 0)
        self.window.write(CommonRegs.HNSCB_QOFF.offset, 2, 0)
        self.w(CommonRegs.CLRINT, 0xFF)
        self.hnscb = 0

    def bring_up(self) -> None:
        """From power on to a program that waits for commands."""
        self.reset()
        self.init()
        self.download()
        self.restart()

    def agree(self, agreement: Agreement) -> None:
        """Let target and negotiation table know *agreement*, as if it had been negotiated."""
        self.chip.bus.targets[TARGET].agreement = agreement
        self.pause()
        mode = self.r(CommonRegs.MODE_PTR)
        self.mode(Mode.SCSI)
        for reg, value in ((ScsiRegs.NEGOADDR, TARGET), (ScsiRegs.NEGPERIOD, agreement.period),
                           (ScsiRegs.NEGOFFSET, agreement.offset), (ScsiRegs.NEGPPROPTS, agreement.options),
                           (ScsiRegs.NEGCONOPTS, agreement.wide)):
            self.w(reg, value)
        self.w(CommonRegs.MODE_PTR, mode)
        self.go()

    def calm(self) -> None:
        """No unit attention any more."""
        for unit in self.target.units.values():
            unit._attention.clear()

    # -- commands ----------------------------------------------------------------------------------

    def queue(self, scb: bytes, at: int) -> None:
        """An SCB into the element *at*, and HNSCB_QOFF moved on."""
        self.poke(at, scb)
        self.hnscb += 1
        self.window.write(CommonRegs.HNSCB_QOFF.offset, 2, self.hnscb)


Make = Callable[..., ChipHost]


def chip_hosts() -> Iterator[Make]:
    """The body of a fixture: `make(profile=AIC7901, up=True, trace=None)`."""
    machines: list[Machine] = []

    def make(profile: ChipProfile = AIC7901, up: bool = True, trace: Trace | None = None) -> ChipHost:
        machine = Machine(PhysicalMemory.anonymous(MEMORY_BYTES), trace=trace)
        machines.append(machine)
        target = ScsiTarget(Disk(memoryview(mmap.mmap(-1, DISK_BYTES))))
        function = build(machine, {(0, TARGET): target}, profile)
        function.config_write(PCI_COMMAND, 2, 0x7)
        for paddr, size in ((POOL, 0x1000), (LISTS, 0x2000), (SHARED, 0x1000), (SENSE, 0x1000)):
            function.dma_grant(paddr, size)
        function.dma_map(SEGMENTS, False)
        assert isinstance(function.model, AicCore)
        host = ChipHost(machine, function, function.model, target, function.window(1))
        if up:
            host.bring_up()
            host.calm()
        return host

    yield make
    for machine in machines:
        machine.close()
