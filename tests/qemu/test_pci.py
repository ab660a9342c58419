"""PCI enumeration and BAR assignment, against a bus made of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from ddsdk.bus import Bar
from ddsdk.errors import DeviceError, RegisterAccessFault
from ddsdk.qemu.pci import ConfigSpace, check_config_access
from ddsdk.qemu.qtest import QTest


class FakeBus:
    """Answers port commands as configuration mechanism #1 does: slot or (slot, function) -> (bytes, writable)."""

    def __init__(self, functions: Mapping[Any, tuple[bytearray, bytes]]) -> None:
        self.functions = functions
        self.address = 0

    def batch(self, lines: Sequence[bytes]) -> list[bytes]:
        """One answer a command."""
        return [self.one(*line.split()) for line in lines]

    def one(self, command: bytes, port: bytes, value: bytes = b"") -> bytes:
        """Carry out one in or out."""
        if int(port, 16) == 0xCF8:
            self.address = int(value, 16)
            return b""
        size = {b"b": 1, b"w": 2, b"l": 4}[command[-1:]]
        assert self.address >> 31 == 1
        slot, func = self.address >> 11 & 31, self.address >> 8 & 7
        offset = (self.address & 0xFC) + int(port, 16) - 0xCFC
        nobody = (bytearray(b"\xff" * 256), bytes(256))
        config, writable = self.functions.get((slot, func) if func else slot, nobody)
        if command.startswith(b"in"):
            return b"0x%x" % int.from_bytes(config[offset:offset + size], "little")
        for at, byte in enumerate(int(value, 16).to_bytes(size, "little"), offset):
            config[at] = config[at] & ~writable[at] | byte & writable[at]
        return b""


def function(vendor: int, device: int, bars: dict[int, tuple[int, int]]) -> tuple[bytearray, bytes]:
    """Configuration space with BARs given as number -> (flags, size)."""
    config, writable = bytearray(256), bytearray(256)
    config[0:4] = vendor.to_bytes(2, "little") + device.to_bytes(2, "little")
    config[4], writable[4], writable[5] = 0x07, 0xFF, 0x07
    for number, (flags, size) in bars.items():
        at, width = 0x10 + 4 * number, 8 if flags & 6 == 4 and not flags & 1 else 4
        config[at:at + width] = flags.to_bytes(width, "little")
        writable[at:at + width] = (-size & (1 << 8 * width) - 1).to_bytes(width, "little")
    return config, bytes(writable)


def space(functions: Mapping[Any, tuple[bytearray, bytes]]) -> ConfigSpace:
    """The bus under test."""
    return ConfigSpace(cast(QTest, FakeBus(functions)))


def test_bars_are_sized_and_placed_by_their_size() -> None:
    """I/O, 32-bit and 64-bit memory BARs are told apart, aligned, and do not overlap; holes stay None."""
    bus = {}
    bus[4] = function(0x1000, 0x54, {0: (1, 0x100), 1: (0, 0x4000), 3: (4, 0x10000)})
    bars = space(bus).assign_bars(4)
    assert bars == (Bar("io", 0xC000, 0x100), Bar("mem", 0xF000_0000, 0x4000), None,
                    Bar("mem", 0xF001_0000, 0x10000, is_64=True), None, None)
    config = bus[4][0]
    assert config[0x10:0x28].hex() == "01c00000" "000000f0" "00000000" "040001f0" "00000000" "00000000"


def test_decoding_is_off_after_assignment() -> None:
    """The driver turns it on: firmware that left it on would hide a missing pci_enable_device()."""
    bus = {4: function(0x1000, 0x54, {})}
    space(bus).assign_bars(4)
    assert bus[4][0][4] == 0


def test_an_io_bar_with_16_bit_decoding_is_sized() -> None:
    """Upper halves of an I/O BAR that read as zero do not make it huge."""
    config, writable = function(0x1000, 0x12, {0: (1, 0x80)})
    writable = writable[:0x12] + b"\0\0" + writable[0x14:]
    assert space({4: (config, writable)}).assign_bars(4)[0] == Bar("io", 0xC000, 0x80)


def test_a_function_is_found_by_its_ids_or_the_others_are_listed() -> None:
    """Slot and function come back; a miss names what there is."""
    bus = space({0: function(0x8086, 0x1237, {}), 4: function(0x1000, 0x54, {})})
    assert bus.find(0x1000, 0x54) == (4, 0)
    with pytest.raises(DeviceError, match=r"no PCI function 1000:0030 on QEMU's bus 0, which has "
                                          r"00.0 8086:1237, 04.0 1000:0054; choose"):
        bus.find(0x1000, 0x30)


def south_bridge(interface: int) -> dict[Any, tuple[bytearray, bytes]]:
    """A bridge with an IDE interface as its function 1, which has a bus master BAR."""
    bridge, ide = function(0x8086, 0x7000, {}), function(0x8086, 0x7010, {4: (1, 0x10)})
    bridge[0][0x0E] = 0x80
    ide[0][9:12] = bytes((interface, 0x01, 0x01))
    return {1: bridge, (1, 1): ide}


