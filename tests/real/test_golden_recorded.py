"""The golden exchanges in the plugins are what QEMU says today, not what somebody wrote."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.real.record_golden import PLUGINS, golden, record, recording_of

pytestmark = pytest.mark.real
EXCHANGES = [(plugin, name) for plugin in PLUGINS for name in recording_of(plugin).exchanges]


def test_every_exchange_is_in_its_plugin() -> None:
    """One file an exchange, none left over."""
    assert PLUGINS
    for plugin in PLUGINS:
        assert {path.stem for path in golden(plugin).glob("*.json")} == set(recording_of(plugin).exchanges)


@pytest.mark.parametrize(("plugin", "name"), EXCHANGES)
def test_qemu_still_answers_so(plugin: str, name: str, tools: Callable[..., None]) -> None:
    """Recorded again, the steps are equal: nothing in them depends on time or chance."""
    tools("qemu-system-x86_64")
    assert record(recording_of(plugin), name) == json.loads((golden(plugin) / f"{name}.json").read_text())["steps"]
