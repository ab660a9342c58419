"""The four dump hooks: what diskdump asks of a host adapter driver (white paper 4.4).

Called after the crash, interrupts off, on the one CPU that still runs; what others were doing is half done.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ddsdk.hookspecs import hookimpl

from .chip import ISTAT0, R, assert_rst, gone, release_rst, sym_chip_reset
from .interrupt import sym53c8xx_poll
from .recovery import Step
from .regs import ALL_ONES

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Kernel
    from ddsdk.scsi.host import ScsiDevice

    from .adapter import Hcb

_PCI_COMMAND: Final = 0x04
_PCI_COMMAND_MASTER: Final = 0x4


def SYM_MDELAY(kernel: Kernel, ms: int) -> None:
    """White paper 4.3 item 4: diskdump_mdelay() in crash mode, mdelay() otherwise."""
    if kernel.crashdump_mode():
        kernel.diskdump_mdelay(ms)
    else:
        kernel.mdelay(ms)


def sym_sanity_check(sdev: ScsiDevice) -> int:
    """Whether a dump may go through this adapter: 0, -errno, or 1 for "cannot tell".  Looks, and changes nothing.

    SCRIPTS that run, a target that is connected, causes that are pending: the host reset that follows ends all that.
    While SCRIPTS run only ISTAT may be read.
    """
    np: Hcb | None = sdev.host.hostdata
    if np is None:
        return -errno.ENXIO
    kernel = np.kernel
    command = kernel.pci_read_config_word(np.pdev, _PCI_COMMAND)
    if command == 0xFFFF:
        return -errno.ENODEV
    if not command & _PCI_COMMAND_MASTER:
        return -errno.ENXIO
    if kernel.readb(np.chip, ISTAT0) == ALL_ONES:
        return -errno.ENODEV
    if np.resetting or np.dead or kernel.spin_is_locked(np.lock):
        return 1                                    # half done; the host reset builds all of it anew
    if (np.features.srun and not kernel.readb(np.chip, R.ISTAT1).SRUN and kernel.readb(np.chip, R.SSTAT0).RST
            and not kernel.readb(np.chip, R.SCNTL1).RST):
        return 1                                    # somebody else holds RST: another initiator, or a short
    return 0


def sym_quiesce(sdev: ScsiDevice) -> int:
    """Release the driver's lock, stop and reset the chip, forget what was in flight.

    Nothing is queued from here on until a host reset has worked.  A target that was connected holds the bus till then.
    """
    np: Hcb | None = sdev.host.hostdata
    if np is None:
        return -errno.ENXIO
    kernel = np.kernel
    kernel.spin_lock_init(np.lock)
    kernel.del_timer(np.reset_timer)
    np.active = np.resetting = np.waiting = np.at_gate = False
    np.reset_step = Step.NONE
    if gone(np):
        return -errno.ENODEV
    sym_chip_reset(np)
    SYM_MDELAY(kernel, 2)
    np.forget()
    return 0


def sym_poll(sdev: ScsiDevice) -> None:
    """The interrupt handler by hand."""
    np: Hcb | None = sdev.host.hostdata
    if np is not None and np.active:
        sym53c8xx_poll(np)


def sym_shutdown(sdev: ScsiDevice) -> int:
    """Reset chip and bus and start nothing: no SCRIPTS, no target touches memory while the machine reboots."""
    np: Hcb | None = sdev.host.hostdata
    if np is None:
        return 0
    kernel = np.kernel
    kernel.del_timer(np.reset_timer)
    np.active = np.resetting = False
    np.reset_step = Step.NONE
    np.forget()
    if gone(np):
        return -errno.ENODEV
    sym_chip_reset(np)
    SYM_MDELAY(kernel, 2)
    assert_rst(np)
    SYM_MDELAY(kernel, 1)
    release_rst(np)
    np.reclaim()
    return 0


class SymDumpHooks:
    """The dump hooks of a SYM53C8XX host, as one dump device binds them."""

    @hookimpl
    def dump_sanity_check(self, sdev: ScsiDevice) -> int:
        """See sym_sanity_check."""
        return sym_sanity_check(sdev)

    @hookimpl
    def quiesce(self, sdev: ScsiDevice) -> int:
        """See sym_quiesce."""
        return sym_quiesce(sdev)

    @hookimpl
    def dump_poll(self, sdev: ScsiDevice) -> None:
        """See sym_poll."""
        sym_poll(sdev)

    @hookimpl
    def shutdown(self, sdev: ScsiDevice) -> int:
        """See sym_shutdown."""
        return sym_shutdown(sdev)
