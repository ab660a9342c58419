"""A disk: sectors in a file or in memory, a write cache that can lose them, and faults.

Data goes straight between the file and the caller's views (preadv, pwritev); nothing is copied here.  Knows
no SCSI and no ATA: a target asks it to move sectors, and turns a DiskError into its own way of saying so.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from attrs import frozen

from ddsdk.errors import DeviceError, UsageError

from .disk_faults import DiskFault, FaultList, Sense

#: Linux UIO_MAXIOV; os.sysconf("SC_IOV_MAX") says the same.
IOV_MAX = 1024

READ_ERROR = Sense(0x3, 0x11)           # MEDIUM ERROR, unrecovered read error
WRITE_ERROR = Sense(0x3, 0x0C)          # MEDIUM ERROR, write error
OUT_OF_RANGE = Sense(0x5, 0x21)         # ILLEGAL REQUEST, logical block address out of range
WRITE_PROTECTED = Sense(0x7, 0x27)      # DATA PROTECT, write protected
INTERNAL_FAILURE = Sense(0x4, 0x44)     # HARDWARE ERROR, internal target failure


class DiskError(Exception):
    """The disk could not do it.  `sense` says so in SCSI's words, `sector` is the first bad one if known.

    Raised to the target that asked, never to a user.
    """

    def __init__(self, sense: Sense, reason: str, sector: int | None = None) -> None:
        super().__init__(reason)
        self.sense = sense
        self.sector = sector


@frozen
class _Unsynced:
    """A write that is in the volatile cache only: where, what was there, what it wrote."""

    offset: int
    old: bytes
    new: bytes


class Disk:
    """*size_bytes* of *backing* (a path, or writable memory) from *offset_bytes* on, in sectors.

    size_bytes None: all there is.  `volatile_cache`: writes made while `write_cache` is on are lost by
    power_off() unless flush() came first; remembering them costs a copy of each write, so it is off by
    default.
    DeviceError when the backing cannot be opened or is too small, UsageError for sizes that make no disk.
    """

    def __init__(self, backing: str | os.PathLike[str] | bytearray | memoryview,
                 size_bytes: int | None = None, sector_size: int = 512, offset_bytes: int = 0,
                 read_only: bool = False, volatile_cache: bool = False) -> None:
        if sector_size not in (512, 1024, 2048, 4096):
            raise UsageError(f"sector size {sector_size}: it must be 512, 1024, 2048 or 4096")
        self.sector_size = sector_size
        self.read_only = read_only
        self.volatile_cache = volatile_cache
        self.write_cache = False
        self.faults = FaultList()
        self.last_error = ""            # what the host said of the last failed transfer
        self._fd = -1
        self._memory = memoryview(b"")
        self._unsynced: list[_Unsynced] = []
        if isinstance(backing, bytearray | memoryview):
            self.name = "memory"
            self._memory = memoryview(backing).cast("B")
            available = len(self._memory)
            self.read_only = read_only or self._memory.readonly
        else:
            self.name = os.fspath(backing)
            self._fd, available = _open(self.name, read_only)
        try:
            self.size_bytes = _window(self.name, available, offset_bytes, size_bytes, sector_size)
        except Exception:
            self.close()
            raise
        self.offset_bytes = offset_bytes
        self.sectors = self.size_bytes // sector_size

    def inject(self, fault: DiskFault) -> None:
        """Arm a fault; see disk_faults."""
        self.faults.inject(fault)

    def readv(self, lba: int, views: Sequence[memoryview]) -> None:
        """Fill *views* with the sectors from *lba* on.  Their total is whole sectors.  DiskError."""
        offset, nbytes = self._place(lba, views)
        if self._fd < 0:
            for view in views:
                view[:] = self._memory[offset:offset + len(view)]
                offset += len(view)
            return
        try:
            if len(views) > IOV_MAX or os.preadv(self._fd, views, offset) != nbytes:
                _all(os.preadv, self._fd, views, offset)
        except OSError as error:
            raise self._failed("read", error, READ_ERROR, lba) from error

    def writev(self, lba: int, views: Sequence[memoryview], fua: bool = False) -> None:
        """Store *views* from sector *lba* on; *fua* bypasses the volatile cache.  DiskError."""
        offset, nbytes = self._place(lba, views)
        if self.read_only:
            raise DiskError(WRITE_PROTECTED, f"{self.name} is read-only", lba)
        if self.volatile_cache and self.write_cache and not fua:
            self._remember(offset, views)
        if self._fd < 0:
            for view in views:
                self._memory[offset:offset + len(view)] = view
                offset += len(view)
            return
        try:
            if len(views) > IOV_MAX or os.pwritev(self._fd, views, offset) != nbytes:
                _all(os.pwritev, self._fd, views, offset)
        except OSError as error:
            raise self._failed("write", error, WRITE_ERROR, lba) from error

    def flush(self) -> None:
        """Empty the write cache: what was written survives power_off(), and a crash of this host.
        DiskError.
        """
        if self._fd >= 0 and not self.read_only:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EROFS):      # a device that has nothing to sync
                    raise self._failed("flush", error, INTERNAL_FAILURE, None) from error
        self._unsynced.clear()

    @property
    def unsynced(self) -> int:
        """Writes that power_off() would undo."""
        return len(self._unsynced)

    def power_off(self, survived: Mapping[int, int] | None = None) -> None:
        """Cut the power: unsynced writes are gone.

        *survived* names those that had reached the medium after all: index among the unsynced writes -> how
        many of its sectors (fewer than all: a torn write).  Order on the medium is the order of writing.
        """
        pending, self._unsynced = self._unsynced, []
        for write in reversed(pending):
            self._store(write.offset, write.old)
        for index, sectors in sorted((survived or {}).items()):
            write = pending[index]
            self._store(write.offset, write.new[:sectors * self.sector_size])

    def close(self) -> None:
        """Close the file.  Twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None,
                 _where: TracebackType | None) -> None:
        self.close()

    def _place(self, lba: int, views: Sequence[memoryview]) -> tuple[int, int]:
        """Byte offset in the backing and number of bytes; nothing outside the window is ever touched."""
        nbytes = len(views[0]) if len(views) == 1 else sum(map(len, views))
        at = lba * self.sector_size
        if lba < 0 or at + nbytes > self.size_bytes:
            raise DiskError(OUT_OF_RANGE, f"{self.name}: {nbytes} bytes at sector {lba} end past sector"
                                          f" {self.sectors}", lba)
        return self.offset_bytes + at, nbytes

    def _remember(self, offset: int, views: Sequence[memoryview]) -> None:
        new = b"".join(views)
        old = bytearray(len(new))
        self.readv((offset - self.offset_bytes) // self.sector_size, [memoryview(old)])
        self._unsynced.append(_Unsynced(offset, bytes(old), new))

    def _store(self, offset: int, data: bytes) -> None:
        if self._fd < 0:
            self._memory[offset:offset + len(data)] = data
        elif data:
            _all(os.pwritev, self._fd, [memoryview(data)], offset)

    def _failed(self, what: str, error: OSError, sense: Sense, lba: int | None) -> DiskError:
        """The host's error as a disk would report it: no space and bad media stay medium errors."""
        self.last_error = f"{self.name}: {what} at sector {lba}: {error.strerror or error}"
        if error.errno in (errno.EBADF, errno.EROFS, errno.EPERM, errno.EACCES) and what == "write":
            sense = WRITE_PROTECTED
        elif error.errno not in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENODATA):
            sense = INTERNAL_FAILURE
        return DiskError(sense, self.last_error, lba)


