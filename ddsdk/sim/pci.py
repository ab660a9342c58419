"""The PCI bus: configuration space with real write masks, BAR sizing, COMMAND enforced, surprise removal.

Source: PCI Local Bus Specification 3.0, chapter 6.  A read nobody decodes is all ones, a write is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from ddsdk import bus
from ddsdk.bus import Bar, Segment, Window
from ddsdk.errors import RegisterAccessFault, UsageError

from .clock import Clock
from .dma import DmaDomain
from .irq import IrqController, IrqLine, IrqPin
from .memory import PCI_HOLE_PADDR, PhysicalMemory
from .trace import Trace
from .watchdog import StallDetector

if TYPE_CHECKING:       # a function holds a model; the bus does not need to know models
    from .model import HwModel

_COMMAND_BITS = (bus.PCI_COMMAND_IO | bus.PCI_COMMAND_MEMORY | bus.PCI_COMMAND_MASTER
                 | bus.PCI_COMMAND_INTX_DISABLE | 0x0150)      # parity, SERR, MWI: stored, no effect here
_STATUS_W1C = 0xF900
_IO_BASE = 0xC000
_MEM_BASE = PCI_HOLE_PADDR
#: INTA# of the slots, as a PC's routers swizzle them: irq 11, 10, 9, 5.
_SLOT_IRQS = (11, 10, 9, 5)
_FIRST_SLOT = 4


@frozen
class BarSpec:
    """A BAR as the device implements it: "mem" or "io", size, which of the model's windows it shows."""

    kind: str
    size: int
    window: str = "regs"
    is_64: bool = False


class PciWindow:
    """A BAR as the CPU sees it; nothing gets through unless COMMAND decodes it."""

    __slots__ = ("_bit", "_function", "_read", "_write", "size")

    def __init__(self, function: SimPciFunction, bit: int, size: int, target: Window) -> None:
        self._function = function
        self._bit = bit
        self._read = target.read
        self._write = target.write
        self.size = size

    def read(self, offset: int, size: int) -> int:
        """See `bus.Window.read`."""
        if not self._function.decodes & self._bit:
            return (1 << 8 * size) - 1
        if offset < 0 or offset + size > self.size:
            raise self._outside("read", offset, size)
        return self._read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """See `bus.Window.write`."""
        if not self._function.decodes & self._bit:
            return
        if offset < 0 or offset + size > self.size:
            raise self._outside("write", offset, size)
        self._write(offset, size, value)

    def _outside(self, verb: str, offset: int, size: int) -> RegisterAccessFault:
        return RegisterAccessFault(f"{self._function.name}: {size}-byte {verb} at {offset:#x} is outside the "
                                   f"window's {self.size:#x} bytes; nothing there belongs to this device")