def test_functions_behind_the_first() -> None:
    """Only a slot whose header type says so has more than function 0."""
    functions = south_bridge(0x80)
    assert space(functions).find(0x8086, 0x7010) == (1, 1)
    functions[1][0][0x0E] = 0x00
    with pytest.raises(DeviceError, match=r"which has 01.0 8086:7000; choose"):
        space(functions).find(0x8086, 0x7010)


@pytest.mark.parametrize(("interface", "channels"), [
    (0x80, [0, 1]), (0x8A, [0, 1]), (0x85, []), (0x81, [1]), (0x84, [0])])
def test_ide_at_the_ports_of_old(interface: int, channels: list[int]) -> None:
    """A channel in compatibility mode has its ports where a PC always had them, BAR registers or not."""
    bus = space(south_bridge(interface))
    assert bus.compatible_channels(1, 1) == channels
    bars = bus.assign_bars(1, 1)
    ports = [bar.bus_addr if bar is not None else 0 for bar in bars]
    assert ports == [0x1F0 * (0 in channels), 0x3F6 * (0 in channels), 0x170 * (1 in channels), 0x376 * (1 in channels),
                     0xC000, 0]
    assert [bar.size for bar in bars if bar is not None and bar.bus_addr < 0xC000] == [8, 1] * len(channels)


def left_by_a_kernel() -> tuple[bytearray, bytes]:
    """Programmed, decoding, bus master: ports, 32-bit memory, 64-bit memory above 4 GiB, one BAR never assigned."""
    config, writable = function(0x1000, 0x12, {0: (1, 0x100), 1: (0, 0x400), 2: (4, 0x2000), 4: (0, 0x1000)})
    for number, value in ((0, 0xC001), (1, 0xFEBF_D000), (2, 0xFEBF_A004), (3, 0x8), (4, 0)):
        config[0x10 + 4 * number:0x14 + 4 * number] = value.to_bytes(4, "little")
    config[4] = 0x07
    return config, writable


def test_bars_are_read_as_they_were_left() -> None:
    """Address, kind and size of each; a BAR that nobody ever assigned is none."""
    assert space({4: left_by_a_kernel()}).found_bars(4) == (
        Bar("io", 0xC000, 0x100), Bar("mem", 0xFEBF_D000, 0x400), Bar("mem", 0x8_FEBF_A000, 0x2000, is_64=True),
        None, None, None)


def test_reading_bars_leaves_configuration_space_as_it_was() -> None:
    """Nothing is enumerated anew: every byte is what it was, and nothing decoded while addresses were not theirs."""
    config, writable = left_by_a_kernel()
    before, commands = bytes(config), []

    class Watched(FakeBus):
        def one(self, command: bytes, port: bytes, value: bytes = b"") -> bytes:
            answer = super().one(command, port, value)
            if bytes(config[0x10:0x28]) != before[0x10:0x28]:
                commands.append(config[4])
            return answer

    ConfigSpace(cast(QTest, Watched({4: (config, writable)}))).found_bars(4)
    assert bytes(config) == before
    assert set(commands) == {0x04}, "bus mastering as it was, decoding off"


def test_ports_of_old_are_found_too() -> None:
    """An IDE interface that a kernel used: bus master registers where it put them, the rest where it always was."""
    functions = south_bridge(0x80)
    functions[1, 1][0][0x20:0x24] = (0xC041).to_bytes(4, "little")
    bars = space(functions).found_bars(1, 1)
    assert [bar.bus_addr for bar in bars if bar is not None] == [0x1F0, 0x3F6, 0x170, 0x376, 0xC040]


def test_no_room_is_an_error() -> None:
    """A BAR larger than the space there is, is not placed on top of the I/O APIC."""
    with pytest.raises(DeviceError, match=r"BAR 1: no room for 268435456 bytes of mem space"):
        space({4: function(1, 2, {1: (0, 256 << 20)})}).assign_bars(4)


@pytest.mark.parametrize(("offset", "size"), [(1, 2), (2, 4), (256, 1), (-1, 1), (0, 8), (254, 4)])
def test_impossible_accesses_are_refused(offset: int, size: int) -> None:
    """Unaligned, too wide, or outside the 256 bytes."""
    with pytest.raises(RegisterAccessFault, match="accesses are 1, 2 or 4 bytes, aligned, inside 256 bytes"):
        check_config_access("0000:00:04.0", "read", offset, size)


def test_every_width_reads_its_own_bytes() -> None:
    """Byte and word accesses go to the right data port."""
    bus = space({4: function(0x1234, 0x5678, {})})
    assert [bus.read(4, offset, 1) for offset in range(4)] == [0x34, 0x12, 0x78, 0x56]
    assert bus.read(4, 2, 2) == 0x5678
    bus.write(4, 4, 2, 0x0407)
    assert bus.read(4, 4, 4) == 0x0407
    assert bus.read(9, 0, 4) == 0xFFFF_FFFF
