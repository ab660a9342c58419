"""The crash: from anywhere, once, for good - and what the machine is afterwards."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from ddsdk.errors import InterruptFault, SleepFault, UsageError, WatchdogFault
from ddsdk.regs import Reg32, RegBlock
from ddsdk.sim.cpu import TaskState
from ddsdk.sim.locks import SpinLock
from ddsdk.sim.machine import CrashRecord, Machine, Trigger
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.model import HwModel
from ddsdk.sim.pci import BarSpec, SimPciFunction
from ddsdk.sim.trace import Trace


def machine_of(ncpus: int = 1, trace: Trace | None = None) -> Machine:
    """A small machine."""
    return Machine(PhysicalMemory.anonymous(1 << 20), ncpus=ncpus, trace=trace)


# -- where a crash may come from -------------------------------------------------------------------------


def test_crash_in_a_task_never_returns_there() -> None:
    """run() returns the record; the task stands where it was, its lock held, its `finally` not run."""
    machine = machine_of(2)
    lock, log = SpinLock("l"), []

    def driver() -> None:
        try:
            machine.locks.acquire(lock, depth=1)
            machine.pass_time(1_000)
            machine.crash(Trigger.OOPS, reason="null pointer")
            log.append("went on")
        finally:
            log.append("unwound")

    task = machine.spawn(1, driver)
    record = machine.run()
    assert record is not None
    assert record is machine.record
    assert (record.trigger, record.cpu_id, record.reason, record.now_ns) == (Trigger.OOPS, 1, "null pointer", 1_000)
    assert [(h.name, h.cpu_id) for h in record.locks] == [("l", 1)]
    assert (log, task.state, lock.owner) == ([], TaskState.FROZEN, machine.cpus[1])
    assert machine.run() is record
    machine.pass_time(10)
    assert log == []


def test_crash_in_the_home_greenlet_returns_the_record() -> None:
    """The boot context goes on as the dump, on the CPU that crashed, interrupts off."""
    machine = machine_of(2)
    record = machine.crash(Trigger.SYSRQ_C)
    assert record.cpu_id == 0
    assert (machine.crashdump_mode, machine.current_cpu.irq_enabled, machine.current_task.name) == (True, False, "dump")
    assert [cpu.frozen for cpu in machine.cpus] == [False, True]


def test_crash_from_a_clock_event() -> None:
    """The NMI switch comes out of nowhere: every task stands still, the chosen CPU dumps."""
    machine = machine_of(2)
    log = []

    def busy() -> None:
        while True:
            machine.pass_time(700)
            log.append(machine.clock.now_ns)

    machine.spawn(0, busy)
    machine.spawn(1, busy)
    machine.clock.after_ns(1_000, machine.crash, Trigger.NMI_SWITCH, 1)
    record = machine.run()
    assert record is not None
    assert (record.cpu_id, record.now_ns, machine.current_cpu.id) == (1, 1_000, 1)
    assert log == [700, 700]
    machine.close()


def test_crash_in_an_interrupt_handler_freezes_it_inside() -> None:
    """in_irq stays up, the line stays in progress and risen."""
    machine = machine_of()
    line = machine.irqs.line(11)
    line.add_handler(lambda: machine.crash(Trigger.PANIC, reason="Fatal exception in interrupt"))
    machine.spawn(0, lambda: machine.pass_time(1_000))
    machine.clock.after_ns(300, line.raise_)
    record = machine.run()
    assert record is not None
    assert (record.now_ns, machine.cpus[0].in_irq, line.level) == (300, 1, True)
    machine.close()


def test_crash_in_a_handler_on_an_idle_cpu() -> None:
    """An idle CPU that takes an interrupt may crash in it as well."""
    machine = machine_of(2)
    line, log = machine.irqs.line(11), []

    def handler() -> None:
        try:
            machine.crash(Trigger.PANIC)
        finally:
            log.append("unwound")

    line.add_handler(handler)
    machine.cpus[0].irq_enabled = False
    machine.clock.after_ns(300, line.raise_)
    record = machine.run(for_ns=1_000)
    assert record is not None
    assert (record.cpu_id, record.answered, log) == (1, (), [])
    machine.close()
    assert log == ["unwound"]


def crash_at_line(number: int, driver: Callable[[Machine, list[str]], None]) -> tuple[list[str], CrashRecord | None]:
    """Stop *driver* at the number-th line it executes, by a trace function as a campaign does."""
    machine = machine_of()
    log: list[str] = []
    lines = 0

    def tracer(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal lines
        if frame.f_code is not driver.__code__:
            return None
        if event == "line":
            lines += 1
            if lines == number:
                sys.settrace(None)
                machine.crash(Trigger.NMI_SWITCH)
        return tracer

    def traced() -> None:
        sys.settrace(tracer)
        driver(machine, log)
        sys.settrace(None)

    before = sys.gettrace()
    machine.spawn(0, traced)
    try:
        record = machine.run()
    finally:
        sys.settrace(before)
    stopped = list(log)
    assert lines_seen_by_a_tracer() == 1, "tracing is held back while the task stands frozen"
    machine.close()
    return stopped, record


def lines_seen_by_a_tracer() -> int:
    """How many lines of a one-line function Python traces now."""
    seen = []

    def one_line() -> None:
        seen.append("ran")

    def tracer(frame: FrameType, event: str, _arg: Any) -> Any:
        if frame.f_code is one_line.__code__ and event == "line":
            seen.append("line")
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    one_line()
    sys.settrace(before)
    return seen.count("line")


def five_steps(machine: Machine, log: list[str]) -> None:
    """Lines 1..5, with a handler and a wait among them."""
    log.append("one")
    machine.pass_time(10)
    try:
        log.append("two")
    finally:
        log.append("three")


@pytest.mark.parametrize(("number", "log"), [
    (1, []), (2, ["one"]), (3, ["one"]), (4, ["one"]), (5, ["one", "two"])])
def test_crash_from_a_trace_function_stops_before_the_line(number: int, log: list[str]) -> None:
    """At any line: what came before happened, the line itself and `finally` did not.

    Python's tracing, held back inside a trace function, works again although that one never returns.
    """
    stopped, record = crash_at_line(number, five_steps)
    assert stopped == log
    assert record is not None
    assert record.trigger is Trigger.NMI_SWITCH


def test_task_that_outruns_the_tracer_ends_normally() -> None:
    """No crash, no record, everything logged - and the next campaign step is not disturbed."""
    assert crash_at_line(99, five_steps) == (["one", "two", "three"], None)
    assert crash_at_line(2, five_steps)[0] == ["one"]


def test_trace_function_of_the_home_greenlet_sees_tasks_and_handlers() -> None:
    """Set before run(), it is called in every task and every interrupt handler, idle CPUs included."""
    machine = machine_of(2)
    line = machine.irqs.line(11)
    seen: list[tuple[int, int]] = []

    def handler() -> bool:
        line.lower()
        return True

    def task() -> None:
        machine.pass_time(100)

    def tracer(frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "line" and frame.f_code in (handler.__code__, task.__code__):
            seen.append((machine.clock.now_ns, machine.current_cpu.id))
            if machine.clock.now_ns == 300:
                machine.crash(Trigger.NMI_SWITCH)
        return tracer

    line.add_handler(handler)
    for cpu in (0, 1):
        machine.spawn(cpu, task)
    for when_ns in (50, 300):
        machine.clock.after_ns(when_ns, line.raise_)
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        record = machine.run(for_ns=1_000)
    finally:
        sys.settrace(before)
    assert seen == [(0, 0), (0, 1), (50, 0), (50, 0), (300, 0)]
    assert record is not None
    assert (machine.cpus[0].in_irq, line.level) == (1, True)
    machine.close()


def test_crash_during_a_wait_of_the_boot_context_says_to_use_a_task() -> None:
    """The home greenlet cannot be frozen in its own wait: an error tells what to do instead."""
    machine = machine_of()
    machine.clock.after_ns(100, machine.crash, Trigger.PANIC)
    with pytest.raises(UsageError, match=r"boot context cannot be frozen; run such code as a task: machine\.spawn"):
        machine.pass_time(1_000)
    assert machine.record is not None


# -- what the crash does ---------------------------------------------------------------------------------


def test_only_cpus_with_interrupts_on_answer() -> None:
    """CPU 1 is deaf, CPU 2 idle, CPU 3 crashes: only 0 and 2 answer; registers of all are recorded."""
    machine = machine_of(4)
    for cpu in machine.cpus:
        cpu.regs = bytes([cpu.id]) * len(cpu.regs)

    def deaf() -> None:
        machine.irq_disable()
        machine.pass_time(10**9)

    machine.spawn(0, lambda: machine.pass_time(10**9))
    machine.spawn(1, deaf)

    def panics() -> None:
        machine.pass_time(100)
        machine.crash(Trigger.PANIC)

    machine.spawn(3, panics)
    record = machine.run()
    assert record is not None
    assert (record.cpu_id, record.answered) == (3, (0, 2))
    assert [regs[0] for regs in record.regs] == [0, 1, 2, 3]
    assert [cpu.frozen for cpu in machine.cpus] == [True, True, True, False]
    machine.close()


def test_no_task_timer_or_tick_runs_afterwards() -> None:
    """What was queued is lost; the hardware's own events go on."""
    machine = machine_of(2)
    log = []
    machine.spawn(1, lambda: log.append("task"))
    machine.clock.after_ns(100, machine.run_in_softirq, lambda: log.append("timer"))
    machine.clock.after_ns(100, log.append, "hardware")
    machine.run_in_softirq(lambda: log.append("tasklet"))
    machine.crash(Trigger.PANIC)
    machine.pass_time(1_000)
    assert log == ["hardware"]
    with pytest.raises(UsageError, match="the machine has crashed, no task runs any more"):
        machine.spawn(0, lambda: None)


