"""The four dump hooks: what diskdump asks of a host adapter driver (white paper 4.4).

Called after the crash, interrupts off, on the one CPU that still runs; what others were doing is half done.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ddsdk.hookspecs import hookimpl

from .hw import AhcError, AhcGone, ahc_chip_reset
from .isr import ahc_linux_poll
from .regs import ALL_ONES, AhcRegs, HCntrl

if TYPE_CHECKING:
    from ddsdk.scsi.host import ScsiDevice

    from .adapter import Ahc

_PCI_COMMAND: Final = 0x04
_PCI_COMMAND_MASTER: Final = 0x4


def ahc_linux_sanity_check(sdev: ScsiDevice) -> int:
    """Whether a dump may go through this channel: 0, -errno, or 1 for "cannot tell".  Looks, and changes nothing.

    Neither a stopped sequencer nor a frozen device is a reason to refuse: the host reset that follows ends both.
    """
    ahc: Ahc | None = sdev.host.hostdata
    if ahc is None or not 0 <= sdev.lun < len(ahc.targets[0].devices):
        return -errno.ENXIO
    kernel = ahc.kernel
    command = kernel.pci_read_config_word(ahc.pdev, _PCI_COMMAND)
    if command == 0xFFFF:
        return -errno.ENODEV
    if not command & _PCI_COMMAND_MASTER:
        return -errno.ENXIO
    if ahc.inb(AhcRegs.HCNTRL) == ALL_ONES:
        return -errno.ENODEV
    if kernel.spin_is_locked(ahc.lock):
        return 1                            # somebody stopped among the queues: quiesce and reset make them anew
    return 1 if ahc.resetting or ahc.qfrozen or ahc.dead else 0


def ahc_linux_quiesce(sdev: ScsiDevice) -> int:
    """Release the driver's lock, stop the sequencer, mask the chip, forget what was in flight and what was frozen.

    Nothing is queued from here on until a host reset has worked.
    """
    ahc: Ahc | None = sdev.host.hostdata
    if ahc is None:
        return -errno.ENXIO
    kernel = ahc.kernel
    kernel.spin_lock_init(ahc.lock)
    kernel.del_timer(ahc.thaw_timer)
    kernel.del_timer(ahc.settle_timer)
    _go_quiet(ahc)
    return 0


def _go_quiet(ahc: Ahc) -> None:
    ahc.active = ahc.resetting = ahc.dead = ahc.reset_due = False
    ahc.inten = 0
    ahc.outb(AhcRegs.HCNTRL, HCntrl.PAUSE.mask)
    ahc.qfrozen = 0
    ahc.forget()
    for target in ahc.targets:
        for dev in target.devices:
            dev.busyq.clear()


def ahc_linux_shutdown(sdev: ScsiDevice) -> int:
    """Leave the chip reset and paused: nothing of it touches memory while the machine reboots."""
    ahc: Ahc | None = sdev.host.hostdata
    if ahc is None:
        return 0
    _go_quiet(ahc)
    try:
        ahc_chip_reset(ahc)
    except AhcGone:
        return -errno.ENODEV
    except AhcError:
        return -errno.EIO
    ahc.unmap_all()
    return 0


class AhcDumpHooks:
    """The dump hooks of a channel, as one dump device binds them."""

    @hookimpl
    def dump_sanity_check(self, sdev: ScsiDevice) -> int:
        """See ahc_linux_sanity_check."""
        return ahc_linux_sanity_check(sdev)

    @hookimpl
    def quiesce(self, sdev: ScsiDevice) -> int:
        """See ahc_linux_quiesce."""
        return ahc_linux_quiesce(sdev)

    @hookimpl
    def dump_poll(self, sdev: ScsiDevice) -> None:
        """The interrupt handler by hand, and what it leaves to the tasklet: see ahc_linux_poll."""
        ahc: Ahc | None = sdev.host.hostdata
        if ahc is not None:
            ahc_linux_poll(ahc)

    @hookimpl
    def shutdown(self, sdev: ScsiDevice) -> int:
        """See ahc_linux_shutdown."""
        return ahc_linux_shutdown(sdev)
