"""Is the code that is about to save the memory still the code that was registered?

A `CodeImage` is taken when a dump device is registered and verified when the machine has crashed: the live
objects of the driver's and the core's modules, and declared memory regions (the sections of an ELF `.ko`).
The original took a CRC-32 of its module's core (white paper rev 0.1, 4.1; formats.md 1.10): it could say that
something was wrong, and nothing of what the driver had.  This one says where.

`verify()` raises nothing: what can no longer be read is damage too.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from attrs import field, frozen

from .crc import crc32_kernel
from .errors import DeviceError, FormatError
from .fingerprint import Print, prints

#: regions are compared in pieces of this many bytes, so that damage can be placed
PIECE_BYTES: Final = 4096
_ELF_SECTIONS: Final = (".text", ".rodata", ".data")

_Paths = Mapping[str, Print]


@frozen
class Region:
    """A stretch of memory that must not change.  *read* gives its bytes as they are, or raises OSError."""

    name: str
    read: Callable[[], bytes | memoryview]


@frozen
class Damage:
    """One thing that is not what it was: the module or region, what in it (empty: all of it), and how."""

    module: str
    qualname: str
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.module, self.qualname, self.what) if part)


@frozen(eq=False)
class CodeImage:
    """What modules and regions were when the image was taken.  `crc` covers everything, in a stable order."""

    modules: tuple[ModuleType, ...]
    regions: tuple[Region, ...]
    crc: int
    _prints: tuple[_Paths, ...] = field(repr=False)
    _pieces: tuple[tuple[int, tuple[int, ...]], ...] = field(repr=False)

    @classmethod
    def take(cls, modules: Sequence[ModuleType], regions: Sequence[Region] = ()) -> CodeImage:
        """Fingerprint *modules* and *regions* as they are.  DeviceError for a region that cannot be read."""
        paths = tuple(dict(prints(module)) for module in modules)
        pieces = []
        for region in regions:
            try:
                pieces.append(_region_crcs(region.read()))
            except OSError as error:
                raise DeviceError(f"{region.name}: cannot be read for its CRC: {error}") from None
        return cls(tuple(modules), tuple(regions), _total(modules, paths, pieces), paths, tuple(pieces))

    def verify(self) -> list[Damage]:
        """Everything that differs from what was taken; empty when nothing does."""
        found: list[Damage] = []
        for module, before in zip(self.modules, self._prints, strict=True):
            found += _compare_module(module, before)
        for region, (length, pieces) in zip(self.regions, self._pieces, strict=True):
            found += _compare_region(region, length, pieces)
        return found


def _total(modules: Sequence[ModuleType], paths: Sequence[_Paths],
           pieces: Sequence[tuple[int, tuple[int, ...]]]) -> int:
    """One CRC over everything: crc32_le(0, ..), as the original's."""
    parts: list[bytes] = []
    for module, known in zip(modules, paths, strict=True):
        parts.append(module.__name__.encode())
        for path, one in known.items():
            parts += (path.encode(), one.static, one.code)
    parts += [repr(piece).encode() for piece in pieces]
    return crc32_kernel.of(b"".join(parts))


def _region_crcs(data: bytes | memoryview) -> tuple[int, tuple[int, ...]]:
    view = memoryview(data).cast("B")
    return len(view), tuple(crc32_kernel.of(view[at:at + PIECE_BYTES], 0xFFFFFFFF)  # preset: zeros count too
                            for at in range(0, len(view), PIECE_BYTES))


def _compare_module(module: ModuleType, before: _Paths) -> Iterator[Damage]:
    name = module.__name__
    try:
        now = dict(prints(module))
    except Exception as error:  # a module too damaged to be walked must not stop the verdict
        yield Damage(name, "", f"cannot be read any more: {type(error).__name__}: {error}")
        return
    for path, was in before.items():
        one = now.get(path)
        if one is None:
            yield Damage(name, path, "is gone")
        elif one != was:
            yield Damage(name, path, _difference(was, one))
    for path, one in now.items():
        # a function that was not there may hide one that was; a new constant is nobody's business yet
        if one.code and path not in before:
            yield Damage(name, path, "was not there at registration")


def _difference(was: Print, now: Print) -> str:
    """How two fingerprints of one thing differ."""
    if was.parts != now.parts:
        return f"was {_kind(was)}, is {_kind(now)}"
    if was.code != now.code:
        return _instruction(was.code, now.code)
    old, new = marshal.loads(was.static), marshal.loads(now.static)
    part, before, after = next((part, a, b) for part, a, b in zip(was.parts, old, new, strict=True)
                               if repr(a) != repr(b))
    if isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after):
        index, before, after = next((n, a, b) for n, (a, b) in enumerate(zip(before, after, strict=True))
                                    if repr(a) != repr(b))
        part = f"{part}[{index}]"
    return f"{part} is {_short(after)}, was {_short(before)}"


def _instruction(was: bytes, now: bytes) -> str:
    if len(was) != len(now):
        return f"byte code differs: {len(now)} bytes, was {len(was)}"
    at = next(n for n, (a, b) in enumerate(zip(was, now, strict=True)) if a != b)
    # opcodes come first, arguments follow; in the function they alternate
    count = len(was) // 2
    place = 2 * at if at < count else 2 * (at - count) + 1
    return f"byte code differs at byte {place}: {now[at]:#04x}, was {was[at]:#04x}"


def _kind(one: Print) -> str:
    return "a function" if one.code else "a class" if one.parts == ("base classes",) else "a value"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _compare_region(region: Region, length: int, pieces: tuple[int, ...]) -> Iterator[Damage]:
    try:
        now_length, now = _region_crcs(region.read())
    except Exception as error:  # whatever a reader raises, the region cannot be vouched for
        yield Damage(region.name, "", f"cannot be read any more: {type(error).__name__}: {error}")
        return
    if now_length != length:
        yield Damage(region.name, "", f"is {now_length} bytes long, was {length}")
        return
    wrong = [at for at, (a, b) in enumerate(zip(pieces, now, strict=True)) if a != b]
    if wrong:
        first, last = wrong[0] * PIECE_BYTES, min((wrong[-1] + 1) * PIECE_BYTES, length) - 1
        yield Damage(region.name, "", f"differs within bytes {first:#x}..{last:#x} ({len(wrong)} of "
                                      f"{len(pieces)} pieces of {PIECE_BYTES} bytes)")


def elf_module_regions(path: str | Path) -> list[Region]:
    """The sections .text, .rodata and .data of the ELF file (a `.ko`) at *path*, each a region read afresh.

    FormatError when it is no ELF file or has none of them, DeviceError when it cannot be opened.
    """
    # imported here: most dumps declare no regions
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    path = Path(path)
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            sections = [elf.get_section_by_name(name) for name in _ELF_SECTIONS]
            found = [(one.name, one["sh_offset"], one["sh_size"]) for one in sections
                     if one is not None and one["sh_type"] != "SHT_NOBITS" and one["sh_size"]]
    except OSError as error:
        raise DeviceError(f"{path}: cannot be opened: {error.strerror}") from None
    except (ELFError, ValueError, KeyError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not an ELF module: {error}") from None
    if not found:
        raise FormatError(f"{path}: has none of the sections {', '.join(_ELF_SECTIONS)}: no kernel module")
    return [Region(f"{path.name} {name}", _reader(path, offset, size)) for name, offset, size in found]


def _reader(path: Path, offset: int, size: int) -> Callable[[], bytes]:
    def read() -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    return read
