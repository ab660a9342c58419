"""How a drive is set up: transfer mode, multiple mode, write cache.  Sent at scan time, and again after each reset.

A soft reset takes settings away, of some drives all of them (hw-ide.md 4), so nothing is taken for granted afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from attrs import frozen

from .taskfile import (
    SETFEATURES_DIS_WCACHE,
    SETFEATURES_EN_WCACHE,
    SETFEATURES_XFER,
    WIN_FLUSH_CACHE,
    WIN_FLUSH_CACHE_EXT,
    WIN_SETFEATURES,
    WIN_SETMULT,
    XFER_MW_DMA_0,
    XFER_UDMA_0,
    AtaTaskfile,
    control,
)

if TYPE_CHECKING:
    from .host import IdeDrive

#: Sectors per DRQ block that are worth asking for: what the kernel's buffers took.
_MULTIPLE_MAX: Final = 16


@frozen
class Setting:
    """One command, and what its success or failure means for the drive.  `consequence` says the latter in words."""

    tf: AtaTaskfile
    accepted: Callable[[], None]
    refused: Callable[[], None]
    consequence: str


def settings(drive: IdeDrive) -> Iterator[Setting]:
    """What has to be sent now, in order."""
    unit = drive.unit

    def dma(on: bool) -> None:
        drive.using_dma = on

    def multiple(count: int) -> None:
        drive.mult_count = drive.mult_req = count

    def nothing() -> None:
        pass

    drive.mult_count = 0
    if drive.using_dma:
        yield Setting(control(unit, WIN_SETFEATURES, SETFEATURES_XFER, drive.current_speed), nothing,
                      lambda: dma(False), "data moves by programmed I/O")
    if drive.mult_req:
        yield Setting(control(unit, WIN_SETMULT, 0, drive.mult_req), lambda: multiple(drive.mult_req),
                      lambda: multiple(0), "one sector a block")
    if drive.wcache_req is not None:
        feature = SETFEATURES_EN_WCACHE if drive.wcache_req else SETFEATURES_DIS_WCACHE
        yield Setting(control(unit, WIN_SETFEATURES, feature), nothing, nothing, "the write cache stays as it is")


def choose(drive: IdeDrive) -> None:
    """By what drive and interface can do: LBA48, the fastest common DMA mode, multiple mode."""
    identity, info = drive.id, drive.hwif.port_info
    assert identity is not None
    drive.lba48 = identity.lba48 and not info.no_lba48
    drive.mult_req = min(identity.max_multiple, _MULTIPLE_MAX)
    drive.mult_req = 1 << drive.mult_req.bit_length() - 1 if drive.mult_req else 0
    speed = 0
    if identity.dma:
        speed = (_best(identity.ultra_mask & info.ultra_mask, XFER_UDMA_0)
                 or _best(identity.mwdma_mask & info.mwdma_mask, XFER_MW_DMA_0))
    if speed and info.speedproc is not None and info.speedproc(drive, speed):
        drive.hwif.kernel.printk(f"{drive.name}: the interface refuses transfer mode {speed:#x}; programmed I/O")
        speed = 0
    drive.current_speed, drive.using_dma = speed, bool(speed)
    drive.special = True


def _best(mask: int, first: int) -> int:
    return first + mask.bit_length() - 1 if mask else 0


def flush_command(drive: IdeDrive) -> AtaTaskfile | None:
    """FLUSH CACHE EXT or FLUSH CACHE, by what the drive has; None when it has neither."""
    identity = drive.id
    if identity is None or not (identity.flush or identity.flush_ext):
        return None
    ext = identity.flush_ext and drive.lba48
    if not ext and not identity.flush:
        return None
    return control(drive.unit, WIN_FLUSH_CACHE_EXT if ext else WIN_FLUSH_CACHE)
