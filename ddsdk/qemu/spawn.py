"""Start a child that cannot outlive its parent.

A helper interpreter arms PR_SET_PDEATHSIG and then becomes the program: no `preexec_fn` (unsafe beside
threads), and no window in which a parent that died before the arming goes unnoticed.  Linux sends the
signal when the *thread* that started the child ends, so start children from a thread that lives on.
Standard library only.
"""

from __future__ import annotations

import os
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


def spawn_bound_to_parent(argv: Sequence[str], *, stderr: IO[bytes], pass_fds: Sequence[int] = (),
                          stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None,
                          cwd: str | None = None) -> subprocess.Popen[bytes]:
    """Run *argv* (looked up on PATH), its output to files or nowhere; the kernel kills it when we die.

    *pass_fds* stay open in the child under the same numbers.  A program that cannot be executed shows as exit
    status 1 with the reason in *stderr*.
    """
    helper = [sys.executable, "-I", "-S", "-c", _ARM_AND_EXEC, str(os.getpid())]
    return subprocess.Popen([*helper, *argv], stdin=subprocess.DEVNULL if stdin is None else stdin,
                            stdout=subprocess.DEVNULL if stdout is None else stdout, stderr=stderr, cwd=cwd,
                            pass_fds=pass_fds)


def last_words(stderr: IO[bytes], program: str) -> str:
    """The line of *stderr* that says why *program* ended: its own last message, else the last line."""
    stderr.seek(0)
    lines = [line.strip() for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
    own = [line for line in lines if line.startswith(f"{program}:")]
    return (own or lines or ["it said nothing"])[-1].removeprefix(f"{program}:").strip()
