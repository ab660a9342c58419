"""The report as people read it: exact lines, never wider than the page."""

from __future__ import annotations

import pytest

from ddsdk.conformance.runner import Verdict
from ddsdk.conformance.terminal import Line, chip_lines, closing_lines, columns

from .results import ERR_2, MIXED, POLL_1, REG_1, REG_2, TIME_1, TRACE, chip_report, made_check, report, result


def text(lines: list[Line]) -> list[str]:
    """What is printed."""
    return ["".join(part for _, part in line).rstrip() for line in lines]


def test_one_of_everything() -> None:
    """Family by family, check by check; a blocked check is told with its cause."""
    assert text(list(chip_lines(chip_report(MIXED), 80))) == """\
toy t100 (1234:5678) on the plugin's model, simulated, seed 1

REG        registration: the plugin is found, its hooks bind, the template tells
           the truth (2 checks: 1 passed, 1 not offered)
  pass     REG-1      the driver comes up
  skipped  REG-2      not offered: the adapter has no interrupt line

POLL       dump_poll: the interrupt handler by hand, and what it would have
           deferred (1 check: 1 blocked)

TIME       bounded waits that feed the watchdog, nothing that sleeps
           (1 check: 1 failed)
  FAIL     TIME-1     MdelayFault: mdelay(1) in crashdump_mode
                      at driver.py:7 in wait
                      the last things that happened:
       0.000000001 write    REGISTER 1
       0.000000002 write    REGISTER 2
       0.000000003 write    REGISTER 3
       0.000000004 write    REGISTER 4
       0.000000005 write    REGISTER 5
       0.000000006 write    REGISTER 6
       0.000000007 write    REGISTER 7
       0.000000008 write    REGISTER 8
  blocked  1 check blocked by TIME-1: POLL-1

MEM        memory: none that sleeps, none over the budget, none lost
           (1 check: 1 advised)
  advice   MEM-3      64 KiB are held, 16 KiB would do

ERR        every error ends in success after retry or in an honest error
           (1 check: 1 failed)
  pass     ERR-2      every fault is survived (1 of 4 cases)
  FAIL     ERR-2      2 of 4 cases (c, d): the read ended well, but memory holds
                      something else
  expected ERR-2      b: errata 7 (the command never ended)""".splitlines()


def test_how_it_ends() -> None:
    """A line a chip, the reasons, and where to start."""
    chips = chip_report([result(REG_1), result(REG_2)], chip="t50", backend="qemu"), chip_report(MIXED)
    assert text(list(closing_lines(report(*chips), 80))) == """\
toy t50: 2 checks, 2 items: 2 passed (emulated)
toy t100: 6 checks, 9 items: 2 passed, 3 failed, 1 blocked, 1 advised, 1 failed
  as expected, 1 not offered (simulated)
  not offered: REG-2: the adapter has no interrupt line
start here: TIME-1: MdelayFault: mdelay(1) in crashdump_mode (driver.py:7 in
  wait); ddsdk explain TIME-1""".splitlines()


def test_a_run_that_passes_has_nowhere_to_start() -> None:
    """One line a chip is all there is."""
    lines = text(list(closing_lines(report(chip_report([result(REG_1), result(POLL_1)])), 80)))
    assert lines == ["toy t100: 2 checks, 2 items: 2 passed (simulated)"]


def test_several_seeds() -> None:
    """The seeds on top, the seed of the failure in its line."""
    chip = chip_report([result(POLL_1)], [result(POLL_1, Verdict.FAIL, "it did not end", seed=8)], seed=7)
    lines = text(list(chip_lines(chip, 80)))
    assert lines[0] == "toy t100 (1234:5678) on the plugin's model, simulated, seeds 7 to 8"
    assert lines[-1] == "  FAIL     POLL-1     it did not end (seed 8)"


def test_cases_are_folded() -> None:
    """All pass: one line; one failure told once; the fifth different one is named only."""
    all_pass = [result(ERR_2, case=c, number=n) for n, c in enumerate("abcd")]
    assert text(list(chip_lines(chip_report(all_pass), 80)))[-1] == (
        "  pass     ERR-2      every fault is survived (4 cases)")
    same = [result(ERR_2, Verdict.FAIL, "lost", case=c, number=n) for n, c in enumerate("abcd")]
    assert text(list(chip_lines(chip_report(same), 80)))[-1] == "  FAIL     ERR-2      all 4 cases: lost"
    check = made_check("ERR-9", "Many cases.", cases="abcdef")
    many = [result(check, Verdict.FAIL, f"why {c}", case=c, number=n) for n, c in enumerate("abcdef")]
    assert text(list(chip_lines(chip_report(many), 80)))[-2:] == [
        "  FAIL     ERR-9      d: why d", "  FAIL     ERR-9      and 2 cases more: e, f"]
    some = [result(check, case="a"), result(check, Verdict.BLOCKED, blocked_by="TIME-1", case="b", number=1),
            result(check, Verdict.NOT_OFFERED, "none", case="c", number=2)]
    assert text(list(chip_lines(chip_report(some), 80)))[-2:] == [
        "  pass     ERR-9      many cases (1 of 3 cases, 1 blocked)", "  blocked  1 check blocked by TIME-1: ERR-9"]


def test_the_cause_of_many() -> None:
    """43 checks under one line, the first eight named."""
    blocked = [result(made_check(f"IO-{n}", "Bytes."), Verdict.BLOCKED, "m", blocked_by="TIME-1") for n in range(1, 44)]
    lines = text(list(chip_lines(chip_report([result(TIME_1, Verdict.FAIL, "mdelay(1)"), *blocked]), 80)))
    assert lines[5:8] == [
        "  blocked  43 checks blocked by TIME-1: IO-1, IO-2, IO-3, IO-4, IO-5, IO-6,",
        "           IO-7, IO-8 and 35 more", ""]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_nothing_is_wider_than_the_page(width: int) -> None:
    """Long names, long words, long traces."""
    check = made_check("QUIESCE-12", "W" * 200 + ".", cases=("x" * 90, "y"))
    results = [result(REG_2), result(check, Verdict.FAIL, "z" * 300 + " " + "word " * 40, case="x" * 90,
                                     line="f" * 120, trace=tuple(line * 9 for line in TRACE)),
               result(check, Verdict.PASS, case="y", number=1),
               result(TIME_1, Verdict.NOT_OFFERED, "because " * 30)]
    chip = chip_report(results)
    lines = text([*chip_lines(chip, width), *closing_lines(report(chip), width)])
    assert max(map(len, lines)) <= width


def test_two_columns() -> None:
    """Cut on a terminal, whole elsewhere."""
    pairs = [("POLL-1", "t" * 90), ("POLL-10", "short")]
    assert text(list(columns(pairs, 80))) == [f"  POLL-1   {'t' * 66}...", "  POLL-10  short"]
    assert text(list(columns(pairs, None)))[0] == f"  POLL-1   {'t' * 90}"
