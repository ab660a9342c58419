"""A dump device on a SCSI disk: what block/dump_device.py leaves open, in SCSI's words.

Source: RHEL 4 `drivers/scsi/scsi_dump.c` (2.6.9-89.29.1.EL) by formats.md 1.15.  Deliberate differences:
READ(16)/WRITE(16) where 32 bits of LBA do not reach; a target without the caching page is used as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from ddsdk.errors import UsageError
from ddsdk.hookspecs.device import BoundHooks

from ..block.dump_device import PARTITION_SECTOR as PARTITION_SECTOR
from ..block.dump_device import Limits, PolledDumpDevice
from ..block.dump_queue import NS_PER_S, RETRIES_ALLOWED, SCMND_TIMEOUT_NS
from . import cdb
from .cmnd import DMA_FROM_DEVICE, DMA_NONE, DMA_TO_DEVICE, ScatterList
from .dump_io import DumpIo
from .dump_queue import ScsiQueue
from .host import SCSI_2
from .sense import ILLEGAL_REQUEST, SenseData

if TYPE_CHECKING:
    from ddsdk.integrity import CodeImage
    from ddsdk.sim.locks import SpinLock

    from .host import ScsiDevice

SECTORS_MAX: Final = 0xFFFF         # of one command
_WCE: Final = 0x04
_PS: Final = 0x80


class ScsiDumpDevice(PolledDumpDevice[DumpIo]):
    """One partition of one SCSI disk.  *set_wce* False: the write cache is left as it is."""

    LOCK = "host_lock"
    RESET = "host reset"

    def __init__(self, sdev: ScsiDevice, hooks: BoundHooks, start_sector: int, nr_sectors: int,
                 page_size: int, image: CodeImage, queue_depth: int = 1, *, name: str = "",
                 set_wce: bool = True) -> None:
        self.sdev = sdev
        self.set_wce = set_wce
        super().__init__(sdev, sdev.host.kernel, hooks, start_sector, nr_sectors, page_size, image, queue_depth, name)
        self._wide = sdev.use_16_for_rw or self._end_sector > 1 << 32
        if self._wide and sdev.host.max_cmd_len < 16:
            raise UsageError(f"{self.name}: sectors up to {self._end_sector} need 16-byte commands,"
                             f" {sdev.host.hostt.proc_name} sends at most {sdev.host.max_cmd_len}; use one below 2 TiB")

    def _limits(self) -> Limits:
        host = self.sdev.host
        limits = Limits(host.hostt.proc_name, host.max_sectors, SECTORS_MAX, host.sg_tablesize, host.can_queue)
        return limits if host.pdev is None else evolve(limits, dma_mask=host.pdev.dma_mask)

    def _make_queue(self) -> ScsiQueue:
        return ScsiQueue(self.sdev, self.hooks.plugin, (self._scratch_paddr, self._scratch))

    def _new_io(self) -> DumpIo:
        io = DumpIo.on(self.sdev, RETRIES_ALLOWED)
        io.command.timeout_per_command = SCMND_TIMEOUT_NS // NS_PER_S * self._kernel.HZ
        return io

    @property
    def lock(self) -> SpinLock:
        """See `PolledDumpDevice.lock`."""
        return self.sdev.host.host_lock

    def _unusable(self) -> str:
        if not self.sdev.online:
            return "the device is offline"
        return "the medium was changed since the device was registered" if self.sdev.changed else ""

    # --- taking over ---------------------------------------------------------------------------------------

    def _send(self, command: bytes, direction: int = DMA_NONE, nbytes: int = 0) -> int:
        sg = ((self._scratch_paddr, nbytes),) if nbytes else ()
        error = self._queue.run(self._control.control(command, direction, sg, nbytes))
        if error:
            self.why = self._control.why
        return error

    def _take_over(self) -> int:
        """REQUEST SENSE, then the caching page."""
        error = self._request_sense()
        if not error and self.set_wce and self.sdev.scsi_level >= SCSI_2:
            self._enable_write_cache()
        return error

    def _request_sense(self) -> int:
        return self._send(cdb.request_sense(), DMA_FROM_DEVICE, cdb.SENSE_BYTES)

    def _enable_write_cache(self) -> None:
        """MODE SENSE and MODE SELECT of the caching page.  Failures are warnings: it works without a
        cache.
        """
        self._scratch[:cdb.MODE_ALLOCATION] = bytes(cdb.MODE_ALLOCATION)
        if self._send(cdb.mode_sense_6(), DMA_FROM_DEVICE, cdb.MODE_ALLOCATION):
            self._warn("the write cache stays as it is")
            return
        data = bytearray(self._scratch[:cdb.MODE_ALLOCATION])
        try:
            page = cdb.caching_page_at(data)
        except cdb.NoCachingPage as error:
            self.warnings.append(f"the write cache stays as it is: {error}")
            return
        if data[page + 2] & _WCE:
            return
        length = min(data[0] + 1, cdb.MODE_ALLOCATION)
        data[0:3] = bytes(3)
        data[page] &= ~_PS & 0xFF
        data[page + 2] |= _WCE
        self._scratch[:length] = data[:length]
        if self._send(cdb.mode_select_6(length), DMA_TO_DEVICE, length):
            self._warn("the write cache stays off")

    def _warn(self, consequence: str) -> None:
        """Note why the last command failed, and clear the target's sense data."""
        self.warnings.append(f"{self.why}; {consequence}")
        self._request_sense()

    # --- the dump ------------------------------------------------------------------------------------------

    def _fill(self, io: DumpIo, write: bool, sector: int, sectors: int, nbytes: int, sg: ScatterList) -> None:
        scmd = io.command
        if self._wide:
            opcode = cdb.WRITE_16 if write else cdb.READ_16
            cdb.RW_16.pack_into(scmd.cmnd, 0, opcode, 0, sector, sectors, 0, 0)
            scmd.cmd_len = 16
        else:
            opcode = cdb.WRITE_10 if write else cdb.READ_10
            cdb.RW_10.pack_into(scmd.cmnd, 0, opcode, 0, sector, 0, sectors, 0)
            scmd.cmd_len = 10
        scmd.sc_data_direction = DMA_TO_DEVICE if write else DMA_FROM_DEVICE
        scmd.request_bufflen = scmd.underflow = nbytes
        scmd.sg = sg
        scmd.retries = 0

    def flush(self) -> int:
        """SYNCHRONIZE CACHE (SCSI-2 and later): what was written survives a power cut when this returns 0."""
        return self._synchronize() if self.sdev.scsi_level >= SCSI_2 else 0

    def _synchronize(self) -> int:
        """A target without SYNCHRONIZE CACHE (05/20/00) has no cache to lose."""
        error = self._send(cdb.synchronize_cache())
        sense = SenseData.parse(self._control.command.sense_buffer) if error else None
        if sense is not None and (sense.key, sense.asc) == (ILLEGAL_REQUEST, 0x20):
            self.why = ""
            return 0
        return error
