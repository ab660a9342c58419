"""Debian kernels with their debug information, resolved by apt and kept in a cache outside the repository.

No version is written down anywhere: the meta package names the current kernel, apt its candidate version.
Standard library only, so that `guest.py` runs under any Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

META_PACKAGES = {"cloud": "linux-image-cloud-amd64", "full": "linux-image-amd64"}


class LabError(Exception):
    """Something the lab needs is missing or failed; the text is one line with the next step."""


@dataclass(frozen=True)
class KernelTree:
    """An unpacked kernel: `version` as `uname -r` prints it, `root` holding boot/ and lib/modules/."""

    package: str
    version: str
    root: Path

    @property
    def vmlinuz(self) -> Path:
        """The bootable image."""
        return self.root / "boot" / f"vmlinuz-{self.version}"

    @property
    def vmlinux(self) -> Path:
        """The ELF with debug information that crash, gdb and drgn want."""
        return self.root / "vmlinux"


def cache_directory() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/ddsdk`."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "ddsdk"


def need_tools(tools: Sequence[str]) -> None:
    """Raise LabError naming every tool of *tools* that is not on PATH."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    missing = [tool for tool in tools if shutil.which(tool, path=path) is None]
    if missing:
        raise LabError(f"not found: {', '.join(missing)}; run tests/real/install-tools as root")


def run(argv: Sequence[str | Path], *, cwd: Path | None = None, timeout_s: float = 600) -> str:
    """stdout of *argv*; LabError with the last line of its stderr when it fails or hangs."""
    name = str(argv[0])
    env = dict(os.environ, LC_ALL="C", PATH=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    try:
        done = subprocess.run([str(a) for a in argv], cwd=cwd, env=env, text=True, timeout=timeout_s,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except FileNotFoundError:
        raise LabError(f"{name} not found; run tests/real/install-tools as root") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{name} took longer than {timeout_s:.0f} s: {' '.join(map(str, argv))}") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["(no message)"])[-1]
        raise LabError(f"{name} failed with status {done.returncode}: {said}")
    return done.stdout


def _resolve(flavour: str) -> tuple[str, str]:
    """(package, version) of the current kernel of *flavour*; asks the archive once when apt knows nothing."""
    meta = META_PACKAGES[flavour]
    found = _ask_apt(meta)
    if found is None and os.geteuid() == 0:
        run(["apt-get", "-qq", "update"])
        found = _ask_apt(meta)
    if found is None:
        raise LabError(f"apt has no {meta}: it needs Debian's archive; run apt-get update as root")
    return found


def _ask_apt(meta: str) -> tuple[str, str] | None:
    try:
        depends = run(["apt-cache", "depends", "--important", meta])
        names = [line.split()[-1] for line in depends.splitlines() if line.strip().startswith("Depends:")]
        package = next((name for name in names if name.startswith("linux-image-")), None)
        policy = run(["apt-cache", "policy", package]) if package else ""
    except LabError:
        return None
    version = next((line.split()[-1] for line in policy.splitlines() if "Candidate:" in line), "(none)")
    return (package, version) if package and version != "(none)" else None


def _newest_cached(flavour: str, store: Path) -> tuple[str, str] | None:
    """What an earlier run unpacked, for a machine that is offline now."""
    wanted = [d for d in store.glob("linux-image-*_*") if ("-cloud-" in d.name) == (flavour == "cloud")
              and (d / "vmlinux").exists()]
    newest = max(wanted, key=lambda d: d.stat().st_mtime, default=None)
    if newest is None:
        return None
    package, _, version = newest.name.partition("_")
    return package, version


def kernel(flavour: str) -> KernelTree:
    """The current Debian kernel of *flavour*, downloaded and unpacked when the cache has not got it."""
    store = cache_directory() / "kernels"
    try:
        package, version = _resolve(flavour)
    except LabError:
        cached = _newest_cached(flavour, store)
        if cached is None:
            raise
        package, version = cached
    try:
        return _cached(package, version, store)
    except LabError:
        if os.geteuid() != 0:
            raise
        run(["apt-get", "-qq", "update"])       # the archive has moved on since apt last looked
        return _cached(*_resolve(flavour), store)


def _cached(package: str, version: str, store: Path) -> KernelTree:
    """The tree of *package* out of the cache, unpacked into it first when it is not there."""
    root = store / f"{package}_{version.replace(':', '.')}"
    if not root.exists():
        store.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="new-", dir=store) as scratch:
            _unpack(package, version, Path(scratch))
            _publish(Path(scratch) / "tree", root)
    return KernelTree(package, package.removeprefix("linux-image-"), root)


def _unpack(package: str, version: str, scratch: Path) -> None:
    need_tools(["apt-get", "dpkg-deb", "tar", "depmod"])
    tree = scratch / "tree"
    for name in (package, f"{package}-dbg"):
        run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", f"{name}={version}"],
            cwd=scratch, timeout_s=1800)
    image, debug = (next(scratch.glob(f"{name}_*.deb")) for name in (package, f"{package}-dbg"))
    run(["dpkg-deb", "-x", image, tree])
    release = package.removeprefix("linux-image-")
    run(["depmod", "-b", tree, release])
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", debug], stdout=subprocess.PIPE) as unpack:
        member = f"./usr/lib/debug/boot/vmlinux-{release}"
        got = subprocess.run(["tar", "-x", "-C", scratch, member], stdin=unpack.stdout, check=False,
                             stderr=subprocess.DEVNULL)
    if got.returncode or unpack.returncode:
        raise LabError(f"{debug.name} holds no {member} or there is no room for it in {scratch.parent}")
    (scratch / member).rename(tree / "vmlinux")


def _publish(tree: Path, root: Path) -> None:
    """Rename into place; somebody else's copy that came first is as good."""
    try:
        tree.rename(root)
    except OSError:
        if not (root / "vmlinux").exists():
            raise
