"""Start a child that cannot outlive its parent.

A helper arms PR_SET_PDEATHSIG, looks whether its parent still lives, and then becomes the program: no `preexec_fn`
(unsafe beside threads), and no window in which a parent that died before the arming goes unnoticed.  The helper is
util-linux's setpriv with a shell, which takes 2 ms, or another Python, which takes 20.  Linux sends the signal when
the *thread* that started the child ends, so start children from a thread that lives on.
Standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

# argv: parent pid, program, arguments.  1 = PR_SET_PDEATHSIG (linux/prctl.h), 9 = SIGKILL.
_ARM_AND_EXEC = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    os._exit(0)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]}: {error.strerror}")
"""


#: $0: parent pid; $@: program, arguments.
_LOOK_AND_EXEC = '[ "$PPID" = "$0" ] && exec "$@"'


def _helper() -> list[str]:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return [sys.executable, "-I", "-S", "-c", _ARM_AND_EXEC]
    return [setpriv, "--pdeathsig", "KILL", "/bin/sh", "-c", _LOOK_AND_EXEC]


def spawn_bound_to_parent(argv: Sequence[str], *, stderr: IO[bytes], pass_fds: Sequence[int] = (),
                          stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None,
                          cwd: str | None = None) -> subprocess.Popen[bytes]:
    """Run *argv* (looked up on PATH), its output to files or nowhere; the kernel kills it when we die.

    *pass_fds* stay open in the child under the same numbers.  A program that cannot be executed shows as exit
    status 1, 126 or 127 with the reason in *stderr*.
    """
    return subprocess.Popen([*_helper(), str(os.getpid()), *argv], stdin=subprocess.DEVNULL if stdin is None else stdin,
                            stdout=subprocess.DEVNULL if stdout is None else stdout, stderr=stderr, cwd=cwd,
                            pass_fds=pass_fds)


def last_words(stderr: IO[bytes], program: str) -> str:
    """The line of *stderr* that says why *program* ended: its own last message, else the last line."""
    stderr.seek(0)
    lines = [line.strip() for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
    own = [line for line in lines if line.startswith(f"{program}:")]
    return (own or lines or ["it said nothing"])[-1].removeprefix(f"{program}:").strip()
