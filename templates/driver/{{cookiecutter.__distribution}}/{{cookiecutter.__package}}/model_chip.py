"""What the {{cookiecutter.chip}} says of itself, and how long it takes."""

from __future__ import annotations

from typing import Final

from attrs import frozen

#: ID and CAPS.
REVISION: Final = 0x01
QUEUE: Final = 16
SEGMENTS: Final = 32
TARGETS: Final = 8
OWN_ID: Final = 6

US: Final = 1_000
MS: Final = 1_000_000
S: Final = 1_000_000_000


@frozen
class Timing:
    """Virtual nanoseconds: orders of magnitude of 2004, not measurements.  A target's own time is in ScsiTarget."""

    fetch_ns: int = 2 * US              # from SUBMIT to the request block's fetch
    command_ns: int = 10 * US           # the firmware's share of a command
    selection_ns: int = 250 * MS        # until it is known that no target answers
    abort_ns: int = 1 * MS
    reset_ns: int = 30 * MS
    # with a fault
    reset_slow_ns: int = 4 * S
    late_ns: int = 5 * S
    slow_ns: int = 10 * S
