"""Delays, sleeps, wait queues, completions.  Scenarios for `test_readme.py`."""

from __future__ import annotations

from collections.abc import Callable

from ddsdk.errors import ForbiddenCallError, MdelayFault, SleepFault
from tests.helperlib.board import BoardRegs, World
from tests.helperlib.scenarios import CRASH, NORMAL, faults, works
from tests.helperlib.uses_time import armed_timer


@works("udelay")
def udelay_takes_its_time(w: World) -> None:
    """To the microsecond."""
    before = w.now_us
    w.kernel.udelay(123)
    assert w.now_us - before == 123


@works("mdelay", modes=(NORMAL,))
def mdelay_takes_its_time(w: World) -> None:
    """To the microsecond."""
    before = w.now_us
    w.kernel.mdelay(12)
    assert w.now_us - before == 12_000


@faults("mdelay", MdelayFault, (CRASH,))
def mdelay(w: World) -> None:
    """White paper 4.3 item 4."""
    w.kernel.mdelay(1)


@works("diskdump_mdelay", "diskdump_msleep", modes=(CRASH,))
def diskdump_mdelay_runs_nothing(w: World) -> None:
    """12 s pass, the watchdog is content, jiffies and timers stand still."""
    armed_timer(w)
    jiffies, before = w.kernel.jiffies, w.now_us
    w.kernel.diskdump_mdelay(6000)
    w.kernel.diskdump_msleep(6000)
    assert w.now_us - before == 12_000_000
    assert w.kernel.jiffies == jiffies
    assert w.ran == []


@works("diskdump_mdelay", modes=(NORMAL,))
def diskdump_mdelay_is_busy(w: World) -> None:
    """6 s with interrupts off, the watchdog content."""
    w.kernel.local_irq_disable()
    before = w.now_us
    w.kernel.diskdump_mdelay(6000)
    assert w.now_us - before == 6_000_000


@works("msleep", "diskdump_msleep", modes=(NORMAL,))
def msleep_lets_others_run(w: World) -> None:
    """Another task of the same CPU runs meanwhile."""
    w.machine.spawn(0, lambda: w.note("other"))
    before = w.now_us
    w.kernel.msleep(7)
    w.kernel.diskdump_msleep(3)
    assert w.now_us - before == 10_000
    assert w.ran == ["other"]


@works("msleep", modes=(CRASH,))
def msleep_polls(w: World) -> None:
    """Poll and timers run while it waits."""
    k = w.kernel
    k.poll = lambda: w.note("poll") if not w.ran else None
    k.mod_timer(k.setup_timer(w.note, "timer"), k.jiffies + 3)
    before = w.now_us
    k.msleep(7)
    assert w.now_us - before == 7000
    assert w.ran == ["poll", "timer"]


@faults("msleep", SleepFault)
def msleep_in_tasklet(w: World) -> None:
    """A tasklet may not sleep."""
    w.in_tasklet(lambda: w.kernel.msleep(1))


@faults("msleep", SleepFault)
def msleep_under_lock(w: World) -> None:
    """A spin lock holder may not sleep; the poll would take the lock again."""
    w.kernel.spin_lock(w.kernel.spin_lock_init("lock"))
    w.kernel.msleep(1)


@faults("msleep", SleepFault)
def msleep_in_timer(w: World) -> None:
    """A timer function may not sleep."""
    k = w.kernel
    k.mod_timer(k.setup_timer(lambda _data: k.msleep(1)), k.jiffies + 1)
    w.settle()


@faults("msleep", SleepFault, (NORMAL,))
def msleep_with_interrupts_off(w: World) -> None:
    """Nobody could wake it."""
    w.kernel.local_irq_disable()
    w.kernel.msleep(1)


@faults("diskdump_msleep", SleepFault, (NORMAL,))
def diskdump_msleep_in_irq(w: World) -> None:
    """It is msleep there."""
    w.in_irq(lambda: w.kernel.diskdump_msleep(1))


@works("schedule_timeout")
def schedule_timeout_sleeps(w: World) -> None:
    """Its whole time, and nothing is left of it."""
    before = w.now_us
    assert w.kernel.schedule_timeout(5) == 0
    assert w.now_us - before == 5000


@faults("schedule_timeout", SleepFault, (NORMAL,))
def schedule_timeout_in_irq(w: World) -> None:
    """An interrupt handler may not sleep."""
    w.in_irq(lambda: w.kernel.schedule_timeout(1))


