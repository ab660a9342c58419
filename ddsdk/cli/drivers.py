"""`ddsdk drivers`: what is installed."""

from __future__ import annotations

from typing import Any

import click

from ..registry import Registry, discover
from .arguments import json_option
from .console import result, result_json, say


def describe(registry: Registry) -> list[dict[str, Any]]:
    """One entry a driver: name, bus, chips with PCI ids and the backends that can play them."""
    rows = []
    for name, info in sorted(registry.drivers.items()):
        chips = []
        for chip in info.chips:
            models = [m for m in registry.models if m.driver == name and m.chip.name == chip.name]
            backends = ["model"] * any(models) + ["qemu"] * any(m.qemu for m in models)
            chips.append({"name": chip.name, "pci_id": f"{chip.vendor:04x}:{chip.device:04x}",
                          "title": chip.title, "backends": backends})
        rows.append({"name": name, "bus": info.bus, "summary": info.summary, "chips": chips})
    return rows


@click.command("drivers")
@json_option
def command(as_json: bool) -> None:
    """List the installed drivers, their chips, and the backends each chip runs on.

    model: our register-level model (simulated).  qemu: QEMU's own adapter (emulated).
    """
    registry = discover()
    rows = describe(registry)
    broken = [{"entry_point": b.entry_point, "distribution": b.distribution, "reason": b.reason}
              for b in registry.broken]
    if as_json:
        result_json({"drivers": rows, "broken": broken})
        return
    for row in rows:
        result(f"{row['name']}  ({row['bus']})  {row['summary']}")
        for chip in row["chips"]:
            backends = ", ".join(chip["backends"]) or "no backend"
            result(f"    {chip['name']:<12} {chip['pci_id']}  {chip['title']:<24} {backends}")
    for entry in broken:
        say(f"plugin {entry['entry_point']} of {entry['distribution']} is skipped: {entry['reason']}")
    if not rows:
        say("no driver is installed: install a plugin with pip (in a checkout: `pip install -e plugins/NAME`);"
            " DDSDK_LOAD_PLUGINS, if set, chooses which load")
