"""Jiffies, the watchdog, timers, busy delays.  Scenarios for `test_readme.py`."""

from __future__ import annotations

from ddsdk.errors import DeadlockFault, SimulationStuckError, TimerFault
from ddsdk.helperlib.kernel import TimerList
from tests.helperlib.board import World
from tests.helperlib.scenarios import CRASH, NORMAL, faults, works


def armed_timer(w: World) -> TimerList:
    """A timer that is pending."""
    timer = w.kernel.setup_timer(w.note, "fired")
    timer.expires = w.kernel.jiffies + 1
    w.kernel.add_timer(timer)
    return timer


@works("crashdump_mode", modes=(NORMAL,))
def not_crashed(w: World) -> None:
    """False while the machine runs."""
    assert w.kernel.crashdump_mode() is False


@works("crashdump_mode", modes=(CRASH,))
def has_crashed(w: World) -> None:
    """True from the crash on."""
    assert w.kernel.crashdump_mode() is True


@works("jiffies", modes=(NORMAL,))
def jiffies_follow_the_clock(w: World) -> None:
    """5 ms are 5 ticks at HZ 1000."""
    before = w.kernel.jiffies
    w.kernel.udelay(5000)
    assert w.kernel.jiffies - before == 5


@works("jiffies", modes=(CRASH,))
def jiffies_stand_still(w: World) -> None:
    """Only diskdump_update() moves them."""
    before = w.kernel.jiffies
    w.kernel.udelay(5000)
    assert w.kernel.jiffies == before
    w.kernel.diskdump_update()
    assert w.kernel.jiffies - before == 5


@faults("jiffies", SimulationStuckError, (CRASH,))
def loop_on_jiffies(w: World) -> None:
    """A time-out loop without a delay in it."""
    w.machine.stall.limit = 1000
    deadline = w.kernel.jiffies + 1
    while w.kernel.time_before(w.kernel.jiffies, deadline):
        pass


@works("HZ")
def hz(w: World) -> None:
    """The machine's."""
    assert w.kernel.HZ == w.machine.hz == 1000


@works("time_after", "time_before")
def time_compares_across_the_wrap(w: World) -> None:
    """A time just past the wrap is later than one just before it."""
    top = 2**64 - 1
    assert w.kernel.time_after(5, top - 5)
    assert not w.kernel.time_after(top - 5, 5)
    assert not w.kernel.time_after(7, 7)
    assert w.kernel.time_before(top - 5, 5)
    assert not w.kernel.time_before(5, top - 5)


@works("msecs_to_jiffies", "jiffies_to_msecs")
def converts_time(w: World) -> None:
    """One to one at HZ 1000."""
    assert w.kernel.msecs_to_jiffies(250) == 250
    assert w.kernel.jiffies_to_msecs(250) == 250


@works("diskdump_update", modes=(NORMAL,))
def update_touches_watchdog(w: World) -> None:
    """Four seconds with interrupts off, twice, the watchdog's limit being five."""
    w.kernel.local_irq_disable()
    w.kernel.udelay(4_000_000)
    w.kernel.diskdump_update()
    w.kernel.udelay(4_000_000)


@works("diskdump_update", modes=(CRASH,))
def update_moves_everything(w: World) -> None:
    """Timer, tasklet, work, in this order, once each."""
    k = w.kernel
    k.mod_timer(k.setup_timer(w.note, "timer"), k.jiffies + 2)
    k.tasklet_schedule(k.tasklet_init(w.note, "tasklet"))
    k.schedule_work(k.INIT_WORK(w.note, "work"))
    k.udelay(2000)
    assert w.ran == []
    k.diskdump_update()
    k.diskdump_update()
    assert w.ran == ["timer", "tasklet", "work"]


@works("diskdump_pause", modes=(NORMAL,))
def pause_lets_time_pass(w: World) -> None:
    """Three milliseconds."""
    before_ns = w.machine.clock.now_ns
    w.kernel.diskdump_pause(3)
    assert w.machine.clock.now_ns - before_ns == 3_000_000


