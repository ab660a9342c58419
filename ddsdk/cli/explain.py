"""`ddsdk explain`: what a check wants, why, and how it is mended."""

from __future__ import annotations

import difflib
import inspect
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import click

from ..conformance.check import FAMILIES, Check, Level, Need
from ..conformance.checks import all_checks
from ..conformance.terminal import Line, columns, wrapped
from ..errors import UsageError
from .arguments import json_option
from .console import Page, result_json

_TEXT_AT: Final = 12
_LEVELS: Final[Mapping[Level, str]] = {
    Level.REQUIRED: "required: a failure fails the driver",
    Level.IF_OFFERED: "if-offered: a failure fails the driver, what it does not offer is not judged",
    Level.ADVISORY: "advisory: a failure is reported and fails nobody",
}


@click.command("explain")
@click.argument("id", required=False)
@json_option
def command(id: str | None, as_json: bool) -> None:
    """Explain the check ID of the conformance kit: rule, hook, source, what it needs, an example of a fix.

    Without ID every check is listed, by family; ID may be a family, too.
    """
    checks = all_checks()
    if id is not None and id.upper() not in FAMILIES:
        check = _named(id, checks)
        if as_json:
            result_json(_described(check))
        else:
            page = Page()
            page.print(_told(check, page.width))
        return
    wanted = [check for check in checks if id is None or check.family == id.upper()]
    if as_json:
        result_json({"checks": [_described(check) for check in wanted]})
        return
    page = Page()
    width = page.width if page.is_terminal else None
    for family, title in FAMILIES.items():
        pairs = [(check.id, check.title) for check in wanted if check.family == family]
        if pairs:
            page.print([(("bold", f"{family:<10}"), ("", title))])
            page.print(columns(pairs, width))


def _named(text: str, checks: Sequence[Check]) -> Check:
    """The check called *text*, or the one of the item ERR-4[reply-lost]."""
    wanted = text.partition("[")[0].upper()
    for check in checks:
        if check.id == wanted:
            return check
    ids = [check.id for check in checks]
    near = difflib.get_close_matches(wanted, ids, 4, 0.5)
    near = near or [id for id in ids if id.partition("-")[0] == wanted.partition("-")[0]]
    hint = f"near are {', '.join(near)}" if near else f"there are the families {', '.join(FAMILIES)}"
    raise UsageError(f"unknown check {text!r}: {hint}; `ddsdk explain` lists them all")


def _saboteurs(check: Check) -> list[tuple[str, str]]:
    """(id, summary) of the drivers and models broken on purpose that *check* catches."""
    from ..conformance import saboteurs

    all_saboteurs: Any = getattr(saboteurs, "all_saboteurs", tuple)
    return [(saboteur.id, saboteur.summary) for saboteur in all_saboteurs()
            if check.id in ([saboteur.catches] if isinstance(saboteur.catches, str) else saboteur.catches)]


def _needs(check: Check) -> list[tuple[str, str]]:
    """What driver, model or backend must offer, in words."""
    return [(need.value, need.words if isinstance(need, Need) else "a fault of the model plays this part")
            for need in check.needs]


def _described(check: Check) -> dict[str, Any]:
    return {"id": check.id, "family": check.family, "title": check.title, "rule": check.rule, "hook": check.judges,
            "level": check.level.value, "source": check.source, "since": check.since,
            "needs": [need.value for need in check.needs], "cases": check.cases is not None,
            "faults": [fault.__name__ for fault in check.faults], "fix": check.fix,
            "saboteurs": [{"id": id, "summary": summary} for id, summary in _saboteurs(check)]}


# -- prose ------------------------------------------------------------------------------------------------


def _told(check: Check, width: int) -> Iterator[Line]:
    yield (("bold", check.id), ("", f"  {check.function.__name__.replace('_', ' ')}"))
    yield ()
    yield from _field("rule", check.rule.split("\n\n"), width)
    yield from _field("hook", [check.judges], width)
    yield from _field("level", [_LEVELS[check.level]], width)
    yield from _field("source", [check.source], width)
    yield from _field("needs", [f"{name}: {words}" for name, words in _needs(check)] or ["nothing special"], width)
    if check.cases is not None:
        yield from _field("cases", ["one item each; `ddsdk conformance TARGET --list` names them"], width)
    if check.faults:
        yield from _field("faults", [f"{fault.__name__}: {_first_sentence(fault)}" for fault in check.faults], width)
    yield from _field("since", [check.since], width)
    yield ()
    yield (("bold", "an example of a fix"),)
    for line in textwrap.dedent(check.fix).splitlines():
        yield (("", f"    {line}".rstrip()),)
    bitten = _saboteurs(check)
    if bitten:
        yield ()
        yield (("bold", "broken on purpose, and caught"),)
        for id, summary in bitten:
            yield from wrapped((("", f"    {id}: "),), summary, 6, width)


def _field(name: str, paragraphs: Iterable[str], width: int) -> Iterator[Line]:
    for number, paragraph in enumerate(paragraphs):
        head = f"{name if number == 0 else '':<{_TEXT_AT}}"
        yield from wrapped((("bold", head),), " ".join(paragraph.split()), _TEXT_AT, width)


def _first_sentence(thing: type) -> str:
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
