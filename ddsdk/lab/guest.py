"""One Linux under QEMU, from its boot to the instant it stands still in its panic.

No KVM is needed: TCG boots it in seconds.  Its RAM is a file that other processes may map, a pvpanic device pauses the
machine inside the panic, a vmcoreinfo device hands the kernel's VMCOREINFO over, a qtest socket reaches its hardware,
then and later, a debugger port its CPUs.  RAM, sockets and error log travel as open files; what is left behind is the
caller's.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from attrs import frozen

from ddsdk.errors import UsageError
from ddsdk.qemu.process import PROGRAM, QemuProcess
from ddsdk.sizes import parse_size

from . import initramfs
from .gdbstub import GdbStub
from .kernels import KernelTree
from .qmp import Qmp
from .reference import PAGE_BYTES, Note, notes_of_qemu_elf, pc_ram_ranges
from .tools import LabError, need_tools

TOOLS = (PROGRAM, *initramfs.PROGRAMS)
BOOT_LIMIT_S = 300.0
#: From the order to panic to the machine standing still.
PANIC_LIMIT_S = 60.0
LOOK_EVERY_S = 0.05
#: Memory the kernel never touches lies so far below the top of low memory; firmware has its tables above.
RESERVED_BELOW_TOP_BYTES = 16 << 20
MEMORY_MIN_BYTES = 128 << 20
MEMORY_MAX_BYTES = 64 << 30
MEMORY_STEP_BYTES = 2 << 20


def memory_size(text: str) -> int:
    """`512M`, `4G` in bytes; UsageError when a guest cannot have so much or so little."""
    size = parse_size(text, "memory")
    if not MEMORY_MIN_BYTES <= size <= MEMORY_MAX_BYTES or size % MEMORY_STEP_BYTES:
        raise UsageError(f"memory {text!r}: a guest has 128M to 64G, in steps of 2M, as 512M or 4G")
    return size


@frozen
class GuestSpec:
    """What to boot and how to break it.

    `devices`: QEMU arguments for adapters and disks, `modules`: names or aliases of what drives them.  `load`: disks
    to be busy with, below /dev.  `crash_us`: when it crashes by sysrq-c, after the load began; None: not by itself.
    `fill_mib`: memory that it fills with text, code and noise before.  `task`: a disk, below /dev, with a tar archive;
    its script `task` is run and nothing else happens.  `swap`: a disk, below /dev, with a swap area for it to use;
    `swap_pages`: how many numbered pages it writes, so that some are paged out.
    """

    tree: KernelTree
    memory_bytes: int = 512 << 20
    cpus: int = 1
    devices: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    load: str = "sd?"
    crash_us: int | None = 2_000_000
    reserved_bytes: int = 4 << 20
    fill_mib: int = 0
    task: str = ""
    swap: str = ""
    swap_pages: int = 0

    @property
    def reserved_paddr(self) -> int:
        """Where the `reserved_bytes` are that the kernel never touches."""
        start, size, _ = pc_ram_ranges(self.memory_bytes)[1]
        return start + size - RESERVED_BELOW_TOP_BYTES

    @property
    def kernel_args(self) -> str:
        """The kernel's command line.  An NMI that nobody expects is a panic too."""
        crash = "never" if self.crash_us is None else self.crash_us
        task = f" ddsdk.task={self.task}" if self.task else ""
        return (f"console=ttyS0 panic=0 oops=panic unknown_nmi_panic quiet loglevel=7 "
                f"memmap={self.reserved_bytes >> 10}K$0x{self.reserved_paddr:x} "
                f"ddsdk.load={self.load} ddsdk.crash_us={crash} ddsdk.fill={self.fill_mib}{task}"
                + (f" ddsdk.swap={self.swap} ddsdk.swap_pages={self.swap_pages}" if self.swap else ""))


