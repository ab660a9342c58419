"""A Linux kernel to crash: bootable image, modules, and the ELF with debug information that crash wants.

They lie in one directory, as packages unpack: `boot/vmlinuz-V`, `lib/modules/V/`, and vmlinux at the top or where
`-dbg` packages have it.  What was unpacked once stays in a cache outside the repository.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from .tools import LabError, run


@frozen
class KernelTree:
    """An unpacked kernel: `version` as `uname -r` prints it, `root` holding boot/ and lib/modules/."""

    version: str
    root: Path
    vmlinux: Path

    @property
    def vmlinuz(self) -> Path:
        """The bootable image."""
        return self.root / "boot" / f"vmlinuz-{self.version}"

    def module_files(self, name: str) -> list[Path] | None:
        """The files of module (or alias) *name* and what it depends on, in load order.

        [] when it is built in, None when this kernel has not got it.
        """
        try:
            said = run(["modprobe", "-d", self.root, "-S", self.version, "-D", name])
        except LabError:
            return None
        return [Path(line.split()[1]) for line in said.splitlines() if line.startswith("insmod ")]


def pci_alias(vendor: int, device: int) -> str:
    """The module alias of a PCI function, by its ids alone: no driver that takes a whole class answers to it."""
    return f"pci:v{vendor:08X}d{device:08X}sv00000000sd00000000bc00sc00i00"


def cache_directory() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/ddsdk`."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "ddsdk"


def store_directory() -> Path:
    """Where the cache has its kernels, one directory each."""
    return cache_directory() / "kernels"


def unpacked(root: Path) -> KernelTree:
    """The kernel that was unpacked into *root*; LabError says which part of it is missing."""
    images = sorted((root / "boot").glob("vmlinuz-*"))
    if len(images) != 1:
        found = f"boot/ has {', '.join(i.name for i in images)}" if images else "there is no boot/vmlinuz-VERSION"
        raise LabError(f"{root}: {found}; a kernel directory is one linux-image package, unpacked (dpkg-deb -x)")
    version = images[0].name.removeprefix("vmlinuz-")
    if not (root / "lib/modules" / version / "modules.dep").exists():
        raise LabError(f"{root}: there is no lib/modules/{version}/modules.dep; run depmod -b {root} {version}")
    places = (root / "vmlinux", root / f"usr/lib/debug/boot/vmlinux-{version}",
              root / f"usr/lib/debug/lib/modules/{version}/vmlinux")
    vmlinux = next((place for place in places if place.exists()), None)
    if vmlinux is None:
        raise LabError(f"{root}: there is no vmlinux with debug information, which crash needs; unpack"
                       f" usr/lib/debug/boot/vmlinux-{version} of the kernel's -dbg package there")
    return KernelTree(version, root, vmlinux)


def smallest_with(module: str, what: str) -> KernelTree:
    """The kernel of the cache that crash opens soonest, of those that have *module* (a name or alias).

    LabError when none has; *what* the module is for is said then.
    """
    store, trees = store_directory(), []
    for root in sorted(store.glob("linux-image-*_*")):
        with suppress(LabError):
            trees.append(unpacked(root))
    for tree in sorted(trees, key=lambda tree: tree.vmlinux.stat().st_size):
        if tree.module_files(module) is not None:
            return tree
    has = ", ".join(tree.version for tree in trees) or "none at all"
    raise LabError(f"no kernel with a driver for {what} in {store}, which has {has}; --kernel full downloads Debian's"
                   " with its debug information (about 1 GB), --kernel DIR takes one that is unpacked")
