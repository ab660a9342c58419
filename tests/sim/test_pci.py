"""PCI: configuration space, BAR sizing, COMMAND enforcement, interrupt disable, surprise removal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ddsdk.bus import Bar, PciFunction
from ddsdk.errors import DmaFault, RegisterAccessFault, SimulationStuckError, UsageError
from ddsdk.regs import Reg8, Reg32, RegBlock
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.model import HwModel
from ddsdk.sim.pci import BarSpec, ConfigRegister, SimPciFunction

COMMAND, STATUS, BAR0, LINE = 0x04, 0x06, 0x10, 0x3C
CACHE_LINE, BIST = 0x0C, 0x0F


class Regs(RegBlock, size=0x100):
    """A chip with one register of each width."""

    CONTROL = Reg32.at(0x00, reset=0x1234_5678)
    BYTE = Reg8.at(0x10)


class Aperture:
    """A second window: echoes the offset."""

    size = 0x1000

    def __init__(self) -> None:
        self.written: list[tuple[int, int, int]] = []

    def read(self, offset: int, size: int) -> int:
        return offset

    def write(self, offset: int, size: int, value: int) -> None:
        self.written.append((offset, size, value))


class Chip(HwModel):
    """The model behind the function."""

    regs = Regs

    def __init__(self) -> None:
        super().__init__()
        self.gone = False
        self.written: list[tuple[int, int, int]] = []
        self.aperture = Aperture()
        self.windows["diag"] = self.aperture

    def unplugged(self) -> None:
        self.gone = True

    def config_written(self, offset: int, size: int) -> None:
        self.written.append((offset, size, self.config.read(offset, size)))


@pytest.fixture
def machine() -> Machine:
    """A machine without functions."""
    return Machine(PhysicalMemory.anonymous(1 << 20))


def chip(**options: object) -> SimPciFunction:
    """A function with an I/O BAR, a memory BAR and a 64-bit one."""
    bars = {0: BarSpec("io", 0x100), 1: BarSpec("mem", 0x4000), 2: BarSpec("mem", 0x1000, "diag", is_64=True)}
    return SimPciFunction(Chip(), vendor=0x1000, device=0x0054, bars=bars, subsystem=(0x1028, 0x1F10),
                          revision=2, **options)  # type: ignore[arg-type]


@pytest.fixture
def function(machine: Machine) -> SimPciFunction:
    """The function, plugged in, COMMAND still 0."""
    return machine.pci.plug(chip())


def test_satisfies_the_bus_protocol(function: SimPciFunction) -> None:
    """What a driver's world wants of a function is there (mypy checks the types)."""
    seen: PciFunction = function
    assert seen.name == "0000:00:04.0"
    assert seen.irq_line is not None
    assert seen.irq_line.level is False


def test_header_says_who_it_is(function: SimPciFunction) -> None:
    """Ids, class, revision, subsystem and interrupt are where PCI puts them, in every width."""
    assert function.config_read(0x00, 4) == 0x0054_1000
    assert function.config_read(0x02, 2) == 0x0054
    assert function.config_read(0x08, 4) == 0x0100_0002
    assert function.config_read(0x0B, 1) == 0x01
    assert function.config_read(0x2C, 4) == 0x1F10_1028
    assert (function.config_read(LINE, 1), function.config_read(0x3D, 1)) == (11, 1)
    assert function.config_read(COMMAND, 2) == 0


def test_read_only_bits_stay(function: SimPciFunction) -> None:
    """Ids cannot be written; COMMAND keeps the bits it has; the interrupt line is scratch."""
    function.config_write(0x00, 4, 0xDEAD_BEEF)
    function.config_write(COMMAND, 2, 0xFFFF)
    function.config_write(LINE, 1, 5)
    function.config_write(0x0C, 2, 0xFFFF)
    assert function.config_read(0x0C, 2) == 0xF8FF      # cache line size, latency timer
    assert function.config_read(0x00, 4) == 0x0054_1000
    assert function.config_read(COMMAND, 2) == 0x0557
    assert function.config_read(LINE, 1) == 5


def test_firmware_assigned_naturally_aligned_bars(function: SimPciFunction) -> None:
    """Each BAR has an address aligned to its size; a 64-bit one takes two."""
    assert list(function.bars) == [
        Bar("io", 0xC000, 0x100), Bar("mem", 0xF000_0000, 0x4000), Bar("mem", 0xF000_4000, 0x1000, is_64=True),
        None, None, None]
    assert function.config_read(BAR0, 4) == 0xC001
    assert function.config_read(BAR0 + 8, 4) == 0xF000_4004


