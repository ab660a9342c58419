"""A function's windows and its interrupt pin, against a qtest client made of a table of registers."""

from __future__ import annotations

import mmap
import time
from collections.abc import Iterator, Sequence
from typing import cast

import pytest
from attrs import frozen

from ddsdk.bus import PCI_COMMAND, PCI_STATUS
from ddsdk.errors import RegisterAccessFault, UsageError
from ddsdk.qemu.function import QemuPciFunction
from ddsdk.qemu.qtest import QTest
from ddsdk.qemu.ram import SharedRam
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import Extent, PhysicalMemory
from ddsdk.sim.trace import Trace

SLOT, BASE = 4, 0xF000_0000
MIB = 1 << 20


class FakeQemu:
    """Configuration space of one function with a memory and an I/O BAR, and registers that stay as written."""

    def __init__(self) -> None:
        self.config = bytearray(256)
        self.config[0:4] = b"\x00\x10\x54\x00"
        self.address = 0
        self.registers: dict[bytes, int] = {}
        self.lines: list[bytes] = []
        self.irq_lines: set[int] = set()

    def batch(self, lines: Sequence[bytes]) -> list[bytes]:
        """Several commands."""
        return [self.ask(line) for line in lines]

    def post(self, line: bytes) -> None:
        """A command without an answer."""
        self.ask(line)

    def ask(self, line: bytes) -> bytes:
        """One command."""
        self.lines.append(line)
        command, port, *value = line.split()
        if port == b"0xcf8":
            self.address = int(value[0], 16) & 0xFF
            return b""
        if port.startswith(b"0xcf"):
            return self.configure(command, self.address + int(port, 16) - 0xCFC, value)
        if value:
            self.registers[port] = int(value[0], 16)
            return b""
        return b"0x%x" % self.registers.get(port, 0)

    def configure(self, command: bytes, offset: int, value: list[bytes]) -> bytes:
        """The data port."""
        size = {b"b": 1, b"w": 2, b"l": 4}[command[-1:]]
        if not value:
            return b"0x%x" % int.from_bytes(self.config[offset:offset + size], "little")
        number = int(value[0], 16)
        if offset >= 0x10:                          # BAR 0: 4 KiB of memory; BAR 1: 256 ports; no others
            keep = {0x10: 0xFFFF_F000, 0x14: 0xFFFF_FF00}.get(offset, 0)
            number = number & keep | (1 if offset == 0x14 else 0)
        self.config[offset:offset + size] = number.to_bytes(size, "little")
        return b""

    def interrupt(self, level: bool) -> None:
        """What the status register says of the pin."""
        self.config[PCI_STATUS] = 0x08 if level else 0


@frozen
class Bench:
    """A function on a machine with one page of memory."""

    qemu: FakeQemu
    machine: Machine
    function: QemuPciFunction


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Decoding is off, as after power-on."""
    qemu = FakeQemu()
    with SharedRam.build([Extent(0, memoryview(mmap.mmap(-1, 4096)))], reserve_bytes=16 * MIB) as ram, \
            Machine(PhysicalMemory(ram.extents), trace=Trace()) as machine:
        yield Bench(qemu, machine, QemuPciFunction.placed(machine, ram, cast(QTest, qemu), SLOT, 11))


def test_a_function_that_was_found_is_as_it_was(bench: Bench) -> None:
    """Addresses, decoding, bus mastering and interrupt line are the former owner's; nothing is written for good."""
    qemu = FakeQemu()
    qemu.config[0x10:0x18] = (0xFEBF_0000).to_bytes(4, "little") + (0xC001).to_bytes(4, "little")
    qemu.config[PCI_COMMAND], qemu.config[0x3C] = 0x07, 10
    before = bytes(qemu.config)
    with SharedRam.build([Extent(0, memoryview(mmap.mmap(-1, 4096)))], reserve_bytes=16 * MIB) as ram, \
            Machine(PhysicalMemory(ram.extents)) as machine:
        function = QemuPciFunction.found(machine, ram, cast(QTest, qemu), SLOT)
        assert bytes(qemu.config) == before
        assert [bar.bus_addr for bar in function.bars if bar is not None] == [0xFEBF_0000, 0xC000]
        assert function.irq_line is machine.irqs.line(10)
        qemu.lines.clear()
        function.window(0).write(8, 4, 1)
        assert qemu.lines == [b"writel 0xfebf0008 0x1\n"], "it decodes already"


