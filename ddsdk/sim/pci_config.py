"""PCI configuration space: 256 bytes, each with its writable and its write-1-to-clear bits; the BARs in it.

Source: PCI Local Bus Specification 3.0, 6.1 (header layout), 6.2.2 (COMMAND), 6.2.3 (STATUS), 6.2.4 (BIST), 6.2.5.1
(BARs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from ddsdk import bus
from ddsdk.bus import Bar
from ddsdk.errors import RegisterAccessFault

CONFIG_BYTES = 256
#: What lies above is the device's own.
HEADER_BYTES = 0x40

#: COMMAND bits that can be set; memory write and invalidate, parity and SERR are stored without effect here.
_COMMAND_BITS = (bus.PCI_COMMAND_IO | bus.PCI_COMMAND_MEMORY | bus.PCI_COMMAND_MASTER
                 | bus.PCI_COMMAND_INTX_DISABLE | 0x0150)
_STATUS_W1C = 0xF900
_CAPABILITIES_AT = 0x40
_BAR_IO = 0x1
_BAR_64 = 0x4


@frozen
class BarSpec:
    """A BAR as the device implements it: "mem" or "io", size, which of the model's windows it shows.

    `fixed_at`: the device decodes this address whatever is programmed, and there is no base address register: an IDE
    interface in compatibility mode.
    """

    kind: str
    size: int
    window: str = "regs"
    is_64: bool = False
    fixed_at: int = 0


@frozen
class ConfigRegister:
    """A register of the device's own in configuration space, above the header: which bits can be written, and which of
    them a written 1 clears.  A model finds what it holds in `HwModel.config`.
    """

    offset: int
    size: int
    reset: int = 0
    writable: int = 0
    clears: int = 0


@frozen
class PciIds:
    """What a function says it is.  `subsystem`: (vendor, device); `class_code`: base, sub, interface."""

    vendor: int
    device: int
    class_code: int = 0x010000
    revision: int = 0
    subsystem: tuple[int, int] = (0, 0)
    interrupt_pin: int = 1


class ConfigSpace:
    """The bytes, and what a write does to them.  TypeError when BARs or registers make no sense.

    *capability_bits*: the bits of *capabilities* that can be written.  *bist*: the function can test itself.
    """

    def __init__(self, ids: PciIds, bars: Mapping[int, BarSpec], capabilities: bytes = b"",
                 capability_bits: bytes = b"", registers: Sequence[ConfigRegister] = (), bist: bool = False) -> None:
        self.specs = dict(bars)
        self._bytes = bytearray(CONFIG_BYTES)
        self._writable = bytearray(CONFIG_BYTES)
        self._clears = bytearray(CONFIG_BYTES)
        self._put(bus.PCI_VENDOR_ID, 2, ids.vendor)
        self._put(bus.PCI_DEVICE_ID, 2, ids.device)
        self._put(bus.PCI_COMMAND, 2, 0, writable=_COMMAND_BITS)
        self._put(bus.PCI_STATUS, 2, bus.PCI_STATUS_CAP_LIST if capabilities else 0, clears=_STATUS_W1C)
        self._put(bus.PCI_REVISION_ID, 1, ids.revision)
        self._put(bus.PCI_CLASS_PROG, 3, ids.class_code)
        self._put(bus.PCI_CACHE_LINE_SIZE, 1, 0, writable=0xFF)
        self._put(bus.PCI_LATENCY_TIMER, 1, 0, writable=0xF8)
        self._put(bus.PCI_SUBSYSTEM_VENDOR_ID, 2, ids.subsystem[0])
        self._put(bus.PCI_SUBSYSTEM_ID, 2, ids.subsystem[1])
        self._put(bus.PCI_INTERRUPT_LINE, 1, 0xFF, writable=0xFF)
        self._put(bus.PCI_INTERRUPT_PIN, 1, ids.interrupt_pin)
        if capabilities:
            self._put(bus.PCI_CAPABILITY_LIST, 1, _CAPABILITIES_AT)
            self._bytes[_CAPABILITIES_AT:_CAPABILITIES_AT + len(capabilities)] = capabilities
            self._writable[_CAPABILITIES_AT:_CAPABILITIES_AT + len(capability_bits)] = capability_bits
        self._put(bus.PCI_BIST, 1, bus.PCI_BIST_CAPABLE if bist else 0)
        for number, spec in self.specs.items():
            self._lay_bar(number, spec)
        listed = range(_CAPABILITIES_AT, _CAPABILITIES_AT + len(capabilities))
        self._taken = dict.fromkeys(listed, "the capability list")
        for register in registers:
            self._lay_register(register)
        self._power_on = bytes(self._bytes)

    def read(self, offset: int, size: int) -> int:
        """The value as stored; access already checked."""
        return int.from_bytes(self._bytes[offset:offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """Change the writable bits, clear those written as 1 that clear; access already checked."""
        for at, byte in enumerate((value & (1 << 8 * size) - 1).to_bytes(size, "little"), offset):
            mask = self._writable[at]
            self._bytes[at] = (self._bytes[at] & ~mask | byte & mask) & ~(byte & self._clears[at])

    def reset(self) -> None:
        """Everything as at power on."""
        self._bytes[:] = self._power_on

    def set_bist(self, value: int) -> None:
        """The BIST byte, as a read shows it; no write changes it."""
        self._bytes[bus.PCI_BIST] = value

    def report(self, status: int) -> None:
        """Set error bits of STATUS; they clear when written as 1.  ValueError: others cannot be set like that."""
        if status & ~_STATUS_W1C:
            raise ValueError(f"PCI status {status:#06x}: only {_STATUS_W1C:#06x} are errors that a function reports")
        for at, byte in enumerate(status.to_bytes(2, "little"), bus.PCI_STATUS):
            self._bytes[at] |= byte

    def check(self, name: str, verb: str, offset: int, size: int) -> None:
        """RegisterAccessFault unless the access is 1, 2 or 4 bytes, aligned, inside."""
        if size not in (1, 2, 4) or offset % size or not 0 <= offset <= CONFIG_BYTES - size:
            raise RegisterAccessFault(f"{name}: {size}-byte configuration {verb} at {offset:#x}: accesses "
                                      f"are 1, 2 or 4 bytes, aligned, inside {CONFIG_BYTES} bytes")

    def bars(self) -> Sequence[Bar | None]:
        """The six BARs as programmed now."""
        bars: list[Bar | None] = [None] * 6
        for number, spec in self.specs.items():
            if spec.fixed_at:
                bars[number] = Bar("io" if spec.kind == "io" else "mem", spec.fixed_at, spec.size)
                continue
            raw = self.read(bus.PCI_BASE_ADDRESS_0 + 4 * number, 8 if spec.is_64 else 4)
            kind_bits = 0x3 if spec.kind == "io" else 0xF
            bars[number] = Bar("io" if spec.kind == "io" else "mem", raw & ~kind_bits, spec.size, spec.is_64)
        return bars

    def _put(self, offset: int, size: int, value: int, *, writable: int = 0, clears: int = 0) -> None:
        self._bytes[offset:offset + size] = value.to_bytes(size, "little")
        self._writable[offset:offset + size] = writable.to_bytes(size, "little")
        self._clears[offset:offset + size] = clears.to_bytes(size, "little")

    def _lay_register(self, register: ConfigRegister) -> None:
        offset, size = register.offset, register.size
        if size not in (1, 2, 4) or offset % size or not HEADER_BYTES <= offset <= CONFIG_BYTES - size:
            raise TypeError(f"configuration register at {offset:#x}, {size} bytes: 1, 2 or 4 bytes, aligned, between"
                            f" {HEADER_BYTES:#x} and {CONFIG_BYTES:#x}")
        for at in range(offset, offset + size):
            if at in self._taken:
                raise TypeError(f"configuration register at {offset:#x}: byte {at:#x} belongs to {self._taken[at]}")
            self._taken[at] = f"the register at {offset:#x}"
        self._put(offset, size, register.reset, writable=register.writable, clears=register.clears)

    def _lay_bar(self, number: int, spec: BarSpec) -> None:
        """Address bits below the size are read-only zeros: that is how software finds out the size."""
        if spec.fixed_at:
            return
        smallest = 4 if spec.kind == "io" else 16
        if spec.kind not in ("io", "mem") or spec.size < smallest or spec.size & (spec.size - 1):
            raise TypeError(f"BAR {number}: kind {spec.kind!r}, size {spec.size}: kind is io or mem, the "
                            f"size a power of two of at least {smallest}")
        if spec.is_64 and (spec.kind == "io" or number + 1 in self.specs):
            raise TypeError(f"BAR {number}: a 64-bit BAR is memory and takes BAR {number + 1} as well")
        if not 0 <= number <= (4 if spec.is_64 else 5):
            raise TypeError(f"BAR {number}: a function has BARs 0 to 5")
        flags = _BAR_IO if spec.kind == "io" else _BAR_64 if spec.is_64 else 0
        width = 8 if spec.is_64 else 4
        address_bits = -spec.size & (1 << 8 * width) - 1
        self._put(bus.PCI_BASE_ADDRESS_0 + 4 * number, width, flags, writable=address_bits)
