"""REG, the code: what runs after the crash is what was registered for the CRC, and keeps to the data sheet."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType, MappingProxyType
from typing import Any, Final

import attrs

from ddsdk.errors import HardwareFault, RegisterAccessFault
from ddsdk.hookspecs.profile import Role
from ddsdk.integrity import CodeImage

from .. import routes
from ..bench import Bench
from ..check import CheckFailed, check
from ..plan import Plan

#: Code called from here on is hardware: what a model does when it is asked, or when its time has come.
_HARDWARE: Final = "ddsdk.sim."
#: Roles that run no other code than the rest, for a long time; or after which nothing runs.
_LENGTHY: Final = (Role.ADAPTER_GONE, Role.RESET_HANGS, Role.RESET_SLOW)
#: A traveller's machine, with the driver probed.
_SETUP: Final = attrs.evolve(routes.TRAVELLER, probe=True)


def _faults(bench: Bench) -> None:
    """Each fault that the model can play, over a command of the dump's, and a host reset after it."""
    bench.crash()
    bench.device.quiesce()
    for role in Role:
        if bench.plays(role) and role not in _LENGTHY:
            bench.inject(role)
        command = routes.page_command(bench)
        if bench.start(command):
            routes.poll_for(bench, command)
        routes.reset(bench)


#: Case -> what is done after the crash.
_RUNS: Final[Mapping[str, Callable[[Bench], None]]] = MappingProxyType({
    "dump": routes.dump,
    "faults": _faults,
    "gone": routes.gone,
})


@check("REG-9", hook="modules", source="white paper 2.1: diskdump verifies that its code is not corrupted", fix="""
       DRIVER_MODULES = ("my_driver.driver", "my_driver.dump", "my_driver.regs", ...)   # all that runs after a crash
       DriverInfo(..., modules=DRIVER_MODULES)
       """, cases=lambda plan: tuple(_RUNS), setup=_SETUP)
def modules_covers_what_runs(bench: Bench, run: str) -> None:
    """DriverInfo.modules can be imported, and no other code of the driver's runs after a crash.

    Their CRC is taken at registration and checked at the crash; what is not among them may be corrupted unnoticed.
    """
    driver = bench.plan.driver
    for name in driver.modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            bench.expect(False, f"module {name} of DriverInfo.modules cannot be imported ({type(error).__name__}:"
                                f" {error}); name what is there")
    for what, function in _entrances(bench):
        where = _module_of(function)
        bench.expect(where in driver.modules,
                     f"{what} is in module {where}, which DriverInfo.modules does not name; it runs after a crash")
    with _watching(bench) as ran, suppress(Exception):      # what goes wrong on the way others judge
        _RUNS[run](bench)
    for name, function_name in ran.items():
        bench.expect(False, f"after the crash {function_name} of module {name} ran, which DriverInfo.modules does not"
                            " name; its CRC would not be checked")


def _entrances(bench: Bench) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Whatever of the driver's is called after a crash: hooks, queuecommand, error handlers."""
    hooks = bench.plan.driver.hooks
    for name in sorted(bench.hooks.implemented):
        yield f"hook {name}", getattr(hooks, name)
    template = bench.template
    for field in attrs.fields(type(template)):
        value = getattr(template, field.name)
        if callable(value):
            yield field.name, value


def _module_of(function: Callable[..., Any]) -> str:
    """Where the code behind a callable is: of a function, or of the class of an object that can be called."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    return str(getattr(function if inspect.isroutine(function) else type(function), "__module__", "?"))


@contextmanager
def _watching(bench: Bench) -> Iterator[Mapping[str, str]]:
    """Modules of the driver's packages, not in `modules`, whose code runs after the crash: name -> a function there."""
    listed = frozenset(bench.plan.driver.modules)
    packages = {name.partition(".")[0] for name in listed} - {"ddsdk"}
    ran: dict[str, str] = {}

    def look(frame: FrameType, event: str, _argument: Any) -> None:
        name = str(frame.f_globals.get("__name__", ""))
        if event != "call" or name in listed or name.partition(".")[0] not in packages:
            return
        if bench.crashed and name not in ran and not _is_hardware(frame):
            ran[name] = frame.f_code.co_name

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield ran
    finally:
        sys.setprofile(before)


def _is_hardware(frame: FrameType) -> bool:
    """The model at work: somewhere below it the bus or the clock called."""
    caller = frame.f_back
    while caller is not None:
        if str(caller.f_globals.get("__name__", "")).startswith(_HARDWARE):
            return True
        caller = caller.f_back
    return False


@check("REG-12", hook="queuecommand", setup=routes.TRAVELLER, faults=(RegisterAccessFault, HardwareFault),
       cases=routes.every_route, source="DESIGN.md 3 and 5: the model is stricter than silicon; field.md 4.2, Driver"
       " Verifier: register address outside the mapped range", fix="""
       kernel.readl(regs, MyRegs.STATUS)       # the access kind, width and offset of the data sheet's table
       kernel.writel(int(Control.of(RESET=1)), regs, MyRegs.CONTROL)
       """)
def the_data_sheet_is_kept(bench: Bench, route: str) -> None:
    """Wherever the driver runs it reads what can be read, writes what can be written, at its own offset and width."""
    routes.travel(bench, route)


def _image(plan: Plan) -> CodeImage:
    return CodeImage.take([importlib.import_module(name) for name in plan.driver.modules if name in sys.modules])


@check("REG-14", hook="modules", setup=_SETUP, source="white paper 2.1: if the CRC of the registration and that of the"
       " panic differ, the dump knows that it has been damaged", fix="""
       Keep what changes in objects - shost.hostdata, pdev.drvdata - and nothing of it in a module or a class.
       """)
def the_code_stays_as_registered(bench: Bench) -> None:
    """Nothing that the CRC covers changes while the driver works: not by commands, not by error handling."""
    image = _image(bench.plan)
    with suppress(CheckFailed):
        routes.before_the_crash(bench)
    bench.crash()
    damage = image.verify()
    bench.expect(not damage, f"after some work the driver's code is not what was registered ({(*damage, '')[0]}); at"
                             " the crash the device is refused as compromised")
