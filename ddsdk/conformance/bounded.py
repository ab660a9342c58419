"""A bound in time: for what a plugin does that never ends and never lets the machine's clock advance.

The processor time of this process counts, so that a busy machine changes no verdict; for what only waits, real time
does, and more of it.  The alarm raises in the main thread, wherever it is; elsewhere nothing is bounded.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

#: So many times the limit in real time: a sleep, a read of something that never answers.
REAL: Final = 4
#: Rings that a plugin may swallow before they come this often instead: a loop around `except:` is left between two
#: rounds, and some ring falls there.
_PATIENCE: Final = 3
_RING_S: Final = 1.0
_BOMBARD_S: Final = 0.005
#: So many swallowed: nothing in this process will end that loop.
_LAST: Final = 2000
#: Timer, its signal, the clock it goes by, how many limits.
_TIMERS: Final = ((signal.ITIMER_PROF, signal.SIGPROF, time.process_time, 1),
                  (signal.ITIMER_REAL, signal.SIGALRM, time.monotonic, REAL))


class HungError(BaseException):
    """The bound passed.  No Exception: a driver's `except Exception` is not meant."""


@contextmanager
def bounded(limit_s: float) -> Iterator[None]:
    """HungError out of the block when it takes longer than *limit_s* of processor time, or REAL times that by the clock
    on the wall.  Outer alarms go on after it.

    When the block swallows every one of them for ten seconds, the process says so and ends with exit code 1.
    """
    rings, over = 0, False

    def ring(_number: int, frame: FrameType | None) -> None:
        nonlocal rings
        if over:
            return
        rings += 1
        # Never ==: a ring that falls into this handler takes the count on, and its exception leaves the outer one here.
        if rings >= _PATIENCE:
            signal.setitimer(signal.ITIMER_REAL, _BOMBARD_S, _BOMBARD_S)
        if rings >= _LAST and frame is not None:
            where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            os.write(2, f"ddsdk: error: {where}: a loop swallows every exception and never ends\n".encode())
            os._exit(1)
        raise HungError

    outer: list[tuple[Any, float, tuple[float, float]]] = []
    try:
        for timer, number, clock, times in _TIMERS:
            handler: Any = signal.signal(number, ring)
            outer.append((handler, clock(), signal.setitimer(timer, limit_s * times, _RING_S)))
    except ValueError:                      # not the main thread
        yield
        return
    try:
        yield
    finally:
        over = True
        for (timer, number, clock, _), (handler, began, (left_s, again_s)) in zip(_TIMERS, outer, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
            if left_s:
                signal.setitimer(timer, max(left_s - (clock() - began), _BOMBARD_S), again_s)