def test_forbidden_in_crashdump_mode() -> None:
    """Enabling interrupts and sleeping are faults with a name; saving and restoring disabled ones is not."""
    machine = machine_of()
    machine.crash(Trigger.PANIC)
    machine.irq_disable()
    flags = machine.irq_save()
    machine.irq_restore(flags)
    assert flags == 0
    with pytest.raises(InterruptFault, match=r"white paper 4\.3 item 3"):
        machine.irq_enable()
    with pytest.raises(InterruptFault):
        machine.irq_restore(0x200)
    with pytest.raises(SleepFault, match="sleep in crashdump_mode"):
        machine.sleep(10)


def test_flags_saved_before_the_crash_must_not_be_restored_after_it() -> None:
    """irqsave in normal mode, irqrestore in the dump: the flags would enable interrupts."""
    machine = machine_of()
    flags = machine.irq_save()
    assert (flags, machine.irq_save()) == (0x200, 0)
    machine.crash(Trigger.PANIC)
    with pytest.raises(InterruptFault):
        machine.irq_restore(flags)


def test_second_crash_is_refused() -> None:
    """A double panic does not start another dump."""
    machine = machine_of()
    machine.crash(Trigger.PANIC)
    with pytest.raises(UsageError, match=r"crash\(oops\): the machine has crashed already \(panic on CPU 0\)"):
        machine.crash(Trigger.OOPS)
    with pytest.raises(UsageError, match="no CPU 7"):
        machine_of().crash(Trigger.PANIC, cpu=7)


