"""Whose fault is it: the check whose rule was broken fails, the others are blocked by it."""

from __future__ import annotations

from typing import Any, Final

from ddsdk.conformance.check import (
    Check,
    Level,
    NothingCompletes,
    QuiesceFailed,
    ResetFailed,
    SanityRefused,
    TakeOverFailed,
    check,
)
from ddsdk.conformance.checks import all_checks
from ddsdk.conformance.load import plans_for
from ddsdk.conformance.plan import Plan
from ddsdk.conformance.runner import HANGS_MAX, Item, Result, Verdict, attribute, judge
from ddsdk.errors import MdelayFault

from .results import POLL_1, REG_1, REG_2, result


def owner(id: str) -> Check:
    """A check whose rule MdelayFault is."""
    @check(id, hook="all", source="x", fix="x", faults=(MdelayFault,))
    def rule(bench: Any) -> None:
        """No mdelay."""
    made = rule.__dict__["ddsdk_check"]
    assert isinstance(made, Check)
    return made


TIME_1: Final = owner("TIME-1")


def plan() -> Plan:
    """The bundled driver on its first chip."""
    return plans_for("mptfusion", chip="53c1030")[0]


def verdicts(results: list[Result]) -> list[tuple[str, Verdict, str]]:
    """What became of each."""
    return [(r.id, r.verdict, r.blocked_by) for r in attribute(plan(), results)]


def mdelay(check: Check, line: str) -> Result:
    """*check* met an mdelay()."""
    return result(check, Verdict.FAIL, "MdelayFault: mdelay(1)", cause="MdelayFault", line=line)


def test_the_rules_own_check_fails_and_no_other() -> None:
    """Even where others met the fault first, at the same line or at another."""
    assert verdicts([mdelay(REG_1, "a:1"), mdelay(POLL_1, "a:2"), mdelay(TIME_1, "a:1")]) == [
        ("REG-1", Verdict.BLOCKED, "TIME-1"), ("POLL-1", Verdict.BLOCKED, "TIME-1"), ("TIME-1", Verdict.FAIL, "")]


def test_without_it_the_first_that_met_the_fault_fails() -> None:
    """One line is one cause; another line is another."""
    assert verdicts([mdelay(REG_1, "a:1"), mdelay(REG_2, "a:1"), mdelay(POLL_1, "a:2")]) == [
        ("REG-1", Verdict.FAIL, ""), ("REG-2", Verdict.BLOCKED, "REG-1"), ("POLL-1", Verdict.FAIL, "")]


def test_one_that_goes_everywhere_answers_for_nothing_but_its_rule() -> None:
    """It meets every error of the driver's; the check that was looking for it is named, though it comes later."""
    def oops(check: Check) -> Result:
        return result(check, Verdict.FAIL, "KeyError: 7", cause="KeyError", line="a:1")

    wide = owner("REG-12")
    assert verdicts([oops(wide), oops(POLL_1)]) == [
        ("REG-12", Verdict.BLOCKED, "POLL-1"), ("POLL-1", Verdict.FAIL, "")]
    assert verdicts([oops(wide), oops(TIME_1)]) == [
        ("REG-12", Verdict.FAIL, ""), ("TIME-1", Verdict.BLOCKED, "REG-12")]


def test_a_check_that_fails_by_its_own_finding_answers_for_its_rule() -> None:
    """Whoever meets the same rule broken while a check is set up is blocked by it, wherever that was."""
    assert verdicts([mdelay(REG_1, "a:1"), mdelay(POLL_1, "a:2"), result(TIME_1, Verdict.FAIL, "a finding")]) == [
        ("REG-1", Verdict.BLOCKED, "TIME-1"), ("POLL-1", Verdict.BLOCKED, "TIME-1"), ("TIME-1", Verdict.FAIL, "")]


def test_each_step_of_the_take_over_is_one_checks_rule() -> None:
    """An idle adapter that cannot be made ready for a check is the failure of one check, and blocks the others."""
    owners = {fault: one.id for one in all_checks() for fault in one.faults if issubclass(fault, TakeOverFailed)}
    assert owners == {SanityRefused: "SANE-1", QuiesceFailed: "QUIESCE-1", ResetFailed: "RESET-1",
                      NothingCompletes: "POLL-1"}


def test_a_checks_own_finding_is_blocked_by_nothing() -> None:
    """A finding has no cause."""
    findings = [result(REG_1, Verdict.FAIL, "x"), result(REG_2, Verdict.FAIL, "x")]
    assert verdicts(findings) == [("REG-1", Verdict.FAIL, ""), ("REG-2", Verdict.FAIL, "")]


def test_where_nothing_completes_from_idle_nothing_completes_elsewhere() -> None:
    """Commands that do not end are POLL-1's finding, if it has one; what else was found stands."""
    poll = next(one for one in all_checks() if NothingCompletes in one.faults)
    findings = [result(REG_1, Verdict.FAIL, "no dump: REQUEST SENSE: no completion after 24 s"),
                result(REG_2, Verdict.FAIL, "the first write: it did not end within 30 s"),
                result(TIME_1, Verdict.FAIL, "the disk holds something else")]
    assert [v for _, v, _ in verdicts(findings)] == [Verdict.FAIL] * 3
    assert verdicts([*findings, result(poll, Verdict.FAIL, "the first command: it did not end within 30 s")]) == [
        ("REG-1", Verdict.BLOCKED, "POLL-1"), ("REG-2", Verdict.BLOCKED, "POLL-1"), ("TIME-1", Verdict.FAIL, ""),
        ("POLL-1", Verdict.FAIL, "")]


def test_after_so_many_hangs_the_rest_is_not_run() -> None:
    """The report must come; what was not run is blocked by the first that hung."""
    one = plan()
    one.hung += [f"POLL-{n}" for n in range(1, HANGS_MAX + 1)]
    judged = judge(one, Item(REG_1))
    assert (judged.verdict, judged.blocked_by, judged.why) == (
        Verdict.BLOCKED, "POLL-1", "not run: 4 checks hung before it, POLL-1 first")


def test_advice() -> None:
    """An advisory check that fails advises."""
    @check("MEM-9", hook="all", source="x", fix="x", level=Level.ADVISORY)
    def rule(bench: Any) -> None:
        """Little memory."""

    made = rule.__dict__["ddsdk_check"]
    assert [v for _, v, _ in verdicts([result(made, Verdict.FAIL, "64 KiB")])] == [Verdict.ADVICE]