def test_bar_sizing_protocol(function: SimPciFunction) -> None:
    """All ones written, what comes back tells the size; the address can be put back."""
    for number, ones in ((0, 0xFFFF_FF01), (1, 0xFFFF_C000), (2, 0xFFFF_F004), (3, 0xFFFF_FFFF)):
        saved = function.config_read(BAR0 + 4 * number, 4)
        function.config_write(BAR0 + 4 * number, 4, 0xFFFF_FFFF)
        assert function.config_read(BAR0 + 4 * number, 4) == ones
        function.config_write(BAR0 + 4 * number, 4, saved)
    function.config_write(BAR0 + 16, 4, 0xFFFF_FFFF)
    assert function.config_read(BAR0 + 16, 4) == 0
    assert function.bars[1] == Bar("mem", 0xF000_0000, 0x4000)
    function.config_write(BAR0 + 12, 4, 0x1)
    assert function.bars[2] == Bar("mem", 0x1_F000_4000, 0x1000, is_64=True)


def test_misaligned_configuration_access_is_a_fault(function: SimPciFunction) -> None:
    """1, 2 or 4 bytes, aligned, inside the 256."""
    for offset, size in ((1, 2), (2, 4), (0, 3), (256, 1), (0, 8), (-4, 4)):
        with pytest.raises(RegisterAccessFault, match=r"0000:00:04\.0: .* configuration read"):
            function.config_read(offset, size)
        with pytest.raises(RegisterAccessFault, match="configuration write"):
            function.config_write(offset, size, 0)


@pytest.mark.parametrize(("bar", "bit"), [(0, 1), (1, 2)])
def test_window_decodes_only_while_command_says_so(function: SimPciFunction, bar: int, bit: int) -> None:
    """Decode off: reads are all ones, writes are lost; the other kind's bit does not help."""
    window = function.window(bar)
    for command in (0, 3 & ~bit):
        function.config_write(COMMAND, 2, command)
        window.write(0, 4, 1)
        assert (window.read(0, 4), window.read(0x10, 1)) == (0xFFFF_FFFF, 0xFF)
    function.config_write(COMMAND, 2, bit)
    assert window.read(0, 4) == 0x1234_5678
    window.write(0, 4, 0x1_0000_0007)       # the bus carries 32 bits
    assert window.read(0, 4) == 7


def test_io_and_memory_bar_show_the_same_registers(function: SimPciFunction) -> None:
    """Two BARs on one window are one register file; the third is another window."""
    function.config_write(COMMAND, 1, 3)
    function.window(0).write(0, 4, 99)
    assert function.window(1).read(0, 4) == 99
    assert function.window(2).read(0xFFC, 4) == 0xFFC
    function.window(2).write(8, 2, 0xABCD)
    assert function.model.windows["diag"].written == [(8, 2, 0xABCD)]  # type: ignore[attr-defined]
    assert (function.window(0).size, function.window(1).size) == (0x100, 0x4000)


def test_accesses_outside_a_window_are_faults(function: SimPciFunction) -> None:
    """Past the end, before it, of no legal size - decoded or not."""
    for offset, size in ((0x100, 4), (0xFE, 4), (-4, 4), (0, 3), (0, 16)):
        with pytest.raises(RegisterAccessFault, match="inside the window's 0x100"):
            function.window(0).read(offset, size)
        with pytest.raises(RegisterAccessFault, match="inside the window's 0x100"):
            function.window(0).write(offset, size, 0)
    with pytest.raises(UsageError, match=r"there is no BAR 3; it has \[0, 1, 2\]"):
        function.window(3)


def test_bus_mastering_is_command_bit_2(function: SimPciFunction) -> None:
    """The model's DMA needs it, from the moment it is set to the moment it is cleared."""
    model = function.model
    function.dma_grant(0x1000, 0x100)
    with pytest.raises(DmaFault, match="bus mastering off"):
        model.dma.read(0x1000, 4)
    function.config_write(COMMAND, 2, 4)
    assert model.dma.read(0x1000, 4) == bytes(4)
    function.config_write(COMMAND, 2, 2)
    with pytest.raises(DmaFault, match="bus mastering off"):
        model.dma.read(0x1000, 4)


