"""What a C structure is, and where its members lie on one ABI."""

from __future__ import annotations

import inspect
import re
import struct
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, ClassVar, Final, Generic, Self, TypeVar, cast, dataclass_transform, overload

import attrs

from ddsdk.abi import X86_64, Abi
from ddsdk.errors import FormatError

from .ctype import KEY, CType, pad

T = TypeVar("T")

Buffer = bytes | bytearray | memoryview

_Flat = Callable[[Any], Sequence[Any]]
_Make = Callable[[Sequence[Any], int], Any]
_STEP: Final = re.compile(r"(?:^|\.)([A-Za-z_]\w*)|\[(\d+)\]")


class CStruct:
    """Base of every c_struct class."""

    __slots__ = ()
    _packed: ClassVar[bool] = False
    _layouts: ClassVar[dict[int, Layout[Any]] | None] = None

    @classmethod
    def on(cls, abi: Abi) -> Layout[Self]:
        """This structure's layout on *abi*; computed once."""
        if cls.__dict__.get("_layouts") is None:
            raise TypeError(f"{cls.__name__} is not a C structure: decorate it with @c_struct")
        layouts = cast(dict[int, Any], cls._layouts)
        # keyed by identity: hashing an Abi means hashing its register names; the Layout keeps the Abi alive
        layout = layouts.get(id(abi))
        if layout is None:
            layout = layouts[id(abi)] = Layout(cls, abi)
        return cast("Layout[Self]", layout)


@attrs.frozen
class FieldLayout:
    """One member of a structure on one ABI: offset and size in bytes."""

    name: str
    offset: int
    size: int
    ctype: CType


@attrs.frozen
class _Leaf:
    """One positional value of the flat struct (or padding), at its offset from the start."""

    path: str
    offset: int
    size: int
    format: str
    kind: str


class Layout(Generic[T]):
    """A structure on one ABI.

    `struct` is flat: nested structures and arrays are unrolled into the positional values that `leaves`
    names, padding is part of the format.  Hot paths call `layout.struct.pack_into(buf, off, *values)`.
    """

    __slots__ = (
        "_by_name",
        "_bytes",
        "_flat",
        "_make",
        "_values",
        "abi",
        "align",
        "fields",
        "leaves",
        "size",
        "struct",
        "type",
    )

    def __init__(self, struct_type: type[T], abi: Abi) -> None:
        self.type, self.abi = struct_type, abi
        self.fields, self.size, self.align = _place(struct_type, abi)
        self._by_name = {field.name: field for field in self.fields}
        leaves: list[_Leaf] = []
        for field in self.fields:
            _unroll(field.name, field.offset, field.ctype, abi, leaves)
        self.struct = struct.Struct(_format(leaves, self.size, abi))
        self._values = tuple(leaf for leaf in leaves if leaf.kind != "pad")
        self.leaves: tuple[str, ...] = tuple(leaf.path for leaf in self._values)
        self._bytes = tuple((at, leaf) for at, leaf in enumerate(self._values) if leaf.kind != "scalar")
        self._flat = _flattener(self.fields, self.leaves, abi)
        self._make = _maker(struct_type, self.fields, abi)

    def __repr__(self) -> str:
        return f"<Layout {self._name}: {self.size} bytes, align {self.align}>"

    def offsetof(self, path: str) -> int:
        """Offset in bytes of `"a"`, `"a.b"`, `"a[2].b"`; ValueError for what the structure does not have."""
        return self._locate(path)[0]

    def sizeof(self, path: str) -> int:
        """Size in bytes of one member, addressed as in `offsetof`."""
        return self._locate(path)[1]

    def pack(self, obj: T) -> bytes:
        """The structure's bytes; ValueError names the member whose value does not fit."""
        buf = bytearray(self.size)
        self.pack_into(buf, 0, obj)
        return bytes(buf)

    def pack_into(self, buf: bytearray | memoryview, offset: int, obj: T) -> None:
        """Write the structure's bytes, padding included, at *offset*; errors as in `pack`."""
        try:
            values = self._flat(obj)
        except ValueError as error:
            raise ValueError(f"{self._name}: {error}") from None
        for at, leaf in self._bytes:
            length = len(values[at])
            if length != leaf.size and (length > leaf.size or leaf.kind == "raw"):
                least = "exactly" if leaf.kind == "raw" else "at most"
                raise ValueError(f"{self._name}: {leaf.path} is {length} bytes long; it takes {least} "
                                 f"{leaf.size}")
        try:
            self.struct.pack_into(buf, offset, *values)
        except struct.error as error:
            raise ValueError(f"{self._name}: {self._refused(values) or error}") from None

    def unpack(self, buf: Buffer, offset: int = 0) -> T:
        """The structure at *offset* of *buf*; FormatError when fewer than `size` bytes are left there."""
        try:
            values = self.struct.unpack_from(buf, offset)
        except struct.error:
            raise FormatError(f"{self._name}: {max(len(buf) - offset, 0)} bytes left at offset {offset}, the "
                              f"structure takes {self.size}: the data is cut short") from None
        return cast(T, self._make(values, 0))

    @property
    def _name(self) -> str:
        return f"{self.type.__name__} on {self.abi.name}"

    def _refused(self, values: Sequence[Any]) -> str:
        """Which member's value struct refused, in words; empty when it was the buffer."""
        for leaf, value in zip(self._values, values, strict=True):
            try:
                struct.pack(self.abi.struct_prefix + leaf.format, value)
            except struct.error as error:
                return f"{leaf.path} = {value!r} does not fit {leaf.size} bytes: {error}"
        return ""

    def _locate(self, path: str) -> tuple[int, int]:
        """Offset and size of the member at *path*."""
        steps = _STEP.findall(path)
        if not steps or "".join(f"[{index}]" if index else f".{name}" for name, index in steps) != f".{path}":
            raise ValueError(f"{self._name}: {path!r} is no member path; write it like \"a.b[2]\"")
        offset, size = 0, self.size
        ctype = CType("struct", self.type.__name__, struct=cast(type[CStruct], self.type))
        for name, index in steps:
            if name:
                fields = ctype.struct.on(self.abi)._by_name if ctype.struct is not None else {}
                if name not in fields:
                    has = f"its members are {', '.join(fields)}" if fields else "it has no members"
                    raise ValueError(f"{self._name}: {path!r}: {ctype.ctype} has no {name}; {has}")
                offset, size, ctype = offset + fields[name].offset, fields[name].size, fields[name].ctype
            else:
                # a flexible array (n = 0) has no bound that C knows
                if ctype.element is None or int(index) >= ctype.count > 0:
                    raise ValueError(f"{self._name}: {path!r}: {ctype.ctype} has no element {index}")
                ctype = ctype.element
                size = ctype.size_align(self.abi)[0]
                offset += int(index) * size
        return offset, size


