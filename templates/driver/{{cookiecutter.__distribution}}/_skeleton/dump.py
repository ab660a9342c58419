"""The four dump hooks: what diskdump asks of a host adapter driver (white paper 4.4).

Called after the crash, interrupts off, on the one CPU that still runs; what others were doing is half done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.hookspecs import hookimpl

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Kernel
    from ddsdk.scsi.host import ScsiDevice

_PCI_COMMAND: Final = 0x04
_PCI_COMMAND_MASTER: Final = 0x4


def {{cookiecutter.__NAME}}_MDELAY(kernel: Kernel, ms: int) -> None:
    """White paper 4.3 item 4: diskdump_mdelay() in crash mode, mdelay() otherwise."""
    raise NotImplementedError(
        "{{cookiecutter.__NAME}}_MDELAY: diskdump_mdelay() when crashdump_mode(), else mdelay() (white paper 4.3 item 4).")


def {{cookiecutter.name}}_sanity_check(sdev: ScsiDevice) -> int:
    """Whether a dump may go through this adapter: 0, -errno, or 1 for "cannot tell".  Looks, and changes nothing.

    A firmware fault is no reason to refuse: the host reset that follows ends it.
    """
    raise NotImplementedError(
        "{{cookiecutter.name}}_sanity_check: -errno when there is no hostdata, queue_lock is held, PCI COMMAND says gone "
        "or no bus master, or STATUS (regs.py) says GONE; 1 while resetting or dead; else 0; it writes nothing.")


def {{cookiecutter.name}}_quiesce(sdev: ScsiDevice) -> int:
    """Release the driver's lock, mask the adapter, forget what was in flight.

    Nothing is submitted from here on until a host reset has worked.
    """
    raise NotImplementedError(
        "{{cookiecutter.name}}_quiesce: spin_lock_init() queue_lock, del_timer() reset_timer, mask everything in "
        "INTERRUPT_MASK (regs.py), clear active and resetting, forget() the requests; 0.")


def {{cookiecutter.name}}_poll(sdev: ScsiDevice) -> None:
    """The interrupt handler by hand, and what it leaves to the tasklet."""
    raise NotImplementedError(
        "{{cookiecutter.name}}_poll: call {{cookiecutter.name}}_interrupt() by hand, then {{cookiecutter.name}}_finish() if there "
        "are tags in adapter.done.")


def {{cookiecutter.name}}_shutdown(sdev: ScsiDevice) -> int:
    """Reset the adapter and leave it READY: nothing of it touches memory while the machine reboots."""
    raise NotImplementedError(
        "{{cookiecutter.name}}_shutdown: del_timer() reset_timer, forget() the requests, write RESET to CONTROL (regs.py), "
        "wait with {{cookiecutter.__NAME}}_MDELAY() until STATUS says READY, a bounded time, and reclaim(); 0 or -errno.")


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
