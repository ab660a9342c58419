"""One PCI function emulated by QEMU, behind the same protocol as a Python model.

A read that finds a register as it was may wait: see `pace`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Final, Self

from ddsdk import bus
from ddsdk.bus import Bar, Segment
from ddsdk.errors import DeviceError, RegisterAccessFault, UsageError
from ddsdk.sim.clock import NS_PER_S, Event
from ddsdk.sim.irq import IrqLine
from ddsdk.sim.machine import CrashRecord, Machine

from .dma import BOUNCE_BYTES, BounceDma
from .pace import Pace
from .pci import ConfigSpace, check_config_access
from .qtest import POSTED_LIMIT, QTest
from .ram import SharedRam

#: Normal mode looks at the interrupt pin this often, in virtual and in real time; less often in the long run.
PIN_PERIOD_NS = 100_000
PIN_PERIOD_MAX_NS = 5_000_000

#: The interrupts of an IDE interface in compatibility mode, by channel.
ISA_IDE_IRQS: Final = (14, 15)

_MEM_SIZES: Final = {1: (b"readb", b"writeb"), 2: (b"readw", b"writew"), 4: (b"readl", b"writel"),
              8: (b"readq", b"writeq")}
_IO_SIZES: Final = {1: (b"inb", b"outb"), 2: (b"inw", b"outw"), 4: (b"inl", b"outl")}


class QemuWindow:
    """A BAR: reads are round trips, writes are posted."""

    __slots__ = ("_base", "_bit", "_function", "_name", "_pace", "_qtest", "_reads", "_sizes", "_values", "_writes",
                 "size")

    def __init__(self, function: QemuPciFunction, number: int, bar: Bar) -> None:
        self.size = bar.size
        self._base = bar.bus_addr
        self._bit = bus.PCI_COMMAND_IO if bar.kind == "io" else bus.PCI_COMMAND_MEMORY
        self._function = function
        self._name = f"bar{number}"
        self._qtest = function.qtest
        self._sizes = _IO_SIZES if bar.kind == "io" else _MEM_SIZES
        self._reads: dict[int, bytes] = {}
        self._writes: dict[int, bytes] = {}
        self._values: dict[int, int] = {}       # what each register said last
        self._pace = function.pace

    def read(self, offset: int, size: int) -> int:
        """See `bus.Window.read`."""
        function = self._function
        if not function.decodes & self._bit:
            return (1 << 8 * size) - 1          # as on a bus; QEMU's CPU would see zeroes
        key = offset << 4 | size
        line = self._reads.get(key)
        if line is None:
            command = self._commands("read", offset, size)[0]
            line = self._reads[key] = b"%s 0x%x\n" % (command, self._base + offset)
        function.stall.tick(self._name)
        value = int(self._qtest.ask(line), 16)
        if self._values.get(key) == value:
            self._pace.nothing_new()
        else:
            self._values[key] = value
            self._pace.news()
        if function.pin_up:
            function.sample_pin()
        if function.trace.on:
            function.trace.add("read", f"{self._name}+{offset:#x}", value)
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        """See `bus.Window.write`."""
        function = self._function
        if not function.decodes & self._bit:
            return
        key = offset << 4 | size
        head = self._writes.get(key)
        if head is None:
            command = self._commands("write", offset, size)[1]
            head = self._writes[key] = b"%s 0x%x " % (command, self._base + offset)
        function.stall.tick(self._name)
        self._qtest.post(head + b"0x%x\n" % (value & (1 << 8 * size) - 1))
        function.pin_period_ns = PIN_PERIOD_NS
        if function.pin_up:
            function.sample_pin()
        if function.trace.on:
            function.trace.add("write", f"{self._name}+{offset:#x}", value)

    def read_string(self, offset: int, size: int, count: int) -> list[int]:
        """See `bus.StringWindow.read_string`: few round trips.  Words of data that repeat are no poll."""
        function = self._function
        if not function.decodes & self._bit:
            return [(1 << 8 * size) - 1] * count
        line = b"%s 0x%x\n" % (self._commands("read", offset, size)[0], self._base + offset)
        function.stall.tick(self._name)
        values = [int(answer, 16) for answer in self._batch([line] * count)]
        if function.trace.on:
            function.trace.add("read", f"{self._name}+{offset:#x}", count, "times")
        return values

    def write_string(self, offset: int, size: int, values: Sequence[int]) -> None:
        """See `bus.StringWindow.write_string`."""
        function = self._function
        if not function.decodes & self._bit:
            return
        head = b"%s 0x%x " % (self._commands("write", offset, size)[1], self._base + offset)
        function.stall.tick(self._name)
        self._batch([head + b"0x%x\n" % value for value in values])
        if function.trace.on:
            function.trace.add("write", f"{self._name}+{offset:#x}", len(values), "times")

    def _batch(self, lines: list[bytes]) -> list[bytes]:
        """In pieces that the socket's buffers hold."""
        return [answer for at in range(0, len(lines), POSTED_LIMIT)
                for answer in self._qtest.batch(lines[at:at + POSTED_LIMIT])]

    def _commands(self, verb: str, offset: int, size: int) -> tuple[bytes, bytes]:
        what = f"{self._function.name}: {size}-byte {verb} at {offset:#x}"
        if offset < 0 or offset + size > self.size:
            raise RegisterAccessFault(f"{what} is outside the window's {self.size:#x} bytes; nothing there "
                                      f"belongs to this device")
        commands = self._sizes.get(size)
        if commands is None:
            raise RegisterAccessFault(f"{what}: this window takes {', '.join(map(str, self._sizes))} bytes "
                                      f"at a time")
        return commands


