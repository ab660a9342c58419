"""Debian's kernels with their debug information, resolved by apt, kept in the cache.

No version is written down anywhere: the meta package names the current kernel, apt its candidate version.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from .kernels import KernelTree, smallest_with, store_directory, unpacked
from .tools import LabError, find_tool, need_tools, run

#: What users call them -> Debian's meta package.  "cloud" is small and has few drivers, "full" has them all.
META_PACKAGES: Mapping[str, str] = {"cloud": "linux-image-cloud-amd64", "full": "linux-image-amd64"}


def kernel_named(name: str | None, module: str, what: str) -> KernelTree:
    """The kernel that *name* means: "cloud" or "full" (Debian's of today), a directory, None: one in the cache.

    LabError when it has no *module* (a name or alias), which is for *what*.
    """
    if name is None:
        return smallest_with(module, what)
    tree = kernel(name) if name in META_PACKAGES else unpacked(Path(name))
    if tree.module_files(module) is None:
        raise LabError(f"{tree.root}: kernel {tree.version} has no driver for {what}; Debian's --kernel full has the"
                       " most drivers")
    return tree


def _resolve(flavour: str) -> tuple[str, str]:
    """(package, version) of the current kernel of *flavour*; asks the archive once when apt knows nothing."""
    meta = META_PACKAGES[flavour]
    found = _ask_apt(meta)
    if found is None and os.geteuid() == 0 and find_tool("apt-get"):
        run(["apt-get", "-qq", "update"])
        found = _ask_apt(meta)
    if found is None:
        need_tools(["apt-cache"])
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
    store = store_directory()
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
    return unpacked(root)


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
    if find_tool("gdb-add-index"):          # crash then opens it in less than half the time
        with suppress(LabError):
            run(["gdb-add-index", scratch / member])
    (scratch / member).rename(tree / "vmlinux")


def _publish(tree: Path, root: Path) -> None:
    """Rename into place; somebody else's copy that came first is as good."""
    try:
        tree.rename(root)
    except OSError:
        if not (root / "vmlinux").exists():
            raise
