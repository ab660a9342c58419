"""PCI bus 0 of QEMU's `pc` machine: as firmware meets it, nothing assigned, nothing decoding; or as it was left.

Configuration mechanism #1 (ports 0xcf8, 0xcfc): PCI Local Bus Specification 3.0, 3.2.2.3.2; BAR sizing:
6.2.5.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from ddsdk import bus
from ddsdk.bus import Bar
from ddsdk.errors import DeviceError, RegisterAccessFault

from .qtest import QTest

CONFIG_ADDRESS, CONFIG_DATA = 0xCF8, 0xCFC
SLOTS = 32
#: Where BARs go: above the chipset's own ports, between RAM and the I/O APIC.  QEMU's pc puts nothing there.
IO_BASE, IO_END = 0xC000, 0x1_0000
MEM_BASE, MEM_END = 0xF000_0000, 0xFEC0_0000

#: Header type: the slot has functions 1 to 7 too.
_MULTIFUNCTION = 0x80
_CLASS_IDE = 0x0101
#: Command block and control port of a channel in compatibility mode.
_IDE_PORTS: Final = ((0x1F0, 0x3F6), (0x170, 0x376))

_IN: Final = {1: b"inb", 2: b"inw", 4: b"inl"}
_OUT: Final = {1: b"outb", 2: b"outw", 4: b"outl"}


@frozen
class ConfigSpace:
    """Configuration space of the functions on bus 0; function 0 of a slot unless *func* says otherwise."""

    qtest: QTest

    def read(self, slot: int, offset: int, size: int, func: int = 0) -> int:
        """*size* (1, 2, 4) bytes at *offset*; all ones when nobody is there."""
        _, answer = self.qtest.batch([_select(slot, func, offset, size),
                                      b"%s 0x%x\n" % (_IN[size], CONFIG_DATA + (offset & 3))])
        return int(answer, 16) & (1 << 8 * size) - 1

    def write(self, slot: int, offset: int, size: int, value: int, func: int = 0) -> None:
        """Write *size* (1, 2, 4) bytes at *offset*."""
        data = CONFIG_DATA + (offset & 3), value & (1 << 8 * size) - 1
        self.qtest.batch([_select(slot, func, offset, size), b"%s 0x%x 0x%x\n" % (_OUT[size], *data)])

    def functions(self) -> Iterator[tuple[int, int, int, int]]:
        """(slot, function, vendor, device) of every function that answers."""
        for slot in range(SLOTS):
            for func in range(self._functions_of(slot)):
                ids = self.read(slot, bus.PCI_VENDOR_ID, 4, func)
                if ids & 0xFFFF != 0xFFFF:
                    yield slot, func, ids & 0xFFFF, ids >> 16

    def _functions_of(self, slot: int) -> int:
        """Function numbers worth asking for."""
        header = self.read(slot, bus.PCI_HEADER_TYPE, 1)
        return 8 if header != 0xFF and header & _MULTIFUNCTION else 1

    def find(self, vendor: int, device: int) -> tuple[int, int]:
        """(slot, function) of the first one with these ids; DeviceError lists what answers instead."""
        there = list(self.functions())
        for slot, func, *ids in there:
            if ids == [vendor, device]:
                return slot, func
        listed = ", ".join(f"{slot:02x}.{func} {v:04x}:{d:04x}" for slot, func, v, d in there)
        raise DeviceError(f"no PCI function {vendor:04x}:{device:04x} on QEMU's bus 0, which has "
                          f"{listed or 'none'}; choose the chip= that QEMU emulates")

    def assign_bars(self, slot: int, func: int = 0) -> tuple[Bar | None, ...]:
        """Size every BAR and place it; returns the six as programmed.  Decoding is left off.

        An IDE interface in compatibility mode has no BARs 0 to 3: there are the ports of old, as pci_setup_device()
        has them (`drivers/pci/probe.c`).
        """
        self.write(slot, bus.PCI_COMMAND, 2, 0, func)
        bars: list[Bar | None] = [None] * 6
        next_io, next_mem, number = IO_BASE, MEM_BASE, 0
        while number < 6:
            bar = self._size_bar(slot, number, func)
            if bar is None:
                number += 1
                continue
            if bar.kind == "io":
                base = next_io = (next_io + bar.size - 1) & -bar.size
                next_io += bar.size
                fits = next_io <= IO_END
            else:
                base = next_mem = (next_mem + bar.size - 1) & -bar.size
                next_mem += bar.size
                fits = next_mem <= MEM_END
            if not fits:
                raise DeviceError(f"PCI slot {slot:02x} BAR {number}: no room for {bar.size} bytes of "
                                  f"{bar.kind} space")
            at = bus.PCI_BASE_ADDRESS_0 + 4 * number
            self.write(slot, at, 4, base, func)
            if bar.is_64:
                self.write(slot, at + 4, 4, 0, func)
            bars[number] = Bar(bar.kind, base, bar.size, bar.is_64)
            number += 2 if bar.is_64 else 1
        return self._with_ports_of_old(bars, slot, func)

    def found_bars(self, slot: int, func: int = 0) -> tuple[Bar | None, ...]:
        """The six BARs as whoever had the machine before left them; nothing is placed anew.

        What each decodes is asked for in the usual way, with decoding off; then every register is what it was.
        """
        command = self.read(slot, bus.PCI_COMMAND, 2, func)
        self.write(slot, bus.PCI_COMMAND, 2, command & ~(bus.PCI_COMMAND_IO | bus.PCI_COMMAND_MEMORY), func)
        bars: list[Bar | None] = [None] * 6
        number = 0
        while number < 6:
            at = bus.PCI_BASE_ADDRESS_0 + 4 * number
            raw = [self.read(slot, at + 4 * half, 4, func) for half in range(2 if number < 5 else 1)]
            bar = self._size_bar(slot, number, func)
            halves = 2 if bar is not None and bar.is_64 else 1
            for half in range(halves):
                self.write(slot, at + 4 * half, 4, raw[half], func)
            if bar is not None:
                low = raw[0] & ~(0x3 if bar.kind == "io" else 0xF)
                address = low | raw[1] << 32 if bar.is_64 else low
                bars[number] = Bar(bar.kind, address, bar.size, bar.is_64) if address else None
            number += halves
        self.write(slot, bus.PCI_COMMAND, 2, command, func)
        return self._with_ports_of_old(bars, slot, func)

    def _with_ports_of_old(self, bars: list[Bar | None], slot: int, func: int) -> tuple[Bar | None, ...]:
        for channel in self.compatible_channels(slot, func):
            command, control = _IDE_PORTS[channel]
            bars[2 * channel], bars[2 * channel + 1] = Bar("io", command, 8), Bar("io", control, 1)
        return tuple(bars)

    def compatible_channels(self, slot: int, func: int = 0) -> list[int]:
        """The channels of an IDE interface that are at the ports and interrupts of old; none for other classes."""
        if self.read(slot, bus.PCI_CLASS_PROG + 1, 2, func) != _CLASS_IDE:
            return []
        interface = self.read(slot, bus.PCI_CLASS_PROG, 1, func)
        return [channel for channel in (0, 1) if not interface >> 2 * channel & 1]

    def _size_bar(self, slot: int, number: int, func: int) -> Bar | None:
        at = bus.PCI_BASE_ADDRESS_0 + 4 * number
        self.write(slot, at, 4, 0xFFFF_FFFF, func)
        low = self.read(slot, at, 4, func)
        if low & 1:
            return Bar("io", 0, -(low & ~0x3 | ~0xFFFF) & 0xFFFF, False) if low & 0xFFFC else None
        is_64 = low & 0x6 == 0x4
        mask = low & ~0xF
        if is_64:
            self.write(slot, at + 4, 4, 0xFFFF_FFFF, func)
            mask |= self.read(slot, at + 4, 4, func) << 32
        if not mask:
            return None
        width = 64 if is_64 else 32
        return Bar("mem", 0, -mask & (1 << width) - 1, is_64)


def check_config_access(name: str, verb: str, offset: int, size: int) -> None:
    """RegisterAccessFault unless *offset*, *size* is an access configuration mechanism #1 can make."""
    if size not in (1, 2, 4) or offset % size or not 0 <= offset <= 256 - size:
        raise RegisterAccessFault(f"{name}: {size}-byte configuration {verb} at {offset:#x}: accesses are 1, "
                                  f"2 or 4 bytes, aligned, inside 256 bytes")


def _select(slot: int, func: int, offset: int, size: int) -> bytes:
    check_config_access(f"0000:00:{slot:02x}.{func}", "access", offset, size)
    return b"outl 0x%x 0x%x\n" % (CONFIG_ADDRESS, 1 << 31 | slot << 11 | func << 8 | offset & 0xFC)
