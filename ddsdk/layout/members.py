"""Member makers: the C type of each field of a structure, with its default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from .cstruct import CStruct
from .ctype import KEY, CType, checked_length, member

T = TypeVar("T")
S = TypeVar("S", bound=CStruct)


def _scalar(ctype: str, code: str, default: int) -> int:
    return cast(int, member(CType("scalar", ctype, code), default))


def c_short(default: int = 0) -> int:
    """C `short`, 2 bytes."""
    return _scalar("short", "h", default)


def c_ushort(default: int = 0) -> int:
    """C `unsigned short`, 2 bytes."""
    return _scalar("unsigned short", "H", default)


def c_int(default: int = 0) -> int:
    """C `int`, 4 bytes."""
    return _scalar("int", "i", default)


def c_uint(default: int = 0) -> int:
    """C `unsigned int`, 4 bytes."""
    return _scalar("unsigned int", "I", default)


def c_long(default: int = 0) -> int:
    """C `long`: one machine word."""
    return _scalar("long", "long", default)


def c_ulong(default: int = 0) -> int:
    """C `unsigned long`: one machine word."""
    return _scalar("unsigned long", "ulong", default)


def c_pointer(default: int = 0) -> int:
    """A pointer: one machine word, unsigned."""
    return _scalar("void *", "ulong", default)


def c_longlong(default: int = 0) -> int:
    """C `long long`, 8 bytes; i386 aligns it to 4."""
    return _scalar("long long", "q", default)


def c_ulonglong(default: int = 0) -> int:
    """C `unsigned long long`, 8 bytes; i386 aligns it to 4."""
    return _scalar("unsigned long long", "Q", default)


def u8(default: int = 0) -> int:
    """Unsigned, 1 byte."""
    return _scalar("u8", "B", default)


def u16(default: int = 0) -> int:
    """Unsigned, 2 bytes."""
    return _scalar("u16", "H", default)


def u32(default: int = 0) -> int:
    """Unsigned, 4 bytes."""
    return _scalar("u32", "I", default)


def u64(default: int = 0) -> int:
    """Unsigned, 8 bytes; i386 aligns it to 4."""
    return _scalar("u64", "Q", default)


def s8(default: int = 0) -> int:
    """Signed, 1 byte."""
    return _scalar("s8", "b", default)


def s16(default: int = 0) -> int:
    """Signed, 2 bytes."""
    return _scalar("s16", "h", default)


def s32(default: int = 0) -> int:
    """Signed, 4 bytes."""
    return _scalar("s32", "i", default)


def s64(default: int = 0) -> int:
    """Signed, 8 bytes; i386 aligns it to 4."""
    return _scalar("s64", "q", default)


def char(n: int, default: bytes = b"") -> bytes:
    """C `char[n]` holding text: padded with NULs on the way out, trailing NULs dropped on the way in."""
    return cast(bytes, member(CType("char", f"char[{n}]", "s", checked_length("char", n)), default))


def raw(n: int, default: bytes | None = None) -> bytes:
    """*n* bytes kept exactly; the default is *n* zeros."""
    value = bytes(checked_length("raw", n)) if default is None else default
    return cast(bytes, member(CType("raw", f"u8[{n}]", "s", n), value))


def nested(struct_type: type[S], default: S | None = None) -> S:
    """A structure inside a structure."""
    if not (isinstance(struct_type, type) and issubclass(struct_type, CStruct)):
        raise TypeError(f"nested({struct_type!r}): a c_struct class is needed")
    ctype = CType("struct", struct_type.__name__, struct=struct_type)
    return cast(S, member(ctype, struct_type() if default is None else default))


def array(element: Callable[[], T], n: int) -> tuple[T, ...]:
    """*n* elements: `array(u32, 4)`, `array(Timespec, 2)`, `array(lambda: char(65), 6)`; a tuple in Python.

    n = 0 is C's flexible array member: it aligns, has an offset and no size.
    """
    inner: Any = nested(element) if isinstance(element, type) else element()
    ctype = getattr(inner, "metadata", {}).get(KEY)
    if ctype is None or ctype.kind == "pad":
        raise TypeError(f"array({element!r}): the element must be a field maker or a c_struct class")
    spec = CType("array", f"{ctype.ctype}[{n}]", count=checked_length("array", n, 0), element=ctype)
    return cast(tuple[T, ...], member(spec, (inner._default,) * n))
