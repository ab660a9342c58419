"""A register at its place in a block, and what reads and writes do to its stored value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from .field import Access

if TYPE_CHECKING:
    from .value import Reg

R = TypeVar("R", bound="Reg", covariant=True)


class Placed(Generic[R]):
    """A register at its place: `offset` and `size` in bytes, `reg` its type, `reset` its power-on value.

    `name` is what the block calls it; of an array element, "NAME[2]", `attr` is "NAME" and `index` 2 (else
    None).  `masks` gives, for each access kind there is, the bits of the stored value that follow it; bits
    no field names follow `access`.  `from_bus(value)` makes the register's value without a range check.
    """

    __slots__ = ("access", "attr", "from_bus", "full", "index", "masks", "name", "offset", "plain", "port",
                 "reg", "reset", "size")

    def __init__(self, reg: type[R], offset: int, access: Access | None, reset: int, port: bool) -> None:
        self.reg, self.offset, self.port = reg, offset, port
        self.name, self.attr, self.index = "", "", cast("int | None", None)
        self.size, self.full = reg.width // 8, (1 << reg.width) - 1
        if not self.size:
            raise TypeError(f"{reg.__name__}.at({offset:#x}): it has no width; derive it from Reg8 ... Reg64")
        if not 0 <= reset <= self.full:
            raise TypeError(f"{reg.__name__}.at({offset:#x}): reset {reset:#x} does not fit {reg.width} bits")
        self.access = access or _derived(reg)
        self.from_bus: Callable[[int], R] = reg.from_bus
        self.reset: R = reg.from_bus(reset)
        self.masks: Mapping[Access, int] = MappingProxyType(_masks(reg, self.access, self.full, offset))
        #: every bit stores what is written and reads back, so that a model needs no rule
        self.plain = self.masks == {Access.RW: self.full}

    def __repr__(self) -> str:
        name = self.name or self.reg.__name__
        return f"<{name} at {self.offset:#04x}, {self.size} bytes, {self.access.value}>"

    def after_write(self, stored: int, value: int, lanes: int | None = None) -> int:
        """What is stored once *value* was written; *lanes* masks the bits the access really carried."""
        lanes = self.full if lanes is None else lanes
        for kind, mask in self.masks.items():
            mask &= lanes
            if kind is Access.RW or kind is Access.WO:
                stored = (stored & ~mask) | (value & mask)
            elif kind is Access.W1C:
                stored &= ~(value & mask)
            elif kind is Access.W1S:
                stored |= value & mask
            elif kind is Access.WAC:
                stored &= ~mask
        return stored

    def after_read(self, stored: int, lanes: int | None = None) -> int:
        """What is stored once it was read: rc bits, as far as *lanes* carried them, are gone."""
        cleared = self.masks.get(Access.RC, 0)
        return stored & ~(cleared if lanes is None else cleared & lanes)

    def visible(self, stored: int) -> int:
        """What a read shows of the stored value: wo and mbz bits read 0."""
        return stored & ~(self.masks.get(Access.WO, 0) | self.masks.get(Access.MBZ, 0))

    def must_be_zero(self, value: int) -> int:
        """The bits of a written *value* that break an mbz rule; 0 when there are none."""
        return value & self.masks.get(Access.MBZ, 0)


class PlacedArray(Generic[R]):
    """Equal registers in a row; index it for the placed one.  Elements are named "NAME[0]", "NAME[1]", ..."""

    __slots__ = ("_elements",)

    def __init__(self, elements: list[Placed[R]]) -> None:
        if not elements:
            raise TypeError("a register array has a count of at least 1")
        self._elements = tuple(elements)

    def __getitem__(self, index: int) -> Placed[R]:
        if not 0 <= index < len(self._elements):
            raise IndexError(f"{self._elements[0].attr}[{index}]: it has {len(self._elements)} registers")
        return self._elements[index]

    def __len__(self) -> int:
        return len(self._elements)

    def __iter__(self) -> Iterator[Placed[R]]:
        return iter(self._elements)


def _derived(reg: type[Reg]) -> Access:
    """The register's access kind when only its fields speak of one."""
    kinds = [field.access for field in reg.fields.values() if field.said]
    if not kinds or len(kinds) < len(reg.fields):
        return Access.RW
    if not any(kind.writable for kind in kinds):
        return Access.RO
    return Access.RW if any(kind.readable for kind in kinds) else Access.WO


def _masks(reg: type[Reg], access: Access, full: int, offset: int) -> dict[Access, int]:
    """Which bits follow which access kind."""
    out: dict[Access, int] = {}
    named = 0
    for field in reg.fields.values():
        kind = field.access if field.said else access
        if not ((kind.readable and access.readable) or (kind.writable and access.writable)):
            raise TypeError(f"{reg.__name__}.at({offset:#x}): field {field.name} is {kind.value}, which is "
                            f"no use in a register that is {access.value}")
        out[kind] = out.get(kind, 0) | field.mask
        named |= field.mask
    if full & ~named:
        out[access] = out.get(access, 0) | (full & ~named)
    return out
