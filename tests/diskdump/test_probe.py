"""What lives on a device, and who uses it."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from ddsdk.abi import ABIS, Abi
from ddsdk.diskdump.probe import Host, refusals, swap_pages
from ddsdk.diskdump.signature import SignatureKind
from ddsdk.diskdump.target import DumpTarget
from ddsdk.errors import DeviceError
from tests.diskdump.images import formatted

MIB = 1 << 20


def held(path: Path, *pieces: tuple[int, bytes], size: int = 2 * MIB) -> list[str]:
    """What a device of zeros with *pieces* (offset, from the end when negative; bytes) holds."""
    path.write_bytes(b"")
    os.truncate(path, size)
    with path.open("r+b") as file:
        for offset, data in pieces:
            file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
            file.write(data)
    with DumpTarget(str(path)).open() as opened:
        return refusals(opened)


EXT = (1024, struct.pack("<IIIIIII", 0, 0, 0, 0, 0, 0, 2).ljust(56, b"\0") + b"\x53\xef")
PARTITION = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\xff\xff\xff", 2048, 4096)
MD = struct.pack("<I", 0xA92B4EFC)


@pytest.mark.parametrize(("what", "pieces"), [
    ("an ext2/3/4 file system", [EXT]),
    ("an XFS file system", [(0, b"XFSB")]),
    ("a btrfs file system", [(0x10040, b"_BHRfS_M")]),
    ("an F2FS file system", [(1024, struct.pack("<I", 0xF2F52010))]),
    ("a ReiserFS file system", [(0x10034, b"ReIsEr2Fs")]),
    ("a JFS file system", [(0x8000, b"JFS1")]),
    ("a FAT file system", [(54, b"FAT16   "), (510, b"\x55\xaa")]),
    ("a FAT file system", [(82, b"FAT32   "), (510, b"\x55\xaa")]),
    ("an exFAT file system", [(3, b"EXFAT   ")]),
    ("an NTFS file system", [(3, b"NTFS    ")]),
    ("an ISO 9660 file system", [(0x8001, b"CD001")]),
    ("a squashfs file system", [(0, b"hsqs")]),
    ("an EROFS file system", [(1024, struct.pack("<I", 0xE0F5E1E2))]),
    ("a swap area", [(1024, struct.pack("<II", 1, 511)), (4086, b"SWAPSPACE2")]),
    ("a swap area", [(1024, struct.pack("<II", 1, 127)), (16374, b"SWAPSPACE2")]),
    ("a hibernated system's memory", [(4086, b"S1SUSPEND")]),
    ("an LVM2 physical volume", [(512, b"LABELONE"), (536, b"LVM2 001")]),
    ("a LUKS volume", [(0, b"LUKS\xba\xbe\0\1")]),
    ("a LUKS2 volume", [(0x4000, b"SKUL\xba\xbe\0\2")]),
    ("a Linux RAID member (md 0.90)", [(2 * MIB - 65536, MD)]),
    ("a Linux RAID member (md 1.0)", [(-8192, MD)]),
    ("a Linux RAID member (md 1.1)", [(0, MD)]),
    ("a Linux RAID member (md 1.2)", [(4096, MD)]),
    ("an Intel firmware RAID member", [(-1024, b"Intel Raid ISM Cfg Sig. ")]),
    ("a DDF firmware RAID member", [(-512, b"\xde\x11\xde\x11")]),
    ("a ZFS pool member", [((128 << 10) + 5 * 1024, struct.pack("<Q", 0xBAB10C))]),
    ("a bcache or bcachefs device", [(4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"))]),
    ("a GPT partition table", [(512, b"EFI PART")]),
    ("a GPT partition table (its backup)", [(-512, b"EFI PART")]),
    ("an MBR partition table", [(446, PARTITION), (510, b"\x55\xaa")]),
    ("a Sun partition table", [(508, b"\xda\xbe")]),
    ("an Amiga partition table", [(1024, b"RDSK")]),
    ("an ELF file", [(0, b"\x7fELF\2\1\1")]),
    ("a kdump file", [(0, b"KDUMP   ")]),
    ("a diskdump file", [(0, b"DISKDUMP")]),
    ("a flattened dump file", [(0, b"makedumpfile")]),
    ("an LKCD dump", [(0, struct.pack("<Q", 0xA8190173618F23ED))]),
    ("a qcow disk image", [(0, b"QFI\xfb\0\0\0\3")]),
    ("a gzip file", [(0, b"\x1f\x8b\x08")]),
    ("a crash dump that has not been saved (run `ddsdk savecore` first)", [(4096, b"DISKDUMP")]),
    ("a crash dump that has not been saved (run `ddsdk savecore` first)", [(16384, b"DISKDUMP")]),
])
def test_what_is_recognised(what: str, pieces: list[tuple[int, bytes]], tmp_path: Path) -> None:
    """Each content is found by its magic at its place, and nothing else is claimed."""
    assert held(tmp_path / "d.img", *pieces) == [what]


def test_several_contents_are_all_named(tmp_path: Path) -> None:
    """A disk with a partition table and the rest of an older LUKS header names both."""
    pieces = [(0, b"LUKS\xba\xbe\0\1"), (446, PARTITION), (510, b"\x55\xaa")]
    assert held(tmp_path / "d.img", *pieces) == ["a LUKS volume", "an MBR partition table"]


@pytest.mark.parametrize("pieces", [
    [],
    [(1080, b"\x53\xef"), (1024 + 24, b"\xff\xff\xff\xff")],      # two bytes of ext magic, an impossible block size
    [(510, b"\x55\xaa")],                                           # a boot sector without partitions
    [(446, bytes([7]) + PARTITION[1:]), (510, b"\x55\xaa")],        # boot flag neither 0 nor 0x80: code, no table
    [(100, b"XFSB"), (1000, b"LUKS\xba\xbe")],
])
def test_what_is_free(pieces: list[tuple[int, bytes]], tmp_path: Path) -> None:
    """Magic by coincidence, or at the wrong place, does not make a device unusable."""
    assert held(tmp_path / "d.img", *pieces) == []


def test_what_lies_under_a_window(tmp_path: Path) -> None:
    """A window of a device that is one file system would destroy it; a partition table is what windows are for."""
    path = tmp_path / "d.img"
    assert held(path, EXT) == ["an ext2/3/4 file system"]
    with DumpTarget(str(path), MIB).open() as file:
        assert refusals(file) == [f"(the whole of {path}) an ext2/3/4 file system"]
    assert held(path, (446, PARTITION), (510, b"\x55\xaa")) == ["an MBR partition table"]
    with DumpTarget(str(path), MIB).open() as file:
        assert refusals(file) == []


@pytest.mark.parametrize("size", [0, 511, 512, 4096, 65536, 100_000])
def test_small_devices(size: int, tmp_path: Path) -> None:
    """Looking at a device smaller than where the magics are finds nothing and does not fail."""
    assert held(tmp_path / "d.img", size=size) == []


@pytest.mark.parametrize("kind", SignatureKind, ids=lambda kind: kind.value)
@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_signatures_look_like_nothing_else(abi: Abi, kind: SignatureKind, tmp_path: Path) -> None:
    """No signature, of any machine and kind, is taken for a file system or a partition table."""
    target = formatted(tmp_path / "d.img", 400, abi=abi, kind=kind)
    with target.open() as file:
        assert refusals(file) == []


@pytest.mark.parametrize(("tool", "what"), [
    (["mkfs.ext4", "-q", "-F"], "an ext2/3/4 file system"),
    (["mkswap"], "a swap area"),
])
def test_real_tools(tool: list[str], what: str, tmp_path: Path) -> None:
    """What the tools of e2fsprogs and util-linux make is recognised."""
    program = shutil.which(tool[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        assert not os.environ.get("CI"), f"{tool[0]} must be installed in CI"
        pytest.skip(f"{tool[0]} is not installed")
    path = tmp_path / "d.img"
    path.write_bytes(bytes(4 * MIB))
    subprocess.run([program, *tool[1:], str(path)], check=True, capture_output=True)
    with DumpTarget(str(path)).open() as file:
        assert refusals(file) == [what]


def test_swap_pages() -> None:
    """The size of a swap area is in its header; a version we do not know counts as no pages."""
    head = bytearray(4096)
    struct.pack_into("<II", head, 1024, 1, 11)
    assert swap_pages(bytes(head), 4096) is None
    head[4086:] = b"SWAPSPACE2"
    assert swap_pages(bytes(head), 4096) == 12
    head[1024] = 2
    assert swap_pages(bytes(head), 4096) == 0


def host(tmp_path: Path, *, mountinfo: str = "", swaps: str = "", loop: str | None = None) -> Host:
    """A host with the /proc and /sys files of a test."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(mountinfo)
    (tmp_path / "proc/swaps").write_text(f"Filename\tType\tSize\tUsed\tPriority\n{swaps}")
    if loop:
        (tmp_path / "sys/block/loop3/loop").mkdir(parents=True)
        (tmp_path / "sys/block/loop3/loop/backing_file").write_text(f"{loop}\n")
    return Host(tmp_path / "proc", tmp_path / "sys")


