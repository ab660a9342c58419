"""Tasklets and work items.  Scenarios for `test_readme.py`."""

from __future__ import annotations

from ddsdk.errors import DeadlockFault, ForbiddenCallError, SleepFault, TimerFault
from tests.helperlib.board import World
from tests.helperlib.scenarios import CRASH, NORMAL, faults, works


@works("tasklet_init", "tasklet_schedule")
def tasklet_runs_once(w: World) -> None:
    """However often it is scheduled before."""
    tasklet = w.kernel.tasklet_init(w.note, "ran")
    w.kernel.tasklet_schedule(tasklet)
    w.kernel.tasklet_schedule(tasklet)
    w.settle()
    assert w.ran == ["ran"]


@works("tasklet_hi_schedule", modes=(NORMAL,))
def hi_tasklet_runs_first(w: World) -> None:
    """Though it was scheduled second."""
    w.kernel.tasklet_schedule(w.kernel.tasklet_init(w.note, "ordinary"))
    w.kernel.tasklet_hi_schedule(w.kernel.tasklet_init(w.note, "hi"))
    w.settle()
    assert w.ran == ["hi", "ordinary"]


@faults("tasklet_hi_schedule", ForbiddenCallError, (CRASH,))
def hi_tasklet(w: World) -> None:
    """White paper 4.3 item 5."""
    w.kernel.tasklet_hi_schedule(w.kernel.tasklet_init(w.note))


@works("tasklet_disable", "tasklet_enable")
def tasklet_disable_nests(w: World) -> None:
    """It runs after the second enable."""
    tasklet = w.kernel.tasklet_init(w.note, "ran")
    w.kernel.tasklet_disable(tasklet)
    w.kernel.tasklet_disable(tasklet)
    w.kernel.tasklet_schedule(tasklet)
    w.kernel.tasklet_enable(tasklet)
    w.settle()
    assert w.ran == []
    w.kernel.tasklet_enable(tasklet)
    w.settle()
    assert w.ran == ["ran"]


@faults("tasklet_enable", TimerFault)
def tasklet_enable_unpaired(w: World) -> None:
    """C: the count goes below zero and the tasklet never runs again."""
    w.kernel.tasklet_enable(w.kernel.tasklet_init(w.note))


@faults("tasklet_disable", DeadlockFault)
def tasklet_disable_from_itself(w: World) -> None:
    """It would wait for its own end."""
    tasklet = w.kernel.tasklet_init(lambda _data: w.kernel.tasklet_disable(tasklet))
    w.kernel.tasklet_schedule(tasklet)
    w.settle()


@works("tasklet_kill")
def tasklet_kill_lets_it_run(w: World) -> None:
    """The scheduled one has run on return."""
    tasklet = w.kernel.tasklet_init(w.note, "ran")
    w.kernel.tasklet_schedule(tasklet)
    w.kernel.tasklet_kill(tasklet)
    assert w.ran == ["ran"]
    w.kernel.tasklet_kill(tasklet)


@faults("tasklet_kill", SleepFault)
def tasklet_kill_in_tasklet(w: World) -> None:
    """It yields."""
    w.in_tasklet(lambda: w.kernel.tasklet_kill(w.kernel.tasklet_init(w.note)))


@faults("tasklet_kill", DeadlockFault)
def tasklet_kill_of_busy(w: World) -> None:
    """It schedules itself: there is no end to wait for."""
    tasklet = w.kernel.tasklet_init(lambda _data: w.kernel.tasklet_schedule(tasklet))
    w.kernel.tasklet_schedule(tasklet)
    w.kernel.tasklet_kill(tasklet)


@faults("tasklet_kill", DeadlockFault)
def tasklet_kill_disabled(w: World) -> None:
    """Scheduled and disabled: it would be waited for without end."""
    tasklet = w.kernel.tasklet_init(w.note)
    w.kernel.tasklet_disable(tasklet)
    w.kernel.tasklet_schedule(tasklet)
    w.kernel.tasklet_kill(tasklet)


@works("INIT_WORK", "schedule_work")
def work_runs_and_may_sleep(w: World) -> None:
    """Once however often it is scheduled; it sleeps 1 ms in it."""
    def function(data: object) -> None:
        w.kernel.msleep(1)
        w.note(data)
    work = w.kernel.INIT_WORK(function, "ran")
    assert w.kernel.schedule_work(work) == 1
    assert w.kernel.schedule_work(work) == 0
    w.settle()
    assert w.ran == ["ran"]
    assert w.kernel.schedule_work(work) == 1


@works("schedule_delayed_work", "cancel_delayed_work")
def delayed_work(w: World) -> None:
    """It waits two jiffies; while it does it can be cancelled."""
    k = w.kernel
    work = k.INIT_WORK(w.note, "ran")
    assert k.schedule_delayed_work(work, 2) == 1
    assert k.schedule_delayed_work(work, 2) == 0
    assert k.cancel_delayed_work(work) == 1
    assert k.cancel_delayed_work(work) == 0
    w.settle()
    assert w.ran == []
    assert k.schedule_delayed_work(work, 2) == 1
    w.settle(1000)
    assert w.ran == []
    w.settle()
    assert w.ran == ["ran"]


@works("flush_scheduled_work")
def flush_runs_what_is_queued(w: World) -> None:
    """In order, before it returns."""
    for what in (1, 2, 3):
        w.kernel.schedule_work(w.kernel.INIT_WORK(w.note, what))
    w.kernel.flush_scheduled_work()
    assert w.ran == [1, 2, 3]


@faults("flush_scheduled_work", SleepFault)
def flush_in_tasklet(w: World) -> None:
    """It sleeps."""
    w.in_tasklet(w.kernel.flush_scheduled_work)
