"""The four dump hooks: what diskdump asks of an IDE driver (white paper 4.4, on ide_drive_t).

Called after the crash, interrupts off, on the one CPU that still runs; what others were doing is half done.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ddsdk.hookspecs import hookimpl

from .adapter import channel_of
from .interrupt import piix_poll_channel
from .recovery import piix_soft_reset, silence, write_srst
from .regs import (
    GONE,
    IDETIM,
    NO_DRIVE,
    PCI_COMMAND,
    PCI_COMMAND_IO,
    PCI_COMMAND_MASTER,
    ControlBlock,
    IdeTim,
)

if TYPE_CHECKING:
    from ddsdk.ata.host import IdeDrive

    from .adapter import Channel


def piix_sanity_check(drive: IdeDrive) -> int:
    """Whether a dump may go through this channel: 0, -errno, or 1 for "cannot tell".  Looks, and changes nothing.

    Bus mastering that is off has to be found here: some interfaces then report success and move nothing.  A drive that
    is busy is no reason to refuse: the soft reset that follows ends it.
    """
    channel = channel_of(drive)
    if channel is None:
        return -errno.ENXIO
    kernel, pdev = channel.kernel, channel.pdev
    command = kernel.pci_read_config_word(pdev, PCI_COMMAND)
    if command == 0xFFFF:
        return -errno.ENODEV
    if not (command & PCI_COMMAND_MASTER and command & PCI_COMMAND_IO
            and IdeTim(kernel.pci_read_config_word(pdev, IDETIM[channel.number])).IDE):
        return -errno.ENXIO
    if kernel.inb(channel.bm, channel.BM_STATUS) == GONE:
        return -errno.ENODEV
    stat = int(kernel.inb(channel.control, ControlBlock.ALTSTATUS))
    if stat == GONE or (stat in NO_DRIVE and channel.unit == drive.unit):
        return -errno.ENODEV
    return 1 if channel.resetting or channel.dead >> drive.unit & 1 else 0


def piix_quiesce(drive: IdeDrive) -> int:
    """Stop both bus masters, mask the drives' interrupts, forget what was in flight.

    Both: the other channel's would go on writing into memory that is being saved.  No command is started from here on
    until a soft reset has worked.
    """
    channel = channel_of(drive)
    if channel is None:
        return -errno.ENXIO
    for one in channel.piix.channels:
        _quiet(one)
    return 0


def _quiet(channel: Channel) -> None:
    """One channel, in whatever state."""
    channel.kernel.del_timer(channel.drq_timer)
    silence(channel)
    channel.unit = -1
    channel.resetting, channel.dead = False, 0
    channel.forget()
    channel.unmap()


def piix_poll(drive: IdeDrive) -> None:
    """What the interrupt handler does, and the timer."""
    channel = channel_of(drive)
    if channel is not None:
        piix_poll_channel(channel)


def piix_shutdown(drive: IdeDrive) -> int:
    """Reset the drives of both channels and leave them masked: nothing of them is half way when the machine reboots.

    Only *drive*'s channel is waited for; says when its drive does not come back.
    """
    channel = channel_of(drive)
    if channel is None:
        return 0
    for one in channel.piix.channels:
        one.forget()
        silence(one)
        one.unmap()
        if one is not channel:
            write_srst(one)
    return piix_soft_reset(channel, drive.unit)[drive.unit]


class PiixDumpHooks:
    """The dump hooks, as one dump device binds them."""

    @hookimpl
    def dump_sanity_check(self, drive: IdeDrive) -> int:
        """See piix_sanity_check."""
        return piix_sanity_check(drive)

    @hookimpl
    def quiesce(self, drive: IdeDrive) -> int:
        """See piix_quiesce."""
        return piix_quiesce(drive)

    @hookimpl
    def dump_poll(self, drive: IdeDrive) -> None:
        """See piix_poll, whose body this is: it is called most."""
        channel = drive.hwif.hwif_data
        if channel is not None:
            piix_poll_channel(channel)

    @hookimpl
    def shutdown(self, drive: IdeDrive) -> int:
        """See piix_shutdown."""
        return piix_shutdown(drive)
