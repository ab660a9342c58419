"""Resets of the bus, and what they leave behind: a frozen queue that a timer and a tasklet thaw.

    RST -> ahd_freeze() -> ahd_reset_poll() again and again until RST is high -> ahd_runq() thaws and sends what waits

Both are the helper library's: they work in crash mode as long as somebody calls diskdump_update().
Source: aic79xx_core.c, "ahd_reset_channel", "ahd_reset_poll" (Linux 2.6.9), by effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_REQUEUE, DID_RESET

from .ahd import AHD_NUM_TARGETS
from .busfree import clear_fifo, clear_sources
from .init import SCSISEQ_RESTART_MASK, SIMODE1_IDLE, ahd_restart, ahd_unbusy_all
from .lists import pull, requeue_tags, write_waiting
from .lost import ahd_lost
from .message import ahd_clear_msg_state
from .negotiate import ahd_all_async
from .regs import ClrSint1, DfCntrl, DffRegs, Mode, Scratch, ScsiRegs, ScsiSeq0, SiMode1, SStat1
from .status import ahd_fail, ahd_run_busyq, ahd_run_completeq, ahd_thaw_firmware

if TYPE_CHECKING:
    from .ahd import AhdSoftc

#: RST is held for so long, and left alone for so long (SPI-4: 25 us).
RESET_HOLD_US: Final = 25
#: The reset timer looks again after so long (1 ms in the original).
RESET_POLL_MS: Final = 10
_FIFO_US: Final = 100
_RUNNING: Final = DfCntrl.SCSIEN.mask | DfCntrl.HDMAEN.mask
_SEQ0_SELECT: Final = 0x61


# -- the bus ---------------------------------------------------------------------------------------------------


def ahd_quiet_bus(ahd: AhdSoftc) -> None:
    """Nothing is selected, no data moves, no bus free or reset interrupts.  The chip is paused."""
    ahd.set_modes(Mode.SCSI)
    ahd.outb(ScsiRegs.SCSISEQ0, 0)
    ahd.outb(ScsiRegs.SCSISEQ1, 0)
    active = Mode.DFF0 if ahd.inb(ScsiRegs.DFFSTAT) & 0x03 == 0 else Mode.DFF1
    for mode in sorted((Mode.DFF0, Mode.DFF1), key=lambda one: one is active):
        ahd.set_modes(mode)
        ahd.change(DffRegs.DFCNTRL, clear=_RUNNING)
        for _ in range(_FIFO_US):
            if not ahd.inb(DffRegs.DFCNTRL) & DfCntrl.HDMAEN.mask:
                break
            ahd.udelay(1)
    ahd_clear_msg_state(ahd)
    ahd.set_modes(Mode.SCSI)
    ahd.change(ScsiRegs.SIMODE1, clear=SiMode1.BUSFREE.mask | SiMode1.SCSIRSTI.mask)


def ahd_reset_current_bus(ahd: AhdSoftc) -> None:
    """void ahd_reset_current_bus(struct ahd_softc *): pull RST.  The chip is paused; a Rev A is spoilt by it."""
    ahd.set_modes(Mode.SCSI)
    ahd.change(ScsiRegs.SIMODE1, clear=SiMode1.SCSIRSTI.mask)
    sequence = ahd.inb(ScsiRegs.SCSISEQ0) & ~_SEQ0_SELECT
    ahd.outb(ScsiRegs.SCSISEQ0, sequence | ScsiSeq0.SCSIRSTO.mask)
    ahd.inb(ScsiRegs.SCSISEQ0)
    ahd.udelay(RESET_HOLD_US)
    ahd.outb(ScsiRegs.SCSISEQ0, sequence)
    ahd.inb(ScsiRegs.SCSISEQ0)
    ahd.udelay(RESET_HOLD_US)


def ahd_bus_was_reset(ahd: AhdSoftc) -> None:
    """int ahd_reset_channel(struct ahd_softc *, char, int initiate_reset), from "the bus has been reset" on.

    Commands that were not sent yet end with DID_REQUEUE, the others with DID_RESET.  The lock is held, the chip is
    paused, and goes on from the program's beginning; the queue is frozen.
    """
    ahd_quiet_bus(ahd)
    clear_sources(ahd)
    for scb in pull(ahd, lambda _scb: True):
        ahd_fail(ahd, scb, DID_REQUEUE)
    while ahd.busyq:
        ahd_fail(ahd, ahd.busyq.popleft(), DID_REQUEUE)
    for scb in list(ahd.pending.values()):
        ahd_fail(ahd, scb, DID_RESET)
    ahd.set_modes(Mode.SCSI)
    write_waiting(ahd, [], range(AHD_NUM_TARGETS))
    requeue_tags(ahd, [])
    ahd.outw(Scratch.CMDS_PENDING, 0)
    ahd_unbusy_all(ahd)
    for mode in (Mode.DFF0, Mode.DFF1):
        clear_fifo(ahd, mode)
    ahd_all_async(ahd)
    ahd_thaw_firmware(ahd, all_=True)           # no status is outstanding: a count that was left would stop all
    ahd_restart(ahd)
    ahd_freeze(ahd)


# -- the frozen queue ------------------------------------------------------------------------------------------


def ahd_freeze(ahd: AhdSoftc) -> None:
    """Take no commands until the reset timer has found RST high and the tasklet has run."""
    if not ahd.reset_polling:
        ahd.reset_polling = True
        ahd.qfrozen += 1
    ahd.kernel.mod_timer(ahd.reset_timer, ahd.kernel.jiffies)


def ahd_reset_poll(ahd: AhdSoftc) -> None:
    """void ahd_reset_poll(void *): the reset timer; is RST high again?"""
    kernel = ahd.kernel
    flags = kernel.spin_lock_irqsave(ahd.lock)
    if ahd.reset_polling and ahd.active:
        if not ahd.pause():
            ahd_lost(ahd, "the sequencer does not stop")
        else:
            _look_at_rst(ahd)
    kernel.spin_unlock_irqrestore(ahd.lock, flags)


def _look_at_rst(ahd: AhdSoftc) -> None:
    kernel = ahd.kernel
    ahd.set_modes(Mode.SCSI)
    ahd.outb(ScsiRegs.CLRSINT1, ClrSint1.CLRSCSIRSTI.mask)
    if ahd.inb(ScsiRegs.SSTAT1) & SStat1.SCSIRSTI.mask:
        kernel.mod_timer(ahd.reset_timer, kernel.jiffies + kernel.msecs_to_jiffies(RESET_POLL_MS))
        ahd.unpause()
        return
    ahd.change(ScsiRegs.SIMODE1, set_=SIMODE1_IDLE)
    ahd.outb(ScsiRegs.SCSISEQ1, ahd.inb(Scratch.SCSISEQ_TEMPLATE) & SCSISEQ_RESTART_MASK)
    ahd.unpause()
    ahd.reset_polling, ahd.thaw_due = False, True
    kernel.tasklet_schedule(ahd.runq_tasklet)


def ahd_runq(ahd: AhdSoftc) -> None:
    """void ahd_runq_tasklet(unsigned long): thaw what the timer found fit for it, send what waits."""
    kernel = ahd.kernel
    flags = kernel.spin_lock_irqsave(ahd.lock)
    if ahd.thaw_due:
        ahd.thaw_due = False
        ahd.qfrozen -= 1
    ahd_run_busyq(ahd)
    kernel.spin_unlock_irqrestore(ahd.lock, flags)
    ahd_run_completeq(ahd)
    kernel.wake_up(ahd.wait)
