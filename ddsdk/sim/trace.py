"""What happened, in order: every MMIO, DMA, IRQ edge, lock, timer, hook call.

The hot path appends one tuple, or tests one attribute when the trace is off.  Records are made on demand.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator

from attrs import frozen

from .clock import Clock

#: What a record may carry.  Nothing whose repr depends on an address or on a hash seed.
TraceField = int | str | bytes | bool | None


@frozen
class TraceRecord:
    """One thing that happened: when (ns), what kind, its details."""

    now_ns: int
    kind: str
    fields: tuple[TraceField, ...]

    def __str__(self) -> str:
        shown = " ".join(hex(f) if type(f) is int and abs(f) > 9 else str(f) for f in self.fields)
        return f"{self.now_ns / 1e9:14.9f} {self.kind:<8} {shown}"


class Trace:
    """A bounded log with a running digest over everything ever added, not only what is still kept.

    Test `trace.on` before `trace.add(...)` where speed matters; `add` itself adds whatever it is given
    only while the trace is on.
    """

    __slots__ = ("_hash", "_kept", "clock", "count", "listener", "on")

    def __init__(self, capacity: int = 10_000, enabled: bool = True, clock: Clock | None = None) -> None:
        self.on = enabled
        self.clock = clock if clock is not None else Clock()
        self.count = 0
        #: Told of each record as it is added: kind, fields.  It looks, and adds nothing.
        self.listener: Callable[[str, tuple[TraceField, ...]], object] | None = None
        self._kept: deque[tuple[int, str, tuple[TraceField, ...]]] = deque(maxlen=capacity)
        self._hash = hashlib.sha256()

    def add(self, kind: str, *fields: TraceField) -> None:
        """Note that *kind* happened now."""
        if not self.on:
            return
        record = (self.clock.now_ns, kind, fields)
        self.count += 1
        self._kept.append(record)
        self._hash.update(repr(record).encode())
        if self.listener is not None:
            self.listener(kind, fields)

    mmio = add

    @property
    def records(self) -> tuple[TraceRecord, ...]:
        """The records still kept, oldest first."""
        return tuple(self)

    def __iter__(self) -> Iterator[TraceRecord]:
        for now_ns, kind, fields in self._kept:
            yield TraceRecord(now_ns, kind, fields)

    def digest(self) -> str:
        """sha256 (hex) of everything added so far: equal for equal histories, on any host."""
        return self._hash.hexdigest()

    def tail(self, lines: int = 30) -> list[str]:
        """The last *lines* records as text, oldest first."""
        kept = list(self._kept)[-lines:] if lines > 0 else []
        return [str(TraceRecord(*record)) for record in kept]
