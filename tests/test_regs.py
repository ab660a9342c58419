"""Register values, fields, access kinds and blocks; and everything a table may not say."""

from __future__ import annotations

from enum import Flag, IntEnum, IntFlag
from typing import Any, cast

import pytest

from ddsdk.regs import (
    Access,
    Reg,
    Reg8,
    Reg16,
    Reg24,
    Reg32,
    Reg64,
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


class IocState(IntEnum):
    """A state machine with gaps."""

    RESET = 0
    READY = 1
    OPERATIONAL = 2
    FAULT = 4


class Strict(Flag):
    """Flags that refuse bits they do not name."""

    ONE = 1


class Causes(IntFlag):
    """Interrupt causes."""

    DOORBELL = 1
    REPLY = 8


class Doorbell(Reg32):
    """A register as data sheets have them: an enum, a bit, a number, undocumented bits between."""

    STATE = bits(31, 28, IocState, ro)
    USED = bit(27, ro)
    DATA = bits(15, 0)


class DoorbellWrite(Reg32):
    """What the same address means when written."""

    FUNCTION = bits(31, 24)


class Status(Reg8):
    """One field of every access kind."""

    STORE = bit(7, rw)
    READ = bit(6, ro)
    WRITE = bit(5, wo)
    CLEAR1 = bit(4, w1c)
    SET1 = bit(3, w1s)
    CLEAR_ANY = bit(2, wac)
    CLEAR_READ = bit(1, rc)
    ZERO = bit(0, mbz)


class Mpt(RegBlock, size=0x80):
    """A block with two meanings at one address and an array."""

    DOORBELL = Doorbell.at(0x00, ro)
    DOORBELL_W = DoorbellWrite.at(0x00, wo)
    STATUS = Status.at(0x08, reset=0x40)
    MASK = Reg32.at(0x34, reset=9)
    REQUEST_FIFO = Reg32.at(0x40, wo)
    SCRATCH = Reg16.at(0x50, count=3, stride=4)


def test_fields_of_a_value_are_decoded() -> None:
    """Fields come back as the type the table gives: enum, bool, int."""
    value = Doorbell(0x18001234)
    assert value.STATE is IocState.READY
    assert value.USED is True
    assert value.DATA == 0x1234
    assert value == 0x18001234
    assert isinstance(value, int)


def test_undocumented_enum_values_stay_numbers() -> None:
    """A value no member names is given as it is: silicon returns reserved values, drivers must see them."""
    assert Doorbell(0x70000000).STATE == 7
    assert Doorbell(0xFFFFFFFF).STATE == 15


def test_flags_keep_unnamed_bits() -> None:
    """An IntFlag field composes its members and keeps bits without a name."""
    class IntStatus(Reg32):
        CAUSES = bits(7, 0, Causes)

    assert IntStatus(0x109).CAUSES == Causes.DOORBELL | Causes.REPLY
    assert int(IntStatus(0x2A).CAUSES) == 0x2A


def test_values_are_built_from_fields() -> None:
    """of() starts from 0, replace() from the value; both leave other bits alone."""
    built = Doorbell.of(STATE=IocState.FAULT, DATA=0x8112)
    assert built == 0x40008112
    assert type(built) is Doorbell
    assert Doorbell(0x48FF8112).replace(STATE=IocState.READY, USED=False) == 0x10FF8112
    assert Doorbell.of() == 0


def test_repr_shows_every_field() -> None:
    """A value prints as its number and its fields by name."""
    assert repr(Doorbell(0x10000005)) == "<Doorbell 0x10000005 STATE=READY USED=0x0 DATA=0x5>"
    assert repr(Doorbell(0x70000000)) == "<Doorbell 0x70000000 STATE=0x7 USED=0x0 DATA=0x0>"
    assert repr(Reg8(10)) == "<Reg8 0x0a>"
    assert f"{Doorbell(0x10000005):#x}" == "0x10000005"


def test_values_cannot_be_changed() -> None:
    """A register value has no attribute that could be set."""
    value: Any = Doorbell(1)
    with pytest.raises(AttributeError) as caught:
        value.DATA = 3
    assert str(caught.value) == "Doorbell.DATA: a register value is immutable; use .replace(DATA=...)"
    with pytest.raises(AttributeError):
        value.other = 3


def test_the_class_shows_the_table() -> None:
    """On the class a field is its table entry: mask, place, access, type."""
    field = Doorbell.STATE
    assert (field.mask, field.shift, field.hi, field.lo) == (0xF0000000, 28, 31, 28)
    assert (field.access, field.type, field.name) == (Access.RO, IocState, "STATE")
    assert list(Doorbell.fields) == ["STATE", "USED", "DATA"]
    assert repr(Doorbell.STATE) == "<Field STATE 31:28 ro>"
    assert repr(Doorbell.USED) == "<Field USED 27 ro>"
    assert [reg.width for reg in (Reg8, Reg16, Reg24, Reg32, Reg64)] == [8, 16, 24, 32, 64]


def test_wrong_values_are_refused() -> None:
    """Too many bits, a sign or an unknown field are errors that name register, field and value."""
    with pytest.raises(ValueError, match=r"^Doorbell\(0x100000000\): a value has 32 bits and no sign$"):
        Doorbell(1 << 32)
    with pytest.raises(ValueError, match=r"^Reg8\(-0x1\): a value has 8 bits and no sign$"):
        Reg8(-1)
    with pytest.raises(ValueError, match=r"^Doorbell\.DATA = 0x10000 does not fit bits 15:0$"):
        Doorbell.of(DATA=0x10000)
    with pytest.raises(TypeError, match=r"^Doorbell has no field DTA; it has STATE, USED, DATA$"):
        Doorbell.of(DTA=1)
    with pytest.raises(TypeError, match=r"^Reg32 has no field X; it has none$"):
        Reg32(0).replace(X=1)


def test_registers_extend_registers() -> None:
    """A chip variant adds fields to a register; the base register does not get them."""
    class Newer(Doorbell):
        WHO_INIT = bits(26, 24, int, ro)

    assert Newer.of(WHO_INIT=4, STATE=IocState.READY) == 0x14000000
    assert "WHO_INIT" not in Doorbell.fields


def test_block_lists_registers_in_offset_order() -> None:
    """Registers come in offset order, array elements one by one, the readable one of an address first."""
    assert [(one.name, one.offset, one.size, one.access.value) for one in Mpt.registers] == [
        ("DOORBELL", 0x00, 4, "ro"), ("DOORBELL_W", 0x00, 4, "wo"), ("STATUS", 0x08, 1, "rw"),
        ("MASK", 0x34, 4, "rw"), ("REQUEST_FIFO", 0x40, 4, "wo"), ("SCRATCH[0]", 0x50, 2, "rw"),
        ("SCRATCH[1]", 0x54, 2, "rw"), ("SCRATCH[2]", 0x58, 2, "rw")]
    assert Mpt.size == 0x80


def test_placed_register_knows_its_place() -> None:
    """A placed register gives name, offset, size, type, access and reset value."""
    assert (Mpt.MASK.name, Mpt.MASK.offset, Mpt.MASK.size, Mpt.MASK.reg) == ("MASK", 0x34, 4, Reg32)
    assert (Mpt.MASK.access, Mpt.MASK.reset) == (Access.RW, 9)
    assert type(Mpt.STATUS.reset) is Status
    assert Mpt.STATUS.reset.READ is True
    assert Mpt.DOORBELL.from_bus(0x10000000).STATE is IocState.READY
    assert repr(Mpt.REQUEST_FIFO) == "<REQUEST_FIFO at 0x40, 4 bytes, wo>"


def test_register_arrays_are_indexed() -> None:
    """An array element is a placed register with the array's name and its index."""
    assert [(one.offset, one.attr, one.index) for one in Mpt.SCRATCH] == [
        (0x50, "SCRATCH", 0), (0x54, "SCRATCH", 1), (0x58, "SCRATCH", 2)]
    assert len(Mpt.SCRATCH) == 3
    assert (Mpt.MASK.attr, Mpt.MASK.index) == ("MASK", None)
    with pytest.raises(IndexError, match=r"^SCRATCH\[3\]: it has 3 registers$"):
        Mpt.SCRATCH[3]
    with pytest.raises(TypeError, match=r"^a register array has a count of at least 1$"):
        Reg32.at(0, count=0)


def test_direction_decides_between_two_meanings() -> None:
    """At one address the read-only register answers reads and the write-only one takes writes."""
    assert Mpt.at_offset(0, 4, write=False) is Mpt.DOORBELL
    assert Mpt.at_offset(0, 4, write=True) is Mpt.DOORBELL_W
    assert Mpt.at_offset(0x40, 4, write=False) is None
    assert Mpt.at_offset(0x54, 2, write=False) is Mpt.SCRATCH[1]


def test_plain_block_takes_whole_registers_only() -> None:
    """Without byte_access an access of another size or offset touches nothing."""
    assert Mpt.at_offset(0x34, 2, write=False) is None
    assert Mpt.slices(0x34, 2, write=False) == ()
    assert Mpt.slices(0x36, 1, write=True) == ()
    (only,) = Mpt.slices(0x34, 4, write=True)
    assert (only.register, only.first, only.at, only.size, only.whole) == (Mpt.MASK, 0, 0, 4, True)


@pytest.mark.parametrize(("kind", "readable", "writable"), [
    (rw, True, True), (ro, True, False), (wo, False, True), (w1c, True, True), (w1s, True, True),
    (wac, True, True), (rc, True, False), (mbz, True, True)])
def test_access_kinds_have_directions(kind: Access, readable: bool, writable: bool) -> None:
    """Each access kind says whether reads and writes mean anything."""
    assert (kind.readable, kind.writable) == (readable, writable)


def test_masks_follow_the_fields() -> None:
    """Each bit follows its field's access kind, or the register's when the field names none."""
    assert Mpt.STATUS.masks == {rw: 0x80, ro: 0x40, wo: 0x20, w1c: 0x10, w1s: 8, wac: 4, rc: 2, mbz: 1}
    assert Doorbell.at(0).masks == {ro: 0xF8000000, rw: 0x07FFFFFF}
    assert Doorbell.at(0, w1c).masks == {ro: 0xF8000000, w1c: 0x07FFFFFF}
    assert Mpt.DOORBELL.masks == {ro: 0xFFFFFFFF}
    assert Mpt.MASK.plain is True
    assert Mpt.DOORBELL.plain is Mpt.STATUS.plain is False


def test_writes_do_what_the_access_kind_says() -> None:
    """rw and wo store, ro and rc keep, w1c clears ones, w1s sets ones, wac clears, mbz stays 0."""
    assert Mpt.STATUS.after_write(0b01011110, 0b10110100) == 0b11101010
    assert Mpt.STATUS.after_write(0b01010110, 0) == 0b01010010
    assert Mpt.STATUS.after_write(0, 0xFF) == 0b10101000


def test_writes_of_some_bytes_leave_the_others() -> None:
    """Only the lanes an access carried change: a byte written to a w1c register clears nothing beside it."""
    placed = Reg32.at(0, w1c)
    assert placed.after_write(0xFFFFFFFF, 0xFFFFFFFF, lanes=0x0000FF00) == 0xFFFF00FF
    assert Mpt.MASK.after_write(0x11223344, 0xAABBCCDD, lanes=0x00FF0000) == 0x11BB3344
    assert Reg32.at(0, wac).after_write(0x11223344, 0, lanes=0x000000FF) == 0x11223300


def test_reads_clear_rc_bits_only() -> None:
    """Reading clears what was read, of rc bits, in the lanes the access carried."""
    assert Mpt.STATUS.after_read(0xFF) == 0xFD
    causes = Reg16.at(0, rc)
    assert causes.after_read(0x1234) == 0
    assert causes.after_read(0x1234, lanes=0xFF) == 0x1200


def test_what_a_read_shows() -> None:
    """wo and mbz bits read 0, whatever is stored."""
    assert Mpt.STATUS.visible(0xFF) == 0b11011110
    assert Mpt.MASK.visible(0xFFFFFFFF) == 0xFFFFFFFF


def test_must_be_zero_names_the_offending_bits() -> None:
    """A model can ask which written bits break an mbz rule."""
    assert Mpt.STATUS.must_be_zero(0xFF) == 1
    assert Mpt.STATUS.must_be_zero(0xFE) == 0


def test_access_is_derived_from_the_fields() -> None:
    """Without an access kind: all fields readable only -> ro, all writable only -> wo, otherwise rw."""
    class ReadOnly(Reg8):
        A = bit(0, ro)
        B = bit(1, rc)

    class WriteOnly(Reg8):
        A = bit(0, wo)

    class Mixed(Reg8):
        A = bit(0, ro)
        B = bit(1)

    assert [reg.at(0).access for reg in (ReadOnly, WriteOnly, Mixed, Status, Reg32)] == [ro, wo, rw, rw, rw]


class Sliced(RegBlock, size=0x20, byte_access=True):
    """Bytes, a word, a 24-bit register, a dword, a port, and two meanings at one byte."""

    A = Reg8.at(0x00)
    B = Reg8.at(0x01, rc)
    CLEAR_B = Reg8.at(0x01, wo)
    W = Reg16.at(0x02)
    COUNT = Reg24.at(0x04)
    COMMAND = Reg8.at(0x07, ro)
    D = Reg32.at(0x08)
    LONELY = Reg8.at(0x0D)
    PORT = Reg16.at(0x10, port=True)
    ERROR = Reg8.at(0x11)
    PAIR = Reg64.at(0x18)


def _touched(offset: int, size: int, *, write: bool = False) -> list[tuple[str, int, int, int]]:
    return [(one.register.name, one.first, one.at, one.size) for one in Sliced.slices(offset, size, write)]


def test_a_wide_access_touches_several_registers() -> None:
    """A 32-bit read of bytes and a word is three slices in address order; a write meets other registers."""
    assert _touched(0x00, 4) == [("A", 0, 0, 1), ("B", 0, 1, 1), ("W", 0, 2, 2)]
    assert _touched(0x00, 4, write=True) == [("A", 0, 0, 1), ("CLEAR_B", 0, 1, 1), ("W", 0, 2, 2)]
    assert _touched(0x04, 4) == [("COUNT", 0, 0, 3), ("COMMAND", 0, 3, 1)]
    assert _touched(0x04, 4, write=True) == [("COUNT", 0, 0, 3)]
    assert _touched(0x00, 8)[2:] == [("W", 0, 2, 2), ("COUNT", 0, 4, 3), ("COMMAND", 0, 7, 1)]


def test_a_narrow_access_touches_part_of_a_register() -> None:
    """Bytes and words of wider registers, each at its place."""
    assert _touched(0x08, 4) == [("D", 0, 0, 4)]
    assert [_touched(0x08 + n, 1) for n in range(4)] == [[("D", n, 0, 1)] for n in range(4)]
    assert _touched(0x0A, 2) == [("D", 2, 0, 2)]
    assert _touched(0x06, 2) == [("COUNT", 2, 0, 1), ("COMMAND", 0, 1, 1)]
    assert _touched(0x1C, 4) == [("PAIR", 4, 0, 4)]


def test_holes_are_left_to_the_model() -> None:
    """Bytes no register covers are in no slice; an access of holes only is ()."""
    assert _touched(0x0C, 4) == [("LONELY", 0, 1, 1)]
    assert _touched(0x0E, 2) == []


def test_unaligned_and_odd_sized_accesses_are_not_sliced() -> None:
    """An access is 1, 2, 4 or 8 bytes and aligned to its size."""
    assert _touched(0x09, 2) == _touched(0x0A, 4) == _touched(0x00, 3) == []


def test_ports_are_never_sliced() -> None:
    """A port takes one address at its full width; the byte behind it is another register."""
    assert _touched(0x10, 2) == [("PORT", 0, 0, 2)]
    assert _touched(0x11, 1) == [("ERROR", 0, 0, 1)]
    assert _touched(0x10, 1) == []


def test_slices_compose_and_decompose_values() -> None:
    """to_bus puts register bytes into the access, to_register access bytes into the register."""
    stored = {"A": 0x11, "B": 0x22, "W": 0x4433, "COUNT": 0x776655, "COMMAND": 0x88}
    parts = Sliced.slices(0x00, 8, write=False)
    assert sum(part.to_bus(stored[part.register.name]) for part in parts) == 0x8877665544332211
    (part,) = Sliced.slices(0x0A, 2, write=True)
    assert (part.to_register(0xBEEF), part.lanes, part.bus_lanes, part.whole) == (
        0xBEEF0000, 0xFFFF0000, 0xFFFF, False)
    assert Sliced.D.after_write(0x11223344, part.to_register(0xBEEF), part.lanes) == 0xBEEF3344


def test_banks_are_subclasses() -> None:
    """A subclass takes over the common registers, replaces those it names, and leaves its base alone."""
    class Common(RegBlock, size=0x10):
        MODE = Reg8.at(0x00)
        DATA = Reg8.at(0x04, reset=1)

    class Bank1(Common):
        DATA = Reg8.at(0x05, reset=2)
        EXTRA = Reg8.at(0x08)

    assert [(one.name, one.offset, int(one.reset)) for one in Bank1.registers] == [
        ("MODE", 0, 0), ("DATA", 5, 2), ("EXTRA", 8, 0)]
    assert Bank1.at_offset(0x04, 1, write=False) is None
    assert [one.name for one in Common.registers] == ["MODE", "DATA"]
    assert Bank1.size == 0x10


def _block(size: int = 0x10, **registers: Any) -> Any:
    return cast(Any, type(RegBlock))("Bad", (RegBlock,), registers, size=size)


def _reg(**fields: Any) -> Any:
    return cast(Any, type(Reg8))("Bad", (Reg8,), fields)


@pytest.mark.parametrize(("registers", "message"), [
    (lambda: {"A": Reg32.at(0), "B": Reg8.at(2)}, "Bad.B at 0x2: overlaps A at 0x2 for reading"),
    (lambda: {"A": Reg32.at(0, ro), "B": Reg32.at(0, rw)}, "Bad.B at 0x0: overlaps A at 0x0 for reading"),
    (lambda: {"A": Reg32.at(0, wo), "B": Reg8.at(3, wo)}, "Bad.B at 0x3: overlaps A at 0x3 for writing"),
    (lambda: {"A": Reg32.at(2)}, "Bad.A at 0x2: a register of 4 bytes is aligned to 4"),
    (lambda: {"A": Reg24.at(5)}, "Bad.A at 0x5: a register of 3 bytes is aligned to 4"),
    (lambda: {"A": Reg32.at(0x10)}, "Bad.A at 0x10: its 4 bytes end outside the block of 0x10"),
    (lambda: {"A": Reg8.at(-1)}, "Bad.A at -0x1: its 1 bytes end outside the block of 0x10"),
    (lambda: {"A": Reg16.at(0, count=3, stride=1)}, "Bad.A[1] at 0x1: a register of 2 bytes is aligned to 2"),
    (lambda: {"A": Reg16.at(0, count=2), "B": Reg16.at(2)}, "Bad.B at 0x2: overlaps A[1] at 0x2 for reading"),
    (lambda: dict.fromkeys("AB", Reg8.at(0)), "Bad.B: this placement is A already; use .at() again"),
    (lambda: {"A": Mpt.MASK}, "Bad.A: this placement is MASK already; use .at() again"),
    (lambda: {"A": Reg32}, "Bad.A: a block is made of placed registers; use .at(offset)"),
    (lambda: {"A": bit(3)}, "Bad.A: a block is made of placed registers; use .at(offset)"),
    (lambda: {"slices": Reg8.at(0)}, "Bad.slices: the name is taken by RegBlock.slices"),
    (lambda: {"A": Reg8.at(0, reset=256)}, "Reg8.at(0x0): reset 0x100 does not fit 8 bits"),
    (lambda: {"A": Reg.at(0)}, "Reg.at(0x0): it has no width; derive it from Reg8 ... Reg64"),
    (lambda: {"A": DoorbellWrite.at(0, ro), "B": Status.at(4, ro)},
     "Status.at(0x4): field WRITE is wo, which is no use in a register that is ro"),
    (lambda: {"A": Doorbell.at(4, wo)},
     "Doorbell.at(0x4): field STATE is ro, which is no use in a register that is wo"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_blocks_that_cannot_be(registers: Any, message: str) -> None:
    """A wrong table fails when the class is created, naming both sides of a conflict."""
    with pytest.raises(TypeError) as caught:
        _block(**registers())
    assert str(caught.value) == message


@pytest.mark.parametrize(("fields", "message"), [
    (lambda: {"A": bits(7, 3), "B": bits(3, 0)},
     "Bad: fields A and B share bits 0x8; only a field that is read and one that is written may"),
    (lambda: {"A": bit(8)}, "Bad.A: bit 8 is outside a register of 8 bits"),
    (lambda: {"A": bits(0, 7)}, "bits(0, 7): the high bit comes first, and neither is negative"),
    (lambda: {"A": bits(1, 0, IocState)}, "bits(1, 0, IocState): FAULT = 4 does not fit 2 bits"),
    (lambda: {"A": bits(1, 0, Strict)},
     "bits(1, 0, Strict): flags must keep bits they do not name; derive from IntFlag"),
    (lambda: {"at": bit(1)}, "Bad.at: the name is taken by every register value"),
    (lambda: {"real": bit(1)}, "Bad.real: the name is taken by every register value"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_registers_that_cannot_be(fields: Any, message: str) -> None:
    """A wrong field fails when the register class is created, or at once."""
    with pytest.raises(TypeError) as caught:
        _reg(**fields())
    assert str(caught.value) == message


def test_read_and_write_fields_may_share_bits() -> None:
    """A field that is only read and one that is only written may name the same bits."""
    both = _reg(CAUSE=bits(3, 0, ro), COMMAND=bits(3, 0, wo))
    assert both.of(CAUSE=5).CAUSE == 5


def test_a_block_needs_a_size_and_has_no_instances() -> None:
    """A block without a size, or an instance of one, is refused."""
    with pytest.raises(TypeError, match=r"^Bad: a register block has a size in bytes: RegBlock, size=0x100$"):
        _block(size=0)
    with pytest.raises(TypeError, match=r"^Mpt is a table of registers; it has no instances$"):
        Mpt()
