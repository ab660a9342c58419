"""A command of the bench's, and what went wrong before there could be one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define

from ddsdk.errors import DdsdkError


class BringUpFailed(DdsdkError):
    """The driver was not probed, or found no disk: nothing else can be judged.  `step`: "probe" or "scan"."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(why)
        self.step = step


@define(eq=False)
class Command:
    """One command of the bench's.

    `ended`: how often the driver said so (a right driver: once).  `refused`: what it returned instead of taking it.
    """

    raw: Any
    write: bool
    sector: int
    nbytes: int
    ended: int = 0
    refused: int = 0
    on_end: Callable[[], object] | None = None

    @property
    def done(self) -> bool:
        """The driver has said so."""
        return self.ended > 0
