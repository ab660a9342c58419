"""The five banks behind MODE_PTR: each has registers of its own, the SCSI core shows in three of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault
from ddsdk.regs import Reg
from ddsdk.sim.model import ALL_LANES, HwModel

from .regs import CchanRegs, CfgRegs, DfCntrl, DffRegs, DffStat, DffSxfrCtl, ModeRegs, ScsiRegs
from .sequencer import INVALID_ADDR, QOFF_MASK

if TYPE_CHECKING:
    from .model_control import ChipControl

_NEG_FIELDS: Final = ("NEGPERIOD", "NEGOFFSET", "NEGPPROPTS", "NEGCONOPTS")
_GSFIFO: Final = ScsiRegs.GSFIFO.offset
_SNSCB, _SDSCB = CchanRegs.SNSCB_QOFF.offset, CchanRegs.SDSCB_QOFF.offset
_SCBPTR_SHIFTS: Final = {ModeRegs.SCBPTR.offset: 0, ModeRegs.SCBPTR.offset + 1: 8}
_TRANSFER: Final = DfCntrl.SCSIEN.mask | DfCntrl.HDMAEN.mask


class _Bank(HwModel):
    """One bank of one chip."""

    chip: ChipControl

    #: Offset of the byte that is being read: some counters move with one of their bytes.
    reading = 0

    def __init__(self, chip: ChipControl) -> None:
        self.chip = chip
        super().__init__()

    def read(self, offset: int, size: int) -> int:
        """See `HwModel.read`."""
        self.reading = offset
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """See `HwModel.write`; the SCB pointer, which is written all the time, without its detours."""
        if size == 1 and offset in _SCBPTR_SHIFTS and "SCBPTR" in self.values:
            shift = _SCBPTR_SHIFTS[offset]
            self.values["SCBPTR"] = self.values["SCBPTR"] & ~(0xFF << shift) | value << shift
            if self.trace.on:
                self.trace.add("write", "SCBPTR", value)
        else:
            super().write(offset, size, value)

    def merged(self, old: int, value: int) -> int:
        """*value* where the write carried it, *old* elsewhere."""
        return value if self.lanes == ALL_LANES else old & ~self.lanes | value & self.lanes


class _ScsiCoreBank(_Bank):
    """What modes 0, 1 and 3 show of the SCSI core."""

    def w_LQCTL2(self, value: int) -> None:
        """Commands for the input and output managers."""
        self.chip.scsi.lqctl2 = int(value)
        self.values["LQCTL2"] = int(value)

    def r_SCSISEQ0(self) -> int:
        """Selection and RST."""
        return self.chip.scsi.seq0

    def w_SCSISEQ0(self, value: int) -> None:
        """Selection and RST."""
        self.chip.scsi.set_seq0(int(value))

    def r_SCSISEQ1(self) -> int:
        """Reselection."""
        return self.chip.scsi.seq1

    def w_SCSISEQ1(self, value: int) -> None:
        """Reselection."""
        self.chip.scsi.seq1 = int(value)

    def w_SCSISIGO(self, value: int) -> None:
        """Lines that we drive: ATN above all."""
        self.chip.scsi.set_signals(int(value))

    def r_SCSISIGI(self) -> int:
        """The bus's lines."""
        return self.chip.scsi.signals()

    def r_SCSIPHASE(self) -> int:
        """The phase, one bit each."""
        return self.chip.scsi.phase_bits()

    def r_SCSIBUS(self) -> int:
        """The byte on the bus; it stays there."""
        return self.chip.scsi.bus_byte

    def r_SCSIDAT(self) -> int:
        """The byte on the bus, acknowledged."""
        return self.chip.scsi.bus_byte

    def r_SELID(self) -> int:
        """Who reselected."""
        return self.chip.scsi.selid

    def r_SBLKCTL(self) -> int:
        """Transceivers and width."""
        return self.chip.scsi.sblkctl

    def w_SBLKCTL(self, value: int) -> None:
        """LEDs; the rest is wired."""
        self.chip.scsi.set_sblkctl(int(value))

    def r_SSTAT0(self) -> int:
        """Selection status."""
        return self.chip.scsi.sstat0

    def w_CLRSINT0(self, value: int) -> None:
        """Clear."""
        self.chip.scsi.clear(0, int(value))

    def r_SSTAT1(self) -> int:
        """Bus status."""
        return self.chip.scsi.sstat1

    def w_CLRSINT1(self, value: int) -> None:
        """Clear; 40 drops ATN, 20 sticks while RST is low."""
        self.chip.scsi.clear(1, int(value))

    def r_SSTAT2(self) -> int:
        """Where the bus went free."""
        return self.chip.scsi.busfreetime << 6

    def r_PERRDIAG(self) -> int:
        """What kind of parity error."""
        return self.chip.scsi.perrdiag

    def r_LQISTAT1(self) -> int:
        """Input manager."""
        return self.chip.scsi.lqistat1

    def w_CLRLQIINT1(self, value: int) -> None:
        """Clear."""
        self.chip.scsi.lqistat1 &= ~int(value)

    def r_LQISTAT2(self) -> int:
        """Packetized connection, good-status FIFO."""
        return self.chip.scsi.lqistat2()

    def r_SSTAT3(self) -> int:
        """Parity of the SCSI cell's memories."""
        return self.chip.scsi.sstat3

    def w_CLRSINT3(self, value: int) -> None:
        """Clear."""
        self.chip.scsi.sstat3 &= ~int(value)

    def r_LQOSTAT0(self) -> int:
        """Output manager."""
        return self.chip.scsi.lqostat0

    def w_CLRLQOINT0(self, value: int) -> None:
        """Clear."""
        self.chip.scsi.lqostat0 &= ~int(value)

    def r_LQOSTAT1(self) -> int:
        """Output manager."""
        return self.chip.scsi.lqostat1

    def w_CLRLQOINT1(self, value: int) -> None:
        """Clear."""
        self.chip.scsi.lqostat1 &= ~int(value)

    def r_GSFIFO(self) -> int:
        """The next tag; reading the low byte pops it."""
        return self.chip.scsi.read_gsfifo(self.reading == _GSFIFO)

    def r_SIMODE1(self) -> int:
        """Which bits of SSTAT1 interrupt."""
        return self.chip.scsi.simode1

    def w_SIMODE1(self, value: int) -> None:
        """Which bits of SSTAT1 interrupt."""
        self.chip.scsi.simode1 = int(value)
        self.chip.scsi.look()


