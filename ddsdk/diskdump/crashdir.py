"""The directory vmcores go to: made, filled and named without following a symlink anywhere.

Everything below the directory is reached through directory descriptors; names are built from integers.  A
vmcore is `vmcore-incomplete` until it is whole and on the medium.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from attrs import define

from ddsdk.errors import DeviceError, UsageError

#: The address diskdump used for "this machine", so that netdump's and diskdump's directories look alike.
LOCAL_ADDRESS = "127.0.0.1"
INCOMPLETE_NAME = "vmcore-incomplete"
COMPLETE_NAME = "vmcore"
NOSPACE_SCRIPT = "diskdump-nospace"
SCRIPT_SECONDS = 300
#: Room the file system keeps for itself: the directory, the file's metadata.
SLACK_BYTES = 1 << 20
_SCRIPT_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_SAME_SECOND = 1000


def directory_name(seconds: int) -> str:
    """`127.0.0.1-2004-11-09-11:33:20`: the crash's time in UTC; an impossible one counts as 0."""
    if not 0 <= seconds < 253_402_300_800:          # year 10000
        seconds = 0
    return f"{LOCAL_ADDRESS}-{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d-%H:%M:%S}"


def _failed(what: str, error: OSError) -> DeviceError:
    return DeviceError(f"{what}: {os.strerror(error.errno) if error.errno else error}")


