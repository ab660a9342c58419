"""Sizes as people type them: 4096, 512M, 16GiB."""

from __future__ import annotations

import re
from typing import Final

from .errors import UsageError

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_SIZE = re.compile(r"(0x[0-9a-f]{1,16}|[0-9]{1,20})([KMGTP]?)(?:i?B)?", re.IGNORECASE)


def parse_size(text: str, what: str = "size") -> int:
    """Bytes; K, M, G, T, P are powers of 1024.  UsageError names *what* and the value."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise UsageError(f"{what} {text!r}: it must be a number of bytes, with K, M, G or T for powers of 1024")
    return int(match[1], 0 if match[1].lower().startswith("0x") else 10) * _UNITS[match[2].upper()]


def show_size(size_bytes: int) -> str:
    """`536870912` -> `"512.0 MiB"`."""
    amount, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if amount < 1024 or unit == "PiB":
            break
        amount /= 1024
    return f"{size_bytes} B" if unit == "B" else f"{amount:.1f} {unit}"
