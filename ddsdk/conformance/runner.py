"""Running checks: one fresh machine each, a bound in time, and a verdict that names whose rule was broken.

A driver with one fault breaks many things.  A DriverFault is the verdict of the check whose rule it is (mdelay() is
TIME-1's); every other check that stumbles over it is BLOCKED by that one, so that the report names causes.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Final

import attrs
from attrs import field, frozen

from ddsdk.block.dump_queue import blame
from ddsdk.errors import DdsdkError, DriverFault, PluginError
from ddsdk.hookspecs.profile import Role

from .bench import Bench, BringUpFailed
from .bounded import REAL, HungError, bounded
from .check import FAMILIES, Check, CheckFailed, Level, Need, NotApplicable, NothingCompletes, TakeOverFailed
from .plan import Plan

#: A check that is not over by then, in seconds of processor time, never will be.  Once one hung the next get less, and
#: after so many the rest is not run: the report must come.
HANG_LIMIT_S: Final = 30.0
HANG_AGAIN_S: Final = 10.0
HANGS_MAX: Final = 4
TRACE_LINES: Final = 30
#: How the bench and the dump layer say that a command did not end.
_NOTHING_CAME: Final = re.compile(r"no completion after \d+ s|it did not end within \d+ s")
#: `Result.cause` of an item that the bound in time ended.
HUNG: Final = "hung"


class Verdict(Enum):
    """What became of one item."""

    PASS = "pass"
    FAIL = "fail"
    BLOCKED = "blocked"             # could not be judged: another check's rule was broken first
    NOT_OFFERED = "not-offered"     # what it needs is not there, and need not be
    EXPECTED = "expected-failure"   # fails, and the profile says why
    UNEXPECTED = "unexpected-pass"  # the profile expects a failure; strict
    ADVICE = "advice"               # an advisory check that fails

    @property
    def bad(self) -> bool:
        """Counts against the driver."""
        return self in (Verdict.FAIL, Verdict.BLOCKED, Verdict.UNEXPECTED)


@frozen
class Item:
    """One thing to run: a check, and the case when it has cases; `number` is the case's place among them."""

    check: Check
    case: str = ""
    number: int = 0

    @property
    def id(self) -> str:
        """POLL-1, or ERR-4[reply-lost]."""
        return f"{self.check.id}[{self.case}]" if self.case else self.check.id

    @property
    def place(self) -> tuple[int, int, int]:
        """Sorts items in the order of a port: by family, by number, by case."""
        return list(FAMILIES).index(self.check.family), int(self.check.id.partition("-")[2]), self.number


@frozen
class Result:
    """How one item ended.  `why` is one sentence; `line` the driver's line; `trace` the last things that happened.

    `cause` is the class of the fault that ended it, "" for the check's own finding.
    """

    item: Item
    verdict: Verdict
    why: str = ""
    line: str = ""
    cause: str = ""
    blocked_by: str = ""
    trace: tuple[str, ...] = ()
    seed: int = 1
    seconds: float = field(default=0.0, eq=False)

    @property
    def id(self) -> str:
        """The item's."""
        return self.item.id


def items_of(plan: Plan, checks: Iterable[Check]) -> list[Item]:
    """Every check with each of its cases, of the driver's bus, in the order of a port; one without a case here too."""
    bus = {"scsi": Need.ATA, "ata": Need.SCSI}[plan.driver.bus]
    items = []
    for one in checks:
        if bus in one.needs:
            continue
        cases = one.cases(plan) if one.cases else ()
        items += [Item(one, case, n) for n, case in enumerate(cases)] or [Item(one)]
    return items


def run(plan: Plan, items: Sequence[Item], *, tell: Callable[[Result], None] = lambda result: None,
        trace: bool = True) -> list[Result]:
    """Run *items*, each on its own machine; the order does not matter.  *trace* False: no second, traced run of a
    failure.

    PluginError: the driver cannot be run at all.  An exception that is our own goes through.
    """
    return concluded(plan, each(plan, items, tell=tell), trace=trace)


def each(plan: Plan, items: Sequence[Item], *, tell: Callable[[Result], None] = lambda result: None) -> list[Result]:
    """What became of each of *items* by itself; causes are not named yet."""
    results = []
    plan.emulators.keep = True
    try:
        for item in items:
            result = judge(plan, item, trace=False)
            tell(result)
            results.append(result)
    finally:
        plan.emulators.keep = False
        plan.emulators.close()
    return results


def concluded(plan: Plan, results: Sequence[Result], *, trace: bool = True) -> list[Result]:
    """All of *results* seen together: causes named, failures with what led to them."""
    judged = attribute(plan, results)
    return [_with_trace(plan, result) for result in judged] if trace else judged


