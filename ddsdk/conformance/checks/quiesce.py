"""QUIESCE: from every state the crash can find the adapter in."""

from __future__ import annotations

from .. import states
from ..bench import Bench
from ..check import check


@check("QUIESCE-1", hook="quiesce", source="field.md 2, row 2: quiesce from every reachable device state",
       cases=states.every_state, fix="""
       Forget what was in flight, mask the chip, and let the host reset do the rest; wait for nothing that only the
       dead kernel would have brought about.
       """)
def works_from_every_state(bench: Bench, state: str) -> None:
    """Whatever the adapter was doing at the crash, quiesce and host reset bring it to where it writes and reads."""
    states.enter(bench, state)
    bench.take_over()
    bench.works()
