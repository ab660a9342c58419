"""Partial and compressed dumps through the engine onto a fake device, and the device as a file."""

from __future__ import annotations

import random
from pathlib import Path

from attrs import define, field

from ddsdk.abi import X86_64, Abi
from ddsdk.diskdump.engine import DiskDump, DumpConfig, DumpReport
from ddsdk.diskdump.plan import CrashFacts
from ddsdk.diskdump.target import DumpTarget
from ddsdk.integrity import CodeImage
from ddsdk.vmcore.notes import CpuNote
from tests.diskdump.fake_device import FakeDevice, FakeMemory, Run

RUNS = (Run(1, 5), Run(16, 9))


@define
class MixedMemory(FakeMemory):
    """Pages of three kinds by `pfn % 3`: zeros, one repeated byte, noise that no codec shrinks."""

    zeros: bool = True
    asked: list[int] = field(factory=list)

    def page(self, pfn: int) -> bytes:
        if pfn % 3 == 0 and self.zeros:
            return bytes(self.abi.page_size)
        if pfn % 3 == 2:
            return random.Random(pfn).randbytes(self.abi.page_size)
        return bytes([pfn % 251 + 1]) * self.abi.page_size


def frames(memory: FakeMemory) -> list[int]:
    """RAM, ascending."""
    return [pfn for run in memory.runs for pfn in range(run.start_pfn, run.start_pfn + run.npages)]


def kept_frames(memory: FakeMemory, level: int, codec: str) -> list[int]:
    """What a dump of MixedMemory has: with a codec zero pages stay."""
    return [pfn for pfn in frames(memory) if pfn % 3 or codec != "none" or not level & 1]


def facts(abi: Abi = X86_64) -> CrashFacts:
    """One CPU with recognisable registers, a fixed time."""
    regs = b"".join(n.to_bytes(abi.word_bytes, abi.byteorder) for n in range(1, len(abi.gregs) + 1))
    return CrashFacts(1_100_000_000, 123_456_789, 0, (CpuNote(0, regs),))


def dump(memory: FakeMemory, device: FakeDevice, level: int = 0, codec: str = "none", **config: int) -> DumpReport:
    """One dump to *device*."""
    service = DiskDump(memory, memory.scratch, CodeImage.take([]), DumpConfig(dump_level=level, codec=codec, **config))
    service.register(device)
    return service.dump(facts(memory.abi))


def as_target(device: FakeDevice, path: Path) -> DumpTarget:
    """The device's medium as a partition."""
    path.write_bytes(device.medium)
    return DumpTarget(str(path))
