"""The qtest protocol: one text line a command, one line back.

Writes are posted, as on a PCI bus: the line goes out at once, its "OK" is collected before the next read.
Several commands that belong together go out in one write.  Protocol: QEMU docs/devel/qtest.rst (7.2).
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence

from ddsdk.errors import DeviceError

#: Posted writes whose answers may be outstanding; bounds the socket buffers on both sides.
POSTED_LIMIT = 256
#: Longest line QEMU may send: far above any answer this client asks for.
LINE_LIMIT_BYTES = 1 << 20
#: Bytes moved by one `read`/`write` line (two hex digits a byte).
CHUNK_BYTES = 16 << 10


class QTest:
    """A qtest client on a connected stream socket.

    *obituary* says in one line why QEMU is gone.  Every error is a DeviceError naming the command.  `irq_lines`:
    interrupt lines that are up, once `irq_intercept_in` was asked for; as fresh as the last answer.
    """

    __slots__ = ("_buffer", "_obituary", "_posted", "_socket", "_timeout_s", "irq_lines")

    def __init__(self, connected: socket.socket, obituary: Callable[[], str], *,
                 timeout_s: float = 30.0) -> None:
        self._socket = connected
        self._obituary = obituary
        self._buffer = b""
        self._posted: deque[bytes] = deque()
        self._timeout_s = 0.0
        self.irq_lines: set[int] = set()
        connected.setblocking(True)
        self.set_timeout(timeout_s)

    def set_timeout(self, timeout_s: float) -> None:
        """Bound every wait for QEMU.  The kernel keeps the time: Python's timeout costs a poll() a call."""
        self._timeout_s = timeout_s
        span = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1_000_000))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, option, span)

    # -- the three ways to talk ----------------------------------------------------------------------

    def post(self, line: bytes) -> None:
        """Send a command whose answer carries nothing (a write).  *line* ends with a newline."""
        posted = self._posted
        if len(posted) >= POSTED_LIMIT:
            self.flush()
        posted.append(line)
        self._send(line)

    def ask(self, line: bytes) -> bytes:
        """The answer to one command, without its "OK "."""
        self._send(line)
        if self._posted:
            self.flush()
        return self._answer(line)

    def batch(self, lines: Sequence[bytes]) -> list[bytes]:
        """The answers to several commands sent in one write."""
        if not lines:
            return []
        self._send(b"".join(lines))
        if self._posted:
            self.flush()
        return [self._answer(line) for line in lines]

    def flush(self) -> None:
        """Collect the answers of all posted writes; DeviceError when QEMU refused one."""
        posted = self._posted
        while posted:
            self._answer(posted.popleft())

    # -- in words of a program -----------------------------------------------------------------------

    def read_int(self, line: bytes) -> int:
        """`ask` for a command that answers with a number."""
        answer = self.ask(line)
        try:
            return int(answer, 16)
        except ValueError:
            raise DeviceError(f"qtest: QEMU answered {line.decode().strip()!r} with {answer[:80]!r}; "
                              f"a hexadecimal number was due") from None

    def read_memory(self, address: int, length: int) -> bytes:
        """*length* bytes of guest-physical memory as the CPU sees them."""
        pieces = [(address + at, min(CHUNK_BYTES, length - at)) for at in range(0, length, CHUNK_BYTES)]
        answers = [self.ask(b"read 0x%x 0x%x\n" % piece) for piece in pieces]
        return b"".join(bytes.fromhex(answer[2:].decode()) for answer in answers)

    def write_memory(self, address: int, data: bytes) -> None:
        """Store *data* in guest-physical memory as the CPU would."""
        for at in range(0, len(data), CHUNK_BYTES):
            piece = data[at:at + CHUNK_BYTES]
            self.ask(b"write 0x%x 0x%x 0x%s\n" % (address + at, len(piece), piece.hex().encode()))

    def close(self) -> None:
        """Hang up.  QEMU itself is the process's business."""
        self._socket.close()

    # -- the wire ------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(data, error) from None

    def _answer(self, asked: bytes) -> bytes:
        while True:
            end = self._buffer.find(b"\n")
            if end < 0:
                self._receive(asked)
                continue
            line, self._buffer = self._buffer[:end], self._buffer[end + 1:]
            if line.startswith(b"OK"):
                return line[3:]
            if line.startswith(b"IRQ "):
                self._note_line(line)           # unasked for, may stand between any two answers
                continue
            raise DeviceError(f"qtest: QEMU refused {asked.decode().strip()[:80]!r}: "
                              f"{line[:120].decode(errors='replace')}")

    def _note_line(self, line: bytes) -> None:
        """`IRQ raise N`, `IRQ lower N`."""
        _, what, number = line.split()
        if what == b"raise":
            self.irq_lines.add(int(number))
        else:
            self.irq_lines.discard(int(number))

    def _receive(self, asked: bytes) -> None:
        try:
            data = self._socket.recv(65536)
        except OSError as error:
            raise self._lost(asked, error) from None
        if not data:
            raise self._lost(asked, None)
        self._buffer += data
        if len(self._buffer) > LINE_LIMIT_BYTES:
            raise DeviceError(f"qtest: QEMU sent a line above {LINE_LIMIT_BYTES} bytes in answer to "
                              f"{asked.decode().strip()[:80]!r}; is that socket a qtest socket?")

    def _lost(self, asked: bytes, error: OSError | None) -> DeviceError:
        command = asked.split(b"\n")[0].decode()[:80]
        if isinstance(error, BlockingIOError | TimeoutError):
            return DeviceError(f"qtest: QEMU gave no answer to {command!r} within {self._timeout_s:g} s; "
                               f"it hangs, or the machine is overloaded")
        return DeviceError(f"qtest: QEMU is gone at {command!r}: {self._obituary()}")
