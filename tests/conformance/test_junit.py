"""JUnit XML: a testsuite a chip, a testcase an item, and what CI readers count."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from ddsdk.conformance.junit import as_junit
from ddsdk.conformance.runner import Verdict

from .results import MEM_3, MIXED, POLL_1, REG_1, TRACE, chip_report, report, result


def test_one_of_everything() -> None:
    """Counts on both levels; failure, error, skipped with sentence, line and trace."""
    root = ET.fromstring(as_junit(report(chip_report(MIXED), chip_report([result(REG_1)], chip="t50"))))
    assert (root.tag, root.attrib) == ("testsuites", {
        "name": "ddsdk conformance plugins/toy", "tests": "10", "failures": "3", "errors": "1", "skipped": "2",
        "time": "2.500"})
    suite, other = root.findall("testsuite")
    assert suite.attrib == {"name": "toy t100 (simulated)", "tests": "9", "failures": "3", "errors": "1",
                            "skipped": "2", "time": "2.250"}
    assert (other.get("name"), other.get("tests"), other.get("failures")) == ("toy t50 (simulated)", "1", "0")
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert [(name, [child.tag for child in case]) for name, case in cases.items()] == [
        ("REG-1", []), ("REG-2", ["skipped"]), ("POLL-1", ["error"]), ("TIME-1", ["failure"]),
        ("MEM-3", ["system-out"]), ("ERR-2[a]", []), ("ERR-2[b]", ["skipped"]), ("ERR-2[c]", ["failure"]),
        ("ERR-2[d]", ["failure"])]
    failed = cases["TIME-1"]
    assert (failed.get("classname"), failed.get("time")) == ("toy.t100.TIME", "0.250")
    (failure,) = failed
    assert failure.attrib == {"message": "MdelayFault: mdelay(1) in crashdump_mode", "type": "MdelayFault"}
    assert failure.text == "\n".join(["No mdelay after the crash.", "MdelayFault: mdelay(1) in crashdump_mode",
                                      "driver.py:7 in wait", *TRACE])
    assert cases["POLL-1"][0].get("message") == "blocked by TIME-1: MdelayFault: mdelay(1)"
    assert cases["REG-2"][0].get("message") == "the adapter has no interrupt line"
    assert cases["ERR-2[c]"][0].get("type") == "fail"
    assert {p.get("name"): p.get("value") for p in suite.findall("properties/property")} == {
        "ddsdk": "0.1.0", "backend": "model", "pci_id": "1234:5678", "seeds": "1"}


def test_what_no_xml_takes_is_spelt_out() -> None:
    """Control characters, a lone surrogate and a noncharacter out of a plugin do not spoil the file."""
    bad = result(POLL_1, Verdict.FAIL, "it said \x00\x1b[31m \udc80 \uffff & <more>", trace=("a\x01b",))
    root = ET.fromstring(as_junit(report(chip_report([bad]))))
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("message") == "it said \\x00\\x1b[31m \\xdc80 \\xffff & <more>"
    assert "a\\x01b" in (failure.text or "")


def test_seeds() -> None:
    """Of several runs the seed that was bad is told."""
    root = ET.fromstring(as_junit(report(chip_report([result(POLL_1)], [result(POLL_1, Verdict.FAIL, "x", seed=2)]))))
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert (failure.text or "").splitlines()[-1] == "seed 2"


def test_what_only_advises_fails_nobody() -> None:
    """An advisory check that is blocked is no error."""
    root = ET.fromstring(as_junit(report(chip_report([result(MEM_3, Verdict.BLOCKED, "m", blocked_by="TIME-1")]))))
    assert (root.get("errors"), root.get("failures")) == ("0", "0")
