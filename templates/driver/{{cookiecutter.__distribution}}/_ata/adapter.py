"""What the driver knows of one channel: the command that is outstanding, its memory, its state.

Everything is allocated at probe: the dump path never needs memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE

from .frames import Prd
from .regs import Control

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ddsdk.ata.host import IdeHwif
    from ddsdk.ata.taskfile import IdeTask
    from ddsdk.helperlib.kernel import DmaBuffer, Iomem, Kernel, PciDev, TimerList

#: Segments of a command, and its sectors.
SG_TABLESIZE: Final = 64
MAX_SECTORS: Final = 512
#: Entries of the table: every segment, and one more for each multiple of 64 KiB that a command may cross.
PRD_ENTRIES: Final = SG_TABLESIZE + MAX_SECTORS // 128 + 1
PRD_BYTES: Final = Prd.on(WIRE_LE).size


class Adapter:
    """struct {{cookiecutter.name}}_adapter: `hwif.hwif_data`.

    ide_lock protects all of it.  `task` is the command that is outstanding, None when there is none; `offset` bytes of
    it are moved by programmed I/O.  `mapped` is memory the bus master may still reach, as dma_map_sg() returned it.
    `resetting`: a reset is under way.  `dead`: the last one failed.
    """

    def __init__(self, pdev: PciDev, ports: Iomem, name: str) -> None:
        self.kernel: Kernel = pdev.kernel
        self.pdev = pdev
        self.ports = ports
        self.name = name
        self.task: IdeTask | None = None
        self.offset = 0
        self.mapped: Sequence[tuple[int, int]] = ()
        self.direction = 0
        self.resetting = self.dead = False
        # made by probe
        self.hwif: IdeHwif
        self.table: DmaBuffer
        self.drq_timer: TimerList

    def printk(self, text: str) -> None:
        """A line of the kernel log."""
        self.kernel.printk(f"{{cookiecutter.name}}: {self.name}: {text}")

    @property
    def masked(self) -> int:
        """The device control register's bits as they belong there now: after a crash no interrupt."""
        return int(Control.of(NIEN=1)) if self.kernel.crashdump_mode() else 0

    def forget(self) -> IdeTask | None:
        """No command is outstanding any more, though its memory may still be mapped; the one that was."""
        task, self.task = self.task, None
        return task

    def unmap(self) -> None:
        """The bus master is stopped: end the mapping, if there is one; a crash half way does not unmap twice."""
        mapped, self.mapped = self.mapped, ()
        if mapped:
            self.kernel.dma_unmap_sg(self.pdev, mapped, self.direction)
