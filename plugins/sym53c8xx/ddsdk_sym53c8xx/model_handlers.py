"""Registers that do something when they are touched, SIST and DSTAT apart (model_core.py)."""

from __future__ import annotations

from typing import Final

from ddsdk.errors import HardwareFault, RegisterAccessFault

from .model_core import SymChip
from .regs import Dcntl, Dien, Dmode, Dstat, Istat0, Sbcl, Scntl1, Sien0, Sist1, Sstat0, Sstat1, Sstat2

_ABRT, _SRST, _SIGP, _SEM, _INTF = (
    Istat0.ABRT.mask, Istat0.SRST.mask, Istat0.SIGP.mask, Istat0.SEM.mask, Istat0.INTF.mask)
_GEN_UNIT_NS: Final = 125_000


class SymRegisters(SymChip):
    """The chip with all its registers; a subclass names the register block."""

    # -- ISTAT -----------------------------------------------------------------------------------------------

    def w_ISTAT0(self, value: Istat0) -> None:
        """Signals from the host."""
        if self.in_reset and not value & _SRST:
            self.in_reset = False
        self.values["ISTAT0"] = value & (_ABRT | _SIGP | _SEM)
        if value & _INTF and self._intf:
            self._intf = False
            self.drive_line()
        if value & _SRST:
            self.chip_reset()
            return
        if value & _ABRT and self.scripts.running and self.strikes("abort-ignored") is None:
            self.raise_dma(Dstat.ABRT.mask)
        if value & _SIGP and (not self.faults.armed or self.strikes("sigp-lost") is None):
            self.scripts.signalled()

    # -- the others ------------------------------------------------------------------------------------------

    def w_SFBR(self, _value: int) -> None:
        """SCRIPTS write it behind this."""
        raise RegisterAccessFault(f"{type(self).__name__}: SFBR cannot be written from outside")

    def w_DSP(self, value: int) -> None:
        """The write of its last byte starts SCRIPTS, unless DMODE.MAN."""
        self.values["DSP"] = int(value)
        if self.lanes >> 24 and not self.values["DMODE"] & Dmode.MAN.mask:
            self.scripts.start()

    def w_DCNTL(self, value: Dcntl) -> None:
        """STD starts SCRIPTS."""
        self.store("DCNTL", value & ~Dcntl.of(STD=1, PFF=1))
        self.drive_line()
        if value.STD:
            self.scripts.start()

    def w_DIEN(self, value: Dien) -> None:
        """A cause that is pending already raises the pin."""
        self.store("DIEN", value)
        self.drive_line()

    def w_SIEN0(self, value: Sien0) -> None:
        """As DIEN."""
        self.store("SIEN0", value)
        self.drive_line()

    def w_SIEN1(self, value: int) -> None:
        """As DIEN."""
        self.store("SIEN1", value)
        self.drive_line()

    def w_SCNTL1(self, value: Scntl1) -> None:
        """RST resets the bus; CON is the chip's."""
        if self.scsi.chip_connected and not value.CON and not value.RST:
            raise HardwareFault(f"{type(self).__name__}: SCNTL1 <- {int(value):#04x} clears CON in mid-connection; the"
                                " target would not be told: reset the bus")
        self.values["SCNTL1"] = value & ~Scntl1.CON.mask
        self.scsi.drive_rst(value.RST)

    def r_SCNTL1(self) -> int:
        """CON as it is."""
        return self.values["SCNTL1"] | (Scntl1.CON.mask if self.scsi.chip_connected else 0)

    def r_SSTAT0(self) -> int:
        """The RST line, latches."""
        return self.values["SSTAT0"] | (Sstat0.RST.mask if self.scsi.rst else 0)

    def r_SSTAT1(self) -> int:
        """The phase latched by the last REQ."""
        return self.values["SSTAT1"] & Sstat1.PHASE.mask

    def r_SSTAT2(self) -> int:
        """Connected or not."""
        return 0 if self.scsi.chip_connected else Sstat2.LDSC.mask

    def r_SBCL(self) -> int:
        """The lines as they are."""
        return Sbcl.of(REQ=self.scsi.req, ACK=self.scsi.ack, BSY=self.scsi.busy, ATN=self.scsi.atn,
                       PHASE=self.scsi.lines)

    def r_CTEST2(self) -> int:
        """Reading it clears ISTAT0.SIGP, and shows it."""
        signalled = self.values["ISTAT0"] & _SIGP
        self.values["ISTAT0"] &= ~_SIGP
        return self.values["CTEST2"] | (0x40 if signalled else 0)

    def w_CTEST3(self, value: int) -> None:
        """CLF empties the DMA FIFO."""
        self.values["CTEST3"] = value & ~0x04
        if value & 0x04:
            self.left_in_fifo &= ~1

    def w_SCID(self, value: int) -> None:
        """The chip may answer reselections from now on."""
        self.store("SCID", value)
        self.scsi.listening()

    def w_RESPID0(self, value: int) -> None:
        """As SCID."""
        self.store("RESPID0", value)
        self.scsi.listening()

    def w_STEST3(self, value: int) -> None:
        """CSF empties the SCSI FIFO."""
        self.values["STEST3"] = value & ~0x02
        if value & 0x02:
            self.left_in_fifo &= ~2
            self.values["SSTAT0"] &= ~(Sstat0.OLF.mask | Sstat0.ORF.mask)

    def w_STIME1(self, value: int) -> None:
        """The general purpose timer begins anew."""
        self.store("STIME1", value)
        if value & 0xF:
            self.later(_GEN_UNIT_NS << (value & 0xF) - 1, self.raise_scsi, 0, Sist1.GEN.mask)
