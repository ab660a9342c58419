"""What is asked of QEMU and of the guest's kernel, without either."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.errors import UsageError
from ddsdk.lab.crash import CrashSaid, complaint
from ddsdk.lab.guest import GuestSpec, memory_size, qemu_arguments
from ddsdk.lab.kernels import KernelTree
from ddsdk.lab.reference import pc_ram_ranges, without
from ddsdk.vmcore.raw import pc_layout

MIB, GIB = 1 << 20, 1 << 30
TREE = KernelTree("6.1", Path("/k"), Path("/k/vmlinux"))


def test_the_kernel_is_told_what_to_leave_alone_and_when_to_crash() -> None:
    """The reserve lies below the firmware's tables at the top of memory."""
    spec = GuestSpec(TREE, 512 * MIB, load="sda", crash_us=1234, reserved_bytes=8 * MIB)
    assert spec.reserved_paddr == 0x1F00_0000
    assert "memmap=8192K$0x1f000000 ddsdk.load=sda ddsdk.crash_us=1234" in spec.kernel_args
    assert "unknown_nmi_panic" in spec.kernel_args
    assert GuestSpec(TREE, crash_us=None).kernel_args.endswith("ddsdk.crash_us=never ddsdk.fill=0")
    assert GuestSpec(TREE, swap="sdb", swap_pages=7).kernel_args.endswith(" ddsdk.swap=sdb ddsdk.swap_pages=7")


def test_the_reserve_of_a_large_guest_lies_below_its_hole() -> None:
    """Where 32-bit adapters reach it."""
    assert GuestSpec(TREE, 6 * GIB).reserved_paddr == 0xBF00_0000


def test_the_machine_has_its_memory_in_a_file_and_stops_in_its_panic() -> None:
    """And the devices it was asked for, before those of the lab: their places on the bus come first."""
    arguments = qemu_arguments(GuestSpec(TREE, 256 * MIB, 2, ("-device", "hba")), Path("/i.gz"), Path("/s"), 7, 8, 9)
    said = " ".join(arguments)
    assert "-m 256M -object memory-backend-file,id=ram,size=268435456,mem-path=/proc/self/fd/7,share=on" in said
    assert "-action panic=pause" in said
    assert "-kernel /k/boot/vmlinuz-6.1 -initrd /i.gz" in said
    assert arguments.index("hba") < arguments.index("pvpanic-pci")


@pytest.mark.parametrize(("text", "size"), [("128M", 128 * MIB), ("512M", 512 * MIB), ("4GiB", 4 * GIB)])
def test_memory_sizes(text: str, size: int) -> None:
    """As people type them."""
    assert memory_size(text) == size


@pytest.mark.parametrize("text", ["64M", "129M", "1T", "0", "synthetic:64M", "-1"])
def test_memory_that_no_guest_has(text: str) -> None:
    """One line."""
    with pytest.raises(UsageError, match="memory "):
        memory_size(text)


@pytest.mark.parametrize("size", [128 * MIB, 3 * GIB, 0xE000_0000 - 2 * MIB, 0xE000_0000, 4 * GIB, 8 * GIB])
def test_two_who_know_where_a_pc_has_its_memory_agree(size: int) -> None:
    """The reference, which uses nothing of ddsdk.vmcore, and the reader of raw images: both sides of 3.5 GiB."""
    assert pc_ram_ranges(size) == [(paddr, length, offset) for paddr, offset, length in pc_layout(size)]


def test_a_hole_is_cut_out_of_the_reference() -> None:
    """Offsets go along."""
    assert without([(0, 100, 0), (200, 100, 50)], (220, 30)) == [(0, 100, 0), (200, 20, 50), (250, 50, 100)]
    assert without([(0, 100, 0)], (0, 10)) == [(10, 90, 10)]


def test_requests_in_flight_are_those_crash_counts() -> None:
    """The sum over the disks; None when crash printed no such table."""
    said = ("MAJOR GENDISK            NAME       REQUEST_QUEUE      TOTAL  READ WRITE ",
            "    8 ffff8af5d6903000   sda        ffff8af5d7806000       3     1     2 ",
            "    8 ffff8af5d6902c00   sdb        ffff8af5d7806b58       1     0     1 ")
    assert CrashSaid(said).in_flight == 4
    assert CrashSaid(("dev: -d option not supported",)).in_flight is None


def test_where_it_happened_and_why_are_read_off_crashs_lines() -> None:
    """PANIC of `sys`, the exception frame of `bt`."""
    said = CrashSaid(('       PANIC: "Kernel panic - not syncing: NMI: Not continuing"', " #0 [f] panic at f",
                      "    [exception RIP: some_irq_handler+115]"))
    assert (said.panic, said.where) == ('"Kernel panic - not syncing: NMI: Not continuing"', "some_irq_handler+115")
    assert (CrashSaid(()).panic, CrashSaid(()).where) == ("", "")
    assert CrashSaid(("    [exception RIP: unknown or invalid address]",)).where == "", "a program, not the kernel"
    assert CrashSaid(("    [exception RIP: f.cold+3]",)).where == "f.cold+3"


def test_lines_of_crash_are_compared_one_by_one() -> None:
    """A line that differs, one that is missing, and giving up where the other does not."""
    reference = CrashSaid(("a", "b", "c"))
    assert reference.differing(CrashSaid(("a", "b", "c"))) == 0
    assert reference.differing(CrashSaid(("a", "B", "c"))) == 1
    assert reference.differing(CrashSaid(("a",))) == 2
    assert reference.differing(CrashSaid(("a", "b", "c"), "status 1: bt: no")) == 1
    assert CrashSaid(("a",), "status 1: bt: no").differing(CrashSaid(("a",), "status 1: bt: no")) == 0


def test_a_crash_that_gives_up_is_quoted() -> None:
    """The command and its complaint, not where in crash it was, in addresses that change."""
    said = ("PID: 1\n\nbt: invalid structure member offset: mm_struct_mmap\n"
            "    FILE: memory.c  LINE: 4672  FUNCTION: vm_area_dump()\n\n"
            "[/usr/bin/crash] error trace: 557bd9ceab00 => 557bd9ce8749\n")
    assert complaint(said) == "bt: invalid structure member offset: mm_struct_mmap"
    assert complaint("") == "it said nothing"
