"""What a run found, as data: one record a chip, and the JSON object of `--json`.

The object is described by report-1.schema.json, beside this file.  Two runs with one seed give the same bytes, the
`seconds` apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any, Final

from attrs import frozen

from ddsdk import __version__

from .check import Check, Level
from .plan import Plan
from .runner import Result, Verdict

SCHEMA_VERSION: Final = 1
#: Two kinds of success, two words.
BACKEND_WORD: Final[Mapping[str, str]] = {"model": "simulated", "qemu": "emulated"}
#: Worst first.  A check is what its worst item is, an item what its worst run was.
WORST: Final = (Verdict.FAIL, Verdict.UNEXPECTED, Verdict.BLOCKED, Verdict.ADVICE, Verdict.EXPECTED, Verdict.PASS,
                Verdict.NOT_OFFERED)


def counts(result: Result) -> bool:
    """Whether *result* makes the verdict "fail": a bad one, unless the check only advises."""
    if result.item.check.level is Level.ADVISORY:
        return result.verdict is Verdict.UNEXPECTED
    return result.verdict.bad


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """What several verdicts come to."""
    return min(verdicts, key=WORST.index)


@frozen
class ChipReport:
    """One chip.  `runs`: the results of each seed; `results`: each item once, as its worst run was."""

    driver: str
    chip: str
    pci_id: str
    backend: str
    seeds: tuple[int, ...]
    runs: tuple[tuple[Result, ...], ...]
    results: tuple[Result, ...]

    @classmethod
    def of(cls, plan: Plan, runs: Sequence[tuple[int, Sequence[Result]]]) -> ChipReport:
        """From (seed, results) of each run on *plan*'s chip."""
        chip = plan.model.chip
        return cls(plan.driver.name, chip.name, f"{chip.vendor:04x}:{chip.device:04x}", plan.backend,
                   tuple(seed for seed, _ in runs), tuple(tuple(results) for _, results in runs),
                   cls.merge([results for _, results in runs]))

    @staticmethod
    def merge(runs: Sequence[Sequence[Result]]) -> tuple[Result, ...]:
        """Each item once, as its worst run was; of equals the first."""
        found: dict[str, Result] = {}
        for result in (result for run in runs for result in run):
            known = found.get(result.id)
            if known is None or WORST.index(result.verdict) < WORST.index(known.verdict):
                found[result.id] = result
        return tuple(sorted(found.values(), key=lambda result: result.item.place))

    @property
    def word(self) -> str:
        """simulated, or emulated."""
        return BACKEND_WORD[self.backend]

    @property
    def bad(self) -> bool:
        """Whether the driver is refused."""
        return any(counts(result) for result in self.results)

    def by_check(self) -> list[tuple[Check, list[Result]]]:
        """The items of each check, in the order of a port."""
        return [(check, list(items)) for check, items in groupby(self.results, key=lambda r: r.item.check)]


@frozen
class Report:
    """Everything `ddsdk conformance` found.  `target` and `select` are as typed."""

    target: str
    backend: str
    seed: int
    repeat: int
    select: str
    chips: tuple[ChipReport, ...]

    @property
    def bad(self) -> bool:
        """Whether any chip is refused."""
        return any(chip.bad for chip in self.chips)

    def first(self) -> tuple[ChipReport, Result] | None:
        """What to mend first: the first failure in the order of a port, of the first chip that has one."""
        for chip in self.chips:
            bad = [result for result in chip.results if counts(result)]
            if bad:
                return chip, min(bad, key=lambda result: (result.verdict is Verdict.BLOCKED, result.item.place))
        return None


# -- text of plugins --------------------------------------------------------------------------------------


def one_line(text: str) -> str:
    """*text* in one printable line, and the same in every run: no addresses of Python objects."""
    return printable(re.sub(r" at 0x[0-9a-f]{6,}(?=>)", "", " ".join(text.split())))


def printable(text: str) -> str:
    """*text* with what no terminal and no XML file takes spelt out."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


# -- JSON -------------------------------------------------------------------------------------------------


def schema() -> Any:
    """The JSON Schema of `as_json`."""
    return json.loads(files(__package__).joinpath(f"report-{SCHEMA_VERSION}.schema.json").read_text("utf-8"))


def as_json(report: Report) -> dict[str, Any]:
    """The report as `--json` has it."""
    first = report.first()
    return {
        "schema": "ddsdk-conformance-report",
        "schema_version": SCHEMA_VERSION,
        "ddsdk": __version__,
        "target": report.target,
        "backend": report.backend,
        "adapter": BACKEND_WORD[report.backend],
        "seed": report.seed,
        "repeat": report.repeat,
        "select": report.select,
        "verdict": "fail" if report.bad else "pass",
        "start_here": None if first is None else {"driver": first[0].driver, "chip": first[0].chip, "id": first[1].id},
        "chips": [_chip(chip) for chip in report.chips],
    }


def _chip(chip: ChipReport) -> dict[str, Any]:
    return {
        "driver": chip.driver,
        "chip": chip.chip,
        "pci_id": chip.pci_id,
        "verdict": "fail" if chip.bad else "pass",
        "summary": summary(chip.results),
        "runs": [{"seed": seed, "summary": summary(results), "seconds": _seconds(results),
                  "items": [_item(result) for result in results]}
                 for seed, results in zip(chip.seeds, chip.runs, strict=True)],
    }


def summary(results: Sequence[Result]) -> dict[str, int]:
    """How many checks and items, and how many items of each verdict."""
    return {"checks": len({result.item.check.id for result in results}), "items": len(results),
            **{verdict.value: sum(result.verdict is verdict for result in results) for verdict in Verdict}}


def _item(result: Result) -> dict[str, Any]:
    check = result.item.check
    return {"id": result.id, "check": check.id, "case": result.item.case, "family": check.family,
            "level": check.level.value, "title": check.title, "verdict": result.verdict.value,
            "why": one_line(result.why), "line": one_line(result.line), "cause": result.cause,
            "blocked_by": result.blocked_by, "trace": [printable(line) for line in result.trace],
            "seconds": round(result.seconds, 3)}


def _seconds(results: Iterable[Result]) -> float:
    return round(sum(result.seconds for result in results), 3)

