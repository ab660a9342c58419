"""Errors: which exit code each one means, and that faults stay in their family."""

from __future__ import annotations

import inspect

import pytest

from ddsdk import errors
from ddsdk.errors import DdsdkError, DriverFault, DumpIOError, HardwareFault, errno_name

#: DESIGN.md section 7 and section 3: class -> (exit code, what it is a kind of).
ERRORS = {
    "DdsdkError": (70, "Exception"),
    "VerdictError": (1, "DdsdkError"),
    "UsageError": (2, "DdsdkError"),
    "PluginError": (3, "DdsdkError"),
    "FormatError": (4, "DdsdkError"),
    "DeviceError": (5, "DdsdkError"),
    "DumpIOError": (5, "DeviceError"),
    "DriverFault": (3, "PluginError"),
    "ForbiddenCallError": (3, "DriverFault"),
    "MdelayFault": (3, "DriverFault"),
    "SleepFault": (3, "DriverFault"),
    "AllocationFault": (3, "DriverFault"),
    "InterruptFault": (3, "DriverFault"),
    "DeadlockFault": (3, "DriverFault"),
    "LockFault": (3, "DriverFault"),
    "SimulationStuckError": (3, "DriverFault"),
    "WatchdogFault": (3, "DriverFault"),
    "TimerFault": (3, "DriverFault"),
    "HardwareFault": (3, "DriverFault"),
    "RegisterAccessFault": (3, "HardwareFault"),
    "DmaFault": (3, "HardwareFault"),
}


def test_every_error_has_its_exit_code_and_family() -> None:
    """The classes of ddsdk.errors are these, with these exit codes and bases; a new one needs a line here."""
    found = {name: (cls.exit_code, cls.__bases__[0].__name__) for name, cls in vars(errors).items()
             if inspect.isclass(cls) and issubclass(cls, DdsdkError)}
    assert found == ERRORS


@pytest.mark.parametrize("name", [name for name in ERRORS if name != "DumpIOError"])
def test_errors_carry_one_text(name: str) -> None:
    """An error is raised with its one-line message and prints as it."""
    error = getattr(errors, name)("disk 0: block 7: no")
    assert str(error) == "disk 0: block 7: no"
    assert isinstance(error, DdsdkError)


def test_every_error_class_says_when_it_is_raised() -> None:
    """Each class has its own docstring: what happened, not what it is called."""
    for name in ERRORS:
        assert getattr(errors, name).__doc__ not in (None, "")
        assert getattr(errors, name).__doc__ != DriverFault.__doc__ or name == "DriverFault"


def test_hardware_faults_are_driver_faults() -> None:
    """Driving the adapter against its data sheet is the driver's fault: one except clause catches both."""
    assert issubclass(HardwareFault, DriverFault)


def test_dump_io_error_keeps_error_number_and_block() -> None:
    """A failed transfer says which error it was and which block it began at."""
    error = DumpIOError("mpt0: block 1234: -EIO after 5 tries", errno=5, block=1234)
    assert (str(error), error.errno, error.block, error.exit_code) == (
        "mpt0: block 1234: -EIO after 5 tries", 5, 1234, 5)


@pytest.mark.parametrize(("number", "name"), [
    (-5, "-EIO"), (5, "-EIO"), (-27, "-EFBIG"), (-110, "-ETIMEDOUT"), (-6, "-ENXIO"), (0, "0"),
    (-4095, "-4095"), (77777, "77777")])
def test_error_numbers_have_names(number: int, name: str) -> None:
    """Kernel return codes print as -ENAME; what is none prints as it is."""
    assert errno_name(number) == name
