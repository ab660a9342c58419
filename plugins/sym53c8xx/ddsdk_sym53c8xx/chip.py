"""The chip's registers: stopping SCRIPTS, resetting chip and bus, the values it works with.

Order and values: Linux 2.6.9 sym_hipd.c (sym_chip_reset, sym_reset_scsi_bus, sym_start_up), but for what README.md
lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .adapter import INTFLY, NOP
from .regs import (
    ALL_ONES,
    Ccntl1,
    Ctest3,
    Ctest4,
    Dcntl,
    Dien,
    Dmode,
    Istat0,
    Regs895a,
    Scid,
    Scntl0,
    Scntl1,
    Sien0,
    Sien1,
    Stest2,
    Stest3,
    Stime0,
)

if TYPE_CHECKING:
    from .adapter import Hcb

R: Final = Regs895a
ISTAT0: Final = R.ISTAT0.offset
DSP: Final = R.DSP.offset
_SIST: Final = R.SIST0.offset           # with SIST1, as a word
#: SCRIPTS stop at the end of an instruction; a memory move may take a while.
_ABORT_TRIES, _ABORT_US = 200, 5
_DSTAT: Final = R.DSTAT.offset
#: Between reads of SIST0, SIST1 and DSTAT; the manuals ask for 12 clocks.
STATUS_US: Final = 1
_RESET_US: Final = 10
#: 125 us x 2^(0xC - 1) = 256 ms (SCSI-2 recommends 250).
_SELECTION_TIMEOUT: Final = 0xC
_SIGP, _SIP, _DIP = Istat0.SIGP.mask, Istat0.SIP.mask, Istat0.DIP.mask
_PENDING: Final = _SIP | _DIP
_CTEST3, _STEST3 = R.CTEST3.offset, R.STEST3.offset
_CLEAR_DMA, _CLEAR_SCSI = int(Ctest3.of(CLF=1)), int(Stest3.of(TE=1, CSF=1))
#: Causes gathered in a row before somebody thinks that the chip has lost its mind.
_GATHER_MAX: Final = 8


def gone(np: Hcb) -> bool:
    """Nobody answers: a byte that cannot be all ones is."""
    return np.kernel.readb(np.chip, ISTAT0) == ALL_ONES


def gather(np: Hcb, istat: int) -> tuple[int, int]:
    """(SIST1 << 8 | SIST0, DSTAT): every cause there is, until the chip has no more."""
    kernel, chip = np.kernel, np.chip
    sist = dstat = 0
    for _ in range(_GATHER_MAX):
        if istat & _SIP:
            sist |= kernel.readw(chip, _SIST)
            kernel.udelay(STATUS_US)
        if istat & _DIP:
            dstat |= kernel.readb(chip, _DSTAT)
            kernel.udelay(STATUS_US)
        istat = kernel.readb(chip, ISTAT0)
        if not istat & _PENDING or istat == ALL_ONES:
            break
    return sist, dstat & 0x7F


def sym_stop(np: Hcb) -> bool:
    """Stop SCRIPTS, whoever started them, and take every cause; whether they are known to stand still.

    A chip without SRUN does not tell whether there was anything to stop, unless it reports the abort.
    """
    kernel, chip = np.kernel, np.chip
    stopped = np.features.srun and not kernel.readb(chip, R.ISTAT1).SRUN
    if not stopped:
        kernel.writeb(Istat0.of(ABRT=1), chip, ISTAT0)
        for _ in range(_ABORT_TRIES):
            stopped = bool(kernel.readb(chip, ISTAT0) & _PENDING)
            if stopped:
                break
            kernel.udelay(_ABORT_US)
    kernel.writeb(Istat0.of(INTF=1), chip, ISTAT0)      # and ABRT off; some keep DSTAT while INTF is set
    istat = kernel.readb(chip, ISTAT0)
    if istat == ALL_ONES:
        return False
    if stopped:
        gather(np, istat)
    return stopped


def sym_chip_reset(np: Hcb) -> None:
    """Reset the chip, from any state: SCRIPTS are stopped first, some chips hang otherwise.

    Its bus needs 2 ms to settle then.  Targets do not notice; one that was connected keeps the bus.
    """
    kernel, chip = np.kernel, np.chip
    if sym_stop(np):
        np.dcntl |= kernel.readb(chip, R.DCNTL) & Dcntl.IRQM.mask
    kernel.writeb(Istat0.of(SRST=1), chip, ISTAT0)
    kernel.udelay(_RESET_US)
    kernel.writeb(0, chip, ISTAT0)
    mask(np)                            # they are reset; but not all chips lower the pin before they are written


def sym_silence(np: Hcb) -> None:
    """Take the pin down that a former owner of the chip may have left up: nobody will listen who knows why it rose.

    The reset alone is not enough on QEMU, whose pin follows only when an enable register is written.
    """
    sym_chip_reset(np)
    mask(np)


def mask(np: Hcb) -> None:
    """No cause raises the pin.  SCRIPTS stand still."""
    kernel, chip = np.kernel, np.chip
    kernel.writeb(0, chip, R.DIEN)
    kernel.writeb(0, chip, R.SIEN0)
    kernel.writeb(0, chip, R.SIEN1)


def assert_rst(np: Hcb) -> None:
    """Assert RST on the bus; hold it for 25 us at least.  The chip was reset before."""
    kernel, chip = np.kernel, np.chip
    mask(np)
    kernel.writeb(Stest3.of(TE=1), chip, R.STEST3)
    kernel.writeb(np.dcntl, chip, R.DCNTL)
    kernel.writeb(Scntl1.of(RST=1), chip, R.SCNTL1)


def release_rst(np: Hcb) -> None:
    """End the bus reset, and forget that it was reported."""
    np.kernel.writeb(0, np.chip, R.SCNTL1)
    gather(np, np.kernel.readb(np.chip, ISTAT0))


def bus_is_quiet(np: Hcb) -> bool:
    """RST is released, by everybody, and nobody holds the bus."""
    kernel, chip = np.kernel, np.chip
    return not kernel.readb(chip, R.SSTAT0).RST and not kernel.readb(chip, R.SBCL).BSY


def sym_init(np: Hcb) -> None:
    """The values the chip works with; it was reset.  Transfers stay asynchronous and 8 bits wide: no target is
    asked."""
    kernel, chip, features = np.kernel, np.chip, np.features
    kernel.writeb(0, chip, R.SCNTL1)
    kernel.writeb(Scntl0.of(ARB=3, EPC=1, AAP=1), chip, R.SCNTL0)
    kernel.writeb(np.scntl3, chip, R.SCNTL3)
    kernel.writeb(Scid.of(RRE=1, ID=np.own_id), chip, R.SCID)
    kernel.writeb(1 << np.own_id & 0xFF, chip, R.RESPID0)
    kernel.writeb(0, chip, R.SXFER)
    kernel.writeb(Dmode.of(BL=2), chip, R.DMODE)
    kernel.writeb(Ctest4.of(MPEE=1), chip, R.CTEST4)
    kernel.writeb(0, chip, R.CTEST5)
    kernel.writeb(Dcntl.of(COM=1) | np.dcntl, chip, R.DCNTL)
    kernel.writeb(0, chip, R.STEST1)
    kernel.writeb(Stest2.of(EXT=1), chip, R.STEST2)
    kernel.writeb(Stest3.of(TE=1), chip, R.STEST3)
    kernel.writeb(Stime0.of(SEL=_SELECTION_TIMEOUT), chip, R.STIME0)
    if features.wide_addresses:
        kernel.writeb(0, chip, R.CCNTL0)
        kernel.writeb(Ccntl1.of(EN64TIBMV=1, TIMOD=1), chip, R.CCNTL1)
    kernel.writel(np.pool.bus_addr, chip, R.DSA)
    kernel.writel(np.pool.bus_addr, chip, R.TEMP)


def unmask(np: Hcb) -> None:
    """Let causes through, before the crash.  After it none: dump_poll stands in, and INTFLY becomes a NOP."""
    kernel, chip = np.kernel, np.chip
    if kernel.crashdump_mode():
        np.poke("intfly", NOP)
        mask(np)
        return
    np.poke("intfly", INTFLY)
    kernel.writeb(Sien0.of(MA=1, SGE=1, UDC=1, RST=1, PAR=1), chip, R.SIEN0)
    kernel.writeb(Sien1.of(STO=1, HTH=1, SBMC=np.features.mode_changes), chip, R.SIEN1)
    kernel.writeb(Dien.of(MDPE=1, BF=1, SSI=1, SIR=1, IID=1, ABRT=1), chip, R.DIEN)


def leave_line_alone(np: Hcb) -> None:
    """A chip that does not answer cannot be told to lower its line: nobody listens to it any more."""
    if not np.line_off:
        np.line_off = True
        np.kernel.disable_irq_nosync(np.pdev)


def let_line_be_heard(np: Hcb) -> None:
    """It answers again.  After the crash nobody listens anyway."""
    if np.line_off and not np.kernel.crashdump_mode():
        np.line_off = False
        np.kernel.enable_irq(np.pdev)


def clear_fifos(np: Hcb) -> None:
    """What a move left behind that did not come to its end."""
    kernel, chip = np.kernel, np.chip
    kernel.writeb(_CLEAR_DMA, chip, _CTEST3)
    kernel.writeb(_CLEAR_SCSI, chip, _STEST3)


def go_on(np: Hcb, label: str) -> None:
    """SCRIPTS go on at *label*."""
    np.kernel.writel(np.labels[label], np.chip, DSP)


def signal(np: Hcb) -> None:
    """SIGP: wake SCRIPTS out of WAIT RESELECT."""
    np.kernel.writeb(_SIGP, np.chip, ISTAT0)
