"""Parking a crashed machine's CPUs by the debugger's door, so that its clock can run and nothing else does.

QEMU's virtual clock stands still while the machine is paused, and with it everything in a device that waits for time.
A CPU that stands at a HLT with interrupts disabled does nothing for ever: with all of them there the machine may be let
go on.  No byte of memory is written for it; a HLT is found in the kernel's own text.

Protocol: GDB manual, Remote Serial Protocol; register numbers: QEMU gdb-xml/i386-64bit.xml (7.2).
"""

from __future__ import annotations

import socket

from .tools import LabError

ANSWER_LIMIT_S = 30.0
RIP, EFLAGS, CS = 16, 17, 18
_IF = 1 << 9
_HLT = 0xF4
_PAGE_BYTES = 4096
#: Pages looked at on either side of where a CPU stands; each has a HLT with 16 chances in 17.
_NEAR = 32


class GdbStub:
    """A client of QEMU's debugger port on a connected stream socket."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._socket.settimeout(ANSWER_LIMIT_S)
        self._buffer = b""

    def park_all(self) -> int:
        """Put every CPU at a HLT with interrupts off; how many there are.  LabError when one cannot be."""
        self.ask("qXfer:features:read:target.xml:0,ff")         # without it single registers are not to be had
        threads = self._threads()
        for thread in threads:
            if self.ask(f"Hg{thread}") != "OK":
                raise LabError(f"QEMU's debugger port has no CPU {thread}")
            self._park(thread)
        return len(threads)

    def ask(self, command: str) -> str:
        """The answer to one command, "" when QEMU does not know it; LabError when QEMU is gone or hangs."""
        data = command.encode()
        try:
            self._socket.sendall(b"$%s#%02x" % (data, sum(data) & 0xFF))
            while True:
                packet = self._packet()
                if packet[:1] not in (b"T", b"S"):      # it stopped, and says so: not what was asked
                    return packet.decode("latin-1")
        except TimeoutError:
            raise LabError(f"QEMU's debugger port gave no answer to {command!r} within {ANSWER_LIMIT_S:g} s") from None
        except OSError as error:
            raise LabError(f"QEMU's debugger port is gone at {command!r}: {error}") from None

    def close(self) -> None:
        """Hang up; QEMU lets the machine run then if it stood still because of us."""
        self._socket.close()

    def _threads(self) -> list[str]:
        found, more = list[str](), self.ask("qfThreadInfo")
        while more.startswith("m"):
            found += more[1:].split(",")
            more = self.ask("qsThreadInfo")
        if not found:
            raise LabError(f"QEMU's debugger port names no CPU: {more[:40]!r}")
        return found

    def _park(self, thread: str) -> None:
        if self._register(CS) & 3:
            raise LabError(f"CPU {thread} of the crashed machine runs a program: its kernel has not stopped it")
        rip, flags = self._register(RIP), self._register(EFLAGS)
        self._set(EFLAGS, flags & ~_IF, 4)
        self._set(RIP, self._find_halt(thread, rip), 8)

    def _find_halt(self, thread: str, rip: int) -> int:
        """The address of a HLT as near to *rip* as there is one."""
        page = rip & -_PAGE_BYTES
        for distance in range(_NEAR):
            for at in {page + distance * _PAGE_BYTES, page - distance * _PAGE_BYTES}:
                answer = self.ask(f"m{at:x},{_PAGE_BYTES // 2:x}") + self.ask(
                    f"m{at + _PAGE_BYTES // 2:x},{_PAGE_BYTES // 2:x}")
                try:
                    found = bytes.fromhex(answer).find(_HLT)
                except ValueError:
                    continue                            # E14: nothing is there
                if found >= 0:
                    return at + found
        raise LabError(f"CPU {thread} of the crashed machine stands at {rip:#x}, and no HLT is within {_NEAR} pages")

    def _register(self, number: int) -> int:
        answer = self.ask(f"p{number:x}")
        try:
            return int.from_bytes(bytes.fromhex(answer), "little")
        except ValueError:
            raise LabError(f"QEMU's debugger port does not give register {number}: {answer[:40]!r}") from None

    def _set(self, number: int, value: int, size: int) -> None:
        answer = self.ask(f"P{number:x}={value.to_bytes(size, 'little').hex()}")
        if answer != "OK":
            raise LabError(f"QEMU's debugger port does not take register {number}: {answer[:40]!r}")

    def _packet(self) -> bytes:
        """The body of the next packet, acknowledged."""
        while True:
            start = self._buffer.find(b"$")
            end = self._buffer.find(b"#", start + 1)
            if start >= 0 and 0 < end <= len(self._buffer) - 3:
                body, self._buffer = self._buffer[start + 1:end], self._buffer[end + 3:]
                self._socket.sendall(b"+")
                return body
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError("the connection was closed")
            self._buffer += data
