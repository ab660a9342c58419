"""What lives on a device: file systems, volume managers, partition tables, files, dumps - and who uses it.

The formatter asks here before it destroys anything.  Magic numbers and their places: the formats' own
specifications, as blkid(8) and file(1) use them too.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen

from ddsdk.errors import DeviceError

from .target import DumpTarget, TargetFile

HEAD_BYTES = 272 << 10          # up to the last place of the tables below
PAGE_SIZES = (4096, 8192, 16384, 65536)
DUMP_MAGIC = b"DISKDUMP"

#: (what it is, offset in bytes, the bytes there)
_MAGICS: tuple[tuple[str, int, bytes], ...] = (
    ("an XFS file system", 0, b"XFSB"),
    ("a btrfs file system", 0x10040, b"_BHRfS_M"),
    ("an F2FS file system", 1024, b"\x10\x20\xf5\xf2"),
    ("a ReiserFS file system", 0x10034, b"ReIsEr"),
    ("a JFS file system", 0x8000, b"JFS1"),
    ("a FAT file system", 54, b"FAT12   "),
    ("a FAT file system", 54, b"FAT16   "),
    ("a FAT file system", 82, b"FAT32   "),
    ("an exFAT file system", 3, b"EXFAT   "),
    ("an NTFS file system", 3, b"NTFS    "),
    ("an ISO 9660 file system", 0x8001, b"CD001"),
    ("a UDF file system", 0x8001, b"BEA01"),
    ("a squashfs file system", 0, b"hsqs"),
    ("an EROFS file system", 1024, b"\xe2\xe1\xf5\xe0"),
    ("a GFS2 file system", 0x10000, b"\x01\x16\x19\x70"),
    ("an OCFS2 file system", 0x2000, b"OCFSV2"),
    ("an HFS+ file system", 1024, b"H+\0\x04"),
    ("an APFS container", 32, b"NXSB"),
    ("a VDO volume", 0, b"dmvdo001"),
    ("a Stratis pool member", 512, b"!Stra0tis\x86\xff\x02^\x41rh"),
    ("a BitLocker volume", 3, b"-FVE-FS-"),
    ("a LUKS volume", 0, b"LUKS\xba\xbe"),
    ("a LUKS2 volume", 0x4000, b"SKUL\xba\xbe"),
    ("a bcache or bcachefs device", 4096 + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")),
    ("a bcache or bcachefs device", 4096 + 24, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")),
    ("a Ceph BlueStore device", 0, b"bluestore block device"),
    ("a GPT partition table", 512, b"EFI PART"),
    ("a GPT partition table", 4096, b"EFI PART"),
    ("a Sun partition table", 508, b"\xda\xbe"),
    ("an SGI partition table", 0, b"\x0b\xe5\xa9\x41"),
    ("a BSD partition table", 512, b"WEV\x82"),
    ("a BSD partition table", 64, b"WEV\x82"),
    ("an Apple partition table", 512, b"PM\0\0"),
    ("a PC-98 partition table", 4, b"IPL1"),
    ("an ELF file", 0, b"\x7fELF"),
    ("a kdump file", 0, b"KDUMP   "),
    ("a diskdump file", 0, DUMP_MAGIC),
    ("a flattened dump file", 0, b"makedumpfile"),
    ("an LKCD dump", 0, bytes.fromhex("ed238f61730119a8")),
    ("a qcow disk image", 0, b"QFI\xfb"),
    ("a VMDK disk image", 0, b"KDMV"),
    ("a VHDX disk image", 0, b"vhdxfile"),
    ("a VDI disk image", 0x40, b"\x7f\x10\xda\xbe"),
    ("a gzip file", 0, b"\x1f\x8b\x08"),
    ("an xz file", 0, b"\xfd7zXZ\0"),
    ("a zstd file", 0, b"\x28\xb5\x2f\xfd"),
    ("a tar archive", 257, b"ustar"),
)
_MD_MAGIC = struct.pack("<I", 0xA92B4EFC), struct.pack(">I", 0xA92B4EFC)


def refusals(file: TargetFile) -> list[str]:
    """What *file* holds, one phrase each, nothing twice; empty for a free device or a formatted one.

    Of a window of a device, what lies under it counts too: the whole device may be one file system.
    """
    if not file.target.offset_bytes:
        return _held_by(file)
    with DumpTarget(file.target.path).open() as whole:
        under = [f"(the whole of {file.target.path}) {what}" for what in _held_by(whole) if _covers(what)]
    return [*_held_by(file), *under]


def _covers(what: str) -> bool:
    """Does it take the whole device?  A partition table is what windows are cut out of."""
    return "partition table" not in what


def _held_by(file: TargetFile) -> list[str]:
    head = file.read(0, min(HEAD_BYTES, file.size))
    if holds_dump(head):
        return ["a crash dump that has not been saved (run `ddsdk savecore` first)"]
    found: dict[str, None] = {}
    for what, offset, magic in _MAGICS:
        if head.startswith(magic, offset):
            found[what] = None
    for look in _LOOKS:
        for what in look(file, head):
            found[what] = None
    return list(found)


def holds_dump(head: bytes) -> bool:
    """Does block 1, of any page size, start a dump header?"""
    return any(head.startswith(DUMP_MAGIC, page) for page in PAGE_SIZES)


def swap_pages(head: bytes, page_size: int) -> int | None:
    """Pages of the swap area whose header starts *head* (last_page + 1), or None when it is no swap area."""
    if not head.startswith((b"SWAPSPACE2", b"SWAP-SPACE"), page_size - 10):
        return None
    version, last_page = struct.unpack_from("<II", head, 1024)
    return int(last_page) + 1 if version == 1 else 0


def _ext(_file: TargetFile, head: bytes) -> Iterator[str]:
    if head.startswith(b"\x53\xef", 1080):
        log_block_size, = struct.unpack_from("<I", head, 1024 + 24)
        revision, = struct.unpack_from("<I", head, 1024 + 76)
        if log_block_size <= 6 and revision <= 1:       # two bytes of magic alone would be a coincidence
            yield "an ext2/3/4 file system"


def _swap(_file: TargetFile, head: bytes) -> Iterator[str]:
    for page in PAGE_SIZES:
        if swap_pages(head, page) is not None:
            yield "a swap area"
        if head.startswith((b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"), page - 10):
            yield "a hibernated system's memory"


def _lvm(_file: TargetFile, head: bytes) -> Iterator[str]:
    for sector in range(4):
        if head.startswith(b"LABELONE", sector * 512) and head.startswith(b"LVM2 001", sector * 512 + 24):
            yield "an LVM2 physical volume"


def _md(file: TargetFile, head: bytes) -> Iterator[str]:
    """Linux md superblocks: 1.1 at 0, 1.2 at 4 KiB, 1.0 and 0.90 near the end (md(4))."""
    places = {"1.1": 0, "1.2": 4096, "1.0": (file.size // 512 - 16 & ~7) * 512,
              "0.90": (file.size & ~0xFFFF) - 0x10000}
    for version, at in places.items():
        if 0 <= at <= file.size - 4 and file.read(at, 4) in _MD_MAGIC:
            yield f"a Linux RAID member (md {version})"


def _firmware_raid(file: TargetFile, _head: bytes) -> Iterator[str]:
    if file.size >= 1024:
        tail = file.read(file.size - 1024, 1024)
        if tail.startswith(b"Intel Raid ISM Cfg Sig. "):
            yield "an Intel firmware RAID member"
        if tail[512:516] in (b"\xde\x11\xde\x11", b"\x11\xde\x11\xde"):
            yield "a DDF firmware RAID member"


def _zfs(_file: TargetFile, head: bytes) -> Iterator[str]:
    """The uberblock ring of the first label: 128 KiB at 128 KiB, a slot every KiB at least."""
    magics = struct.pack("<Q", 0x00BAB10C), struct.pack(">Q", 0x00BAB10C)
    if any(head.startswith(magics, at) for at in range(128 << 10, 256 << 10, 1024)):
        yield "a ZFS pool member"


def _partition_table(file: TargetFile, head: bytes) -> Iterator[str]:
    if file.size >= 1024 and file.read(file.size - 512, 8) == b"EFI PART":
        yield "a GPT partition table (its backup)"
    if not head.startswith(b"\x55\xaa", 510):
        return
    entries = [head[446 + 16 * n:462 + 16 * n] for n in range(4)]
    used = [entry for entry in entries if entry[4]]
    if used and all(entry[0] in (0, 0x80) and any(entry[12:16]) for entry in used):
        yield "an MBR partition table"


def _amiga(_file: TargetFile, head: bytes) -> Iterator[str]:
    """The rigid disk block, in one of the first 16 sectors."""
    if any(head.startswith(b"RDSK", sector * 512) for sector in range(16)):
        yield "an Amiga partition table"


_LOOKS: tuple[Callable[[TargetFile, bytes], Iterator[str]], ...] = (
    _ext, _swap, _lvm, _md, _firmware_raid, _zfs, _partition_table, _amiga)


@frozen
class Host:
    """The running system, asked who uses a device.  The two directories are arguments for the tests' sake."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")

    def refuse_in_use(self, target: DumpTarget) -> None:
        """DeviceError when *target*, or a part of it, is mounted, swapped to, or held by another device."""
        use = self.use_of(target)
        if use:
            raise DeviceError(f"{target}: {use}; release it first (a device in use is not formatted, "
                              "--force or not)")

    def use_of(self, target: DumpTarget) -> str | None:
        """How *target* is in use, in words, or None.  A device that is not there is not in use."""
        try:
            status = os.stat(target.path)
        except OSError:
            return None
        number = _device_number(target.path)
        if number:
            return self.use_of_block_device(number)
        return self._file_use(os.path.realpath(target.path), status)

    def use_of_block_device(self, number: str) -> str | None:
        """How the block device *number* ("8:16"), or a partition of it, is in use; None when it is not."""
        mounts, swaps = self._mounts(), self._swap_numbers()
        for part, name in self._with_partitions(number):
            if part in mounts:
                return f"{name} is mounted on {mounts[part]}"
            if part in swaps:
                return f"{name} is swap space in use"
            holders = sorted(self._list(self.sys / "dev/block" / part / "holders"))
            if holders:
                return f"{name} is held by {', '.join(holders)}"
        return None

    def _with_partitions(self, number: str) -> Iterator[tuple[str, str]]:
        directory = self.sys / "dev/block" / number
        yield number, "it"
        for name in sorted(self._list(directory)):
            if (directory / name / "partition").exists():
                yield self._text(directory / name / "dev").strip(), f"its partition {name}"

    def _file_use(self, path: str, status: os.stat_result) -> str | None:
        for line in self._text(self.proc / "swaps").splitlines()[1:]:
            name = _unescape(line.split()[0]) if line.split() else ""
            try:
                other = os.stat(name)
            except OSError:
                continue
            if (other.st_dev, other.st_ino) == (status.st_dev, status.st_ino):
                return "it is a swap file in use"
        for loop in sorted(self._list(self.sys / "block")):
            if loop.startswith("loop") and self._text(self.sys / "block" / loop / "loop/backing_file").strip() == path:
                return f"it is attached to /dev/{loop}"
        return None

    def _mounts(self) -> dict[str, str]:
        """major:minor -> mount point (proc(5), /proc/self/mountinfo).

        btrfs and others mount under an anonymous number, so the mount source is looked up too.
        """
        mounts: dict[str, str] = {}
        for line in self._text(self.proc / "self/mountinfo").splitlines():
            fields, _, source = line.partition(" - ")
            place = fields.split()
            if len(place) < 5:
                continue
            mounts.setdefault(place[2], _unescape(place[4]))
            words = source.split()
            number = _device_number(_unescape(words[1])) if len(words) > 1 and words[1].startswith("/") else None
            if number:
                mounts.setdefault(number, _unescape(place[4]))
        return mounts

    def _swap_numbers(self) -> set[str]:
        lines = self._text(self.proc / "swaps").splitlines()[1:]
        numbers = (_device_number(_unescape(line.split()[0])) for line in lines if line.split())
        return {number for number in numbers if number}

    @staticmethod
    def _text(path: Path) -> str:
        try:
            return path.read_text(errors="replace")
        except OSError:
            return ""

    @staticmethod
    def _list(path: Path) -> list[str]:
        try:
            return os.listdir(path)
        except OSError:
            return []


def _device_number(path: str) -> str | None:
    """`"8:1"` for a block device, None for anything else."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISBLK(status.st_mode):
        return None
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def _unescape(name: str) -> str:
    """Undo the octal escapes of /proc (space is \\040)."""
    return name.encode("latin-1", "replace").decode("unicode_escape") if "\\" in name else name