class DffBank(_ScsiCoreBank):
    """Modes 0 and 1.  `owner`: the SCB that the FIFO works for, None when it is free."""

    regs = DffRegs

    def __init__(self, chip: ChipControl, number: int) -> None:
        self.number = number
        super().__init__(chip)

    def reset(self) -> None:
        """Free."""
        super().reset()
        self.owner: int | None = None
        self.values["LONGJMP_ADDR"] = INVALID_ADDR << 8 | 0xFF

    def r_DFCNTRL(self) -> int:
        """Acknowledges what was asked for."""
        return self.values["DFCNTRL"]

    def w_DFFSXFRCTL(self, value: DffSxfrCtl) -> None:
        """Reset the channel, or clear it: the FIFO is free."""
        if value & (DffSxfrCtl.RSTCHN.mask | DffSxfrCtl.CLRCHN.mask):
            self.owner = None
            self.values["DFCNTRL"] = int(self.values["DFCNTRL"]) & ~_TRANSFER

    def r_MDFFSTAT(self) -> int:
        """01 free, 04 nothing left."""
        return 0x05 if self.owner is None else 0x0A

    def r_DFSTATUS(self) -> int:
        """89: preload available, DMA done, empty."""
        return 0x89 if self.owner is None else 0x80


class CchanBank(_Bank):
    """Mode 2."""

    regs = CchanRegs

    def r_SNSCB_QOFF(self) -> int:
        """The chip's place in the input queue.  Reading its high byte moves it on, as the firmware wants it."""
        value = self.chip.snscb
        if self.reading == _SNSCB + 1:
            self.chip.snscb = value + 1 & QOFF_MASK
        return value

    def w_SNSCB_QOFF(self, value: int) -> None:
        """Written back by the host that read it."""
        self.chip.snscb = self.merged(self.chip.snscb, int(value))

    def r_SDSCB_QOFF(self) -> int:
        """Completions so far; reading moves it on, likewise."""
        value = self.chip.sdscb
        if self.reading == _SDSCB + 1:
            self.chip.sdscb = value + 1 & QOFF_MASK
        return value

    def w_SDSCB_QOFF(self, value: int) -> None:
        """Written back by the host that read it."""
        self.chip.sdscb = self.merged(self.chip.sdscb, int(value))

    def r_QOFF_CTLSTA(self) -> int:
        """NEW_SCB_AVAIL: the host is ahead."""
        return (self.values["QOFF_CTLSTA"] & 0x0F) | (0x40 if self.chip.hnscb != self.chip.snscb else 0)


