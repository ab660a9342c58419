"""The kit as pytest parameters.  The only module here that needs pytest (extra `conformance`)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

from ddsdk.errors import UsageError

from .check import Check
from .checks import all_checks
from .expression import parse
from .load import plans_for
from .plan import Plan
from .report import counts, one_line
from .runner import Item, Result, Verdict, attribute, items_of, judge

if TYPE_CHECKING:
    from _pytest.mark.structures import ParameterSet


@frozen(eq=False)
class ConformanceCheck:
    """One item on one chip.  `run()` is the test."""

    plan: Plan
    item: Item
    owners: dict[str, str]

    def __repr__(self) -> str:
        return f"<{self.plan.driver.name} {self.plan.model.chip.name} {self.item.id}>"

    def run(self) -> None:
        """Judge it; AssertionError when the rule does not hold."""
        __tracebackhide__ = True
        (result,) = attribute(self.plan, [judge(self.plan, self.item)])
        if result.verdict is Verdict.NOT_OFFERED:
            pytest.skip(result.why)
        if result.verdict is Verdict.EXPECTED:
            pytest.xfail(result.why)
        if counts(result):
            raise AssertionError(self._told(result))
        if result.verdict is Verdict.ADVICE:
            print(self._told(result))

    def _told(self, result: Result) -> str:
        owner = self.owners.get(result.cause, "")
        whose = f"this is the rule of {owner}, see there first" if owner and owner != result.item.check.id else ""
        trace = ["the last things that happened:", *result.trace] if result.trace else []
        line = f"at {one_line(result.line)}" if result.line else ""
        return "\n".join(filter(None, [
            f"{result.id}: {one_line(result.why)}", line, whose, *trace,
            f"`ddsdk explain {owner or result.item.check.id}` tells the rule and an example of a fix"]))


def parameters(target: str | os.PathLike[str] | None, *, chip: str | None, backend: str, seed: int,
               select: str) -> list[ParameterSet]:
    """See `ddsdk.conformance.conformance_checks`."""
    wanted, checks = parse(select), all_checks()
    plans = plans_for(target, chip=chip, backend=backend, seed=seed)
    several = len({plan.driver.name for plan in plans}) > 1
    owners = _owners(checks)
    found = []
    for plan in plans:
        prefix = f"{plan.driver.name}-{plan.model.chip.name}" if several else plan.model.chip.name
        found += [pytest.param(ConformanceCheck(plan, item, owners), id=f"{prefix}-{item.id}")
                  for item in items_of(plan, checks) if wanted(item)]
    if plans and not found:
        raise UsageError(f"select={select!r} matches nothing; `ddsdk explain` lists every check")
    return found


def _owners(checks: tuple[Check, ...]) -> dict[str, str]:
    """Class of a fault -> the first check whose rule it is."""
    owners: dict[str, str] = {}
    for check in checks:
        for fault in check.faults:
            owners.setdefault(fault.__name__, check.id)
    return owners
