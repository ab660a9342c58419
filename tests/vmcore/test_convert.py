"""From one dump file to another and back: every page, register and note stays."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from ddsdk.abi import ABIS, X86_64, Abi
from ddsdk.errors import DeviceError, FormatError, UsageError
from ddsdk.vmcore.codecs import Codec
from ddsdk.vmcore.convert import Conversion, Format, convert, convert_split, packing, split_ranges
from ddsdk.vmcore.output import HOLE_BYTES, FileOutput, FlattenedOutput
from ddsdk.vmcore.packing import InProcess
from ddsdk.vmcore.pagemap import PageMap
from ddsdk.vmcore.pages import PageSource
from ddsdk.vmcore.source import open_pages, open_source

MEMORY = "synthetic:1M,cpus=3"


def converted(spec: str, path: Path, to: Format, *, codec: Codec | None = None, level: int = 0, jobs: int = 1,
              flatten: bool = False) -> str:
    """*spec* as *path*, whose name comes back."""
    conversion = Conversion.of(to, codec, level, jobs, spec)
    with ExitStack() as stack:
        source = stack.enter_context(open_pages(spec))
        packer = stack.enter_context(packing(source, conversion))
        file = stack.enter_context(FileOutput(str(path), force=True))
        output = stack.enter_context(FlattenedOutput(file.fd, str(path))) if flatten else file
        convert(source, output, conversion, packer)
    return str(path)


def pages_of(source: PageSource) -> dict[int, bytes]:
    """Every stored page by frame."""
    page, found = source.page_size, {}
    for first, count in source.stored.runs():
        buffer = bytearray(count * page)
        source.read_frames(first, count, memoryview(buffer))
        found |= {first + at: bytes(buffer[at * page:(at + 1) * page]) for at in range(count)}
    return found


@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_round_trip(abi: Abi, tmp_path: Path) -> None:
    """ELF, KDUMP, LKCD, ELF, flattened, DISKDUMP, ELF."""
    spec = f"{MEMORY},abi={abi.name}"
    steps = ((Format.ELF, False), (Format.KDUMP, False), (Format.LKCD, False), (Format.ELF, False),
             (Format.KDUMP, True), (Format.DISKDUMP, False), (Format.ELF, True), (Format.ELF, False))
    name = spec
    for number, (to, flatten) in enumerate(steps):
        name = converted(name, tmp_path / f"{number}", to, flatten=flatten)
        with open_source(spec) as memory, open_pages(name) as made:
            assert (made.abi.name, made.release, made.page_size) == (abi.name, memory.release, abi.page_size)
            assert (made.ram, made.stored) == (memory.ram, memory.ram)
            assert pages_of(made) == pages_of(memory)
            assert [(cpu.cpu, cpu.regs, cpu.pid) for cpu in made.cpus] == [
                (cpu.cpu, cpu.regs, cpu.pid) for cpu in memory.cpus]
            assert made.vmcoreinfo == memory.vmcoreinfo
            assert [n for n in made.notes if n.name != b"DDSDK"] == list(memory.notes)
    assert (tmp_path / "0").read_bytes() == (tmp_path / "3").read_bytes() == (tmp_path / "7").read_bytes()


@pytest.mark.parametrize("codec", [Codec.ZLIB, Codec.LZO], ids=lambda codec: codec.value)
def test_the_number_of_workers_does_not_show(codec: Codec, tmp_path: Path) -> None:
    """One process or three: the same bytes."""
    core = converted(MEMORY, tmp_path / "core", Format.ELF)
    alone = converted(core, tmp_path / "alone", Format.KDUMP, codec=codec, level=1)
    together = converted(core, tmp_path / "together", Format.KDUMP, codec=codec, level=1, jobs=3)
    assert Path(alone).read_bytes() == Path(together).read_bytes()


def test_zero_pages_are_one(tmp_path: Path) -> None:
    """With level 1 they stay in the map and share their bytes; without, each has its own."""
    core = converted(MEMORY, tmp_path / "core", Format.ELF)
    sizes = {level: Path(converted(core, tmp_path / "k", Format.KDUMP, codec=Codec.NONE, level=level)).stat().st_size
             for level in (0, 1)}
    with open_source(MEMORY) as memory:
        zeros = sum(page == bytes(4096) for page in pages_of(memory).values())
    assert zeros > 1
    assert sizes[0] - sizes[1] == (zeros - 1) * 4096


def test_a_split_set(tmp_path: Path) -> None:
    """Three files have the pages between them; without one of them, with one twice or a stranger they are refused."""
    conversion = Conversion.of(Format.KDUMP, None, 0, 1, MEMORY)
    paths = [str(tmp_path / f"s.{number}") for number in (1, 2, 3)]
    with open_pages(MEMORY) as source, packing(source, conversion) as packer:
        reports = convert_split(source, paths, conversion, packer)
        assert sum(report.pages for report in reports) == source.ram.count()
    with open_source(MEMORY) as memory, open_pages("split:" + ",".join(reversed(paths))) as together:
        assert pages_of(together) == pages_of(memory)
        assert together.origin == f"{paths[0]} and 2 more"
    whole = converted(MEMORY, tmp_path / "whole", Format.KDUMP)
    other = converted("synthetic:1M,seed=9", tmp_path / "other", Format.ELF)
    for names, said in ((paths[:2], "a part is missing"), ([paths[0], paths[0], paths[2]], "missing or given twice"),
                        ([*paths[:2], whole], "no part of a split dump"),
                        ([paths[0], other], "no compressed dump file")):
        with pytest.raises(FormatError, match=said):
            open_pages("split:" + ",".join(names))


def test_split_ranges() -> None:
    """As many pages in each, wherever they lie; never more files than pages."""
    kept = PageMap.of_runs([(0, 2), (1000, 6)], 2000)
    assert split_ranges(kept, 4) == [(0, 1000), (1000, 1002), (1002, 1004), (1004, 2000)]
    with pytest.raises(FormatError, match="8 pages cannot be split into 9 files"):
        split_ranges(kept, 9)


@pytest.mark.parametrize(("to", "codec", "said"), [
    (Format.ELF, Codec.ZLIB, "--compress zlib: elf files have none"),
    (Format.DISKDUMP, Codec.ZSTD, "--compress zstd: diskdump files have none or zlib")])
def test_a_codec_that_the_format_has_not_got(to: Format, codec: Codec, said: str) -> None:
    """Said before anything is opened."""
    with pytest.raises(UsageError) as raised:
        Conversion.of(to, codec, 0, 1, MEMORY)
    assert str(raised.value) == said


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    """No half file under the name, none beside it; a file that is there is not touched."""
    target = tmp_path / "dump"
    target.write_text("precious")
    with pytest.raises(DeviceError, match="there is such a file; name another, or say --force"):
        FileOutput(str(target))
    with pytest.raises(FormatError), FileOutput(str(target), force=True) as output:
        output.write(0, b"half")
        raise FormatError("the other half is damaged")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"dump": "precious"}


def test_a_page_that_is_damaged_is_named(tmp_path: Path) -> None:
    """With its frame; the others can be read; a worker says the same."""
    path = Path(converted(MEMORY, tmp_path / "k", Format.KDUMP, codec=Codec.ZLIB))
    data = bytearray(path.read_bytes())
    with open_pages(str(path)) as source:
        first = next(source.stored.runs())[0]
        at = int(source.descriptors(first + 1, 1)["offset"][0])     # type: ignore[attr-defined]
    data[at:at + 8] = b"garbage!"
    path.write_bytes(data)
    for jobs in (1, 2):
        with pytest.raises(FormatError, match=rf"k: page frame {first + 1:#x}: its \d+ bytes are no zlib data"):
            converted(str(path), tmp_path / "again", Format.KDUMP, codec=Codec.LZO, jobs=jobs)
    with open_pages(str(path)) as source:
        assert len(bytes(source.view(first * 4096, 4096))) == 4096


def test_headers_say_who_the_machine_was(tmp_path: Path) -> None:
    """No member of utsname is empty: libkdumpfile believes no other."""
    path = converted(MEMORY, tmp_path / "k", Format.KDUMP)
    names = [part.rstrip(b"\0") for part in (Path(path).read_bytes()[12 + 65 * n:12 + 65 * (n + 1)] for n in range(6))]
    with open_source(MEMORY) as memory:
        assert names == [b"Linux", memory.nodename.encode(), memory.release.encode(), b"(none)", b"x86_64", b"(none)"]


@pytest.mark.parametrize(("codec", "level"), [(Codec.ZLIB, 30), (Codec.NONE, 31)])
def test_zero_pages_stay_in_a_compressed_lkcd_file(codec: Codec, level: int) -> None:
    """A few bytes each, for crash; without compression they would take whole pages, and go."""
    assert Conversion.of(Format.LKCD, codec, 31, 1, "").file_level == level


def data_of(path: Path) -> list[tuple[int, int]]:
    """[start, end) of what is no hole."""
    found, at, size = list[tuple[int, int]](), 0, path.stat().st_size
    with path.open("rb") as file:
        while at < size:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:             # ENXIO: nothing but a hole is left
                break
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, at))
    return found


def named(path: Path, kind: Format) -> str:
    """How *path* is opened."""
    return f"flat:{path}" if kind is Format.RAW else str(path)


@pytest.mark.parametrize("to", [Format.ELF, Format.RAW])
def test_holes_stay_holes(to: Format, tmp_path: Path) -> None:
    """What takes no room in the source takes none in an ELF core or a raw image, at its end neither."""
    ram = tmp_path / "ram"
    with ram.open("wb") as file:
        file.write(b"a" * HOLE_BYTES)
        file.seek(8 << 20)
        file.write(b"b" * 4096)
        file.truncate(16 << 20)
    made = tmp_path / "made"
    conversion = Conversion.of(to, None, 0, 1, "")
    with open_pages(f"flat:{ram}", abi=X86_64) as source, FileOutput(str(made)) as output:
        convert(source, output, conversion, InProcess(source, Codec.NONE, share_zeros=False))
    with open_source(named(made, to), abi=X86_64) as copy:
        assert bytes(copy.view(0, 16 << 20)) == ram.read_bytes()
    assert sum(end - start for start, end in data_of(made)) <= HOLE_BYTES + 3 * 4096
    assert made.stat().st_size >= 16 << 20


@pytest.mark.parametrize("to", [Format.ELF, Format.RAW])
def test_zeros_become_holes(to: Format, tmp_path: Path) -> None:
    """Pages of zeros that lay compressed take no room in an ELF core or a raw image."""
    ram = tmp_path / "ram"
    ram.write_bytes((b"a" * HOLE_BYTES + bytes(HOLE_BYTES + HOLE_BYTES // 2) + b"b").ljust(1 << 20, b"\0"))
    kdump, made = tmp_path / "kdump", tmp_path / "made"
    with open_pages(f"flat:{ram}", abi=X86_64) as source, FileOutput(str(kdump)) as output:
        convert(source, output, Conversion.of(Format.KDUMP, None, 0, 1, ""),
                InProcess(source, Codec.ZLIB, share_zeros=False))
    converted(str(kdump), made, to)
    with open_source(named(made, to), abi=X86_64) as copy:
        assert bytes(copy.view(0, 1 << 20)) == ram.read_bytes()
    assert sum(end - start for start, end in data_of(made)) <= 2 * HOLE_BYTES + 4096


def test_a_hole_is_sixty_four_kibibytes(tmp_path: Path) -> None:
    """Shorter zeros are written; the file is as long as what it was given."""
    path = tmp_path / "file"
    with FileOutput(str(path)) as output:
        output.write_sparse(0, b"a" + bytes(HOLE_BYTES - 1) + bytes(2 * HOLE_BYTES) + b"b" + bytes(HOLE_BYTES + 99))
        assert output.size == 4 * HOLE_BYTES + 100
        output.write_sparse(1 << 20, bytes(HOLE_BYTES))
    assert path.stat().st_size == (1 << 20) + HOLE_BYTES
    assert data_of(path) == [(0, HOLE_BYTES), (3 * HOLE_BYTES, 4 * HOLE_BYTES + 4096)]
