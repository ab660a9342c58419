"""`MEMORY` as the command line has it: an ELF core, a raw RAM image, `synthetic:SIZE`."""

from __future__ import annotations

from ddsdk.abi import Abi
from ddsdk.errors import FormatError

from .image import FileMapping, MemoryExtent, MemorySource, Run
from .notes import CpuNote
from .raw import open_raw

__all__ = ["CpuNote", "MemoryExtent", "MemorySource", "Run", "open_source"]

#: elfread and synthetic say these too; each brings a library with it and is imported when its turn comes.
ELF_MAGIC = b"\x7fELF"
SYNTHETIC = "synthetic:"
RAW = "raw:"
FLAT = "flat:"


def open_source(spec: str, *, abi: Abi | None = None) -> MemorySource:
    """Open the memory that *spec* names; close it when done (it is a context manager).

    `synthetic:64M[,seed=N][,abi=NAME][,cpus=N]`; an ELF core; a raw RAM image of an *abi* machine (`raw:FILE`
    says that even of a file that starts like an ELF file, `flat:FILE` that it has no PC holes).  Without
    *abi* a file must be an ELF core, and with it an ELF core of that machine.

    UsageError for a bad spec, DeviceError for a file that cannot be opened, FormatError for one that is no
    memory.
    """
    if spec.startswith(SYNTHETIC):
        from .synthetic import open_synthetic, parse_synthetic

        return open_synthetic(parse_synthetic(spec, abi))
    for prefix in (RAW, FLAT):
        if spec.startswith(prefix):
            path = spec.removeprefix(prefix)
            if abi is None:
                raise FormatError(f"{path}: a raw RAM image does not say whose it is; name the machine (--abi)")
            return open_raw(path, abi, flat=prefix == FLAT)
    return _open_file(spec, abi)


def _open_file(path: str, abi: Abi | None) -> MemorySource:
    if _starts_with(path, ELF_MAGIC):
        from .elfread import open_elf

        source = open_elf(path)
        if abi is not None and source.abi.name != abi.name:
            source.close()
            raise FormatError(f"{path}: an ELF core of {source.abi.name}, not of {abi.name} as asked for")
        return source
    if abi is None:
        raise FormatError(f"{path}: not an ELF core; if it is a raw RAM image, name its machine (--abi)")
    return open_raw(path, abi)


def _starts_with(path: str, magic: bytes) -> bool:
    mapping = FileMapping.open(path)
    try:
        return mapping.map[:len(magic)] == magic
    finally:
        mapping.close()