def judge(plan: Plan, item: Item, *, trace: bool = True) -> Result:
    """Run one item; with *trace* a failure has what led to it."""
    began = time.perf_counter()
    if len(plan.hung) >= HANGS_MAX:
        return Result(item, Verdict.BLOCKED, f"not run: {len(plan.hung)} checks hung before it, {plan.hung[0]} first",
                      blocked_by=plan.hung[0], seed=plan.seed)
    result = _once(plan, item, traced=plan.backend != "model")
    if result.verdict is Verdict.FAIL and plan.emulators.close():       # used before; a new one has the last word
        result = _once(plan, item, traced=True)
    if result.cause == HUNG:
        plan.hung.append(item.id)
    result = attrs.evolve(result, seed=plan.seed, seconds=time.perf_counter() - began)
    return _with_trace(plan, result) if trace else result


def _with_trace(plan: Plan, result: Result) -> Result:
    """A failure on the model, run again with the trace on: the same, and what led to it.  Of hangs only the first."""
    hung_again = result.cause == HUNG and result.id not in plan.hung[:1]
    if result.verdict is not Verdict.FAIL or result.trace or plan.backend != "model" or hung_again:
        return result
    began = time.perf_counter()
    trace = _once(plan, result.item, traced=True).trace
    return attrs.evolve(result, trace=trace, seconds=result.seconds + time.perf_counter() - began)


def _once(plan: Plan, item: Item, *, traced: bool) -> Result:
    lacking = _lacks_before(plan, item.check)
    if lacking is not None:
        return attrs.evolve(lacking, item=item)
    if item.check.cases and not item.case:
        return Result(item, Verdict.NOT_OFFERED, "none of its cases applies here")
    bench: Bench | None = None
    try:
        with bounded(HANG_AGAIN_S if plan.hung else HANG_LIMIT_S):
            bench = Bench.build(plan, item.check.setup, trace=traced)
            if item.check.setup.probe:
                for need in item.check.needs:
                    lack = _not_offered(plan, need) or (bench.lacks(need) if isinstance(need, Need) else "")
                    if lack:
                        return Result(item, Verdict.NOT_OFFERED, lack)
            item.check.function(*((bench, item.case) if item.case else (bench,)))
    except NotApplicable as why:
        return Result(item, Verdict.NOT_OFFERED, str(why))
    except KeyboardInterrupt:
        raise
    except BaseException as error:          # SystemExit too, and whatever else a plugin raises
        tail = bench.machine.trace.tail(TRACE_LINES) if bench and traced else ()
        return _failed(plan, item, error, tuple(tail))
    finally:
        if bench is not None:
            with suppress(HungError), bounded(HANG_AGAIN_S):        # frozen tasks of the driver's are unwound here
                bench.close()
    return Result(item, Verdict.PASS)


def _lacks_before(plan: Plan, check: Check) -> Result | None:
    """What can be said of a check's needs without a machine."""
    for need in check.needs:
        excuse = _not_offered(plan, need)
        if excuse:
            return Result(Item(check), Verdict.NOT_OFFERED, excuse)
        if plan.backend != "model" and (need is Need.MODEL or isinstance(need, Role)):
            what = need.value if isinstance(need, Role) else "a model"
            return Result(Item(check), Verdict.NOT_OFFERED, f"needs {what}; a foreign adapter takes no faults")
        if isinstance(need, Role) and plan.role(need) is None:
            why = (f"the profile names no fault of the model for {need.value}: add it to ConformanceProfile.roles, or"
                   " say in not_offered why the model has none")
            level = Verdict.FAIL if check.level is Level.REQUIRED else Verdict.NOT_OFFERED
            return Result(Item(check), level, why)
    return None


def _not_offered(plan: Plan, need: Need | Role) -> str:
    return plan.profile.not_offered.get(need.value, "")


def _failed(plan: Plan, item: Item, error: BaseException, trace: tuple[str, ...]) -> Result:
    """The verdict an exception means.  One that no plugin had a hand in is ours and goes through."""
    if isinstance(error, DriverFault) and isinstance(error.__cause__, NotImplementedError):
        error = error.__cause__             # what the driver raised, before the dump layer put it into words
    line = plan.site(error.__traceback__)
    if isinstance(error, CheckFailed):
        cause = type(error).__name__ if isinstance(error, TakeOverFailed) else ""
        return Result(item, Verdict.FAIL, str(error), line, cause, trace=trace)
    if isinstance(error, HungError):
        limit_s = HANG_AGAIN_S if plan.hung else HANG_LIMIT_S
        why = (f"not over after {limit_s:.0f} s of processor time or {REAL * limit_s:.0f} s in all: a loop that lets no"
               " time pass, or a wait without a bound")
        return Result(item, Verdict.FAIL, why, line, HUNG, trace=trace)
    if isinstance(error, BringUpFailed):
        return Result(item, Verdict.FAIL, str(error), line, f"bring-up {error.step}", trace=trace)
    if isinstance(error, DriverFault | PluginError):
        # what the dump layer put into words is the same cause as where nobody did
        root = error.__cause__ if type(error) is DriverFault and error.__cause__ is not None else error
        line = plan.site(root.__traceback__) or line
        return Result(item, Verdict.FAIL, f"{type(error).__name__}: {error}", line, type(root).__name__, trace=trace)
    if not line and not _of_plugin(plan, error) and not _called_wrongly(plan, error):
        raise error
    if isinstance(error, DdsdkError):       # the driver used ddsdk wrongly, and was told so
        return Result(item, Verdict.FAIL, str(error), line, type(error).__name__, trace=trace)
    if isinstance(error, NotImplementedError) and str(error):
        why = str(error)
    elif _called_wrongly(plan, error):
        why = f"it takes the wrong arguments: {error}"
    else:
        why = str(blame(plan.driver.name, error))
    return Result(item, Verdict.FAIL, why, line, type(error).__name__, trace=trace)


