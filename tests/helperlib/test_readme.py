"""The table of calls in the helper library's README is true, row by row, and complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import ddsdk.errors
from ddsdk.helperlib.kernel import IRQ_HANDLED, Kernel
from tests.helperlib import uses_deferred, uses_devices, uses_locks, uses_memory, uses_time, uses_waiting
from tests.helperlib.board import World, build
from tests.helperlib.scenarios import CRASH, FAULTS, NORMAL, WORKS

README = Path(__file__).parents[2] / "ddsdk" / "helperlib" / "README.md"
#: What a Kernel has that is no call of a driver's.
NOT_CALLS = {"crash_memory", "halt", "log", "machine", "poll", "set_aside"}
#: Importing them fills WORKS and FAULTS.
SCENARIOS = (uses_deferred, uses_devices, uses_locks, uses_memory, uses_time, uses_waiting)
#: Read, not called.
VALUES = {"HZ", "jiffies"}


@frozen
class Row:
    """One row: its calls, a cell a mode, where the rule is from."""

    calls: tuple[str, ...]
    cells: dict[str, str]
    source: str

    def faults(self, mode: str) -> list[type[Exception]]:
        """The faults its cell names; "the same" takes over those of normal mode."""
        named = re.findall(r"`(\w+(?:Fault|Error))`", self.cells[mode])
        found: list[type[Exception]] = [getattr(ddsdk.errors, name) for name in named]
        same = mode == CRASH and self.cells[mode].startswith("the same")
        return found + (self.faults(NORMAL) if same else [])

    def always_faults(self, mode: str) -> bool:
        """True when the cell begins with a fault: there is no use that works."""
        return bool(re.match(r"`\w+(Fault|Error)`", self.cells[mode]))


def rows() -> list[Row]:
    """The README's table."""
    table = [line for line in README.read_text().splitlines() if line.startswith("| `")]
    found = []
    for line in table:
        calls, normal, crash, source = (cell.strip() for cell in line.strip("|").split("|"))
        found.append(Row(tuple(re.findall(r"`(\w+)`", calls)), {NORMAL: normal, CRASH: crash}, source))
    return found


ROWS = rows()
USES = [(call, mode) for row in ROWS for mode in (NORMAL, CRASH) if not row.always_faults(mode)
        for call in row.calls]
RULES = [(row, mode, fault) for row in ROWS for mode in (NORMAL, CRASH) for fault in row.faults(mode)]


def prepared(mode: str) -> World:
    """A world in *mode*, with a crash budget of 256 bytes and a handler installed for free_irq."""
    world = build()
    world.kernel.declare_crash_budget(256)
    if mode == CRASH:
        world.kernel.request_irq(world.pdev, lambda irq, dev: IRQ_HANDLED, world.board)
        world.crash()
    return world


def spy(kernel: Kernel, calls: tuple[str, ...]) -> set[str]:
    """The names among *calls* that were used on *kernel* since; filled as it goes."""
    used: set[str] = set(VALUES)

    def watch(name: str) -> Any:
        real = getattr(kernel, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            used.add(name)
            return real(*args, **kwargs)
        return watched

    for name in set(calls) - VALUES:
        setattr(kernel, name, watch(name))
    return used


@pytest.mark.parametrize(("call", "mode"), USES, ids=[f"{call}-{mode}" for call, mode in USES])
def test_call_works_as_its_row_says(call: str, mode: str) -> None:
    """A cell that does not begin with a fault describes a call that works in that mode."""
    world = prepared(mode)
    used = spy(world.kernel, (call,))
    WORKS[call, mode](world)
    assert call in used


@pytest.mark.parametrize(("row", "mode", "fault"), RULES,
                         ids=[f"{row.calls[0]}-{mode}-{fault.__name__}" for row, mode, fault in RULES])
def test_call_faults_as_its_row_says(row: Row, mode: str, fault: type[Exception]) -> None:
    """Every fault a cell names is raised by one of the row's calls, exactly that class, in one line."""
    ways = [(call, scenario) for call in row.calls for scenario in FAULTS.get((call, mode, fault), ())]
    assert ways, f"no scenario shows {fault.__name__} of {row.calls} in {mode} mode"
    for call, scenario in ways:
        world = prepared(mode)
        used = spy(world.kernel, (call,))
        with pytest.raises(ddsdk.errors.DdsdkError) as caught:
            scenario(world)
        assert caught.type is fault
        assert call in used
        assert "\n" not in str(caught.value)


def test_every_call_of_the_facade_has_a_row() -> None:
    """The table names every public name of a Kernel and nothing else, each once."""
    documented = [call for row in ROWS for call in row.calls]
    kernel = build().kernel
    assert sorted(documented) == sorted(name for name in dir(kernel)
                                        if name[0] != "_" and name not in NOT_CALLS)


def test_no_scenario_without_its_words_in_the_table() -> None:
    """A fault that a scenario shows is named in the row of its call."""
    rules = {(call, mode, fault) for row, mode, fault in RULES for call in row.calls}
    assert set(FAULTS) <= rules
    assert set(WORKS) == set(USES)


def test_every_row_has_a_source() -> None:
    """Where the rule is from: a document and section, a kernel file, or "ours"."""
    assert [row.calls for row in ROWS if not row.source] == []


def test_every_call_has_a_docstring() -> None:
    """help(kernel.msleep) says something."""
    kernel = build().kernel
    names = [call for row in ROWS for call in row.calls if call not in VALUES]
    assert [name for name in names if not getattr(kernel, name).__doc__] == []


def test_white_paper_list_is_covered() -> None:
    """What white paper 4.3 allows works in crash mode; the two calls it forbids are ForbiddenCallErrors."""
    allowed = ("add_timer", "mod_timer", "del_timer", "del_timer_sync", "tasklet_schedule", "schedule_work",
               "schedule_timeout", "msleep", "diskdump_mdelay")
    assert [call for call in allowed if (call, CRASH) not in USES] == []
    forbidden = {call for row in ROWS for call in row.calls
                 if row.always_faults(CRASH) and row.faults(CRASH) == [ddsdk.errors.ForbiddenCallError]}
    assert forbidden == {"schedule", "tasklet_hi_schedule"}
