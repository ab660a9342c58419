"""The four dump hooks: what diskdump asks of a host adapter driver (white paper 4.4).

Called after the crash, interrupts off, on the one CPU that still runs; what others were doing is half done.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ddsdk.hookspecs import hookimpl

from .interrupt import {{cookiecutter.name}}_finish, {{cookiecutter.name}}_interrupt
from .recovery import RESET_LIMIT_MS
from .regs import MASK_ALL, Control, Regs, State

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Kernel
    from ddsdk.scsi.host import ScsiDevice

    from .adapter import Adapter

_PCI_COMMAND: Final = 0x04
_PCI_COMMAND_MASTER: Final = 0x4


def {{cookiecutter.__NAME}}_MDELAY(kernel: Kernel, ms: int) -> None:
    """White paper 4.3 item 4: diskdump_mdelay() in crash mode, mdelay() otherwise."""
    if kernel.crashdump_mode():
        kernel.diskdump_mdelay(ms)
    else:
        kernel.mdelay(ms)


def {{cookiecutter.name}}_sanity_check(sdev: ScsiDevice) -> int:
    """Whether a dump may go through this adapter: 0, -errno, or 1 for "cannot tell".  Looks, and changes nothing.

    A firmware fault is no reason to refuse: the host reset that follows ends it.
    """
    adapter: Adapter | None = sdev.host.hostdata
    if adapter is None:
        return -errno.ENXIO
    kernel = adapter.kernel
    if kernel.spin_is_locked(adapter.queue_lock):
        return -errno.EBUSY                         # somebody stopped in the middle of the queue
    command = kernel.pci_read_config_word(adapter.pdev, _PCI_COMMAND)
    if command == 0xFFFF:
        return -errno.ENODEV
    if not command & _PCI_COMMAND_MASTER:
        return -errno.ENXIO
    if kernel.readl(adapter.chip, Regs.STATUS).STATE == State.GONE:
        return -errno.ENODEV
    return 1 if adapter.resetting or adapter.dead else 0


def {{cookiecutter.name}}_quiesce(sdev: ScsiDevice) -> int:
    """Release the driver's lock, mask the adapter, forget what was in flight.

    Nothing is submitted from here on until a host reset has worked.
    """
    adapter: Adapter | None = sdev.host.hostdata
    if adapter is None:
        return -errno.ENXIO
    kernel = adapter.kernel
    kernel.spin_lock_init(adapter.queue_lock)
    kernel.del_timer(adapter.reset_timer)
    kernel.writel(MASK_ALL, adapter.chip, Regs.INTERRUPT_MASK)
    adapter.active = adapter.resetting = False
    adapter.forget()
    return 0


def {{cookiecutter.name}}_poll(sdev: ScsiDevice) -> None:
    """The interrupt handler by hand, and what it leaves to the tasklet."""
    adapter: Adapter | None = sdev.host.hostdata
    if adapter is not None:
        {{cookiecutter.name}}_interrupt(0, adapter)
        if adapter.done:
            {{cookiecutter.name}}_finish(adapter)


def {{cookiecutter.name}}_shutdown(sdev: ScsiDevice) -> int:
    """Reset the adapter and leave it READY: nothing of it touches memory while the machine reboots."""
    adapter: Adapter | None = sdev.host.hostdata
    if adapter is None:
        return 0
    kernel = adapter.kernel
    kernel.del_timer(adapter.reset_timer)
    adapter.active = adapter.resetting = False
    adapter.forget()
    kernel.writel(Control.of(RESET=1), adapter.chip, Regs.CONTROL)
    for _ in range(RESET_LIMIT_MS):
        {{cookiecutter.__NAME}}_MDELAY(kernel, 1)
        state = kernel.readl(adapter.chip, Regs.STATUS).STATE
        if state == State.READY:
            adapter.reclaim()
            return 0
        if state == State.GONE:
            return -errno.ENODEV
    return -errno.EIO


class {{cookiecutter.__Name}}DumpHooks:
    """The dump hooks, as one dump device binds them."""

    @hookimpl
    def dump_sanity_check(self, sdev: ScsiDevice) -> int:
        """See {{cookiecutter.name}}_sanity_check."""
        return {{cookiecutter.name}}_sanity_check(sdev)

    @hookimpl
    def quiesce(self, sdev: ScsiDevice) -> int:
        """See {{cookiecutter.name}}_quiesce."""
        return {{cookiecutter.name}}_quiesce(sdev)

    @hookimpl
    def dump_poll(self, sdev: ScsiDevice) -> None:
        """See {{cookiecutter.name}}_poll."""
        {{cookiecutter.name}}_poll(sdev)

    @hookimpl
    def shutdown(self, sdev: ScsiDevice) -> int:
        """See {{cookiecutter.name}}_shutdown."""
        return {{cookiecutter.name}}_shutdown(sdev)
