"""Saboteurs of the TIME family."""

from __future__ import annotations

from typing import Final

from . import Saboteur

SABOTEURS: Final[tuple[Saboteur, ...]] = ()