@frozen(eq=False)
class RunningGuest:
    """The guest while its QEMU lives.  `ram` is its memory; below 3 GiB file offset = physical address."""

    spec: GuestSpec
    ram: IO[bytes]
    serial: Path
    qemu: QemuProcess
    qmp: Qmp
    gdb: GdbStub

    def wait_for_load(self) -> None:
        """Return when the disks are busy.  LabError: no disk was found, or it took too long."""
        self._wait(BOOT_LIMIT_S, "come up", lambda: initramfs.LOADED in self._said())
        if initramfs.NO_DISK in self._said():
            raise LabError(f"the guest's Linux {self.spec.tree.version} found no disk /dev/{self.spec.load} to be busy"
                           " with: its own driver does not get along with QEMU's adapter")

    def wait_for_task(self, limit_s: float) -> None:
        """Return when the script on the task's disk has ended well; LabError when it did not, in time or at all."""
        self._wait(limit_s, "end its task", lambda: initramfs.TASK_ENDED in self._said())
        status = self._said().partition(initramfs.TASK_ENDED)[2].split()[0]
        if status != "0":
            raise LabError(f"the guest's task ended with status {status}; see {self.serial}")

    def wait_for_panic(self, limit_s: float = PANIC_LIMIT_S) -> None:
        """Return when the machine stands still in its panic."""
        self._wait(limit_s, "panic", lambda: self.qmp("query-status")["status"] == "guest-panicked")

    def inject_nmi(self) -> None:
        """Press the NMI button, wherever the kernel is."""
        self.qmp("inject-nmi")

    def let_time_pass(self) -> None:
        """After the panic: park the CPUs, and let the clock that devices wait by run again.

        The adapter's former owner must have been taken off it before, or it goes on with what that one wanted.
        """
        self.gdb.park_all()
        self.qmp("cont")

    def slow_down(self, drive: str, requests_a_second: int) -> None:
        """Let *drive* (its QEMU id) take so many requests a second; 0: as many as come."""
        self.qmp("block_set_io_throttle", device=drive, bps=0, bps_rd=0, bps_wr=0, iops=requests_a_second, iops_rd=0,
                 iops_wr=0)

    def notes(self, scratch: Path) -> list[Note]:
        """Registers of each CPU and VMCOREINFO, as QEMU has them; *scratch* is a directory to write to."""
        path = scratch / "qemu.elf"
        # a page is enough: only the notes are wanted, the memory is in the file already
        self.qmp("dump-guest-memory", paging=False, protocol=f"file:{path}", format="elf", begin=0, length=PAGE_BYTES)
        try:
            return notes_of_qemu_elf(path)
        finally:
            path.unlink(missing_ok=True)

    def _wait(self, limit_s: float, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + limit_s
        while not done():
            status = self.qmp("query-status")["status"]
            if status != "running" and not done():
                raise LabError(f"the guest did not {what}, its machine is {status}; its last line: {self._last_line()}")
            if time.monotonic() > deadline:
                raise LabError(f"the guest did not {what} within {limit_s:.0f} s; its last line: {self._last_line()}")
            time.sleep(LOOK_EVERY_S)

    def _said(self) -> str:
        return self.serial.read_text(errors="replace")

    def _last_line(self) -> str:
        return (self._said().strip().splitlines() or ["(nothing)"])[-1]


@contextlib.contextmanager
def booted(spec: GuestSpec, scratch: Path, ram: IO[bytes], *, program: str = PROGRAM) -> Iterator[RunningGuest]:
    """Boot *spec* with its memory in *ram*, a file of that size; ended on the way out.

    *scratch* gets `serial.log` and the initramfs.  LabError when a tool is missing.
    """
    need_tools([program, *initramfs.PROGRAMS])
    initrd = initramfs.build(spec.tree, spec.modules, scratch)
    serial = scratch / "serial.log"
    serial.touch()
    with contextlib.ExitStack() as stack:
        qmp_socket, their_qmp = (stack.enter_context(end) for end in socket.socketpair())
        gdb_socket, their_gdb = (stack.enter_context(end) for end in socket.socketpair())
        fds = (ram.fileno(), their_qmp.fileno(), their_gdb.fileno())
        qemu = stack.enter_context(
            QemuProcess.launch(qemu_arguments(spec, initrd, serial, *fds), fds, program=program))
        for theirs in (their_qmp, their_gdb):
            theirs.close()              # ours must read end-of-file when QEMU dies
        qmp = Qmp(qmp_socket, qemu.obituary)
        stack.callback(qmp.close)
        yield RunningGuest(spec, ram, serial, qemu, qmp, GdbStub(gdb_socket))


def qemu_arguments(spec: GuestSpec, initrd: Path, serial: Path, ram_fd: int, qmp_fd: int, gdb_fd: int) -> list[str]:
    """The machine: RAM in a file, a vmcoreinfo device, pvpanic that pauses, and *spec*'s devices."""
    size = spec.memory_bytes
    return [
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-accel", "tcg", "-machine", "pc,memory-backend=ram,vmport=off", "-smp", str(spec.cpus),
        "-m", f"{size >> 20}M",
        "-object", f"memory-backend-file,id=ram,size={size},mem-path=/proc/self/fd/{ram_fd},share=on",
        "-serial", f"file:{serial}",
        "-chardev", f"socket,id=qmp,fd={qmp_fd}", "-mon", "chardev=qmp,mode=control",
        "-chardev", f"socket,id=gdb,fd={gdb_fd}", "-gdb", "chardev:gdb",
        *spec.devices,
        "-device", "vmcoreinfo", "-device", "pvpanic-pci", "-action", "panic=pause",
        "-kernel", str(spec.tree.vmlinuz), "-initrd", str(initrd), "-append", spec.kernel_args,
    ]
