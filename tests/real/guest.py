#!/usr/bin/env python3
"""Make a Linux that really panicked: `guest.py OUT` leaves ram.img, vm.elf, vmlinux and serial.log in OUT.

A Debian kernel boots under QEMU (TCG, no KVM needed) with its RAM in a file, keeps its disks busy, and is
crashed by sysrq-c; pvpanic stops the machine at that instant.  vm.elf is the well-formed ELF core of the
file.  Run again with the same arguments it finds its work done.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:           # run as a script: the repository is not on the path yet
    sys.path.insert(0, str(ROOT))

from ddsdk.errors import DdsdkError  # noqa: E402 - needs the path above
from ddsdk.lab import debian  # noqa: E402 - needs the path above
from ddsdk.lab.guest import TOOLS, GuestSpec, booted, memory_size  # noqa: E402 - needs the path above
from ddsdk.lab.kernels import pci_alias  # noqa: E402 - needs the path above
from ddsdk.lab.reference import write_reference_elf  # noqa: E402 - needs the path above
from ddsdk.lab.tools import need_tools  # noqa: E402 - needs the path above

OUTPUTS = ("ram.img", "vm.elf", "vmlinux", "serial.log")
DISK_BYTES = 64 << 20
PANIC_LIMIT_S = 300.0
#: One SCSI and one IDE disk; a kernel that has not got the driver of one is busy with the other alone.
DISKS = ("-drive", "file={scratch}/scsi.img,format=raw,if=none,id=d0", "-device", "lsi53c895a,id=scsi0",
         "-device", "scsi-hd,drive=d0,bus=scsi0.0",
         "-drive", "file={scratch}/ide.img,format=raw,if=none,id=d1", "-device", "ide-hd,drive=d1,bus=ide.0")
MODULES = (pci_alias(0x1000, 0x0012), pci_alias(0x8086, 0x7010))


def make_guest(out: Path, flavour: str, size: int, cpus: int) -> None:
    """Fill *out*; every file appears under its name only when it is whole, lab.json last."""
    need_tools(TOOLS)
    tree = debian.kernel(flavour)
    spec = GuestSpec(tree, size, cpus, modules=MODULES)
    facts = {"kernel": tree.version, "memory_bytes": size, "cpus": cpus,
             "reserved_paddr": spec.reserved_paddr, "reserved_bytes": spec.reserved_bytes}
    if _already_made(out, facts):
        return
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=out) as temporary:
        scratch = Path(temporary)
        devices = tuple(argument.format(scratch=scratch) for argument in DISKS)
        for name, length in (("scsi.img", DISK_BYTES), ("ide.img", DISK_BYTES), ("ram.img", size)):
            with (scratch / name).open("wb") as file:
                file.truncate(length)
        with (scratch / "ram.img").open("r+b") as ram, \
                booted(GuestSpec(tree, size, cpus, devices, MODULES), scratch, ram) as guest:
            guest.wait_for_panic(PANIC_LIMIT_S)
            write_reference_elf(scratch / "vm.elf", scratch / "ram.img", guest.notes(scratch))
        _link_or_copy(tree.vmlinux, scratch / "vmlinux")
        (out / "lab.json").unlink(missing_ok=True)
        for name in OUTPUTS:
            (scratch / name).replace(out / name)
        (out / "lab.json").write_text(json.dumps(facts, indent=1) + "\n")


def _already_made(out: Path, facts: dict[str, object]) -> bool:
    try:
        made = json.loads((out / "lab.json").read_text())
    except (OSError, ValueError):
        return False
    return made == facts and all((out / name).exists() for name in OUTPUTS)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _memory(text: str) -> int:
    try:
        return memory_size(text)
    except DdsdkError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(argv: list[str] | None = None) -> int:
    """Command line; 0 done, 1 with one line on stderr when something is missing or failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--kernel", choices=sorted(debian.META_PACKAGES), default="cloud")
    parser.add_argument("--memory", type=_memory, default="512M", metavar="512M")
    parser.add_argument("--cpus", type=int, choices=range(1, 17), default=1, metavar="1..16")
    wanted = parser.parse_args(argv)
    try:
        make_guest(wanted.out, wanted.kernel, wanted.memory, wanted.cpus)
    except (DdsdkError, OSError) as error:
        print(f"guest.py: {error}", file=sys.stderr)
        return 1
    print(f"{wanted.out}: {', '.join(OUTPUTS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
