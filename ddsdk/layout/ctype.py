"""C types of members: how many bytes each takes and how it is aligned, given an ABI."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import attrs

from ddsdk.abi import Abi

if TYPE_CHECKING:
    from .cstruct import CStruct

#: where a field's CType is kept in its attrs metadata
KEY: Final = "ddsdk.layout"


@attrs.frozen
class CType:
    """What one member is: `kind` is scalar, char, raw, pad, struct or array.

    `code` is a struct format character of a fixed size, or `long`/`ulong` for the sizes the ABI decides.
    """

    kind: Literal["scalar", "char", "raw", "pad", "struct", "array"]
    ctype: str
    code: str = ""
    count: int = 1
    struct: type[CStruct] | None = None
    element: CType | None = None

    def format(self, abi: Abi) -> str:
        """The `struct` format of one leaf value, without byte order."""
        if self.kind == "scalar":
            if self.code in ("long", "ulong"):
                code = "q" if abi.word_bytes == 8 else "i"
                return code.upper() if self.code == "ulong" else code
            return self.code
        return f"{self.count}{'x' if self.kind == 'pad' else 's'}"

    def size_align(self, abi: Abi) -> tuple[int, int]:
        """Size and alignment in bytes on *abi*."""
        if self.struct is not None:
            layout = self.struct.on(abi)
            return layout.size, layout.align
        if self.element is not None:
            size, align = self.element.size_align(abi)
            return size * self.count, align
        size = struct.calcsize("<" + self.format(abi))
        if self.kind != "scalar":
            return size, 1
        return size, abi.long_long_align if self.code in ("q", "Q") else size


def member(ctype: CType, default: Any, *, init: bool = True) -> Any:
    """An attrs field that carries its C type."""
    return attrs.field(default=default, metadata={KEY: ctype}, init=init, repr=init, eq=init)


def checked_length(what: str, n: int, least: int = 1) -> int:
    """*n* itself; ValueError, naming the maker, when it cannot be a length."""
    if not isinstance(n, int) or n < least:
        raise ValueError(f"{what}({n!r}): the length must be an integer of at least {least}")
    return n


def pad(n: int, *, init: Literal[False] = False) -> bytes:
    """*n* bytes nobody reads, zero on the way out.

    The attribute is always b"" and is no argument of the constructor.
    """
    return cast(bytes, member(CType("pad", f"pad[{n}]", "x", checked_length("pad", n)), b"", init=init))