class SimPciFunction:
    """A PCI function with a model in it.  Plug it in with `machine.pci.plug(function)`.

    `bars`: BAR number -> BarSpec (a 64-bit one takes the next number too).  `capabilities`: bytes of the
    list, put at 0x40.  `extra_config`: offset -> (value, writable bits) of further bytes.
    """

    def __init__(self, model: HwModel, *, vendor: int, device: int, bars: Mapping[int, BarSpec],
                 class_code: int = 0x010000, revision: int = 0, subsystem: tuple[int, int] = (0, 0),
                 capabilities: bytes = b"", interrupt_pin: int = 1) -> None:
        self.model = model
        self.name = "unplugged"
        self.removed = False
        #: COMMAND while the function is present: what its windows decode.
        self.decodes = 0
        self.irq_line: IrqLine | None = None
        self.pin: IrqPin | None = None
        self.dma: DmaDomain | None = None
        self._specs = dict(bars)
        self._config = bytearray(256)
        self._writable = bytearray(256)
        self._w1c = bytearray(256)
        self._windows: dict[int, PciWindow] = {}
        self._put(bus.PCI_VENDOR_ID, 2, vendor)
        self._put(bus.PCI_DEVICE_ID, 2, device)
        self._put(bus.PCI_COMMAND, 2, 0, _COMMAND_BITS)
        self._put(bus.PCI_STATUS, 2, bus.PCI_STATUS_CAP_LIST if capabilities else 0)
        self._w1c[bus.PCI_STATUS:bus.PCI_STATUS + 2] = _STATUS_W1C.to_bytes(2, "little")
        self._put(bus.PCI_REVISION_ID, 1, revision)
        self._put(bus.PCI_CLASS_PROG, 3, class_code)
        self._put(bus.PCI_CACHE_LINE_SIZE, 1, 0, 0xFF)
        self._put(bus.PCI_LATENCY_TIMER, 1, 0, 0xF8)
        self._put(bus.PCI_SUBSYSTEM_VENDOR_ID, 2, subsystem[0])
        self._put(bus.PCI_SUBSYSTEM_ID, 2, subsystem[1])
        self._put(bus.PCI_INTERRUPT_LINE, 1, 0xFF, 0xFF)
        self._put(bus.PCI_INTERRUPT_PIN, 1, interrupt_pin)
        if capabilities:
            self._put(bus.PCI_CAPABILITY_LIST, 1, 0x40)
            self._config[0x40:0x40 + len(capabilities)] = capabilities
        for number, spec in self._specs.items():
            self._lay_bar(number, spec)

    # -- configuration space ---------------------------------------------------------------------------

    def config_read(self, offset: int, size: int) -> int:
        """See `bus.PciFunction.config_read`; all ones once the function is removed."""
        self._check_config("read", offset, size)
        if self.removed:
            return (1 << 8 * size) - 1
        value = int.from_bytes(self._config[offset:offset + size], "little")
        if offset <= bus.PCI_STATUS < offset + size and self.pin is not None and self.pin.level:
            value |= bus.PCI_STATUS_INTERRUPT << 8 * (bus.PCI_STATUS - offset)
        return value

    def config_write(self, offset: int, size: int, value: int) -> None:
        """See `bus.PciFunction.config_write`."""
        self._check_config("write", offset, size)
        if self.removed:
            return
        for at, byte in enumerate((value & (1 << 8 * size) - 1).to_bytes(size, "little"), offset):
            mask = self._writable[at]
            self._config[at] = (self._config[at] & ~mask | byte & mask) & ~(byte & self._w1c[at])
        if offset < bus.PCI_COMMAND + 2 and offset + size > bus.PCI_COMMAND:
            self._apply_command()

    @property
    def bars(self) -> Sequence[Bar | None]:
        """The six BARs as programmed now."""
        bars: list[Bar | None] = [None] * 6
        for number, spec in self._specs.items():
            raw = int.from_bytes(self._bar_bytes(number, spec), "little")
            address = raw & (~0x3 if spec.kind == "io" else ~0xF)
            bars[number] = Bar("io" if spec.kind == "io" else "mem", address, spec.size, spec.is_64)
        return bars

    def window(self, bar: int) -> PciWindow:
        """See `bus.PciFunction.window`."""
        spec = self._specs.get(bar)
        if spec is None:
            raise UsageError(f"{self.name}: there is no BAR {bar}; it has {sorted(self._specs)}")
        window = self._windows.get(bar)
        if window is None:
            target = self.model.windows[spec.window]
            bit = bus.PCI_COMMAND_IO if spec.kind == "io" else bus.PCI_COMMAND_MEMORY
            window = self._windows[bar] = PciWindow(self, bit, spec.size, target)
        return window

    # -- DMA -------------------------------------------------------------------------------------------

    def dma_map(self, segments: Sequence[Segment], to_device: bool) -> list[Segment]:
        """See `bus.PciFunction.dma_map`."""
        return self._domain.map(segments, to_device)

    def dma_unmap(self, segments: Sequence[Segment], to_device: bool) -> None:
        """See `bus.PciFunction.dma_unmap`."""
        self._domain.unmap(segments, to_device)

    def dma_grant(self, paddr: int, size: int) -> int:
        """See `bus.PciFunction.dma_grant`."""
        return self._domain.grant(paddr, size)

    def dma_revoke(self, paddr: int, size: int) -> None:
        """See `bus.PciFunction.dma_revoke`."""
        self._domain.revoke(paddr, size)

    # -- the bus's side --------------------------------------------------------------------------------

    def attach(self, name: str, line: IrqLine, dma: DmaDomain, clock: Clock, trace: Trace,
               stall: StallDetector) -> None:
        """Called by the bus: the function has a place, a line and a DMA domain."""
        self.name = name
        self.irq_line, self.pin, self.dma = line, line.pin(name), dma
        self._config[bus.PCI_INTERRUPT_LINE] = line.number & 0xFF
        self.model.connect(clock, dma, self.pin, trace, stall)

    def remove(self) -> None:
        """Surprise removal: reads give all ones, writes are lost, no DMA, the line falls."""
        self.removed = True
        self.decodes = 0
        if self.dma is not None:
            self.dma.bus_master = False
        if self.pin is not None:
            self.pin.connect(False)

    @property
    def bar_specs(self) -> Mapping[int, BarSpec]:
        """The BARs as built."""
        return self._specs

    @property
    def _domain(self) -> DmaDomain:
        if self.dma is None:
            raise UsageError(f"{self.name}: DMA before the function is plugged in; call "
                             "machine.pci.plug(function) first")
        return self.dma

    def _apply_command(self) -> None:
        command = int.from_bytes(self._config[bus.PCI_COMMAND:bus.PCI_COMMAND + 2], "little")
        self.decodes = command
        if self.dma is not None:
            self.dma.bus_master = bool(command & bus.PCI_COMMAND_MASTER)
        if self.pin is not None:
            self.pin.connect(not command & bus.PCI_COMMAND_INTX_DISABLE)

    def _check_config(self, verb: str, offset: int, size: int) -> None:
        if size not in (1, 2, 4) or offset % size or not 0 <= offset <= 256 - size:
            raise RegisterAccessFault(f"{self.name}: {size}-byte configuration {verb} at {offset:#x}: "
                                      "accesses are 1, 2 or 4 bytes, aligned, inside 256 bytes")

    def _put(self, offset: int, size: int, value: int, writable: int = 0) -> None:
        self._config[offset:offset + size] = value.to_bytes(size, "little")
        self._writable[offset:offset + size] = writable.to_bytes(size, "little")

    def _lay_bar(self, number: int, spec: BarSpec) -> None:
        smallest = 4 if spec.kind == "io" else 16
        if spec.kind not in ("io", "mem") or spec.size < smallest or spec.size & (spec.size - 1):
            raise TypeError(f"BAR {number}: kind {spec.kind!r}, size {spec.size}: kind is io or mem, the "
                            f"size a power of two of at least {smallest}")
        if not 0 <= number <= (4 if spec.is_64 else 5) or (spec.is_64 and number + 1 in self._specs):
            raise TypeError(f"BAR {number}: a function has BARs 0..5 and a 64-bit one takes two")
        flags = 1 if spec.kind == "io" else 4 if spec.is_64 else 0
        width = 8 if spec.is_64 else 4
        mask = -spec.size & (1 << 8 * width) - 1
        self._put(bus.PCI_BASE_ADDRESS_0 + 4 * number, width, flags, mask)

    def _bar_bytes(self, number: int, spec: BarSpec) -> bytearray:
        at = bus.PCI_BASE_ADDRESS_0 + 4 * number
        return self._config[at:at + (8 if spec.is_64 else 4)]