def test_dma_calls_reach_the_domain(function: SimPciFunction) -> None:
    """Map, unmap, grant, revoke as bus.PciFunction has them."""
    function.config_write(COMMAND, 2, 4)
    mapped = function.dma_map([(0x2000, 0x1000), (0x3000, 0x1000)], True)
    assert mapped == [(0x2000, 0x2000)]
    assert len(function.model.dma.view(0x2000, 0x2000, True)[0]) == 0x2000
    function.dma_unmap(mapped, True)
    assert function.dma_grant(0x8000, 64) == 0x8000
    function.dma_revoke(0x8000, 64)
    assert function.model.dma.grants == []


def test_interrupt_pin_line_and_status_bit(function: SimPciFunction) -> None:
    """The pin drives the line; STATUS bit 3 shows it; COMMAND bit 10 cuts the line and not the status."""
    pin, line = function.model.irq, function.irq_line
    assert line is not None
    pin.raise_()
    assert (line.level, function.config_read(STATUS, 2)) == (True, 0x0008)
    function.config_write(COMMAND, 2, 0x400)
    assert (line.level, function.config_read(COMMAND, 4)) == (False, 0x0008_0400)
    function.config_write(COMMAND, 2, 0)
    assert line.level is True
    pin.lower()
    assert (line.level, function.config_read(STATUS, 2)) == (False, 0)


def test_errors_a_function_reports_stay_until_they_are_cleared(function: SimPciFunction) -> None:
    """Master abort (bit 13) and detected parity (bit 15) show in STATUS; a written 1 clears each alone."""
    function.model.config.report(0x2000)
    function.model.config.report(0x8000)
    assert function.config_read(STATUS, 2) == 0xA000
    function.config_write(STATUS, 2, 0x2000)
    assert function.config_read(STATUS, 2) == 0x8000
    with pytest.raises(ValueError, match="only 0xf900 are errors"):
        function.model.config.report(0x0010)


def test_surprise_removal(machine: Machine, function: SimPciFunction) -> None:
    """All ones everywhere, no DMA, the line falls, the model is told - and it stays so."""
    function.config_write(COMMAND, 2, 7)
    function.dma_grant(0x1000, 64)
    window = function.window(1)
    function.model.irq.raise_()
    function.remove()
    function.config_write(COMMAND, 2, 7)
    window.write(0, 4, 1)
    assert (window.read(0, 4), function.config_read(0, 4), function.config_read(0, 2)) == (
        0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF)
    assert function.irq_line is not None
    assert function.irq_line.level is False
    with pytest.raises(DmaFault, match="after the function was removed"):
        function.model.dma.read(0x1000, 4)
    assert function.model.gone  # type: ignore[attr-defined]
    assert machine.pci.find(0x1000, 0x54) is None


def test_polling_a_removed_function_for_ever_is_stuck(machine: Machine, function: SimPciFunction) -> None:
    """A loop that waits for a bit in all ones is ended."""
    machine.stall.limit = 1_000
    function.remove()
    window = function.window(1)
    with pytest.raises(SimulationStuckError):
        while window.read(0, 4) & 1:
            pass


def test_slots_lines_and_finding(machine: Machine) -> None:
    """Functions take the next free slot, or the one asked for; functions of one slot share its line."""
    first = machine.pci.plug(chip())
    third = machine.pci.plug(chip(), slot=6)
    second = machine.pci.plug(chip())
    other_half = machine.pci.plug(chip(), slot=6, func=1)
    assert [f.name for f in (first, second, third, other_half)] == [
        "0000:00:04.0", "0000:00:05.0", "0000:00:06.0", "0000:00:06.1"]
    assert third.irq_line is other_half.irq_line is not first.irq_line
    assert machine.pci.plug(first) is first
    assert machine.pci.find(0x1000, 0x54) is first
    assert machine.pci.find(0x1000, 0x99) is None
    with pytest.raises(UsageError, match=r"0000:00:06\.1 is occupied"):
        machine.pci.plug(chip(), slot=6, func=1)
    addresses = [bar.bus_addr for f in machine.pci.functions for bar in f.bars if bar]
    assert len(set(addresses)) == len(addresses)


def test_capability_list() -> None:
    """Given bytes are the list at 0x40; STATUS and the pointer say so; they are read-only."""
    function = chip(capabilities=bytes([0x01, 0x00, 0x03, 0x00]))
    function.config_write(0x40, 4, 0xFFFF_FFFF)
    assert (function.config_read(0x34, 1), function.config_read(STATUS, 2), function.config_read(0x40, 4)) == (
        0x40, 0x0010, 0x0003_0001)


