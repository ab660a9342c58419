"""Finding the drives behind a chip, in normal mode: IDENTIFY DEVICE to both units of each channel.

Source: `drivers/ide/ide-probe.c`, `ide-disk.c` (2.6.9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..block.outcome import Disposition
from .identify import IDENTIFY_BYTES, LBA28_SECTORS, IdentifyData, NotAnAtaDisk
from .midlayer import IdeRequest
from .settings import choose
from .taskfile import TASKFILE_IN, WIN_CHECKPOWERMODE1, WIN_IDENTIFY, control

if TYPE_CHECKING:
    from .host import IdeDrive, IdeHwif

_SECTOR_SIZES: Final = (512, 1024, 2048, 4096)


def scan_hwif(hwif: IdeHwif) -> list[IdeDrive]:
    """Every disk that answers on *hwif* and its mate, by channel and unit; each one set up: `ide_probe`.

    A disk that cannot be used (no LBA, a password, sectors of an odd size) is in the list, with `dead` set.
    """
    memory = hwif.kernel.machine.memory
    paddr = memory.reserve.alloc(IDENTIFY_BYTES, IDENTIFY_BYTES)
    reply = memory.view(paddr, IDENTIFY_BYTES)
    found = []
    try:
        for channel in hwif.channels:
            found += [drive for drive in channel.drives if _identify(drive, paddr, reply)]
    finally:
        memory.reserve.free(paddr)
    for drive in found:
        _set_up(drive)
    return found


def _identify(drive: IdeDrive, paddr: int, reply: memoryview) -> bool:
    """IDENTIFY DEVICE: who is there, and how large; false when nobody is, or no disk."""
    reply[:] = bytes(IDENTIFY_BYTES)
    request = IdeRequest(drive, retries=1)
    outcome = request.control(control(drive.unit, WIN_IDENTIFY), TASKFILE_IN, ((paddr, IDENTIFY_BYTES),),
                              IDENTIFY_BYTES)
    if outcome.disposition is not Disposition.SUCCESS:
        return False
    try:
        drive.id = IdentifyData.parse(reply)
    except NotAnAtaDisk as error:
        drive.hwif.kernel.printk(f"{drive.name}: {error}")
        return False
    drive.present = True
    return True


def _set_up(drive: IdeDrive) -> None:
    """Fill in what IDENTIFY said, choose how data moves, tell the drive."""
    identity, kernel = drive.id, drive.hwif.kernel
    assert identity is not None
    drive.sector_size = identity.sector_size
    drive.nr_sectors = identity.sectors
    choose(drive)
    if not drive.lba48:
        drive.nr_sectors = min(drive.nr_sectors, LBA28_SECTORS - 1)
    unusable = ""
    if not identity.lba:
        unusable = "addresses by cylinder only"
    elif identity.locked:
        unusable = "locked by a password"
    elif drive.sector_size not in _SECTOR_SIZES or not drive.nr_sectors:
        unusable = f"{drive.nr_sectors} sectors of {drive.sector_size} bytes"
    if unusable:
        drive.dead = True
        kernel.printk(f"{drive.name}: {identity.model}: cannot be used: {unusable}")
        return
    # its settings go out with the first command
    request = IdeRequest(drive)
    if request.control(control(drive.unit, WIN_CHECKPOWERMODE1)).disposition is not Disposition.SUCCESS:
        drive.dead = True
        kernel.printk(f"{drive.name}: {identity.model}: cannot be used: {request.why}")
        return
    how = f"DMA mode {drive.current_speed:#x}" if drive.using_dma else "PIO"
    kernel.printk(f"{drive.name}: {identity.model} {identity.fw_rev}, {drive.nr_sectors} sectors of"
                  f" {drive.sector_size} bytes, {how}, {drive.mult_count or 1} sectors a block")
