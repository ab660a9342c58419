"""C structures: offsets against numbers measured with a C compiler, packing, and what is refused."""

from __future__ import annotations

import ctypes
import random
import struct
from typing import Any

import pytest

from ddsdk.abi import I386, IA64, PPC64, WIRE_BE, WIRE_LE, X86_64, Abi
from ddsdk.errors import FormatError
from ddsdk.layout import (
    CStruct,
    array,
    c_int,
    c_long,
    c_longlong,
    c_pointer,
    c_short,
    c_struct,
    c_uint,
    c_ulong,
    c_ulonglong,
    c_ushort,
    char,
    nested,
    pad,
    raw,
    s8,
    s16,
    s32,
    s64,
    u8,
    u16,
    u32,
    u64,
)


@c_struct
class Utsname(CStruct):
    """struct new_utsname: six strings."""

    sysname: bytes = char(65)
    nodename: bytes = char(65)
    release: bytes = char(65)
    version: bytes = char(65)
    machine: bytes = char(65)
    domainname: bytes = char(65)


@c_struct
class Timespec(CStruct):
    """struct timespec: two longs."""

    tv_sec: int = c_long()
    tv_nsec: int = c_long()


@c_struct
class DumpHeader(CStruct):
    """struct disk_dump_header (formats.md 1.4)."""

    signature: bytes = char(8, default=b"DISKDUMP")
    header_version: int = c_int()
    utsname: Utsname = nested(Utsname)
    timestamp: Timespec = nested(Timespec)
    status: int = c_uint()
    block_size: int = c_int()
    sub_hdr_size: int = c_int()
    bitmap_blocks: int = c_uint()
    max_mapnr: int = c_uint()
    total_ram_blocks: int = c_uint()
    device_blocks: int = c_uint()
    written_blocks: int = c_uint()
    current_cpu: int = c_uint()
    nr_cpus: int = c_int()
    tasks: tuple[int, ...] = array(c_pointer, 0)


@c_struct
class KdumpSubHeader(CStruct):
    """struct kdump_sub_header (formats.md 3.4)."""

    phys_base: int = c_ulong()
    dump_level: int = c_int()
    split: int = c_int()
    start_pfn: int = c_ulong()
    end_pfn: int = c_ulong()
    offset_vmcoreinfo: int = c_longlong()
    size_vmcoreinfo: int = c_ulong()
    offset_note: int = c_longlong()
    size_note: int = c_ulong()
    offset_eraseinfo: int = c_longlong()
    size_eraseinfo: int = c_ulong()
    start_pfn_64: int = c_ulonglong()
    end_pfn_64: int = c_ulonglong()
    max_mapnr_64: int = c_ulonglong()


@c_struct
class Sge(CStruct):
    """A scatter element as a device has it."""

    flags_length: int = u32()
    address: int = u64()


#: formats.md 1.4 and 3.4: member -> offset on i386, offset on the 64-bit machines.
HEADER_OFFSETS = {
    "signature": (0, 0), "header_version": (8, 8), "utsname": (12, 12), "timestamp": (404, 408),
    "status": (412, 424), "block_size": (416, 428), "sub_hdr_size": (420, 432), "bitmap_blocks": (424, 436),
    "max_mapnr": (428, 440), "total_ram_blocks": (432, 444), "device_blocks": (436, 448),
    "written_blocks": (440, 452), "current_cpu": (444, 456), "nr_cpus": (448, 460), "tasks": (452, 464),
    "utsname.machine": (272, 272), "timestamp.tv_nsec": (408, 416), "tasks[3]": (464, 488),
}
SUB_HEADER_OFFSETS = {
    "phys_base": (0, 0), "dump_level": (4, 8), "split": (8, 12), "start_pfn": (12, 16), "end_pfn": (16, 24),
    "offset_vmcoreinfo": (20, 32), "size_vmcoreinfo": (28, 40), "offset_note": (32, 48),
    "size_note": (40, 56),
    "offset_eraseinfo": (44, 64), "size_eraseinfo": (52, 72), "start_pfn_64": (56, 80),
    "end_pfn_64": (64, 88), "max_mapnr_64": (72, 96),
}


