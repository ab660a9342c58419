"""Everything that can be made to go wrong with interface, cable and drives: fault id -> what happens.

The rows of hw-ide.md 11, and what an interrupt line can do.  Parameters in brackets, with their defaults; they are what
`inject(id, after=, times=, **params)` takes.  What a drive itself may answer is a fault of its disk, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: Every fault id with its meaning.
FAULTS: Final[Mapping[str, str]] = MappingProxyType({
    # the interface
    "adapter-gone": "from now on every register of both channels reads all ones and writes are lost",
    "dma-error": "the PCI bus refuses: ERROR is set, nothing moves and the drive waits [interrupt=False]",
    "table-short": "the bus master takes the middle of a region for the end of its table",
    "table-long": "all has moved, and the bus master waits for more",
    # commands
    "command-hung": "a command is taken and never heard of again: BSY until the next reset",
    "firmware-fault": "the drive stops as it takes a command: BSY until the next reset",
    "command-aborted": "ERR and ABRT instead of the command",
    "device-fault": "DF instead of the command",
    "icrc": "ICRC and ABRT after the data of a command by DMA; nothing of it counts",
    "drq-missing": "a command with data ends at once, well and without any",
    "drq-stuck": "a command ends and DRQ stays",
    "last-block-fails": "ABRT after the last block of a write by programmed I/O, which is not written",
    "flush-fails": "ABRT instead of FLUSH CACHE (EXT)",
    "multiple-refused": "ABRT instead of SET MULTIPLE MODE",
    "completion-lost": "a command is carried out, and BSY stays",
    "completion-late": "BSY falls late [ns=5 s]",
    # resets
    "reset-hangs": "BSY of both drives stays after SRST until the next reset",
    "reset-slow": "the drives take long to come out of SRST [ns=20 s]",
    "reset-diagnosis": "after SRST drive 0 says that it is broken: diagnostic code 02",
    "reset-drive-1": "after SRST drive 0 says that drive 1 failed: bit 7 of the diagnostic code",
    "drive-1-busy": "drive 1 alone stays busy after SRST until the next reset",
    "drive-gone": "the cable is pulled: the channel's own registers read all ones from now on, the bus master's do not",
    # interrupts
    "irq-lost": "the interrupt line does not rise for one command",
    "irq-twice": "it rises again after a command was served",
    "irq-spurious": "it rises while BSY is set, for no reason",
    "irq-stale": "it rises once more for the command before, as the next one is taken",
})
