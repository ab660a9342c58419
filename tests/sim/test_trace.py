"""The trace: bounded records, a digest over everything."""

from __future__ import annotations

import attrs
import pytest

from ddsdk.sim.clock import Clock
from ddsdk.sim.trace import Trace, TraceField, TraceRecord


def test_records_carry_time_kind_and_fields() -> None:
    """A record is frozen and says when, what and the details."""
    clock = Clock()
    trace = Trace(clock=clock)
    clock.advance(1_500)
    trace.add("read", "DOORBELL", 0x10000000)
    assert trace.records == (TraceRecord(1_500, "read", ("DOORBELL", 0x10000000)),)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        trace.records[0].now_ns = 0  # type: ignore[misc]


def test_switched_off_it_notes_nothing() -> None:
    """A trace that is off has no records and the digest of no records."""
    trace = Trace(enabled=False)
    empty = trace.digest()
    trace.add("read", "A", 1)
    assert (trace.records, trace.count, trace.digest()) == ((), 0, empty)
    trace.on = True
    trace.mmio("read", "A", 1)
    assert trace.count == 1
    assert trace.digest() != empty


def test_digest_covers_what_the_capacity_dropped() -> None:
    """Equal histories have equal digests; a difference in a record long gone still shows."""
    def history(first: int) -> Trace:
        trace = Trace(capacity=3)
        trace.add("write", "A", first)
        for n in range(10):
            trace.add("write", "A", n)
        return trace

    one, same, other = history(1), history(1), history(2)
    assert one.records == other.records
    assert len(one.records) == 3
    assert one.digest() == same.digest() != other.digest()
    assert one.count == 11


def test_tail_prints_the_last_records_oldest_first() -> None:
    """tail(n) gives n lines: seconds, kind, fields; numbers above 9 in hex."""
    clock = Clock()
    trace = Trace(clock=clock)
    for n in (1, 2, 255):
        clock.advance(1_000_000_000)
        trace.add("irq", n, "up")
    assert trace.tail(2) == ["   2.000000000 irq      2 up", "   3.000000000 irq      0xff up"]
    assert trace.tail(0) == []
    assert len(trace.tail()) == 3


def test_a_listener_hears_each_record_as_it_is_added() -> None:
    """Kind and fields, in order, only while the trace is on and somebody listens; the digest does not change by it."""
    trace, silent = Trace(), Trace()
    heard: list[tuple[str, tuple[TraceField, ...]]] = []
    trace.add("lock", "a", 0)
    silent.add("lock", "a", 0)
    trace.listener = lambda kind, fields: heard.append((kind, fields))
    trace.add("lock", "b", 1)
    silent.add("lock", "b", 1)
    trace.on = False
    trace.add("lock", "c", 0)
    assert heard == [("lock", ("b", 1))]
    assert trace.digest() == silent.digest()