@pytest.mark.parametrize("abi", [X86_64, IA64, PPC64], ids=lambda abi: abi.name)
def test_offsets_on_64_bit_machines(abi: Abi) -> None:
    """The dump headers lie as gcc lays them out where a long has 8 bytes."""
    assert {path: DumpHeader.on(abi).offsetof(path) for path in HEADER_OFFSETS} == {
        path: wide for path, (_, wide) in HEADER_OFFSETS.items()}
    assert {path: KdumpSubHeader.on(abi).offsetof(path) for path in SUB_HEADER_OFFSETS} == {
        path: wide for path, (_, wide) in SUB_HEADER_OFFSETS.items()}
    assert (DumpHeader.on(abi).size, DumpHeader.on(abi).align) == (464, 8)
    assert (KdumpSubHeader.on(abi).size, KdumpSubHeader.on(abi).align) == (104, 8)


def test_offsets_on_i386() -> None:
    """On i386 a long has 4 bytes, and a 64-bit integer is aligned to 4 only."""
    assert {path: DumpHeader.on(I386).offsetof(path) for path in HEADER_OFFSETS} == {
        path: narrow for path, (narrow, _) in HEADER_OFFSETS.items()}
    assert {path: KdumpSubHeader.on(I386).offsetof(path) for path in SUB_HEADER_OFFSETS} == {
        path: narrow for path, (narrow, _) in SUB_HEADER_OFFSETS.items()}
    assert (DumpHeader.on(I386).size, DumpHeader.on(I386).align) == (452, 4)
    assert (KdumpSubHeader.on(I386).size, KdumpSubHeader.on(I386).align) == (80, 4)


def test_32_bit_machines_that_align_long_long_to_8() -> None:
    """With 8-byte alignment (ARM, MIPS; our wire ABIs) the sub header is padded at 20 and has 96 bytes."""
    layout = KdumpSubHeader.on(WIRE_LE)
    assert layout.offsetof("offset_vmcoreinfo") == 24
    assert layout.offsetof("max_mapnr_64") == 88
    assert layout.size == 96


@pytest.mark.parametrize(("maker", "narrow", "wide", "signed"), [
    (u8, 1, 1, False), (s8, 1, 1, True), (u16, 2, 2, False), (s16, 2, 2, True), (c_short, 2, 2, True),
    (c_ushort, 2, 2, False), (u32, 4, 4, False), (s32, 4, 4, True), (c_int, 4, 4, True),
    (c_uint, 4, 4, False), (c_long, 4, 8, True), (c_ulong, 4, 8, False), (c_pointer, 4, 8, False),
    (u64, 8, 8, False),
    (s64, 8, 8, True), (c_longlong, 8, 8, True), (c_ulonglong, 8, 8, False),
], ids=lambda value: getattr(value, "__name__", None))
def test_scalar_sizes_and_signs(maker: Any, narrow: int, wide: int, signed: bool) -> None:
    """Each C type has its size on i386 and on 64-bit machines, and takes negative values only when signed."""
    @c_struct
    class One(CStruct):
        value: int = maker()

    assert (One.on(I386).size, One.on(X86_64).size) == (narrow, wide)
    if signed:
        assert One.on(PPC64).pack(One(value=-2)) == (-2).to_bytes(wide, "big", signed=True)
    else:
        assert One.on(PPC64).pack(One(value=(1 << 8 * wide) - 2)) == b"\xff" * (wide - 1) + b"\xfe"
        with pytest.raises(ValueError, match=r"^One on i386: value = -2 does not fit"):
            One.on(I386).pack(One(value=-2))


def test_pack_writes_every_byte_where_c_has_it() -> None:
    """A header packs to the bytes a C program would have in memory, padding zero, in the ABI's byte order."""
    header = DumpHeader(utsname=Utsname(sysname=b"Linux", machine=b"ppc64"),
                        timestamp=Timespec(1700000000, 5), status=1, block_size=4096, nr_cpus=2)
    expected = bytearray(464)
    expected[0:8] = b"DISKDUMP"
    expected[12:17] = b"Linux"
    expected[272:277] = b"ppc64"
    struct.pack_into(">qqIi", expected, 408, 1700000000, 5, 1, 4096)
    struct.pack_into(">i", expected, 460, 2)
    assert DumpHeader.on(PPC64).pack(header) == bytes(expected)


