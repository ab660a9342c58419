"""What the modelled parts are: PCI face, revision, what the silicon gets wrong, how long things take, the disks.

The AIC-7901 has an Ultra320 disk, which speaks information units; the AIC-7902 Rev B an Ultra160 one, which does not
and keeps its sense data for REQUEST SENSE; so both ways of a command get a chip of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import field, frozen
from attrs.validators import gt

from ddsdk.hookspecs.discovery import Chip
from ddsdk.sim.pci import BarSpec

from .frames import PprOption

US: Final = 1_000
MS: Final = 1_000_000
S: Final = 1_000_000_000

#: I/O 000-0FF, memory 000-1FF in a page of its own, I/O 100-1FF.
BARS: Final[Mapping[int, BarSpec]] = MappingProxyType({
    0: BarSpec("io", 0x100, "low"), 1: BarSpec("mem", 0x1000, "regs", is_64=True), 3: BarSpec("io", 0x100, "high"),
})


def _positive(default: int) -> int:
    return field(default=default, validator=gt(0))


@frozen
class Timing:
    """How long things take, in virtual nanoseconds: orders of magnitude of Ultra320 boards, not measurements."""

    chip_reset_ns: int = _positive(1500 * US)
    fetch_ns: int = _positive(1000)             # the DMA of an SCB, either way
    post_ns: int = _positive(700)               # entries into the output queue
    idle_ns: int = _positive(200)               # one turn of the idle loop
    arbitrate_ns: int = _positive(1200)
    select_ns: int = _positive(2000)
    message_ns: int = _positive(400)            # a byte of a message
    packet_ns: int = _positive(1500)            # L_Q and information unit
    command_ns: int = _positive(2500)           # command phase
    rst_hold_ns: int = _positive(25 * US)       # SPI-4: reset hold time
    coalesce_tick_ns: int = _positive(25 * US)


@frozen
class SpiDisk:
    """What a disk can negotiate.  `ppr` False: it answers MESSAGE REJECT to a PPR, and knows WDTR and SDTR."""

    period: int = 0x08
    offset: int = 0x3F
    wide: int = 1
    options: int = 0xFF                         # PprOption
    ppr: bool = True


U320_DISK: Final = SpiDisk()
U160_DISK: Final = SpiDisk(period=0x09, options=PprOption.DT_REQ)
U2_DISK: Final = SpiDisk(period=0x0A, offset=0x1F, options=0, ppr=False)


@frozen
class ChipProfile:
    """One part.  `rev_a`: driving RST spoils it, its selection timer runs twice as long, its packets want a whole LUN.
    `collision`: a sequencer interrupt that comes with a completion does not show in INTSTAT.
    """

    chip: Chip
    revision: int
    functions: int = 1
    rev_a: bool = False
    collision: bool = False
    disk: SpiDisk = U320_DISK
    subsystem: tuple[int, int] = (0x9005, 0xFFFF)
    timing: Timing = field(factory=Timing)


AIC7901: Final = ChipProfile(Chip("aic7901", 0x9005, 0x8000, "Adaptec AIC-7901 Ultra320 SCSI (29320A)"), 0x10,
                             subsystem=(0x9005, 0x0060))
AIC7902: Final = ChipProfile(Chip("aic7902", 0x9005, 0x801D, "Adaptec AIC-7902 Rev B Ultra320 SCSI, two functions"),
                             0x10, functions=2, collision=True, disk=U160_DISK)
AIC7902A: Final = ChipProfile(Chip("aic7902a", 0x9005, 0x801F, "Adaptec AIC-7902 Rev A Ultra320 SCSI, two functions"),
                              0x03, functions=2, rev_a=True)

PROFILES: Final = (AIC7901, AIC7902, AIC7902A)