def _place(struct_type: type[Any], abi: Abi) -> tuple[tuple[FieldLayout, ...], int, int]:
    """Members at their offsets, the structure's size and its alignment."""
    offset, strictest, fields = 0, 1, []
    for member in attrs.fields(struct_type):
        ctype: CType = member.metadata[KEY]
        size, align = ctype.size_align(abi)
        align = 1 if struct_type._packed else align
        offset += -offset % align
        fields.append(FieldLayout(member.name, offset, size, ctype))
        offset, strictest = offset + size, max(strictest, align)
    return tuple(fields), offset + -offset % strictest, strictest


def _unroll(path: str, offset: int, ctype: CType, abi: Abi, out: list[_Leaf]) -> None:
    """Append every leaf under *ctype*, in memory order."""
    if ctype.struct is not None:
        for field in ctype.struct.on(abi).fields:
            _unroll(f"{path}.{field.name}", offset + field.offset, field.ctype, abi, out)
    elif ctype.element is not None:
        size = ctype.element.size_align(abi)[0]
        for index in range(ctype.count):
            _unroll(f"{path}[{index}]", offset + index * size, ctype.element, abi, out)
    else:
        out.append(_Leaf(path, offset, ctype.size_align(abi)[0], ctype.format(abi), ctype.kind))


def _format(leaves: list[_Leaf], size: int, abi: Abi) -> str:
    """One `struct` format with every gap spelt out."""
    out, position = [abi.struct_prefix], 0
    for leaf in leaves:
        out += [f"{leaf.offset - position}x"] * (leaf.offset > position) + [leaf.format]
        position = leaf.offset + leaf.size
    return "".join(out) + (f"{size - position}x" if size > position else "")


def _flattener(fields: Sequence[FieldLayout], leaves: Sequence[str], abi: Abi) -> _Flat:
    """What turns an object into the positional values of the flat struct."""
    if len(leaves) > 1 and not any(_has_array(field.ctype) for field in fields):
        return attrgetter(*leaves)
    spread = [(field.name, field.ctype) for field in fields if field.ctype.kind != "pad"]

    def flat(obj: Any) -> list[Any]:
        out: list[Any] = []
        for name, ctype in spread:
            _spread(name, getattr(obj, name), ctype, abi, out)
        return out

    return flat


