"""Sleeping: what ends a wait, how long it takes, what runs meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ddsdk.errors import MdelayFault, SimulationStuckError, SleepFault
from ddsdk.helperlib.kernel import IRQ_HANDLED
from ddsdk.sim.machine import Trigger
from tests.helperlib.board import BoardRegs, World, build


def test_host_reset_that_waits_for_its_interrupt_ends(crashed: World) -> None:
    """The handler, called by the poll only, completes what is waited for: 2 ms, not the 30 s bound."""
    kernel = crashed.kernel
    done = kernel.init_completion()
    kernel.poll = crashed.poll(lambda: kernel.complete(done))
    kernel.writel(2000, crashed.mem, BoardRegs.START)
    before = crashed.now_us
    assert kernel.wait_for_completion_timeout(done, 30 * kernel.HZ) == 29_998
    assert crashed.now_us - before == 2000


def test_without_the_poll_it_takes_its_whole_time(crashed: World) -> None:
    """No handler runs by itself."""
    kernel = crashed.kernel
    done = kernel.init_completion()
    kernel.writel(2000, crashed.mem, BoardRegs.START)
    assert kernel.wait_for_completion_timeout(done, 50) == 0


@pytest.mark.parametrize("by", ["timer", "tasklet", "work"])
def test_woken_by_what_the_wait_runs(crashed: World, by: str) -> None:
    """Timers, tasklets and work move while a call sleeps."""
    kernel = crashed.kernel
    queue = kernel.init_waitqueue_head()

    def wake(_data: object) -> None:
        crashed.note(by)
        kernel.wake_up(queue)

    if by == "timer":
        kernel.mod_timer(kernel.setup_timer(wake), kernel.jiffies + 3)
    elif by == "tasklet":
        kernel.tasklet_schedule(kernel.tasklet_init(wake))
    else:
        kernel.schedule_work(kernel.INIT_WORK(wake))
    left = kernel.wait_event_timeout(queue, lambda: bool(crashed.ran), 10)
    assert left == (7 if by == "timer" else 10)


def test_polls_every_100_us(crashed: World) -> None:
    """On entry, after each 100 us, and at the end: the loop of RHEL 3's schedule_timeout."""
    kernel = crashed.kernel
    kernel.poll = lambda: crashed.note(crashed.now_us)
    start = crashed.now_us
    assert kernel.schedule_timeout(2) == 0
    assert crashed.ran == list(range(start, start + 2001, 100))


def test_a_wait_of_zero_polls_once(crashed: World) -> None:
    """And takes no time."""
    kernel = crashed.kernel
    kernel.poll = lambda: crashed.note("poll")
    assert kernel.schedule_timeout(0) == 0
    assert (crashed.ran, crashed.now_us) == (["poll"], 0)


def test_a_sleep_inside_the_poll_does_not_poll(crashed: World) -> None:
    """The deferred half that dump_poll runs may sleep; the handler is not re-entered, timers run."""
    kernel = crashed.kernel

    def dump_poll() -> None:
        crashed.note("in")
        kernel.msleep(3)
        crashed.note("out")

    kernel.poll = dump_poll
    kernel.mod_timer(kernel.setup_timer(crashed.note, "timer"), kernel.jiffies + 1)
    kernel.poll_once()
    assert crashed.ran == ["in", "timer", "out"]
    kernel.poll = None
    kernel.poll_once()


def test_a_fault_in_the_poll_leaves_it_usable(crashed: World) -> None:
    """The next poll runs."""
    kernel = crashed.kernel
    kernel.poll = lambda: kernel.mdelay(1)
    for _ in range(2):
        with pytest.raises(MdelayFault):
            kernel.poll_once()


def test_forgotten_wake_up_costs_the_whole_timeout(world: World) -> None:
    """In either mode: a condition is looked at when woken, not all the time."""
    kernel = world.kernel
    for crash in (False, True):
        if crash:
            world.crash()
        world.ran.clear()
        queue = kernel.init_waitqueue_head()
        kernel.mod_timer(kernel.setup_timer(world.note, "true now"), kernel.jiffies + 2)
        before = world.now_us
        assert kernel.wait_event_timeout(queue, lambda: bool(world.ran), 20) == 1
        assert world.now_us - before == 20_000


def test_condition_that_holds_already_takes_no_time(world: World) -> None:
    """The whole timeout is left, at least 1."""
    queue = world.kernel.init_waitqueue_head()
    assert world.kernel.wait_event_timeout(queue, lambda: True, 20) == 20
    assert world.kernel.wait_event_timeout(queue, lambda: True, 0) == 1
    assert world.now_us == 0


def test_wake_up_without_the_condition_goes_back_to_sleep(world: World) -> None:
    """Only the second wake_up finds it true."""
    kernel = world.kernel
    queue = kernel.init_waitqueue_head()

    def waker() -> None:
        kernel.msleep(2)
        kernel.wake_up(queue)
        kernel.msleep(2)
        world.note("true now")
        kernel.wake_up(queue)

    world.machine.spawn(0, waker)
    assert kernel.wait_event_timeout(queue, lambda: bool(world.ran), 20) == 16
    assert world.now_us == 4000


