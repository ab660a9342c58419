"""The IRQ family."""

from __future__ import annotations