def test_registers_of_the_devices_own(machine: Machine) -> None:
    """Only the bits that can be written change, whatever the width; the model is told, and finds them in its `config`.
    """
    function = machine.pci.plug(chip(registers=[ConfigRegister(0x40, 2, 0x8000, 0xF000), ConfigRegister(0x44, 1)]))
    function.config_write(0x40, 4, 0x1234_5678)
    function.config_write(0x44, 1, 0xFF)
    assert (function.config_read(0x40, 4), function.config_read(0x44, 1)) == (0x5000, 0)
    assert isinstance(function.model, Chip)
    assert function.model.written == [(0x40, 4, 0x5000), (0x44, 1, 0)]


def test_registers_are_no_part_of_the_capability_list() -> None:
    """A register over it fails when the function is made."""
    with pytest.raises(TypeError, match="configuration register at 0x42: byte 0x42 belongs to the capability list"):
        chip(capabilities=bytes(4), registers=[ConfigRegister(0x42, 2)])


def test_a_fixed_address_has_no_base_address_register(machine: Machine) -> None:
    """BAR 0 of an IDE interface in compatibility mode: nothing can be sized or moved, and the ports decode with
    COMMAND bit 0 all the same.
    """
    function = machine.pci.plug(SimPciFunction(Chip(), vendor=1, device=2, bars={
        0: BarSpec("io", 0x100, fixed_at=0x1F0), 4: BarSpec("io", 0x10)}))
    function.config_write(BAR0, 4, 0xFFFF_FFFF)
    assert function.config_read(BAR0, 4) == 0
    assert function.bars[0] == Bar("io", 0x1F0, 0x100)
    assert function.bars[4] == Bar("io", 0xC000, 0x10)
    assert function.window(0).read(0, 4) == 0xFFFF_FFFF
    function.config_write(COMMAND, 2, 1)
    assert function.window(0).read(0, 4) == 0x1234_5678


def test_dma_before_plugging_in_is_refused() -> None:
    """A function that is nowhere has no memory to reach."""
    with pytest.raises(UsageError, match="unplugged: DMA before the function is plugged in"):
        chip().dma_grant(0, 16)


@pytest.mark.parametrize(("bars", "message"), [
    ({0: BarSpec("mem", 0x3000)}, "BAR 0: kind 'mem', size 12288"),
    ({0: BarSpec("mem", 8)}, "power of two of at least 16"),
    ({0: BarSpec("rom", 0x1000)}, "kind 'rom'"),
    ({1: BarSpec("mem", 0x1000, is_64=True), 2: BarSpec("mem", 0x1000)}, "takes BAR 2 as well"),
    ({0: BarSpec("io", 0x100, is_64=True)}, "a 64-bit BAR is memory"),
    ({5: BarSpec("mem", 0x1000, is_64=True)}, "BARs 0 to 5"),
    ({6: BarSpec("mem", 0x1000)}, "BARs 0 to 5"),
])
def test_impossible_bars_fail_when_the_function_is_made(bars: dict[int, BarSpec], message: str) -> None:
    """Size, kind, number and overlap are checked at definition time."""
    with pytest.raises(TypeError, match=message):
        SimPciFunction(Chip(), vendor=1, device=2, bars=bars)


def test_writable_bits_of_a_capability() -> None:
    """Those that are named can be written, the rest stays."""
    function = chip(capabilities=bytes([0x07, 0x00, 0x00, 0x00]), capability_bits=bytes([0, 0, 0x7F, 0]))
    function.config_write(0x40, 4, 0xFFFF_FFFF)
    assert function.config_read(0x40, 4) == 0x007F_0007


@pytest.mark.parametrize("bar", [0, 1])
def test_a_window_answers_where_its_bar_was(function: SimPciFunction, bar: int) -> None:
    """Once the BAR is programmed elsewhere, the old mapping reads all ones; a new one reads the register."""
    function.config_write(COMMAND, 2, 0x3)
    window, at = function.window(bar), BAR0 + 4 * bar
    before = function.config_read(at, 4)
    assert window.read(0, 4) == 0x1234_5678
    function.config_write(at, 4, before + 0x10000)
    assert window.read(0, 4) == 0xFFFF_FFFF
    assert function.window(bar).read(0, 4) == 0x1234_5678
    function.config_write(at, 4, before)
    assert window.read(0, 4) == 0x1234_5678


