"""The four dump hooks: what diskdump asks of a host adapter driver (white paper 4.4).

Called after the crash, interrupts off, on the one CPU that still runs; what others were doing is half done.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ddsdk.hookspecs import hookimpl

from .handshake import ALL_ONES
from .ioc import SendIocReset
from .regs import HIM_MASK_ALL, DoorbellFunction, IocState, MptRegs, WhoInit
from .reply import mpt_poll_interrupt

if TYPE_CHECKING:
    from ddsdk.scsi.host import ScsiDevice

    from .adapter import MptScsiHost

_PCI_COMMAND: Final = 0x04
_PCI_COMMAND_MASTER: Final = 0x4


def mptscsih_sanity_check(sdev: ScsiDevice) -> int:
    """Whether a dump may go through this adapter: 0, -errno, or 1 for "cannot tell".  Changes nothing.

    FAULT and a handshake left half done are no reasons to refuse: the host reset that follows ends both.
    """
    hd: MptScsiHost | None = sdev.host.hostdata
    if hd is None:
        return -errno.ENXIO
    ioc = hd.ioc
    kernel = ioc.kernel
    if kernel.spin_is_locked(ioc.FreeQlock):
        return -errno.EBUSY                         # somebody stopped in the middle of the free list
    command = kernel.pci_read_config_word(ioc.pdev, _PCI_COMMAND)
    if command == 0xFFFF:
        return -errno.ENODEV
    if not command & _PCI_COMMAND_MASTER:
        return -errno.ENXIO
    if ioc.diagPending or hd.tmPending:
        return 1
    if kernel.spin_is_locked(ioc.diagLock) or kernel.spin_is_locked(hd.tmLock):
        return 1                                    # about to be, or no longer
    status = kernel.readl(ioc.chip, MptRegs.HOST_INTERRUPT_STATUS)
    if status == ALL_ONES:
        return -errno.ENXIO
    if status.DOORBELL:
        return 0                                    # a handshake's word waits: a doorbell read would take it
    doorbell = kernel.readl(ioc.chip, MptRegs.DOORBELL)
    if doorbell.STATE == IocState.OPERATIONAL and doorbell.WHO_INIT == WhoInit.PCI_PEER:
        return -errno.EBUSY
    return 1 if doorbell.STATE == IocState.RESET or ioc.dead else 0


def mptscsih_quiesce(sdev: ScsiDevice) -> int:
    """Release the driver's locks and forget what was in flight.

    Nothing is posted from here on until a host reset has worked.
    """
    hd: MptScsiHost | None = sdev.host.hostdata
    if hd is None:
        return -errno.ENXIO
    ioc = hd.ioc
    ioc.active = False
    ioc.release_locks()
    hd.release_locks()
    ioc.diagPending = hd.tmPending = False
    ioc.kernel.del_timer(hd.TMtimer)
    ioc.kernel.writel(HIM_MASK_ALL, ioc.chip, MptRegs.HOST_INTERRUPT_MASK)
    ioc.abandon_outstanding()
    ioc.FreeQ.clear()
    return 0


def mptscsih_poll(sdev: ScsiDevice) -> None:
    """The interrupt handler by hand."""
    hd: MptScsiHost | None = sdev.host.hostdata
    if hd is not None:
        mpt_poll_interrupt(hd.ioc)


def mptscsih_shutdown(sdev: ScsiDevice) -> int:
    """Leave the IOC READY, so that nothing of it touches memory while the machine reboots."""
    hd: MptScsiHost | None = sdev.host.hostdata
    if hd is None:
        return 0
    ioc = hd.ioc
    ioc.active = False
    ioc.abandon_outstanding()
    ioc.kernel.writel(HIM_MASK_ALL, ioc.chip, MptRegs.HOST_INTERRUPT_MASK)
    doorbell = ioc.kernel.readl(ioc.chip, MptRegs.DOORBELL)
    if doorbell == ALL_ONES:
        return -errno.ENODEV
    operational = doorbell.STATE == IocState.OPERATIONAL
    if operational and not SendIocReset(ioc, DoorbellFunction.IOC_MESSAGE_UNIT_RESET):
        return -errno.EIO
    ioc.unmap_abandoned()
    return 0


class MptDumpHooks:
    """The dump hooks of a Fusion-MPT host, as one dump device binds them."""

    @hookimpl
    def dump_sanity_check(self, sdev: ScsiDevice) -> int:
        """See mptscsih_sanity_check."""
        return mptscsih_sanity_check(sdev)

    @hookimpl
    def quiesce(self, sdev: ScsiDevice) -> int:
        """See mptscsih_quiesce."""
        return mptscsih_quiesce(sdev)

    @hookimpl
    def dump_poll(self, sdev: ScsiDevice) -> None:
        """See mptscsih_poll."""
        mptscsih_poll(sdev)

    @hookimpl
    def shutdown(self, sdev: ScsiDevice) -> int:
        """See mptscsih_shutdown."""
        return mptscsih_shutdown(sdev)