class QemuPciFunction:
    """A function on QEMU's PCI bus 0; satisfies `bus.PciFunction`.

    Made by `placed()` or `found()`.  In normal mode its interrupt pin is sampled (PCI status register, interrupt status
    bit) and drives a line of the machine; at the crash sampling stops.  An IDE interface in compatibility mode has no
    pin: the ISA lines of its channels are looked at instead.
    """

    @classmethod
    def placed(cls, machine: Machine, ram: SharedRam, qtest: QTest, slot: int, irq: int, func: int = 0) -> Self:
        """As firmware leaves it: BARs are assigned, decoding and bus mastering off until the driver turns them on."""
        config = ConfigSpace(qtest)
        bars = config.assign_bars(slot, func)
        config.write(slot, bus.PCI_INTERRUPT_LINE, 1, irq, func)
        return cls(machine, ram, qtest, (slot, func), bars, irq)

    @classmethod
    def found(cls, machine: Machine, ram: SharedRam, qtest: QTest, slot: int, func: int = 0,
              bounce_bytes: int = BOUNCE_BYTES) -> Self:
        """As its former owner left it, in the middle of whatever it does: nothing of it is changed."""
        config = ConfigSpace(qtest)
        irq = config.read(slot, bus.PCI_INTERRUPT_LINE, 1, func)
        function = cls(machine, ram, qtest, (slot, func), config.found_bars(slot, func), irq, bounce_bytes)
        function.decodes = config.read(slot, bus.PCI_COMMAND, 2, func)
        return function

    def __init__(self, machine: Machine, ram: SharedRam, qtest: QTest, place: tuple[int, int],
                 bars: Sequence[Bar | None], irq: int, bounce_bytes: int = BOUNCE_BYTES) -> None:
        self.place = self._slot, self._func = slot, func = place
        self.name = f"0000:00:{slot:02x}.{func}"
        self.qtest = qtest
        self.clock = machine.clock
        self.trace = machine.trace
        self.stall = machine.stall
        self.pace = Pace(machine.clock)
        self.decodes = 0                # COMMAND as last written: what the windows decode
        self._config = ConfigSpace(qtest)
        self._bars = bars
        self._windows: dict[int, QemuWindow] = {}
        self._dma = BounceDma(self.name, ram, machine.memory, bounce_bytes)
        self._isa_lines = {ISA_IDE_IRQS[channel] for channel in self._config.compatible_channels(slot, func)}
        if self._isa_lines:
            qtest.ask(b"irq_intercept_in ioapic\n")
        line = machine.irqs.line(irq)
        self.irq_line: IrqLine | None = line
        self._pin = line.pin(self.name)
        self.pin_up = False             # normal mode only
        self.pin_period_ns = PIN_PERIOD_NS
        self._sampling: Event | None = machine.clock.after_ns(PIN_PERIOD_NS, self._look_at_pin)
        machine.on_crash.append(self._on_crash)

    # -- configuration space -------------------------------------------------------------------------

    def config_read(self, offset: int, size: int) -> int:
        """See `bus.PciFunction.config_read`."""
        check_config_access(self.name, "read", offset, size)
        self.pace.nothing_new()
        return self._config.read(self._slot, offset, size, self._func)

    def config_write(self, offset: int, size: int, value: int) -> None:
        """See `bus.PciFunction.config_write`."""
        check_config_access(self.name, "write", offset, size)
        self._config.write(self._slot, offset, size, value, self._func)
        if offset < bus.PCI_COMMAND + 2 and offset + size > bus.PCI_COMMAND:
            self.decodes = command = self._config.read(self._slot, bus.PCI_COMMAND, 2, self._func)
            self._pin.connect(not command & bus.PCI_COMMAND_INTX_DISABLE)

    @property
    def bars(self) -> Sequence[Bar | None]:
        """See `bus.PciFunction.bars`."""
        return self._bars

    def window(self, bar: int) -> QemuWindow:
        """See `bus.PciFunction.window`."""
        found = self._bars[bar] if 0 <= bar < 6 else None
        if found is None:
            there = [number for number, known in enumerate(self._bars) if known is not None]
            raise UsageError(f"{self.name}: there is no BAR {bar}; it has {there}")
        window = self._windows.get(bar)
        if window is None:
            window = self._windows[bar] = QemuWindow(self, bar, found)
        return window

    # -- DMA -----------------------------------------------------------------------------------------

    def dma_map(self, segments: Sequence[Segment], to_device: bool) -> list[Segment]:
        """See `bus.PciFunction.dma_map`."""
        return self._dma.map(segments, to_device)

    def dma_unmap(self, segments: Sequence[Segment], to_device: bool) -> None:
        """See `bus.PciFunction.dma_unmap`."""
        self._dma.unmap(segments, to_device)

    def dma_grant(self, paddr: int, size: int) -> int:
        """See `bus.PciFunction.dma_grant`."""
        return self._dma.grant(paddr, size)

    def dma_revoke(self, paddr: int, size: int) -> None:
        """See `bus.PciFunction.dma_revoke`."""
        self._dma.revoke(paddr, size)

    # -- the interrupt pin ---------------------------------------------------------------------------

    def sample_pin(self) -> None:
        """Carry the emulated pin's level over to the machine's line."""
        status = self._config.read(self._slot, bus.PCI_STATUS, 2, self._func)
        up = status & bus.PCI_STATUS_INTERRUPT or (self._isa_lines and self._isa_lines & self.qtest.irq_lines)
        self.pin_up = status != 0xFFFF and bool(up)
        self._pin.set(self.pin_up)

    def detach(self) -> None:
        """QEMU is about to go: stop sampling, let the line fall."""
        if self._sampling is not None:
            self._sampling.cancel()
            self._sampling = None
        self.pin_up = False
        self._pin.connect(False)

    def _look_at_pin(self) -> None:
        was_up = self.pin_up
        try:
            self.sample_pin()
        except DeviceError:             # QEMU is gone: its driver finds out, the machine's other adapters go on
            self._sampling = None
            return
        if self.pin_up == was_up:
            time.sleep(self.pin_period_ns / NS_PER_S)
            self.pin_period_ns = min(2 * self.pin_period_ns, PIN_PERIOD_MAX_NS)
        self._sampling = self.clock.after_ns(self.pin_period_ns, self._look_at_pin)

    def _on_crash(self, _record: CrashRecord) -> None:
        """From here on nobody listens to interrupts; the driver polls."""
        if self._sampling is not None:
            with contextlib.suppress(DeviceError):      # QEMU is gone: the driver will find out
                self.sample_pin()                       # a level that had risen stays risen
            self._sampling.cancel()
            self._sampling = None
        self.pin_up = False
