"""The PCI bus: functions with a model inside, COMMAND enforced, surprise removal.

Source: PCI Local Bus Specification 3.0.  A read nobody decodes is all ones, a write is lost (master abort).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ddsdk import bus
from ddsdk.bus import Bar, Segment, Window
from ddsdk.errors import RegisterAccessFault, UsageError

from .clock import Clock
from .dma import DmaDomain
from .irq import IrqController, IrqLine, IrqPin
from .memory import PCI_HOLE_PADDR, PhysicalMemory
from .pci_config import BarSpec, ConfigRegister, ConfigSpace, PciIds
from .trace import Trace
from .watchdog import StallDetector

if TYPE_CHECKING:       # a function holds a model; the bus does not need to know models
    from .model import HwModel

__all__ = ["BarSpec", "ConfigRegister", "PciBus", "PciWindow", "SimPciFunction"]

#: By access size in bytes: what nobody drives reads as, and what fits.
_ALL_ONES: Final = {1: 0xFF, 2: 0xFFFF, 4: 0xFFFF_FFFF, 8: 0xFFFF_FFFF_FFFF_FFFF}
_IO_BASE = 0xC000
#: INTA# of the slots, as a PC's routers swizzle them.
_SLOT_IRQS = (11, 10, 9, 5)
_FIRST_SLOT = 4
_LAST_SLOT = 31


class PciWindow:
    """A BAR as the CPU sees it; nothing gets through unless COMMAND decodes it."""

    __slots__ = ("_bit", "_decoded_by", "_function", "_read", "_stall", "_write", "size")

    def __init__(self, function: SimPciFunction, bit: int, size: int, target: Window,
                 stall: StallDetector) -> None:
        self._function = function
        self._bit = self._decoded_by = bit
        self._read = target.read
        self._write = target.write
        self._stall = stall
        self.size = size

    def answers(self, here: bool) -> None:
        """The BAR was programmed: it answers at this window's addresses, or no more."""
        self._bit = self._decoded_by if here else 0

    def read(self, offset: int, size: int) -> int:
        """See `bus.Window.read`.  RegisterAccessFault outside the window, or as the model says."""
        stall = self._stall
        if stall.count < stall.limit:       # StallDetector.tick without the call
            stall.count += 1
        else:
            stall.tick()
        if offset < 0 or offset + size > self.size or size not in _ALL_ONES:
            raise self._outside("read", offset, size)
        if not self._function.decodes & self._bit:
            return _ALL_ONES[size]
        return self._read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """See `bus.Window.write`.  RegisterAccessFault outside the window, or as the model says."""
        stall = self._stall
        if stall.count < stall.limit:
            stall.count += 1
        else:
            stall.tick()
        if offset < 0 or offset + size > self.size or size not in _ALL_ONES:
            raise self._outside("write", offset, size)
        if self._function.decodes & self._bit:
            self._write(offset, size, value & _ALL_ONES[size])

    def _outside(self, verb: str, offset: int, size: int) -> RegisterAccessFault:
        return RegisterAccessFault(f"{self._function.name}: {size}-byte {verb} at {offset:#x}: an access is "
                                   f"1, 2, 4 or 8 bytes inside the window's {self.size:#x}")


