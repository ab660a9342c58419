"""CPUs and tasks: who runs when, sleeping, waking, and what a task leaves behind."""

from __future__ import annotations

import pytest

from ddsdk.abi import ABIS, Abi
from ddsdk.errors import SimulationStuckError, SleepFault, UsageError
from ddsdk.sim.cpu import Task, TaskState
from ddsdk.sim.locks import SpinLock
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory


def machine_of(ncpus: int = 1) -> Machine:
    """A small machine."""
    return Machine(PhysicalMemory.anonymous(1 << 20), ncpus=ncpus)


@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_registers_have_the_abis_size(abi: Abi) -> None:
    """regs is one elf_gregset_t of zeros until somebody sets it."""
    cpu = Machine(PhysicalMemory.anonymous(1 << 20), abi).cpus[0]
    assert cpu.regs == bytes(abi.gregset_bytes)
    assert (cpu.irq_enabled, cpu.in_irq, cpu.preempt_count, cpu.frozen) == (True, 0, 0, False)


def test_tasks_of_different_cpus_run_side_by_side_in_virtual_time() -> None:
    """Two CPUs busy for 3 us and 5 us are both done after 5 us."""
    machine = machine_of(2)
    log = []

    def work(name: str, ns: int) -> None:
        machine.pass_time(ns)
        log.append((name, machine.clock.now_ns, machine.current_cpu.id))

    machine.spawn(0, lambda: work("a", 3_000))
    machine.spawn(1, lambda: work("b", 5_000))
    assert machine.run() is None
    assert log == [("a", 3_000, 0), ("b", 5_000, 1)]
    assert machine.clock.now_ns == 5_000


def test_cpus_take_turns_at_one_instant() -> None:
    """Several ready at the same time: CPU after CPU, none twice before the others."""
    machine = machine_of(3)
    log = []

    def task() -> None:
        for _ in range(3):
            log.append(machine.current_cpu.id)
            machine.sleep(0)

    for cpu in (2, 0, 1):
        machine.spawn(cpu, task)
    machine.run()
    assert log == [0, 1, 2] * 3


def test_tasks_of_one_cpu_take_turns_only_when_they_sleep() -> None:
    """A busy wait keeps the CPU; a sleep gives it to the next task."""
    machine = machine_of()
    log = []

    def task(name: str) -> None:
        for _ in range(2):
            machine.pass_time(1_000)
            log.append((name, machine.clock.now_ns))
            machine.sleep(100)

    machine.spawn(0, lambda: task("a"))
    machine.spawn(0, lambda: task("b"))
    machine.run()
    assert log == [("a", 1_000), ("b", 2_000), ("a", 3_000), ("b", 4_000)]


def test_result_and_exception_of_a_task() -> None:
    """The result is kept; an exception comes out of run() and is kept as well."""
    machine = machine_of()
    good = machine.spawn(0, lambda: 42)
    machine.run()
    assert (good.done, good.result, good.state) == (True, 42, TaskState.DONE)

    def bad() -> None:
        machine.pass_time(10)
        raise LookupError("no such frame")

    task = machine.spawn(0, bad)
    with pytest.raises(LookupError, match="no such frame"):
        machine.run()
    assert isinstance(task.exception, LookupError)
    assert machine.scheduler.tasks == []
    machine.pass_time(5)
    assert machine.clock.now_ns == 15


def test_sleep_ends_by_time_or_by_wake() -> None:
    """sleep() says whether it was woken; a wake-up of a task that does not sleep is lost."""
    machine = machine_of()
    log = []

    def sleeper() -> None:
        log.append((machine.sleep(1_000), machine.clock.now_ns))
        log.append((machine.sleep(1_000), machine.clock.now_ns))
        log.append((machine.sleep(None), machine.clock.now_ns))

    task = machine.spawn(0, sleeper)
    machine.wake(task)
    machine.clock.after_ns(1_400, machine.wake, task)
    machine.clock.after_ns(9_000, machine.wake, task)
    machine.run()
    assert log == [(False, 1_000), (True, 1_400), (True, 9_000)]


def test_woken_task_waits_for_its_cpu() -> None:
    """A sleeper that is due while another task is busy on its CPU runs after that one."""
    machine = machine_of()
    log = []

    def sleeper() -> None:
        machine.sleep(100)
        log.append(("sleeper", machine.clock.now_ns))

    def hog() -> None:
        machine.pass_time(5_000)
        log.append(("hog", machine.clock.now_ns))

    machine.spawn(0, sleeper)
    machine.spawn(0, hog)
    machine.run()
    assert log == [("hog", 5_000), ("sleeper", 5_000)]


def test_sleeping_in_atomic_context_is_a_fault() -> None:
    """In an interrupt, under a spin lock, with interrupts off: each is named."""
    machine = machine_of()
    line = machine.irqs.line(11)
    line.add_handler(lambda: machine.sleep(1))
    line.raise_()
    with pytest.raises(SleepFault, match="boot on CPU 0 sleeps with an interrupt on its stack"):
        machine.pass_time(1)
    line.lower()
    lock = SpinLock("l")
    machine.locks.acquire(lock, depth=1)
    with pytest.raises(SleepFault, match=r"sleeps with 1 spin lock\(s\) held"):
        machine.sleep(1)
    machine.locks.release(lock)
    machine.irq_disable()
    with pytest.raises(SleepFault, match="sleeps with interrupts disabled"):
        machine.sleep(1)


