"""ERR, continued: the error handlers before the crash.  What they say has to be true: a crash may come right after.

A command that does not end is brought about in three ways: the adapter forgets it, the disk never answers, the disk
answers much later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ddsdk.hookspecs.profile import Role
from ddsdk.scsi.cmnd import SUCCESS
from ddsdk.scsi.host import ErrorHandler
from ddsdk.sim import disk_faults
from ddsdk.sim.disk_faults import Access

from ..bench import DATA, NS_PER_S, PAGE, Command
from ..check import Level, Need, check
from ..plan import Plan
from ..scsi_bench import ScsiBench

#: When the mid-layer loses its patience, for the kit; and how long it watches afterwards: longer than `slow`.
_PATIENCE_NS: Final = NS_PER_S
_SLOW_NS: Final = 8 * NS_PER_S
_AFTERWARDS_NS: Final = 12 * NS_PER_S
_SECTOR: Final = 64
#: Sectors of the command that is well: it ends before anybody loses patience.
_HEALTHY_SECTOR: Final = 256
_HEALTHY: Final = DATA + 0x4_0000
_SOURCE: Final = ("include/scsi/scsi_host.h: an error handler's SUCCESS gives the command back to the mid-layer;"
                  " field.md 4.3, row time of crash: inside the error handler")
_FIX: Final = """
    After a SUCCESS the adapter knows the command no more: wait for its answer, unmap the data, free the slot, and never
    call scsi_done() for it again.  What cannot be made sure of is FAILED: a stronger handler comes next.
    """


def _ways(plan: Plan) -> Sequence[str]:
    forgotten = ["forgotten-by-adapter"] if plan.role(Role.COMMAND_HUNG) else []
    return [*forgotten, "never-answered", "answered-late"] if plan.backend == "model" else []


@check("ERR-6", hook="eh_abort_handler", level=Level.IF_OFFERED, needs=(Need.SCSI, Need.MODEL, Need.ABORT), cases=_ways,
       source=_SOURCE, fix=_FIX)
def an_abort_is_true(bench: ScsiBench, way: str) -> None:
    """When the abort handler says SUCCESS, the command is gone: it ends at most once and never well, its memory is the
    adapter's no more, others are untouched, and the next command works.
    """
    handler = bench.host.hostt.eh_abort_handler
    assert handler is not None
    _abort_of_an_ended_command(bench, handler)
    stuck = _stick(bench, way, 1)
    healthy = _healthy(bench) if bench.depth > 1 else None
    result = _call(bench, handler, stuck[0])
    _over(bench, "abort", result, stuck, told=False)
    bench.expect(healthy is None or (healthy.ended == 1 and not bench.error_of(healthy)),
                 "a command beside the aborted one did not end well")
    _next_works(bench, "abort")


@check("ERR-7", hook="eh_device_reset_handler", level=Level.IF_OFFERED,
       needs=(Need.SCSI, Need.MODEL, Need.DEVICE_RESET), cases=_ways, source=_SOURCE, fix=_FIX)
def a_device_reset_is_true(bench: ScsiBench, way: str) -> None:
    """When the device reset handler says SUCCESS, the device's commands are gone: each ends once and never well, their
    memory is the adapter's no more, and the next command works.
    """
    _reset(bench, "device reset", bench.host.hostt.eh_device_reset_handler, way)


@check("ERR-8", hook="eh_bus_reset_handler", level=Level.IF_OFFERED, needs=(Need.SCSI, Need.MODEL, Need.BUS_RESET),
       cases=_ways, source=_SOURCE, fix=_FIX)
def a_bus_reset_is_true(bench: ScsiBench, way: str) -> None:
    """When the bus reset handler says SUCCESS, every command is gone: each ends once and never well, their memory is
    the adapter's no more, and the next command works.
    """
    _reset(bench, "bus reset", bench.host.hostt.eh_bus_reset_handler, way)


def _reset(bench: ScsiBench, name: str, handler: ErrorHandler | None, way: str) -> None:
    assert handler is not None
    stuck = _stick(bench, way, min(2, bench.depth))
    result = _call(bench, handler, stuck[0])
    _over(bench, name, result, stuck, told=True)
    _next_works(bench, name)


def _abort_of_an_ended_command(bench: ScsiBench, handler: ErrorHandler) -> None:
    """The command ends while the mid-layer is on its way: nothing to abort, and nothing to do twice."""
    ended = _healthy(bench)
    bench.expect(bench.wait(ended), "a command did not end within 30 s")
    _call(bench, handler, ended)
    bench.expect(ended.ended == 1, f"a command that had ended was aborted, and ended {ended.ended} times")


def _stick(bench: ScsiBench, way: str, count: int) -> list[Command]:
    """*count* commands that do not end before somebody's patience does."""
    assert bench.disk is not None
    read = way == "answered-late"       # into memory that may be somebody else's by then
    if way == "forgotten-by-adapter":
        bench.inject(Role.COMMAND_HUNG, times=count)
    elif way == "never-answered":
        bench.disk.inject(disk_faults.hang(count))
    else:
        bench.disk.inject(disk_faults.slow(_SLOW_NS, count, 0, Access.MEDIUM))
    commands = [bench.command(not read, _SECTOR + 16 * n, [(DATA + n * PAGE, PAGE)]) for n in range(count)]
    taken = bench.start_all(commands)
    bench.expect(len(taken) == count, f"can_queue is {bench.depth}, and the driver takes only {len(taken)} commands")
    return taken


