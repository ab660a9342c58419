"""Every way a driver's code is gone, for rules that hold wherever it runs: no mdelay(), no sleep, no stray DMA.

A route is the life of one machine: what happens before the crash, the take-over, the dump, its end.  It does not ask
whether things go well - other checks do - it lets them happen, so that a fault has every occasion to be raised.
What became of a route is a function of the plan; it is gone once and remembered there for all the checks that ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Final

from attrs import frozen

from ddsdk.bus import PCI_COMMAND_IO, PCI_COMMAND_MEMORY
from ddsdk.hookspecs.profile import Role
from ddsdk.sim import disk_faults

from . import states
from .bench import DATA, HIGH, NS_PER_MS, NS_PER_S, PAGE, Bench, Command
from .calls import Call
from .check import CheckFailed, Need, Setup
from .plan import Plan

#: What a check that travels asks for; the driver is probed when its route is gone for the first time.
TRAVELLER: Final = Setup(probe=False, record=True, high_memory=True)

#: Turns of the dump loop a command gets here before it counts as lost: 30 ms, not the dump layer's 30 s.
_TURNS: Final = 300
#: Pages of a scatter list, at most; bytes of one long segment.
_PAGES: Final = 256
_LONG: Final = 1 << 20


def adopt(bench: Bench) -> None:
    """The device is chosen: sleeping calls poll it from here on, as the dump layer has it."""
    bench.kernel.poll = partial(bench.hooks.dump_poll, bench.dev)


def reset(bench: Bench) -> bool:
    """The host reset as the dump layer does it, where there is one; CheckFailed when it has no end."""
    if bench.lacks(Need.RESET):
        return False
    with bench.within(bench.plan.profile.reset_limit_s * NS_PER_S, "the host reset"):
        return bench.call_reset()


def shut_down(bench: Bench) -> None:
    """The driver's own shutdown; CheckFailed when it has no end."""
    with bench.within(bench.plan.profile.reset_limit_s * NS_PER_S, "shutdown"):
        bench.hooks.shutdown(bench.dev)


def poll_for(bench: Bench, command: Command) -> bool:
    """Whether *command* ends within a few turns of the dump loop."""
    for _ in range(_TURNS):
        if command.done:
            return True
        bench.turn()
    return command.done


def page_command(bench: Bench, write: bool = True) -> Command:
    """A page to or from sector 64."""
    return bench.command(write, 64, [(DATA, PAGE)])


# -- before the crash ----------------------------------------------------------------------------------------


def before_the_crash(bench: Bench) -> None:
    """Commands by interrupt, every error handler twice over a command that does not end, commands again."""
    _commands(bench)
    for name, handle in bench.error_handlers().items():
        for _ in range(1 if bench.disk is None and name == "host-reset" else 2):       # QEMU takes real time
            if bench.plays(Role.COMMAND_HUNG):
                bench.inject(Role.COMMAND_HUNG)
            stuck = page_command(bench, write=False)
            bench.start(stuck)
            bench.machine.run(for_ns=NS_PER_MS)
            bench.in_task(partial(handle, stuck), name)
    _commands(bench)


