"""Pages as records on their way to a device: packed into a buffer, written in whole blocks.

The stream of formats.md 1.7 (RHEL 4 `drivers/block/diskdump.c`, 2.6.9-89.29.1.EL).  Deliberate difference: records
carry no page flags.
"""

from __future__ import annotations

import struct

from attrs import define, field

from ddsdk.errors import errno_name
from ddsdk.vmcore.codecs import Compress

from ..abi import Abi
from .device import DumpDevice
from .saved import RECORD_HEAD_BYTES, RecordFlag, record_head
from .writer import AttemptFailed, Stage, because

#: What fills the last block of a stream up (formats.md 1.7).
FILLER = b"m"


def io_failed(device: DumpDevice, block: int, error: int) -> AttemptFailed:
    """A write of data that ends an attempt."""
    return AttemptFailed(Stage.MEMORY, f"I/O error {errno_name(error)} on block {block}: {because(device, error)}")


@define
class RecordStream:
    """Records from block *start* of *device* on, at most *room* blocks; `blocks` of them are on the device.

    *buffer*, whole blocks at physical address *paddr*, is the stream's own.
    """

    abi: Abi
    device: DumpDevice
    start: int
    room: int
    compress: Compress
    buffer: memoryview
    paddr: int
    blocks: int = field(init=False, default=0)
    _page: int = field(init=False)
    _head: struct.Struct = field(init=False)
    _fill: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._page = self.abi.page_size
        self._head = record_head(self.abi)

    def add(self, page: memoryview) -> bool:
        """A record of *page*; False when it does not fit the partition any more.  AttemptFailed: a write failed."""
        data: bytes | memoryview = self.compress(page)
        flag = RecordFlag.COMPRESSED
        if len(data) >= self._page:
            data, flag = page, RecordFlag(0)
        size = RECORD_HEAD_BYTES + len(data)
        if self.blocks * self._page + self._fill + size > self.room * self._page:
            return False
        if self._fill + size > len(self.buffer):
            self.flush()
        self._head.pack_into(self.buffer, self._fill, 0, len(data), flag)
        self.buffer[self._fill + RECORD_HEAD_BYTES:self._fill + size] = data
        self._fill += size
        return True

    def flush(self) -> None:
        """Write the whole blocks; what is left moves to the front."""
        whole = self._fill // self._page
        most = max(1, self.device.max_blocks)
        for at in range(0, whole, most):
            count, block = min(most, whole - at), self.start + self.blocks
            error = self.device.rw_block(True, block, ((self.paddr + at * self._page, count * self._page),))
            if error:
                raise io_failed(self.device, block, error)
            self.blocks += count
        rest = self._fill - whole * self._page
        self.buffer[:rest] = bytes(self.buffer[whole * self._page:self._fill])
        self._fill = rest

    def end(self) -> None:
        """The last block, filled up."""
        if not self._fill:
            return
        end = -(-self._fill // self._page) * self._page
        self.buffer[self._fill:end] = FILLER * (end - self._fill)
        self._fill = end
        self.flush()
