"""The four dump hooks: what diskdump asks of an IDE driver (white paper 4.4, on ide_drive_t).

Called after the crash, interrupts off, on the one CPU that still runs; what others were doing is half done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.hookspecs import hookimpl

if TYPE_CHECKING:
    from ddsdk.ata.host import IdeDrive
    from ddsdk.helperlib.kernel import Kernel


_PCI_COMMAND: Final = 0x04
_PCI_COMMAND_MASTER: Final = 0x4


def {{cookiecutter.__NAME}}_MDELAY(kernel: Kernel, ms: int) -> None:
    """White paper 4.3 item 4: diskdump_mdelay() in crash mode, mdelay() otherwise."""
    raise NotImplementedError(
        "{{cookiecutter.__NAME}}_MDELAY: diskdump_mdelay() when crashdump_mode(), else mdelay() (white paper 4.3 item 4).")


def {{cookiecutter.name}}_sanity_check(drive: IdeDrive) -> int:
    """Whether a dump may go through this interface: 0, -errno, or 1 for "cannot tell".  Looks, and changes nothing.

    A drive that is busy is no reason to refuse: the soft reset that follows ends it.
    """
    raise NotImplementedError(
        "{{cookiecutter.name}}_sanity_check: -errno when there is no hwif_data, PCI COMMAND says gone or no bus master, or "
        "BM_STATUS (regs.py) is GONE; 1 while resetting or dead; else 0; it writes nothing.")


def {{cookiecutter.name}}_quiesce(drive: IdeDrive) -> int:
    """Stop the bus master, mask the drive's interrupt, forget what was in flight.

    No command is started from here on until a soft reset has worked.
    """
    raise NotImplementedError(
        "{{cookiecutter.name}}_quiesce: del_timer() drq_timer, stop the bus master (BM_COMMAND in regs.py), adapter.masked "
        "to CONTROL, SRST_US after a reset that was under way, clear resetting and dead, forget() the command; 0.")


def {{cookiecutter.name}}_poll(drive: IdeDrive) -> None:
    """What the interrupt handler does, and the timer; BM_STATUS.INTR is not asked, masked it stays 0."""
    raise NotImplementedError(
        "{{cookiecutter.name}}_poll: step(), as the interrupt handler does, when ALTSTATUS (regs.py) is GONE or says not "
        "BSY; BM_STATUS.INTR is not asked.")


def {{cookiecutter.name}}_shutdown(drive: IdeDrive) -> int:
    """Reset the drives and leave them masked: nothing of them touches memory while the machine reboots."""
    raise NotImplementedError(
        "{{cookiecutter.name}}_shutdown: forget() the command, stop the bus master (BM_COMMAND in regs.py), unmap(), "
        "write_srst(), wait with {{cookiecutter.__NAME}}_MDELAY() until BSY is clear, a bounded time; 0 or -errno.")


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
