"""diskdump_update(): what it moves, in which order, and that one call always ends."""

from __future__ import annotations

import pytest

from ddsdk.errors import WatchdogFault
from ddsdk.helperlib.kernel import TimerList
from tests.helperlib.board import World


def test_touches_the_watchdog(crashed: World) -> None:
    """Five seconds without it are the limit; with it a minute passes."""
    for _ in range(60):
        crashed.kernel.udelay(1_000_000)
        crashed.kernel.diskdump_update()
    crashed.kernel.udelay(5_000_000)
    with pytest.raises(WatchdogFault):
        crashed.kernel.udelay(1)


def test_is_the_only_thing_that_moves_anything(crashed: World) -> None:
    """Ten seconds of delays run no timer, tasklet or work."""
    kernel = crashed.kernel
    kernel.mod_timer(kernel.setup_timer(crashed.note, "timer"), kernel.jiffies + 1)
    kernel.tasklet_schedule(kernel.tasklet_init(crashed.note, "tasklet"))
    kernel.schedule_work(kernel.INIT_WORK(crashed.note, "work"))
    kernel.diskdump_mdelay(10_000)
    assert crashed.ran == []
    kernel.diskdump_update()
    assert crashed.ran == ["timer", "tasklet", "work"]


def test_work_runs_first_in_first_out(crashed: World) -> None:
    """Tasklets too."""
    kernel = crashed.kernel
    for number in range(3):
        kernel.schedule_work(kernel.INIT_WORK(crashed.note, f"work {number}"))
        kernel.tasklet_schedule(kernel.tasklet_init(crashed.note, f"tasklet {number}"))
    kernel.diskdump_update()
    assert crashed.ran == [f"{kind} {number}" for kind in ("tasklet", "work") for number in range(3)]


def test_what_queues_itself_runs_once_a_call(crashed: World) -> None:
    """A tasklet and an item that schedule themselves do not keep a call from ending."""
    kernel = crashed.kernel
    tasklet = kernel.tasklet_init(lambda _data: (crashed.note("tasklet"), kernel.tasklet_schedule(tasklet)))
    work = kernel.INIT_WORK(lambda _data: (crashed.note("work"), kernel.schedule_work(work)))
    kernel.tasklet_schedule(tasklet)
    kernel.schedule_work(work)
    kernel.diskdump_update()
    assert crashed.ran == ["tasklet", "work"]
    kernel.diskdump_update()
    assert crashed.ran == ["tasklet", "work"] * 2
    kernel.flush_scheduled_work()
    assert crashed.ran == ["tasklet", "work"] * 2 + ["work"]


def test_what_queues_itself_does_not_stop_time_in_normal_mode(world: World) -> None:
    """Ten milliseconds pass although a tasklet and an item are never done."""
    kernel = world.kernel
    tasklet = kernel.tasklet_init(lambda _data: (world.note("tasklet"), kernel.tasklet_schedule(tasklet)))
    work = kernel.INIT_WORK(lambda _data: (world.note("work"), kernel.schedule_work(work)))
    kernel.tasklet_schedule(tasklet)
    kernel.schedule_work(work)
    kernel.msleep(10)
    assert world.now_us == 10_000
    assert world.ran.count("work") == 10
    assert world.ran.count("tasklet") > 10


def test_one_thing_may_queue_the_next(crashed: World) -> None:
    """A timer schedules a tasklet, that a work item: all in one call, as they come later in it."""
    kernel = crashed.kernel
    work = kernel.INIT_WORK(crashed.note, "work")
    tasklet = kernel.tasklet_init(lambda _data: kernel.schedule_work(work))
    kernel.mod_timer(kernel.setup_timer(lambda _data: kernel.tasklet_schedule(tasklet)), kernel.jiffies + 1)
    kernel.udelay(1000)
    kernel.diskdump_update()
    assert crashed.ran == ["work"]


def test_inside_a_timer_or_tasklet_runs_nothing_else(crashed: World) -> None:
    """Softirqs do not nest: jiffies move, the other tasklet waits for its turn."""
    kernel = crashed.kernel

    def first(_data: object) -> None:
        before = kernel.jiffies
        kernel.udelay(2000)
        kernel.diskdump_update()
        crashed.note(kernel.jiffies - before)

    for nested in (kernel.tasklet_init(first), kernel.tasklet_init(crashed.note, "second")):
        kernel.tasklet_schedule(nested)
    kernel.mod_timer(kernel.setup_timer(crashed.note, "timer"), kernel.jiffies + 1)
    kernel.diskdump_update()
    assert crashed.ran == [2, "second"]
    kernel.diskdump_update()
    assert crashed.ran == [2, "second", "timer"]


def test_inside_a_work_item_runs_timers_and_tasklets_only(crashed: World) -> None:
    """keventd is one thread: while an item sleeps, those behind it wait, interrupts go on."""
    kernel = crashed.kernel

    def sleeps(_data: object) -> None:
        kernel.mod_timer(kernel.setup_timer(crashed.note, "timer"), kernel.jiffies + 2)
        kernel.tasklet_schedule(kernel.tasklet_init(crashed.note, "tasklet"))
        kernel.msleep(5)
        crashed.note("slept")

    kernel.schedule_work(kernel.INIT_WORK(sleeps))
    kernel.schedule_work(kernel.INIT_WORK(crashed.note, "behind it"))
    kernel.diskdump_update()
    assert crashed.ran == ["tasklet", "timer", "slept", "behind it"]


def test_flush_from_an_item_runs_the_rest_by_hand(world: World) -> None:
    """As keventd flushing its own queue does: no deadlock, in either mode."""
    kernel = world.kernel
    for crash in (False, True):
        if crash:
            world.crash()
        world.ran.clear()
        first = kernel.INIT_WORK(lambda _data: (kernel.flush_scheduled_work(), world.note("first")))
        kernel.schedule_work(first)
        kernel.schedule_work(kernel.INIT_WORK(world.note, "second"))
        world.settle()
        assert world.ran == ["second", "first"]


def test_a_fault_in_a_timer_does_not_wedge_the_next_call(crashed: World) -> None:
    """Checks go on after a driver's fault: the context is left as it was found."""
    kernel = crashed.kernel

    def broken(_timer: TimerList) -> None:
        raise RuntimeError("broken")

    kernel.mod_timer(kernel.setup_timer(broken), kernel.jiffies + 1)
    kernel.mod_timer(kernel.setup_timer(crashed.note, "later"), kernel.jiffies + 2)
    kernel.udelay(1000)
    with pytest.raises(RuntimeError):
        kernel.diskdump_update()
    kernel.udelay(1000)
    kernel.diskdump_update()
    assert crashed.ran == ["later"]
    assert not kernel.in_interrupt()
    kernel.msleep(1)
