"""The conformance kit: every check, each on a fresh machine."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.conformance import conformance_checks


@pytest.mark.parametrize("check", conformance_checks("{{cookiecutter.name}}"))
def test_conformance(check: Any) -> None:
    """The rule of one check holds."""
    check.run()
