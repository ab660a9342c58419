"""A crashed Linux goes through the mptfusion driver onto a partition, and comes back as a vmcore.

Twice: on the plugin's own model, and on QEMU's adapter.  What crash, makedumpfile, gdb, drgn and libkdumpfile
say about the vmcore must be what they say about the reference core of the same guest.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from tests.real.conftest import Lab, ddsdk
from tests.real.cores import CoreReader, crash, loads, memory, notes

pytestmark = pytest.mark.real

DISK_BYTES = 1 << 30
#: backend -> what follows `--to mptfusion:PATH`
TARGETS = {"model": "", "qemu": ",chip=sas1068,backend=qemu"}
#: the acceptance of a vmcore, and all tasks once more, of which crash 8.0.2's `ps` finds few on this kernel
CRASH_COMMANDS = ("sys", "bt", "ps", "log", "mod", "kmem -i", "kmem -s task_struct", "runq", "mount", "timer",
                  "list task_struct.tasks -h init_task", "net", "swap")
FILTERED_COMMANDS = ("sys", "bt", "ps", "log", "mod")


Reference = Callable[[tuple[str, ...]], list[str]]


@frozen
class Dumped:
    """One backend's vmcore, and what the commands that made it said."""

    backend: str
    vmcore: Path
    disk: Path
    dump_said: str
    savecore_said: str


@pytest.fixture(scope="session", params=sorted(TARGETS))
def dumped(request: pytest.FixtureRequest, lab: Lab, tools: Callable[..., None],
           tmp_path_factory: pytest.TempPathFactory) -> Dumped:
    """format, dump, savecore: the three commands of the README."""
    backend: str = request.param
    if backend == "qemu":
        tools("qemu-system-x86_64")
    directory = tmp_path_factory.mktemp(f"dump-{backend}")
    disk, out = directory / "d.img", directory / "out"
    with disk.open("wb") as image:
        image.truncate(DISK_BYTES)
    ddsdk("format", disk)
    dump_said = ddsdk("dump", lab.core, "--to", f"mptfusion:{disk}{TARGETS[backend]}")
    savecore_said = ddsdk("savecore", disk, out)
    found = list(out.glob("127.0.0.1-*/vmcore"))
    assert len(found) == 1, f"savecore left {sorted(out.rglob('*'))}"
    return Dumped(backend, found[0], disk, dump_said, savecore_said)


@pytest.fixture(scope="session")
def reference(lab: Lab, tools: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """What crash says about the reference core, asked once for each list of commands."""
    tools("crash")
    directory, known = tmp_path_factory.mktemp("reference"), dict[tuple[str, ...], list[str]]()

    def ask(commands: tuple[str, ...]) -> list[str]:
        if commands not in known:
            known[commands] = crash(lab.vmlinux, lab.core, commands, directory)
        return known[commands]
    return ask


def test_every_page_arrived(dumped: Dumped, lab: Lab) -> None:
    """The vmcore holds the reference core's memory, byte for byte, and nothing else."""
    vmcore = CoreReader(dumped.vmcore)
    try:
        for paddr, data in memory(lab.core, loads(lab.core)):
            assert vmcore.read(paddr, len(data)) == data, f"1 MiB at {paddr:#x}"
        assert vmcore.pages == sum(load.size for load in loads(lab.core)) // 4096
    finally:
        vmcore.close()


def test_registers_and_vmcoreinfo_came_along(dumped: Dumped, lab: Lab) -> None:
    """The notes are those of the crashed guest: pid and registers of each CPU, VMCOREINFO to the letter."""
    def essence(path: Path) -> list[tuple[str, str, bytes]]:
        # 32: pr_pid; 112: pr_reg, 27 words (x86-64 elf_prstatus)
        return [(owner, kind, desc[32:36] + desc[112:112 + 216] if owner == "CORE" else desc)
                for owner, kind, desc in notes(path)]
    assert essence(dumped.vmcore) == essence(lab.core)


def test_the_adapter_is_named_for_what_it_is(dumped: Dumped) -> None:
    """A Python model is "simulated", QEMU's adapter "emulated"; neither is called hardware."""
    assert {"model": "simulated", "qemu": "emulated"}[dumped.backend] in dumped.dump_said
    assert "hardware" not in dumped.dump_said


def test_crash_says_the_same(dumped: Dumped, lab: Lab, reference: Reference, tmp_path: Path) -> None:
    """Line for line: system, backtrace, processes, log, modules, memory, and every task of the list."""
    theirs = reference(CRASH_COMMANDS)
    text = "\n".join(theirs)
    for word in ("PANIC:", "sysrq_handle_crash", "COMM", "Trigger a crash", "qemu_fw_cfg", "TOTAL MEM", "tmpfs"):
        assert word in text, f"the reference itself lacks {word!r}: the comparison would prove little"
    assert sum(re.fullmatch("f{4}[0-9a-f]{12}", line) is not None for line in theirs) > 40, "few tasks"
    ours = crash(lab.vmlinux, dumped.vmcore, CRASH_COMMANDS, tmp_path)
    differing = [pair for pair in zip(theirs, ours, strict=False) if pair[0] != pair[1]]
    assert not differing, f"{len(differing)} lines differ, first: {differing[0]}"
    assert len(ours) == len(theirs)


def makedumpfile_counts(core: Path, level: int, directory: Path) -> dict[str, int]:
    """How many pages makedumpfile finds of each kind."""
    argv = ["makedumpfile", "--dry-run", "--show-stats", "-d", str(level), str(core), "unwritten"]
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name.strip(): int(value, 16)
            for name, value in re.findall(r"^ *([A-Z][\w -]+?) +: (0x[0-9a-f]+)$", done.stdout, re.MULTILINE)}


