"""Programs of others that the lab runs: found, named with their package when they are missing, bounded in time."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ddsdk.errors import DeviceError

#: Program -> Debian package where the two have different names.
PACKAGES: Mapping[str, str] = {
    "qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "modprobe": "kmod", "depmod": "kmod",
    "apt-get": "apt", "apt-cache": "apt", "dpkg-deb": "dpkg", "mkswap": "util-linux", "swaplabel": "util-linux",
    "blkid": "util-linux",
}
#: Where Debian keeps what is root's; not on everybody's PATH.
_SBIN = ("/usr/sbin", "/sbin")


class LabError(DeviceError):
    """Something the lab needs is missing, or failed; one line with the next step."""


def find_tool(name: str) -> str | None:
    """The path of *name*, on PATH or where root's tools are."""
    return shutil.which(name, path=_path())


def need_tools(tools: Sequence[str]) -> None:
    """LabError naming every one of *tools* that is missing, and what to install."""
    missing = [tool for tool in tools if find_tool(tool) is None]
    if missing:
        packages = sorted({PACKAGES.get(tool, tool) for tool in missing})
        raise LabError(f"not found: {', '.join(missing)}; Debian has {'it' if len(missing) == 1 else 'them'}: apt-get"
                       f" install {' '.join(packages)}")


def run(argv: Sequence[str | Path], *, cwd: Path | None = None, timeout_s: float = 600) -> str:
    """stdout of *argv*; LabError with the last line of its stderr when it fails or hangs."""
    name = str(argv[0])
    env = dict(os.environ, LC_ALL="C", PATH=_path())
    try:
        done = subprocess.run([str(a) for a in argv], cwd=cwd, env=env, text=True, timeout=timeout_s,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except FileNotFoundError:
        need_tools([name])
        raise
    except subprocess.TimeoutExpired:
        raise LabError(f"{name} took longer than {timeout_s:.0f} s: {' '.join(map(str, argv))}") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["(no message)"])[-1]
        raise LabError(f"{name} failed with status {done.returncode}: {said}")
    return done.stdout


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", os.defpath), *_SBIN))