def _open(path: str, read_only: bool) -> tuple[int, int]:
    """(file descriptor, size in bytes) of a file or block device."""
    try:
        fd = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise DeviceError(f"{path}: cannot open for {'reading' if read_only else 'writing'}:"
                          f" {getattr(error, 'strerror', None) or error}") from error
    try:
        return fd, os.lseek(fd, 0, os.SEEK_END)
    except OSError as error:
        os.close(fd)
        raise DeviceError(f"{path}: not a disk: {error.strerror}; give a file or a block device") from error


def _window(name: str, available: int, offset: int, size: int | None, sector_size: int) -> int:
    """The disk's size, checked against what there is."""
    if size is None:
        size = (available - offset) // sector_size * sector_size
    if offset < 0 or size <= 0 or size % sector_size:
        raise UsageError(f"{name}: a disk of {size} bytes at offset {offset}: it must be whole sectors of"
                         f" {sector_size} bytes, at least one, and start at 0 or later")
    if offset + size > available:
        raise DeviceError(f"{name}: {offset + size} bytes are needed (offset {offset} + size {size}), it has"
                          f" {available}: {offset + size - available} are missing")
    return size


def _all(call: Callable[[int, Sequence[memoryview], int], int], fd: int, views: Sequence[memoryview],
         offset: int) -> None:
    """preadv or pwritev until every byte moved, IOV_MAX views at a time."""
    rest = list(views)
    while rest:
        moved = call(fd, rest[:IOV_MAX], offset)
        if moved <= 0:
            raise OSError(errno.EIO, f"the file ends at byte {offset}")
        offset += moved
        while rest and moved >= len(rest[0]):
            moved -= len(rest.pop(0))
        if moved:
            rest[0] = rest[0][moved:]
