"""The four dump hooks: what diskdump asks of an IDE driver (white paper 4.4, on ide_drive_t).

Called after the crash, interrupts off, on the one CPU that still runs; what others were doing is half done.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ddsdk.ata.taskfile import BUSY_STAT
from ddsdk.hookspecs import hookimpl

from .interrupt import step
from .recovery import RESET_LIMIT_MS, RESET_POLL_MS, SRST_US, write_srst
from .regs import GONE, BmCommand, Regs

if TYPE_CHECKING:
    from ddsdk.ata.host import IdeDrive
    from ddsdk.helperlib.kernel import Kernel

    from .adapter import Adapter

_PCI_COMMAND: Final = 0x04
_PCI_COMMAND_MASTER: Final = 0x4


def {{cookiecutter.__NAME}}_MDELAY(kernel: Kernel, ms: int) -> None:
    """White paper 4.3 item 4: diskdump_mdelay() in crash mode, mdelay() otherwise."""
    if kernel.crashdump_mode():
        kernel.diskdump_mdelay(ms)
    else:
        kernel.mdelay(ms)


def {{cookiecutter.name}}_sanity_check(drive: IdeDrive) -> int:
    """Whether a dump may go through this interface: 0, -errno, or 1 for "cannot tell".  Looks, and changes nothing.

    A drive that is busy is no reason to refuse: the soft reset that follows ends it.
    """
    adapter: Adapter | None = drive.hwif.hwif_data
    if adapter is None:
        return -errno.ENXIO
    kernel = adapter.kernel
    command = kernel.pci_read_config_word(adapter.pdev, _PCI_COMMAND)
    if command == 0xFFFF:
        return -errno.ENODEV
    if not command & _PCI_COMMAND_MASTER:
        return -errno.ENXIO
    if int(kernel.inb(adapter.ports, Regs.BM_STATUS)) == GONE:
        return -errno.ENODEV
    return 1 if adapter.resetting or adapter.dead else 0


def {{cookiecutter.name}}_quiesce(drive: IdeDrive) -> int:
    """Stop the bus master, mask the drive's interrupt, forget what was in flight.

    No command is started from here on until a soft reset has worked.
    """
    adapter: Adapter | None = drive.hwif.hwif_data
    if adapter is None:
        return -errno.ENXIO
    kernel = adapter.kernel
    kernel.del_timer(adapter.drq_timer)
    kernel.outb(BmCommand.of(), adapter.ports, Regs.BM_COMMAND)
    if adapter.resetting:
        kernel.udelay(SRST_US)                      # perhaps SRST has just been set
    kernel.outb(adapter.masked, adapter.ports, Regs.CONTROL)
    adapter.resetting = adapter.dead = False
    adapter.forget()
    return 0


def {{cookiecutter.name}}_poll(drive: IdeDrive) -> None:
    """What the interrupt handler does, and the timer; BM_STATUS.INTR is not asked, masked it stays 0."""
    adapter: Adapter | None = drive.hwif.hwif_data
    if adapter is not None:
        stat = int(adapter.kernel.inb(adapter.ports, Regs.ALTSTATUS))
        if stat == GONE or not stat & BUSY_STAT:
            step(adapter)


def {{cookiecutter.name}}_shutdown(drive: IdeDrive) -> int:
    """Reset the drives and leave them masked: nothing of them touches memory while the machine reboots."""
    adapter: Adapter | None = drive.hwif.hwif_data
    if adapter is None:
        return 0
    kernel, ports = adapter.kernel, adapter.ports
    adapter.forget()
    kernel.outb(BmCommand.of(), ports, Regs.BM_COMMAND)
    adapter.unmap()
    write_srst(adapter)
    for _ in range(RESET_LIMIT_MS // RESET_POLL_MS):
        {{cookiecutter.__NAME}}_MDELAY(kernel, RESET_POLL_MS)
        stat = int(kernel.inb(ports, Regs.ALTSTATUS))
        if stat == GONE:
            return -errno.ENODEV
        if not stat & BUSY_STAT:
            return 0
    return -errno.EIO


class {{cookiecutter.__Name}}DumpHooks:
    """The dump hooks, as one dump device binds them."""

    @hookimpl
    def dump_sanity_check(self, drive: IdeDrive) -> int:
        """See {{cookiecutter.name}}_sanity_check."""
        return {{cookiecutter.name}}_sanity_check(drive)

    @hookimpl
    def quiesce(self, drive: IdeDrive) -> int:
        """See {{cookiecutter.name}}_quiesce."""
        return {{cookiecutter.name}}_quiesce(drive)

    @hookimpl
    def dump_poll(self, drive: IdeDrive) -> None:
        """See {{cookiecutter.name}}_poll."""
        {{cookiecutter.name}}_poll(drive)

    @hookimpl
    def shutdown(self, drive: IdeDrive) -> int:
        """See {{cookiecutter.name}}_shutdown."""
        return {{cookiecutter.name}}_shutdown(drive)
