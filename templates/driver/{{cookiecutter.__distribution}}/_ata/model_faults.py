"""Everything that can be made to go wrong with the {{cookiecutter.chip}} and its cable: fault id -> what happens.

Parameters in brackets, with their defaults; they are what `inject(id, after=, times=, **params)` takes.  What a drive
itself may answer are faults of its disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: Every fault id with its meaning.
FAULTS: Final[Mapping[str, str]] = MappingProxyType({
    "adapter-gone": "from now on every register reads all ones and writes are lost",
    "reset-hangs": "BSY stays after SRST until the next reset",
    "reset-slow": "the drives take long to come out of SRST [ns=20 s]",
    "firmware-fault": "the drive stops as it takes a command: BSY until the next reset",
    "command-hung": "a command is taken and never heard of again",
    "dma-error": "the PCI bus refuses, BM_STATUS.ERROR is set, nothing moves and the drive waits",
    "drq-stuck": "a command ends and DRQ stays",
    "completion-lost": "a command is carried out, and BSY stays",
    "completion-late": "BSY falls late [ns=5 s]",
    "irq-lost": "the interrupt line does not rise for one command",
    "irq-twice": "it rises again when the driver has served it",
    "irq-spurious": "it rises while BSY is set, for no reason",
    "irq-stale": "it rises once more for the command before, as the next one is taken",
})
