"""Two things that end a loop nobody else would end: the NMI watchdog, and the stall detector."""

from __future__ import annotations

from ddsdk.errors import SimulationStuckError, WatchdogFault

from .clock import NS_PER_S, Clock

#: i386 and x86_64 2.6.9: nmi_watchdog_tick() gives up after 5 s without a timer interrupt.
WATCHDOG_LIMIT_NS = 5 * NS_PER_S


class NmiWatchdog:
    """Bites whoever keeps a CPU from taking its timer tick for longer than `limit_ns` of virtual time.

    In normal mode the tick feeds it wherever interrupts are enabled; in crashdump_mode there is no tick and
    only `touch()` does.  Source: Linux 2.6.9 arch/i386/kernel/nmi.c (nmi_watchdog_tick, touch_nmi_watchdog).
    """

    __slots__ = ("clock", "deadline_ns", "limit_ns", "touched_ns")

    def __init__(self, clock: Clock, limit_ns: int = WATCHDOG_LIMIT_NS) -> None:
        self.clock = clock
        self.limit_ns = limit_ns
        self.touched_ns = clock.now_ns
        self.deadline_ns = clock.now_ns + limit_ns

    def touch(self) -> None:
        """touch_nmi_watchdog(): start counting again, on every CPU."""
        self.touched_ns = now_ns = self.clock.now_ns
        self.deadline_ns = now_ns + self.limit_ns

    def bite(self, cpu_id: int, mode: str) -> None:
        """Raise the WatchdogFault; called by the machine when the deadline has passed."""
        silent_ms = (self.clock.now_ns - self.deadline_ns + self.limit_ns) // 1_000_000
        raise WatchdogFault(
            f"NMI watchdog: CPU {cpu_id} ({mode}) took no tick and nobody called touch_nmi_watchdog() for "
            f"{silent_ms} ms, the limit is {self.limit_ns // 1_000_000} ms; wait in diskdump_mdelay() or "
            "call diskdump_update() in the loop")


class StallDetector:
    """Notices a loop that works without ever letting time pass.

    `tick()` is called once per register access (and by whatever else can be called in an endless loop);
    once `limit` calls have been made without the clock moving it raises SimulationStuckError.
    """

    __slots__ = ("_seen_ns", "clock", "count", "limit")

    def __init__(self, clock: Clock, limit: int = 1_000_000) -> None:
        self.clock = clock
        self.limit = limit
        #: Calls since the clock was last looked at; a register access counts itself, see `PciWindow`.
        self.count = 0
        self._seen_ns = -1

    def tick(self, what: str = "register access") -> None:
        """Count one call; *what* names it in the error.  Looks at the clock only every `limit` calls."""
        self.count = count = self.count + 1
        if count > self.limit:
            self.count = 0
            now_ns = self.clock.now_ns
            if now_ns == self._seen_ns:
                raise SimulationStuckError(
                    f"stuck at {now_ns} ns: more than {self.limit} calls (last one: {what}) without letting "
                    "time pass; put udelay() or diskdump_mdelay() into the loop and bound it")
            self._seen_ns = now_ns
