"""HwModel: behaviour by name, default access kinds, slices, strictness, faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from ddsdk.errors import RegisterAccessFault, UsageError
from ddsdk.regs import (
    Reg8,
    Reg16,
    Reg32,
    RegBlock,
    bit,
    bits,
    mbz,
    rc,
    ro,
    rw,
    w1c,
    w1s,
    wac,
    wo,
)
from ddsdk.sim.model import HwModel
from ddsdk.sim.trace import Trace


class Kinds(Reg32):
    """One field of each access kind."""

    RW = bits(3, 0, rw)
    RO = bits(7, 4, ro)
    W1C = bits(11, 8, w1c)
    W1S = bits(15, 12, w1s)
    RC = bits(19, 16, rc)
    WO = bits(23, 20, wo)
    MBZ = bits(27, 24, mbz)
    WAC = bits(31, 28, wac)


class Status(Reg32):
    """A status register."""

    READY = bit(0, ro)


class Regs(RegBlock, size=0x80):
    """Plain, read-only, write-only, same offset both ways, an array, every kind."""

    PLAIN = Reg32.at(0x00, reset=5)
    STATUS = Status.at(0x04, ro, reset=1)
    COMMAND = Reg32.at(0x08, wo)
    REPLY = Reg32.at(0x0C, ro)
    REPLY_PUSH = Reg32.at(0x0C, wo)
    KINDS = Kinds.at(0x10)
    MBOX = Reg16.at(0x20, count=3)


class Chip(HwModel):
    """Remembers what was written."""

    regs = Regs
    FAULTS: ClassVar[Mapping[str, str]] = {"lost": "a reply never arrives", "slow": "a reply is late [ns]"}

    def __init__(self) -> None:
        self.log: list[tuple[str, object]] = []
        super().__init__()

    def w_COMMAND(self, value: Reg32) -> None:
        self.log.append(("COMMAND", value))

    def r_REPLY(self) -> int:
        return 0xFEED

    def w_REPLY_PUSH(self, value: Reg32) -> None:
        self.log.append(("REPLY_PUSH", int(value)))

    def r_MBOX(self, index: int) -> int:
        return 0x100 + index

    def w_MBOX(self, index: int, value: Reg16) -> None:
        self.log.append((f"MBOX{index}", value))


@pytest.fixture
def chip() -> Chip:
    """A fresh chip."""
    return Chip()


def test_behaviour_is_attached_by_name(chip: Chip) -> None:
    """w_NAME gets the register's own type, r_NAME's answer is the value read; same offset goes both ways."""
    chip.write(0x08, 4, 7)
    chip.write(0x0C, 4, 0x1000)
    assert chip.read(0x0C, 4) == 0xFEED
    assert chip.log == [("COMMAND", 7), ("REPLY_PUSH", 0x1000)]
    assert type(chip.log[0][1]) is Reg32


def test_plain_register_is_storage(chip: Chip) -> None:
    """Reset value, then what was written; the model sees it in values; reset() restores."""
    assert chip.read(0x00, 4) == 5
    chip.write(0x00, 4, 0xFFFF_FFFF)
    assert (chip.read(0x00, 4), chip.values["PLAIN"]) == (0xFFFF_FFFF, 0xFFFF_FFFF)
    chip.reset()
    assert chip.read(0x00, 4) == 5


def test_access_kinds_without_behaviour(chip: Chip) -> None:
    """Each field follows its kind; rc is cleared by the read, wo and mbz read 0."""
    chip.values["KINDS"] = 0xA0AF_F0F3
    assert chip.read(0x10, 4) == 0xA00F_F0F3           # wo bits 23:20 hidden
    assert chip.values["KINDS"] == 0xA0A0_F0F3         # rc bits 19:16 read once
    chip.values["KINDS"] = 0xA000_3FF0
    chip.write(0x10, 4, 0x0050_45AC)
    # rw=C, ro=F kept, w1c F&~5=A, w1s 3|4=7, wo=5, wac cleared
    assert chip.values["KINDS"] == 0x0050_7AFC


def test_must_be_zero_bits_are_a_fault(chip: Chip) -> None:
    """A set mbz bit names the register, the value and the bits."""
    with pytest.raises(RegisterAccessFault, match="KINDS: the write of 0x3000001 sets bits 0x3000000, which must be"):
        chip.write(0x10, 4, 0x0300_0001)


def test_store_does_what_would_have_happened_without_behaviour(chip: Chip) -> None:
    """store() inside a w_NAME applies the access kinds."""
    chip.values["KINDS"] = 0x0000_0F00
    chip.store("KINDS", 0x0000_0302)
    assert chip.values["KINDS"] == 0x0000_0C02


@pytest.mark.parametrize(("verb", "offset", "size", "message"), [
    ("read", 0x08, 4, "Chip: 4-byte read at 0x8: COMMAND can only be written"),
    ("write", 0x04, 4, "Chip: 4-byte write at 0x4: STATUS can only be read"),
    ("read", 0x00, 2, "Chip: 2-byte read at 0x0 hits PLAIN, 4 bytes at 0x0; access a register whole"),
    ("write", 0x02, 4, "Chip: 4-byte write at 0x2 hits PLAIN, 4 bytes at 0x0"),
    ("read", 0x7C, 4, r"Chip: 4-byte read at 0x7c: no register there; the nearest is MBOX\[2\] at 0x24"),
    ("write", 0x30, 1, r"no register there"),
])
def test_stricter_than_silicon(chip: Chip, verb: str, offset: int, size: int, message: str) -> None:
    """Wrong direction, part of a register, no register: each a RegisterAccessFault that says which."""
    with pytest.raises(RegisterAccessFault, match=message):
        if verb == "read":
            chip.read(offset, size)
        else:
            chip.write(offset, size, 0)


def test_arrays_pass_the_index(chip: Chip) -> None:
    """r_ and w_ of a register array get the index first."""
    chip.write(0x22, 2, 9)
    assert chip.read(0x24, 2) == 0x102
    assert chip.log == [("MBOX1", 9)]


def test_misspelt_behaviour_fails_at_class_creation() -> None:
    """A name without a register, and a read of a write-only one, are TypeErrors that list what there is."""
    with pytest.raises(TypeError, match=r"Typo\.w_COMAND: Regs has no register 'COMAND'; it has COMMAND, KINDS, MBOX"):
        class Typo(HwModel):
            regs = Regs

            def w_COMAND(self, value: Reg32) -> None: ...
    with pytest.raises(TypeError, match=r"Deaf\.r_COMMAND: Regs\.COMMAND can only be written; no access would ever"):
        class Deaf(HwModel):
            regs = Regs

            def r_COMMAND(self) -> int:
                return 0
    with pytest.raises(TypeError, match=r"Mute\.w_STATUS: Regs\.STATUS can only be read"):
        class Mute(HwModel):
            regs = Regs

            def w_STATUS(self, value: Reg32) -> None: ...


def test_accesses_are_traced_by_register_name(chip: Chip) -> None:
    """One record an access: direction, register, value."""
    chip.trace = Trace()
    chip.write(0x08, 4, 3)
    chip.read(0x0C, 4)
    assert [(r.kind, r.fields) for r in chip.trace] == [("write", ("COMMAND", 3)), ("read", ("REPLY", 0xFEED))]


class Sliced(RegBlock, size=0x40, byte_access=True):
    """A register file like sym53c8xx: any byte, any aligned group."""

    CTL = Reg8.at(0x00)
    STAT = Reg8.at(0x01, ro, reset=0x80)
    ACK = Kinds.at(0x04)
    DSP = Reg32.at(0x08)
    ID = Reg16.at(0x0C)


class SlicedChip(HwModel):
    """DSP starts the processor when its last byte is written."""

    regs = Sliced

    def __init__(self) -> None:
        self.log: list[tuple[int, int]] = []
        super().__init__()

    def w_DSP(self, value: Reg32) -> None:
        self.log.append((int(value), self.lanes))
        self.store("DSP", value)


def test_slices_of_one_register() -> None:
    """A byte write arrives as the whole value it makes, with the lanes it carried; a byte read shows its part."""
    chip = SlicedChip()
    for byte in range(4):
        chip.write(0x08 + byte, 1, 0x10 + byte)
    chip.write(0x08, 4, 0xAABBCCDD)
    assert chip.log == [(0x10, 0xFF), (0x1110, 0xFF00), (0x121110, 0xFF0000), (0x13121110, 0xFF000000),
                        (0xAABBCCDD, -1)]
    assert (chip.read(0x09, 1), chip.read(0x0A, 2), chip.lanes) == (0xCC, 0xAABB, -1)


def test_slices_across_registers() -> None:
    """One access may reach several registers; a register that cannot be written that way is left alone."""
    chip = SlicedChip()
    assert chip.read(0x00, 2) == 0x8000
    chip.write(0x00, 2, 0xFF01)
    assert (chip.read(0x00, 1), chip.read(0x01, 1)) == (0x01, 0x80)


def test_slices_follow_the_access_kinds_of_their_bytes_only() -> None:
    """Writing byte 1 of a register clears and sets nothing in byte 0, 2 or 3; reading likewise."""
    chip = SlicedChip()
    chip.values["ACK"] = 0xF00F_0F0F
    chip.write(0x05, 1, 0x13)           # w1c nibble: 3, w1s nibble: 1
    assert chip.values["ACK"] == 0xF00F_1C0F
    assert chip.read(0x05, 1) == 0x1C
    assert chip.values["ACK"] == 0xF00F_1C0F
    assert chip.read(0x06, 1) == 0x0F
    assert chip.values["ACK"] == 0xF000_1C0F


def test_holes_between_slices_are_faults_when_nothing_is_there() -> None:
    """An access that reaches no register at all is refused."""
    with pytest.raises(RegisterAccessFault, match="no register there"):
        SlicedChip().read(0x20, 4)


# -- faults --------------------------------------------------------------------------------------------


def test_fault_strikes_once_by_default(chip: Chip) -> None:
    """hit() gives the parameters when the fault strikes, None otherwise."""
    faults = chip.faults
    assert (faults.hit("lost"), faults.armed) == (None, ())
    faults.inject("lost")
    faults.inject("slow", ns=400)
    assert list(faults.armed) == ["lost", "slow"]
    assert [faults.hit("lost"), faults.hit("lost")] == [{}, None]
    assert (faults.hit("slow"), list(faults.armed)) == ({"ns": 400}, [])
    assert faults.struck == {"lost": 1, "slow": 1}


def test_fault_waits_and_repeats(chip: Chip) -> None:
    """after= lets opportunities pass, times= strikes again, 0 times is for ever."""
    faults = chip.faults
    faults.inject("lost", after=2, times=2)
    assert [faults.hit("lost") is not None for _ in range(6)] == [False, False, True, True, False, False]
    faults.inject("lost", times=0)
    assert all(faults.hit("lost") is not None for _ in range(100))
    faults.clear()
    assert (faults.hit("lost"), faults.struck["lost"], faults.armed) == (None, 102, ())


def test_faults_of_one_kind_strike_in_order_of_injection(chip: Chip) -> None:
    """The second plan begins to count when the first is spent."""
    faults = chip.faults
    faults.inject("slow", ns=1)
    faults.inject("slow", after=1, ns=2)
    assert [faults.hit("slow") for _ in range(4)] == [{"ns": 1}, None, {"ns": 2}, None]


def test_unknown_fault_lists_what_there_is(chip: Chip) -> None:
    """A typo in an injected id is a UsageError; in a model's question it is the model's defect."""
    with pytest.raises(UsageError, match="Chip has no fault 'los'; it has: lost, slow"):
        chip.faults.inject("los")
    with pytest.raises(UsageError, match="after=-1"):
        chip.faults.inject("lost", after=-1)
    chip.faults.inject("lost")
    with pytest.raises(KeyError, match="los"):
        chip.faults.hit("los")