class PciBus:
    """Bus 0: gives functions a slot, an interrupt line and BAR addresses, as firmware does."""

    def __init__(self, memory: PhysicalMemory, clock: Clock, irqs: IrqController, trace: Trace,
                 stall: StallDetector) -> None:
        self._memory = memory
        self._clock = clock
        self._irqs = irqs
        self._trace = trace
        self._stall = stall
        self._next_io = _IO_BASE
        self._next_mem = _MEM_BASE
        self.functions: list[SimPciFunction] = []

    def plug(self, function: SimPciFunction, slot: int | None = None, func: int = 0) -> SimPciFunction:
        """Plug *function* into *slot* (default: the next free one), as function number *func*; returns it."""
        if slot is None:
            slot = _FIRST_SLOT + len({f.name[8:10] for f in self.functions})
        name = f"0000:00:{slot:02x}.{func}"
        if any(f.name == name for f in self.functions):
            raise UsageError(f"PCI: {name} is occupied; choose another slot")
        line = self._irqs.line(_SLOT_IRQS[(slot - _FIRST_SLOT) % len(_SLOT_IRQS)])
        dma = DmaDomain(self._memory, name, self._trace)
        for number, spec in function.bar_specs.items():
            base = self._place(spec)
            at = bus.PCI_BASE_ADDRESS_0 + 4 * number
            function.config_write(at, 4, base & 0xFFFF_FFFF)
            if spec.is_64:
                function.config_write(at + 4, 4, base >> 32)
        self.functions.append(function)
        function.attach(name, line, dma, self._clock, self._trace, self._stall)
        return function

    def find(self, vendor: int, device: int) -> SimPciFunction | None:
        """The first function with these ids, or None."""
        for function in self.functions:
            if function.config_read(bus.PCI_VENDOR_ID, 4) == device << 16 | vendor:
                return function
        return None

    def unplug_all(self) -> None:
        """Everything is gone; for a machine that is being closed."""
        for function in self.functions:
            function.remove()

    def _place(self, spec: BarSpec) -> int:
        if spec.kind == "io":
            base = (self._next_io + spec.size - 1) & -spec.size
            self._next_io = base + spec.size
        else:
            base = (self._next_mem + spec.size - 1) & -spec.size
            self._next_mem = base + spec.size
        return base
