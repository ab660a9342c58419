"""What a kernel's log is made of."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from ddsdk.abi import Abi

from .kernelinfo import KernelInfo


@frozen
class Record:
    """One call of printk, with what was added to it.

    `ts_nsec` is nanoseconds since boot, `level` 0 (emergency) to 7 (debug), `caller_id` a thread or (bit 31) a CPU;
    None where the log does not say.
    """

    text: bytes
    ts_nsec: int | None = None
    level: int | None = None
    caller_id: int | None = None


@frozen
class Log:
    """`records`, oldest first; `skipped` counts those that were being written, or are damaged.

    `warnings`: a line each about what could not be read.
    """

    generation: str
    records: tuple[Record, ...]
    skipped: int = 0
    warnings: tuple[str, ...] = ()


class KernelReader(Protocol):
    """Reads the kernel's variables; None for what cannot be read."""

    @property
    def abi(self) -> Abi:
        """The crashed machine."""

    @property
    def info(self) -> KernelInfo:
        """VMCOREINFO."""

    def bytes_at(self, vaddr: int, length: int) -> bytes | None:
        """The *length* bytes at *vaddr*."""

    def integer(self, vaddr: int, nbytes: int) -> int | None:
        """An unsigned integer at *vaddr*."""

    def pointer(self, vaddr: int) -> int | None:
        """An unsigned long at *vaddr*."""
