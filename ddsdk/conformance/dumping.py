"""What a taken-over adapter can be doing while the dump goes on, each brought about on purpose.

Source: field.md 4.3, row "HBA".  `states` has the same for the crash itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ddsdk.hookspecs.profile import Role

from .bench import DATA, PAGE, Bench, Command
from .check import not_applicable
from .plan import Plan

#: The adapter's time to get where a state wants it, nobody polling.
_ENTER_MS: Final = 20
#: Commands work on pages from this block of the disk on, each on one of its own.
_FIRST_BLOCK: Final = 300


def idle(_bench: Bench) -> list[Command]:
    """Nothing is under way."""
    return []


def in_flight(bench: Bench) -> list[Command]:
    """The adapter was handed a command this very moment."""
    return start(bench, 1)


def queue_full(bench: Bench) -> list[Command]:
    """As many commands as the driver takes."""
    return start(bench, bench.depth)


def pending(bench: Bench) -> list[Command]:
    """Commands are carried out, and nobody polled for them yet."""
    commands = start(bench, min(4, bench.depth))
    bench.let_pass(_ENTER_MS)
    return commands


def firmware_fault(bench: Bench) -> list[Command]:
    """The adapter's firmware stopped as a command arrived; the driver does not know yet."""
    fault = arm(bench, Role.FIRMWARE_FAULT)
    commands = start(bench, min(2, bench.depth))
    bench.let_pass(_ENTER_MS)
    bench.expect_struck(fault)
    return commands


def hung(bench: Bench) -> list[Command]:
    """One command was taken and is never heard of again."""
    fault = arm(bench, Role.COMMAND_HUNG)
    commands = start(bench, 1)
    bench.let_pass(_ENTER_MS)
    bench.expect_struck(fault)
    return commands


#: Name -> how to get there.  Each returns the commands that are under way.
STATES: Final[Mapping[str, Callable[[Bench], list[Command]]]] = MappingProxyType({
    "idle": idle,
    "in-flight": in_flight,
    "queue-full": queue_full,
    "completions-pending": pending,
    "firmware-fault": firmware_fault,
    "command-hung": hung,
})


def every_state(_plan: Plan) -> Sequence[str]:
    """The cases of a check that holds from every state."""
    return tuple(STATES)


def enter(bench: Bench, state: str) -> list[Command]:
    """Bring the taken-over adapter there; the commands that are under way then."""
    return STATES[state](bench)


def arm(bench: Bench, role: Role, times: int = 1) -> str:
    """Inject the fault that plays *role*; where there is none the case does not apply.  Returns the fault's id."""
    if bench.plan.backend != "model":
        not_applicable(f"needs {role.value}; a foreign adapter takes no faults")
    if bench.plan.role(role) is None:
        not_applicable(bench.plan.profile.not_offered.get(role.value, f"no model's fault plays {role.value} here"))
    return bench.inject(role, times=times)


def start(bench: Bench, count: int, write: bool = True) -> list[Command]:
    """*count* commands handed to the driver, or as many as it takes; at least one.  Writes carry a pattern."""
    commands = []
    for n in range(count):
        place = n % 64
        sector = (_FIRST_BLOCK + place) * PAGE // bench.setup.sector_size
        if write:
            bench.fill(DATA + place * PAGE, PAGE, 100 + place)
        commands.append(bench.command(write, sector, [(DATA + place * PAGE, PAGE)]))
    taken = bench.start_all(commands)
    bench.expect(taken, "the driver says busy though nothing is outstanding")
    return taken
