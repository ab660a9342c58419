"""The kit as a pytest file: `pytest --pyargs ddsdk.conformance.test_driver`.

What it judges comes from the environment: DDSDK_CONFORMANCE_TARGET (a plugin's directory or a driver's name; default:
every installed driver), DDSDK_CONFORMANCE_CHIP, DDSDK_CONFORMANCE_BACKEND (model, qemu), DDSDK_CONFORMANCE_SEED.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ddsdk.conformance import conformance_checks

if TYPE_CHECKING:
    from ddsdk.conformance.pytest_entry import ConformanceCheck


@pytest.mark.parametrize("check", conformance_checks(
    os.environ.get("DDSDK_CONFORMANCE_TARGET") or None,
    chip=os.environ.get("DDSDK_CONFORMANCE_CHIP") or None,
    backend=os.environ.get("DDSDK_CONFORMANCE_BACKEND") or "model",
    seed=int(os.environ.get("DDSDK_CONFORMANCE_SEED") or 1)))
def test_conformance(check: ConformanceCheck) -> None:
    """The rule of one check holds."""
    check.run()
