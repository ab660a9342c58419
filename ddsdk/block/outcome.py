"""What becomes of a command that ended, in either mid-layer's words."""

from __future__ import annotations

import errno
from enum import Enum

from attrs import frozen


class Disposition(Enum):
    """What to do with the command.  Each mid-layer uses the members that its hardware gives reason for."""

    SUCCESS = "done"
    NEEDS_RETRY = "again, counted"
    ADD_TO_MLQUEUE = "again when there is room, not counted"
    BECOMING_READY = "again after a while, not counted"
    NO_SENSE = "CHECK CONDITION without sense data: ask for it"
    NEEDS_RESET = "the hardware lost its way: reset it, then once more"
    NEEDS_PIO = "again, by programmed I/O"
    FAILED = "failed"


@frozen
class Outcome:
    """A disposition, why, and the errno (positive) if it is a failure."""

    disposition: Disposition
    why: str = ""
    errno: int = errno.EIO
