"""The SANE family."""

from __future__ import annotations
