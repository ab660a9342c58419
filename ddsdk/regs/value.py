"""Register values: immutable integers that know their fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self, overload

from .field import Access, Field, check_overlap
from .placed import Placed, PlacedArray


class _RegMeta(type):
    """Gives every register class empty slots, so that a value has no attributes to set."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        namespace.setdefault("__slots__", ())
        return super().__new__(mcs, name, bases, namespace, **options)


class Reg(int, metaclass=_RegMeta):
    """A register's value: an int that knows its fields.  Derive from Reg8, Reg16, Reg24, Reg32 or Reg64.

    `from_bus(value)` makes one without the range check, at C speed: for access paths, where the bus has cut
    the value to size already.
    """

    width: ClassVar[int] = 0
    fields: ClassVar[Mapping[str, Field[Any]]] = MappingProxyType({})
    from_bus: ClassVar[Callable[[int], Any]]

    def __init_subclass__(cls, width: int | None = None) -> None:
        cls.width = cls.width if width is None else width
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        for name, field in own.items():
            if name in _RESERVED:
                raise TypeError(f"{cls.__name__}.{name}: the name is taken by every register value")
            if field.hi >= cls.width:
                raise TypeError(f"{cls.__name__}.{name}: bit {field.hi} is outside a register of "
                                f"{cls.width} bits")
        fields = {**cls.fields, **own}
        check_overlap(cls.__name__, list(fields.values()))
        cls.fields = MappingProxyType(fields)
        cls.from_bus = partial(int.__new__, cls)

    def __new__(cls, value: int = 0) -> Self:
        """The value, checked to be one: ValueError when it is negative or has too many bits."""
        if not 0 <= value < 1 << cls.width:
            raise ValueError(f"{cls.__name__}({value:#x}): a value has {cls.width} bits and no sign")
        return int.__new__(cls, value)

    @classmethod
    def of(cls, **values: Any) -> Self:
        """A value from its fields, the rest 0.

        TypeError for a field there is not, ValueError for a value with more bits than its field.
        """
        return cls(0).replace(**values)

    def replace(self, **values: Any) -> Self:
        """The same value with some fields changed; errors as in `of`."""
        number = int(self)
        for name, value in values.items():
            field = self.fields.get(name)
            if field is None:
                raise TypeError(f"{type(self).__name__} has no field {name}; it has "
                                f"{', '.join(self.fields) or 'none'}")
            try:
                number = (number & ~field.mask) | field.encode(value)
            except ValueError as error:
                raise ValueError(f"{type(self).__name__}.{error}") from None
        return type(self)(number)

    def __repr__(self) -> str:
        shown = [f"{type(self).__name__} {int(self):#0{self.width // 4 + 2}x}"]
        for name, field in self.fields.items():
            value = field.__get__(self, type(self))
            shown.append(f"{name}={value.name if isinstance(value, Enum) else format(int(value), '#x')}")
        return f"<{' '.join(shown)}>"

    @overload
    @classmethod
    def at(cls, offset: int, access: Access | None = None, *, reset: int = 0,
           port: bool = False) -> Placed[Self]: ...
    @overload
    @classmethod
    def at(cls, offset: int, access: Access | None = None, *, reset: int = 0, port: bool = False,
           count: int, stride: int | None = None) -> PlacedArray[Self]: ...
    @classmethod
    def at(cls, offset: int, access: Access | None = None, *, reset: int = 0, port: bool = False,
           count: int | None = None, stride: int | None = None) -> Placed[Self] | PlacedArray[Self]:
        """Place the register at a byte offset of a block, or *count* of them *stride* bytes apart.

        Without *access* the fields decide: all of them readable only -> ro, all writable only -> wo, else rw.
        A *port* takes one address whatever its width (the IDE data register) and is never sliced.
        """
        if count is None:
            return Placed(cls, offset, access, reset, port)
        stride = cls.width // 8 if stride is None else stride
        return PlacedArray([Placed(cls, offset + n * stride, access, reset, port) for n in range(count)])


_RESERVED: Final = frozenset(dir(Reg))


class Reg8(Reg, width=8):
    """An 8-bit register."""


class Reg16(Reg, width=16):
    """A 16-bit register."""


class Reg24(Reg, width=24):
    """A 24-bit register: three bytes of an aligned group of four, reached by slices only."""


class Reg32(Reg, width=32):
    """A 32-bit register."""


class Reg64(Reg, width=64):
    """A 64-bit register."""