def test_soft_interrupts_run_on_a_cpu_that_can_take_one() -> None:
    """run_in_softirq: in_softirq is 1, interrupts stay on; run_in_irq: in_irq is 1, interrupts off."""
    machine = machine_of(2)
    log = []

    def note(kind: str) -> None:
        cpu = machine.current_cpu
        log.append((kind, machine.clock.now_ns, cpu.id, cpu.in_softirq, cpu.in_irq, cpu.irq_enabled))

    machine.clock.after_ns(100, machine.run_in_softirq, lambda: note("soft"))
    machine.clock.after_ns(200, machine.run_in_irq, lambda: note("hard"))
    machine.pass_time(150)
    machine.irq_disable()
    machine.pass_time(150)
    assert log == [("soft", 100, 0, 1, 0, True), ("hard", 200, 1, 0, 1, False)]
    assert machine.cpus[0].in_interrupt is False


def test_soft_interrupt_raising_itself_for_ever_is_stuck() -> None:
    """A tasklet that reschedules itself at once never lets time pass."""
    machine = machine_of()
    machine.stall.limit = 100

    def again() -> None:
        machine.run_in_softirq(again)

    machine.run_in_softirq(again)
    with pytest.raises(SimulationStuckError, match="soft interrupt"):
        machine.pass_time(1)


def test_two_tasks_waking_each_other_for_ever_are_stuck() -> None:
    """Ping-pong without time passing is found out."""
    machine = machine_of()
    machine.stall.limit = 100
    tasks: list[Task] = []

    def ping(other: int) -> None:
        while True:
            machine.wake(tasks[other])
            machine.sleep(None)

    tasks.append(machine.spawn(0, lambda: ping(1)))
    tasks.append(machine.spawn(0, lambda: ping(0)))
    with pytest.raises(SimulationStuckError, match="sleep"):
        machine.run()
    machine.close()


def test_boot_context_waits_like_a_task() -> None:
    """The home greenlet is CPU 0's boot context: while it is busy no other task runs there, on CPU 1 they do."""
    machine = machine_of(2)
    log = []

    def task(name: str) -> None:
        log.append((name, machine.clock.now_ns))

    machine.spawn(0, lambda: task("zero"))
    machine.spawn(1, lambda: task("one"))
    machine.pass_time(1_000)
    assert log == [("one", 0)]
    assert machine.sleep(500) is False
    assert log == [("one", 0), ("zero", 1_000)]
    assert machine.clock.now_ns == 1_500
    assert (machine.current_task.name, machine.current_cpu.id) == ("boot", 0)


def test_boot_context_waits_for_its_cpu_after_a_partial_run() -> None:
    """run(for_ns) may leave a task busy on CPU 0; the boot context's next wait lets it finish first."""
    machine = machine_of()
    log = []

    def hog() -> None:
        machine.pass_time(5_000)
        log.append(machine.clock.now_ns)

    machine.spawn(0, hog)
    machine.run(for_ns=1_000)
    assert (machine.clock.now_ns, log) == (1_000, [])
    machine.pass_time(10)
    assert log == [5_000]


def test_state_of_the_task_on_its_cpu_does_not_count_for_the_boot_context() -> None:
    """The task that was left busy has interrupts off; the boot context sleeps only once it has the CPU."""
    machine = machine_of()

    def hog() -> None:
        flags = machine.irq_save()
        machine.pass_time(5_000)
        machine.irq_restore(flags)

    machine.spawn(0, hog)
    machine.run(for_ns=1_000)
    machine.sleep(10)
    assert machine.clock.now_ns >= 5_000


def test_boot_context_asleep_for_ever_is_stuck() -> None:
    """Nothing left can wake it: an error, not a hang."""
    with pytest.raises(SimulationStuckError, match="the boot context sleeps without a time limit"):
        machine_of().sleep(None)


def test_run_stops_as_told() -> None:
    """By a task's end, by a condition, by time, or when nothing is left to do."""
    machine = machine_of()

    def ticker() -> None:
        for _ in range(100):
            machine.sleep(1_000)

    task = machine.spawn(0, ticker)
    machine.run(until=lambda: machine.clock.now_ns >= 5_000)
    assert machine.clock.now_ns == 5_000
    machine.run(for_ns=2_500)
    assert machine.clock.now_ns == 7_500
    machine.run(until=task)
    assert (machine.clock.now_ns, task.done) == (100_000, True)
    machine.run()
    assert machine.clock.now_ns == 100_000


def test_run_for_a_condition_that_cannot_come_true_is_stuck() -> None:
    """Nothing left to happen, or an hour of virtual time: both name the tasks that wait."""
    machine = machine_of()
    machine.spawn(0, lambda: machine.sleep(None), "waiter")
    with pytest.raises(SimulationStuckError, match=r"nothing is left to happen at 0 ns .*<Task waiter on CPU 0 sleep"):
        machine.run(until=lambda: False)

    def for_ever() -> None:
        while True:
            machine.sleep(600 * 10**9)

    machine.spawn(0, for_ever)
    with pytest.raises(SimulationStuckError, match="an hour of virtual time passed at 3600000000000 ns"):
        machine.run()
    machine.close()


def test_usage_errors() -> None:
    """Unknown CPU, run() inside a task, negative time, senseless machine."""
    machine = machine_of(2)
    with pytest.raises(UsageError, match=r"spawn 'x': no CPU 2, this machine has 0\.\.1"):
        machine.spawn(2, lambda: None, "x")
    with pytest.raises(UsageError, match=r"pass_time\(-1\)"):
        machine.pass_time(-1)
    machine.spawn(0, machine.run)
    with pytest.raises(UsageError, match=r"run\(\) was called inside a task"):
        machine.run()
    with pytest.raises(UsageError, match="ncpus 0"):
        machine_of(0)
