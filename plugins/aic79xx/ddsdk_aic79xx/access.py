"""Reaching the chip: single bytes by memory or I/O, modes, pause and unpause.

A 16-bit register is read and written as two bytes, low byte first; HNSCB_QOFF alone goes as one access of 16 bits.
The sequencer may have left any mode: MODE_PTR is read once after each pause and put back before it runs again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .regs import ALL_ONES, CommonRegs, HCntrl, IntStat, Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddsdk.helperlib.kernel import Iomem, Kernel
    from ddsdk.regs import Placed

PAUSE: Final = HCntrl.PAUSE.mask
INTEN: Final = HCntrl.INTEN.mask
_HCNTRL: Final = CommonRegs.HCNTRL.offset
_HNSCB: Final = CommonRegs.HNSCB_QOFF.offset
_MODE_PTR: Final = CommonRegs.MODE_PTR.offset
_INTSTAT: Final = CommonRegs.INTSTAT.offset
_NOT_A_REASON: Final = IntStat.CMDCMPLT.mask
#: Bytes of the first I/O window; what lies above is in the second one.
_LOW: Final = 0x100
#: Microseconds that a pause may take: the sequencer finishes what it is at.
PAUSE_US: Final = 100


class ChipAccess:
    """The register file of one chip.

    `inten`: the copy of HCNTRL.INTEN that every write of HCNTRL carries.  `mode`: what MODE_PTR is known to be, None
    while that is the sequencer's business.
    """

    def __init__(self, kernel: Kernel, low: Iomem, high: Iomem | None) -> None:
        self.kernel = kernel
        self._low, self._high = low, high
        self.udelay = kernel.udelay
        #: INTSTAT, without detours: what a poll reads.
        self.read_intstat: Callable[[], int] = partial(kernel.readb if high is None else kernel.inb, low, _INTSTAT)
        self.inten = 0
        self.mode: Mode | None = None
        self.saved_mode: Mode | None = None

    @property
    def by_memory(self) -> bool:
        """Whether registers are reached through the memory window."""
        return self._high is None

    # -- bytes -----------------------------------------------------------------------------------------

    def inb_at(self, offset: int) -> int:
        """A byte of the register file."""
        if self._high is None:
            return self.kernel.readb(self._low, offset)
        if offset < _LOW:
            return self.kernel.inb(self._low, offset)
        return self.kernel.inb(self._high, offset - _LOW)

    def outb_at(self, offset: int, value: int) -> None:
        """A byte of the register file."""
        if self._high is None:
            self.kernel.writeb(value, self._low, offset)
        elif offset < _LOW:
            self.kernel.outb(value, self._low, offset)
        else:
            self.kernel.outb(value, self._high, offset - _LOW)

    def inb(self, reg: Placed[Any]) -> int:
        """uint8_t ahd_inb(struct ahd_softc *, long port)."""
        return self.inb_at(reg.offset)

    def outb(self, reg: Placed[Any], value: int) -> None:
        """void ahd_outb(struct ahd_softc *, long port, uint8_t)."""
        self.outb_at(reg.offset, value)

    def inw(self, reg: Placed[Any]) -> int:
        """uint16_t ahd_inw(struct ahd_softc *, u_int port): two reads, low byte first."""
        low = self.inb_at(reg.offset)
        return low | self.inb_at(reg.offset + 1) << 8

    def outw(self, reg: Placed[Any], value: int) -> None:
        """void ahd_outw(struct ahd_softc *, u_int port, u_int): two writes, low byte first."""
        self.outb_at(reg.offset, value & 0xFF)
        self.outb_at(reg.offset + 1, value >> 8)

    def inl(self, reg: Placed[Any]) -> int:
        """uint32_t ahd_inl(struct ahd_softc *, u_int port)."""
        return sum(self.inb_at(reg.offset + n) << 8 * n for n in range(4))

    def outn(self, reg: Placed[Any], value: int) -> None:
        """As many single writes as the register has bytes."""
        for n in range(reg.size):
            self.outb_at(reg.offset + n, value >> 8 * n & 0xFF)

    def change(self, reg: Placed[Any], clear: int = 0, set_: int = 0) -> None:
        """Read, change bits, write."""
        self.outb(reg, self.inb(reg) & ~clear & 0xFF | set_)

    def set_hnscb_qoff(self, value: int) -> None:
        """void ahd_set_hnscb_qoff(struct ahd_softc *, u_int): one access, or the chip sees half of it."""
        if self._high is None:
            self.kernel.writew(value, self._low, _HNSCB)
        else:
            self.kernel.outw(value, self._low, _HNSCB)

    # -- modes -----------------------------------------------------------------------------------------

    def set_modes(self, mode: Mode) -> Mode:
        """void ahd_set_modes(struct ahd_softc *, ahd_mode src, ahd_mode dst): returns the mode before.

        The first time after a pause the mode that the sequencer left is read and kept for its return.
        """
        before = self.mode
        if before is None:
            before = self.mode = self.saved_mode = Mode(self.inb_at(_MODE_PTR) & 0x07)
        if mode is not before:
            self.outb_at(_MODE_PTR, mode | mode << 4)
            self.mode = mode
        return before

    def update_modes(self) -> Mode:
        """void ahd_update_modes(struct ahd_softc *): the mode there is now; read after a pause."""
        if self.mode is None:
            self.mode = self.saved_mode = Mode(self.inb_at(_MODE_PTR) & 0x07)
        return self.mode

    def forget_modes(self, mode: Mode | None = None) -> None:
        """The chip was reset, or runs: nothing is to be put back; *mode* is known to be set now."""
        self.mode, self.saved_mode = mode, None

    # -- pause -----------------------------------------------------------------------------------------

    def is_paused(self) -> bool:
        """int ahd_is_paused(struct ahd_softc *): a chip that reads all ones is not."""
        value = self.inb_at(_HCNTRL)
        return bool(value & PAUSE) and value != ALL_ONES

    def pause(self) -> bool:
        """void ahd_pause(struct ahd_softc *); false when the sequencer does not stop in time, or nobody is there."""
        self.outb_at(_HCNTRL, PAUSE | self.inten)
        for _ in range(PAUSE_US):
            if self.is_paused():
                return True
            self.udelay(1)
        return False

    def unpause(self) -> None:
        """void ahd_unpause(struct ahd_softc *): the sequencer's mode is put back first.

        While INTSTAT has a cause for the next look the chip stays paused.
        """
        if self.saved_mode is not None:
            self.set_modes(self.saved_mode)
        if not self.inb_at(_INTSTAT) & ~_NOT_A_REASON:
            self.go()

    def go(self) -> None:
        """HCNTRL without PAUSE."""
        self.forget_modes()
        self.outb_at(_HCNTRL, self.inten)

    def hold(self) -> None:
        """HCNTRL with PAUSE, whatever comes of it: nothing moves while somebody thinks what to do."""
        self.outb_at(_HCNTRL, PAUSE | self.inten)
