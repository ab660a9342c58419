"""Swap areas made by hand, byte by byte, and a device that has one."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

from attrs import define, field

from ddsdk.abi import X86_64, Abi
from ddsdk.diskdump.device import Segment
from ddsdk.diskdump.engine import DiskDump, DumpConfig, DumpReport
from ddsdk.diskdump.swapheader import SwapHeader, parse_swap_header
from ddsdk.integrity import CodeImage
from tests.diskdump.fake_device import SCRATCH_PADDR, FakeDevice, FakeMemory
from tests.diskdump.partials import facts

UUID = bytes(range(16))
UUID_TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def swap_page(pages: int, *, size: int = 4096, order: str = "<", bad: Sequence[int] = (), label: bytes = b"pages",
              version: int = 1, magic: bytes = b"SWAPSPACE2", count: int | None = None) -> bytearray:
    """The header's page of an area of *pages* pages, as mkswap writes it."""
    page = bytearray(size)
    count = len(bad) if count is None else count
    struct.pack_into(f"{order}III16s16s", page, 1024, version, pages - 1, count, UUID, label)
    struct.pack_into(f"{order}{len(bad)}I", page, 1536, *bad)
    page[size - 10:size - 10 + len(magic)] = magic
    return page


def data_page(number: int, size: int = 4096) -> bytes:
    """By number modulo 4: zeros, one byte over and over, noise, zeros but for the last byte."""
    return (bytes(size), bytes([number % 255 + 1]) * size, random.Random(number).randbytes(size),
            bytes(size - 1) + b"\1")[number % 4]


def swap_area(pages: int, *, size: int = 4096, **header: object) -> bytearray:
    """A whole area."""
    return swap_page(pages, size=size, **header) + b"".join(          # type: ignore[arg-type]
        data_page(number, size) for number in range(1, pages))


@define
class FakeSwap:
    """A swap area behind a driver.  `fail(page)` chooses an error number for reading it, 0 for success."""

    memory: FakeMemory
    medium: bytearray
    name: str = "swap0"
    max_blocks: int = 8
    why: str = ""
    taken: int = 0
    fail: Callable[[int], int] = lambda page: 0
    calls: list[str] = field(factory=list)

    @property
    def blocks(self) -> int:
        return len(self.medium) // self.memory.abi.page_size

    def take_up(self, beside: object, risky: bool = True) -> int:
        self.calls.append(f"take_up beside {beside.name}{'' if risky else ', strict'}")      # type: ignore[attr-defined]
        return self.taken

    def let_go(self) -> int:
        self.calls.append("let_go")
        return 0

    def rw_block(self, write: bool, block: int, sg: Sequence[Segment]) -> int:
        assert not write
        page = self.memory.abi.page_size
        count = sum(length for _, length in sg) // page
        self.calls.append(f"read {block}+{count}")
        for at in range(block, block + count):
            if error := self.fail(at):
                return error
        at = block * page
        for paddr, length in sg:
            assert at + length <= len(self.medium)
            offset = paddr - SCRATCH_PADDR
            self.memory.scratch.view[offset:offset + length] = self.medium[at:at + length]
            at += length
        return 0

    @property
    def header(self) -> SwapHeader:
        """What registration reads."""
        return parse_swap_header(bytes(self.medium[:self.memory.abi.page_size]), self.blocks, self.name)


def dump_with_swap(memory: FakeMemory, device: FakeDevice, *areas: FakeSwap, level: int = 0, codec: str = "none",
                   **config: bool) -> DumpReport:
    """One dump to *device* with *areas*."""
    service = DiskDump(memory, memory.scratch, CodeImage.take([]), DumpConfig(dump_level=level, codec=codec, **config))
    service.register(device)
    for area in areas:
        service.register_swap(area, area.header)
    return service.dump(facts(memory.abi))


def order_of(abi: Abi = X86_64) -> str:
    """struct's letter for the machine's byte order."""
    return "<" if abi.byteorder == "little" else ">"
