"""Bad input: one line on stderr, the documented exit code, nothing lost."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Ddsdk, Ended


def one_line(ended: Ended, code: int, *words: str) -> str:
    """The one error line; every word of *words* is in it."""
    lines = ended.err.splitlines()
    assert ended.code == code, ended.err
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("ddsdk: error: ")
    assert "Traceback" not in ended.err
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


def at(offset: int, data: bytes) -> Callable[[Path], None]:
    """Put *data* at *offset* of a file."""
    def put(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)
    return put


HELD = {
    "ext4": at(1024 + 56, struct.pack("<H", 0xEF53)),
    "xfs": at(0, b"XFSB"),
    "btrfs": at(0x10040, b"_BHRfS_M"),
    "swap": at(4086, b"SWAPSPACE2"),
    "lvm": at(512, b"LABELONE" + bytes(16) + b"LVM2 001"),
    "luks": at(0, b"LUKS\xba\xbe\x00\x02"),
    "raid": at(4096, struct.pack("<II", 0xA92B4EFC, 1)),
    "mbr": at(446, bytes([0x80, 1, 1, 0, 0x83, 0xFE, 0xFF, 0xFF]) + struct.pack("<II", 2048, 16384) + bytes(48)
              + b"\x55\xaa"),
    "gpt": at(512, b"EFI PART"),
}


@pytest.mark.parametrize("what", HELD)
def test_format_refuses_what_holds_something(ddsdk: Ddsdk, image: Path, what: str) -> None:
    """File system, swap, LVM, LUKS, RAID, partition table: refused, unchanged; --force overwrites."""
    HELD[what](image)
    before = image.read_bytes()
    one_line(ddsdk("format", image), 5, str(image), "--force")
    assert image.read_bytes() == before
    ended = ddsdk("format", "--force", image)
    assert ended.code == 0
    assert "overwritten by --force" in ended.err


def test_format_refuses_an_unsaved_dump(ddsdk: Ddsdk, image: Path) -> None:
    """A dump that savecore has not saved is not formatted away."""
    ddsdk("format", image)
    ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}")
    before = image.read_bytes()
    one_line(ddsdk("format", image), 5, "dump")
    assert image.read_bytes() == before


def test_a_device_that_is_too_small_says_how_many_blocks_are_missing(ddsdk: Ddsdk, image: Path) -> None:
    """16 MiB for 32 MiB of memory: 8096 + 4 blocks needed, 4096 there."""
    ddsdk("format", image)
    before = image.read_bytes()
    ended = ddsdk("dump", "synthetic:32M", "--to", f"mptfusion:{image}")
    assert ended.code == 5
    assert "the dump partition has 4096 blocks, 8100 are required: 4004 are missing" in ended.err
    assert image.read_bytes() == before


def test_signatures_of_another_device(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """A partition moved by one block inside a disk carries somebody else's numbers: refused, unchanged."""
    ddsdk("format", f"{image},offset=4096")
    before = image.read_bytes()
    ended = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}")
    assert ended.code == 5
    assert "signature" in ended.err
    assert image.read_bytes() == before


def test_every_device_refused_names_each(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """Two devices, two reasons, exit 5."""
    other = tmp_path / "other.img"
    other.write_bytes(bytes(1 << 20))
    ended = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}", "--to", f"mptfusion:{other}")
    assert ended.code == 5
    assert f"mptfusion:{image}: signature check" in ended.err
    assert f"mptfusion:{other}: size" in ended.err


@pytest.mark.parametrize(("to", "words"), [
    ("nosuch:{image}", ("nosuch", "mptfusion")),
    ("mptfusion:{image},chip=nosuch", ("nosuch", "53c1030", "sas1068")),
    ("mptfusion:{image},backend=nosuch", ("nosuch", "model", "qemu")),
    ("mptfusion:{image},chip=53c1030,backend=qemu", ("53c1030", "chip=sas1068")),
    ("mptfusion:{image},nosuch=1", ("nosuch=1", "chip=")),
    ("mptfusion", ("DRIVER:PATH",)),
    ("mptfusion:{image},size=0x", ("0x",)),
    ("mptfusion:{image},offset=100", ("100", "multiple of 512")),
    ("mptfusion:{image},size=" + "9" * 5000, ("it must be a number of bytes",)),
    ("mptfusion:{image},offset=512,offset=0", ("offset= is given twice",)),
])
def test_unknown_names_list_what_there_is(ddsdk: Ddsdk, image: Path, to: str, words: tuple[str, ...]) -> None:
    """Driver, chip, backend, option: exit 2 and the choices."""
    one_line(ddsdk("dump", "synthetic:4M", "--to", to.format(image=image)), 2, *words)


