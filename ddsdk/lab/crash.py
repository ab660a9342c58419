"""What crash says about a vmcore: the judge of whether a dump is one."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ddsdk.qemu.spawn import spawn_bound_to_parent

from .tools import LabError, need_tools

PROGRAM = "crash"
#: The acceptance of a vmcore: these must say the same as of the reference (real-lab.md); `dev -d` counts requests.
COMMANDS = ("sys", "bt", "ps", "log", "mod", "dev -d")
CRASH_LIMIT_S = 600.0


class CrashSession:
    """crash at work on one core in the background.  Use as a context manager: leaving it ends crash.

    The core is always called `core`, so that outputs can be compared; *directory* is crash's working directory.
    """

    def __init__(self, vmlinux: Path, core: Path, commands: Sequence[str], directory: Path) -> None:
        need_tools([PROGRAM])
        link = directory / "core"
        link.unlink(missing_ok=True)
        link.symlink_to(core.absolute())
        self._core = core
        self._out: IO[bytes] = tempfile.TemporaryFile()         # noqa: SIM115 - closed by close()
        self._errors: IO[bytes] = tempfile.TemporaryFile()      # noqa: SIM115 - closed by close()
        with tempfile.TemporaryFile() as script:
            script.write("".join(f"{command}\n" for command in (*commands, "quit")).encode())
            script.seek(0)
            self._process = spawn_bound_to_parent([PROGRAM, "-s", str(vmlinux.absolute()), "core"], stdin=script,
                                                  stdout=self._out, stderr=self._errors, cwd=str(directory))

    def lines(self) -> list[str]:
        """All that crash printed, when it is done.  LabError when it does not take the core."""
        try:
            status = self._process.wait(CRASH_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise LabError(f"crash took longer than {CRASH_LIMIT_S:.0f} s on {self._core}") from None
        said = _text(self._out)
        if status:
            raise LabError(f"crash does not take {self._core}: status {status}:"
                           f" {complaint(said + _text(self._errors))}")
        return said.splitlines()

    def close(self) -> None:
        """End crash, whatever it is doing."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._out.close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _value: BaseException | None,
                 _trace: TracebackType | None) -> None:
        self.close()


def crash_says(vmlinux: Path, core: Path, commands: Sequence[str], directory: Path) -> list[str]:
    """The lines crash prints to *commands*, in *directory*."""
    with CrashSession(vmlinux, core, commands, directory) as session:
        return session.lines()


def complaint(said: str) -> str:
    """The line of *said* in which crash complains: the last that starts with its name, else the last."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    own = [line for line in lines if re.match(r"(crash|[a-z ]+): (?!.*error trace)", line)]
    return (own or lines or ["it said nothing"])[-1]


def requests_in_flight(lines: Sequence[str]) -> int | None:
    """Block requests that were not done at the crash, by `dev -d`; None when crash did not say."""
    rows = [line.split() for line in lines if re.match(r" +\d+ [0-9a-f]{16} +\w+ +[0-9a-f]{16} +\d", line)]
    return sum(int(row[4]) for row in rows) if rows else None


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
