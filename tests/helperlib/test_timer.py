"""Timers: order, wrap-around, re-arming, and who waits for whom."""

from __future__ import annotations

import pytest

from ddsdk.abi import I386
from ddsdk.errors import DeadlockFault, TimerFault
from ddsdk.helperlib.kernel import TimerList
from ddsdk.sim.machine import Trigger
from tests.helperlib.board import World, build


@pytest.fixture(params=["normal", "crash"])
def either(request: pytest.FixtureRequest, world: World) -> World:
    """A world in normal mode, and one in crash mode."""
    if request.param == "crash":
        world.crash()
    return world


def test_fire_in_expiry_order(either: World) -> None:
    """Whatever order they were armed in; equal ones first armed first."""
    kernel = either.kernel
    for delay, name in ((5, "e"), (2, "b"), (3, "c"), (2, "b2"), (1, "a"), (3, "c2")):
        kernel.mod_timer(kernel.setup_timer(either.note, name), kernel.jiffies + delay)
    either.settle(10_000)
    assert either.ran == ["a", "b", "b2", "c", "c2", "e"]


def test_late_update_still_runs_them_in_order(crashed: World) -> None:
    """All of them were due long before the one update that runs them."""
    kernel = crashed.kernel
    for delay in (9, 3, 6):
        kernel.mod_timer(kernel.setup_timer(crashed.note, delay), kernel.jiffies + delay)
    kernel.udelay(50_000)
    kernel.diskdump_update()
    assert crashed.ran == [3, 6, 9]


def test_fire_at_their_tick(world: World) -> None:
    """Not a nanosecond earlier than the tick they are set for."""
    kernel = world.kernel
    kernel.udelay(1234)
    kernel.mod_timer(kernel.setup_timer(lambda _data: world.note(world.now_us)), kernel.jiffies + 4)
    kernel.msleep(20)
    assert world.ran == [5000]


def test_fire_across_the_wrap() -> None:
    """On i386 a timer set past the 32-bit wrap waits for it; its expires value is small."""
    world = build(I386)
    kernel = world.kernel
    world.machine.clock.advance(299_990_000_000)
    timer = kernel.setup_timer(lambda _data: world.note(kernel.jiffies))
    kernel.mod_timer(timer, kernel.jiffies + 25)
    assert timer.expires == 15
    kernel.msleep(40)
    assert world.ran == [15]


def test_expires_in_the_past_fires_at_the_next_tick(either: World) -> None:
    """As the kernel's: never inside the call that arms it."""
    kernel = either.kernel
    kernel.mod_timer(kernel.setup_timer(either.note, "late"), kernel.jiffies - 1000)
    assert either.ran == []
    either.settle(2000)
    assert either.ran == ["late"]


def test_rearming_itself_for_now_runs_once_a_tick(either: World) -> None:
    """One run of the timers is bounded whatever a timer function does."""
    kernel = either.kernel

    def again(timer: TimerList) -> None:
        either.note("tick")
        kernel.mod_timer(timer, kernel.jiffies)

    timer = kernel.setup_timer(again)
    timer.data = timer
    kernel.mod_timer(timer, kernel.jiffies)
    either.settle(5000)
    assert 4 <= len(either.ran) <= 5


def test_one_update_runs_a_rearmed_timer_once(crashed: World) -> None:
    """Even when many ticks have passed since the last one."""
    kernel = crashed.kernel
    timer = kernel.setup_timer(lambda timer: (crashed.note("x"), kernel.mod_timer(timer, kernel.jiffies + 1)))
    timer.data = timer
    kernel.mod_timer(timer, kernel.jiffies + 1)
    kernel.udelay(100_000)
    kernel.diskdump_update()
    assert crashed.ran == ["x"]
    kernel.udelay(1000)
    kernel.diskdump_update()
    assert crashed.ran == ["x", "x"]


def test_wait_for_interrupts_to_be_on(world: World) -> None:
    """No timer runs while no CPU takes interrupts; it does as soon as one does."""
    kernel = world.kernel
    kernel.mod_timer(kernel.setup_timer(world.note, "fired"), kernel.jiffies + 1)
    kernel.local_irq_disable()
    kernel.udelay(5000)
    assert world.ran == []
    kernel.local_irq_enable()
    assert world.ran == ["fired"]


def test_deleted_in_time_does_not_fire(either: World) -> None:
    """Also by another timer's function in the same run."""
    kernel = either.kernel
    victim = kernel.setup_timer(either.note, "victim")
    killer = kernel.setup_timer(lambda _data: either.note(kernel.del_timer(victim)))
    kernel.mod_timer(killer, kernel.jiffies + 1)
    kernel.mod_timer(victim, kernel.jiffies + 1)
    either.settle()
    assert either.ran == [1]


def test_del_timer_sync_waits_for_another_cpu() -> None:
    """The function runs on CPU 0; CPU 1 goes on when it has returned."""
    world = build(ncpus=2)
    kernel = world.kernel

    def slow(_data: object) -> None:
        world.note("begins")
        kernel.udelay(500)
        world.note("ends")

    timer = kernel.setup_timer(slow)
    kernel.mod_timer(timer, kernel.jiffies + 1)

    def other() -> None:
        kernel.udelay(1200)
        assert kernel.del_timer_sync(timer) == 0
        world.note("deleted")

    world.machine.spawn(0, lambda: kernel.udelay(3000))
    world.machine.spawn(1, other)
    world.machine.run()
    assert world.ran == ["begins", "ends", "deleted"]


def test_del_timer_sync_from_itself_is_a_deadlock(world: World) -> None:
    """The message names the function and what to use."""
    kernel = world.kernel

    def timeout(timer: TimerList) -> None:
        kernel.del_timer_sync(timer)

    timer = kernel.setup_timer(timeout)
    timer.data = timer
    kernel.mod_timer(timer, kernel.jiffies + 1)
    with pytest.raises(DeadlockFault, match=r"^del_timer_sync: <timer .*timeout expires \d+> called from"):
        kernel.msleep(5)


def test_armed_and_disarmed_often_leaves_nothing_behind(either: World) -> None:
    """A driver arms one timer a command: ten thousand of them take no memory."""
    kernel = either.kernel
    timer = kernel.setup_timer(either.note)
    for _ in range(10_000):
        kernel.mod_timer(timer, kernel.jiffies + 30_000)
        kernel.del_timer(timer)
    assert len(kernel._timers._heap) < 100


def test_init_timer_of_a_pending_one_says_so(world: World) -> None:
    """The message names the function."""
    timer = world.kernel.setup_timer(world.note)
    world.kernel.mod_timer(timer, world.kernel.jiffies + 5)
    with pytest.raises(TimerFault, match=r"^init_timer: <timer World\.note expires \d+> is pending"):
        world.kernel.init_timer(timer)


def test_running_at_the_crash_counts_as_over() -> None:
    """A timer function the crash cut off does not hang del_timer_sync(), and can be armed again."""
    world = build()
    kernel = world.kernel

    def function(_data: object) -> None:
        world.note("runs")
        if not kernel.crashdump_mode():
            world.machine.crash(Trigger.OOPS)

    timer = kernel.setup_timer(function)
    kernel.mod_timer(timer, kernel.jiffies + 1)
    world.machine.spawn(0, lambda: kernel.msleep(10))
    record = world.machine.run()
    assert record is not None
    assert kernel.in_interrupt()
    assert not kernel.in_irq()
    assert kernel.del_timer_sync(timer) == 0
    assert kernel.set_aside.timers == ()
    kernel.mod_timer(timer, kernel.jiffies + 1)
    world.settle()
    assert world.ran == ["runs", "runs"]
