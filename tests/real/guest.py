#!/usr/bin/env python3
"""Make a Linux that really panicked: `guest.py OUT` leaves ram.img, vm.elf, vmlinux and serial.log in OUT.

A Debian kernel boots under QEMU (TCG, no KVM needed) with its RAM in a file, keeps its disks busy, and is
crashed by sysrq-c; pvpanic stops the machine at that instant.  vm.elf is the well-formed ELF core of the
file.  Run again with the same arguments it finds its work done.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:           # run as a script: the repository is not on the path yet
    sys.path.insert(0, str(ROOT))

from ddsdk.qemu.spawn import last_words, spawn_bound_to_parent  # noqa: E402 - needs the path above
from tests.real import initramfs, kernels, refcore  # noqa: E402 - needs the path above
from tests.real.kernels import LabError  # noqa: E402 - needs the path above

QEMU = "qemu-system-x86_64"
OUTPUTS = ("ram.img", "vm.elf", "vmlinux", "serial.log")
BOOT_LIMIT_S = 300.0
RESERVED_BYTES = 4 << 20
RESERVED_BELOW_TOP_BYTES = 16 << 20


class Qmp:
    """The few QMP commands the lab needs, one at a time."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes], errors: IO[bytes],
                 deadline: float) -> None:
        self.errors = errors
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise LabError(f"QEMU did not start: {last_words(errors, QEMU)}") from None
                time.sleep(0.02)
        self.lines = self.socket.makefile("r")
        self.socket.settimeout(120)
        json.loads(self.lines.readline())
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: object) -> Any:
        """The `return` of *command*; LabError with QEMU's own words when it refuses."""
        request = {"execute": command, **({"arguments": arguments} if arguments else {})}
        try:
            self.socket.sendall(json.dumps(request).encode() + b"\n")
            while line := self.lines.readline():
                answer = json.loads(line)
                if "error" in answer:
                    raise LabError(f"QEMU refused {command}: {answer['error']['desc']}")
                if "return" in answer:
                    return answer["return"]
        except OSError as error:
            raise LabError(f"QEMU stopped answering at {command}: {error}") from None
        raise LabError(f"QEMU ended at {command}: {last_words(self.errors, QEMU)}")


def memory_size(text: str) -> int:
    """`512M`, `4G` -> bytes; argparse error when it is not a multiple of 2 MiB from 128 MiB on."""
    found = re.fullmatch(r"(\d+)([MG])", text)
    size = int(found[1]) << {"M": 20, "G": 30}[found[2]] if found else 0
    if size < 128 << 20 or size % (2 << 20):
        raise argparse.ArgumentTypeError(f"{text!r}: say 128M or more, in steps of 2M, as 512M or 4G")
    return size


def reserved_address(size_bytes: int) -> int:
    """Where the 4 MiB lie that the guest's kernel never touches: 16 MiB below the top of low memory."""
    low = refcore.pc_ram_ranges(size_bytes)[1]
    return low[0] + low[1] - RESERVED_BELOW_TOP_BYTES


def qemu_command(tree: kernels.KernelTree, initrd: Path, scratch: Path, size: int, cpus: int) -> list[str]:
    """The machine: RAM in a file, a vmcoreinfo device, pvpanic that pauses, one SCSI and one IDE disk."""
    kernel_args = (f"console=ttyS0 panic=0 oops=panic quiet loglevel=7 "
                   f"memmap={RESERVED_BYTES >> 20}M$0x{reserved_address(size):x}")
    return [
        QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-accel", "tcg", "-machine", "pc,memory-backend=ram,vmport=off", "-smp", str(cpus),
        "-m", f"{size >> 20}M",
        "-object", f"memory-backend-file,id=ram,size={size >> 20}M,mem-path={scratch}/ram.img,share=on",
        "-serial", f"file:{scratch}/serial.log", "-qmp", f"unix:{scratch}/qmp,server=on,wait=off",
        "-device", "vmcoreinfo", "-device", "pvpanic-pci", "-action", "panic=pause",
        "-drive", f"file={scratch}/scsi.img,format=raw,if=none,id=d0", "-device", "lsi53c895a,id=scsi0",
        "-device", "scsi-hd,drive=d0,bus=scsi0.0",
        "-drive", f"file={scratch}/ide.img,format=raw,if=none,id=d1", "-device", "ide-hd,drive=d1,bus=ide.0",
        "-kernel", str(tree.vmlinuz), "-initrd", str(initrd), "-append", kernel_args,
    ]