@pytest.mark.parametrize("abi", [I386, X86_64, IA64, PPC64, WIRE_LE, WIRE_BE], ids=lambda abi: abi.name)
def test_unpack_gives_back_what_was_packed(abi: Abi) -> None:
    """Structures survive a round trip on every ABI, at an offset too."""
    header = DumpHeader(utsname=Utsname(nodename=b"host"), timestamp=Timespec(7, 8), nr_cpus=-1)
    sub = KdumpSubHeader(phys_base=5, dump_level=31, offset_note=1 << 40, max_mapnr_64=(1 << 64) - 1)
    for obj in (header, sub):
        layout: Any = type(obj).on(abi)
        buf = bytearray(b"\xa5" * (layout.size + 32))
        layout.pack_into(buf, 16, obj)
        assert layout.unpack(buf, 16) == obj == layout.unpack(memoryview(buf)[16:])
        assert buf[:16] == buf[16 + layout.size:] == b"\xa5" * 16


def test_flat_struct_takes_positional_values() -> None:
    """`.struct` packs the leaves in the order `.leaves` names them: what hot paths use."""
    layout = Sge.on(WIRE_LE)
    assert layout.leaves == ("flags_length", "address")
    assert layout.struct.format == "<I4xQ"
    assert layout.struct.pack(1, 2) == layout.pack(Sge(1, 2)) == bytes([1] + [0] * 7 + [2] + [0] * 7)
    assert DumpHeader.on(I386).leaves[1:4] == ("header_version", "utsname.sysname", "utsname.nodename")


@c_struct
class Frame(CStruct):
    """Arrays of scalars, structures and texts, raw bytes, explicit padding."""

    kind: int = u8()
    gap: bytes = pad(3)
    lun: bytes = raw(8)
    words: tuple[int, ...] = array(u16, 3)
    sges: tuple[Sge, ...] = array(Sge, 2)
    names: tuple[bytes, ...] = array(lambda: char(4), 2)


class _CtypesSge(ctypes.Structure):
    """Sge for ctypes."""

    _fields_ = [("flags_length", ctypes.c_uint32), ("address", ctypes.c_uint64)]


@c_struct
class Outer(CStruct):
    """A structure of structures with arrays."""

    frames: tuple[Frame, ...] = array(Frame, 2)
    last: int = u8()


def test_arrays_and_nested_structures() -> None:
    """Arrays are tuples, elements are addressed as in C, and everything comes back."""
    layout = Outer.on(WIRE_BE)
    assert (Frame.on(WIRE_BE).size, layout.size) == (64, 136)
    assert layout.offsetof("frames[1].sges[1].address") == 112
    assert layout.offsetof("frames[0].words[2]") == 16
    assert layout.sizeof("frames[1].names[1]") == 4
    one = Frame(kind=9, lun=b"\x00\x05" + bytes(6), words=(1, 2, 3), sges=(Sge(1, 2), Sge(3, 4)),
                names=(b"ab", b""))
    outer = Outer(frames=(one, Frame()), last=7)
    data = layout.pack(outer)
    assert data[16:18] == b"\x00\x03"
    assert data[56:64] == b"ab" + bytes(6)
    assert layout.unpack(data) == outer
    assert len(layout.leaves) == 23


def test_i386_nested_alignment_comes_from_the_inner_structure() -> None:
    """A structure with a 64-bit member is aligned to 4 inside another one on i386, to 8 elsewhere."""
    @c_struct
    class Holder(CStruct):
        flag: int = u32()
        sge: Sge = nested(Sge)

    assert (Holder.on(I386).offsetof("sge.address"), Holder.on(I386).size) == (8, 16)
    assert (Holder.on(X86_64).offsetof("sge.address"), Holder.on(X86_64).size) == (16, 24)


