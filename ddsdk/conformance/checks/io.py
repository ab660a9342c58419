"""The IO family."""

from __future__ import annotations
