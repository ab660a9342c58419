"""The JSON object: its schema, its counts, what it says of several seeds, and that it never varies."""

from __future__ import annotations

import json
import re

import pytest
from jsonschema import Draft202012Validator, ValidationError

from ddsdk.conformance.report import as_json, counts, one_line, printable, schema
from ddsdk.conformance.runner import Verdict

from .results import ERR_2, MEM_3, MIXED, POLL_1, REG_1, REG_2, TIME_1, TRACE, chip_report, report, result

VALIDATOR = Draft202012Validator(schema())


def test_the_schema_is_one() -> None:
    """Draft 2020-12, and by it every verdict there is."""
    Draft202012Validator.check_schema(schema())
    assert set(schema()["$defs"]["verdict"]["enum"]) == {verdict.value for verdict in Verdict}


def test_one_of_everything() -> None:
    """Counts, verdict, where to start, and every field of an item; it fits the schema."""
    told = as_json(report(chip_report(MIXED)))
    VALIDATOR.validate(told)
    assert (told["schema_version"], told["target"], told["adapter"], told["verdict"]) == (
        1, "plugins/toy", "simulated", "fail")
    assert told["start_here"] == {"driver": "toy", "chip": "t100", "id": "TIME-1"}
    (chip,) = told["chips"]
    assert chip["summary"] == {"checks": 6, "items": 9, "pass": 2, "fail": 3, "blocked": 1, "not-offered": 1,
                               "expected-failure": 1, "unexpected-pass": 0, "advice": 1}
    assert (chip["driver"], chip["chip"], chip["pci_id"], chip["verdict"]) == ("toy", "t100", "1234:5678", "fail")
    (run,) = chip["runs"]
    assert (run["seed"], run["summary"], run["seconds"]) == (1, chip["summary"], 2.25)
    assert [item["id"] for item in run["items"]] == ["REG-1", "REG-2", "POLL-1", "TIME-1", "MEM-3", "ERR-2[a]",
                                                     "ERR-2[b]", "ERR-2[c]", "ERR-2[d]"]
    assert run["items"][3] == {
        "id": "TIME-1", "check": "TIME-1", "case": "", "family": "TIME", "level": "required",
        "title": "No mdelay after the crash.", "verdict": "fail", "why": "MdelayFault: mdelay(1) in crashdump_mode",
        "line": "driver.py:7 in wait", "cause": "MdelayFault", "blocked_by": "", "trace": list(TRACE), "seconds": 0.25}
    assert (run["items"][2]["verdict"], run["items"][2]["blocked_by"]) == ("blocked", "TIME-1")
    assert (run["items"][5]["check"], run["items"][5]["case"]) == ("ERR-2", "a")


def test_nothing_is_wrong() -> None:
    """The verdict is pass, and there is nowhere to start."""
    told = as_json(report(chip_report([result(REG_1), result(REG_2, Verdict.NOT_OFFERED, "no line")])))
    VALIDATOR.validate(told)
    assert (told["verdict"], told["start_here"]) == ("pass", None)


def test_the_schema_bites() -> None:
    """A field too many, a verdict nobody knows, an id that is none."""
    for spoil in ({"more": 1}, {"verdict": "maybe"}, {"id": "POLL"}, {"seconds": -1}):
        told = as_json(report(chip_report(MIXED)))
        told["chips"][0]["runs"][0]["items"][0].update(spoil)
        with pytest.raises(ValidationError):
            VALIDATOR.validate(told)


@pytest.mark.parametrize(("check", "verdict", "bad"), [
    (REG_1, Verdict.PASS, False), (REG_1, Verdict.FAIL, True), (REG_1, Verdict.BLOCKED, True),
    (REG_1, Verdict.NOT_OFFERED, False), (REG_1, Verdict.EXPECTED, False), (REG_1, Verdict.UNEXPECTED, True),
    (MEM_3, Verdict.ADVICE, False), (MEM_3, Verdict.BLOCKED, False), (MEM_3, Verdict.UNEXPECTED, True)])
def test_what_counts(check: object, verdict: Verdict, bad: bool) -> None:
    """A bad verdict fails the driver, unless the check only advises; an expectation that is wrong always does."""
    made = result(check, verdict)       # type: ignore[arg-type]
    assert counts(made) is bad
    assert report(chip_report([made])).bad is bad


def test_bad_once_is_bad() -> None:
    """Of several seeds an item is what its worst was, and each run is told with its seed."""
    chip = chip_report([result(REG_1), result(POLL_1)],
                       [result(REG_1, Verdict.NOT_OFFERED, "no", seed=2), result(POLL_1, Verdict.FAIL, "x", seed=2)],
                       [result(REG_1, seed=3), result(POLL_1, Verdict.FAIL, "y", seed=3)])
    assert [(r.id, r.verdict, r.seed) for r in chip.results] == [
        ("REG-1", Verdict.PASS, 1), ("POLL-1", Verdict.FAIL, 2)]
    told = as_json(report(chip, repeat=3))
    VALIDATOR.validate(told)
    (chip_told,) = told["chips"]
    assert [(run["seed"], run["summary"]["fail"]) for run in chip_told["runs"]] == [(1, 0), (2, 1), (3, 1)]
    assert (chip_told["summary"]["pass"], chip_told["summary"]["fail"], chip_told["verdict"]) == (1, 1, "fail")


def test_where_to_start() -> None:
    """The first failure in the order of a port, of the first chip that has one; a cause before what it blocks."""
    good = chip_report([result(REG_1)], chip="good")
    blocked = result(REG_2, Verdict.BLOCKED, "m", blocked_by="TIME-1")
    bad = chip_report([result(ERR_2, Verdict.FAIL, case="d", number=3), blocked, result(TIME_1, Verdict.FAIL)])
    first = report(good, bad).first()
    assert first is not None
    assert (first[0].chip, first[1].id) == ("t100", "TIME-1")
    first = report(chip_report([blocked])).first()
    assert first is not None
    assert first[1].id == "REG-2"
    assert report(good).first() is None


def test_no_address_and_no_control_character() -> None:
    """What a plugin says is one line, the same in each run."""
    assert one_line(f"probe returned {object()!r};\n\tit must\x1b[31m not") == (
        "probe returned <object object>; it must\\x1b[31m not")
    assert one_line("an I/O to bus address at 0xdeadbeef0 failed") == "an I/O to bus address at 0xdeadbeef0 failed"
    assert printable("a\x00b") == "a\\x00b"


def test_the_same_object_but_for_the_seconds() -> None:
    """Two reports of the same results that took longer differ in `seconds` alone."""
    def text(seconds: float) -> str:
        told = as_json(report(chip_report([result(REG_1, seconds=seconds), result(POLL_1, seconds=seconds)])))
        return json.dumps(told, indent=2)

    def without(told: str) -> str:
        return re.sub(r'"seconds": [0-9.]+', "", told)

    assert text(1.0) != text(2.0)
    assert without(text(1.0)) == without(text(2.0))
