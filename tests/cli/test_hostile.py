"""Hostile surroundings: readers that go away, full outputs, closed descriptors, devices that are no disks."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ddsdk.cli import main as program
from ddsdk.cli.main import run

from .conftest import Ddsdk


def ddsdk_process(*args: object, **options: int | None) -> subprocess.CompletedProcess[str]:
    """`ddsdk ARGS` in a process of its own."""
    return subprocess.run([sys.executable, "-m", "ddsdk", *map(str, args)], text=True, timeout=60,
                          **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})  # type: ignore[call-overload,no-any-return]


def test_a_reader_that_goes_away(image: Path) -> None:
    """`ddsdk ... | head -1`: the exit status SIGPIPE would give, and not a word."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        ended = ddsdk_process("format", image, stdout=write_end)
    finally:
        os.close(write_end)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this host")
def test_a_full_output(image: Path) -> None:
    """A full disk under stdout is the disk's failure (5), not ours (70)."""
    with open("/dev/full", "w") as full:
        ended = ddsdk_process("format", image, stdout=full.fileno())
    assert (ended.returncode, ended.stderr) == (5, "ddsdk: error: output: No space left on device\n")


def test_closed_descriptors(image: Path, tmp_path: Path) -> None:
    """`ddsdk ... <&- >&- 2>&-` works, and what is said to stderr does not land in the device."""
    shell = 'exec "$0" -m ddsdk format "$1" <&- >&- 2>&-'
    assert subprocess.run(["sh", "-c", shell, sys.executable, image], timeout=60).returncode == 0
    held = image.read_bytes()
    missing = 'exec "$0" -m ddsdk check "$1" <&- >&- 2>&-'
    assert subprocess.run(["sh", "-c", missing, sys.executable, tmp_path / "none"], timeout=60).returncode == 5
    assert image.read_bytes() == held


def test_interrupt_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGINT in a verb: one line, exit 130."""
    @click.command()
    def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(program.LazyGroup, "get_command", lambda *_: interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)       # a shell's background job has it ignored
    try:
        assert run(["check"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "ddsdk: interrupted\n")


@pytest.mark.parametrize(("args", "code", "word"), [
    (("check", "no-such-device"), 5, "no-such-device"), (("dump", "synthetic:4M"), 2, "--to"),
    (("estimate", "pages:x"), 2, "pages:x"), (("info", sys.executable), 4, "no core")])
def test_an_error_is_json_too(ddsdk: Ddsdk, args: tuple[str, ...], code: int, word: str) -> None:
    """--json: stdout has one object when a verb fails, stderr its line all the same."""
    ended = ddsdk(*args, "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["exit_code"]) == (code, code)
    assert word in told["error"]
    assert ended.err == f"ddsdk: error: {told['error']}\n"


@pytest.mark.parametrize("backend", ["model", "qemu"])
def test_what_is_no_disk(ddsdk: Ddsdk, image: Path, tmp_path: Path, backend: str) -> None:
    """A FIFO, a character device, a directory, an empty file: each is passed over at once, the disk is used."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").touch()
    ddsdk("format", image)
    bad = [tmp_path / "fifo", "/dev/null", tmp_path, tmp_path / "empty"]
    to = [word for path in bad for word in ("--to", f"mptfusion:{path},backend={backend}")]
    ended = ddsdk("dump", "synthetic:2M", *to, "--to", f"mptfusion:{image}")
    assert ended.code == 0
    assert [line.rpartition(": ")[2] for line in ended.err.splitlines()] == [
        *["neither a file nor a block device; a disk is one of them"] * 3,
        "a file of 0 bytes is no disk; make it as large as `ddsdk estimate` says"]


def test_two_targets_on_the_same_bytes(ddsdk: Ddsdk, image: Path) -> None:
    """The same partition twice, by whatever name, or windows that overlap: refused; windows side by side are not."""
    alias = image.with_name("alias")
    alias.hardlink_to(image)
    for one, two in (("", ""), (",size=4M", ""), (",offset=4M,size=8M", ",offset=8M,size=4M")):
        ended = ddsdk("dump", "synthetic:2M", "--to", f"mptfusion:{image}{one}", "--to", f"mptfusion:{alias}{two}")
        assert (ended.code, "are the same bytes of one disk" in ended.err) == (2, True)
    ddsdk("format", f"{image},offset=4M,size=4M")
    ended = ddsdk("dump", "synthetic:2M", "--to", f"mptfusion:{image},size=4M", "--to",
                  f"mptfusion:{image},offset=4M,size=4M")
    assert ended.code == 0
    assert f"dumped 416 pages to mptfusion:{image},offset=4194304,size=4194304 (" in ended.out