@works("diskdump_pause", modes=(CRASH,))
def pause_misses_nothing(w: World) -> None:
    """A timer, an adapter's event and what it leads to happen at the millisecond a loop of updates would see them at;
    the watchdog's five seconds pass twice."""
    k, clock = w.kernel, w.machine.clock
    began_ns, seen = clock.now_ns, list[tuple[str, int]]()

    def note(what: object) -> None:
        seen.append((str(what), (clock.now_ns - began_ns) // 1000))

    k.mod_timer(k.setup_timer(note, "timer"), k.jiffies + 700)
    tasklet = k.tasklet_init(note, "tasklet")

    def event() -> None:
        note("event")
        k.tasklet_schedule(tasklet)

    clock.after_ns(1_500_300_000, event)
    k.diskdump_pause(10_000)
    assert seen == [("timer", 700_000), ("event", 1_500_300), ("tasklet", 1_501_000)]
    assert clock.now_ns - began_ns == 10_000_000_000


@works("poll_once")
def polls_without_reentry(w: World) -> None:
    """The poll is run once, though it polls itself."""
    def poll() -> None:
        w.ran.append("poll")
        w.kernel.poll_once()
    w.kernel.poll_once()
    w.kernel.poll = poll
    w.kernel.poll_once()
    assert w.ran == ["poll"]


@works("touch_nmi_watchdog")
def touches_watchdog(w: World) -> None:
    """Eight seconds in two halves, with interrupts off."""
    w.kernel.local_irq_disable()
    w.kernel.udelay(4_000_000)
    w.kernel.touch_nmi_watchdog()
    w.kernel.udelay(4_000_000)


@works("init_timer", "setup_timer", "timer_pending")
def fresh_timers_are_unarmed(w: World) -> None:
    """Both ways to make one."""
    made = w.kernel.setup_timer(w.note, "made")
    by_hand = TimerList(w.note, "by hand")
    w.kernel.init_timer(by_hand)
    assert not w.kernel.timer_pending(made)
    assert not w.kernel.timer_pending(by_hand)


@faults("init_timer", TimerFault)
def init_of_pending_timer(w: World) -> None:
    """It would stay in the list with its links gone."""
    timer = armed_timer(w)
    w.kernel.init_timer(timer)


@works("add_timer")
def add_timer_fires(w: World) -> None:
    """Not before its time, then once."""
    timer = w.kernel.setup_timer(w.note, "fired")
    timer.expires = w.kernel.jiffies + 2
    w.kernel.add_timer(timer)
    w.settle(1000)
    assert w.ran == []
    w.settle(2000)
    assert w.ran == ["fired"]


@faults("add_timer", TimerFault)
def add_timer_twice(w: World) -> None:
    """C: BUG_ON(timer_pending)."""
    w.kernel.add_timer(armed_timer(w))


@faults("add_timer", TimerFault)
def add_timer_without_function(w: World) -> None:
    """Nothing to call."""
    timer = TimerList()
    w.kernel.init_timer(timer)
    w.kernel.add_timer(timer)


@faults("add_timer", TimerFault)
def add_timer_uninitialised(w: World) -> None:
    """Neither init_timer() nor setup_timer() saw it."""
    w.kernel.add_timer(TimerList(w.note))


@works("mod_timer", "del_timer", "del_timer_sync")
def rearm_and_delete(w: World) -> None:
    """Each says whether the timer was pending."""
    k = w.kernel
    timer = k.setup_timer(w.note, "fired")
    assert k.mod_timer(timer, k.jiffies + 1) == 0
    assert k.mod_timer(timer, k.jiffies + 2) == 1
    assert k.del_timer(timer) == 1
    assert k.del_timer(timer) == 0
    assert k.del_timer_sync(timer) == 0
    k.mod_timer(timer, k.jiffies + 1)
    assert k.del_timer_sync(timer) == 1
    w.settle()
    assert w.ran == []


@faults("del_timer_sync", DeadlockFault)
def del_timer_sync_from_itself(w: World) -> None:
    """It would wait for its own end."""
    timer = w.kernel.setup_timer(lambda t: w.kernel.del_timer_sync(t))
    timer.data = timer
    w.kernel.mod_timer(timer, w.kernel.jiffies + 1)
    w.settle()