def test_a_window_that_is_not_decoded_is_all_ones_and_takes_nothing(bench: Bench) -> None:
    """Memory and I/O decode each need their COMMAND bit; nothing goes over the wire without it."""
    mem, io = bench.function.window(0), bench.function.window(1)
    bench.qemu.lines.clear()
    assert (mem.read(0, 4), io.read(0, 1)) == (0xFFFF_FFFF, 0xFF)
    mem.write(0, 4, 1)
    assert bench.qemu.lines == []
    bench.function.config_write(PCI_COMMAND, 2, 0x2)
    assert (mem.read(0, 4), io.read(0, 1)) == (0, 0xFF)
    bench.function.config_write(PCI_COMMAND, 2, 0x1)
    assert (mem.read(0, 4), io.read(0, 1)) == (0xFFFF_FFFF, 0)


def test_every_width_has_its_command(bench: Bench) -> None:
    """Memory moves 1, 2, 4 or 8 bytes, ports 1, 2 or 4; values are cut to the width."""
    bench.function.config_write(PCI_COMMAND, 2, 0x3)
    mem, io = bench.function.window(0), bench.function.window(1)
    bench.qemu.lines.clear()
    for size in (1, 2, 4, 8):
        mem.read(0x40, size)
        mem.write(0x40, size, 0x1122_3344_5566_7788_99)
    io.read(0x10, 2)
    io.write(0x10, 4, -1)
    assert bench.qemu.lines == [
        b"readb 0xf0000040\n", b"writeb 0xf0000040 0x99\n", b"readw 0xf0000040\n", b"writew 0xf0000040 0x8899\n",
        b"readl 0xf0000040\n", b"writel 0xf0000040 0x66778899\n", b"readq 0xf0000040\n",
        b"writeq 0xf0000040 0x2233445566778899\n", b"inw 0xc010\n", b"outl 0xc010 0xffffffff\n"]
    with pytest.raises(RegisterAccessFault, match=r"8-byte read at 0x0: this window takes 1, 2, 4 bytes at a time"):
        io.read(0, 8)


def test_string_io_is_one_batch(bench: Bench) -> None:
    """Repeated words are data, not a poll: no sleep, one line each, together; nothing moves without decoding."""
    io = bench.function.window(1)
    assert io.read_string(0x10, 2, 3) == [0xFFFF] * 3
    io.write_string(0x10, 2, [1])
    bench.function.config_write(PCI_COMMAND, 2, 0x3)
    bench.qemu.lines.clear()
    io.write_string(0x10, 2, [0x1234, 0])
    started = time.monotonic()
    assert io.read_string(0x10, 4, 5000) == [0] * 5000
    assert time.monotonic() - started < 0.2
    assert bench.qemu.lines[:3] == [b"outw 0xc010 0x1234\n", b"outw 0xc010 0x0\n", b"inl 0xc010\n"]
    assert [(r.kind, r.fields) for r in bench.machine.trace.records][-2:] == [
        ("write", ("bar1+0x10", 2, "times")), ("read", ("bar1+0x10", 5000, "times"))]
    with pytest.raises(RegisterAccessFault):
        io.read_string(0xFF, 2, 1)


def test_accesses_outside_the_bar_are_refused(bench: Bench) -> None:
    """What lies behind a BAR belongs to another device."""
    bench.function.config_write(PCI_COMMAND, 2, 0x3)
    mem = bench.function.window(0)
    for offset in (-4, 0xFFD, 0x1000):
        with pytest.raises(RegisterAccessFault, match="is outside the window's 0x1000 bytes"):
            mem.read(offset, 4)
    with pytest.raises(UsageError, match=r"there is no BAR 2; it has \[0, 1\]"):
        bench.function.window(2)


