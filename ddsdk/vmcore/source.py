"""`MEMORY` as the command line has it: any dump file, a raw RAM image, `synthetic:SIZE`."""

from __future__ import annotations

from ddsdk.abi import Abi
from ddsdk.errors import FormatError

from .dumpheader import KDUMP_SIGNATURE, SIGNATURE
from .filebytes import MAGIC as FLATTENED
from .image import MemoryExtent, MemorySource, Run
from .notes import CpuNote
from .pages import PageSource
from .raw import open_raw

__all__ = ["CpuNote", "MemoryExtent", "MemorySource", "PageSource", "Run", "open_pages", "open_source"]

#: The readers say some of these too; each brings a library with it and is imported when its turn comes.
ELF_MAGIC = b"\x7fELF"
#: Most significant byte first; the second is a live system's.
LKCD_MAGICS = (bytes.fromhex("a8190173618f23ed"), bytes.fromhex("a8190173618f23cd"))
SYNTHETIC = "synthetic:"
RAW = "raw:"
FLAT = "flat:"
SPLIT = "split:"
KCORE, KCORE_COPY = "/proc/kcore", "kcore:"


def starts_like_a_dump_file(start: bytes) -> bool:
    """Whether a file's first 16 bytes are those of a dump file that `open_pages` reads."""
    head = start[:8]
    return (start.startswith((ELF_MAGIC, FLATTENED)) or head in (SIGNATURE, KDUMP_SIGNATURE, *LKCD_MAGICS)
            or head[::-1] in LKCD_MAGICS)


def open_source(spec: str, *, abi: Abi | None = None) -> MemorySource:
    """Open the memory that *spec* names; close it when done (it is a context manager).

    `synthetic:64M[,seed=N][,abi=NAME][,cpus=N]`; a dump file of any kind that is read; a raw RAM image of an *abi*
    machine (`raw:FILE` says that even of a file that starts like a dump file, `flat:FILE` that it has no PC holes);
    `split:FILE,FILE,...` the parts of a split dump; `-` standard input; `/proc/kcore` this machine's own, while it
    goes on.  With *abi* a dump file must be of that
    machine.

    UsageError for a bad spec, DeviceError for a file that cannot be opened, FormatError for one that is no memory.
    Pages that lie compressed are unpacked into a file without a name (TMPDIR chooses where).
    """
    source = open_pages(spec, abi=abi)
    if isinstance(source, MemorySource):
        return source
    from .unpack import unpacked

    try:
        return unpacked(source)
    finally:
        source.close()


def open_pages(spec: str, *, abi: Abi | None = None, rescue: bool = False) -> PageSource:
    """The same for those who copy pages: a compressed dump file stays compressed.

    *rescue*: of a compressed dump file that is cut short, the pages that are there.
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
    if spec.startswith(SPLIT):
        from .filebytes import open_bytes
        from .kdump import open_kdump, open_split

        parts = [open_kdump(open_bytes(path), rescue=rescue) for path in spec.removeprefix(SPLIT).split(",")]
        return _as_asked(open_split(parts), abi)
    if spec == KCORE or spec.startswith(KCORE_COPY):
        from .kcore import KcoreSource

        return _as_asked(KcoreSource(spec.removeprefix(KCORE_COPY)), abi)
    return _open_file(spec, abi, rescue)


def _open_file(path: str, abi: Abi | None, rescue: bool) -> PageSource:
    from .filebytes import STDIN, PlainFile, open_bytes, rebuilt

    file = open_bytes(path)
    start = bytes(file.view(0, min(file.size, 8)))
    if start.startswith(ELF_MAGIC):
        from .elfread import open_elf_mapping

        mapping = file.mapping if isinstance(file, PlainFile) else rebuilt(file)
        return _as_asked(open_elf_mapping(mapping, file.path), abi)
    if start in (SIGNATURE, KDUMP_SIGNATURE):
        from .kdump import open_kdump

        return _as_asked(open_kdump(file, rescue=rescue), abi)
    if start[::-1] in LKCD_MAGICS or start in LKCD_MAGICS:
        from .lkcd import open_lkcd

        return _as_asked(open_lkcd(file), abi)
    file.close()
    if abi is None or path == STDIN:
        raise FormatError(f"{file.path}: no dump file that ddsdk reads (an ELF core, a compressed or LKCD dump file, "
                          "any of them flattened); if it is a raw RAM image, name its machine (--abi)")
    return open_raw(path, abi)


def _as_asked(source: PageSource, abi: Abi | None) -> PageSource:
    if abi is not None and source.abi.name != abi.name:
        source.close()
        raise FormatError(f"{source.origin}: a dump of {source.abi.name}, not of {abi.name} as asked for")
    return source
