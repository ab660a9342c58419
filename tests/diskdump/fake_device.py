"""A dump device whose medium is a bytearray and whose every answer a test can choose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import define, field, frozen

from ddsdk.abi import X86_64, Abi
from ddsdk.diskdump.device import Chunk, Scratch, Segment
from ddsdk.diskdump.signature import SignatureKind, signature_blocks

SCRATCH_PADDR = 0x4000_0000


@frozen
class Run:
    """Page frames."""

    start_pfn: int
    npages: int


@define
class FakeMemory:
    """Pages `pfn -> one repeated byte`, in the given runs."""

    runs: tuple[Run, ...]
    abi: Abi = X86_64
    vmcoreinfo: bytes | None = b"OSRELEASE=6.1.0-test\n"
    release: str = "6.1.0-test"
    nodename: str = "testhost"
    released: list[tuple[int, int]] = field(factory=list)
    scratch: Scratch = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.scratch = Scratch(SCRATCH_PADDR, memoryview(bytearray(64 * self.abi.page_size)))

    @property
    def max_pfn(self) -> int:
        return max(run.start_pfn + run.npages for run in self.runs)

    @property
    def total_pages(self) -> int:
        return sum(run.npages for run in self.runs)

    def release_range(self, paddr: int, length: int) -> None:
        self.released.append((paddr, length))

    def view(self, paddr: int, length: int) -> memoryview:
        return memoryview(self.read(paddr, length))

    def page(self, pfn: int) -> bytes:
        return bytes([pfn % 251 + 1]) * self.abi.page_size

    def read(self, paddr: int, length: int) -> bytes:
        if paddr >= SCRATCH_PADDR:
            return bytes(self.scratch.view[paddr - SCRATCH_PADDR:paddr - SCRATCH_PADDR + length])
        page = self.abi.page_size
        return b"".join(self.page(pfn) for pfn in range(paddr // page, (paddr + length) // page))


@define
class FakeDevice:
    """Formatted at birth.  `fail(write, block)` chooses an error number for an I/O, 0 for success."""

    memory: FakeMemory
    blocks: int
    name: str = "fake0"
    max_blocks: int = 256
    why: str = ""
    sane: int = 0
    quiesce_error: int = 0
    shutdown_error: int = 0
    flush_error: int = 0
    kind: SignatureKind = SignatureKind.DESIGN
    fail: Callable[[bool, int], int] = lambda write, block: 0
    calls: list[str] = field(factory=list)
    medium: bytearray = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.medium = bytearray(signature_blocks(self.kind, self.memory.abi, 0, self.blocks))

    def sanity_check(self) -> int:
        self.calls.append("sanity_check")
        return self.sane

    def quiesce(self) -> int:
        self.calls.append("quiesce")
        return self.quiesce_error

    def flush(self) -> int:
        self.calls.append("flush")
        return self.flush_error

    def shutdown(self) -> int:
        self.calls.append("shutdown")
        return self.shutdown_error

    def rw_block(self, write: bool, block: int, sg: Sequence[Segment]) -> int:
        error = self.fail(write, block)
        if error:
            return error
        at = block * self.memory.abi.page_size
        for paddr, length in sg:
            assert at + length <= len(self.medium)
            if write:
                self.medium[at:at + length] = self.memory.read(paddr, length)
            else:
                offset = paddr - SCRATCH_PADDR
                self.memory.scratch.view[offset:offset + length] = self.medium[at:at + length]
            at += length
        if write:
            self.calls.append(f"write {block}+{sum(length for _, length in sg) // self.memory.abi.page_size}")
        return 0

    def stream(self, write: bool, chunks: Iterable[Chunk]) -> Iterator[tuple[int, int, int]]:
        for block, sg in chunks:
            error = self.rw_block(write, block, sg)
            yield block, sum(length for _, length in sg) // self.memory.abi.page_size, error
            if error:
                return


@define
class CachedDevice(FakeDevice):
    """Writes are in `volatile` until `flush`, when a subclass makes them durable; `look` is called after each."""

    volatile: dict[int, bytes] = field(factory=dict)
    look: Callable[[], None] = lambda: None

    def rw_block(self, write: bool, block: int, sg: Sequence[Segment]) -> int:
        error = super().rw_block(write, block, sg)
        if write:
            for at in range(block, block + sum(length for _, length in sg) // 4096):
                self.volatile[at] = bytes(self.medium[at * 4096:(at + 1) * 4096])
            self.look()
        return error

    def flush(self) -> int:
        self.volatile.clear()
        return super().flush()
