"""Wait queues and completions.

C: include/linux/wait.h, include/linux/completion.h.  Crash mode: dump formats 1.14 (RHEL 3: wake_up sets a
flag that ends the polling wait); waits without a bound are faults there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .delay import Delays

if TYPE_CHECKING:
    from ddsdk.sim.cpu import Task


class WaitQueueHead:
    """wait_queue_head_t: `wakeups` counts wake_up() calls; a sleeper looks at its condition after each."""

    __slots__ = ("sleepers", "wakeups")

    def __init__(self) -> None:
        self.wakeups = 0
        self.sleepers: list[Task] = []


class Completion:
    """struct completion: `done` events posted and not yet waited for."""

    __slots__ = ("done", "sleepers")

    def __init__(self) -> None:
        self.done = 0
        self.sleepers: list[Task] = []


class Waits:
    """Sleeping until something happens: with a bound, and in normal mode also without."""

    def __init__(self, delays: Delays) -> None:
        self._delays = delays

    def init_waitqueue_head(self) -> WaitQueueHead:
        """A queue nobody sleeps on.  C: void init_waitqueue_head(wait_queue_head_t *)."""
        return WaitQueueHead()

    def wake_up(self, queue: WaitQueueHead) -> None:
        """void wake_up(wait_queue_head_t *): let the sleepers look at their conditions again; any context."""
        queue.wakeups += 1
        self._delays.wake(queue.sleepers)

    def wait_event_timeout(self, queue: WaitQueueHead, condition: Callable[[], bool], timeout: int) -> int:
        """long wait_event_timeout(wq, condition, timeout): sleep until *condition*; *timeout* in jiffies.

        Returns the jiffies left (at least 1) when it became true, 0 when not.  The condition is looked at on
        entry, after each wake_up(queue) and at the end: forgetting wake_up() costs the whole timeout.
        """
        if condition():
            return max(1, timeout)
        woken = _woken_with(queue, condition)
        left = self._delays.sleep("wait_event_timeout", timeout, woken, queue.sleepers)
        return max(1, left) if condition() else 0

    def wait_event(self, queue: WaitQueueHead, condition: Callable[[], bool]) -> None:
        """void wait_event(wq, condition): the same without a bound.  Crash mode: SleepFault."""
        self._delays.sleep_unbounded("wait_event", condition, queue.sleepers)

    def init_completion(self) -> Completion:
        """Nothing posted.  C: void init_completion(struct completion *)."""
        return Completion()

    def complete(self, completion: Completion) -> None:
        """void complete(struct completion *): post one event; any context."""
        completion.done += 1
        self._delays.wake(completion.sleepers)

    def wait_for_completion_timeout(self, completion: Completion, timeout: int) -> int:
        """unsigned long wait_for_completion_timeout(x, timeout): take one event; *timeout* in jiffies.

        Returns the jiffies left (at least 1), 0 when none was posted in time.
        """
        left = timeout
        if not completion.done:
            left = self._delays.sleep("wait_for_completion_timeout", timeout, lambda: completion.done > 0,
                                      completion.sleepers)
            if not completion.done:
                return 0
        completion.done -= 1
        return max(1, left)

    def wait_for_completion(self, completion: Completion) -> None:
        """void wait_for_completion(struct completion *): without a bound.  Crash mode: SleepFault."""
        self._delays.sleep_unbounded("wait_for_completion", lambda: completion.done > 0, completion.sleepers)
        completion.done -= 1


def _woken_with(queue: WaitQueueHead, condition: Callable[[], bool]) -> Callable[[], bool]:
    """True once *condition* holds after a wake_up() that came later than this call."""
    seen = queue.wakeups

    def woken() -> bool:
        nonlocal seen
        if queue.wakeups == seen:
            return False
        seen = queue.wakeups
        return condition()

    return woken
