"""The trap at a line: what it counts, where it springs, what it leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from ddsdk.conformance.line_trap import LineTrap
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import Extent, PhysicalMemory


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Two CPUs."""
    with Machine(PhysicalMemory([Extent(0, memoryview(bytearray(4096)))]), ncpus=2) as built:
        yield built


def count_to_three(said: list[int]) -> None:
    """Three lines."""
    said.append(1)
    said.append(2)
    said.append(3)


def run_two(machine: Machine, trap: LineTrap) -> list[int]:
    """Two tasks that count, one after the other, one on each CPU."""
    said: list[int] = []
    with trap.set():
        for cpu in (0, 1):
            machine.spawn(cpu, lambda: count_to_three(said), f"count/{cpu}")
        machine.run(for_ns=1000)
    return said


def test_every_line_of_every_task_is_counted(machine: Machine) -> None:
    """The lambda of each task and the three lines it calls; each is asked what kind it is."""
    kinds = iter("abcdefgh")
    trap = LineTrap(machine, [__file__], kind=lambda: next(kinds))
    assert run_two(machine, trap) == [1, 2, 3, 1, 2, 3]
    assert (trap.lines, trap.where) == (8, "")
    assert trap.kinds == {letter: [n] for n, letter in enumerate("abcdefgh", 1)}


def test_it_springs_before_the_line_runs(machine: Machine) -> None:
    """A crash at the third line of the second task: two numbers of its three are said, and nothing more."""
    trap = LineTrap(machine, [__file__], 8, lambda: machine.crash(Trigger.OOPS))
    assert run_two(machine, trap) == [1, 2, 3, 1, 2]
    assert trap.where == f"count_to_three:{count_to_three.__code__.co_firstlineno + 4}"
    assert trap.kinds == {}
    assert machine.record is not None


def test_other_files_do_not_count(machine: Machine) -> None:
    """Only the files that were named."""
    trap = LineTrap(machine, ["driver.py"])
    run_two(machine, trap)
    assert trap.lines == 0


def test_nothing_is_left_behind(machine: Machine) -> None:
    """Afterwards nobody traces, and tasks are spawned as before."""
    spawn, tracer = machine.spawn, sys.gettrace()
    trap = LineTrap(machine, [__file__])
    run_two(machine, trap)
    assert (machine.spawn, sys.gettrace()) == (spawn, tracer)
    lines = trap.lines
    machine.spawn(0, lambda: count_to_three([]), "after")
    machine.run(for_ns=1000)
    assert trap.lines == lines