def test_wake_up_wakes_every_sleeper(world: World) -> None:
    """Each looks for itself; a completion is taken by one only."""
    kernel = world.kernel
    queue, done = kernel.init_waitqueue_head(), kernel.init_completion()
    for name in ("a", "b"):
        def sleeper(name: str = name) -> None:
            kernel.wait_event(queue, lambda: "go" in world.ran)
            world.note(name)
            world.note((name, kernel.wait_for_completion_timeout(done, 5)))
        world.machine.spawn(0, sleeper)

    def waker() -> None:
        kernel.msleep(1)
        world.note("go")
        kernel.wake_up(queue)
        kernel.msleep(1)
        kernel.complete(done)

    world.machine.spawn(0, waker)
    world.machine.run()
    assert world.ran == ["go", "a", "b", ("a", 4), ("b", 0)]


def test_sleep_with_nobody_to_wake_it_is_noticed(world: World) -> None:
    """An unbounded wait in normal mode that nothing can end."""
    queue = world.kernel.init_waitqueue_head()
    with pytest.raises(SimulationStuckError):
        world.kernel.wait_event(queue, lambda: False)


def test_sleep_under_a_lock_names_it(world: World) -> None:
    """In either mode, with what to do."""
    kernel = world.kernel
    for crash in (False, True):
        if crash:
            world.crash()
        lock = kernel.spin_lock_init("ioc0.FreeQlock")
        kernel.spin_lock(lock)
        with pytest.raises(SleepFault) as caught:
            kernel.msleep(1)
        assert str(caught.value) == ("msleep: sleeps with spin lock 'ioc0.FreeQlock' held, which may not"
                                     " sleep; release it first, or defer the work with schedule_work()")
        kernel.spin_unlock(lock)
        kernel.msleep(1)


def test_lock_of_before_the_crash_is_no_hindrance() -> None:
    """The panicking CPU held a lock; what the port does afterwards may sleep."""
    world = build()
    lock = world.kernel.spin_lock_init("lock")

    def task() -> None:
        world.kernel.spin_lock(lock)
        world.machine.crash(Trigger.PANIC)

    world.machine.spawn(0, task)
    world.machine.run()
    world.kernel.msleep(1)
    assert world.kernel.spin_is_locked(lock)


def test_crash_inside_a_handler_lets_the_dump_sleep() -> None:
    """in_irq() stays true for good; the dump's waits poll all the same."""
    world = build()
    kernel = world.kernel

    def handler(_irq: int, _dev: object) -> int:
        world.machine.crash(Trigger.OOPS)
        return IRQ_HANDLED

    kernel.request_irq(world.pdev, handler, world)
    kernel.writel(10, world.mem, BoardRegs.START)
    world.machine.spawn(0, lambda: kernel.udelay(100))
    world.machine.run()
    assert kernel.in_irq()
    assert kernel.in_interrupt()
    kernel.msleep(1)
    assert kernel.schedule_timeout(1) == 0
    kernel.free_irq(world.pdev, world)


@pytest.mark.parametrize("call", ["schedule_timeout", "wait_event_timeout", "wait_for_completion_timeout"])
def test_negative_timeout_is_refused(world: World, call: str) -> None:
    """C: "schedule_timeout: wrong timeout value", a stack dump and no sleep at all."""
    kernel = world.kernel
    queue, done = kernel.init_waitqueue_head(), kernel.init_completion()
    calls: dict[str, Callable[[int], int]] = {
        "schedule_timeout": kernel.schedule_timeout,
        "wait_event_timeout": lambda timeout: kernel.wait_event_timeout(queue, lambda: False, timeout),
        "wait_for_completion_timeout": lambda timeout: kernel.wait_for_completion_timeout(done, timeout)}
    with pytest.raises(SleepFault, match=rf"^{call}: timeout -5 is negative; give it in jiffies, 0 or more$"):
        calls[call](-5)


def test_unbounded_wait_after_the_crash_says_what_to_use(crashed: World) -> None:
    """The message names the call."""
    with pytest.raises(SleepFault, match=r"^wait_for_completion: waits without a bound in crashdump_mode for"
                                         r" what may never come; use the _timeout form and give it jiffies$"):
        crashed.kernel.wait_for_completion(crashed.kernel.init_completion())


def test_mdelay_after_the_crash_says_what_to_use(crashed: World) -> None:
    """The message names the delay."""
    with pytest.raises(MdelayFault, match=r"^mdelay: mdelay\(20\) in crashdump_mode warns in_irq\(\) and"
                                          r" starves the NMI watchdog; use diskdump_mdelay\(\)$"):
        crashed.kernel.mdelay(20)
