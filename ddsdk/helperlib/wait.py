"""Wait queues and completions.

C: include/linux/wait.h, include/linux/completion.h.  Crash mode: dump formats 1.14 (RHEL 3 wake_up sets a flag that ends
the polling wait); waits without a bound are faults there.
"""

from __future__ import annotations

from collections.abc import Callable

from .delay import Delays


class WaitQueueHead:
    """wait_queue_head_t: `wakeups` counts wake_up() calls; a sleeper looks at its condition after each."""

    __slots__ = ("wakeups",)

    def __init__(self) -> None:
        self.wakeups = 0


class Completion:
    """struct completion: `done` events posted and not yet waited for."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = 0


class Waits:
    """Sleeping until something happens, with a bound and, in normal mode only, without."""

    def __init__(self, delays: Delays) -> None:
        self._delays = delays

    def init_waitqueue_head(self) -> WaitQueueHead:
        """void init_waitqueue_head(wait_queue_head_t *): a queue nobody sleeps on."""
        return WaitQueueHead()

    def wake_up(self, queue: WaitQueueHead) -> None:
        """void wake_up(wait_queue_head_t *): let the sleepers look at their conditions again; any context."""
        queue.wakeups += 1

    def wait_event_timeout(self, queue: WaitQueueHead, condition: Callable[[], bool], timeout: int) -> int:
        """long wait_event_timeout(wq, condition, timeout): sleep until *condition* is true, at most *timeout* jiffies.

        Returns the jiffies left (at least 1) when it became true, 0 when not.  The condition is looked at on
        entry, after each wake_up(queue) and at the end: forgetting wake_up() costs the whole timeout.
        """
        if condition():
            return max(1, timeout)
        left = self._delays.sleep("wait_event_timeout", timeout, _woken_with(queue, condition))
        return max(1, left) if condition() else 0

    def wait_event(self, queue: WaitQueueHead, condition: Callable[[], bool]) -> None:
        """void wait_event(wq, condition): the same without a bound.  Crash mode: SleepFault."""
        self._delays.forbid_unbounded("wait_event")
        if not condition():
            self._delays.sleep("wait_event", self._delays.max_timeout, _woken_with(queue, condition))

    def init_completion(self) -> Completion:
        """void init_completion(struct completion *): nothing posted."""
        return Completion()

    def complete(self, completion: Completion) -> None:
        """void complete(struct completion *): post one event; any context."""
        completion.done += 1

    def wait_for_completion_timeout(self, completion: Completion, timeout: int) -> int:
        """unsigned long wait_for_completion_timeout(completion, timeout): take one event, at most *timeout* jiffies.

        Returns the jiffies left (at least 1), 0 when none was posted in time.
        """
        if not completion.done:
            left = self._delays.sleep("wait_for_completion_timeout", timeout, lambda: completion.done > 0)
            if not completion.done:
                return 0
        else:
            left = timeout
        completion.done -= 1
        return max(1, left)

    def wait_for_completion(self, completion: Completion) -> None:
        """void wait_for_completion(struct completion *): the same without a bound.  Crash mode: SleepFault."""
        self._delays.forbid_unbounded("wait_for_completion")
        if not completion.done:
            self._delays.sleep("wait_for_completion", self._delays.max_timeout, lambda: completion.done > 0)
        completion.done -= 1


def _woken_with(queue: WaitQueueHead, condition: Callable[[], bool]) -> Callable[[], bool]:
    seen = queue.wakeups

    def woken() -> bool:
        nonlocal seen
        if queue.wakeups == seen:
            return False
        seen = queue.wakeups
        return condition()

    return woken
