"""`ddsdk drill --guest` with something missing or wrong: one line, the documented exit code, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Ddsdk
from .test_bad_input import one_line


def test_options_of_one_half_are_refused_in_the_other(ddsdk: Ddsdk) -> None:
    """Rather than ignored."""
    for option in (("--runs", 2), ("--kernel", "full"), ("--cpus", 2), ("--onto", "second")):
        one_line(ddsdk("drill", *option), 2, str(option[0]), "with --guest")
    for option in (("--backend", "qemu"), ("--load-us", 5)):
        one_line(ddsdk("drill", "--guest", *option), 2, str(option[0]), "without --guest")


@pytest.mark.parametrize(("arguments", "words"), [
    (("--trigger", "OS_INIT"), ("'sysrq-c' or 'NMI switch'",)),
    (("--driver", "nobody"), ("nobody",)),
    (("--chip", "53c1030"), ("no backend qemu", "use chip=sas1068")),
    (("--memory", "synthetic:64M"), ("memory 'synthetic:64M'",)),
    (("--memory", "16M"), ("128M to 64G",)),
    (("--cpus", "0"), ("0",)), (("--runs", "0"), ("0",)), (("--block-order", "9"), ("9",)), (("--onto", "x"), ("x",))])
def test_values_out_of_range(ddsdk: Ddsdk, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    """Exit 2, before anything is looked for on this machine."""
    one_line(ddsdk("drill", "--guest", *arguments), 2, *words)


def test_tools_that_are_missing(ddsdk: Ddsdk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them in one line, and what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("ddsdk.lab.tools._SBIN", ())
    one_line(ddsdk("drill", "--guest"), 5, "not found: qemu-system-x86_64, busybox, cpio, gzip, modprobe, crash",
             "apt-get install busybox-static cpio crash gzip kmod qemu-system-x86")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH that has something under every name; nothing of it works."""
    directory = tmp_path / "tools"
    directory.mkdir()
    for name in ("qemu-system-x86_64", "busybox", "cpio", "gzip", "modprobe", "crash"):
        (directory / name).write_text("#!/bin/sh\nexit 1\n")
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/bin:/usr/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "work"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "work").mkdir()
    return directory


def test_a_kernel_that_is_missing(ddsdk: Ddsdk, tools: Path, tmp_path: Path) -> None:
    """In the cache, in a directory, in what the directory holds."""
    one_line(ddsdk("drill", "--guest"), 5, "no kernel with a driver for", "PCI 1000:0054", "--kernel full")
    one_line(ddsdk("drill", "--guest", "--kernel", tmp_path), 5, "boot/vmlinuz-VERSION")
    for name in ("boot/vmlinuz-6", "lib/modules/6/modules.dep", "vmlinux"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    one_line(ddsdk("drill", "--guest", "--kernel", tmp_path), 5, "kernel 6 has no driver for", "PCI 1000:0054")
    assert list((tmp_path / "work").iterdir()) == []


def test_errors_are_json_too(ddsdk: Ddsdk, tools: Path) -> None:
    """For a script."""
    ended = ddsdk("drill", "--guest", "--json")
    assert '"exit_code": 5' in ended.out
