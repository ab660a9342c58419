"""VMCOREINFO: what a kernel says of itself in `KEY=value` lines (formats.md 5.4)."""

from __future__ import annotations

from collections.abc import Mapping

#: More than any kernel writes (a page); a larger note is damage.
MAX_BYTES = 1 << 20


def parse(text: bytes | None) -> dict[str, str]:
    """`{"OSRELEASE": "6.1.0", ...}`; lines without `=` are skipped, the first of two equal keys wins."""
    values: dict[str, str] = {}
    for line in (text or b"")[:MAX_BYTES].rstrip(b"\0").decode("latin-1").splitlines():
        key, equals, value = line.partition("=")
        if equals and key not in values:
            values[key] = value
    return values


def number(values: Mapping[str, str], key: str) -> int | None:
    """A decimal value such as PAGESIZE or CRASHTIME; None when absent or no number."""
    value = values.get(key, "").strip()
    return int(value) if value.isdigit() and len(value) < 20 else None


def build(values: Mapping[str, object]) -> bytes:
    """The text of *values*, one line each, in their order."""
    return "".join(f"{key}={value}\n" for key, value in values.items()).encode()
