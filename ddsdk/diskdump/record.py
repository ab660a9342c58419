"""What the formatter did to a device, written into its user parameter block.

Block 2 of a formatted partition holds the formatter's own options until a dump overwrites it with the sub
header (formats.md 1.2; the layout inside the original's block 2 is unknown, this one is ours).  The first 64
bytes of the block are a FormatRecord, the rest stays the block's signature.  Our dump carries the record over
into the sub header as a note (notes.py), so that savecore still knows it when the dump comes off the device.

A sparse format (white paper 6.2) signs the first `EDGE_BLOCKS`, every `stride`-th block, and the last
`EDGE_BLOCKS`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import attrs
import numpy as np

from ddsdk.abi import WIRE_LE, Abi, abi_named, with_page_size
from ddsdk.errors import UsageError
from ddsdk.layout import CStruct, c_struct, char, u32, u64

from .signature import Buffer, SignatureKind
from .stream import pieces

if TYPE_CHECKING:
    from .signature import Mask

RECORD_BYTES = 64
RECORD_MAGIC = b"DDFORMAT"
RECORD_VERSION = 1
#: Signed at both ends whatever the stride: a whole chunk of the largest block order.
EDGE_BLOCKS = 256
MAX_STRIDE = 1 << 20

_KIND_NUMBERS: Final = {SignatureKind.DESIGN: 1, SignatureKind.SHIPPED: 2}


@c_struct
class FormatRecordWire(CStruct):
    """The record on disk; little endian on every machine, so that it can be read before the machine is known."""

    magic: bytes = char(8, default=RECORD_MAGIC)
    version: int = u32(default=RECORD_VERSION)
    kind: int = u32()               # 1 design, 2 shipped
    device_blocks: int = u64()
    stride: int = u32()             # 1: every block is signed
    page_size: int = u32()          # bytes
    edge_blocks: int = u32()
    flags: int = u32()              # none defined
    abi: bytes = char(16)
    reserved: int = u32()
    crc: int = u32()                # CRC-32/ISO-HDLC of the 60 bytes before


@attrs.frozen
class FormatRecord:
    """One format: which blocks of a partition of `device_blocks` carry a signature, and of what kind."""

    kind: SignatureKind
    abi: Abi
    device_blocks: int
    stride: int = 1
    edge_blocks: int = EDGE_BLOCKS

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.stride <= MAX_STRIDE:
            raise UsageError(f"stride {self.stride}: it must be 1 (every block is signed) to {MAX_STRIDE}")

    @property
    def sparse(self) -> bool:
        """True when there are blocks without a signature."""
        return self.stride > 1

    def signed(self, first_block: int, count: int) -> Mask:
        """For each of the blocks *first_block*, ...: does this format sign it?"""
        if not self.sparse:
            return np.ones(count, np.bool_)
        numbers = np.arange(first_block, first_block + count, dtype=np.int64)
        mask: Mask = ((numbers % self.stride == 0) | (numbers < self.edge_blocks)
                      | (numbers >= self.device_blocks - self.edge_blocks))
        return mask

    def signed_runs(self, first_block: int, end_block: int, most: int) -> Iterator[tuple[int, int]]:
        """The signed blocks of [first_block, end_block) as runs (start, length) of at most *most* blocks."""
        head = min(self.edge_blocks, end_block)
        tail = max(head, self.device_blocks - self.edge_blocks)
        dense = ((first_block, end_block),) if not self.sparse else ((first_block, head),)
        for low, high in dense:
            yield from pieces(low, high, most)
        if not self.sparse:
            return
        start = max(first_block, head)
        for block in range(start + -start % self.stride, min(tail, end_block), self.stride):
            yield block, 1
        yield from pieces(max(first_block, tail), end_block, most)

    def pack(self) -> bytes:
        """The 64 bytes for the user parameter block."""
        wire = FormatRecordWire(kind=_KIND_NUMBERS[self.kind], device_blocks=self.device_blocks, stride=self.stride,
                                page_size=self.abi.page_size, edge_blocks=self.edge_blocks,
                                abi=self.abi.name.encode())
        body = FormatRecordWire.on(WIRE_LE).pack(wire)[:-4]
        return body + zlib.crc32(body).to_bytes(4, "little")

    @classmethod
    def parse(cls, block: Buffer) -> FormatRecord | None:
        """The record at the start of *block*, or None: no record, a newer version, or one that is damaged."""
        data = bytes(memoryview(block)[:RECORD_BYTES])
        if len(data) < RECORD_BYTES or not data.startswith(RECORD_MAGIC):
            return None
        wire = FormatRecordWire.on(WIRE_LE).unpack(data)
        kind = next((kind for kind, number in _KIND_NUMBERS.items() if number == wire.kind), None)
        if wire.version != RECORD_VERSION or wire.crc != zlib.crc32(data[:-4]) or kind is None:
            return None
        try:
            abi = abi_with_page_size(abi_named(wire.abi.decode("ascii", "replace")), wire.page_size)
            return cls(kind, abi, wire.device_blocks, wire.stride, wire.edge_blocks)
        except UsageError:
            return None


def abi_with_page_size(abi: Abi, page_size: int) -> Abi:
    """*abi* with another page size (ia64 and ppc64 kernels are built with several); UsageError when it is none."""
    if page_size == abi.page_size:
        return abi
    if page_size not in (4096, 8192, 16384, 65536):
        raise UsageError(f"page size {page_size}: it must be 4096, 8192, 16384 or 65536 bytes")
    return with_page_size(abi.name, page_size)
