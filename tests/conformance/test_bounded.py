"""The bound in time: it ends what never ends, and disturbs no other alarm."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from ddsdk.conformance.bounded import HungError, bounded


def spin() -> None:
    """No call, no wait."""
    while True:
        pass


def swallow() -> None:
    """Every exception is caught, and the loop goes on."""
    while True:
        try:        # noqa: SIM105 - what a driver would write
            len("x")
        except BaseException:
            pass


def fail(error: Exception) -> None:
    """An ordinary exception handler around a loop."""
    try:
        spin()
    except Exception:
        raise AssertionError from error


@pytest.mark.parametrize("work", [spin, swallow, lambda: fail(ValueError()), lambda: time.sleep(60)])
def test_what_never_ends_is_ended(work: Callable[[], None]) -> None:
    """A loop, a loop that swallows every exception, a handler for Exception, a sleep."""
    began = time.monotonic()
    with pytest.raises(HungError), bounded(0.1):
        work()
    assert time.monotonic() - began < 10


def test_what_ends_is_left_alone() -> None:
    """No alarm afterwards; what was there before is there again."""
    before = signal.getsignal(signal.SIGALRM)
    with bounded(30):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 20
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_outer_alarm_goes_on() -> None:
    """pytest-timeout's, say: less by what the block took."""
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 30, 5)
        with bounded(60):
            pass
        left, again = signal.getitimer(signal.ITIMER_REAL)
        assert 20 < left <= 30
        assert again == 5
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with bounded(60):
            time.sleep(0.1)
        time.sleep(0.1)
        assert rung == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_processor_time_counts() -> None:
    """Waiting takes four times as long to be ended as working does."""
    with bounded(0.2):
        time.sleep(0.3)
    with pytest.raises(HungError), bounded(0.2):
        spin()
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGPROF) is signal.SIG_DFL


def test_another_thread_is_not_bounded() -> None:
    """Python delivers no signal there; the block runs as it is."""
    done: list[bool] = []

    def work() -> None:
        with bounded(0.05):
            time.sleep(0.2)
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_a_loop_that_nothing_ends_ends_the_process() -> None:
    """Loops in loops that swallow everything: a line and exit code 1, not a hang."""
    source = """
from ddsdk.conformance import bounded

def nest(depth):
    while True:
        try:
            nest(depth - 1) if depth else sum(range(9))
        except BaseException:
            pass

bounded._LAST = 50
with bounded.bounded(0.05):
    nest(400)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert re.fullmatch(r"ddsdk: error: <string>:[5-9]: a loop swallows every exception and never ends\n", done.stderr)