def test_random_structures_lie_where_ctypes_puts_them() -> None:
    """200 structures of random scalars have the offsets and the size the host's C layout rules give them."""
    kinds: list[tuple[Any, Any]] = [(u8, ctypes.c_uint8), (u16, ctypes.c_uint16), (s32, ctypes.c_int32),
                                    (u64, ctypes.c_uint64), (lambda: array(u16, 3), ctypes.c_uint16 * 3),
                                    (lambda: nested(Sge), _CtypesSge), (lambda: char(5), ctypes.c_char * 5)]
    rng = random.Random(20041124)
    for packed in (False, True):
        for _ in range(100):
            chosen = rng.choices(kinds, k=rng.randint(1, 12))
            members = {f"m{at}": maker() for at, (maker, _) in enumerate(chosen)}
            body = {"__annotations__": dict.fromkeys(members, "int"), **members}
            ours: Any = c_struct(packed=packed)(type("Ours", (CStruct,), body))
            theirs: Any = type("Theirs", (ctypes.Structure,), {
                **({"_pack_": 1, "_layout_": "ms"} if packed else {}),
                "_fields_": [(f"m{at}", kind) for at, (_, kind) in enumerate(chosen)]})
            assert ours.on(X86_64).size == ctypes.sizeof(theirs)
            assert [ours.on(X86_64).offsetof(name) for name in members] == [
                getattr(theirs, name).offset for name in members]


def test_packed_has_no_padding() -> None:
    """packed=True: members follow each other, whatever their alignment, and the size is their sum."""
    @c_struct(packed=True)
    class Packed(CStruct):
        one: int = u8()
        eight: int = u64()
        sge: Sge = nested(Sge)
        two: int = u16()

    layout = Packed.on(X86_64)
    assert [(field.name, field.offset, field.size) for field in layout.fields] == [
        ("one", 0, 1), ("eight", 1, 8), ("sge", 9, 16), ("two", 25, 2)]
    assert (layout.size, layout.align) == (27, 1)


def test_a_structure_may_extend_a_common_header() -> None:
    """The members of the base structure come first: how message frames share a header."""
    @c_struct
    class Header(CStruct):
        function: int = u8(0x12)
        flags: int = u8()

    @c_struct
    class Request(Header):
        context: int = u32()

    assert Request.on(WIRE_LE).pack(Request(context=0x11223344, flags=3)).hex() == "1203000044332211"
    assert Header.on(WIRE_LE).size == 2


def test_char_is_padded_and_stripped_raw_is_kept() -> None:
    """char drops trailing NULs on the way in; raw keeps each byte and takes its exact length only."""
    @c_struct
    class Texts(CStruct):
        text: bytes = char(4)
        data: bytes = raw(4)

    layout = Texts.on(X86_64)
    assert layout.pack(Texts(b"ab", b"\x01\x00\x00\x00")) == b"ab\0\0\x01\0\0\0"
    assert layout.unpack(b"a\0b\0\x01\0\0\0") == Texts(b"a\0b", b"\x01\x00\x00\x00")
    assert layout.pack(Texts(b"abcd")) == b"abcd\0\0\0\0"
    with pytest.raises(ValueError, match=r"^Texts on x86_64: text is 5 bytes long; it takes at most 4$"):
        layout.pack(Texts(text=b"abcde"))
    with pytest.raises(ValueError, match=r"^Texts on x86_64: data is 3 bytes long; it takes exactly 4$"):
        layout.pack(Texts(data=b"abc"))


def test_structures_are_frozen_values() -> None:
    """A structure cannot be changed, compares by value, and its padding is no argument."""
    with pytest.raises(AttributeError):
        Timespec(1, 2).tv_sec = 3  # type: ignore[misc]
    assert Timespec(1, 2) == Timespec(tv_sec=1, tv_nsec=2)
    assert repr(Sge(1, 2)) == "Sge(flags_length=1, address=2)"
    assert "gap" not in repr(Frame())
    with pytest.raises(TypeError):
        Frame(gap=b"abc")  # type: ignore[call-arg]


def test_layout_is_computed_once() -> None:
    """Asking again gives the same object: frames ask on every command."""
    assert Sge.on(WIRE_LE) is Sge.on(WIRE_LE)
    assert Sge.on(WIRE_LE) is not Sge.on(WIRE_BE)


def test_short_data_are_a_format_error() -> None:
    """Data that end inside the structure are named with what is there and what is needed."""
    with pytest.raises(FormatError) as caught:
        Sge.on(WIRE_LE).unpack(bytes(20), 8)
    assert str(caught.value) == ("Sge on wire-le: 12 bytes left at offset 8, the structure takes 16: "
                                 "the data is cut short")


