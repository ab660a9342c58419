"""Real time for an adapter that works in real time while its driver's clock is virtual.

The one place in ddsdk where real time matters: QEMU works while we wait.  A driver that waits spends virtual
time, in no time at all; QEMU, on a busy machine with a slow disk, needs real time, and a time-out that strikes
because virtual time ran ahead would be no fault of either.
"""

from __future__ import annotations

import time
from typing import Final

from ddsdk.sim.clock import NS_PER_S, Clock

#: Virtual time may be this far ahead before an access waits: ten polls, so that what ends soon is seen at once.
LEAD_NS: Final = 1_000_000
#: Time that passed in a leap, without an access, is given so far: what an adapter did not do in 100 ms it waits with.
LEAP_NS: Final = 100_000_000
#: One access waits for so long at the least (the system's own resolution) and at the most; a driver that polls pays
#: the rest at its next access, one that goes on to something else need not.
WAIT_MIN_NS: Final = 50_000
WAIT_MAX_NS: Final = 10_000_000


class Pace:
    """Keeps a virtual clock from running ahead of the real one while an adapter has nothing new to say."""

    __slots__ = ("_clock", "_real_ns", "_virtual_ns")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._virtual_ns = clock.now_ns
        self._real_ns = time.monotonic_ns()

    def news(self) -> None:
        """The adapter got on: what was ahead until now did no harm."""
        self._virtual_ns = self._clock.now_ns
        self._real_ns = time.monotonic_ns()

    def nothing_new(self) -> None:
        """An access that tells the driver nothing: let the real clock catch up."""
        lead_ns = self._clock.now_ns - self._virtual_ns - (time.monotonic_ns() - self._real_ns)
        if lead_ns < 0:
            self.news()                 # the real clock's lead is not saved up
        elif lead_ns > LEAD_NS:
            if lead_ns > LEAP_NS:
                self._virtual_ns += lead_ns - LEAP_NS
                lead_ns = LEAP_NS
            time.sleep(min(max(lead_ns - LEAD_NS, WAIT_MIN_NS), WAIT_MAX_NS) / NS_PER_S)
