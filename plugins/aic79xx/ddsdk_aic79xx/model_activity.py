"""Activities: what the sequencer's program does, step by step.

An activity is a generator that yields nanoseconds until its next step, or STOPPED after it raised an interrupt that
stops the sequencer; it goes on from there when the host lets it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

Activity = Generator[int, None, None]
#: Yielded after raise_seqint() or raise_int(): the sequencer stands still until the host lets it go on.
STOPPED: Final = -1
