"""What crash says about a vmcore: the judge of whether a dump is one."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from attrs import frozen

from ddsdk.qemu.spawn import spawn_bound_to_parent

from .tools import LabError, need_tools

PROGRAM = "crash"
#: The acceptance of a vmcore: these must say the same as of the reference (real-lab.md); `dev -d` counts requests.
COMMANDS = ("sys", "ps", "log", "mod", "dev -d", "bt", "bt -a")
#: Of an instant in the middle of a context switch crash 8.0.2 dies while it looks for the task that panicked (Linux
#: 6.1, every kind of core: "bt: invalid structure member offset: mm_struct_mmap"); so it does not look.
NOT_LOOKING = ("--no_panic",)
CRASH_LIMIT_S = 600.0


@frozen
class CrashSaid:
    """What crash printed, and in which words it gave up; `failure` is empty when it did not."""

    lines: tuple[str, ...]
    failure: str = ""

    @property
    def panic(self) -> str:
        """The panic as crash found it; empty when it found none."""
        return next((line.partition(":")[2].strip() for line in self.lines if line.strip().startswith("PANIC:")), "")

    @property
    def where(self) -> str:
        """The function that an exception hit in the kernel, by the backtrace; empty when there was none."""
        found = re.search(r"exception RIP: (\w+(?:\.\w+)*(?:\+\d+)?)\]", "\n".join(self.lines))
        return found[1] if found else ""

    @property
    def in_flight(self) -> int | None:
        """Block requests that were not done at the crash; None when crash did not say."""
        rows = [line.split() for line in self.lines if re.match(r" +\d+ [0-9a-f]{16} +\w+ +[0-9a-f]{16} +\d", line)]
        return sum(int(row[4]) for row in rows) if rows else None

    def differing(self, other: CrashSaid) -> int:
        """Lines that are not the same, or that one has and the other has not; giving up counts as one."""
        return (sum(a != b for a, b in zip(self.lines, other.lines, strict=False))
                + abs(len(self.lines) - len(other.lines)) + (self.failure != other.failure))


class CrashSession:
    """crash at work on one core in the background.  Use as a context manager: leaving it ends crash.

    The core is always called `core`, so that outputs can be compared; *directory* is crash's working directory.
    """

    def __init__(self, vmlinux: Path, core: Path, commands: Sequence[str], directory: Path,
                 options: Sequence[str] = ()) -> None:
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
            argv = [PROGRAM, "-s", *options, str(vmlinux.absolute()), "core"]
            self._process = spawn_bound_to_parent(argv, stdin=script, stdout=self._out, stderr=self._errors,
                                                  cwd=str(directory))

    def said(self) -> CrashSaid:
        """All that crash printed, when it is done, be it in the middle."""
        try:
            status = self._process.wait(CRASH_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise LabError(f"crash took longer than {CRASH_LIMIT_S:.0f} s on {self._core}") from None
        said = _text(self._out)
        if not status:
            return CrashSaid(tuple(said.splitlines()))
        # crash prints where in itself it gave up, in addresses that differ every time
        lines = tuple(line for line in said.splitlines() if "error trace:" not in line)
        return CrashSaid(lines, f"status {status}: {complaint(said + _text(self._errors))}")

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
    """The lines crash prints to *commands*, in *directory*; LabError when it gives up."""
    with CrashSession(vmlinux, core, commands, directory) as session:
        said = session.said()
    if said.failure:
        raise LabError(f"crash gives up on {core}: {said.failure}")
    return list(said.lines)


def complaint(said: str) -> str:
    """The line of *said* in which crash complains: the last that names a command, else the last."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    own = [line for line in lines if re.match(r"[a-z]+: ", line)]
    return (own or lines or ["it said nothing"])[-1]


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
