"""The LOCK family."""

from __future__ import annotations
