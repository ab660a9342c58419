"""Finding a kernel: in a directory, in the cache, or a line that says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.lab import debian, kernels
from ddsdk.lab.kernels import KernelTree, pci_alias, smallest_with, unpacked
from ddsdk.lab.tools import LabError, find_tool, need_tools

VERSION = "6.1.0-1-amd64"


def tree(root: Path, vmlinux: str = "vmlinux", size: int = 1) -> Path:
    """What unpacking leaves."""
    for name in (f"boot/vmlinuz-{VERSION}", f"lib/modules/{VERSION}/modules.dep", vmlinux):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(size))
    return root


@pytest.mark.parametrize("vmlinux", ["vmlinux", f"usr/lib/debug/boot/vmlinux-{VERSION}",
                                     f"usr/lib/debug/lib/modules/{VERSION}/vmlinux"])
def test_an_unpacked_package_is_a_kernel(tmp_path: Path, vmlinux: str) -> None:
    """The debug information lies where packages have it, or at the top."""
    found = unpacked(tree(tmp_path, vmlinux))
    assert found == KernelTree(VERSION, tmp_path, tmp_path / vmlinux)
    assert found.vmlinuz == tmp_path / "boot" / f"vmlinuz-{VERSION}"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """Image, modules, debug information: each with the next step."""
    with pytest.raises(LabError, match=r"there is no boot/vmlinuz-VERSION; a kernel directory is one linux-image pack"):
        unpacked(tmp_path)
    root = tree(tmp_path)
    (root / "vmlinux").unlink()
    with pytest.raises(LabError, match=f"no vmlinux with debug information.*usr/lib/debug/boot/vmlinux-{VERSION}"):
        unpacked(root)
    (root / "lib/modules" / VERSION / "modules.dep").unlink()
    with pytest.raises(LabError, match=f"no lib/modules/{VERSION}/modules.dep; run depmod -b {tmp_path} {VERSION}"):
        unpacked(root)
    (root / "boot/vmlinuz-7").touch()
    with pytest.raises(LabError, match=f"boot/ has vmlinuz-{VERSION}, vmlinuz-7; a kernel directory is one"):
        unpacked(root)


def test_pci_ids_name_a_module_and_no_class_does() -> None:
    """Drivers that take every IDE interface, say, match by class."""
    assert pci_alias(0x8086, 0x7010) == "pci:v00008086d00007010sv00000000sd00000000bc00sc00i00"


def modules_of(monkeypatch: pytest.MonkeyPatch, *able: Path) -> None:
    """Let the kernels in *able* have every module, the others none."""
    monkeypatch.setattr(KernelTree, "module_files", lambda self, name: [] if self.root in able else None)


def test_the_cache_gives_the_kernel_that_is_opened_soonest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that drive the chip, the one with the smallest debug information; half-unpacked ones do not count."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = tmp_path / "ddsdk/kernels"
    large, small, other = (tree(store / f"linux-image-{name}_1", size=size)
                           for name, size in (("large", 300), ("small", 200), ("other", 100)))
    (store / "linux-image-torn_1/boot").mkdir(parents=True)
    modules_of(monkeypatch, large, small)
    assert smallest_with("m", "a chip").root == small
    modules_of(monkeypatch, other)
    assert debian.kernel_named(None, "m", "a chip").root == other


def test_a_cache_without_such_a_kernel_says_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to get one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(LabError, match=r"no kernel with a driver for a chip in .*/ddsdk/kernels, which has none at all;"
                                       r" --kernel full downloads Debian's .* --kernel DIR takes one"):
        smallest_with("m", "a chip")
    tree(tmp_path / "ddsdk/kernels/linux-image-x_1")
    modules_of(monkeypatch)
    with pytest.raises(LabError, match=f"which has {VERSION}; "):
        smallest_with("m", "a chip")


def test_a_directory_without_the_driver_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything boots."""
    modules_of(monkeypatch)
    with pytest.raises(LabError, match=f"kernel {VERSION} has no driver for a chip; Debian's --kernel full has the"):
        debian.kernel_named(str(tree(tmp_path)), "m", "a chip")


def test_names_are_debians_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """cloud and full are fetched, anything else is a directory."""
    root = tree(tmp_path)
    monkeypatch.setattr(debian, "kernel", lambda flavour: unpacked(root / ".." / root.name) if flavour else None)
    modules_of(monkeypatch, root / ".." / root.name)
    assert debian.kernel_named("full", "m", "a chip").version == VERSION


def test_missing_tools_are_all_named_with_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line, whatever is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError) as error:
        need_tools(["no-such-tool", "sh", "qemu-system-none"])
    assert str(error.value).startswith("not found: no-such-tool, ")
    assert str(error.value).endswith("apt-get install no-such-tool qemu-system-none sh")
    assert error.value.exit_code == 5


def test_tools_of_root_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Debian keeps kmod's programs where users' PATH does not go."""
    monkeypatch.setattr("ddsdk.lab.tools._SBIN", (str(tmp_path),))
    tool = tmp_path / "a-tool-of-root"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert find_tool("a-tool-of-root") == str(tool)
    assert kernels.cache_directory().name == "ddsdk"
