"""The drivers in plugins/ as the kit sees them.  A part of it here; `make conformance` runs the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.cli.main import run as ddsdk

ROOT = Path(__file__).parents[2]
#: A family of each kind that does not take long, and one whole dump.
PART = "REG-1 or POLL-1 or IRQ-1[dump] or MEM-1 or E2E-1"


def test_mptfusion(capsys: pytest.CaptureFixture[str]) -> None:
    """`ddsdk conformance plugins/mptfusion` with its first chip: exit code 0, nothing fails, nothing is expected to."""
    status = ddsdk(["conformance", str(ROOT / "plugins" / "mptfusion"), "--chip", "53c1030", "-k", PART])
    said = capsys.readouterr().out
    assert status == 0, said
    for line in ("mptfusion 53c1030 (1000:0030) on the plugin's model, simulated, seed 1", "pass     POLL-1 ",
                 "pass     IRQ-1 ", "pass     MEM-1 ", "pass     E2E-1 "):
        assert line in said
    assert "expected" not in said
