"""The golden exchanges in the plugin are what QEMU says today, not what somebody wrote."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.real.exchanges import EXCHANGES
from tests.real.record_golden import GOLDEN, record

pytestmark = pytest.mark.real


def test_every_exchange_is_in_the_plugin() -> None:
    """One file an exchange, none left over."""
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(EXCHANGES)


@pytest.mark.parametrize("name", EXCHANGES)
def test_qemu_still_answers_so(name: str, tools: Callable[..., None]) -> None:
    """Recorded again, the steps are equal: nothing in them depends on time or chance."""
    tools("qemu-system-x86_64")
    assert record(name) == json.loads((GOLDEN / f"{name}.json").read_text())["steps"]