class ScsiBank(_ScsiCoreBank):
    """Mode 3."""

    regs = ScsiRegs

    def reset(self) -> None:
        """The negotiation table is empty."""
        super().reset()
        self.table = [[0, 0, 0, 0] for _ in range(16)]

    def _entry(self) -> list[int]:
        return self.table[self.values["NEGOADDR"] & 0x0F]

    def r_NEGPERIOD(self) -> int:
        """Transfer period factor of the target that NEGOADDR names."""
        return self._entry()[0]

    def w_NEGPERIOD(self, value: int) -> None:
        """Likewise."""
        self._entry()[0] = int(value)

    def r_NEGOFFSET(self) -> int:
        """REQ/ACK offset."""
        return self._entry()[1]

    def w_NEGOFFSET(self, value: int) -> None:
        """REQ/ACK offset."""
        self._entry()[1] = int(value)

    def r_NEGPPROPTS(self) -> int:
        """Protocol options."""
        return self._entry()[2]

    def w_NEGPPROPTS(self, value: int) -> None:
        """Protocol options."""
        self._entry()[2] = int(value)

    def r_NEGCONOPTS(self) -> int:
        """Connection options."""
        return self._entry()[3]

    def w_NEGCONOPTS(self, value: int) -> None:
        """Connection options."""
        self._entry()[3] = int(value)

    def r_SXFRCTL1(self) -> int:
        """Selection timer, termination."""
        return self.chip.scsi.sxfrctl1

    def w_SXFRCTL1(self, value: int) -> None:
        """Selection timer, termination."""
        self.chip.scsi.sxfrctl1 = int(value)

    def r_DFFSTAT(self) -> int:
        """Which FIFOs are free, which one is current."""
        free = sum(bit.mask for bank, bit in zip(self.chip.fifos, (DffStat.FIFO0FREE, DffStat.FIFO1FREE),
                                                 strict=True) if bank.owner is None)
        return free | self.chip.scsi.current_fifo

    def w_DFFSTAT(self, value: DffStat) -> None:
        """Make a FIFO current; Rev B wants FIFO 0 written as 2."""
        wanted = value.CURRFIFO
        if not self.chip.profile.rev_a:
            if wanted == 0:
                raise HardwareFault("DFFSTAT <- CURRFIFO 0: on Rev B the write for FIFO 0 is 2")
            wanted = 0 if wanted == 2 else wanted
        self.chip.scsi.current_fifo = wanted

    def r_CURADDR(self) -> int:
        """Where the program is."""
        return self.chip.curaddr


class CfgBank(_Bank):
    """Mode 4.  Interrupt masks and the pointers into an SCB that the packet engine goes by are plain values here."""

    regs = CfgRegs

    def w_SIMODE0(self, value: int) -> None:
        """Which bits of SSTAT0 interrupt."""
        self.store("SIMODE0", value)
        self.chip.scsi.look()

    def w_PCISTAT(self, client: int, value: Reg) -> None:
        """Error bits of one client of the bus: a written 1 clears."""
        self.values[f"PCISTAT[{client}]"] &= ~int(value)