@faults("schedule_timeout", SleepFault, (CRASH,))
def schedule_timeout_for_ever(w: World) -> None:
    """MAX_SCHEDULE_TIMEOUT is LONG_MAX."""
    w.kernel.schedule_timeout(2**63 - 1)


@works("schedule", modes=(NORMAL,))
def schedule_lets_others_run(w: World) -> None:
    """Another task of the same CPU has run on return."""
    w.machine.spawn(0, lambda: w.note("other"))
    w.kernel.schedule()
    assert w.ran == ["other"]


@faults("schedule", SleepFault, (NORMAL,))
def schedule_under_lock(w: World) -> None:
    """Scheduling while atomic."""
    w.kernel.spin_lock(w.kernel.spin_lock_init("lock"))
    w.kernel.schedule()


@faults("schedule", ForbiddenCallError, (CRASH,))
def schedule(w: World) -> None:
    """White paper 4.3 item 5."""
    w.kernel.schedule()


def starts_board(w: World, completion: Callable[[], object]) -> None:
    """DONE comes 2 ms later: by interrupt in normal mode, seen by the poll after the crash."""
    if w.kernel.crashdump_mode():
        w.kernel.poll = w.poll(completion)
    else:
        assert w.kernel.request_irq(w.pdev, lambda irq, dev: w.interrupt(completion), w) == 0
    w.kernel.writel(2000, w.mem, BoardRegs.START)


@works("init_waitqueue_head", "wake_up", "wait_event_timeout")
def waits_for_event(w: World) -> None:
    """Woken after 2 of 10 jiffies; a condition that never comes true takes all of them."""
    k = w.kernel
    queue = k.init_waitqueue_head()

    def completion() -> None:
        w.note("done")
        k.wake_up(queue)
    starts_board(w, completion)
    assert k.wait_event_timeout(queue, lambda: bool(w.ran), 10) in (7, 8)
    before = w.now_us
    assert k.wait_event_timeout(queue, lambda: False, 10) == 0
    assert w.now_us - before == 10_000


@faults("wait_event_timeout", SleepFault)
def wait_event_timeout_under_lock(w: World) -> None:
    """The poll would take the same lock."""
    w.kernel.spin_lock(w.kernel.spin_lock_init("lock"))
    w.kernel.wait_event_timeout(w.kernel.init_waitqueue_head(), lambda: False, 1)


@works("wait_event", modes=(NORMAL,))
def waits_for_event_without_bound(w: World) -> None:
    """Until the interrupt."""
    queue = w.kernel.init_waitqueue_head()

    def completion() -> None:
        w.note("done")
        w.kernel.wake_up(queue)
    starts_board(w, completion)
    w.kernel.wait_event(queue, lambda: bool(w.ran))
    assert w.ran == ["done"]


@faults("wait_event", SleepFault, (CRASH,))
def wait_event(w: World) -> None:
    """Even of a condition that holds already: the next crash may find it otherwise."""
    w.kernel.wait_event(w.kernel.init_waitqueue_head(), lambda: True)


@works("init_completion", "complete", "wait_for_completion_timeout")
def waits_for_completion(w: World) -> None:
    """Posted after 2 of 10 jiffies; one more wait takes all of them."""
    k = w.kernel
    done = k.init_completion()
    starts_board(w, lambda: k.complete(done))
    assert k.wait_for_completion_timeout(done, 10) in (7, 8)
    before = w.now_us
    assert k.wait_for_completion_timeout(done, 10) == 0
    assert w.now_us - before == 10_000


@faults("wait_for_completion_timeout", SleepFault)
def wait_for_completion_timeout_in_tasklet(w: World) -> None:
    """A tasklet may not sleep."""
    done = w.kernel.init_completion()
    w.in_tasklet(lambda: w.kernel.wait_for_completion_timeout(done, 1))


@works("wait_for_completion", modes=(NORMAL,))
def waits_for_completion_without_bound(w: World) -> None:
    """Until the interrupt."""
    done = w.kernel.init_completion()
    starts_board(w, lambda: w.kernel.complete(done))
    w.kernel.wait_for_completion(done)
    assert not w.board.values["STATUS"]


@faults("wait_for_completion", SleepFault, (CRASH,))
def wait_for_completion(w: World) -> None:
    """Even of one that is posted."""
    done = w.kernel.init_completion()
    w.kernel.complete(done)
    w.kernel.wait_for_completion(done)