def _of_plugin(plan: Plan, error: BaseException) -> bool:
    """Whether any frame of the traceback lies in the plugin's packages (its model, its probe)."""
    tops = {name.partition(".")[0] for name in plan.driver.modules}
    tops.add(getattr(plan.model.build, "__module__", "").partition(".")[0])
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] in tops - {"ddsdk"}:
            return True
        trace = trace.tb_next
    return False


def _called_wrongly(plan: Plan, error: BaseException) -> bool:
    """Whether Python refused a call of ours to a function of the driver's: no frame of the driver's shows it."""
    said = re.match(r"([\w.<>]+)\(\) (?:takes|missing|got an unexpected)", str(error))
    if not isinstance(error, TypeError) or said is None:
        return False
    return any(hasattr(sys.modules.get(name), said[1].partition(".")[0]) for name in plan.driver.modules)


# -- whose fault is it? ---------------------------------------------------------------------------------


def attribute(plan: Plan, results: Sequence[Result]) -> list[Result]:
    """Name causes: whoever stumbled over another check's rule is BLOCKED by it; then what the profile expects."""
    in_order = sorted(range(len(results)), key=lambda n: results[n].item.place)
    owners = _owners(results, in_order)
    judged = list(results)
    for n in in_order:
        result = judged[n]
        owner = _to_blame(result, owners) if result.verdict is Verdict.FAIL else None
        if owner is not None and owner != result.id and not _is_own(result):
            judged[n] = attrs.evolve(result, verdict=Verdict.BLOCKED, blocked_by=owner, trace=())
    return [_expectation(plan, result) for result in judged]


def _to_blame(result: Result, owners: Mapping[tuple[str, str], str]) -> str | None:
    """The id of the check to name for a failure: its cause's; where nothing completes from idle, that one's too."""
    if result.cause:
        return owners.get((result.cause, "")) or owners.get(_key(result))
    return owners.get((NothingCompletes.__name__, "")) if _NOTHING_CAME.search(result.why) else None


def _key(result: Result) -> tuple[str, str]:
    return result.cause, result.line or result.why


def _is_own(result: Result) -> bool:
    """The fault is this very check's rule."""
    return any(fault.__name__ == result.cause for fault in result.item.check.faults)


def _owners(results: Sequence[Result], in_order: Sequence[int]) -> dict[tuple[str, str], str]:
    """Cause -> the id of the check to name for it: the one whose rule it is, else the first that met it.

    First among those that were looking for something; who goes everywhere for the sake of one kind of fault meets all
    the others too.
    """
    owners: dict[tuple[str, str], str] = {}
    failures = [results[n] for n in in_order if results[n].verdict is Verdict.FAIL]
    for result in failures:
        if not result.cause or _is_own(result):     # by its own finding, it answers for its rule
            for fault in result.item.check.faults:
                owners.setdefault((fault.__name__, ""), result.id)
    for result in sorted(failures, key=_goes_everywhere):
        if result.cause:
            owners.setdefault(_key(result), result.id)
    return owners


def _goes_everywhere(result: Result) -> bool:
    return any(issubclass(fault, DriverFault) for fault in result.item.check.faults)


def _expectation(plan: Plan, result: Result) -> Result:
    """Strict expected failures, and advice."""
    for key in (result.id, result.item.check.id):
        for where in (f"{key}@{plan.model.chip.name}", f"{key}@{plan.backend}", key):
            reason = plan.profile.expected_failures.get(where)
            if reason is None:
                continue
            if result.verdict in (Verdict.FAIL, Verdict.BLOCKED):
                return attrs.evolve(result, verdict=Verdict.EXPECTED, why=f"{reason} ({result.why})", trace=())
            if result.verdict is Verdict.PASS and key == result.id:
                return attrs.evolve(result, verdict=Verdict.UNEXPECTED,
                                    why=f"passes, though expected to fail ({reason}); take it off expected_failures")
    if result.item.check.level is Level.ADVISORY and result.verdict is Verdict.FAIL:
        return attrs.evolve(result, verdict=Verdict.ADVICE)
    return result
