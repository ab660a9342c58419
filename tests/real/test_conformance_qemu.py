"""The conformance kit on QEMU's adapter, which nobody here wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.conftest import ddsdk

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]


def test_on_the_emulated_adapters(tools: Callable[..., None], tmp_path: Path) -> None:
    """Exit code 0; everything a foreign adapter can play is judged, everything else says why it is not."""
    tools("qemu-system-x86_64")
    report = tmp_path / "report.json"
    plugins = [ROOT / "plugins" / name for name in ("mptfusion", "sym53c8xx", "ide")]
    ddsdk("conformance", *plugins, "--backend", "qemu", "--json", report)
    chips = json.loads(report.read_text())["chips"]
    assert [(chip["driver"], chip["chip"], chip["pci_id"]) for chip in chips] == [
        ("mptfusion", "sas1068", "1000:0054"), ("sym53c8xx", "53c895a", "1000:0012"),
        ("sym53c8xx", "53c810", "1000:0001"), ("ide", "piix3", "8086:7010"), ("ide", "piix4", "8086:7111")]
    for (run,) in (chip["runs"] for chip in chips):
        assert {item["verdict"] for item in run["items"]} == {"pass", "not-offered"}
        assert len({item["check"] for item in run["items"] if item["verdict"] == "pass"}) >= 70
        assert all(item["why"] for item in run["items"] if item["verdict"] == "not-offered")
