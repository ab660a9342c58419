"""The SCSI core: status and interrupt causes, signals, RST, the good-status FIFO."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault

from . import model_faulty
from .regs import ClrSint1, IntStat, LqiStat2, SblkCtl, ScsiSeq0, ScsiSig, SStat0, SStat1
from .sequencer import P_BUSFREE, PHASE_MASK, Phase

if TYPE_CHECKING:
    from .model_control import ChipControl

_PHASE_BITS: Final = {Phase.DATAOUT: 0x01, Phase.DATAOUT_DT: 0x01, Phase.DATAIN: 0x02, Phase.DATAIN_DT: 0x02,
                      Phase.MESGOUT: 0x04, Phase.MESGIN: 0x08, Phase.COMMAND: 0x10, Phase.STATUS: 0x20}
_BUS_UP: Final = ScsiSig.BSY.mask | ScsiSig.REQ.mask
_BUSFREE: Final = SStat1.BUSFREE.mask
_SCSIINT: Final = IntStat.SCSIINT.mask
_LEDS: Final = SblkCtl.DIAGLEDEN.mask | SblkCtl.DIAGLEDON.mask
#: What CLRSINT0 and CLRSINT1 reach.
_CLEARABLE: Final = (0x7F, 0xAF)


class ScsiCore:
    """State of the SCSI core, shown by modes 0, 1 and 3.

    `phase` is what the target drives, P_BUSFREE when nobody does.  `atn`: our ATN is up.
    """

    def __init__(self, chip: ChipControl) -> None:
        self._chip = chip
        self.sblkctl = SblkCtl.ENAB40.mask | SblkCtl.SELWIDE.mask
        self.reset()

    def reset(self) -> None:
        """As a chip reset leaves it."""
        self.seq0 = self.seq1 = self.simode1 = 0
        self.sstat0 = self.sstat3 = 0
        self.sstat1 = SStat1.BUSFREE.mask
        self.busfreetime = self.perrdiag = 0
        self.lqistat1 = self.lqostat0 = self.lqostat1 = self.lqctl2 = 0
        self.sxfrctl1 = 0
        self.current_fifo = 3
        self.phase = P_BUSFREE
        self.atn = False
        self.packetized = False
        self.bus_byte = self.selid = 0
        self.gsfifo: deque[int] = deque()
        self._rst_since_ns: int | None = None

    # -- interrupts ------------------------------------------------------------------------------------

    def look(self) -> None:
        """SCSIINT is there while an enabled cause is."""
        chip = self._chip
        if chip.intstat & _SCSIINT:
            return
        values = chip.banks[4].values
        if (self.sstat1 & self.simode1 or self.sstat0 & values["SIMODE0"] or self.sstat3 & values["SIMODE3"]
                or self.lqistat1 & values["LQIMODE1"] or self.lqostat0 & values["LQOMODE0"]
                or self.lqostat1 & values["LQOMODE1"]):
            chip.raise_int(_SCSIINT)

    def clear(self, which: int, value: int) -> None:
        """CLRSINT0 or CLRSINT1."""
        value &= _CLEARABLE[which] | ClrSint1.CLRATNO.mask
        if which == 0:
            self.sstat0 &= ~value
            return
        if value & ClrSint1.CLRATNO.mask:
            self.atn = False
        self.sstat1 &= ~(value & _CLEARABLE[1])
        if self._chip.bus.rst_low or self.seq0 & ScsiSeq0.SCSIRSTO.mask:
            self.sstat1 |= SStat1.SCSIRSTI.mask

    def bus_free(self, *, when: int = 0, wanted: bool = True) -> None:
        """The bus goes free; *wanted* False: whoever enabled ENBUSFREE learns of it."""
        self.phase = P_BUSFREE
        self.atn = False
        self.packetized = False
        self.busfreetime = when
        self.sstat1 |= _BUSFREE
        if wanted:
            self.simode1 &= ~_BUSFREE
        else:
            self.simode1 |= _BUSFREE
            self.look()

    def connected(self) -> None:
        """Somebody has the bus."""
        self.sstat1 &= ~_BUSFREE
        self.busfreetime = 0

    # -- signals ---------------------------------------------------------------------------------------

    def signals(self) -> int:
        """SCSISIGI."""
        if self.phase == P_BUSFREE:
            return 0
        return self.phase & PHASE_MASK | _BUS_UP | (ScsiSig.ATN.mask if self.atn else 0)

    def set_signals(self, value: int) -> None:
        """SCSISIGO: ATN while there is a connection."""
        self.atn = bool(value & ScsiSig.ATN.mask) and self.phase != P_BUSFREE

    def phase_bits(self) -> int:
        """SCSIPHASE."""
        return 0 if self.phase == P_BUSFREE else _PHASE_BITS[Phase(self.phase)]

    def set_sblkctl(self, value: int) -> None:
        """Only the LEDs follow."""
        self.sblkctl = self.sblkctl & ~_LEDS | value & _LEDS

    def lqistat2(self) -> int:
        """LQISTAT2."""
        out = self.packetized and self.phase == Phase.MESGOUT
        return ((LqiStat2.PACKETIZED.mask if self.packetized else 0) | (LqiStat2.LQIPHASE_OUTPKT.mask if out else 0)
                | (LqiStat2.LQIGSAVAIL.mask if self.gsfifo else 0))

    def read_gsfifo(self, pop: bool) -> int:
        """GSFIFO."""
        if not self.gsfifo:
            raise HardwareFault("GSFIFO read while LQISTAT2 says that it is empty")
        return self.gsfifo.popleft() if pop else self.gsfifo[0]

    # -- selection and reset ---------------------------------------------------------------------------

    def set_seq0(self, value: int) -> None:
        """SCSISEQ0: ENSELO off takes a selection back that has not begun; SCSIRSTO pulls RST."""
        before, self.seq0 = self.seq0, value
        chip = self._chip
        if before & ScsiSeq0.ENSELO.mask and not value & ScsiSeq0.ENSELO.mask:
            chip.bus.withdraw()
        rst = value & ScsiSeq0.SCSIRSTO.mask
        if rst and not before & ScsiSeq0.SCSIRSTO.mask:
            self._rst_since_ns = chip.clock.now_ns
            chip.bus.drop_all()
            self.bus_was_reset()
        elif not rst and self._rst_since_ns is not None:
            held_ns, self._rst_since_ns = chip.clock.now_ns - self._rst_since_ns, None
            if held_ns < chip.timing.rst_hold_ns:
                raise HardwareFault(f"RST was low for {held_ns} ns; SPI wants {chip.timing.rst_hold_ns}, and some"
                                    " target will not have seen it")
            chip.bus.targets_reset()
            chip.bus_spoilt = chip.profile.rev_a
            if chip.faults.armed:
                model_faulty.rst_released(chip)

    def bus_was_reset(self) -> None:
        """RST is low, whoever pulls it."""
        self.sstat0 &= ~(SStat0.SELDO.mask | SStat0.SELDI.mask | SStat0.SELINGO.mask)
        self.phase, self.atn, self.packetized = P_BUSFREE, False, False
        self.sstat1 |= SStat1.SCSIRSTI.mask | SStat1.BUSFREE.mask
        self.look()
