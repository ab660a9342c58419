"""Finding the disks behind a host, in normal mode: INQUIRY, TEST UNIT READY, READ CAPACITY.

Source: `drivers/scsi/scsi_scan.c`, `drivers/scsi/sd.c` (2.6.9).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from . import cdb
from .cmnd import DMA_FROM_DEVICE
from .disposition import Disposition
from .host import TYPE_DISK, ScsiDevice
from .midlayer import ScsiRequest

if TYPE_CHECKING:
    from .host import ScsiHost

_REPLY_BYTES: Final = 256
#: READ CAPACITY(10) answered "more than that": ask READ CAPACITY(16).
_TOO_LARGE: Final = 1 << 32


def scan_host(host: ScsiHost, only: Collection[tuple[int, int]] | None = None) -> list[ScsiDevice]:
    """Every disk that answers on *host*, by channel, id and LUN: `scsi_scan_host()`.

    The driver's own id is skipped; LUNs are tried upwards from 0 until one is not there.  A disk that cannot
    be read yet is in the list, with `online` False and `nr_sectors` 0.  *only*: (channel, id) of those to ask.
    """
    found: list[ScsiDevice] = []
    memory = host.kernel.machine.memory
    paddr = memory.reserve.alloc(_REPLY_BYTES, _REPLY_BYTES)
    reply = memory.view(paddr, _REPLY_BYTES)
    try:
        for channel in range(host.max_channel + 1):
            for target in range(host.max_id):
                if target == host.this_id or (only is not None and (channel, target) not in only):
                    continue
                for lun in range(host.max_lun):
                    sdev = ScsiDevice(host, channel, target, lun)
                    if not _Probe(sdev, paddr, reply).inquiry():
                        break
                    if sdev.type == TYPE_DISK:
                        found.append(sdev)
    finally:
        memory.reserve.free(paddr)
    for sdev in found:
        host.kernel.printk(f"{sdev.name}: {sdev.vendor} {sdev.model} {sdev.rev}, {sdev.nr_sectors} sectors of"
                           f" {sdev.sector_size} bytes")
    return found


class _Probe:
    """The commands that tell what one device is."""

    def __init__(self, sdev: ScsiDevice, paddr: int, reply: memoryview) -> None:
        self.sdev = sdev
        self.request = ScsiRequest(sdev)
        self._paddr = paddr
        self._reply = reply

    def _ask(self, command: bytes, nbytes: int) -> bytes | None:
        self._reply[:] = bytes(_REPLY_BYTES)
        outcome = self.request.execute(command, DMA_FROM_DEVICE, ((self._paddr, nbytes),), nbytes)
        if outcome.disposition is not Disposition.SUCCESS:
            return None
        return bytes(self._reply[:nbytes])

    def inquiry(self) -> bool:
        """Fill in who the device is, and for a disk how large; False when nobody is there."""
        data = self._ask(cdb.inquiry(), cdb.INQUIRY_BYTES)
        if data is None:
            return False
        answer = cdb.InquiryData.parse(data)
        if not answer.present:
            return False
        sdev = self.sdev
        sdev.type, sdev.scsi_level, sdev.tagged_supported = answer.type, answer.scsi_level, answer.tagged
        sdev.vendor, sdev.model, sdev.rev = answer.vendor, answer.model, answer.rev
        if answer.type == TYPE_DISK:
            sdev.online = self._ready() and self._capacity()
        return True

    def _ready(self) -> bool:
        """TEST UNIT READY; the unit attention of the last reset is among its retries."""
        return self.request.execute(cdb.test_unit_ready()).disposition is Disposition.SUCCESS

    def _capacity(self) -> bool:
        data, parse = self._ask(cdb.read_capacity_10(), 8), cdb.parse_capacity_10
        if data is not None and parse(data)[0] == _TOO_LARGE:
            data, parse = self._ask(cdb.read_capacity_16(), 32), cdb.parse_capacity_16
            self.sdev.use_16_for_rw = True
        if data is None:
            return False
        self.sdev.nr_sectors, self.sdev.sector_size = parse(data)
        return self.sdev.sector_size in (512, 1024, 2048, 4096)
