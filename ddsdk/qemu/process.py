"""One QEMU process: a parked CPU, the shared RAM, some devices, and a qtest socket.

Everything it is given travels as an open file: RAM, boot ROM, socket and error log have no names, so nothing
is left in a file system however either side ends, and QEMU dies with us (`ddsdk.qemu.spawn`).
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Self

from ddsdk.errors import DeviceError

from .qtest import QTest
from .ram import SharedRam
from .spawn import last_words, spawn_bound_to_parent

PROGRAM = "qemu-system-x86_64"
ROM_BYTES = 64 << 10
#: The reset vector, 16 bytes below the end of the ROM: cli; hlt; jmp back to the hlt.
PARKED_CPU = bytes((0xFA, 0xF4, 0xEB, 0xFD))
ANSWER_LIMIT_S = 30.0
_RESET_CONTROL = 0xCF9
EXIT_LIMIT_S = 5.0


def option_value(text: str) -> str:
    """*text* as a value in a QEMU option list, where a comma must be doubled."""
    return text.replace(",", ",,")


class QemuProcess:
    """A running QEMU.  Use as a context manager, or call `close()`.

    A `pc` with TCG (its virtual clock runs, no KVM needed), no default devices, no display, no network.
    """

    __slots__ = ("_errors", "_process", "qtest")

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes], connected: socket.socket,
                 timeout_s: float) -> None:
        self._process = process
        self._errors = errors
        self.qtest = QTest(connected, self.obituary, timeout_s=timeout_s)

    @classmethod
    def start(cls, ram: SharedRam, devices: Sequence[str], *, timeout_s: float = 20.0,
              program: str = PROGRAM) -> Self:
        """Start QEMU on *ram* with *devices* (ready-made arguments); returns once it answers.

        DeviceError in one line: QEMU missing, refusing an argument, or silent for *timeout_s*.
        """
        with tempfile.TemporaryFile() as rom:
            rom.write(PARKED_CPU.rjust(ROM_BYTES - 12, b"\xff").ljust(ROM_BYTES, b"\xff"))
            rom.flush()
            fds = (ram.file.fileno(), rom.fileno())
            return cls.launch([*_machine_arguments(ram.layout.size, *fds), *devices], fds, timeout_s=timeout_s,
                              program=program)

    @classmethod
    def launch(cls, arguments: Sequence[str], fds: Sequence[int], *, timeout_s: float = 20.0,
               program: str = PROGRAM) -> Self:
        """Start QEMU with *arguments* and a qtest socket; *fds* stay open in it under their numbers."""
        if shutil.which(program) is None:
            raise DeviceError(f"{program} not found: the qemu backend needs it on PATH; install QEMU's x86 "
                              f"emulator (Debian: apt-get install qemu-system-x86), or use backend=model")
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as on_failure, theirs:
            on_failure.callback(ours.close)
            errors = on_failure.enter_context(tempfile.TemporaryFile())
            argv = [program, *arguments, *_qtest_arguments(theirs.fileno())]
            process = spawn_bound_to_parent(argv, stderr=errors, pass_fds=(*fds, theirs.fileno()))
            qemu = cls(process, errors, ours, timeout_s)
            on_failure.callback(qemu.close)
            theirs.close()              # ours must read end-of-file when QEMU dies
            qemu.qtest.ask(b"inb 0x80\n")
            qemu.qtest.set_timeout(ANSWER_LIMIT_S)
            on_failure.pop_all()
        return qemu

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def obituary(self) -> str:
        """Why QEMU is gone, in one line."""
        try:
            status = self._process.wait(EXIT_LIMIT_S)
        except subprocess.TimeoutExpired:
            return f"process {self.pid} hung up but lives"
        ending = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return f"{ending}; its last words: {last_words(self._errors, PROGRAM)}"

    def reset(self) -> None:
        """Hard reset of the machine, by the PIIX3's reset control register (82371SB data sheet, 2.4.5 RC)."""
        self.qtest.ask(b"outb 0x%x 0x2\n" % _RESET_CONTROL)
        self.qtest.ask(b"outb 0x%x 0x6\n" % _RESET_CONTROL)

    def close(self) -> None:
        """End QEMU: politely first, so that it closes its disk images, then not."""
        self.qtest.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(EXIT_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _value: BaseException | None,
                 _trace: TracebackType | None) -> None:
        self.close()


def _machine_arguments(ram_bytes: int, ram_fd: int, rom_fd: int) -> list[str]:
    return [
        "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg",
        "-machine", "pc,memory-backend=ram,usb=off,vmport=off,hpet=off,graphics=off,acpi=off",
        "-m", f"{ram_bytes >> 20}M",
        "-object", f"memory-backend-file,id=ram,size={ram_bytes},mem-path=/proc/self/fd/{ram_fd},share=on",
        "-bios", f"/proc/self/fd/{rom_fd}",
    ]


def _qtest_arguments(qtest_fd: int) -> list[str]:
    return ["-chardev", f"socket,id=qtest,fd={qtest_fd}", "-object", "qtest,id=qtest0,chardev=qtest,log=none"]
