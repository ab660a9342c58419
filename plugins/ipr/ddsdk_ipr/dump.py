"""The four dump hooks: what diskdump asks of a host adapter driver (white paper 4.4).

Called after the crash, interrupts off, on the one CPU that still runs; what others were doing is half done.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ddsdk.bus import PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY, PCI_VENDOR_ID
from ddsdk.hookspecs import hookimpl

from .frames import ShutdownType
from .interrupt import ipr_poll
from .job import ipr_initiate_ioa_reset, ipr_stop_job, ipr_wait_for_reset
from .regs import ALL_ONES

if TYPE_CHECKING:
    from ddsdk.scsi.host import ScsiDevice

    from .adapter import IprIoaCfg

_PCI_COMMAND_NEEDED: Final = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER


def ipr_sanity_check(sdev: ScsiDevice) -> int:
    """Whether a dump may go through this adapter: 0, -errno, or 1 for "cannot tell".  Changes nothing.

    A unit check or another error bit of INT is no reason to refuse: the host reset that follows ends it.
    """
    ioa_cfg: IprIoaCfg | None = sdev.host.hostdata
    if ioa_cfg is None:
        return -errno.ENXIO
    if ioa_cfg.ioa_is_dead:
        return -errno.EIO
    kernel, pdev = ioa_cfg.kernel, ioa_cfg.pdev
    if kernel.pci_read_config_word(pdev, PCI_VENDOR_ID) != pdev.vendor:
        return -errno.ENODEV
    if ioa_cfg.in_reset_reload or not ioa_cfg.allow_cmds:
        return 1                                        # in BIST nothing below would tell anything
    if kernel.pci_read_config_word(pdev, PCI_COMMAND) & _PCI_COMMAND_NEEDED != _PCI_COMMAND_NEEDED:
        return -errno.ENXIO
    if kernel.readl(ioa_cfg.hdw_dma_regs, ioa_cfg.regs.INT) == ALL_ONES:
        return -errno.ENXIO
    # who stopped under the lock left the free list half changed; quiesce makes it anew
    return 1 if kernel.spin_is_locked(ioa_cfg.lock) else 0


def ipr_quiesce(sdev: ScsiDevice) -> int:
    """Release the lock, forget what was in flight, mask the chip.

    Nothing is sent from here on until a host reset has worked.
    """
    ioa_cfg: IprIoaCfg | None = sdev.host.hostdata
    if ioa_cfg is None:
        return -errno.ENXIO
    kernel = ioa_cfg.kernel
    ioa_cfg.allow_cmds = ioa_cfg.allow_interrupts = False
    ioa_cfg.lock = kernel.spin_lock_init("ioa_cfg.lock")
    ioa_cfg.in_reset_reload = ioa_cfg.in_ioa_bringdown = ioa_cfg.waits_for_oper = False
    ioa_cfg.reset_retries = ioa_cfg.waiters = 0
    ipr_stop_job(ioa_cfg)
    for block in ioa_cfg.blocks:
        block.pending = block.timed = False
        block.scmd = block.res = None
        kernel.del_timer(block.timer)
    ioa_cfg.free_q.clear()
    kernel.writel(ALL_ONES, ioa_cfg.hdw_dma_regs, ioa_cfg.regs.MASK_SET)
    return 0


def ipr_shutdown(sdev: ScsiDevice) -> int:
    """Bring the adapter down, as before a reboot: tell its firmware, then BIST.  It touches no memory after that."""
    ioa_cfg: IprIoaCfg | None = sdev.host.hostdata
    if ioa_cfg is None or ioa_cfg.ioa_is_dead:
        return 0
    ioa_cfg.in_ioa_bringdown = True
    ioa_cfg.waiters += 1
    ipr_initiate_ioa_reset(ioa_cfg, ShutdownType.NORMAL, "shutdown")
    ioa_cfg.waiters -= 1
    ipr_wait_for_reset(ioa_cfg)
    return -errno.EIO if ioa_cfg.ioa_is_dead else 0


class IprDumpHooks:
    """The dump hooks of an ipr host, as one dump device binds them."""

    @hookimpl
    def dump_sanity_check(self, sdev: ScsiDevice) -> int:
        """See ipr_sanity_check."""
        return ipr_sanity_check(sdev)

    @hookimpl
    def quiesce(self, sdev: ScsiDevice) -> int:
        """See ipr_quiesce."""
        return ipr_quiesce(sdev)

    @hookimpl
    def dump_poll(self, sdev: ScsiDevice) -> None:
        """The interrupt handler by hand; see ipr_poll."""
        ioa_cfg: IprIoaCfg | None = sdev.host.hostdata
        if ioa_cfg is not None:
            ipr_poll(ioa_cfg)

    @hookimpl
    def shutdown(self, sdev: ScsiDevice) -> int:
        """See ipr_shutdown."""
        return ipr_shutdown(sdev)
