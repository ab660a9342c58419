"""The report as people read it: lines of styled spans that fit the width, for whoever prints them."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from .check import FAMILIES, Check
from .plan import Plan
from .report import WORST, ChipReport, Report, one_line, printable, worst
from .runner import Item, Result, Verdict

#: (style, text); the style is one of rich's, "" for plain.
Span = tuple[str, str]
Line = tuple[Span, ...]

#: How a verdict is said in front of a line, and its style.
SHOWN: Final[Mapping[Verdict, Span]] = {
    Verdict.PASS: ("green", "pass"),
    Verdict.FAIL: ("bold red", "FAIL"),
    Verdict.BLOCKED: ("red", "blocked"),
    Verdict.NOT_OFFERED: ("dim", "skipped"),
    Verdict.EXPECTED: ("cyan", "expected"),
    Verdict.UNEXPECTED: ("bold red", "FAIL"),
    Verdict.ADVICE: ("yellow", "advice"),
}
#: The same, when they are counted.
COUNTED: Final[Mapping[Verdict, str]] = {
    Verdict.PASS: "passed", Verdict.FAIL: "failed", Verdict.UNEXPECTED: "passed unexpectedly",
    Verdict.BLOCKED: "blocked", Verdict.ADVICE: "advised", Verdict.EXPECTED: "failed as expected",
    Verdict.NOT_OFFERED: "not offered",
}
_COUNT_ORDER: Final = (Verdict.PASS, *(v for v in WORST if v is not Verdict.PASS))
_VERDICT_WIDTH: Final = 11      # with the indent
_TEXT_AT: Final = 22
_NAMES_MAX: Final = 8           # ids or cases named before "and N more"
_GROUPS_MAX: Final = 4          # different failures of one check told in full
_TRACE_MAX: Final = 8
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"


def chip_lines(chip: ChipReport, width: int) -> Iterator[Line]:
    """One chip: family by family, check by check."""
    blocked = _blocked(chip.results)
    adapter = "the plugin's model" if chip.backend == "model" else "QEMU's adapter"
    seeds = f"seed {chip.seeds[0]}" if len(chip.seeds) == 1 else f"seeds {chip.seeds[0]} to {chip.seeds[-1]}"
    told = f"({chip.pci_id}) on {adapter}, {chip.word}, {seeds}"
    yield from wrapped((("bold", f"{chip.driver} {chip.chip} "),), told, 2, width)
    for family, checks in groupby(chip.by_check(), key=lambda pair: pair[0].family):
        pairs = list(checks)
        yield ()
        yield from _family(family, pairs, width)
        for check, results in pairs:
            yield from _check(chip, check, results, width)
            yield from _blocked_by(check.id, blocked.pop(check.id, []), width)
    for cause, results in blocked.items():
        yield from _blocked_by(cause, results, width)


def closing_lines(report: Report, width: int) -> Iterator[Line]:
    """What it comes to: a line a chip, why something was not offered, where to start."""
    for chip in report.chips:
        told = f"{totals(chip.results)} ({chip.word})"
        yield from wrapped((("bold", f"{chip.driver} {chip.chip}: "),), told, 2, width)
    for why, results in _not_offered(report).items():
        yield from wrapped((("dim", "  not offered: "),), f"{_ids(results)}: {why}", 4, width)
    first = report.first()
    if first is not None:
        chip, result = first
        line = f" ({one_line(result.line)})" if result.line else ""
        told = f"{result.id}: {_why(result)}{line}; ddsdk explain {result.item.check.id}"
        yield from wrapped((("bold", "start here: "),), told, 2, width)


def totals(results: Sequence[Result]) -> str:
    """"80 checks, 210 items: 205 passed, 5 failed"."""
    checks = len({result.item.check.id for result in results})
    return f"{_number(checks, 'check')}, {_number(len(results), 'item')}: {_counted(r.verdict for r in results)}"


def list_lines(plan: Plan, items: Sequence[Item], width: int | None) -> Iterator[Line]:
    """What would run on one chip, a line an item; cut to *width* when there is one."""
    yield (("bold", f"{plan.driver.name} {plan.model.chip.name}"), ("", f": {_number(len(items), 'item')}"))
    yield from columns([(item.id, item.check.title) for item in items], width)


def columns(pairs: Sequence[tuple[str, str]], width: int | None) -> Iterator[Line]:
    """(name, text) in two columns."""
    at = max((len(name) for name, _ in pairs), default=0) + 4
    for name, text in pairs:
        yield (("", f"  {name}".ljust(at)), ("", text if width is None else _cut(text, width - at)))


# -- parts --------------------------------------------------------------------------------------------------


def _family(family: str, pairs: Sequence[tuple[Check, list[Result]]], width: int) -> Iterator[Line]:
    counted = _counted(worst(result.verdict for result in results) for _, results in pairs)
    tally = f"({_number(len(pairs), 'check')}: {counted})"
    if len(tally) < width // 2:
        tally = tally.replace(" ", _NO_BREAK)
    told = f"{FAMILIES[family]} {tally}"
    return wrapped((("bold", f"{family:<{_VERDICT_WIDTH}}"),), told, _VERDICT_WIDTH, width)


def _check(chip: ChipReport, check: Check, results: Sequence[Result], width: int) -> Iterator[Line]:
    """A line for what passed, a block for each different failure.

    What is blocked is told with its cause; why some cases are not offered, while others are, at the end.
    """
    verdicts = Counter(result.verdict for result in results)
    if verdicts[Verdict.PASS]:
        yield _passed(check, verdicts, width)
    aside = {Verdict.PASS, Verdict.BLOCKED} | ({Verdict.NOT_OFFERED} if len(verdicts) > 1 else set())
    groups: dict[tuple[Verdict, str, str], list[Result]] = {}
    for result in results:
        if result.verdict not in aside:
            groups.setdefault((result.verdict, result.why, result.line), []).append(result)
    in_order = sorted(groups.values(), key=lambda group: WORST.index(group[0].verdict))
    for group in in_order[:_GROUPS_MAX]:
        yield from _not_passed(chip, check, group, len(results), width)
    rest = [result for group in in_order[_GROUPS_MAX:] for result in group]
    if rest:
        told = f"and {_number(len(rest), 'case')} more: {_names([result.item.case for result in rest])}"
        yield from wrapped(_head(rest[0].verdict, check), told, _TEXT_AT, width)


def _passed(check: Check, verdicts: Counter[Verdict], width: int) -> Line:
    count, of, blocked = verdicts[Verdict.PASS], verdicts.total(), verdicts[Verdict.BLOCKED]
    cases = "" if not check.cases else f" ({_number(of, 'case')})" if count == of else f" ({count} of {of} cases)"
    if blocked:
        cases = f" ({count} of {of} cases, {blocked} blocked)"
    name = check.function.__name__.replace("_", " ")
    return (*_head(Verdict.PASS, check), ("", _cut(name, width - _TEXT_AT - len(cases)) + cases))


def _not_passed(chip: ChipReport, check: Check, group: Sequence[Result], of: int, width: int) -> Iterator[Line]:
    first, verdict = group[0], group[0].verdict
    why = f"not offered: {one_line(first.why)}" if verdict is Verdict.NOT_OFFERED else one_line(first.why)
    seed = f" (seed {first.seed})" if len(chip.seeds) > 1 and verdict is not Verdict.NOT_OFFERED else ""
    yield from wrapped(_head(verdict, check), _cases(group, of) + why + seed, _TEXT_AT, width)
    if first.line:
        yield from wrapped((("", " " * _TEXT_AT),), f"at {one_line(first.line)}", _TEXT_AT, width)
    if first.trace and verdict in (Verdict.FAIL, Verdict.UNEXPECTED):
        yield (("dim", " " * _TEXT_AT + "the last things that happened:"),)
        for record in first.trace[-_TRACE_MAX:]:
            yield (("dim", _cut(f"    {printable(record)}", width)),)


def _cases(group: Sequence[Result], of: int) -> str:
    """Which of a check's *of* cases these are, in front of what is said of them; "" for a check without cases."""
    cases = [result.item.case for result in group if result.item.case]
    if len(cases) < 2:
        return f"{cases[0]}: " if cases else ""
    return f"all {of} cases: " if len(cases) == of else f"{len(cases)} of {of} cases ({_names(cases)}): "