class SimPciFunction:
    """A PCI function with a model in it.  Plug it in with `machine.pci.plug(function)`.

    `bars`: BAR number -> BarSpec (a 64-bit one takes the next number too).  `capabilities`: the bytes of the
    capability list, put at 0x40, of which *capability_bits* can be written; `registers` are the device's own, behind
    them.  The model finds all of it as its `config`.  `bist`: the function can test itself; see
    `HwModel.bist_started`.  After plugging in, BARs are assigned and COMMAND is 0, as firmware that did not boot from
    the device leaves it.
    """

    def __init__(self, model: HwModel, *, vendor: int, device: int, bars: Mapping[int, BarSpec],
                 class_code: int = 0x010000, revision: int = 0, subsystem: tuple[int, int] = (0, 0),
                 capabilities: bytes = b"", capability_bits: bytes = b"", registers: Sequence[ConfigRegister] = (),
                 interrupt_pin: int = 1, bist: bool = False) -> None:
        self.model = model
        self.name = "unplugged"
        self.removed = False
        #: COMMAND while the function is present: what its windows decode.
        self.decodes = 0
        self.irq_line: IrqLine | None = None
        self.pin: IrqPin | None = None
        self.dma: DmaDomain | None = None
        self._stall = StallDetector(Clock())
        ids = PciIds(vendor, device, class_code, revision, subsystem, interrupt_pin)
        self._config = ConfigSpace(ids, bars, capabilities, capability_bits, registers, bist)
        self._bist = bist
        self._testing = False
        #: By BAR and the address it had when the window was made.
        self._windows: dict[tuple[int, int], PciWindow] = {}

    # -- what the CPU sees -----------------------------------------------------------------------------

    def config_read(self, offset: int, size: int) -> int:
        """See `bus.PciFunction.config_read`; all ones once the function is removed."""
        self._config.check(self.name, "read", offset, size)
        if self.removed:
            return _ALL_ONES[size]
        value = self._config.read(offset, size)
        if offset <= bus.PCI_STATUS < offset + size and self.pin is not None and self.pin.level:
            value |= bus.PCI_STATUS_INTERRUPT << 8 * (bus.PCI_STATUS - offset)
        return value

    def config_write(self, offset: int, size: int, value: int) -> None:
        """See `bus.PciFunction.config_write`.  While the function tests itself only the BIST byte can be written."""
        self._config.check(self.name, "write", offset, size)
        if self.removed:
            return
        if not self._testing:
            self._config.write(offset, size, value)
            if offset < bus.PCI_COMMAND + 2 and offset + size > bus.PCI_COMMAND:
                self._apply_command()
            if offset + size > bus.PCI_BASE_ADDRESS_0 and offset < bus.PCI_BASE_ADDRESS_0 + 24:
                self._follow_bars()
            if self.dma is not None:
                self.model.config_written(offset, size)
        if self._bist and offset <= bus.PCI_BIST < offset + size:
            self._write_bist(value >> 8 * (bus.PCI_BIST - offset))

    @property
    def bars(self) -> Sequence[Bar | None]:
        """The six BARs as programmed now."""
        return self._config.bars()

    @property
    def bar_specs(self) -> Mapping[int, BarSpec]:
        """The BARs as built."""
        return self._config.specs

    def window(self, bar: int) -> PciWindow:
        """See `bus.PciFunction.window`."""
        spec = self._config.specs.get(bar)
        if spec is None:
            raise UsageError(f"{self.name}: there is no BAR {bar}; it has {sorted(self._config.specs)}")
        here = self.bars[bar]
        assert here is not None
        window = self._windows.get((bar, here.bus_addr))
        if window is None:
            bit = bus.PCI_COMMAND_IO if spec.kind == "io" else bus.PCI_COMMAND_MEMORY
            target = self.model.windows[spec.window]
            window = PciWindow(self, bit, spec.size, target, self._stall)
            self._windows[bar, here.bus_addr] = window
        return window

    def _follow_bars(self) -> None:
        bars = self.bars
        for (number, bus_addr), window in self._windows.items():
            bar = bars[number]
            window.answers(bar is not None and bar.bus_addr == bus_addr)

    # -- BIST ------------------------------------------------------------------------------------------

    def _write_bist(self, value: int) -> None:
        """The self test: configuration space is as at power on, nothing is decoded, until the model says it is over."""
        if not value & bus.PCI_BIST_START or not self.model.bist_started(self._bist_over):
            return
        self._testing = True
        self._config.reset()
        self._config.set_bist(bus.PCI_BIST_CAPABLE | bus.PCI_BIST_START)
        self._apply_command()
        self._follow_bars()

    def _bist_over(self, code: int) -> None:
        self._testing = False
        self._config.set_bist(bus.PCI_BIST_CAPABLE | code & bus.PCI_BIST_CODE)

    # -- DMA -------------------------------------------------------------------------------------------

    def dma_map(self, segments: Sequence[Segment], to_device: bool) -> list[Segment]:
        """See `bus.PciFunction.dma_map`."""
        return (self.dma or self._domain).map(segments, to_device)

    def dma_unmap(self, segments: Sequence[Segment], to_device: bool) -> None:
        """See `bus.PciFunction.dma_unmap`."""
        (self.dma or self._domain).unmap(segments, to_device)

    def dma_grant(self, paddr: int, size: int) -> int:
        """See `bus.PciFunction.dma_grant`."""
        return self._domain.grant(paddr, size)

    def dma_revoke(self, paddr: int, size: int) -> None:
        """See `bus.PciFunction.dma_revoke`."""
        self._domain.revoke(paddr, size)

    @property
    def _domain(self) -> DmaDomain:
        if self.dma is None:
            raise UsageError(f"{self.name}: DMA before the function is plugged in; call "
                             f"machine.pci.plug(function) first")
        return self.dma

    # -- the bus's side --------------------------------------------------------------------------------

    def attach(self, name: str, line: IrqLine, dma: DmaDomain, clock: Clock, trace: Trace,
               stall: StallDetector) -> None:
        """Called by the bus: the function has a place, a line and a DMA domain."""
        self.name = name
        self.irq_line, self.pin, self.dma = line, line.pin(name), dma
        self._stall = stall
        self._windows.clear()
        self._config.write(bus.PCI_INTERRUPT_LINE, 1, line.number)
        self.model.config = self._config
        self.model.connect(clock, dma, self.pin, trace)

    def remove(self) -> None:
        """Surprise removal: reads give all ones, writes are lost, no DMA, the line falls; for good."""
        if self.removed:
            return
        self.removed = True
        self.decodes = 0
        if self.dma is not None:
            self.dma.removed = True
            self.dma.bus_master = False
        if self.pin is not None:
            self.pin.connect(False)
            self.model.unplugged()

    def _apply_command(self) -> None:
        command = self._config.read(bus.PCI_COMMAND, 2)
        self.decodes = command
        if self.dma is not None:
            self.dma.bus_master = bool(command & bus.PCI_COMMAND_MASTER)
        if self.pin is not None:
            self.pin.connect(not command & bus.PCI_COMMAND_INTX_DISABLE)


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
        self._next_mem = PCI_HOLE_PADDR
        self.functions: list[SimPciFunction] = []

    def plug(self, function: SimPciFunction, slot: int | None = None, func: int = 0) -> SimPciFunction:
        """Plug *function* into *slot* (default: the next free one), as function number *func*; returns it.

        One that is in already stays where it is.  UsageError for an occupied place, or a full bus.
        """
        if function in self.functions:
            return function
        slot = self._free_slot() if slot is None else slot
        name = f"0000:00:{slot:02x}.{func}"
        if any(other.name == name for other in self.functions):
            raise UsageError(f"PCI: {name} is occupied; choose another slot")
        line = self._irqs.line(_SLOT_IRQS[slot % len(_SLOT_IRQS)])
        for number, spec in function.bar_specs.items():
            if spec.fixed_at:
                continue
            base = self._place(spec)
            at = bus.PCI_BASE_ADDRESS_0 + 4 * number
            function.config_write(at, 4, base & 0xFFFF_FFFF)
            if spec.is_64:
                function.config_write(at + 4, 4, base >> 32)
        self.functions.append(function)
        dma = DmaDomain(self._memory, name, self._trace)
        function.attach(name, line, dma, self._clock, self._trace, self._stall)
        return function

    def find(self, vendor: int, device: int) -> SimPciFunction | None:
        """The first function with these ids, or None."""
        for function in self.functions:
            if function.config_read(bus.PCI_VENDOR_ID, 4) == device << 16 | vendor:
                return function
        return None

    def unplug_all(self) -> None:
        """Everything is gone; for a machine that is powered off or being closed."""
        for function in self.functions:
            function.remove()

    def _free_slot(self) -> int:
        used = {int(function.name[8:10], 16) for function in self.functions}
        for slot in range(_FIRST_SLOT, _LAST_SLOT + 1):
            if slot not in used:
                return slot
        raise UsageError(f"PCI: slots {_FIRST_SLOT} to {_LAST_SLOT} are all occupied")

    def _place(self, spec: BarSpec) -> int:
        if spec.kind == "io":
            base = (self._next_io + spec.size - 1) & -spec.size
            self._next_io = base + spec.size
        else:
            base = (self._next_mem + spec.size - 1) & -spec.size
            self._next_mem = base + spec.size
        return base
