"""Checks and results that no driver made: what the reports are tried on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ddsdk.conformance.check import Check, Level, check
from ddsdk.conformance.report import ChipReport, Report
from ddsdk.conformance.runner import Item, Result, Verdict

TRACE: Final = tuple(f"   0.00000000{n} write    REGISTER {n}" for n in range(9))


def made_check(id: str, rule: str, level: Level = Level.REQUIRED, cases: Sequence[str] = ()) -> Check:
    """A check that nobody runs; its name is the rule's first words."""
    def function(bench: Any) -> None:
        raise AssertionError

    function.__doc__ = rule
    function.__name__ = "_".join(rule.lower().replace(",", "").rstrip(".").split()[:7])
    check(id, hook="dump_poll", source="a source", fix="a fix", level=level,
          cases=(lambda plan: cases) if cases else None)(function)
    made = function.__dict__["ddsdk_check"]
    assert isinstance(made, Check)
    return made


REG_1: Final = made_check("REG-1", "The driver comes up.")
REG_2: Final = made_check("REG-2", "The disk is found, and has its true size.")
POLL_1: Final = made_check("POLL-1", "A command completes by polling alone.")
POLL_10: Final = made_check("POLL-10", "Polling is harmless.")
TIME_1: Final = made_check("TIME-1", "No mdelay after the crash.")
MEM_3: Final = made_check("MEM-3", "Little memory is used.", Level.ADVISORY)
ERR_2: Final = made_check("ERR-2", "Every fault is survived.", cases=("a", "b", "c", "d"))


def result(check: Check, verdict: Verdict = Verdict.PASS, why: str = "", *, case: str = "", number: int = 0,
           **fields: Any) -> Result:
    """One result."""
    return Result(Item(check, case, number), verdict, why, **{"seconds": 0.25, **fields})


def chip_report(*runs: Sequence[Result], chip: str = "t100", backend: str = "model", seed: int = 1) -> ChipReport:
    """The report of chip *chip*, one run a seed."""
    of = ChipReport.merge(runs)
    return ChipReport("toy", chip, "1234:5678", backend, tuple(range(seed, seed + len(runs))),
                      tuple(tuple(run) for run in runs), of)


def report(*chips: ChipReport, repeat: int = 1) -> Report:
    """The report of several chips."""
    return Report("plugins/toy", chips[0].backend, 1, repeat, "", chips)


#: One of everything.
MIXED: Final = (
    result(REG_1),
    result(REG_2, Verdict.NOT_OFFERED, "the adapter has no interrupt line"),
    result(POLL_1, Verdict.BLOCKED, "MdelayFault: mdelay(1)", cause="MdelayFault", blocked_by="TIME-1",
           line="driver.py:7 in wait"),
    result(TIME_1, Verdict.FAIL, "MdelayFault: mdelay(1) in crashdump_mode", cause="MdelayFault",
           line="driver.py:7 in wait", trace=TRACE),
    result(MEM_3, Verdict.ADVICE, "64 KiB are held, 16 KiB would do"),
    result(ERR_2, case="a"),
    result(ERR_2, Verdict.EXPECTED, "errata 7 (the command never ended)", case="b", number=1),
    result(ERR_2, Verdict.FAIL, "the read ended well, but memory holds something else", case="c", number=2),
    result(ERR_2, Verdict.FAIL, "the read ended well, but memory holds something else", case="d", number=3),
)
