"""What crash says about a vmcore: the judge of whether a dump is one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from .tools import LabError

#: The acceptance of a vmcore: these must say the same as of the reference (real-lab.md).
COMMANDS = ("sys", "bt", "ps", "log", "mod")
CRASH_LIMIT_S = 600.0


def crash_says(vmlinux: Path, core: Path, commands: Sequence[str], directory: Path) -> list[str]:
    """The lines crash prints to *commands*; *directory* is its working directory.

    The core is always called `core`, so that outputs can be compared.  LabError when crash does not take it.
    """
    link = directory / "core"
    link.unlink(missing_ok=True)
    link.symlink_to(core.absolute())
    script = "".join(f"{command}\n" for command in commands) + "quit\n"
    try:
        done = subprocess.run(["crash", "-s", str(vmlinux.absolute()), "core"], cwd=directory, input=script, text=True,
                              capture_output=True, errors="replace", timeout=CRASH_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise LabError(f"crash took longer than {CRASH_LIMIT_S:.0f} s on {core}") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "(nothing)").splitlines()[-1]
        raise LabError(f"crash does not take {core}: status {done.returncode}: {said}")
    return done.stdout.splitlines()