def _healthy(bench: ScsiBench) -> Command:
    """A command that nothing is wrong with."""
    command = bench.command(True, _HEALTHY_SECTOR, [(_HEALTHY, PAGE)])
    bench.expect(bench.start(command), "the driver says busy with one command outstanding at most")
    return command


def _call(bench: ScsiBench, handler: Callable[..., int], command: Command) -> int:
    """Wait, then *handler*, as the error handler thread calls it."""
    bench.machine.run(for_ns=_PATIENCE_NS)
    result: int = bench.in_task(lambda: bench.call_handler(handler, command.raw))
    return result


def _over(bench: ScsiBench, name: str, result: int, commands: Sequence[Command], told: bool) -> None:
    """What must hold of *commands* once *name* said SUCCESS; a FAILED is followed by the host reset.

    *told*: each must have been ended, by the driver; else it may as well have been given back.
    """
    if result != SUCCESS:
        if bench.lacks(Need.RESET):
            return
        bench.expect(bench.in_task(bench.call_reset), f"the {name} failed, and so did the host reset after it")
        name = f"host reset after a failed {name}"
    bench.machine.run(for_ns=NS_PER_S)          # answers that the reset brought about come by interrupt
    mine = {f"{command.nbytes} bytes at {command.raw.sg[0][0]:#x}" for command in commands}
    bench.expect(not mine & set(bench.lent), f"the {name} said SUCCESS, and the adapter may still reach the command's"
                                             " memory; unmap it, or say FAILED")
    bench.machine.run(for_ns=_AFTERWARDS_NS)
    for command in commands:
        bench.expect(command.ended <= 1, f"after the {name} the command ended {command.ended} times")
        bench.expect(command.ended or not told, f"the {name} said SUCCESS and took a command along, of which nobody was"
                                                " told; end it with DID_RESET")
        bench.expect(not command.ended or bench.error_of(command),
                     f"the {name} took the command along, and yet it ended well")


def _next_works(bench: ScsiBench, name: str) -> None:
    assert bench.disk is not None
    bench.faults.clear()
    bench.disk.faults.clear()
    for write in (True, False):
        error = bench.finish(bench.command(write, _SECTOR, [(DATA, PAGE)]))
        bench.expect(not error, f"after the {name} a {'write' if write else 'read'} failed: {error}")