@pytest.mark.parametrize(("obj", "message"), [
    (Timespec(1 << 31, 0), "Timespec on i386: tv_sec = 2147483648 does not fit 4 bytes"),
    (DumpHeader(timestamp=Timespec(0, 1 << 40)), "timestamp.tv_nsec = 1099511627776 does not fit 4 bytes"),
    (Frame(words=(1, 2)), "words is u16[3]: it takes exactly 3 elements, not 2"),
    (Frame(words=(1, 2, 70000)), "words[2] = 70000 does not fit 2 bytes"),
    (Outer(frames=(Frame(), Frame(sges=()))), "sges is Sge[2]: it takes exactly 2 elements, not 0"),
    (Sge(flags_length=1.5), "flags_length = 1.5 does not fit 4 bytes"),  # type: ignore[arg-type]
])
def test_values_that_do_not_fit_are_named(obj: Any, message: str) -> None:
    """A value the member cannot hold is refused when packed, with the member's path and the value."""
    with pytest.raises(ValueError) as caught:
        type(obj).on(I386).pack(obj)
    assert message in str(caught.value)


def test_packing_into_too_small_a_buffer_says_so() -> None:
    """pack_into past the end of the buffer is a ValueError, and says how much room there is."""
    with pytest.raises(ValueError, match="16 bytes"):
        Sge.on(WIRE_LE).pack_into(bytearray(8), 0, Sge())


@pytest.mark.parametrize(("path", "message"), [
    ("nothing", "Frame on x86_64: 'nothing': Frame has no nothing; its members are kind, gap, lun"),
    ("words.x", "'words.x': u16[3] has no x; it has no members"),
    ("words[3]", "'words[3]': u16[3] has no element 3"),
    ("kind[0]", "'kind[0]': u8 has no element 0"),
    ("sges[0].addr", "Sge has no addr; its members are flags_length, address"),
    ("", "'' is no member path"), ("words[", "'words[' is no member path"),
    ("a b", "'a b' is no member path"),
])
def test_wrong_member_paths_are_explained(path: str, message: str) -> None:
    """offsetof names what the path asked of what, and what there is."""
    with pytest.raises(ValueError) as caught:
        Frame.on(X86_64).offsetof(path)
    assert message in str(caught.value)


def _define(**members: Any) -> Any:
    """A c_struct class from members; a maker without annotation is given as `_name`."""
    annotations = {name: "int" for name in members if not name.startswith("_")}
    return c_struct(type("Bad", (CStruct,), {"__annotations__": annotations, **members}))


def test_definition_errors_name_class_member_and_rule() -> None:
    """What is no C structure fails when the class is created."""
    with pytest.raises(TypeError, match=r"^Bad\.size: no C type; assign a field maker, such as c_int\(\)$"):
        _define(size=4)
    with pytest.raises(TypeError, match=r"^Bad\._x: no annotation; write `_x: int = ...`$"):
        _define(_x=u32())
    with pytest.raises(TypeError, match=r"^Bad\.on: the name is taken by CStruct\.on$"):
        _define(on=u32())
    with pytest.raises(TypeError, match=r"^Bad: a C structure needs at least one member$"):
        _define()
    with pytest.raises(ValueError, match=r"^Bad: a default does not fit: .*x = 300 does not fit 1 bytes"):
        _define(x=u8(300))
    with pytest.raises(ValueError, match=r"^char\(0\): the length must be an integer of at least 1$"):
        char(0)
    with pytest.raises(TypeError, match=r"^nested\(<class 'int'>\): a c_struct class is needed$"):
        nested(int)  # type: ignore[type-var]
    with pytest.raises(TypeError, match=r"the element must be a field maker or a c_struct class$"):
        array(lambda: 4, 2)
    with pytest.raises(TypeError, match=r"^Plain: a C structure derives from CStruct$"):
        c_struct(type("Plain", (), {}))


def test_undecorated_structure_says_what_is_missing() -> None:
    """A class without @c_struct has no layout, even below one that has."""
    class Forgotten(Sge):
        """Not decorated."""

    with pytest.raises(TypeError, match=r"^Forgotten is not a C structure: decorate it with @c_struct$"):
        Forgotten.on(X86_64)
