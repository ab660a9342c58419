"""The lab itself: the guest panicked, and its reference core is what the real tools want."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.real.conftest import Lab
from tests.real.cores import PAGE_BYTES, crash, loads, memory, notes

pytestmark = pytest.mark.real


def test_the_guest_panicked(lab: Lab) -> None:
    """The kernel's own words, with disks being busy before."""
    said = lab.serial.read_text(errors="replace")
    assert "Kernel panic - not syncing: sysrq triggered crash" in said
    assert said.index("LAB load on /dev/sd") < said.index("LAB crash now") < said.index("Kernel panic")
    assert "survived" not in said


def test_the_core_is_well_formed(lab: Lab) -> None:
    """Program headers at byte 64, one PT_NOTE first, page-aligned PT_LOADs with p_align 0, no sections."""
    with lab.core.open("rb") as file:
        elf = ELFFile(file)
        segments = [segment.header for segment in elf.iter_segments()]
        assert (elf.header.e_phoff, elf.header.e_shnum, elf.header.e_shoff) == (64, 0, 0)
    assert [header.p_type for header in segments] == ["PT_NOTE"] + ["PT_LOAD"] * (len(segments) - 1)
    assert {header.p_align for header in segments} == {0}
    assert all(header.p_offset % PAGE_BYTES == header.p_paddr % PAGE_BYTES == 0 for header in segments[1:])


def test_the_notes_are_one_register_set_a_cpu_and_vmcoreinfo(lab: Lab) -> None:
    """QEMU's own per-CPU notes are gone: crash dies of them."""
    found, cpus = notes(lab.core), int(str(lab.facts["cpus"]))
    assert [(owner, len(desc)) for owner, _, desc in found[:-1]] == [("CORE", 336)] * cpus
    owner, _, text = found[-1]
    assert owner == "VMCOREINFO"
    assert f"OSRELEASE={lab.facts['kernel']}\n".encode() in text


def test_the_core_holds_all_ram_the_kernel_knows(lab: Lab) -> None:
    """Every "System RAM" range of the guest's /proc/iomem is there; video memory is not."""
    segments = loads(lab.core)
    said = lab.serial.read_text(errors="replace")
    listing = re.findall(r"^([0-9a-f]{8,})-([0-9a-f]{8,}) : System RAM$", said, re.MULTILINE)
    assert len(listing) >= 3
    for start, last in ((int(a, 16), int(b, 16)) for a, b in listing):
        assert any(s.paddr <= start and last < s.paddr + s.size for s in segments), f"{start:#x}-{last:#x}"
    assert not any(s.paddr < 0xC0000 and s.paddr + s.size > 0xA0000 for s in segments)


def test_the_core_is_the_ram_file(lab: Lab) -> None:
    """Byte for byte, at the offset equal to the physical address."""
    with lab.ram.open("rb") as ram:
        for paddr, data in memory(lab.core, loads(lab.core)):
            ram.seek(paddr)
            assert ram.read(len(data)) == data, f"1 MiB at {paddr:#x}"


def test_crash_opens_the_reference(lab: Lab, tools: Callable[..., None], tmp_path: Path) -> None:
    """Symbols and memory belong together: the panic and its task are found."""
    tools("crash")
    said = crash(lab.vmlinux, lab.core, ["sys", "bt"], tmp_path)
    assert any(line.strip() == 'PANIC: "Kernel panic - not syncing: sysrq triggered crash"' for line in said)
    assert any("sysrq_handle_crash" in line for line in said)
