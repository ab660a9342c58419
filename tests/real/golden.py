"""Register-level exchanges with an adapter nobody here wrote: the steps, and who carries them out.

plugins/NAME/tests/exchanges.py says what its host does, `record_golden.py` does it with QEMU and writes down what it
answered (plugins/NAME/golden/), the plugin's tests replay that on its own model.  Steps:

    ["config", offset, value]           write configuration space
    ["out", register, value]            write a register
    ["in", register, value]             read a register
    ["poll", register, mask, value]     read until (register & mask) == value
    ["outs", register, words, seed]     write 16-bit words of a pattern to one register
    ["ins", register, words, crc]       read 16-bit words from one register; their zlib.crc32
    ["put", address, bytes]             the host stores bytes in memory
    ["fill", address, length, seed]     the host stores a pattern: byte i is (i * 31 + i // 256 + seed) % 256
    ["get", address, bytes]             the host reads memory
    ["sum", address, length, crc]       the same by zlib.crc32

Numbers are hexadecimal; a register is its offset in the usual BAR, or "BAR+OFFSET", and its width that of its value.  A
step that ends in a label is one where a model may differ.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import frozen

from ddsdk.bus import PciFunction
from ddsdk.qemu.machine import AdapterSpec
from ddsdk.sim.memory import PhysicalMemory

POLL_LIMIT_S = 10.0

Step = list[str | int]
#: An offset in the usual BAR, or (BAR, offset).
Register = int | tuple[int, int]


class Host(Protocol):
    """Who carries the steps out."""

    def config(self, offset: int, value: int) -> None:
        """A "config" step, of 16 bits."""

    def write(self, register: Register, value: int, size: int = 0) -> None:
        """An "out" step; *size* in bytes, 0 for the usual."""

    def read(self, register: Register, label: str = "", size: int = 0) -> int:
        """An "in" step; *label* names it where a model may differ."""

    def poll(self, register: Register, mask: int, wanted: int, label: str = "") -> None:
        """A "poll" step."""

    def write_words(self, register: Register, words: int, seed: int) -> None:
        """An "outs" step."""

    def read_words(self, register: Register, words: int, label: str = "") -> None:
        """An "ins" step."""

    def put(self, address: int, data: bytes) -> None:
        """A "put" step."""

    def fill(self, address: int, length: int, seed: int) -> None:
        """A "fill" step."""

    def get(self, address: int, length: int, label: str = "") -> None:
        """A "get" step."""

    def sum(self, address: int, length: int, label: str = "") -> None:
        """A "sum" step."""


#: (exchanges that come first, what happens); its docstring says what it is about.
Exchange = tuple[Sequence[str], Callable[[Host], None]]


@frozen
class Recording:
    """What to record: the adapter, its usual BAR and register size, PCI COMMAND, its one disk, the exchanges."""

    adapter: AdapterSpec
    bar: int
    size: int
    command: int
    disk_bytes: int
    exchanges: Mapping[str, Exchange]
    ram_bytes: int = 16 << 20


def pattern(length: int, seed: int) -> bytes:
    """The bytes of a "fill" step."""
    return bytes((i * 31 + i // 256 + seed) % 256 for i in range(length))


class Recorder:
    """Carries out steps on the emulated adapter and writes down what it answered."""

    def __init__(self, function: PciFunction, memory: PhysicalMemory, bar: int, size: int) -> None:
        self._function = function
        self._memory = memory
        self._bar = bar
        self._size = size
        self.steps: list[Step] = []

    def config(self, offset: int, value: int) -> None:
        """A "config" step."""
        self._function.config_write(offset, 2, value)
        self.steps.append(["config", f"{offset:02x}", f"{value:04x}"])

    def write(self, register: Register, value: int, size: int = 0) -> None:
        """An "out" step."""
        size = size or self._size
        bar, offset, name = self._place(register)
        self._function.window(bar).write(offset, size, value)
        self.steps.append(["out", name, f"{value:0{2 * size}x}"])

    def read(self, register: Register, label: str = "", size: int = 0) -> int:
        """An "in" step."""
        size = size or self._size
        bar, offset, name = self._place(register)
        value = self._function.window(bar).read(offset, size)
        self._note(["in", name, f"{value:0{2 * size}x}"], label)
        return value

    def poll(self, register: Register, mask: int, wanted: int, label: str = "") -> None:
        """A "poll" step; SystemExit when QEMU never gives the value."""
        bar, offset, name = self._place(register)
        window, end = self._function.window(bar), time.monotonic() + POLL_LIMIT_S
        while (value := window.read(offset, self._size)) & mask != wanted:
            if time.monotonic() > end:
                sys.exit(f"register {name} stayed {value:#x}; mask {mask:#x} never gave {wanted:#x}")
        digits = 2 * self._size
        self._note(["poll", name, f"{mask:0{digits}x}", f"{wanted:0{digits}x}"], label)

    def write_words(self, register: Register, words: int, seed: int) -> None:
        """An "outs" step."""
        bar, offset, name = self._place(register)
        window, data = self._function.window(bar), pattern(2 * words, seed)
        for at in range(0, len(data), 2):
            window.write(offset, 2, int.from_bytes(data[at:at + 2], "little"))
        self.steps.append(["outs", name, words, seed])

    def read_words(self, register: Register, words: int, label: str = "") -> None:
        """An "ins" step."""
        bar, offset, name = self._place(register)
        window = self._function.window(bar)
        data = b"".join(window.read(offset, 2).to_bytes(2, "little") for _ in range(words))
        self._note(["ins", name, words, f"{zlib.crc32(data):08x}"], label)

    def put(self, address: int, data: bytes) -> None:
        """A "put" step."""
        self._memory.write(address, data)
        self.steps.append(["put", f"{address:08x}", data.hex()])

    def fill(self, address: int, length: int, seed: int) -> None:
        """A "fill" step."""
        self._memory.write(address, pattern(length, seed))
        self.steps.append(["fill", f"{address:08x}", length, seed])

    def get(self, address: int, length: int, label: str = "") -> None:
        """A "get" step."""
        self._note(["get", f"{address:08x}", self._memory.read(address, length).hex()], label)

    def sum(self, address: int, length: int, label: str = "") -> None:
        """A "sum" step."""
        crc = zlib.crc32(self._memory.read(address, length))
        self._note(["sum", f"{address:08x}", length, f"{crc:08x}"], label)

    def _place(self, register: Register) -> tuple[int, int, str]:
        if isinstance(register, int):
            return self._bar, register, f"{register:02x}"
        return *register, f"{register[0]}+{register[1]:x}"

    def _note(self, step: Step, label: str) -> None:
        self.steps.append([*step, label] if label else step)
