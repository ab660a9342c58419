"""The conformance kit on QEMU's adapter, which nobody here wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.conftest import ddsdk

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("driver", "chip", "ids"), [
    ("mptfusion", "sas1068", "1000:0054"), ("ide", "piix3", "8086:7010"), ("ide", "piix4", "8086:7111"),
    ("sym53c8xx", "53c895a", "1000:0012"), ("sym53c8xx", "53c810", "1000:0001")])
def test_on_the_emulated_adapter(tools: Callable[..., None], tmp_path: Path, driver: str, chip: str, ids: str) -> None:
    """Exit code 0; everything a foreign adapter can play is judged, everything else says why it is not."""
    tools("qemu-system-x86_64")
    report = tmp_path / "report.json"
    said = ddsdk("conformance", ROOT / "plugins" / driver, "--chip", chip, "--backend", "qemu", "--json", report)
    assert said.startswith(f"{driver} {chip} ({ids}) on QEMU's adapter, emulated, seed 1\n")
    ((run,),) = (chip["runs"] for chip in json.loads(report.read_text())["chips"])
    assert {item["verdict"] for item in run["items"]} == {"pass", "not-offered"}
    assert len({item["check"] for item in run["items"] if item["verdict"] == "pass"}) >= 70
    assert all(item["why"] for item in run["items"] if item["verdict"] == "not-offered")
