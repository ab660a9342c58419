"""Starting QEMU, and everything that can go wrong with that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddsdk.errors import DeviceError
from ddsdk.qemu.process import PARKED_CPU, QemuProcess, option_value
from ddsdk.qemu.ram import SharedRam
from ddsdk.qemu.spawn import last_words
from ddsdk.sim.memory import Extent


@pytest.fixture(scope="module")
def ram() -> Iterator[SharedRam]:
    """The smallest RAM there is."""
    with SharedRam.build([Extent(0, memoryview(bytearray(4096)))], reserve_bytes=1 << 20) as ram:
        yield ram


def fake_qemu(directory: Path, script: str) -> str:
    """An executable that is no QEMU."""
    path = directory / "fake-qemu"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_missing_qemu_is_one_line_with_the_remedy(ram: SharedRam) -> None:
    """The program, what needs it, how to get it, and the way around."""
    with pytest.raises(DeviceError) as error:
        QemuProcess.start(ram, [], program="qemu-system-none")
    assert str(error.value) == (
        "qemu-system-none not found: the qemu backend needs it on PATH; install QEMU's x86 emulator (Debian: "
        "apt-get install qemu-system-x86), or use backend=model")


def test_a_qemu_that_gives_up_is_quoted(ram: SharedRam, tmp_path: Path) -> None:
    """Its exit status and its own last message, not its whole output."""
    program = fake_qemu(tmp_path, "echo 'a warning' >&2\n"
                                  "echo 'qemu-system-x86_64: -device foo: no such device' >&2\nexit 1")
    with pytest.raises(DeviceError, match=r"QEMU is gone at 'inb 0x80': exit status 1; its last words: "
                                          r"-device foo: no such device$"):
        QemuProcess.start(ram, [], program=program)


def test_a_qemu_that_says_nothing_is_ended_in_time(ram: SharedRam, tmp_path: Path) -> None:
    """The start-up limit holds, and the process does not stay behind."""
    pid_file = tmp_path / "pid"
    program = fake_qemu(tmp_path, f"echo $$ > {pid_file}\nexec sleep 1000")
    started = time.monotonic()
    with pytest.raises(DeviceError, match=r"gave no answer to 'inb 0x80' within 0.3 s"):
        QemuProcess.start(ram, [], program=program, timeout_s=0.3)
    assert time.monotonic() - started < 5
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


@pytest.mark.parametrize("setpriv", ["setpriv", "no-such-program"])
def test_qemu_dies_with_its_parent(tmp_path: Path, setpriv: str) -> None:
    """Killed without warning, a parent takes its child along: the kernel sees to it, with or without setpriv."""
    parent = subprocess.Popen([sys.executable, "-c", (
        "import shutil, time\n"
        "from ddsdk.qemu.spawn import spawn_bound_to_parent\n"
        "which = shutil.which\n"
        f"shutil.which = lambda program: which({setpriv!r})\n"
        "child = spawn_bound_to_parent(['sleep', '1000'], stderr=open('/dev/null', 'wb'))\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(1000)\n")], stdout=subprocess.PIPE, cwd=tmp_path, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
        deadline = time.monotonic() + 10
        while b"sleep" not in Path(f"/proc/{child}/cmdline").read_bytes():
            assert time.monotonic() < deadline
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.01)


def test_last_words_prefer_what_the_program_said_itself() -> None:
    """Its own last message; without one the last line; without any, that."""
    for said, words in ((b"qemu: one\nqemu: two\nlater noise\n\n", "two"), (b"noise\nmore\n", "more"),
                        (b"", "it said nothing")):
        with tempfile.TemporaryFile() as stderr:
            stderr.write(said)
            assert last_words(stderr, "qemu") == words


def test_a_comma_in_a_path_is_doubled() -> None:
    """QEMU's option lists end a value at a single comma."""
    assert option_value("/tmp/a,b,,c") == "/tmp/a,,b,,,,c"


def test_the_parked_cpu_loops_on_hlt() -> None:
    """cli; hlt; jmp -3: an NMI wakes it, and it halts again."""
    assert PARKED_CPU == b"\xfa\xf4\xeb\xfd"
