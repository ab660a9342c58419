"""TIME: what a driver may call to let time pass, and what it may not.  How long it takes is in time_bounds.py."""

from __future__ import annotations

from typing import Final

from ddsdk.errors import ForbiddenCallError, MdelayFault, SleepFault, TimerFault, WatchdogFault

from .. import routes
from ..bench import Bench
from ..check import Level, check

#: A tick at HZ=1000: longer busy waits belong to diskdump_mdelay().
_TICK_US: Final = 1000


@check("TIME-1", hook="all", source="white paper 4.3 (4): use diskdump_mdelay() instead of mdelay() in the diskdump"
       " functions", setup=routes.TRAVELLER, faults=(MdelayFault,), cases=routes.after_the_crash, fix="""
       #define MY_MDELAY(n)            \\
           if (crashdump_mode())       \\
               diskdump_mdelay(n);     \\
           else                        \\
               mdelay(n);
       """)
def no_mdelay_after_the_crash(bench: Bench, route: str) -> None:
    """After the crash the driver never calls mdelay(): it warns when in_irq() and starves the NMI watchdog."""
    for call in routes.travel(bench, route).since_crash("mdelay"):
        bench.expect(False, f"{call.site} calls mdelay({call.amount}) in crashdump_mode; it must call"
                            f" diskdump_mdelay({call.amount}) there")


@check("TIME-2", hook="all", source="white paper 4.3 (5): schedule() and tasklet_hi_schedule() can't be used for the"
       " diskdump", setup=routes.TRAVELLER, faults=(ForbiddenCallError,), cases=routes.after_the_crash, fix="""
       Wait with schedule_timeout(1) or diskdump_mdelay(1) instead of schedule(), in a loop with a bound; call
       tasklet_schedule() instead of tasklet_hi_schedule(): diskdump_update() runs no high-priority tasklets.
       """)
def no_schedule_after_the_crash(bench: Bench, route: str) -> None:
    """After the crash the driver never calls schedule() or tasklet_hi_schedule(): nobody would come back from there."""
    for call in routes.travel(bench, route).since_crash("schedule", "tasklet_hi_schedule"):
        bench.expect(False, f"{call.site} calls {call.name}() in crashdump_mode, where nobody else runs and no"
                            " high-priority tasklet does; use schedule_timeout(), tasklet_schedule()")


@check("TIME-3", hook="all", source="white paper 4.3 (5): you can't use the timer function with possibility of"
       " sleeping", setup=routes.TRAVELLER, faults=(SleepFault,), cases=routes.every_route, fix="""
       Give every wait a bound, and let go of the lock before it:

           spin_unlock(&ioc->lock);
           if (!wait_for_completion_timeout(&ioc->done, 5 * HZ))
               return FAILED;
           spin_lock(&ioc->lock);

       In a timer function, a tasklet or the interrupt handler do not wait at all: schedule_work().
       """)
def no_sleep_where_none_may_be(bench: Bench, route: str) -> None:
    """The driver never sleeps under a spin lock, in a timer, tasklet or handler; after the crash never without a bound.

    Before the crash that is the kernel's own rule; after it a sleeping call polls the driver, which takes its locks.
    """
    for call in routes.travel(bench, route).since_crash("wait_event", "wait_for_completion"):
        bench.expect(False, f"{call.site} calls {call.name}() in crashdump_mode, which has no bound; use"
                            f" {call.name}_timeout()")


@check("TIME-4", hook="all", source="white paper 4.3 (4): when the waiting time is long, dumping may fail by"
       " nmi_watchdog; field.md 4.3, row HBA: reset takes 30 s / never ends", setup=routes.TRAVELLER,
       faults=(WatchdogFault,), cases=routes.every_route, fix="""
       Wait through diskdump_mdelay(), which touches the watchdog every millisecond, or call diskdump_update() in the
       loop; in normal mode never keep interrupts off for seconds:

           for (ms = 0; ms < 60000 && !ready(ioc); ms += 10)
               diskdump_msleep(10);
       """)
def the_watchdog_never_starves(bench: Bench, route: str) -> None:
    """The NMI watchdog is fed however long a reset or a completion takes: never 5 s without a touch."""
    routes.travel(bench, route)


@check("TIME-8", hook="all", source="white paper 4.3 (5): add_timer(), mod_timer(), del_timer(), tasklet_schedule(),"
       " schedule_work() can be used", setup=routes.TRAVELLER, faults=(TimerFault,), cases=routes.every_route, fix="""
       init_timer() once, when the timer is not pending; add_timer() only when it is not pending, mod_timer()
       otherwise; del_timer_sync() before it is set up anew; one tasklet_enable() for each tasklet_disable().
       """)
def timers_are_used_right(bench: Bench, route: str) -> None:
    """Timers, tasklets and work are used as the kernel wants it: set up once, added when not pending, enabled once."""
    routes.travel(bench, route)


@check("TIME-10", hook="all", level=Level.ADVISORY, source="white paper 4.3 (4): MPT_MDELAY in place of a busy wait",
       setup=routes.TRAVELLER, cases=routes.main_roads, fix="""
       diskdump_mdelay(5) instead of udelay(5000): it touches the watchdog, and no machine's udelay() is made for
       milliseconds (include/linux/delay.h, MAX_UDELAY_MS).
       """)
def long_busy_waits_touch_the_watchdog(bench: Bench, route: str) -> None:
    """After the crash no udelay() is longer than a tick of a millisecond: diskdump_mdelay() is there for that."""
    for call in routes.travel(bench, route).since_crash("udelay"):
        bench.expect(call.amount <= _TICK_US, f"{call.site} busy-waits {call.amount} us in one udelay(); more than"
                                              f" {_TICK_US} us should be diskdump_mdelay()")
