"""Register files: which register an access reaches, whole or in slices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import attrs

from .field import Field
from .placed import Placed, PlacedArray
from .value import Reg


@attrs.frozen
class RegSlice:
    """The bytes one access and one register share: *size* from register byte *first* and access byte *at*."""

    register: Placed[Any]
    first: int
    at: int
    size: int

    @property
    def lanes(self) -> int:
        """The register's bits that the access carries."""
        return ((1 << 8 * self.size) - 1) << 8 * self.first

    @property
    def bus_lanes(self) -> int:
        """The access's bits that come from or go to this register."""
        return ((1 << 8 * self.size) - 1) << 8 * self.at

    @property
    def whole(self) -> bool:
        """Whether the access carries all of the register."""
        return self.size == self.register.size

    def to_bus(self, value: int) -> int:
        """The register's *value* as far as the access shows it, at its place in the access."""
        return (value & self.lanes) >> 8 * self.first << 8 * self.at

    def to_register(self, value: int) -> int:
        """The access's *value* as far as it reaches this register, at its place in the register."""
        return (value & self.bus_lanes) >> 8 * self.at << 8 * self.first


class RegBlock:
    """A register file of *size* bytes: a table, never instantiated.

    `byte_access=True` makes it sliceable: an aligned access of 1, 2, 4 or 8 bytes may reach part of a
    register or several.  Otherwise a register is reached at its own offset with its own size only.
    A bank of registers (modes, pages) is a subclass: it takes over what it does not name again.
    """

    size: ClassVar[int] = 0
    byte_access: ClassVar[bool] = False
    #: every register, array elements one by one, in offset order; at one offset the readable one first
    registers: ClassVar[tuple[Placed[Any], ...]] = ()
    #: by name, array elements one by one
    named: ClassVar[Mapping[str, Placed[Any]]] = MappingProxyType({})
    #: power-on values by name
    resets: ClassVar[Mapping[str, int]] = MappingProxyType({})
    _exact: ClassVar[Mapping[tuple[int, int, bool], Placed[Any]]] = MappingProxyType({})

    def __init_subclass__(cls, size: int | None = None, byte_access: bool | None = None) -> None:
        cls.size = cls.size if size is None else size
        cls.byte_access = cls.byte_access if byte_access is None else byte_access
        if cls.size <= 0:
            raise TypeError(f"{cls.__name__}: a register block has a size in bytes: RegBlock, size=0x100")
        for attr, value in vars(cls).items():
            _check_entry(cls, attr, value)
        tables = {attr: value for base in reversed(cls.__mro__) for attr, value in vars(base).items()
                  if isinstance(value, Placed | PlacedArray)}
        found = [one for value in tables.values() for one in _elements(value)]
        cls.registers = tuple(sorted(found, key=lambda one: (one.offset, not one.access.readable)))
        _check_places(cls)
        cls.named = MappingProxyType({one.name: one for one in cls.registers})
        cls.resets = MappingProxyType({one.name: int(one.reset) for one in cls.registers})
        cls._exact = MappingProxyType({(one.offset, one.size, write): one
                                       for one in cls.registers for write in _directions(one)})

    def __init__(self) -> None:
        cls = type(self)
        raise TypeError(f"{cls.__name__} is a table of registers; it has no instances")

    @classmethod
    def at_offset(cls, offset: int, size: int, write: bool) -> Placed[Any] | None:
        """The register at exactly this offset, of exactly this size in bytes, in this direction, or None."""
        return cls._exact.get((offset, size, write))

    @classmethod
    def slices(cls, offset: int, size: int, write: bool) -> tuple[RegSlice, ...]:
        """What an access touches, in address order; () when that is nothing or the block cannot be sliced so.

        Bytes of the access that no slice covers are holes: the model says what they read as.
        """
        whole = cls._exact.get((offset, size, write))
        if whole is not None:
            return (RegSlice(whole, 0, 0, size),)
        if not cls.byte_access or size not in (1, 2, 4, 8) or offset % size:
            return ()
        out = []
        for one in cls.registers:
            start, end = max(offset, one.offset), min(offset + size, one.offset + one.size)
            if start < end and not one.port and write in _directions(one):
                out.append(RegSlice(one, start - one.offset, start - offset, end - start))
        return tuple(out)


_RESERVED: Final = frozenset(dir(RegBlock))


def _elements(value: Placed[Any] | PlacedArray[Any]) -> Iterable[Placed[Any]]:
    return (value,) if isinstance(value, Placed) else value


def _directions(one: Placed[Any]) -> list[bool]:
    """The values of `write` for which the register is there."""
    return [False] * one.access.readable + [True] * one.access.writable


def _check_entry(cls: type[RegBlock], attr: str, value: object) -> None:
    """Refuse what is no table entry, and give the placement its name."""
    if isinstance(value, Field) or (isinstance(value, type) and issubclass(value, Reg)):
        raise TypeError(f"{cls.__name__}.{attr}: a block is made of placed registers; use .at(offset)")
    if not isinstance(value, Placed | PlacedArray):
        return
    if attr in _RESERVED:
        raise TypeError(f"{cls.__name__}.{attr}: the name is taken by RegBlock.{attr}")
    for index, one in enumerate(_elements(value)):
        if one.name:
            raise TypeError(f"{cls.__name__}.{attr}: this placement is {one.name} already; use .at() again")
        one.attr, one.index = attr, None if isinstance(value, Placed) else index
        one.name = attr if one.index is None else f"{attr}[{index}]"


def _check_places(cls: type[RegBlock]) -> None:
    """TypeError for a register that is misaligned, outside the block, or over another in one direction."""
    owners: dict[tuple[int, bool], Placed[Any]] = {}
    for one in cls.registers:
        where = f"{cls.__name__}.{one.name} at {one.offset:#x}"
        align = 1 << (one.size - 1).bit_length()
        if one.offset % align and not one.port:
            raise TypeError(f"{where}: a register of {one.size} bytes is aligned to {align}")
        if not 0 <= one.offset <= cls.size - one.size:
            raise TypeError(f"{where}: its {one.size} bytes end outside the block of {cls.size:#x}")
        for byte in range(1 if one.port else one.size):
            for write in _directions(one):
                other = owners.setdefault((one.offset + byte, write), one)
                if other is not one:
                    raise TypeError(f"{where}: overlaps {other.name} at {one.offset + byte:#x} for "
                                    f"{'writing' if write else 'reading'}")