def test_qemu_missing(ddsdk: Ddsdk, image: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No QEMU on PATH: says so and what to install; exit 5."""
    ddsdk("format", image)
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image},backend=qemu")
    assert ended.code == 5
    assert "qemu-system-x86_64 not found" in ended.err


@pytest.mark.parametrize(("content", "code"), [(b"", 4), (b"not an ELF file" * 1000, 4), (b"\x7fELF" + bytes(60), 4),
                                               (b"\x7fELF\x02\x01\x01", 4)])
def test_memory_that_is_none(ddsdk: Ddsdk, image: Path, tmp_path: Path, content: bytes, code: int) -> None:
    """Empty, not ELF, an empty header, a cut one."""
    memory = tmp_path / "memory"
    memory.write_bytes(content)
    one_line(ddsdk("dump", memory, "--to", f"mptfusion:{image}"), code, str(memory))


def test_a_truncated_core(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """A vmcore cut in half is refused before anything is dumped."""
    ddsdk("format", image)
    ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}")
    vmcore = Path(ddsdk("savecore", image, tmp_path / "crash").out.split(": ")[0])
    os.truncate(vmcore, vmcore.stat().st_size // 2)
    one_line(ddsdk("dump", vmcore, "--to", f"mptfusion:{image}"), 4, str(vmcore))


@pytest.mark.parametrize("memory", ["synthetic:", "synthetic:0", "synthetic:4M,nosuch=1", "synthetic:4M,cpus=0"])
def test_bad_synthetic(ddsdk: Ddsdk, image: Path, memory: str) -> None:
    """Usage errors name the part."""
    one_line(ddsdk("dump", memory, "--to", f"mptfusion:{image}"), 2)


def test_memory_that_does_not_exist(ddsdk: Ddsdk, image: Path) -> None:
    """Exit 5 and the path."""
    one_line(ddsdk("dump", "no-such-file", "--to", f"mptfusion:{image}"), 5, "no-such-file")


def dumped(ddsdk: Ddsdk, image: Path) -> bytes:
    """*image* formatted and dumped to; its bytes."""
    ddsdk("format", image)
    assert ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}").code == 0
    return image.read_bytes()


def test_savecore_into_a_symlink(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """No symlink is followed; the dump stays."""
    before = dumped(ddsdk, image)
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    one_line(ddsdk("savecore", image, tmp_path / "link"), 5, "link")
    assert image.read_bytes() == before
    assert not list((tmp_path / "real").iterdir())


def test_savecore_into_a_file(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """A target that is no directory; the dump stays."""
    before = dumped(ddsdk, image)
    (tmp_path / "file").touch()
    one_line(ddsdk("savecore", image, tmp_path / "file"), 5, "file")
    assert image.read_bytes() == before


def test_savecore_without_a_dump(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """Formatted and empty: the verdict is no dump, exit 1, nothing is made."""
    ddsdk("format", image)
    ended = ddsdk("savecore", image, tmp_path / "crash")
    assert ended.code == 1
    assert "no dump" in ended.out
    assert not (tmp_path / "crash").exists() or not list((tmp_path / "crash").iterdir())


def test_info_on_neither(ddsdk: Ddsdk, image: Path) -> None:
    """Neither a core nor a dump: exit 4."""
    one_line(ddsdk("info", image), 4, str(image))


@pytest.mark.parametrize("args", [("format",), ("nosuch",), ("dump", "synthetic:4M"),
                                  ("check", "x", "--sample-rate", "x"),
                                  ("estimate", "pages:x"), ("estimate", "pages:²"),
                                  ("estimate", "pages:" + "9" * 5000), ("estimate", "pages:17179869185"),
                                  ("estimate", "synthetic:٤M"), ("estimate", "synthetic:4M,seed=²"),
                                  ("check", "x,size=512,size=512"), ("check", "x,size=" + "9" * 5000),
                                  ("check", "x", "--block-order", "-3"), ("drill", "--load-us", "60000001"),
                                  ("drill", "--driver", "nosuch"), ("drill", "--chip", "nosuch"),
                                  ("dump", "synthetic:4M", "--to", "mptfusion:x", "--block-order", "9"),
                                  ("estimate", "synthetic:4M,abi=ia64", "--abi", "i386")])
def test_usage(ddsdk: Ddsdk, args: tuple[str, ...]) -> None:
    """Missing, unknown, out of range: exit 2."""
    one_line(ddsdk(*args), 2)


def test_no_plugin_loaded(ddsdk: Ddsdk, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DDSDK_LOAD_PLUGINS naming nothing that exists: said by `drivers`."""
    monkeypatch.setenv("DDSDK_LOAD_PLUGINS", "nosuch")
    ended = ddsdk("drivers")
    assert ended.code == 0
    assert "nosuch" in ended.err
