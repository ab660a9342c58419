"""C structures, laid out as each machine's compiler lays them out.

A structure is an immutable attrs class whose fields carry C types; `T.on(abi)` is its `Layout` on one ABI:
size, offsets, and a flat `struct.Struct` for hot paths.  Rules are those of the System V ABIs: a member is
aligned to its own size (i386 aligns 64-bit integers to 4), a structure to its strictest member, and its size
is rounded up to that.  `@c_struct(packed=True)` is `__attribute__((packed))`: no padding anywhere.

    @c_struct
    class Timespec(CStruct):
        tv_sec: int = c_long()
        tv_nsec: int = c_long()

    Timespec.on(I386).size == 8          Timespec.on(X86_64).offsetof("tv_nsec") == 8
"""

from __future__ import annotations

from .cstruct import CStruct, FieldLayout, Layout, c_struct
from .ctype import CType, pad
from .members import (
    array,
    c_int,
    c_long,
    c_longlong,
    c_pointer,
    c_short,
    c_uint,
    c_ulong,
    c_ulonglong,
    c_ushort,
    char,
    nested,
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

__all__ = [
    "CStruct",
    "CType",
    "FieldLayout",
    "Layout",
    "array",
    "c_int",
    "c_long",
    "c_longlong",
    "c_pointer",
    "c_short",
    "c_struct",
    "c_uint",
    "c_ulong",
    "c_ulonglong",
    "c_ushort",
    "char",
    "nested",
    "pad",
    "raw",
    "s8",
    "s16",
    "s32",
    "s64",
    "u8",
    "u16",
    "u32",
    "u64",
]