def test_watchdog_starts_anew_at_the_crash() -> None:
    """Interrupts off for 4 s before the crash do not count against the dump."""
    machine = machine_of()
    machine.irq_disable()
    machine.pass_time(4 * 10**9)
    machine.crash(Trigger.NMI_WATCHDOG)
    machine.pass_time(5 * 10**9)
    with pytest.raises(WatchdogFault):
        machine.pass_time(1)


def test_callbacks_see_the_stopped_machine() -> None:
    """on_crash is called once, in order, with the record, in crashdump_mode."""
    machine = machine_of()
    seen = []
    machine.on_crash.append(lambda record: seen.append((1, record.trigger, machine.crashdump_mode)))
    machine.on_crash.append(lambda record: seen.append((2, record.trigger, machine.current_cpu.irq_enabled)))
    machine.spawn(0, lambda: machine.crash(Trigger.OS_INIT))
    machine.run()
    assert seen == [(1, Trigger.OS_INIT, True), (2, Trigger.OS_INIT, False)]
    machine.close()


def test_error_in_a_callback_comes_out_of_run() -> None:
    """It is not lost on the frozen task's stack."""
    machine = machine_of()

    def broken(_record: CrashRecord) -> None:
        raise LookupError("no such queue")

    log = []

    def panics() -> None:
        try:
            machine.crash(Trigger.PANIC)
        finally:
            log.append("unwound")

    machine.on_crash.append(broken)
    machine.spawn(0, panics)
    with pytest.raises(LookupError, match="no such queue"):
        machine.run()
    assert log == []
    other = machine_of()
    other.on_crash.append(broken)
    with pytest.raises(LookupError, match="no such queue"):
        other.crash(Trigger.PANIC)
    assert other.crashdump_mode
    machine.close()


@pytest.mark.parametrize("trigger", Trigger)
def test_every_trigger_leads_to_the_same_state(trigger: Trigger) -> None:
    """Six ways in, one mode."""
    machine = machine_of(2, Trace())
    record = machine.crash(trigger, reason="r")
    assert (record.trigger, machine.crashdump_mode, machine.cpus[1].frozen) == (trigger, True, True)
    assert machine.trace.tail(1)[0].split() == ["0.000000000", "crash", trigger.value.split()[0],
                                                *trigger.value.split()[1:], "0", "r"]


