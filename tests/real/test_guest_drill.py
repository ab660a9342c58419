"""`ddsdk drill --guest`: a Linux that crashed under load is dumped through its own adapter, as its kernel left it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ddsdk.errors import VerdictError
from ddsdk.guestdrill.run import GuestDrill, run_guest_drill
from ddsdk.lab import crash, debian, guest
from ddsdk.lab.kernels import KernelTree, pci_alias
from ddsdk.lab.tools import LabError
from ddsdk.registry import Registry, discover

pytestmark = pytest.mark.real

#: (driver, chip, which of Debian's kernels has a driver for it, where the crashes begin)
ADAPTERS = [("ide", "piix3", "cloud", 101), ("sym53c8xx", "53c895a", "full", 201)]
OLDER = ("sym53c8xx", "53c810", "full", 301)
RUNS = 3


@pytest.fixture(autouse=True)
def lab(tools: Callable[..., None]) -> None:
    """Everything here needs it."""
    tools(*guest.TOOLS, crash.PROGRAM)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A TMPDIR; whatever happened, nothing is in it afterwards, and no process works in it."""
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield directory
    assert list(directory.iterdir()) == []
    assert processes_about(str(directory)) == []


def processes_about(text: str) -> list[str]:
    """Command lines, other than our own, in which *text* occurs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and int(process.name) != os.getpid():
            found.append(line)
    return found


def kernel_of(flavour: str) -> Path:
    """Debian's kernel of today, unpacked."""
    return debian.kernel(flavour).root


def drilled(*options: object, status: int = 0) -> dict[str, Any]:
    """What `ddsdk drill --guest --json` says."""
    done = subprocess.run([sys.executable, "-m", "ddsdk", "drill", "--guest", "--json", *map(str, options)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize(("driver", "chip", "flavour", "seed"), ADAPTERS)
def test_every_crash_is_dumped_and_verified(work: Path, driver: str, chip: str, flavour: str, seed: int) -> None:
    """Crashes at moments of a seed's choice: every page equal, memory and disk unchanged, crash agrees."""
    said = drilled("--driver", driver, "--chip", chip, "--kernel", kernel_of(flavour), "--seed", seed, "--runs", RUNS)
    assert (said["verified"], said["of"]) == (RUNS, RUNS)
    for run in said["runs"]:
        assert run["why"] == ""
        assert (run["differ"], run["memory_changed"], run["outside_changed"], run["crash_differ"]) == (0, 0, "", 0)
        assert run["pages"] == (512 - 8 << 20) // 4096 - 32, "512 MiB, less the reserve and video memory"
        assert run["crash_lines"] > 100
    assert [run["seed"] for run in said["runs"]] == [seed, seed + 1, seed + 2]


@pytest.mark.parametrize(("driver", "chip", "flavour", "seed"), [*ADAPTERS, OLDER])
def test_onto_a_second_disk_after_a_sysrq(work: Path, driver: str, chip: str, flavour: str, seed: int) -> None:
    """The busy disk keeps every byte; two CPUs; the kernel's own idea of a crash instead of an NMI."""
    said = drilled("--driver", driver, "--chip", chip, "--kernel", kernel_of(flavour), "--seed", seed,
                   "--onto", "second", "--trigger", "sysrq-c", "--cpus", 2, "--memory", "256M")
    (run,) = said["runs"]
    assert (run["verified"], run["trigger"], run["pages"]) == (True, "sysrq-c", (256 - 8 << 20) // 4096 - 32)


@pytest.fixture
def registry() -> Registry:
    """Installed drivers."""
    return discover()


@pytest.fixture
def tree() -> KernelTree:
    """The small kernel; it has a driver for IDE."""
    return debian.kernel("cloud")


@contextmanager
def scratch() -> Iterator[Path]:
    """As the command line makes it."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="ddsdk-guest-") as directory:
        yield Path(directory)


def test_qemu_dies_in_the_middle_of_the_dump(work: Path, registry: Registry, tree: KernelTree,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict is no, with QEMU's end as the reason; nothing is left."""
    pids: list[int] = []

    @contextmanager
    def watched(*args: Any, **options: Any) -> Iterator[guest.RunningGuest]:
        with guest.booted(*args, **options) as running:
            pids.append(running.qemu.pid)
            yield running

    def kill_half_way(progress: Any) -> None:
        if progress.phase == "dump" and progress.done * 2 > progress.total and pids:
            os.kill(pids.pop(), signal.SIGKILL)

    monkeypatch.setattr("ddsdk.guestdrill.run.booted", watched)
    with scratch() as directory, pytest.raises(VerdictError, match=r"no dump: .*QEMU is gone at .*killed by signal 9"):
        run_guest_drill(GuestDrill("ide", "piix3"), tree, registry, directory, progress=kill_half_way)
    assert pids == []


def test_a_guest_that_does_not_boot(work: Path, tmp_path: Path, tree: KernelTree) -> None:
    """A kernel image that is none: exit 5, one line, with QEMU's words."""
    root = tmp_path / "kernel"
    (root / "boot").mkdir(parents=True)
    (root / "boot" / f"vmlinuz-{tree.version}").write_bytes(b"no kernel")
    (root / "lib").symlink_to(tree.root / "lib")
    (root / "vmlinux").symlink_to(tree.vmlinux)
    said = drilled("--driver", "ide", "--kernel", root, status=5)
    assert said["exit_code"] == 5
    assert "QEMU is gone" in said["error"] or "did not come up" in said["error"]


def test_a_guest_that_panics_too_early(work: Path, tree: KernelTree, monkeypatch: pytest.MonkeyPatch,
                                       registry: Registry) -> None:
    """Before its disks are busy: it is the lab's failure, no verdict on the driver; the kernel's last line is said."""
    monkeypatch.setattr("ddsdk.lab.initramfs.INIT", "#!/bin/busybox sh\n"
                        "/bin/busybox mkdir -p /p; /bin/busybox mount -t proc proc /p\n"
                        "while read m; do /bin/busybox insmod /modules/$m; done < /modules/order\n"
                        "echo c > /p/sysrq-trigger\n")
    with scratch() as directory, pytest.raises(LabError, match="did not come up, its machine is guest-panicked"):
        run_guest_drill(GuestDrill("ide", "piix3"), tree, registry, directory)


def test_a_disk_the_kernel_does_not_find(work: Path, registry: Registry, tree: KernelTree,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without a driver for the chip, were it not refused before: said in one line."""
    assert tree.module_files(pci_alias(0x8086, 0x7010)), "the rest of this file relies on it"
    monkeypatch.setattr("ddsdk.lab.initramfs.INIT",
                        "#!/bin/busybox sh\necho LAB no disk; echo LAB loaded; /bin/busybox sleep 100\n")
    with scratch() as directory, pytest.raises(LabError, match=r"found no disk /dev/sda to be busy with"):
        run_guest_drill(GuestDrill("ide", "piix3"), tree, registry, directory)


def test_sigterm_clears_everything_away(work: Path, tree: KernelTree) -> None:
    """While the guest boots: exit 130, no QEMU, no files (the fixture looks)."""
    process = subprocess.Popen([sys.executable, "-m", "ddsdk", "drill", "--guest", "--driver", "ide", "--kernel",
                                str(tree.root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("run 1/1")
    while not any("qemu-system" in line for line in processes_about(str(work))):
        assert process.poll() is None
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.strip()) == (130, "ddsdk: interrupted")
