"""Access kinds, and the fields a register is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import KEEP, Enum, Flag
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, overload

if TYPE_CHECKING:
    from .value import Reg

T = TypeVar("T")


class Access(Enum):
    """What reading and writing a register's bits does."""

    RW = "rw"    # stores what is written
    RO = "ro"    # writes change nothing
    WO = "wo"    # cannot be read
    W1C = "w1c"  # a written 1 clears the bit, a 0 leaves it
    W1S = "w1s"  # a written 1 sets the bit, a 0 leaves it
    WAC = "wac"  # any write clears
    RC = "rc"    # reading clears; writes change nothing
    MBZ = "mbz"  # reads 0, must be written 0

    @property
    def readable(self) -> bool:
        """Whether a read means anything."""
        return self is not Access.WO

    @property
    def writable(self) -> bool:
        """Whether a write means anything."""
        return self is not Access.RO and self is not Access.RC


rw: Final = Access.RW
ro: Final = Access.RO
wo: Final = Access.WO
w1c: Final = Access.W1C
w1s: Final = Access.W1S
wac: Final = Access.WAC
rc: Final = Access.RC
mbz: Final = Access.MBZ


class Field(Generic[T]):
    """Bits hi..lo of a register.  On a register class it is this table entry, on a value the decoded bits.

    `said` tells whether the access kind was written down; if not, the placed register's own kind applies.
    Bits that name no member of an enum come back as the plain int: silicon returns reserved values too.
    """

    __slots__ = ("_decode", "access", "hi", "lo", "mask", "name", "said", "type")

    def __init__(self, hi: int, lo: int, type_: Callable[[int], T], access: Access | None) -> None:
        if not 0 <= lo <= hi:
            raise TypeError(f"bits({hi}, {lo}): the high bit comes first, and neither is negative")
        self.name, self.hi, self.lo = "", hi, lo
        self.mask = (1 << (hi + 1)) - (1 << lo)
        self.type, self.access, self.said = type_, access or Access.RW, access is not None
        self._decode = self._decoder(type_)

    def _decoder(self, type_: Callable[[int], Any]) -> Callable[[int], Any] | None:
        """What turns the bits into the field's type; None for int."""
        if not (isinstance(type_, type) and issubclass(type_, Enum)):
            return None if type_ is int else type_
        if issubclass(type_, Flag):
            if getattr(type_, "_boundary_", None) is not KEEP:
                raise TypeError(f"bits({self.hi}, {self.lo}, {type_.__name__}): flags must keep bits they do "
                                "not name; derive from IntFlag")
            return type_
        members: dict[int, Any] = {}
        for member in type_:
            if not (isinstance(member.value, int) and 0 <= member.value <= self.mask >> self.lo):
                raise TypeError(f"bits({self.hi}, {self.lo}, {type_.__name__}): {member.name} = "
                                f"{member.value!r} does not fit {self.hi - self.lo + 1} bits")
            members[member.value] = member
        return lambda value: members.get(value, value)

    @property
    def shift(self) -> int:
        """How far left the field lies: its lowest bit."""
        return self.lo

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, obj: None, owner: type) -> Self: ...
    @overload
    def __get__(self, obj: Reg, owner: type) -> T: ...
    def __get__(self, obj: Reg | None, owner: type) -> Any:
        if obj is None:
            return self
        value = (obj & self.mask) >> self.lo
        return value if self._decode is None else self._decode(value)

    def __set__(self, obj: Reg, value: object) -> None:
        raise AttributeError(f"{type(obj).__name__}.{self.name}: a register value is immutable; "
                             f"use .replace({self.name}=...)")

    def __repr__(self) -> str:
        place = f"{self.hi}" if self.hi == self.lo else f"{self.hi}:{self.lo}"
        return f"<Field {self.name} {place} {self.access.value}>"

    def encode(self, value: Any) -> int:
        """*value* at the field's place in the register; ValueError when it has too many bits."""
        number = int(value.value if isinstance(value, Enum) else value)
        if not 0 <= number <= self.mask >> self.lo:
            raise ValueError(f"{self.name} = {number:#x} does not fit bits {self.hi}:{self.lo}")
        return number << self.lo


@overload
def bits(hi: int, lo: int, /) -> Field[int]: ...
@overload
def bits(hi: int, lo: int, access: Access, /) -> Field[int]: ...
@overload
def bits(hi: int, lo: int, type_: Callable[[int], T], access: Access | None = None, /) -> Field[T]: ...
def bits(hi: int, lo: int, type_: Any = int, access: Access | None = None, /) -> Field[Any]:
    """Bits hi..lo, decoded by *type_* (int, an enum, an IntFlag).

    Without an access kind the placed register's applies.
    """
    if isinstance(type_, Access):
        type_, access = int, type_
    return Field(hi, lo, type_, access)


def bit(position: int, access: Access | None = None) -> Field[bool]:
    """One bit, a bool."""
    return Field(position, position, bool, access)


def check_overlap(name: str, fields: Sequence[Field[Any]]) -> None:
    """TypeError when two fields of register *name* share bits and a direction."""
    for at, one in enumerate(fields):
        for other in fields[at + 1:]:
            common = one.mask & other.mask
            if common and not _apart(one.access, other.access):
                raise TypeError(f"{name}: fields {one.name} and {other.name} share bits {common:#x}; only a "
                                "field that is read and one that is written may")


def _apart(one: Access, other: Access) -> bool:
    """Whether two access kinds never meet in one direction."""
    return not (one.readable and other.readable) and not (one.writable and other.writable)
