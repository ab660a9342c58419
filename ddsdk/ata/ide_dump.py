"""A dump device on an IDE disk: what block/dump_device.py leaves open, in ATA's words.

Source: RHEL 4 `drivers/ide/ide-dump.c` (2.6.9-42.EL on) by hw-ide.md 8.  Deliberate differences, besides those of
dump_queue.py: DMA where drive and interface have it; start and end of a transfer are checked against the partition;
48 bits of LBA; the drive that answers after the reset must be the one that was registered, with the partition still
inside it; write cache on, and FLUSH CACHE (EXT) must succeed.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from attrs import evolve

from ddsdk.hookspecs.device import BoundHooks

from ..block.dump_device import Limits, PolledDumpDevice
from ..block.dump_queue import NS_PER_S, RETRIES_ALLOWED, SCMND_TIMEOUT_NS
from ..block.pieces import ScatterList
from .dump_io import DumpIo
from .dump_queue import AtaQueue
from .identify import IDENTIFY_BYTES, LBA28_SECTORS, IdentifyData, NotAnAtaDisk
from .settings import flush_command
from .taskfile import TASKFILE_IN, WIN_IDENTIFY, AtaTaskfile, control

if TYPE_CHECKING:
    from ddsdk.integrity import CodeImage
    from ddsdk.sim.locks import SpinLock

    from .host import IdeDrive

#: Sectors a command can name: a count register of one byte or two, where 0 means all.
SECTORS_28: Final = 256
SECTORS_48: Final = 65536


class AtaDumpDevice(PolledDumpDevice[DumpIo]):
    """One partition of one IDE disk.  *set_wce* False: the write cache is left as it is.  One command at a time."""

    LOCK = "ide_lock"
    RESET = "channel reset"

    def __init__(self, drive: IdeDrive, hooks: BoundHooks, start_sector: int, nr_sectors: int, page_size: int,
                 image: CodeImage, queue_depth: int = 1, *, name: str = "", set_wce: bool = True) -> None:
        self.drive = drive
        self.set_wce = set_wce
        super().__init__(drive, drive.hwif.kernel, hooks, start_sector, nr_sectors, page_size, image, queue_depth, name)

    def _limits(self) -> Limits:
        hwif = self.drive.hwif
        sectors = SECTORS_48 if self.drive.lba48 else SECTORS_28
        limits = Limits(hwif.port_info.proc_name, hwif.max_sectors, sectors, hwif.sg_tablesize)
        by_dma = hwif.port_info.ultra_mask or hwif.port_info.mwdma_mask      # the processor reaches everything
        return limits if hwif.pdev is None or not by_dma else evolve(limits, dma_mask=hwif.pdev.dma_mask)

    def _make_queue(self) -> AtaQueue:
        self._ata = AtaQueue(self.drive, self.hooks.plugin, self.warnings)
        return self._ata

    def _new_io(self) -> DumpIo:
        io = DumpIo.on(self.drive, RETRIES_ALLOWED)
        io.command.timeout = SCMND_TIMEOUT_NS // NS_PER_S * self._kernel.HZ
        return io

    @property
    def lock(self) -> SpinLock:
        """See `PolledDumpDevice.lock`."""
        return self.drive.hwif.ide_lock

    def _unusable(self) -> str:
        drive = self.drive
        if not drive.present or drive.id is None:
            return "the drive did not answer when the channel was scanned"
        if drive.dead:
            return "the drive cannot be used"
        return "the medium was changed since the device was registered" if drive.changed else ""

    # --- taking over ---------------------------------------------------------------------------------------

    def _send(self, tf: AtaTaskfile, data_phase: int = 0, nbytes: int = 0, timeout_ns: int = 0) -> int:
        sg = ((self._scratch_paddr, nbytes),) if nbytes else ()
        error = self._queue.run(self._control.control(tf, data_phase, nbytes, sg, timeout_ns))
        if error:
            self.why = self._control.why
        return error

    def _take_over(self) -> int:
        """IDENTIFY DEVICE, then the settings that the reset took away, the write cache among them."""
        error = self._identify()
        if error:
            return error
        identity = self.drive.id
        assert identity is not None
        if flush_command(self.drive) is None:
            self.drive.wcache_req = False if identity.write_cache else None     # nothing could empty it
        elif self.set_wce and identity.write_cache:
            self.drive.wcache_req = True
        dead = self._ata.send_settings(self._ata.run)
        return self._refuse(errno.EIO, dead) if dead else 0

    def _identify(self) -> int:
        """The first proof that commands work, and that this is the drive that was registered."""
        drive, known = self.drive, self.drive.id
        self._scratch[:IDENTIFY_BYTES] = bytes(IDENTIFY_BYTES)
        error = self._send(control(drive.unit, WIN_IDENTIFY), TASKFILE_IN, IDENTIFY_BYTES)
        if error:
            return error
        try:
            now = IdentifyData.parse(self._scratch[:IDENTIFY_BYTES])
        except NotAnAtaDisk as wrong:
            return self._refuse(errno.EIO, f"IDENTIFY DEVICE to {drive.name}: {wrong}")
        if known is None or (now.model, now.serial) != (known.model, known.serial):
            was = "none" if known is None else f"{known.model} {known.serial}"
            return self._refuse(errno.ENODEV, f"another drive answers: {now.model} {now.serial}, registered was {was}")
        if now.locked:
            return self._refuse(errno.EIO, "after the reset the drive is locked by a password")
        sectors = now.sectors if drive.lba48 else min(now.sectors, LBA28_SECTORS - 1)
        if now.sector_size != known.sector_size or sectors < self._end_sector:
            return self._refuse(errno.ENODEV, f"after the reset the drive has {sectors} sectors of {now.sector_size}"
                                              f" bytes, the partition ends at sector {self._end_sector} of"
                                              f" {known.sector_size}")
        return 0

    # --- the dump ------------------------------------------------------------------------------------------

    def _fill(self, io: DumpIo, write: bool, sector: int, sectors: int, nbytes: int, sg: ScatterList) -> None:
        io.rw(write, sector, sectors, nbytes, sg)

    def flush(self) -> int:
        """FLUSH CACHE EXT or FLUSH CACHE, up to 60 s; a drive without either runs without a cache."""
        tf = flush_command(self.drive)
        return self._send(tf, timeout_ns=SCMND_TIMEOUT_NS) if tf is not None else 0
