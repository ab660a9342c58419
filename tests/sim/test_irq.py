"""Interrupt lines: level, sharing, masking, where handlers run, and that none runs after the crash."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from ddsdk.errors import InterruptFault, SimulationStuckError
from ddsdk.sim.irq import STORM_LIMIT, IrqController, IrqLine
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.trace import Trace


def machine_of(ncpus: int = 1, trace: Trace | None = None) -> Machine:
    """A small machine."""
    return Machine(PhysicalMemory.anonymous(1 << 20), ncpus=ncpus, trace=trace)


def noting(seen: list[Any], what: Callable[[], object], line: IrqLine) -> Callable[[], bool]:
    """A handler that notes *what* it sees and makes its device lower the line."""
    def handler() -> bool:
        seen.append(what())
        line.lower()
        return True
    return handler


def test_shared_line_is_up_while_any_pin_is() -> None:
    """Raising and lowering are idempotent per pin; the line is the OR of its pins."""
    line = IrqController(Trace(enabled=False)).line(11)
    one, two = line.pin("one"), line.pin("two")
    one.raise_()
    one.raise_()
    two.raise_()
    one.lower()
    assert (line.level, one.level, two.level) == (True, False, True)
    one.lower()
    two.set(False)
    assert line.level is False
    line.raise_()
    assert line.level is True
    line.lower()
    assert line.level is False


def test_disconnected_pin_does_not_reach_the_line() -> None:
    """PCI interrupt disable cuts a pin off and connects it again at the level it has by then."""
    line = IrqController(Trace(enabled=False)).line(11)
    pin = line.pin("dev")
    pin.raise_()
    pin.connect(False)
    assert (pin.level, line.level) == (True, False)
    pin.lower()
    pin.raise_()
    assert line.level is False
    pin.connect(True)
    assert line.level is True


def test_only_edges_are_traced() -> None:
    """The trace has one record per change of the line, with who caused it."""
    trace = Trace()
    line = IrqController(trace).line(5)
    one, two = line.pin("one"), line.pin("two")
    one.raise_()
    two.raise_()
    one.lower()
    two.lower()
    assert [r.fields for r in trace] == [(5, "up", "one"), (5, "down", "two")]


def test_raised_line_interrupts_a_busy_cpu_at_that_time() -> None:
    """The handler runs inside the busy wait, with in_irq 1 and interrupts off; the wait still ends on time."""
    machine = machine_of()
    line = machine.irqs.line(11)
    seen: list[Any] = []

    def handler() -> bool:
        cpu = machine.current_cpu
        seen.append((machine.clock.now_ns, cpu.id, cpu.in_irq, cpu.irq_enabled, machine.current_task.name))
        line.lower()
        return True

    line.add_handler(handler)
    machine.clock.after_ns(300, line.raise_)
    machine.pass_time(1_000)
    assert seen == [(300, 0, 1, False, "boot")]
    assert machine.clock.now_ns == 1_000
    assert (machine.current_cpu.in_irq, machine.current_cpu.irq_enabled) == (0, True)


def test_line_waits_while_interrupts_are_off() -> None:
    """It is taken the moment the CPU enables interrupts, not before."""
    machine = machine_of()
    line = machine.irqs.line(11)
    seen: list[Any] = []
    line.add_handler(noting(seen, lambda: machine.clock.now_ns, line))
    flags = machine.irq_save()
    machine.clock.after_ns(300, line.raise_)
    machine.pass_time(1_000)
    assert (seen, line.level) == ([], True)
    machine.irq_restore(flags)
    assert (seen, line.level) == ([1_000], False)


def test_another_cpu_with_interrupts_on_takes_it() -> None:
    """CPU 0 has interrupts off: idle CPU 1 runs the handler."""
    machine = machine_of(ncpus=2)
    line = machine.irqs.line(11)
    seen: list[Any] = []
    line.add_handler(noting(seen, lambda: (machine.current_cpu.id, machine.current_cpu.in_irq), line))
    machine.irq_disable()
    machine.clock.after_ns(300, line.raise_)
    machine.pass_time(1_000)
    assert seen == [(1, 1)]
    assert machine.cpus[1].task is None


def test_raising_inside_a_call_of_the_driver_does_not_reenter_it() -> None:
    """A line raised by the running code itself waits for the next point where time passes."""
    machine = machine_of()
    line = machine.irqs.line(11)
    seen: list[Any] = []
    line.add_handler(noting(seen, lambda: "handler", line))
    line.raise_()
    seen.append("driver goes on")
    machine.pass_time(1)
    assert seen == ["driver goes on", "handler"]


def test_masked_line_is_held_back_and_masks_nest() -> None:
    """disable_irq() counts; enable_irq() without it is an InterruptFault."""
    machine = machine_of()
    line = machine.irqs.line(11, "scsi")
    seen: list[Any] = []
    line.add_handler(noting(seen, lambda: machine.clock.now_ns, line))
    line.mask()
    line.mask()
    line.raise_()
    machine.pass_time(10)
    line.unmask()
    machine.pass_time(10)
    assert (seen, line.masked) == ([], True)
    line.unmask()
    machine.pass_time(10)
    assert (seen, line.masked) == ([20], False)
    with pytest.raises(InterruptFault, match=r"irq 11 \(scsi\): enable_irq\(\) without disable_irq\(\)"):
        line.unmask()


def test_all_handlers_of_a_shared_line_run_and_one_may_claim_it() -> None:
    """Every handler is called in order of request; run_handlers() says whether one claimed it."""
    machine = machine_of()
    line = machine.irqs.line(11)
    seen: list[Any] = []

    def other() -> bool:
        seen.append("other")
        return False

    def ours() -> bool:
        seen.append("ours")
        line.lower()
        return True

    line.add_handler(other)
    line.add_handler(ours)
    line.raise_()
    assert line.run_handlers() is True
    assert seen == ["other", "ours"]
    line.remove_handler(ours)
    assert line.run_handlers() is False
    with pytest.raises(ValueError, match="not in list"):
        line.remove_handler(ours)


def test_two_lines_are_taken_lowest_number_first() -> None:
    """Both pending at once: irq 9 before irq 11, whoever rose first."""
    machine = machine_of()
    seen: list[Any] = []
    for number in (11, 9):
        line = machine.irqs.line(number)
        line.add_handler(noting(seen, partial(getattr, line, "number"), line))
        line.raise_()
    machine.pass_time(1)
    assert seen == [9, 11]
    assert [line.number for line in machine.irqs.lines] == [9, 11]


def test_handler_is_not_entered_twice_at_once() -> None:
    """A handler that waits with interrupts on may be interrupted by other lines, not by its own."""
    machine = machine_of()
    own, other = machine.irqs.line(10), machine.irqs.line(11)
    seen: list[Any] = []

    def handler() -> None:
        seen.append(("own", machine.current_cpu.in_irq))
        machine.irq_enable()
        machine.pass_time(100)
        own.lower()

    own.add_handler(handler)
    other.add_handler(noting(seen, lambda: ("other", machine.current_cpu.in_irq), other))
    own.raise_()
    machine.clock.after_ns(50, other.raise_)
    machine.pass_time(10)
    assert seen == [("own", 1), ("other", 2)]
    assert machine.clock.now_ns == 100


def test_line_that_never_falls_is_nobodys() -> None:
    """A handler that does not make its device lower the line is stuck after 100,000 interrupts."""
    machine = machine_of()
    line = machine.irqs.line(11, "scsi")
    line.add_handler(lambda: True)
    line.raise_()
    with pytest.raises(SimulationStuckError, match=rf"irq 11 \(scsi\): nobody cared: still up after {STORM_LIMIT}"):
        machine.pass_time(1)


def test_storm_is_counted_from_the_last_time_the_line_was_low() -> None:
    """Any number of interrupts is fine as long as each ends with the line down."""
    line = IrqController(Trace(enabled=False)).line(11)
    line.add_handler(line.lower)
    for _ in range(STORM_LIMIT + 1):
        line.raise_()
        line.run_handlers()
    assert line.level is False


def test_after_the_crash_lines_rise_and_no_handler_runs() -> None:
    """The asymmetry: the line rises and stays risen."""
    machine = machine_of()
    line = machine.irqs.line(11)
    seen: list[Any] = []
    line.add_handler(lambda: seen.append("never"))
    machine.clock.after_ns(100, line.raise_)
    machine.crash(Trigger.PANIC)
    machine.pass_time(1_000)
    assert (line.level, seen) == (True, [])
    line.mask()
    line.unmask()
    machine.pass_time(1_000)
    assert (line.level, seen) == (True, [])
    with pytest.raises(InterruptFault, match="interrupts enabled on the CPU in crashdump_mode"):
        machine.irq_enable()
    assert seen == []
