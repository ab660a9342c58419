"""The kernel's own log out of a crashed machine's memory, without debug information.

Three generations, told apart by the keys VMCOREINFO has: the lockless ring of 5.10 and later (klog_ring.py), the
records of 3.5 to 5.9, the flat buffer before them (klog_records.py).  A pointer that leads nowhere gives what could
be read, and one line about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen

from ddsdk.abi import Abi
from ddsdk.errors import FormatError

from .kernelinfo import KernelInfo
from .klog_records import flat_text, record_buffer
from .klog_ring import ring_records
from .klog_types import Log, Record
from .pagetable import AddressSpace, Memory, kernel_space, read

#: Columns of `caller`: T and a thread's number, C and a CPU's; as wide as makedumpfile 1.7.9 has it.
_CALLER_WIDTH = 8
_CPU_CALLER = 1 << 31
_BLANKS = frozenset(range(9, 14))       # isspace()


@frozen
class Reader:
    """Reads the kernel's variables; what it was not able to read is None."""

    memory: Memory
    info: KernelInfo
    space: AddressSpace

    @property
    def abi(self) -> Abi:
        """The crashed machine."""
        return self.memory.abi

    def bytes_at(self, vaddr: int, length: int) -> bytes | None:
        """The *length* bytes at *vaddr*."""
        return read(self.memory, self.space, vaddr, length)

    def integer(self, vaddr: int, nbytes: int) -> int | None:
        """An unsigned integer at *vaddr*."""
        raw = self.bytes_at(vaddr, nbytes)
        return None if raw is None else int.from_bytes(raw, self.abi.byteorder)

    def pointer(self, vaddr: int) -> int | None:
        """An unsigned long at *vaddr*."""
        return self.integer(vaddr, self.abi.word_bytes)


def kernel_log(memory: Memory) -> Log:
    """The log in *memory*; FormatError, one line, when there is no way to it."""
    info = KernelInfo.of(memory.vmcoreinfo)
    reader = Reader(memory, info, kernel_space(memory))
    generations: tuple[tuple[str, Callable[[Reader], Log]], ...] = (
        ("prb", ring_records), ("log_first_idx", record_buffer), ("log_buf", flat_text))
    for symbol, generation in generations:
        if info.symbol(symbol) is not None:
            return generation(reader)
    raise FormatError("VMCOREINFO names no log: none of SYMBOL(prb), SYMBOL(log_first_idx), SYMBOL(log_buf)")


def log_lines(log: Log, *, levels: bool = False, callers: bool = False) -> Iterator[str]:
    """The log as `dmesg` shows it, a line each: `[    0.000000] text`.

    With *levels*, `<6>` before it; with *callers*, the thread or CPU after the time.
    """
    for record in log.records:
        yield from record_lines(record, levels, callers)


def record_lines(record: Record, levels: bool = False, callers: bool = False) -> Iterator[str]:
    """One record; lines after the first are indented to stand below it."""
    level = f"<{record.level}>" if levels and record.level is not None else ""
    head = ""
    if record.ts_nsec is not None:
        head = f"[{record.ts_nsec // 1_000_000_000:5}.{record.ts_nsec % 1_000_000_000 // 1000:06}] "
    if callers and record.caller_id is not None:
        kind = "C" if record.caller_id & _CPU_CALLER else "T"
        head += f"[{f'{kind}{record.caller_id & (_CPU_CALLER - 1)}':>{_CALLER_WIDTH}}] "
    first, *others = printable(record.text).split("\n")
    yield level + head + first
    for line in others:
        yield " " * len(level + head) + line


def printable(text: bytes) -> str:
    r"""*text* with what is no printable ASCII as `\xNN`, as dmesg does."""
    return "".join(chr(byte) if 32 <= byte < 127 or byte in _BLANKS else f"\\x{byte:02x}" for byte in text)

