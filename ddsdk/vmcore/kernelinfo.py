"""VMCOREINFO's typed keys: SYMBOL, SIZE, OFFSET, LENGTH, NUMBER (formats.md 5.4).

A key that is absent, no number or out of range is None: what is not known is not used.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from . import vmcoreinfo as vmci

#: Sizes and offsets of kernel structures; more is damage.
MAX_OFFSET = 1 << 24
MIN_STRUCT_PAGE, MAX_STRUCT_PAGE = 16, 1024
_WORD = 1 << 64


@frozen
class KernelInfo:
    """What the crashed kernel says of itself."""

    values: Mapping[str, str]

    @classmethod
    def of(cls, vmcoreinfo: bytes | None) -> KernelInfo:
        """The keys of a VMCOREINFO note; None has none of them."""
        return cls(vmci.parse(vmcoreinfo))

    def symbol(self, *names: str) -> int | None:
        """Virtual address of the first of *names* that is there; KASLR is in it already."""
        for name in names:
            value = _integer(self.values.get(f"SYMBOL({name})"), 16)
            if value is not None and 0 < value < _WORD:
                return value
        return None

    def size(self, name: str) -> int | None:
        """SIZE(name), 1 byte or more."""
        value = _integer(self.values.get(f"SIZE({name})"), 10)
        return value if value is not None and 0 < value <= MAX_OFFSET else None

    def offset(self, name: str) -> int | None:
        """OFFSET(struct.member)."""
        value = _integer(self.values.get(f"OFFSET({name})"), 10)
        return value if value is not None and 0 <= value <= MAX_OFFSET else None

    def length(self, name: str) -> int | None:
        """LENGTH(array)."""
        value = _integer(self.values.get(f"LENGTH({name})"), 10)
        return value if value is not None and 0 < value <= MAX_OFFSET else None

    def number(self, name: str) -> int | None:
        """NUMBER(name), which may be negative."""
        value = _integer(self.values.get(f"NUMBER({name})"), 10)
        return value if value is not None and -_WORD < value < _WORD else None

    def bit(self, name: str) -> int | None:
        """NUMBER(name) as the number of a page flag, 0 to 31: other flags hold zone and node."""
        value = self.number(name)
        return value if value is not None and 0 <= value < 32 else None

    def exponent(self, name: str) -> int | None:
        """NUMBER(name) as a power of two of an address: 0 to 63."""
        value = self.number(name)
        return value if value is not None and 0 <= value < 64 else None

    @property
    def struct_page_bytes(self) -> int | None:
        """SIZE(page): whole words; no kernel's is smaller than 16 bytes or larger than 1024."""
        size = self.size("page")
        return size if size is not None and MIN_STRUCT_PAGE <= size <= MAX_STRUCT_PAGE and not size % 4 else None

    def config(self, name: str) -> bool:
        """Whether CONFIG_*name* is said to be on."""
        return self.values.get(f"CONFIG_{name}") == "y"


def _integer(text: str | None, base: int) -> int | None:
    """*text* in *base*, decimal falling back to hexadecimal; None when it is no number."""
    if text is None or len(text) > 40 or not text.isascii():
        return None
    for radix in (base, 16):
        try:
            return int(text, radix)
        except ValueError:
            continue
    return None
