"""The {{cookiecutter.chip}}'s timing, and the registers that its drives share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from ddsdk.regs import Reg8
from ddsdk.sim.ata_drive import AtaDrive, Taskfile
from ddsdk.sim.ata_taskfile import BSY, DRQ
from ddsdk.sim.model import HwModel

from .regs import Control

#: These hold two bytes: the last one written, and the one before.
PAIRS: Final = ("FEATURE", "NSECTOR", "LBAL", "LBAM", "LBAH")

US: Final = 1_000
MS: Final = 1_000_000
S: Final = 1_000_000_000


@frozen
class Timing:
    """Virtual nanoseconds: orders of magnitude of 2004, not measurements.  A drive's own time is in AtaDrive."""

    busy_ns: int = 400                  # from COMMAND, or the last word of a block, until BSY shows
    srst_ns: int = 5 * US               # SRST has to be set for so long
    # with a fault
    again_ns: int = 20 * US
    reset_slow_ns: int = 20 * S
    late_ns: int = 5 * S


class CommandBlock(HwModel):
    """The registers that say what a command is about, the same for both *drives*, which are keyed by unit."""

    def __init__(self, drives: Mapping[int, AtaDrive]) -> None:
        self.drives = drives
        super().__init__()

    def reset(self) -> None:
        """Power on."""
        super().reset()
        self.pairs = dict.fromkeys(PAIRS, (0, 0))
        self.status = self.device = 0
        self.control = Control()

    @property
    def drive(self) -> AtaDrive | None:
        """The selected one."""
        return self.drives.get(self.device >> 4 & 1)

    def show(self, tf: Taskfile) -> None:
        """What a command leaves in the registers."""
        self.pairs["NSECTOR"] = (tf.nsector, tf.hob_nsector)
        self.pairs["LBAL"] = (tf.lbal, tf.hob_lbal)
        self.pairs["LBAM"] = (tf.lbam, tf.hob_lbam)
        self.pairs["LBAH"] = (tf.lbah, tf.hob_lbah)
        self.device = self.device & 0xF0 | tf.device & 0x0F

    def _push(self, name: str, value: Reg8) -> None:
        if not self.status & (BSY | DRQ):
            self.pairs[name] = (int(value), self.pairs[name][0])
            self.control = Control(int(self.control) & ~Control.HOB.mask)

    def _pull(self, name: str) -> int:
        return self.pairs[name][self.control.HOB] if self.drive is not None else 0

    def w_FEATURE(self, value: Reg8) -> None:
        """Two bytes deep."""
        self._push("FEATURE", value)

    def w_NSECTOR(self, value: Reg8) -> None:
        """Two bytes deep."""
        self._push("NSECTOR", value)

    def w_LBAL(self, value: Reg8) -> None:
        """Two bytes deep."""
        self._push("LBAL", value)

    def w_LBAM(self, value: Reg8) -> None:
        """Two bytes deep."""
        self._push("LBAM", value)

    def w_LBAH(self, value: Reg8) -> None:
        """Two bytes deep."""
        self._push("LBAH", value)

    def r_NSECTOR(self) -> int:
        """By HOB."""
        return self._pull("NSECTOR")

    def r_LBAL(self) -> int:
        """By HOB."""
        return self._pull("LBAL")

    def r_LBAM(self) -> int:
        """By HOB."""
        return self._pull("LBAM")

    def r_LBAH(self) -> int:
        """By HOB."""
        return self._pull("LBAH")

    def r_DEVICE(self) -> int:
        """As written, but for what a command left in bits 3:0."""
        return self.device

    def w_DEVICE(self, value: Reg8) -> None:
        """Selects a drive."""
        self.device = int(value)
