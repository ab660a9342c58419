"""Faults waiting to strike at a model's decision points: a plan, not a probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ddsdk.errors import UsageError


class FaultPlan:
    """What will go wrong, by id.  Ids and their meanings are the model's `FAULTS`."""

    __slots__ = ("_owner", "_waiting", "armed", "known", "struck")

    def __init__(self, owner: str, known: Mapping[str, str]) -> None:
        self._owner = owner
        self._waiting: dict[str, list[_Injected]] = {}
        self.known = known
        #: Ids that may still strike; empty is the common case, and hot paths test just that.
        self.armed: tuple[str, ...] = ()
        #: How often each id has struck.
        self.struck: dict[str, int] = {}

    def inject(self, fault: str, after: int = 0, times: int = 1, **params: Any) -> None:
        """Arm *fault*: let *after* opportunities pass, then strike *times* times (0: for ever) with *params*.

        Injected twice, the first one strikes first.  UsageError: an id the model does not declare, or a
        negative count.
        """
        if fault not in self.known:
            raise UsageError(f"{self._owner} has no fault {fault!r}; it has: "
                             f"{', '.join(sorted(self.known)) or 'none'}")
        if after < 0 or times < 0:
            raise UsageError(f"{self._owner} fault {fault!r}: after={after} and times={times} are counts, 0 "
                             "or more")
        self._waiting.setdefault(fault, []).append(_Injected(after, times, params))
        self.armed = tuple(self._waiting)

    def hit(self, fault: str) -> dict[str, Any] | None:
        """Asked at a decision point: the parameters when *fault* strikes now, else None.

        KeyError for an id the model asks about and does not declare: a defect of the model.
        """
        if not self.armed:
            return None
        self.known[fault]
        waiting = self._waiting.get(fault)
        if waiting is None:
            return None
        first = waiting[0]
        if not first.strikes():
            return None
        self.struck[fault] = self.struck.get(fault, 0) + 1
        if first.spent:
            waiting.pop(0)
            if not waiting:
                del self._waiting[fault]
                self.armed = tuple(self._waiting)
        return first.params

    def clear(self) -> None:
        """Disarm everything."""
        self._waiting.clear()
        self.armed = ()


class _Injected:
    __slots__ = ("_left", "_wait", "params", "spent")

    def __init__(self, after: int, times: int, params: dict[str, Any]) -> None:
        self._wait = after
        self._left = times
        self.params = params
        self.spent = False

    def strikes(self) -> bool:
        if self._wait:
            self._wait -= 1
            return False
        if self._left:
            self._left -= 1
            self.spent = self._left == 0
        return True
