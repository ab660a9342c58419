"""What the driver knows: the chip, and of each channel the command that is outstanding, its memory, its state.

Everything is allocated at probe: the dump path never needs memory.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE

from .frames import REGION_BYTES, Prd
from .regs import BusMaster, Control, ControlBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ddsdk.ata.host import IdeDrive, IdeHwif
    from ddsdk.ata.taskfile import IdeTask
    from ddsdk.helperlib.kernel import DmaBuffer, Iomem, Kernel, PciDev, TimerList
    from ddsdk.hookspecs import Chip

PRD_BYTES: Final = Prd.on(WIRE_LE).size
#: A page of table: QEMU's adapter reads no more.
PRD_ENTRIES: Final = 4096 // PRD_BYTES
#: 512-byte sectors of a command: 1 MiB.
MAX_SECTORS: Final = 2048
#: Segments of a command.  In the worst case each crosses a multiple of 64 KiB once more than its length makes it.
SG_TABLESIZE: Final = (PRD_ENTRIES - MAX_SECTORS * 512 // REGION_BYTES) // 2


class Piix:
    """The chip: both its channels, and what they share."""

    def __init__(self, pdev: PciDev, chip: Chip) -> None:
        self.kernel: Kernel = pdev.kernel
        self.pdev = pdev
        self.chip = chip
        self.name = f"{chip.name} {pdev.name}"
        self.channels: tuple[Channel, ...] = ()     # those whose ports are decoded

    def printk(self, text: str) -> None:
        """A line of the kernel log."""
        self.kernel.printk(f"{self.name}: {text}")


class Channel:
    """`hwif.hwif_data`: one channel.

    ide_lock protects all of it.  `task` is the command that is outstanding, None when there is none; `offset` bytes of
    it are moved by programmed I/O; `stalled` counts polls that found the drive waiting for a bus master that has
    finished, `busy` those that found the drive busy.  `mapped` is memory the bus master may still reach, as
    dma_map_sg() returned it.  `unit` is the drive that is selected, -1 when nobody knows.  `counts`: whether a unit's
    count register goes down to 0 with a command by DMA, None as long as nobody knows; `doubts` commands did not show
    it.  `capable`: the bus master's notes about its drives (DMA0CAP, DMA1CAP), as somebody left them.  `resetting`: a
    reset is under way.  `dead`: a bit for each unit that the last one did not bring back.
    """

    def __init__(self, piix: Piix, number: int, ports: Iomem, control: Iomem, bus_master: Iomem) -> None:
        self.piix = piix
        self.kernel = piix.kernel
        self.pdev = piix.pdev
        self.number = number
        self.ports = ports              # command block
        self.control = control          # control block
        self.bm = bus_master
        #: The alternate status, without detours: what a poll reads.
        self.read_altstatus: Callable[[], int] = partial(self.kernel.inb, control, ControlBlock.ALTSTATUS.offset)
        # offsets in it
        self.BM_COMMAND = BusMaster.COMMAND[number].offset
        self.BM_STATUS = BusMaster.STATUS[number].offset
        self.BM_TABLE = BusMaster.TABLE[number].offset
        self.task: IdeTask | None = None
        self.offset = 0
        self.stalled = self.busy = 0
        self.mapped: Sequence[tuple[int, int]] = ()
        self.direction = 0
        self.unit = -1
        self.counts: list[bool | None] = [None, None]
        self.doubts = 0
        self.capable = 0
        self.resetting = False
        self.dead = 0
        # made by probe
        self.hwif: IdeHwif
        self.table: DmaBuffer
        self.drq_timer: TimerList

    def printk(self, text: str) -> None:
        """A line of the kernel log."""
        self.piix.printk(f"channel {self.number}: {text}")

    @property
    def masked(self) -> Control:
        """The device control register as it belongs there now: after a crash no interrupt."""
        return _NIEN if self.kernel.crashdump_mode() else _NOTHING

    def forget(self) -> IdeTask | None:
        """No command is outstanding any more, though its memory may still be mapped; the one that was."""
        task, self.task = self.task, None
        return task

    def unmap(self) -> None:
        """The bus master is stopped: end the mapping, if there is one; a crash half way does not unmap twice."""
        mapped, self.mapped = self.mapped, ()
        if mapped:
            self.kernel.dma_unmap_sg(self.pdev, mapped, self.direction)


_NIEN: Final = Control.of(NIEN=1)
_NOTHING: Final = Control.of()


def channel_of(drive: IdeDrive) -> Channel | None:
    """The driver's side of *drive*'s channel; None when it was taken away."""
    channel: Channel | None = drive.hwif.hwif_data
    return channel
