"""The four dump hooks: what diskdump asks of a host adapter driver (white paper 4.4).

Called after the crash, interrupts off, on the one CPU that still runs; what others were doing is half done.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ddsdk.hookspecs import hookimpl

from .init import ahd_reset
from .interrupt import ahd_poll
from .regs import ALL_ONES, CommonRegs

if TYPE_CHECKING:
    from ddsdk.scsi.host import ScsiDevice

    from .ahd import AhdSoftc

_PCI_COMMAND: Final = 0x04
_PCI_DECODES: Final = 0x3
_PCI_MASTER: Final = 0x4


def ahd_linux_sanity_check(sdev: ScsiDevice) -> int:
    """Whether a dump may go through this adapter: 0, -errno, or 1 for "cannot tell".  Changes nothing.

    A frozen queue, a reset under way, a lock that nobody will release, a hardware error: the host reset that follows
    ends them all, so none is a reason to refuse for good (the original refused the first and the third).
    """
    ahd: AhdSoftc | None = sdev.host.hostdata
    if ahd is None:
        return -errno.ENXIO
    command = ahd.kernel.pci_read_config_word(ahd.pdev, _PCI_COMMAND)
    if command == 0xFFFF:
        return -errno.ENODEV
    if not command & _PCI_MASTER or not command & _PCI_DECODES:
        return -errno.ENXIO
    if ahd.inb(CommonRegs.HCNTRL) == ALL_ONES:
        return -errno.ENXIO
    unsure = ahd.kernel.spin_is_locked(ahd.lock) or ahd.resetting or ahd.qfrozen or ahd.dead
    return 1 if unsure else 0


def ahd_linux_quiesce(sdev: ScsiDevice) -> int:
    """Release the driver's lock, stop the chip, keep its interrupt off, forget what was in flight.

    Nothing is sent from here on until a host reset has worked.
    """
    ahd: AhdSoftc | None = sdev.host.hostdata
    if ahd is None:
        return -errno.ENXIO
    ahd.active = False
    ahd.release_locks()
    ahd.inten = 0
    ahd.hold()
    ahd.forget_modes()
    ahd.resetting = False
    _forget(ahd)
    return 0


def _forget(ahd: AhdSoftc) -> None:
    """Commands, and what was going to be done later."""
    ahd.kernel.del_timer(ahd.reset_timer)
    ahd.lost = ahd.reset_polling = ahd.thaw_due = False
    ahd.qfrozen = 0
    ahd.held_commands()
    ahd.pending.clear()
    ahd.busyq.clear()
    ahd.completeq.clear()


def ahd_linux_shutdown(sdev: ScsiDevice) -> int:
    """Leave the chip reset and paused, so that nothing of it touches memory while the machine reboots."""
    ahd: AhdSoftc | None = sdev.host.hostdata
    if ahd is None:
        return 0
    ahd.active = False
    ahd.inten = 0
    ahd.hold()
    _forget(ahd)
    why = ahd_reset(ahd)
    if why:
        ahd.printk(why)
        return -errno.EIO
    ahd.unmap_all()
    return 0


class AhdDumpHooks:
    """The dump hooks of an aic79xx host, as one dump device binds them."""

    @hookimpl
    def dump_sanity_check(self, sdev: ScsiDevice) -> int:
        """See ahd_linux_sanity_check."""
        return ahd_linux_sanity_check(sdev)

    @hookimpl
    def quiesce(self, sdev: ScsiDevice) -> int:
        """See ahd_linux_quiesce."""
        return ahd_linux_quiesce(sdev)

    @hookimpl
    def dump_poll(self, sdev: ScsiDevice) -> None:
        """The interrupt handler by hand, and what it leaves to the tasklet."""
        ahd: AhdSoftc | None = sdev.host.hostdata
        if ahd is not None:
            ahd_poll(ahd)

    @hookimpl
    def shutdown(self, sdev: ScsiDevice) -> int:
        """See ahd_linux_shutdown."""
        return ahd_linux_shutdown(sdev)
