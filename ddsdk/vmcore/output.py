"""Where a dump file is written: a file by offset, or the same as makedumpfile's flattened records on a pipe.

A file appears under its name when it is whole and on the medium; until then it has no name at all, or a temporary one
beside it.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from ddsdk.errors import DeviceError

from .filebytes import HEADER_BYTES, MAGIC, TYPE, VERSION
from .zeropages import runs_of, zero_pages

Buffer = bytes | bytearray | memoryview
#: Zeros that are worth a hole: smaller ones would only scatter the file.
HOLE_BYTES = 64 << 10


class Output(Protocol):
    """Bytes by offset, each once, in any order; what is not written reads as zeros."""

    def write(self, offset: int, data: Buffer) -> None:
        """Store *data* at *offset*.  DeviceError when there is no room, or the medium fails."""


class FileOutput:
    """A file that takes its name when everything was written; leaving the context by an exception leaves nothing.

    DeviceError when *path* is there already (unless *force*), or cannot be made.
    """

    def __init__(self, path: str, force: bool = False) -> None:
        self.path, self._force = path, force
        directory, name = os.path.split(path)
        self._part = os.path.join(directory, f".{name}.part")
        if not force and os.path.lexists(path):
            raise DeviceError(f"{path}: there is such a file; name another, or say --force to replace it")
        try:
            self.fd = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._failed("cannot be made", error) from None
        self.size = 0

    def write(self, offset: int, data: Buffer) -> None:
        """Store *data* at *offset*."""
        view, done = memoryview(data), 0
        try:
            while done < len(view):
                done += os.pwrite(self.fd, view[done:], offset + done)
        except OSError as error:
            raise self._failed(f"cannot be written at byte {offset + done}", error) from None
        self.size = max(self.size, offset + len(view))

    def write_sparse(self, offset: int, data: Buffer) -> None:
        """The same; HOLE_BYTES and more of zeros are left out, and read as zeros."""
        view = memoryview(data)
        for start, end in _data_runs(view):
            self.write(offset + start, view[start:end])
        self.size = max(self.size, offset + len(view))

    def copy_from(self, fd: int, source_offset: int, offset: int, length: int) -> bool:
        """The same out of another file, inside the kernel where it can; False: it cannot, write the bytes.

        A hole of the other file is one of this.
        """
        done = 0
        while done < length:
            try:
                start, end = _next_data(fd, source_offset + done, source_offset + length)
                done = start - source_offset
                while done < end - source_offset:
                    some = os.copy_file_range(fd, self.fd, end - source_offset - done, source_offset + done,
                                              offset + done)
                    if not some:
                        return False
                    done += some
            except OSError as error:
                if error.errno in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                    return False
                raise self._failed(f"cannot be written at byte {offset + done}", error) from None
        self.size = max(self.size, offset + length)
        return True

    def resize(self, size: int) -> None:
        """Make the file *size* bytes long; what was not written reads as zeros."""
        self.size = size
        self._stretch()

    def _stretch(self) -> None:
        try:
            os.ftruncate(self.fd, self.size)
        except OSError as error:
            raise self._failed(f"cannot be made {self.size} bytes long", error) from None

    def _failed(self, what: str, error: OSError) -> DeviceError:
        return DeviceError(f"{self.path}: {what}: {os.strerror(error.errno or 0)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if error is None:
                if os.fstat(self.fd).st_size < self.size:       # it ends in a hole
                    self._stretch()
                os.fsync(self.fd)
                os.rename(self._part, self.path)
        except OSError as failed:
            raise self._failed("may not be on the medium", failed) from None
        finally:
            os.close(self.fd)
            with suppress(FileNotFoundError):
                os.unlink(self._part)


def _next_data(fd: int, start: int, end: int) -> tuple[int, int]:
    """[start, end) of the first bytes of *fd* from *start* on that are no hole; (end, end) when there are none."""
    try:
        low = os.lseek(fd, start, os.SEEK_DATA)
        return min(low, end), min(os.lseek(fd, low, os.SEEK_HOLE), end)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return end, end
        return start, end                       # a file system, or a device, that knows of no holes


def _data_runs(view: memoryview) -> list[tuple[int, int]]:
    """[start, end) of what is not zeros, in whole pieces of HOLE_BYTES; a shorter rest counts as data."""
    whole = len(view) - len(view) % HOLE_BYTES
    data = np.append(~zero_pages(view[:whole], HOLE_BYTES), whole < len(view))
    return [(start * HOLE_BYTES, min(end * HOLE_BYTES, len(view))) for start, end in runs_of(data)]


_RECORD = struct.Struct(">qq")


class FlattenedOutput:
    """Flattened records onto a descriptor that cannot seek; leaving the context writes the end mark, unless it failed.

    Formats.md 3.8.
    """

    def __init__(self, fd: int, path: str = "standard output") -> None:
        self.path, self._fd = path, fd
        self._put(struct.pack(">16sqq", MAGIC, TYPE, VERSION).ljust(HEADER_BYTES, b"\0"))

    def write(self, offset: int, data: Buffer) -> None:
        """One record."""
        if len(data):
            self._put(_RECORD.pack(offset, len(data)))
            self._put(data)

    def _put(self, data: Buffer) -> None:
        view = memoryview(data)
        try:
            while len(view):
                view = view[os.write(self._fd, view):]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise DeviceError(f"{self.path}: cannot be written: {os.strerror(error.errno or 0)}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if error is None:
            self._put(_RECORD.pack(-1, -1))
