"""The report as JUnit XML, the dialect CI readers share: a testsuite a chip, a testcase an item.

failure: the rule is broken.  error: blocked, it could not be judged.  skipped: not offered, or expected to fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from ddsdk import __version__

from .report import ChipReport, Report, counts, one_line, printable
from .runner import Result, Verdict


def as_junit(report: Report) -> bytes:
    """The file."""
    root = ET.Element("testsuites", name=f"ddsdk conformance {printable(report.target)}")
    for chip in report.chips:
        root.append(_suite(chip))
    _totals(root, [result for chip in report.chips for result in chip.results])
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _suite(chip: ChipReport) -> ET.Element:
    suite = ET.Element("testsuite", name=f"{chip.driver} {chip.chip} ({chip.word})")
    _totals(suite, chip.results)
    properties = ET.SubElement(suite, "properties")
    for name, value in (("ddsdk", __version__), ("backend", chip.backend), ("pci_id", chip.pci_id),
                        ("seeds", " ".join(map(str, chip.seeds)))):
        ET.SubElement(properties, "property", name=name, value=value)
    for result in chip.results:
        suite.append(_case(chip, result))
    return suite


def _totals(element: ET.Element, results: Sequence[Result]) -> None:
    kinds = [_kind(result) for result in results]
    element.set("tests", str(len(results)))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(kinds.count(kind)))
    element.set("time", f"{sum(result.seconds for result in results):.3f}")


def _kind(result: Result) -> str:
    """The element that says how *result* ended; "" for none."""
    if result.verdict in (Verdict.NOT_OFFERED, Verdict.EXPECTED):
        return "skipped"
    if not counts(result):
        return ""
    return "error" if result.verdict is Verdict.BLOCKED else "failure"


def _case(chip: ChipReport, result: Result) -> ET.Element:
    check = result.item.check
    case = ET.Element("testcase", classname=f"{chip.driver}.{chip.chip}.{check.family}", name=result.id,
                      time=f"{result.seconds:.3f}")
    why, kind = one_line(result.why), _kind(result)
    if result.verdict is Verdict.BLOCKED:
        why = f"blocked by {result.blocked_by}: {why}"
    if kind == "skipped":
        ET.SubElement(case, kind, message=why)
    elif kind:
        seed = f"seed {result.seed}" if len(chip.seeds) > 1 else ""
        told = [check.title, why, one_line(result.line), seed, *map(printable, result.trace)]
        ET.SubElement(case, kind, message=why, type=result.cause or result.verdict.value).text = "\n".join(
            filter(None, told))
    elif why:                                   # advice
        ET.SubElement(case, "system-out").text = why
    return case