def _blocked(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Check that is the cause -> what it blocks."""
    found: dict[str, list[Result]] = {}
    for result in results:
        if result.verdict is Verdict.BLOCKED:
            found.setdefault(result.blocked_by.partition("[")[0], []).append(result)
    return found


def _blocked_by(cause: str, results: Sequence[Result], width: int) -> Iterator[Line]:
    if results:
        style, word = SHOWN[Verdict.BLOCKED]
        ids = list(dict.fromkeys(result.item.check.id for result in results))
        told = f"{_number(len(ids), 'check')} blocked by {cause}: {_names(ids)}"
        yield from wrapped((("", "  "), (style, f"{word:<{_VERDICT_WIDTH - 2}}")), told, _VERDICT_WIDTH, width)


def _head(verdict: Verdict, check: Check) -> Line:
    style, word = SHOWN[verdict]
    return (("", "  "), (style, f"{word:<{_VERDICT_WIDTH - 2}}"), ("", f"{check.id:<{_TEXT_AT - _VERDICT_WIDTH}}"))


def _why(result: Result) -> str:
    blocked = f"blocked by {result.blocked_by}: " if result.verdict is Verdict.BLOCKED else ""
    return blocked + one_line(result.why)


# -- words and widths -----------------------------------------------------------------------------------------


def _not_offered(report: Report) -> dict[str, list[Result]]:
    """Why something is not offered -> what is not judged for it, an id of several chips once."""
    found: dict[str, dict[str, Result]] = {}
    for result in (result for chip in report.chips for result in chip.results):
        if result.verdict is Verdict.NOT_OFFERED:
            found.setdefault(one_line(result.why), {}).setdefault(result.id, result)
    return {why: list(results.values()) for why, results in found.items()}


def _ids(results: Sequence[Result]) -> str:
    """ERR-2[reply-lost, reply-late], POLL-7."""
    names = []
    for check, items in groupby(results, key=lambda result: result.item.check):
        cases = [result.item.case for result in items if result.item.case]
        names.append(f"{check.id}[{_names(cases)}]" if cases else check.id)
    return _names(names)


def _counted(verdicts: Iterable[Verdict]) -> str:
    found = Counter(verdicts)
    return ", ".join(f"{found[v]} {COUNTED[v]}" for v in _COUNT_ORDER if found[v]) or "nothing"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _names(names: Sequence[str]) -> str:
    rest = len(names) - _NAMES_MAX
    return ", ".join(names[:_NAMES_MAX]) + (f" and {rest} more" if rest > 0 else "")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[:width - 3].rstrip()}..."


def wrapped(head: Line, text: str, indent: int, width: int) -> Iterator[Line]:
    """*head* and *text* in lines of *width*, the second and later ones indented."""
    taken = sum(len(part) for _, part in head)
    lines = textwrap.wrap(text, width, initial_indent=" " * taken, subsequent_indent=" " * indent,
                          break_on_hyphens=False) or [""]
    yield (*head, ("", lines[0][taken:].replace(_NO_BREAK, " ")))
    for line in lines[1:]:
        yield (("", line.replace(_NO_BREAK, " ")),)


