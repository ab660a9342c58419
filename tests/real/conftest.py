"""The lab and its tools.  A missing tool fails the test that needs it; nothing is skipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from ddsdk.lab.kernels import cache_directory
from ddsdk.lab.tools import LabError, need_tools

HERE = Path(__file__).parent
MEMORY = "512M"


@frozen
class Lab:
    """A Linux that really panicked: its RAM, the reference core, its debug information."""

    ram: Path
    core: Path
    vmlinux: Path
    serial: Path
    facts: dict[str, object]


@pytest.fixture(scope="session")
def tools() -> Callable[..., None]:
    """`tools("crash", "gdb")`: fail in one line unless all are there."""
    def need(*names: str) -> None:
        try:
            need_tools(names)
        except LabError as error:
            pytest.fail(str(error), pytrace=False)
    return need


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The panicked guest, made once and kept in the cache until its kernel is superseded."""
    out = Path(os.environ.get("DDSDK_LAB") or cache_directory() / f"lab-cloud-{MEMORY}")
    done = subprocess.run([sys.executable, HERE / "guest.py", out, "--memory", MEMORY], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        pytest.fail(f"no panicked guest: {done.stderr.strip()}", pytrace=False)
    return Lab(out / "ram.img", out / "vm.elf", out / "vmlinux", out / "serial.log",
               json.loads((out / "lab.json").read_text()))


@pytest.fixture(scope="session")
def python3(tools: Callable[..., None]) -> Callable[..., str]:
    """Run a script under the system's Python, which has drgn and libkdumpfile; returns its stdout."""
    def run(script: str, *argv: object) -> str:
        done = subprocess.run(["/usr/bin/python3", "-c", script, *map(str, argv)], capture_output=True,
                              text=True, check=False)
        if done.returncode:
            pytest.fail(f"{done.stderr}\n(tests/real/install-tools installs what is missing)", pytrace=False)
        return done.stdout
    return run


def ddsdk(*argv: object, status: int = 0) -> str:
    """stdout of the command line; fails the test unless it ends with *status*."""
    done = subprocess.run([sys.executable, "-m", "ddsdk", *map(str, argv)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == status, (f"ddsdk {' '.join(map(str, argv))}: {done.returncode}\n{done.stdout}\n"
                                       f"{done.stderr}")
    return done.stdout