class TestingChip(Chip):
    """A chip that tests itself when it is told to."""

    __test__ = False
    takes = True

    def bist_started(self, over: Callable[[int], None]) -> bool:
        self.over = over
        return self.takes


def self_testing(machine: Machine) -> tuple[SimPciFunction, TestingChip]:
    """A function that can test itself, enabled."""
    model = TestingChip()
    function = machine.pci.plug(SimPciFunction(model, vendor=1, device=2, bars={0: BarSpec("mem", 0x100)}, bist=True))
    function.config_write(COMMAND, 2, 0x6)
    function.config_write(CACHE_LINE, 1, 0x20)
    return function, model


def test_bist_loses_configuration_space(machine: Machine) -> None:
    """While it runs bit 6 reads 1, ids stay, the rest is as at power on and cannot be written; then the code shows."""
    function, model = self_testing(machine)
    assert function.config_read(BIST, 1) == 0x80
    window, place = function.window(0), function.config_read(BAR0, 4)
    function.config_write(BIST, 1, 0x40)
    function.config_write(COMMAND, 2, 0x6)
    function.config_write(BAR0, 4, place)
    assert (function.config_read(BIST, 1), function.config_read(0, 4)) == (0xC0, 0x0002_0001)
    assert (function.config_read(COMMAND, 2), function.config_read(CACHE_LINE, 1), function.config_read(BAR0, 4)) == (
        0, 0, 0)
    assert function.dma is not None
    assert not function.dma.bus_master
    model.over(0x3)
    assert function.config_read(BIST, 1) == 0x83
    function.config_write(COMMAND, 2, 0x6)
    assert window.read(0, 4) == 0xFFFF_FFFF             # not decoded where the driver mapped it
    function.config_write(BAR0, 4, place)
    assert window.read(0, 4) == 0x1234_5678


def test_bist_that_is_not_taken_changes_nothing(machine: Machine) -> None:
    """The model says no, or the function has none, or the write is of other bits."""
    function, model = self_testing(machine)
    model.takes = False
    function.config_write(BIST, 1, 0x40)
    function.config_write(BIST, 1, 0xBF)
    assert (function.config_read(BIST, 1), function.config_read(COMMAND, 2)) == (0x80, 0x6)
    plain = machine.pci.plug(chip())
    plain.config_write(COMMAND, 2, 0x6)
    plain.config_write(BIST, 1, 0x40)
    assert (plain.config_read(BIST, 1), plain.config_read(COMMAND, 2)) == (0, 0x6)


def test_bist_can_be_begun_again_while_it_runs(machine: Machine) -> None:
    """A test that hangs does not keep the next from starting."""
    function, model = self_testing(machine)
    function.config_write(BIST, 1, 0x40)
    function.config_write(BIST, 1, 0x40)
    model.over(0)
    assert function.config_read(BIST, 1) == 0x80


# --- the device's own registers -----------------------------------------------------------------------------------


def test_a_device_has_configuration_registers_of_its_own(machine: Machine) -> None:
    """Only their writable bits take what is written, and a 1 clears where it should; the model sees what they hold."""
    function = machine.pci.plug(chip(registers=[ConfigRegister(0x40, 4, reset=0x8000_0010, writable=0x0000_00FF),
                                                ConfigRegister(0x46, 2, 0xF0F0, clears=0xF000)]))
    function.config_write(0x40, 4, 0xFFFF_FF04)
    assert function.config_read(0x40, 4) == 0x8000_0004
    function.config_write(0x41, 1, 0xFF)
    assert function.model.config.read(0x40, 4) == 0x8000_0004
    function.config_write(0x46, 2, 0x3FFF)
    assert function.config_read(0x46, 2) == 0xC0F0


@pytest.mark.parametrize(("registers", "why"), [
    ([ConfigRegister(0x3C, 4)], "between 0x40 and 0x100"),
    ([ConfigRegister(0x42, 4)], "aligned"),
    ([ConfigRegister(0x40, 4), ConfigRegister(0x42, 1)], "byte 0x42 belongs to the register at 0x40"),
    ([ConfigRegister(0x44, 3)], "1, 2 or 4 bytes"),
])
def test_impossible_configuration_registers_are_refused(registers: list[ConfigRegister], why: str) -> None:
    """In the header, misaligned, over one another: a TypeError when the function is made."""
    with pytest.raises(TypeError, match=why):
        chip(registers=registers)
