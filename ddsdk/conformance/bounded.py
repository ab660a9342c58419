"""A bound in real time: for what a plugin does that never ends and never lets the machine's clock advance.

The alarm raises in the main thread, wherever it is; elsewhere nothing is bounded.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

#: Rings that a plugin may swallow before they come this often instead: a loop around `except:` is left between two
#: rounds, and some ring falls there.
_PATIENCE: Final = 3
_RING_S: Final = 1.0
_BOMBARD_S: Final = 0.005
#: So many swallowed: nothing in this process will end that loop.
_LAST: Final = 2000


class HungError(BaseException):
    """The bound passed.  No Exception: a driver's `except Exception` is not meant."""


@contextmanager
def bounded(limit_s: float) -> Iterator[None]:
    """HungError out of the block when it takes longer than *limit_s* of real time.  An outer alarm goes on after it.

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

    try:
        before: Any = signal.signal(signal.SIGALRM, ring)
    except ValueError:                      # not the main thread
        yield
        return
    began = time.monotonic()
    outer_s, outer_again_s = signal.setitimer(signal.ITIMER_REAL, limit_s, _RING_S)
    try:
        yield
    finally:
        over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer_s:
            left_s = outer_s - (time.monotonic() - began)
            signal.setitimer(signal.ITIMER_REAL, max(left_s, _BOMBARD_S), outer_again_s)
