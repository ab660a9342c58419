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

from ddsdk.errors import DeviceError

from .filebytes import HEADER_BYTES, MAGIC, TYPE, VERSION

Buffer = bytes | bytearray | memoryview


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

    def copy_from(self, fd: int, source_offset: int, offset: int, length: int) -> bool:
        """The same out of another file, inside the kernel where it can; False: it cannot, and nothing was done."""
        done = 0
        while done < length:
            try:
                some = os.copy_file_range(fd, self.fd, length - done, source_offset + done, offset + done)
            except OSError as error:
                if error.errno in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS) and not done:
                    return False
                raise self._failed(f"cannot be written at byte {offset + done}", error) from None
            if not some:
                return False
            done += some
        self.size = max(self.size, offset + length)
        return True

    def resize(self, size: int) -> None:
        """Make the file *size* bytes long; what was not written reads as zeros."""
        try:
            os.ftruncate(self.fd, size)
        except OSError as error:
            raise self._failed(f"cannot be made {size} bytes long", error) from None
        self.size = size

    def _failed(self, what: str, error: OSError) -> DeviceError:
        return DeviceError(f"{self.path}: {what}: {os.strerror(error.errno or 0)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if error is None:
                os.fsync(self.fd)
                os.rename(self._part, self.path)
        except OSError as failed:
            raise self._failed("may not be on the medium", failed) from None
        finally:
            os.close(self.fd)
            with suppress(FileNotFoundError):
                os.unlink(self._part)


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