def test_swap_file_in_use(tmp_path: Path) -> None:
    """A file that is swapped to is never formatted, by whatever name it is given."""
    path = tmp_path / "a swap"
    path.write_bytes(bytes(MIB))
    (tmp_path / "link").symlink_to(path)
    name = str(path).replace(" ", "\\040")
    machine = host(tmp_path, swaps=f"{name}\tfile\t1024\t0\t-2\n")
    assert machine.use_of(DumpTarget(str(tmp_path / "link"))) == "it is a swap file in use"
    with pytest.raises(DeviceError, match=r"it is a swap file in use; release it first .* --force or not"):
        machine.refuse_in_use(DumpTarget(str(path)))


def test_loop_device_in_use(tmp_path: Path) -> None:
    """A file behind a loop device may be mounted through it: in use."""
    path = tmp_path / "d.img"
    path.write_bytes(bytes(MIB))
    assert host(tmp_path, loop=str(path)).use_of(DumpTarget(str(path))) == "it is attached to /dev/loop3"


@pytest.mark.parametrize(("mountinfo", "use"), [
    ("36 25 8:16 / /mnt/a\\040b rw - ext4 /dev/sdb rw\n", "it is mounted on /mnt/a b"),
    ("36 25 8:17 / /mnt rw - ext4 /dev/sdb1 rw\n", "its partition sdb1 is mounted on /mnt"),
    ("36 25 8:32 / /mnt rw - ext4 /dev/sdc rw\n", None),
])
def test_mounted_block_device(mountinfo: str, use: str | None, tmp_path: Path) -> None:
    """A mounted device, or one with a mounted partition, is in use; another disk's mount is not ours."""
    machine = host(tmp_path, mountinfo=mountinfo)
    part = tmp_path / "sys/dev/block/8:16/sdb1"
    part.mkdir(parents=True)
    (part / "partition").write_text("1\n")
    (part / "dev").write_text("8:17\n")
    assert machine.use_of_block_device("8:16") == use


def test_held_block_device(tmp_path: Path) -> None:
    """A member of an active RAID set or volume group is held, and by whom is said."""
    machine = host(tmp_path)
    (tmp_path / "sys/dev/block/8:16/holders/md0").mkdir(parents=True)
    assert machine.use_of_block_device("8:16") == "it is held by md0"


def test_missing_device_is_not_in_use(tmp_path: Path) -> None:
    """What is not there is for open() to complain about."""
    assert host(tmp_path).use_of(DumpTarget(str(tmp_path / "nothing"))) is None
