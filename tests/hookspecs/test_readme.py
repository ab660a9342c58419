"""The README quotes the hooks; this compares."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import ddsdk.hookspecs
from ddsdk.hookspecs import AtaHookSpecs, DiscoveryHookSpecs, ScsiHookSpecs
from ddsdk.hookspecs.device import spec_signatures

README = (Path(ddsdk.hookspecs.__file__).parent / "README.md").read_text(encoding="utf-8")
HOOKS = [(spec, name) for spec in (ScsiHookSpecs, AtaHookSpecs, DiscoveryHookSpecs)
         for name in spec_signatures(spec)]


def quoted(spec: type, name: str) -> str:
    """The signature as the README must have it, inside a table cell."""
    signature = inspect.signature(getattr(spec, name))
    arguments = ", ".join(f"{p.name}: {p.annotation}" for p in signature.parameters.values()
                          if p.name != "self")
    return f"| `{name}({arguments}) -> {signature.return_annotation}`".replace("int | None", "int \\| None")


def test_there_are_eleven_hooks() -> None:
    """Four for a SCSI device, four for an IDE device, three for discovery."""
    assert len(HOOKS) == 11


@pytest.mark.parametrize(("spec", "name"), HOOKS, ids=[f"{s.__name__}.{n}" for s, n in HOOKS])
def test_quoted(spec: type, name: str) -> None:
    """Every hook stands in the README with its exact arguments and return type."""
    assert quoted(spec, name) in README


@pytest.mark.parametrize(("spec", "name"), [h for h in HOOKS if h[0] is not DiscoveryHookSpecs],
                         ids=[f"{s.__name__}.{n}" for s, n in HOOKS if s is not DiscoveryHookSpecs])
def test_contract(spec: type, name: str) -> None:
    """Every device hook's docstring gives its C prototype, and the README gives the same one."""
    doc = inspect.getdoc(getattr(spec, name)) or ""
    prototypes = [line.removeprefix("C: ") for line in doc.splitlines() if line.startswith("C: ")]
    assert len(prototypes) == 1
    assert f"`{prototypes[0]}`" in README
    assert "Returns" in doc