def _commands(bench: Bench) -> None:
    """Reads and writes of several sizes, of memory high and low, then as many at once as the driver takes."""
    for n, nbytes in enumerate((512, PAGE, 16 * PAGE, _LONG)):
        for write in (True, False):
            one = bench.command(write, 8 * n, [(DATA, nbytes // bench.setup.sector_size * bench.setup.sector_size)])
            if one.nbytes and one.nbytes <= bench.max_bytes:
                _go(bench, one)
    pages = [(DATA + 2 * PAGE * n, PAGE) for n in range(min(bench.max_segments, _PAGES, bench.max_bytes // PAGE))]
    lists = [pages]
    if not bench.lacks(Need.HIGH_MEMORY):
        lists.append([(paddr - DATA + HIGH, length) for paddr, length in pages[:16]])
    for sg in lists:
        _go(bench, bench.command(True, 64, sg))
        _go(bench, bench.command(False, 64, sg))
    _go(bench, bench.probe_command())
    many = [bench.command(True, 256 + 8 * n, [(DATA + n * PAGE, PAGE)]) for n in range(min(bench.depth, 64))]
    bench.wait(*bench.start_all(many), limit_ns=NS_PER_S)


def _go(bench: Bench, command: Command) -> None:
    if bench.start(command):
        bench.wait(command, limit_ns=NS_PER_S)


# -- after it ------------------------------------------------------------------------------------------------


def dump(bench: Bench) -> None:
    """From here to the end of a dump: sanity check, take-over, I/O, whatever the disk may answer, flush, shutdown.

    An adapter that is refused - a lock held at the crash, say - is left alone, as the dump layer leaves it.
    """
    if not bench.crashed:
        bench.crash()
    if bench.device.sanity_check() < 0:
        return
    with bench.within(2 * bench.plan.profile.reset_limit_s * NS_PER_S, "the take-over"):
        bench.device.quiesce()
    _commands(bench)
    for block in (0, 9):
        bench.device.rw_block(True, block, [(DATA, PAGE)])
        bench.device.rw_block(False, block, [(DATA, PAGE)])
    _disk_errors(bench)
    bench.device.flush()
    shut_down(bench)


def _disk_errors(bench: Bench) -> None:
    """One of each kind that a disk may answer, over a read or a write."""
    if bench.disk is None:
        return
    for fault in (disk_faults.unit_attention(), disk_faults.busy(), disk_faults.queue_full(),
                  disk_faults.recovered_error(), disk_faults.aborted_command(), disk_faults.wrong_length(),
                  disk_faults.medium_error(64, times=1), disk_faults.reservation_conflict(times=1)):
        for write in (True, False):
            bench.disk.inject(fault)
            bench.device.rw_block(write, 8, [(DATA, PAGE)])
            bench.disk.faults.clear()


def _from(state: str) -> Callable[[Bench], None]:
    """A dump that begins in *state* (see states.py)."""
    def route(bench: Bench) -> None:
        states.enter(bench, state)
        dump(bench)
    return route


def slow_take_over(bench: Bench) -> None:
    """Between quiesce and host reset time passes, in which the adapter goes on with what the dead kernel gave it."""
    states.enter(bench, "queue-full")
    adopt(bench)
    if bench.ask_sanity() < 0:
        return
    bench.call_quiesce()
    bench.let_pass(20)
    reset(bench)
    bench.settle()
    _commands(bench)
    shut_down(bench)


def from_error_handler(bench: Bench) -> None:
    """The crash comes while an error handler is at work on a command that hangs."""
    handlers = bench.error_handlers()
    if bench.plays(Role.COMMAND_HUNG):
        bench.inject(Role.COMMAND_HUNG)
    stuck = page_command(bench, write=False)
    bench.start(stuck)
    for name, handle in handlers.items():
        bench.machine.spawn(0, partial(handle, stuck), name)
        break
    bench.machine.run(for_ns=NS_PER_MS)
    dump(bench)


def completions(bench: Bench) -> None:
    """In the dump completions come late, twice, not at all, or for nobody; the firmware stops; each time: a reset."""
    bench.crash()
    bench.device.quiesce()
    for role in (Role.COMPLETION_LATE, Role.COMPLETION_DUPLICATE, Role.COMPLETION_FOREIGN, Role.COMPLETION_LOST,
                 Role.COMMAND_HUNG, Role.FIRMWARE_FAULT):
        for write in (True, False):
            if bench.plays(role):
                bench.inject(role)
            command = page_command(bench, write)
            if bench.start(command):
                poll_for(bench, command)
            reset(bench)
            bench.settle()
            _go(bench, bench.probe_command())
            _go(bench, page_command(bench))
    shut_down(bench)


def resets(bench: Bench) -> None:
    """In the dump the host is reset, twice in a row, with commands under way; then one is slow, then one hangs."""
    bench.crash()
    bench.device.quiesce()
    for role in (None, None, Role.RESET_SLOW, Role.RESET_HANGS):
        if role is not None and bench.plays(role):
            bench.inject(role, times=0 if role is Role.RESET_HANGS else 1)
        bench.start(page_command(bench))
        reset(bench)
        reset(bench)
        bench.settle()
        _go(bench, page_command(bench))
    shut_down(bench)


def gone(bench: Bench) -> None:
    """In the dump, a command under way, the adapter stops answering; later it does not even decode its registers."""
    bench.crash()
    bench.device.quiesce()
    command = page_command(bench)
    bench.start(command)
    if bench.plays(Role.ADAPTER_GONE):
        bench.inject(Role.ADAPTER_GONE)
    poll_for(bench, command)
    reset(bench)
    bench.pci_command(clear=PCI_COMMAND_IO | PCI_COMMAND_MEMORY)
    _go(bench, page_command(bench))
    reset(bench)
    shut_down(bench)


#: Name -> the way.
ROUTES: Final[Mapping[str, Callable[[Bench], None]]] = MappingProxyType({
    "before-the-crash": before_the_crash,
    "dump": dump,
    "from-queue-full": _from("queue-full"),
    "slow-take-over": slow_take_over,
    "from-interrupt-handler": _from("in-handler"),
    "from-error-handler": from_error_handler,
    "from-host-reset": _from("reset-half-way"),
    "from-firmware-fault": _from("firmware-fault"),
    "completions": completions,
    "resets": resets,
    "gone": gone,
})


def every_route(_plan: Plan) -> Sequence[str]:
    """The cases of a check whose rule holds everywhere."""
    return tuple(ROUTES)


def after_the_crash(_plan: Plan) -> Sequence[str]:
    """The cases of a check whose rule begins with the crash."""
    return tuple(ROUTES)[1:]


@frozen
class Trip:
    """What became of a route: the exception that ended it early, and the calls of the driver's.

    `calls`: of every line that made one, in either mode, the call with the largest amount.  `declared_bytes`,
    `peak_bytes`: memory for crash mode, as declared and as taken at most.
    """

    end: BaseException | None
    trace: TracebackType | None
    calls: tuple[Call, ...]
    declared_bytes: int
    peak_bytes: int

    def since_crash(self, *names: str) -> list[Call]:
        """Calls of *names* made after the crash."""
        return [call for call in self.calls if call.crash and call.name in names]


def main_roads(_plan: Plan) -> Sequence[str]:
    """The cases of a check about what a driver does again and again."""
    return "dump", "from-host-reset", "completions", "resets"


def travel(bench: Bench, route: str) -> Trip:
    """Go *route*, or look up how it was; raises what ended it, unless that was a failure that others judge."""
    known: dict[str, Trip] = bench.plan.trips
    trip = known.get(route)
    if trip is None or (bench.machine.trace.on and _once_more(bench, trip)):
        trip = known[route] = _go_route(bench, route)
    if trip.end is not None:
        raise trip.end.with_traceback(trip.trace)
    return trip


def _once_more(bench: Bench, trip: Trip) -> bool:
    """Whether the trace of *trip* is wanted: our models are traced after a failure only, QEMU's adapters always."""
    return isinstance(trip.end, Exception) or (trip.end is None and bench.disk is not None)


def _go_route(bench: Bench, route: str) -> Trip:
    end: BaseException | None = None
    try:
        bench.bring_up()
        with suppress(CheckFailed):
            ROUTES[route](bench)
    except BaseException as error:          # the runner's alarm too: nobody wants to wait for it a second time
        end = error
    largest: dict[tuple[str, bool, str], Call] = {}
    for call in bench.calls:
        key = call.name, call.crash, call.site
        if key not in largest or call.amount > largest[key].amount:
            largest[key] = call
    memory = bench.kernel.crash_memory
    return Trip(end, end.__traceback__ if end is not None else None, tuple(largest.values()), memory.budget_bytes,
                memory.peak_bytes)