@define(eq=False)
class CrashDirectory:
    """An open directory: the parent of the vmcores' own ones."""

    path: str
    fd: int

    @classmethod
    def open(cls, path: str) -> CrashDirectory:
        """Open *path*, made with mode 0700 when it is not there.  DeviceError when it is a symlink or no directory."""
        if not path:                            # of a script whose variable is not set; "/" would be no kindness
            raise UsageError("the crash directory has no name; give one, or none for the default")
        path = path.rstrip("/") or "/"          # with a slash behind it a symbolic link would be followed
        try:
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
            return cls(path, os.open(path, _DIRECTORY))
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR) and os.path.islink(path):
                raise DeviceError(f"{path}: is a symbolic link; vmcores go into a real directory, name that") from None
            raise _failed(f"{path}: cannot be used as a crash directory", error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        os.close(self.fd)

    def make(self, seconds: int) -> CaseDirectory:
        """A new directory, 0700, for a crash at *seconds*; `-2`, `-3`, ... when the name is taken."""
        base = directory_name(seconds)
        for number in range(1, _MAX_SAME_SECOND):
            name = base if number == 1 else f"{base}-{number}"
            try:
                os.mkdir(name, 0o700, dir_fd=self.fd)
                fd = os.open(name, _DIRECTORY, dir_fd=self.fd)
            except FileExistsError:
                continue
            except OSError as error:
                raise _failed(f"{self.path}/{name}: cannot be made", error) from None
            os.fchmod(fd, 0o700)            # whatever the umask was
            return CaseDirectory(self, name, fd)
        raise DeviceError(f"{self.path}/{base}: taken, and so are {_MAX_SAME_SECOND - 2} more names; remove old ones")

    def itself(self) -> CaseDirectory:
        """The directory as one that files go to; it stays this one's, open and all."""
        return CaseDirectory(self, "", self.fd)

    def free_bytes(self) -> int:
        """Bytes that we may still write there."""
        status = os.fstatvfs(self.fd)
        free = status.f_bfree if os.geteuid() == 0 else status.f_bavail
        return free * status.f_frsize


@define(eq=False)
class CaseDirectory:
    """The directory of one crash."""

    parent: CrashDirectory
    name: str
    fd: int

    @property
    def path(self) -> str:
        """For people; nothing is opened by it."""
        return os.path.join(self.parent.path, self.name) if self.name else self.parent.path

    def create(self, size_bytes: int) -> VmcoreFile:
        """`vmcore-incomplete`, 0600, its *size_bytes* reserved.  NoSpaceError when they are not there."""
        file = self._new_file(INCOMPLETE_NAME, size_bytes)
        try:
            file.reserve(size_bytes)
        except OSError as error:
            file.close()
            self.remove_file()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpaceError(self.path, size_bytes, self.parent.free_bytes()) from None
            raise _failed(f"{self.path}/{INCOMPLETE_NAME}: {size_bytes} bytes cannot be reserved", error) from None
        return file

    def create_sparse(self, name: str, new_name: str, size_bytes: int, data_bytes: int) -> VmcoreFile:
        """A file *name*, 0600, that reads as *size_bytes* zeros, *data_bytes* of which are going to be written.

        DeviceError also when there is a file *new_name*, which it is to be called in the end.
        """
        with suppress(FileNotFoundError):
            os.stat(new_name, dir_fd=self.fd, follow_symlinks=False)
            raise DeviceError(f"{self.path}/{new_name}: there is such a file; move it, or name another directory")
        file = self._new_file(name, data_bytes)
        try:
            file.resize(size_bytes)
        except OSError as error:
            file.close()
            self.remove_file(name)
            raise _failed(f"{file.path}: cannot be made {size_bytes} bytes long", error) from None
        return file

    def _new_file(self, name: str, data_bytes: int) -> VmcoreFile:
        if data_bytes + SLACK_BYTES > self.parent.free_bytes():
            raise NoSpaceError(self.path, data_bytes, self.parent.free_bytes(), name)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, 0o600, dir_fd=self.fd)
            os.fchmod(fd, 0o600)
        except OSError as error:
            raise _failed(f"{self.path}/{name}: cannot be made", error) from None
        return VmcoreFile(f"{self.path}/{name}", fd)

    def rename(self, name: str, new_name: str) -> None:
        """Give a synced file its final name, and sync the directory."""
        try:
            os.rename(name, new_name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            os.fsync(self.fd)
        except OSError as error:
            raise _failed(f"{self.path}/{new_name}: cannot be named so", error) from None

    def write_text(self, name: str, text: str) -> None:
        """A small file beside the vmcore, 0600, on the medium when this returns.  DeviceError: it could not be made."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(name, flags, 0o600, dir_fd=self.fd), "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.unlink(name, dir_fd=self.fd)
            raise _failed(f"{self.path}/{name}: cannot be made", error) from None

    def publish(self, complete: bool) -> str:
        """Give a synced file its name, and sync the directories; the name."""
        try:
            if complete:
                os.rename(INCOMPLETE_NAME, COMPLETE_NAME, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            os.fsync(self.fd)
            os.fsync(self.parent.fd)
        except OSError as error:
            raise _failed(f"{self.path}: the vmcore cannot be named", error) from None
        return os.path.join(self.path, COMPLETE_NAME if complete else INCOMPLETE_NAME)

    def remove_file(self, name: str = INCOMPLETE_NAME) -> None:
        """Remove `vmcore-incomplete`, or another file, if it is there."""
        try:
            os.unlink(name, dir_fd=self.fd)
        except OSError:
            return

    def discard(self) -> None:
        """Remove what was made: the file, and the directory if nothing else - the log - is in it."""
        self.remove_file()
        self.close()
        try:
            os.rmdir(self.name, dir_fd=self.parent.fd)
        except OSError:
            return

    def close(self) -> None:
        """Close."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


class NoSpaceError(DeviceError):
    """The file system is too full for the vmcore, or for another file beside it."""

    def __init__(self, path: str, needed: int, free: int, name: str = INCOMPLETE_NAME) -> None:
        what = "the vmcore" if name == INCOMPLETE_NAME else name
        super().__init__(f"{path}: no space: {what} takes {needed} bytes, {free} are free; make room there or "
                         "name another directory")


@define(eq=False)
class VmcoreFile:
    """A vmcore being written: positioned writes, large aligned ones around the page cache."""

    path: str
    fd: int
    direct: int = -1

    def reserve(self, size_bytes: int) -> None:
        """Set the size, and take the space at once where the file system can; OSError ENOSPC when it cannot."""
        self.resize(size_bytes)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong)
        # fallocate(2) itself: posix_fallocate() writes every block where it is not supported
        if libc.fallocate(self.fd, 0, 0, size_bytes) and ctypes.get_errno() in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(ctypes.get_errno(), "fallocate")
        try:
            self.direct = os.open(f"/proc/self/fd/{self.fd}", os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        except OSError:
            self.direct = -1

    def resize(self, size_bytes: int) -> None:
        """Set the file's size; what is new reads as zeros."""
        os.ftruncate(self.fd, size_bytes)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store *data* at *offset*; NoSpaceError when there is no room, DeviceError when the file system refuses."""
        view = memoryview(data)
        done = 0
        try:
            while done < len(view):
                done += self._write_some(offset + done, view[done:])
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpaceError(os.path.dirname(self.path), offset + len(view), self._free_bytes()) from None
            raise _failed(f"{self.path}: write error at byte {offset + done}", error) from None

    def _free_bytes(self) -> int:
        status = os.fstatvfs(self.fd)
        return status.f_bavail * status.f_frsize

    def _write_some(self, offset: int, view: memoryview) -> int:
        if self.direct >= 0 and not (offset | len(view)) % 4096:
            try:
                return os.pwritev(self.direct, [view], offset)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
        return os.pwritev(self.fd, [view], offset)

    def sync(self) -> None:
        """Everything is on the medium when this returns."""
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise _failed(f"{self.path}: may not be on the medium", error) from None

    def close(self) -> None:
        """Close."""
        for fd in (self.direct, self.fd):
            if fd >= 0:
                os.close(fd)
        self.direct = self.fd = -1


def run_nospace_script(directory: CrashDirectory, case_path: str) -> int | None:
    """Run `DIR/scripts/diskdump-nospace 127.0.0.1 CASE_PATH`; its exit status, None when there is no script.

    It runs as we do, so it must be ours: directory, `scripts` and script belong to root or to us and nobody
    else may write them (DeviceError otherwise).  No shell, an environment of PATH and LC_ALL, no input, a
    time limit.
    """
    opened: list[int] = []
    try:
        _require_ours(directory.path, directory.fd)
        opened.append(os.open("scripts", _DIRECTORY, dir_fd=directory.fd))
        _require_ours(f"{directory.path}/scripts", opened[0])
        opened.append(os.open(NOSPACE_SCRIPT, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=opened[0]))
        _require_ours(f"{directory.path}/scripts/{NOSPACE_SCRIPT}", opened[1])
        return _run(opened[1], [NOSPACE_SCRIPT, LOCAL_ADDRESS, os.path.abspath(case_path)])
    except OSError as error:
        if isinstance(error, FileNotFoundError) and len(opened) < 2:
            return None                 # with both open, it is the script's interpreter that is not there
        raise _failed(f"{directory.path}/scripts/{NOSPACE_SCRIPT}: cannot be run", error) from None
    finally:
        for fd in opened:
            os.close(fd)


def _require_ours(path: str, fd: int) -> None:
    status = os.fstat(fd)
    if status.st_uid not in (0, os.geteuid()) or stat.S_IMODE(status.st_mode) & 0o022:
        raise DeviceError(f"{path}: owned by uid {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}: a script is "
                          "run only when it and its directories belong to root or you, and nobody else may write them")


def _run(fd: int, arguments: list[str]) -> int:
    """Run the file open as *fd* in a session of its own; killed, with its children, when its time is up."""
    process = subprocess.Popen(arguments, executable=f"/proc/self/fd/{fd}", pass_fds=(fd,), cwd="/",
                               env=_SCRIPT_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)
    try:
        return process.wait(SCRIPT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise DeviceError(f"{arguments[0]}: still running after {SCRIPT_SECONDS} s, killed; "
                          "make room by hand") from None
