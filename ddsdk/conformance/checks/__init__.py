"""The checks, a module a family, in the order a port is written."""

from __future__ import annotations

from ..check import Check, checks_of


def all_checks() -> tuple[Check, ...]:
    """Every check there is, by family and number."""
    from . import e2e, err, io, irq, lock, mem, poll, quiesce, reg, reset, reset_hard, sane, time

    return checks_of((reg, sane, quiesce, reset, reset_hard, poll, irq, lock, time, mem, io, err, e2e))