def _has_array(ctype: CType) -> bool:
    if ctype.struct is not None:
        return any(_has_array(member.metadata[KEY]) for member in attrs.fields(cast(Any, ctype.struct)))
    return ctype.element is not None


def _spread(path: str, value: Any, ctype: CType, abi: Abi, out: list[Any]) -> None:
    """Append the flat values of one member."""
    if ctype.struct is not None:
        out.extend(ctype.struct.on(abi)._flat(value))
    elif ctype.element is None:
        out.append(value)
    else:
        if len(value) != ctype.count:
            raise ValueError(f"{path} is {ctype.ctype}: it takes exactly {ctype.count} elements, not "
                             f"{len(value)}")
        if ctype.element.kind == "scalar":
            out.extend(value)
        else:
            for index, item in enumerate(value):
                _spread(f"{path}[{index}]", item, ctype.element, abi, out)


def _maker(struct_type: type[Any], fields: Sequence[FieldLayout], abi: Abi) -> _Make:
    """What builds the object back from the flat values, starting at a position."""
    takes: list[tuple[int, int, _Make | None]] = []
    position = 0
    for field in fields:
        if field.ctype.kind != "pad":
            width, take = _taker(field.ctype, abi)
            takes.append((position, width, take))
            position += width
    if all(take is None for _, _, take in takes):
        return lambda values, at: struct_type(*values[at:at + position])

    def make(values: Sequence[Any], at: int) -> Any:
        return struct_type(*[values[at + start] if take is None else take(values, at + start)
                             for start, _, take in takes])

    return make


def _taker(ctype: CType, abi: Abi) -> tuple[int, _Make | None]:
    """How many flat values *ctype* takes, and what makes them into one (None: the value itself)."""
    if ctype.kind == "pad":
        return 0, None
    if ctype.struct is not None:
        layout = ctype.struct.on(abi)
        return len(layout.leaves), layout._make
    if ctype.element is not None:
        width, take = _taker(ctype.element, abi)
        end = width * ctype.count
        if take is None:
            return end, lambda values, at: tuple(values[at:at + end])
        return end, lambda values, at: tuple([take(values, at + n) for n in range(0, end, width)])
    if ctype.kind == "char":
        return 1, lambda values, at: values[at].rstrip(b"\0")
    return 1, None


@overload
def c_struct(cls: type[T]) -> type[T]: ...


@overload
def c_struct(*, packed: bool = False) -> Callable[[type[T]], type[T]]: ...


# Makers are not declared as field specifiers (only pad is, for its init=False): a type checker then takes
# `c_int()` for the default value it is, and every member is optional in the constructor.
@dataclass_transform(frozen_default=True, field_specifiers=(pad,))
def c_struct(cls: type[Any] | None = None, *, packed: bool = False) -> Any:
    """Make a class a C structure: frozen attrs with slots, members in the order they are written.

    A structure may extend another one, whose members then come first (a common frame header).
    TypeError or ValueError, naming class and member: no C type, or a default that does not fit.
    """

    def build(cls: type[Any]) -> type[Any]:
        _check_members(cls)
        built = attrs.frozen(slots=True)(cls)
        built._packed, built._layouts = packed, {}
        _check_defaults(built)
        return built

    return build if cls is None else build(cls)


def _check_members(cls: type[Any]) -> None:
    if not (isinstance(cls, type) and issubclass(cls, CStruct)):
        raise TypeError(f"{getattr(cls, '__name__', cls)}: a C structure derives from CStruct")
    hints = {name for name, hint in inspect.get_annotations(cls).items() if "ClassVar" not in str(hint)}
    makers = {name for name, value in vars(cls).items() if KEY in getattr(value, "metadata", ())}
    for name in sorted(hints - makers):
        raise TypeError(f"{cls.__name__}.{name}: no C type; assign a field maker, such as c_int()")
    for name in sorted(makers - hints):
        raise TypeError(f"{cls.__name__}.{name}: no annotation; write `{name}: int = ...`")
    for name in sorted(hints & set(dir(CStruct))):
        raise TypeError(f"{cls.__name__}.{name}: the name is taken by CStruct.{name}")


def _check_defaults(cls: type[Any]) -> None:
    if not attrs.fields(cls):
        raise TypeError(f"{cls.__name__}: a C structure needs at least one member")
    try:
        cls.on(X86_64).pack(cls())  # the widest data model: what does not fit here fits nowhere
    except ValueError as error:
        raise ValueError(f"{cls.__name__}: a default does not fit: {error}") from None