@pytest.mark.parametrize("level", [0, 1, 31])
def test_makedumpfile_counts_the_same_pages(dumped: Dumped, lab: Lab, tools: Callable[..., None], level: int,
                                            tmp_path: Path) -> None:
    """Zero, cache, user and free pages: the same numbers as in the reference, at every level."""
    tools("makedumpfile")
    counts = makedumpfile_counts(dumped.vmcore, level, tmp_path)
    assert counts["Original pages"] == sum(load.size for load in loads(lab.core)) // 4096
    assert counts == makedumpfile_counts(lab.core, level, tmp_path)


def test_makedumpfile_refilters_it(dumped: Dumped, lab: Lab, tools: Callable[..., None], reference: Reference,
                                   tmp_path: Path) -> None:
    """`-d 31 -c` makes a kdump file that crash opens, with the same processes."""
    tools("makedumpfile")
    small = tmp_path / "vmcore.kdump"
    subprocess.run(["makedumpfile", "-d", "31", "-c", str(dumped.vmcore), str(small)], check=True,
                   capture_output=True)
    assert small.stat().st_size < dumped.vmcore.stat().st_size // 4
    theirs = reference(FILTERED_COMMANDS)
    ours = crash(lab.vmlinux, small, FILTERED_COMMANDS, tmp_path)
    # that line says [PARTIAL DUMP] for a filtered file
    assert [line for line in ours if "DUMPFILE:" not in line] == [
        line for line in theirs if "DUMPFILE:" not in line]


def test_gdb_opens_it(dumped: Dumped, lab: Lab, tools: Callable[..., None]) -> None:
    """As a core file: the registers of the CPU that crashed are the guest's."""
    tools("gdb")

    def registers(core: Path) -> list[str]:
        done = subprocess.run(["gdb", "-batch", "-nx", "-ex", "info files", "-ex", "info registers",
                               str(lab.vmlinux), str(core)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "Local core dump file:" in done.stdout
        assert re.search(r" is load\d+$", done.stdout, re.MULTILINE)
        return re.findall(r"^(?:r..?|r1\d|eflags|cs|ss) +0x.*$", done.stdout, re.MULTILINE)
    reference = registers(lab.core)
    assert len(reference) >= 18
    assert registers(dumped.vmcore) == reference


# The kernel's text is found through the page tables, the page tables through the kernel's text: of a core
# without virtual addresses, as the reference is, drgn 0.0.22 must be told one segment.  Our vmcore has it.
DRGN = """
import sys, drgn
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.pid import for_each_task
core, vmlinux = sys.argv[1:3]
prog = drgn.Program()
prog.set_core_dump(core)
if len(sys.argv) == 5:
    text, phys_base = int(sys.argv[3]), int(sys.argv[4])
    shift = phys_base - 0xffffffff80000000
    prog.add_memory_segment(text, 64 << 20, lambda address, count, offset, physical:
                            prog.read(text + offset + shift, count, True))
prog.load_debug_info([vmlinux])
print(prog["init_uts_ns"].name.release.string_().decode())
for task in for_each_task(prog):
    print(task.pid.value_(), task.comm.string_().decode(), hex(task.value_()))
for module in list_for_each_entry("struct module", prog["modules"].address_of_(), "list"):
    print(module.name.string_().decode(), module.state.format_())
"""


def test_drgn_opens_it(dumped: Dumped, lab: Lab, python3: Callable[..., str]) -> None:
    """Release, every task, every module: the same as from the reference."""
    info = next(desc for owner, _, desc in notes(lab.core) if owner == "VMCOREINFO").decode()
    text = int(re.findall(r"^SYMBOL\(_stext\)=(\w+)$", info, re.MULTILINE)[0], 16)
    phys_base = int(re.findall(r"^NUMBER\(phys_base\)=(-?\d+)$", info, re.MULTILINE)[0])
    reference = python3(DRGN, lab.core, lab.vmlinux, text, phys_base)
    assert reference.startswith(f"{lab.facts['kernel']}\n")
    assert re.search(r"^1 init 0x", reference, re.MULTILINE)
    assert "qemu_fw_cfg MODULE_STATE_LIVE" in reference.replace("(enum module_state)", "")
    assert python3(DRGN, dumped.vmcore, lab.vmlinux) == reference


KDUMPFILE = """
import sys, zlib, kdumpfile
core = kdumpfile.kdumpfile(sys.argv[1])
core.attr["addrxlat.ostype"] = "linux"
print(core.attr["arch.name"], core.attr["arch.page_size"], core.attr["max_pfn"], core.attr["cpu.number"])
print(core.attr["linux.uts.release"], core.attr["linux.uts.version"])
print(core.attr["linux.vmcoreinfo.lines.OSRELEASE"])
for paddr in (*range(0, 0xA0000, 0x10000), *range(0x100000, 0x1ff00000, 0x3f3000)):
    print(hex(paddr), zlib.crc32(core.read(kdumpfile.KDUMP_MACHPHYSADDR, paddr, 4096)))
"""


def test_libkdumpfile_opens_it(dumped: Dumped, lab: Lab, python3: Callable[..., str]) -> None:
    """Attributes and a sample of pages are those of the reference."""
    reference = python3(KDUMPFILE, lab.core)
    assert reference.startswith("x86_64 4096 131072 1\n")
    assert python3(KDUMPFILE, dumped.vmcore) == reference