def test_memory_and_device_are_one_file(ddsdk: Ddsdk, image: Path) -> None:
    """A dump of a file onto itself is refused, and the file is as it was."""
    ddsdk("format", image)
    before = image.read_bytes()
    ended = ddsdk("dump", image, "--abi", "x86_64", "--to", f"mptfusion:{image}")
    assert (ended.code, "the memory to be saved is in this file" in ended.err) == (2, True)
    assert image.read_bytes() == before


def test_one_at_a_time(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """While one process works on a device, format, dump and savecore keep off it."""
    ddsdk("format", image)
    with image.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for args in (("format", image), ("savecore", image, tmp_path / "crash"),
                     ("dump", "synthetic:2M", "--to", f"mptfusion:{image}")):
            ended = ddsdk(*args)
            assert (ended.code, "another format, dump or savecore is at work on it" in ended.err) == (5, True)
    assert ddsdk("dump", "synthetic:2M", "--to", f"mptfusion:{image}").code == 0


def test_why_a_partition_is_not_taken(ddsdk: Ddsdk, image: Path) -> None:
    """An unsaved dump and another machine's format are named as what they are."""
    ddsdk("format", "--abi", "i386", image)
    ended = ddsdk("dump", "synthetic:4M,abi=ia64", "--to", f"mptfusion:{image}")
    assert "formatted for i386 or x86_64, the memory is ia64's; `ddsdk format --abi ia64` makes it fit" in ended.err
    ended = ddsdk("check", "--abi", "ia64", image)
    assert (ended.code, "formatted for x86_64 (blocks of 4096 bytes), not for ia64" in ended.out) == (1, True)
    assert ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}").code == 0
    ended = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}")
    assert "it holds a dump that has not been saved; run `ddsdk savecore` first" in ended.err


PLUGIN = """
import attrs
import ddsdk_mptfusion as other
from ddsdk.hookspecs import hookimpl

print("a greeting nobody asked for")

def probe(pdev, chip):
    raise ZeroDivisionError("of two\\nlines")

@hookimpl
def ddsdk_register_drivers():
    return [attrs.evolve(other.ddsdk_register_drivers()[0], name="careless", probe=probe)]

@hookimpl
def ddsdk_register_hardware_models():
    return [attrs.evolve(model, driver="careless") for model in other.ddsdk_register_hardware_models()]
"""


def test_a_careless_plugin(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that prints spoils no JSON; a driver that raises in probe() is passed over, in one line."""
    site = tmp_path / "site"
    info = site / "careless-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: careless\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ddsdk]\ncareless = ddsdk_careless\n")
    (site / "ddsdk_careless.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("DDSDK_LOAD_PLUGINS", "careless,mptfusion")
    assert ddsdk_process("format", image).returncode == 0
    ended = ddsdk_process("dump", "synthetic:2M", "--to", f"careless:{image},size=8M", "--to",
                          f"mptfusion:{image},offset=8M", "--json")
    assert ended.returncode == 5
    assert ended.stderr == "a greeting nobody asked for\n"
    first = json.loads(ended.stdout)["rejections"][0]
    assert first["device"] == f"careless:{image},size=8388608"
    assert first["reason"].startswith("ZeroDivisionError: of two lines at ddsdk_careless.py:9 in probe; ")


def test_a_mounted_disk_is_no_dump_device(ddsdk: Ddsdk, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even without a signature check."""
    monkeypatch.setattr("ddsdk.diskdump.probe.Host.use_of", lambda *_: "it is mounted on /srv")
    before = image.read_bytes()
    ended = ddsdk("dump", "synthetic:2M", "--to", f"mptfusion:{image}", "--sample-rate", "-1")
    assert (ended.code, ended.err.splitlines()[0]) == (
        5, f"ddsdk: not used: mptfusion:{image}: registration: {image}: it is mounted on /srv; release it first")
    assert image.read_bytes() == before


def test_drill_without_room(ddsdk: Ddsdk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full temporary directory is named, and what would help: exit 5."""
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ddsdk.cli.drill.run_drill", full)
    ended = ddsdk("drill", "--driver", "mptfusion")
    assert ended.code == 5
    assert ended.err.endswith(": No space left on device; TMPDIR chooses a directory with room for the disk and the"
                              " vmcore\n")


def test_savecore_without_a_directory_name(ddsdk: Ddsdk, image: Path) -> None:
    """An empty DIR - a script's unset variable - is refused; it does not mean the root directory."""
    ddsdk("format", image)
    ddsdk("dump", "synthetic:2M", "--to", f"mptfusion:{image}")
    before = image.read_bytes()
    ended = ddsdk("savecore", image, "")
    assert (ended.code, ended.err) == (2, "ddsdk: error: the crash directory has no name; give one, or none for the"
                                          " default\n")
    assert image.read_bytes() == before
