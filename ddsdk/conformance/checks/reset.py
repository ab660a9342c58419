"""The RESET family."""

from __future__ import annotations