# -- the end -------------------------------------------------------------------------------------------


class Regs(RegBlock, size=0x10):
    """One doorbell."""

    DOORBELL = Reg32.at(0x00)


class Chip(HwModel):
    """Writes to its medium a microsecond after the doorbell."""

    regs = Regs

    def __init__(self) -> None:
        self.medium: list[int] = []
        super().__init__()

    def w_DOORBELL(self, value: Reg32) -> None:
        self.clock.after_ns(1_000, self.medium.append, int(value))


def test_hardware_goes_on_through_the_crash() -> None:
    """What a controller was told before the crash it does after it."""
    machine = machine_of()
    chip = Chip()
    function = machine.pci.plug(SimPciFunction(chip, vendor=1, device=2, bars={0: BarSpec("mem", 0x10)}))
    function.config_write(4, 2, 2)
    function.window(0).write(0, 4, 7)
    machine.crash(Trigger.PANIC)
    assert chip.medium == []
    machine.pass_time(1_000)
    assert chip.medium == [7]


def test_power_off_ends_everything_in_flight() -> None:
    """Disks are told, controllers are gone, nothing scheduled happens."""
    machine = machine_of()
    chip = Chip()
    function = machine.pci.plug(SimPciFunction(chip, vendor=1, device=2, bars={0: BarSpec("mem", 0x10)}))
    function.config_write(4, 2, 2)
    told = []
    machine.on_power_off.append(lambda: told.append("disk"))
    function.window(0).write(0, 4, 7)
    machine.power_off()
    machine.clock.advance(10_000)
    assert (told, chip.medium, function.window(0).read(0, 4)) == (["disk"], [], 0xFFFF_FFFF)


def test_close_unwinds_frozen_tasks_without_touching_the_hardware() -> None:
    """Only close() runs the `finally` blocks, when their register writes are already lost; it may be repeated."""
    machine = machine_of()
    chip = Chip()
    function = machine.pci.plug(SimPciFunction(chip, vendor=1, device=2, bars={0: BarSpec("mem", 0x10)}))
    function.config_write(4, 2, 2)
    log = []

    def driver() -> None:
        window = function.window(0)
        try:
            machine.crash(Trigger.PANIC)
        finally:
            window.write(0, 4, 0xBAD)
            machine.pass_time(10_000)
            log.append("unwound")
            raise ValueError("nobody hears this")

    with machine:
        machine.spawn(0, driver)
        machine.run()
        assert log == []
    assert (log, chip.medium) == (["unwound"], [])
    machine.close()
    assert log == ["unwound"]


def test_close_in_normal_mode_ends_tasks_that_wait() -> None:
    """Tasks that sleep or are busy are unwound; their own waits on the way out do not hang."""
    machine = machine_of(2)
    log = []

    def waits(wait: Callable[[], object]) -> None:
        try:
            wait()
        finally:
            log.append("out")
            machine.pass_time(5)
            log.append("never")

    machine.spawn(0, lambda: waits(lambda: machine.sleep(None)))
    machine.spawn(1, lambda: waits(lambda: machine.pass_time(10**9)))
    machine.run(for_ns=1_000)
    machine.close()
    assert log == ["out", "out"]


def test_close_keeps_the_callers_trace_function() -> None:
    """Unwinding a task that stands in its trace function would switch tracing off: coverage tools live by it."""
    machine = machine_of()

    def tracer(_frame: FrameType, _event: str, _arg: Any) -> None:
        if _frame.f_code is five_steps.__code__:
            machine.crash(Trigger.PANIC)

    def bystander(_frame: FrameType, _event: str, _arg: Any) -> None:
        return None

    def traced() -> None:
        sys.settrace(tracer)
        five_steps(machine, [])

    before = sys.gettrace()
    machine.spawn(0, traced)
    machine.run()
    sys.settrace(bystander)
    machine.close()
    found = sys.gettrace()
    sys.settrace(before)
    assert found is bystander


def test_closed_machine_is_garbage() -> None:
    """A crashed and closed machine leaves no reference to its memory behind."""
    def lifetime() -> weakref.ref[PhysicalMemory]:
        machine = machine_of()
        machine.spawn(0, lambda: machine.crash(Trigger.PANIC))
        machine.run()
        machine.close()
        return weakref.ref(machine.memory)

    memory = lifetime()
    gc.collect()
    assert memory() is None