def wait_for_panic(qmp: Qmp, serial: Path, deadline: float) -> None:
    """Return when the guest stands still in its panic; LabError with its last line when it does not."""
    while (status := qmp("query-status")["status"]) != "guest-panicked":
        if status != "running" or time.monotonic() > deadline:
            lines = serial.read_text(errors="replace").strip().splitlines() or ["(nothing)"]
            raise LabError(f"the guest did not panic within {BOOT_LIMIT_S:.0f} s ({status}); "
                           f"its last line: {lines[-1]}")
        time.sleep(0.1)


@contextlib.contextmanager
def panicked_guest(tree: kernels.KernelTree, scratch: Path, size: int, cpus: int) -> Iterator[Qmp]:
    """A guest that panicked, paused, its RAM in scratch/ram.img; killed on the way out."""
    initrd = initramfs.build(tree, scratch)
    for name in ("scsi.img", "ide.img"):
        with (scratch / name).open("wb") as disk:
            disk.truncate(64 << 20)
    deadline = time.monotonic() + BOOT_LIMIT_S
    with tempfile.TemporaryFile() as errors:
        process = spawn_bound_to_parent(qemu_command(tree, initrd, scratch, size, cpus), stderr=errors)
        try:
            qmp = Qmp(scratch / "qmp", process, errors, deadline)
            wait_for_panic(qmp, scratch / "serial.log", deadline)
            yield qmp
        finally:
            process.kill()
            process.wait()


def make_guest(out: Path, flavour: str, size: int, cpus: int) -> None:
    """Fill *out*; every file appears under its name only when it is whole, lab.json last."""
    kernels.need_tools([QEMU, "busybox", "cpio", "gzip", "modprobe"])
    tree = kernels.kernel(flavour)
    facts = {"kernel": tree.version, "memory_bytes": size, "cpus": cpus,
             "reserved_paddr": reserved_address(size), "reserved_bytes": RESERVED_BYTES}
    if _already_made(out, facts):
        return
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=out) as temporary:
        scratch = Path(temporary)
        with panicked_guest(tree, scratch, size, cpus) as qmp:
            # a few pages are enough: only its notes are wanted, the memory is in the file already
            qmp("dump-guest-memory", paging=False, protocol=f"file:{scratch}/qemu.elf", format="elf",
                begin=0, length=refcore.PAGE_BYTES)
        notes = refcore.notes_of_qemu_elf(scratch / "qemu.elf")
        refcore.write_reference_elf(scratch / "vm.elf", scratch / "ram.img", notes)
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


def main(argv: list[str] | None = None) -> int:
    """Command line; 0 done, 1 with one line on stderr when something is missing or failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--kernel", choices=sorted(kernels.META_PACKAGES), default="cloud")
    parser.add_argument("--memory", type=memory_size, default=memory_size("512M"), metavar="512M")
    parser.add_argument("--cpus", type=int, choices=range(1, 17), default=1, metavar="1..16")
    wanted = parser.parse_args(argv)
    try:
        make_guest(wanted.out, wanted.kernel, wanted.memory, wanted.cpus)
    except (LabError, OSError) as error:
        print(f"guest.py: {error}", file=sys.stderr)
        return 1
    print(f"{wanted.out}: {', '.join(OUTPUTS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
