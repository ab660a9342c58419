"""The MEM family."""

from __future__ import annotations
