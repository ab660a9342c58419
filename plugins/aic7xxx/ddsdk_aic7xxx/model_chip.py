"""What differs from chip to chip, how long things take, and what a disk's SCSI port can do.

Ids, slots, functions: hw-aic7xxx.md 2.  Times are orders of magnitude of boards of 2002, not measurements.
"""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from attrs.validators import gt

from ddsdk.hookspecs import Chip
from ddsdk.sim.pci import BarSpec

from .chips import CHIPS
from .frames import OFFSET_MAX, PERIOD_DT

US: Final = 1_000
MS: Final = 1_000_000
S: Final = 1_000_000_000

BARS: Final = {0: BarSpec("io", 0x100), 1: BarSpec("mem", 0x1000)}
CLASS_CODE: Final = 0x010000


def _positive(default: int) -> int:
    return field(default=default, validator=gt(0))


@frozen
class Timing:
    """How long the chip and the bus take, in virtual nanoseconds.

    `selection_timeout_ns` is what SXFRCTL1.STIMESEL 0 stands for.  `recovery_ns`: a target that was reset answers no
    selection for so long.
    """

    step_ns: int = _positive(200)           # from unpausing to the sequencer's next move
    fetch_ns: int = _positive(2 * US)       # an SCB by DMA
    select_ns: int = _positive(3 * US)      # arbitration and selection, or reselection
    message_ns: int = _positive(1 * US)     # a byte of a message
    command_ns: int = _positive(4 * US)     # the command block
    finish_ns: int = _positive(2 * US)      # status, COMMAND COMPLETE, posting
    selection_timeout_ns: int = _positive(256 * MS)
    recovery_ns: int = 20 * MS
    chip_reset_ns: int = _positive(500 * US)
    transceiver_ns: int = 1 * MS            # after a chip reset SBLKCTL does not know the bus for so long
    rst_ns: int = 25 * US                   # RST shorter than that is a fault of the host's


@frozen
class Port:
    """What a target's SCSI port can do: PPR at all, its fastest period factor, offset, width."""

    ppr: bool = True
    period: int = PERIOD_DT
    offset: int = OFFSET_MAX
    wide: bool = True


@frozen
class ChipProfile:
    """One chip: PCI face, and how many functions it shows."""

    chip: Chip
    functions: int
    subsystem: tuple[int, int]              # vendor, device
    timing: Timing = Timing()
    revision: int = 2


def _named(name: str) -> Chip:
    return next(chip for chip in CHIPS if chip.name == name)


AIC7892: Final = ChipProfile(_named("aic7892"), 1, (0x9005, 0xE2A0))       # 29160
AIC7899: Final = ChipProfile(_named("aic7899"), 2, (0x9005, 0xF620))       # 3960D
PROFILES: Final = (AIC7892, AIC7899)
