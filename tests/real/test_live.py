"""A live machine dumps itself: ddsdk runs in a Linux, reads its /proc/kcore, and the field's tools open the files."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from ddsdk.lab import debian
from ddsdk.lab.guest import GuestSpec, booted
from ddsdk.lab.kernels import KernelTree, pci_alias
from ddsdk.vmcore.source import open_pages
from ddsdk.vmcore.vmcoreinfo import parse
from tests.real.conftest import ddsdk
from tests.real.cores import crash
from tests.real.livetree import make_archive

pytestmark = pytest.mark.real

MEMORY_BYTES = 1 << 30
#: Python under TCG is slow: two minutes on an idle machine.
TASK_LIMIT_S = 900.0
SCRIPT = """
set -e
python -m ddsdk convert /proc/kcore /live.elf --to elf --dump-level 31 2>/progress
python -m ddsdk convert /proc/kcore /live.kdump --dump-level 31 --compress zstd 2>/progress
python -m ddsdk info /proc/kcore
python -m ddsdk log /proc/kcore | sed -n 's/^.*Linux version/LOG &/p'
for file in live.elf live.kdump; do stat -c %s $file; done > sizes
cat sizes
(dd if=sizes bs=4096 conv=sync; cat live.elf live.kdump) > /dev/sdb
sync
"""


@frozen
class Live:
    """The kernel, its memory as it saw it while it ran, in an ELF core and a compressed dump, and what it printed."""

    tree: KernelTree
    elf: Path
    kdump: Path
    console: str


@pytest.fixture(scope="module")
def live(tools: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Live:
    """A Linux that ran ddsdk."""
    tools("qemu-system-x86_64", "busybox", "cpio", "crash", "gdb")
    tree, folder = debian.kernel("cloud"), tmp_path_factory.mktemp("live")
    make_archive(folder / "task.tar", SCRIPT)
    with (folder / "result.img").open("wb") as file:
        file.truncate(MEMORY_BYTES)
    disks = tuple(word for number, name in enumerate(("task.tar", "result.img"))
                  for word in ("-drive", f"file={folder / name},format=raw,if=none,id=d{number}",
                               "-device", f"ide-hd,drive=d{number},bus=ide.0,unit={number}"))
    disks += ("-cpu", "Nehalem")            # numpy wants more than the default has
    spec = GuestSpec(tree, MEMORY_BYTES, 1, disks, (pci_alias(0x8086, 0x7010),), task="sda")
    with (folder / "ram.img").open("w+b") as ram:
        ram.truncate(MEMORY_BYTES)
        with booted(spec, folder, ram) as guest:
            guest.wait_for_task(TASK_LIMIT_S)
    files = [folder / "live.elf", folder / "live.kdump"]
    with (folder / "result.img").open("rb") as result:
        sizes = [int(line) for line in result.read(4096).rstrip(b"\0").split()]
        for path, size in zip(files, sizes, strict=True):
            path.write_bytes(result.read(size))
    return Live(tree, *files, (folder / "serial.log").read_text(errors="replace"))


@pytest.mark.parametrize("name", ["elf", "kdump"])
def test_crash_opens_what_a_live_machine_wrote(live: Live, tmp_path: Path, name: str) -> None:
    """The kernel's release, and the process that ran: the Python that read the memory."""
    said = "\n".join(crash(live.tree.vmlinux, getattr(live, name), ["sys", "ps"], tmp_path))
    assert f"RELEASE: {live.tree.version}" in said
    assert re.search(r"^>\s.*\bpython", said, re.MULTILINE), said


def test_gdb_opens_the_elf_core(live: Live) -> None:
    """The banner at its address, by the kernel's own symbols."""
    with open_pages(str(live.elf)) as source:
        offset = parse(source.vmcoreinfo)["KERNELOFFSET"]
    said = subprocess.run(["gdb", "-batch", "-nx", "-ex", f"core-file {live.elf}",
                           "-ex", f"add-symbol-file {live.tree.vmlinux} -o 0x{offset}",
                           "-ex", "x/s linux_banner"], capture_output=True, text=True, check=False)
    assert f"Linux version {live.tree.version}" in said.stdout, said.stdout + said.stderr


def test_log_and_info_of_a_live_machine(live: Live) -> None:
    """Read in place, on the machine itself; of the file it wrote the log begins with the same line."""
    first = ddsdk("log", live.elf).splitlines()[0]
    assert f"Linux version {live.tree.version}" in first
    assert f"LOG {first}" in live.console.replace("\r", "")
