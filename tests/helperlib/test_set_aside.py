"""What was pending at the crash never runs by itself, and can be used again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from ddsdk.helperlib.kernel import IRQ_HANDLED, Kernel, TaskletStruct, TimerList, WorkStruct
from ddsdk.sim.irq import IrqLine
from ddsdk.sim.machine import Trigger
from tests.helperlib.board import World, build


@pytest.fixture
def pending(world: World) -> tuple[World, TimerList, TaskletStruct, WorkStruct, WorkStruct]:
    """A timer, a tasklet, a work item and a delayed one, all pending when the machine crashes."""
    kernel = world.kernel
    timer = kernel.setup_timer(world.note, "timer")
    tasklet = kernel.tasklet_init(world.note, "tasklet")
    work, delayed = kernel.INIT_WORK(world.note, "work"), kernel.INIT_WORK(world.note, "delayed")

    def task() -> None:
        kernel.local_irq_disable()
        kernel.mod_timer(timer, kernel.jiffies + 3)
        kernel.schedule_work(work)
        kernel.schedule_delayed_work(delayed, 2)
        kernel.tasklet_schedule(tasklet)
        world.machine.crash(Trigger.PANIC)

    world.machine.spawn(0, task)
    world.machine.run()
    assert world.ran == []
    return world, timer, tasklet, work, delayed


Pending = tuple[World, TimerList, TaskletStruct, WorkStruct, WorkStruct]


def test_never_fires(pending: Pending) -> None:
    """Not in a minute of the dump loop, nor while a sleep polls."""
    world = pending[0]
    world.settle(200_000)
    world.kernel.msleep(100)
    for _ in range(600):
        world.kernel.diskdump_mdelay(100)
        world.kernel.diskdump_update()
    world.kernel.flush_scheduled_work()
    assert world.ran == []


def test_is_listed(pending: Pending) -> None:
    """kernel.set_aside says what there was; a delayed item is a work item, not a timer."""
    world, timer, tasklet, work, delayed = pending
    aside = world.kernel.set_aside
    assert (aside.timers, aside.tasklets, aside.works) == ((timer,), (tasklet,), (work, delayed))


def test_timer_still_looks_pending_until_it_is_deleted(pending: Pending) -> None:
    """RHEL 4 empties the base and leaves timer->base set."""
    kernel, timer = pending[0].kernel, pending[1]
    assert kernel.timer_pending(timer)
    assert kernel.del_timer(timer) == 1
    assert not kernel.timer_pending(timer)
    assert kernel.del_timer(timer) == 0


@pytest.mark.parametrize("arm", ["add_timer", "mod_timer", "del_add", "init_add"])
def test_timer_can_be_armed_again(pending: Pending, arm: str) -> None:
    """By whatever call; it fires once."""
    world, timer = pending[:2]
    kernel = world.kernel
    timer.expires = kernel.jiffies + 2
    if arm == "mod_timer":
        assert kernel.mod_timer(timer, kernel.jiffies + 2) == 1
    else:
        if arm == "del_add":
            kernel.del_timer_sync(timer)
        elif arm == "init_add":
            kernel.init_timer(timer)
        kernel.add_timer(timer)
    world.settle(10_000)
    assert world.ran == ["timer"]


def test_tasklet_can_be_scheduled_again(pending: Pending) -> None:
    """It runs once; RHEL 4 would lose it."""
    world, _, tasklet, _, _ = pending
    world.kernel.tasklet_schedule(tasklet)
    world.settle()
    assert world.ran == ["tasklet"]


def test_tasklet_can_be_killed_and_disabled(pending: Pending) -> None:
    """Nothing is waited for."""
    world, _, tasklet, _, _ = pending
    world.kernel.tasklet_kill(tasklet)
    world.kernel.tasklet_disable(tasklet)
    world.kernel.tasklet_schedule(tasklet)
    world.settle()
    world.kernel.tasklet_enable(tasklet)
    assert world.ran == []
    world.settle()
    assert world.ran == ["tasklet"]


def test_work_can_be_scheduled_again(pending: Pending) -> None:
    """The plain item at once, the delayed one in its time or at once."""
    world, _, _, work, delayed = pending
    assert world.kernel.schedule_work(work) == 1
    assert world.kernel.schedule_delayed_work(delayed, 2) == 1
    world.settle(1000)
    assert world.ran == ["work"]
    world.settle(2000)
    assert world.ran == ["work", "delayed"]
    assert world.kernel.schedule_work(delayed) == 1


def test_delayed_work_can_be_cancelled(pending: Pending) -> None:
    """It was waiting: 1, then 0."""
    world, delayed = pending[0], pending[4]
    assert world.kernel.cancel_delayed_work(delayed) == 1
    assert world.kernel.cancel_delayed_work(delayed) == 0


def test_work_the_crash_cut_off_can_be_scheduled_again() -> None:
    """Its function never returned; a second run does."""
    world = build()
    kernel = world.kernel

    def function(_data: object) -> None:
        world.note("begins")
        if not kernel.crashdump_mode():
            world.machine.crash(Trigger.SYSRQ_C)
        world.note("ends")

    work = kernel.INIT_WORK(function)
    kernel.schedule_work(work)
    world.machine.run()
    assert kernel.schedule_work(work) == 1
    kernel.flush_scheduled_work()
    assert world.ran == ["begins", "begins", "ends"]


def test_tasklet_the_crash_cut_off_can_be_scheduled_again() -> None:
    """It neither counts as running nor as scheduled."""
    world = build()
    kernel = world.kernel

    def function(_data: object) -> None:
        world.note("begins")
        if not kernel.crashdump_mode():
            world.machine.crash(Trigger.NMI_SWITCH)
        world.note("ends")

    tasklet = kernel.tasklet_init(function)
    kernel.tasklet_schedule(tasklet)
    world.machine.spawn(0, lambda: kernel.udelay(1))
    world.machine.run()
    kernel.tasklet_disable(tasklet)
    kernel.tasklet_enable(tasklet)
    kernel.tasklet_schedule(tasklet)
    kernel.tasklet_kill(tasklet)
    assert world.ran == ["begins", "begins", "ends"]


def test_sleeper_of_before_is_not_woken() -> None:
    """A task frozen in wait_event() stays frozen when a handler wakes its queue."""
    world = build()
    kernel = world.kernel
    queue, done = kernel.init_waitqueue_head(), kernel.init_completion()
    world.machine.spawn(0, lambda: world.note(kernel.wait_event(queue, lambda: True and bool(world.ran))))
    world.machine.spawn(0, lambda: world.note(kernel.wait_for_completion(done)))
    world.machine.run(for_ns=1_000_000)
    world.crash()
    kernel.wake_up(queue)
    kernel.complete(done)
    world.settle()
    assert world.ran == []
    assert kernel.wait_for_completion_timeout(done, 5) >= 1


def test_device_given_up_leaves_nothing_to_the_next(crashed: World) -> None:
    """Its driver died with a timer armed, work queued and a lock held: none of it reaches the next dump."""
    kernel = crashed.kernel
    kernel.poll = crashed.poll(lambda: None)
    timer = kernel.setup_timer(crashed.note, "timer")
    kernel.mod_timer(timer, kernel.jiffies + 1)
    kernel.schedule_work(kernel.INIT_WORK(crashed.note, "work"))
    kernel.tasklet_schedule(kernel.tasklet_init(crashed.note, "tasklet"))
    kernel.spin_lock(kernel.spin_lock_init("lock"))
    kernel.poll = None
    kernel.poll = crashed.poll(lambda: None)
    kernel.msleep(10)
    assert crashed.ran == []
    assert kernel.set_aside.timers == ()
    assert kernel.mod_timer(timer, kernel.jiffies + 1) == 1
    kernel.poll = kernel.poll
    kernel.msleep(10)
    assert crashed.ran == ["timer"]


# -- a crash at any line of the helper library --------------------------------------------------------------

def crash_at_line(number: int, run: Callable[[World], None]) -> World | None:
    """Run *run* as a task and crash at the *number*-th line of ddsdk/helperlib it executes; None: too few."""
    world = build()
    seen = 0

    def trace(frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal seen
        if "/ddsdk/helperlib/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            seen += 1
            if seen == number:
                sys.settrace(None)
                world.machine.crash(Trigger.NMI_SWITCH)
        return trace

    def task() -> None:
        sys.settrace(trace)
        try:
            run(world)
        finally:
            sys.settrace(None)

    world.machine.spawn(0, task)
    return world if world.machine.run() is not None else None


def use_everything(world: World) -> None:
    """Arm, re-arm, delete; schedule, disable, enable, let run."""
    kernel = world.kernel
    timer, tasklet, work, lock = world.things = (
        kernel.setup_timer(world.note, "timer"), kernel.tasklet_init(world.note, "tasklet"),
        kernel.INIT_WORK(world.note, "work"), kernel.spin_lock_init("lock"))
    kernel.mod_timer(timer, kernel.jiffies + 1)
    kernel.mod_timer(timer, kernel.jiffies + 2)
    kernel.del_timer(timer)
    kernel.mod_timer(timer, kernel.jiffies + 1)
    kernel.tasklet_schedule(tasklet)
    flags = kernel.spin_lock_irqsave(lock)
    kernel.spin_unlock_irqrestore(lock, flags)
    kernel.schedule_work(work)
    kernel.schedule_delayed_work(kernel.INIT_WORK(world.note, "delayed"), 1)
    kernel.msleep(4)
    kernel.tasklet_schedule(tasklet)
    kernel.schedule_work(work)
    kernel.flush_scheduled_work()


def test_crash_at_any_line_leaves_everything_usable() -> None:
    """Whichever line is cut, nothing of before fires, and timer, tasklet and work run again once each."""
    number, crashes = 0, 0
    while True:
        number += 1
        world = crash_at_line(number, use_everything)
        if world is None:
            break
        crashes += 1
        kernel, ran_before = world.kernel, len(world.ran)
        world.settle(10_000)
        assert len(world.ran) == ran_before, number
        if world.things:
            timer, tasklet, work, lock = world.things
            kernel.mod_timer(timer, kernel.jiffies + 1)
            kernel.tasklet_schedule(tasklet)
            assert kernel.schedule_work(work) == 1
            kernel.spin_lock(kernel.spin_lock_init(lock))
            kernel.spin_unlock(lock)
            world.settle(3000)
            assert sorted(map(str, world.ran[ran_before:])) == ["tasklet", "timer", "work"], number
        world.machine.close()
    assert crashes > 250


def test_of_a_kernel_that_was_halted(world: World) -> None:
    """Another kernel boots, no crash: what the first left pending never fires, its handler is never called."""
    kernel, line = world.kernel, world.pdev.function.irq_line
    timer, work = kernel.setup_timer(world.note, "timer"), kernel.INIT_WORK(world.note, "work")
    kernel.request_irq(world.pdev, lambda irq, dev: IRQ_HANDLED, world.board)
    kernel.mod_timer(timer, kernel.jiffies + 3)
    kernel.schedule_delayed_work(work, 2)
    kernel.halt()
    assert (kernel.set_aside.timers, kernel.set_aside.works) == ((timer,), (work,))
    assert isinstance(line, IrqLine)
    assert line.handlers == []
    second = Kernel(world.machine)
    second.mod_timer(second.setup_timer(world.note, "second"), second.jiffies + 5)
    world.machine.run(for_ns=100_000_000)
    assert world.ran == ["second"]
