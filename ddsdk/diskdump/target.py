"""A dump partition as a file: a block device, an image, or a window of one.  Plain positioned I/O only.

Every access is checked against the window: nothing outside the partition is ever read or written.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from contextlib import suppress
from types import TracebackType
from typing import Self

from attrs import define, field, frozen

from ddsdk.errors import DeviceError, UsageError

#: O_DIRECT asks for offset, length and memory aligned to the device's logical block; a page suits every
#: device.
DIRECT_ALIGN = 4096
#: Linux 5.14 (madvise(2)); the mmap module does not know it yet.
MADV_POPULATE_READ = 22


@frozen
class DumpTarget:
    """Where a dump partition is: *size_bytes* from *offset_bytes* of a file or block device (None: to its end)."""

    path: str
    offset_bytes: int = 0
    size_bytes: int | None = None

    def __str__(self) -> str:
        if not self.offset_bytes and self.size_bytes is None:
            return self.path
        size = "" if self.size_bytes is None else f",size={self.size_bytes}"
        return f"{self.path},offset={self.offset_bytes}{size}"

    def open(self, *, write: bool = False) -> TargetFile:
        """Open it; DeviceError when it is missing, refused, no file or block device, or ends inside the window."""
        flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_NONBLOCK     # do not hang on a FIFO
        try:
            if write and stat.S_ISBLK(os.stat(self.path).st_mode):
                flags |= os.O_EXCL          # a block device that is mounted, or held by md or LVM, answers EBUSY
            fd = os.open(self.path, flags)
        except OSError as error:
            raise DeviceError(f"{self.path}: cannot open for {'writing' if write else 'reading'}: "
                              f"{_reason(error)}") from None
        try:
            return TargetFile(self, fd, *self._window(fd))
        except BaseException:
            os.close(fd)
            raise

    def _window(self, fd: int) -> tuple[int, bool]:
        """(size of the window in bytes, is it a block device)."""
        mode = os.fstat(fd).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise DeviceError(f"{self.path}: neither a file nor a block device; a dump partition is one of them")
        if self.offset_bytes < 0 or self.offset_bytes % 512:
            raise UsageError(f"{self}: offset {self.offset_bytes} must be a multiple of 512")
        if (self.size_bytes or 0) % 512:
            raise UsageError(f"{self}: size {self.size_bytes} must be a multiple of 512")
        end = os.lseek(fd, 0, os.SEEK_END)
        size = end - self.offset_bytes if self.size_bytes is None else self.size_bytes
        if size < 0 or self.offset_bytes + size > end:
            raise DeviceError(f"{self}: the window ends at byte {self.offset_bytes + max(size, 0)}, "
                              f"the device at {end}; a partition lies inside its device")
        return size, stat.S_ISBLK(mode)


def _reason(error: OSError) -> str:
    if error.errno == errno.EBUSY:
        return "it is in use (mounted, swap, or held by RAID or LVM); release it first"
    return os.strerror(error.errno) if error.errno else str(error)


@define(eq=False)
class TargetFile:
    """An open DumpTarget.  Offsets are bytes from the start of the window."""

    target: DumpTarget
    fd: int
    size: int
    is_block_device: bool
    _direct: int | None = field(init=False, default=None)
    _map: mmap.mmap | None = field(init=False, default=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close; what was written but not synced is the kernel's."""
        for fd in (self._direct, self.fd):
            if fd is not None:
                os.close(fd)
        self._direct, self._map, self.fd = None, None, -1

    def __str__(self) -> str:
        return str(self.target)

    def lock(self) -> None:
        """Keep other formats, dumps and savecores off the device until this is closed; DeviceError: one is at work."""
        lock_fd(self.fd, str(self))

    def blocks(self, page_size: int) -> int:
        """Whole blocks of *page_size* bytes in the window."""
        return self.size // page_size

    def go_direct(self) -> bool:
        """Let aligned transfers bypass the page cache from here on, where the file system can; True if it can."""
        if self._direct is None and not self.target.offset_bytes % DIRECT_ALIGN:
            access = fcntl.fcntl(self.fd, fcntl.F_GETFL) & os.O_ACCMODE
            try:
                self._direct = os.open(f"/proc/self/fd/{self.fd}", access | os.O_DIRECT)
            except OSError:
                self._direct = None
        return self._direct is not None

    def is_cached(self) -> bool:
        """Is most of the window in the page cache?  Sixteen places are asked, none is read in."""
        hits = 0
        for place in range(16):
            at = self.size * place // 16
            try:
                hits += os.preadv(self.fd, [bytearray(1)], self.target.offset_bytes + at, os.RWF_NOWAIT)
            except OSError:
                continue
        return hits >= 8

    def prepare_bulk_read(self) -> None:
        """Choose how `borrow` reads: straight from the page cache if most is in it, else around it."""
        if not self.is_cached():
            self.go_direct()
        elif self._map is None and self.size and not self.target.offset_bytes % mmap.ALLOCATIONGRANULARITY:
            with suppress(OSError, ValueError):
                self._map = mmap.mmap(self.fd, self.size, prot=mmap.PROT_READ, offset=self.target.offset_bytes)

    @property
    def lends(self) -> bool:
        """Does `borrow` lend the page cache itself?"""
        return self._map is not None

    def borrow(self, offset: int, length: int, buffer: memoryview) -> memoryview:
        """The *length* bytes at *offset*: in *buffer*, or in the page cache itself when that saves a copy.

        Hand it back with `give_back`; do not write to it.
        """
        if self._map is not None and not (offset | length) % mmap.PAGESIZE and offset + length <= self.size:
            try:
                # reads in what is missing and answers with an error where plain access would be killed
                self._map.madvise(MADV_POPULATE_READ, offset, length)
                return memoryview(self._map)[offset:offset + length]
            except OSError:
                pass                        # an old kernel, or a bad sector: the read below says which
        view = buffer[:length]
        self.read_into(offset, view)
        return view

    def give_back(self, offset: int, length: int) -> None:
        """What was borrowed is no longer looked at."""
        if self._map is not None and not (offset | length) % mmap.PAGESIZE:
            self._map.madvise(mmap.MADV_DONTNEED, offset, length)

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill *view* with the bytes at *offset*.  DeviceError names the first byte that could not be read."""
        self._check(offset, len(view))
        done = 0
        while done < len(view):
            done += self._transfer(False, offset + done, view[done:])

    def read(self, offset: int, length: int) -> bytes:
        """The *length* bytes at *offset*."""
        buf = bytearray(length)
        self.read_into(offset, memoryview(buf))
        return bytes(buf)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store *data* at *offset*."""
        view = memoryview(data).cast("B")
        self._check(offset, len(view))
        done = 0
        while done < len(view):
            done += self._transfer(True, offset + done, view[done:])

    def sync(self) -> None:
        """Everything written is on the medium when this returns."""
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise DeviceError(f"{self}: the data may not be on the medium: {_reason(error)}") from None

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or offset + length > self.size:
            raise DeviceError(f"{self}: bytes {offset}..{offset + length} are outside the partition of {self.size} "
                              "bytes")

    def _transfer(self, write: bool, offset: int, view: memoryview) -> int:
        """One preadv or pwritev; how many bytes it moved."""
        fd = self.fd
        if self._direct is not None and not (offset | len(view)) % DIRECT_ALIGN:
            fd = self._direct
        at = self.target.offset_bytes + offset
        try:
            moved = os.pwritev(fd, [view], at) if write else os.preadv(fd, [view], at)
        except OSError as error:
            if error.errno == errno.EINVAL and fd == self._direct:   # the device wants a larger alignment, or
                return self._buffered(write, at, view)               # the memory is not aligned
            raise self._failed(write, offset, error) from None
        if not moved:
            raise DeviceError(f"{self}: ends at byte {offset} of {self.size}; was the file cut while in use?")
        return moved

    def _buffered(self, write: bool, at: int, view: memoryview) -> int:
        try:
            return os.pwritev(self.fd, [view], at) if write else os.preadv(self.fd, [view], at)
        except OSError as error:
            raise self._failed(write, at - self.target.offset_bytes, error) from None

    def _failed(self, write: bool, offset: int, error: OSError) -> DeviceError:
        return DeviceError(f"{self}: {'write' if write else 'read'} error at byte {offset}: {_reason(error)}")


def lock_fd(fd: int, name: str) -> None:
    """Take the lock that everything which writes to a dump device takes (flock(2)); DeviceError when it is taken."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DeviceError(f"{name}: another format, dump or savecore is at work on it; wait for that one") from None
    except OSError:
        return                          # a file system without locks


def aligned_buffer(size_bytes: int) -> memoryview:
    """Zeroed memory that O_DIRECT accepts."""
    return memoryview(mmap.mmap(-1, size_bytes))