def test_a_poll_without_progress_costs_the_time_the_driver_believes_it_does(bench: Bench) -> None:
    """Ten polls a virtual millisecond apart take real milliseconds; a register that changes costs nothing."""
    bench.function.config_write(PCI_COMMAND, 2, 0x3)
    mem = bench.function.window(0)
    started = time.monotonic()
    for _ in range(13):
        mem.read(0x30, 4)
        bench.machine.clock.advance(1_000_000)
    assert time.monotonic() - started >= 0.009


def test_register_accesses_are_traced(bench: Bench) -> None:
    """BAR and offset stand for the register's name, which only the driver knows."""
    bench.function.config_write(PCI_COMMAND, 2, 0x3)
    bench.function.window(0).write(0x34, 4, 9)
    assert bench.function.window(0).read(0x34, 4) == 9
    assert [(r.kind, r.fields) for r in bench.machine.trace.records][-2:] == [
        ("write", ("bar0+0x34", 9)), ("read", ("bar0+0x34", 9))]


def test_the_pin_raises_and_lowers_the_line(bench: Bench) -> None:
    """In normal mode the line follows; the handler's own accesses find out that it fell."""
    bench.function.config_write(PCI_COMMAND, 2, 0x3)
    mem, line = bench.function.window(0), bench.function.irq_line
    assert line is not None
    seen: list[bool] = []

    def handler() -> bool:
        seen.append(line.level)
        bench.qemu.interrupt(False)
        mem.read(0x30, 4)
        seen.append(line.level)
        return True

    line.add_handler(handler)
    bench.machine.pass_time(1_000_000)
    assert seen == []
    bench.qemu.interrupt(True)
    bench.machine.pass_time(5_000_000)
    assert seen == [True, False]


def test_interrupt_disable_cuts_the_pin_off(bench: Bench) -> None:
    """COMMAND bit 10: the status bit is up, the line is not."""
    bench.function.config_write(PCI_COMMAND, 2, 0x403)
    bench.qemu.interrupt(True)
    bench.machine.pass_time(2_000_000)
    line = bench.function.irq_line
    assert line is not None
    assert not line.level
    bench.function.config_write(PCI_COMMAND, 2, 0x3)
    assert line.level


def test_nobody_looks_at_the_pin_after_the_crash(bench: Bench) -> None:
    """The level at the crash stays; nothing but the driver's own polls goes over the wire."""
    bench.qemu.interrupt(True)
    bench.machine.crash(Trigger.PANIC)
    bench.qemu.lines.clear()
    bench.qemu.interrupt(False)
    bench.machine.pass_time(1_000_000_000)
    line = bench.function.irq_line
    assert line is not None
    assert line.level
    assert bench.qemu.lines == []


@pytest.mark.parametrize(("interface", "irq", "level"), [
    (0x80, 14, True), (0x80, 15, True), (0x80, 11, False), (0x81, 14, False), (0x81, 15, True), (0x85, 14, False)])
def test_ide_of_old_has_isa_lines(interface: int, irq: int, level: bool) -> None:
    """A channel in compatibility mode raises line 14 or 15, which stands in for the pin it does not have."""
    qemu = FakeQemu()
    qemu.config[9:12] = bytes((interface, 0x01, 0x01))
    with SharedRam.build([Extent(0, memoryview(mmap.mmap(-1, 4096)))], reserve_bytes=16 * MIB) as ram, \
            Machine(PhysicalMemory(ram.extents)) as machine:
        function = QemuPciFunction.placed(machine, ram, cast(QTest, qemu), SLOT, 11, 1)
        assert function.name == "0000:00:04.1"
        assert (b"irq_intercept_in ioapic\n" in qemu.lines) is (interface != 0x85)
        line = function.irq_line
        assert line is not None
        qemu.irq_lines.add(irq)
        machine.pass_time(2_000_000)
        assert line.level is level
        qemu.irq_lines.clear()
        machine.pass_time(5_000_000)
        assert not line.level
