"""Every exception ddsdk raises on purpose, and the exit code each one means.

An error text names the thing, the value, the rule and the next step, in one line.  The command line
prints it and leaves with `exit_code`; nothing else in ddsdk knows about exit codes.
"""

from __future__ import annotations

import errno as _errno


class DdsdkError(Exception):
    """Root of ddsdk's own errors.  A bare DdsdkError reaching the user is our bug (exit 70)."""

    exit_code = 70


class VerdictError(DdsdkError):
    """The command worked and its answer is "no" (exit 1): not formatted, incomplete, refused."""

    exit_code = 1


class UsageError(DdsdkError):
    """The request itself is wrong (exit 2): an unknown name, a value out of range."""

    exit_code = 2


class PluginError(DdsdkError):
    """A plugin could not be loaded, bound or used (exit 3)."""

    exit_code = 3


class FormatError(DdsdkError):
    """A file or a partition does not hold what it must (exit 4)."""

    exit_code = 4


class DeviceError(DdsdkError):
    """A device, a file system or a directory refused (exit 5)."""

    exit_code = 5


class DumpIOError(DeviceError):
    """One I/O to a dump device failed for good.

    `errno` is the positive error number, `block` the first page-size block of the transfer.
    """

    def __init__(self, message: str, *, errno: int, block: int) -> None:
        super().__init__(message)
        self.errno = errno
        self.block = block


def errno_name(error: int) -> str:
    """`-5` or `5` -> `"-EIO"`; what is no error number comes back as digits."""
    name = _errno.errorcode.get(abs(error))
    return f"-{name}" if name else str(error)


class DriverFault(PluginError):
    """A driver did what may not be done where it did it.  Each rule has its own subclass."""


class ForbiddenCallError(DriverFault):
    """A call that has no meaning in crashdump_mode: schedule(), tasklet_hi_schedule(), ...

    Source: diskdump white paper rev 0.1, 4.3 item 5.
    """


class MdelayFault(DriverFault):
    """mdelay() in crashdump_mode: WARN_ON(in_irq()) and a starved NMI watchdog (white paper 4.3 item 4)."""


class SleepFault(DriverFault):
    """An unbounded sleep, or any sleep in interrupt context or under a spin lock."""


class AllocationFault(DriverFault):
    """A sleeping allocation in crashdump_mode, or one over the declared memory budget."""


class InterruptFault(DriverFault):
    """Interrupts enabled on the CPU or on the chip in crashdump_mode (white paper 4.3 item 3)."""


class DeadlockFault(DriverFault):
    """A spin lock taken that nobody will ever release: held by this CPU, or by a frozen one."""


class LockFault(DriverFault):
    """A lock released by someone who does not hold it."""


class SimulationStuckError(DriverFault):
    """A loop that waits without letting time pass, or a wait without a bound."""


class WatchdogFault(DriverFault):
    """The NMI watchdog bit: nobody touched it for longer than its limit."""


class TimerFault(DriverFault):
    """A timer, tasklet or work item used wrongly: added twice, or set up before it was initialised."""


class HardwareFault(DriverFault):
    """The adapter was driven against its data sheet: the model is stricter than silicon."""


class RegisterAccessFault(HardwareFault):
    """A read of a write-only register, a write to a read-only one, an unmapped or misaligned offset."""


class DmaFault(HardwareFault):
    """DMA outside granted memory, against its direction, or with bus mastering off."""
