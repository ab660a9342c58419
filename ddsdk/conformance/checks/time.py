"""The TIME family."""

from __future__ import annotations
