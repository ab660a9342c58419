"""The ERR family."""

from __future__ import annotations
