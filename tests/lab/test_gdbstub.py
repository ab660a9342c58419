"""Parking CPUs by the debugger's door, against a QEMU that is a table."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from ddsdk.lab.gdbstub import GdbStub
from ddsdk.lab.tools import LabError

#: A CPU in its kernel: (rip, eflags, cs).
KERNEL = (0xFFFF_FFFF_8100_0123, 0x246, 0x10)


class Door:
    """QEMU's end of the connection: CPUs by thread, pages that can be read, what it was told."""

    def __init__(self, theirs: socket.socket, cpus: dict[str, tuple[int, int, int]], pages: dict[int, bytes]) -> None:
        self.theirs, self.cpus, self.pages = theirs, cpus, pages
        self.thread = next(iter(cpus), "")
        self.told: list[str] = []
        self.unasked = b""              # what it says on its own before the next answer

    def serve(self) -> None:
        """Answer until the other end hangs up."""
        buffer = b""
        while data := self.theirs.recv(4096):
            buffer = (buffer + data).replace(b"+", b"")
            while (end := buffer.find(b"#")) >= 0 and len(buffer) >= end + 3:
                body, buffer = buffer[1:end].decode(), buffer[end + 3:]
                answer = self.answer(body).encode()
                self.theirs.sendall(b"+" + self.unasked + b"$%s#%02x" % (answer, sum(answer) & 0xFF))
                self.unasked = b""

    def answer(self, body: str) -> str:
        if body == "qfThreadInfo":
            return "m" + ",".join(self.cpus) if self.cpus else "l"
        if body == "qsThreadInfo":
            return "l"
        if body.startswith("Hg"):
            self.thread = body[2:]
            return "OK"
        if body.startswith("p"):
            rip, flags, cs = self.cpus[self.thread]
            return {"10": rip.to_bytes(8, "little").hex(), "11": flags.to_bytes(4, "little").hex(),
                    "12": cs.to_bytes(4, "little").hex()}[body[1:]]
        if body.startswith("m"):
            at, size = (int(word, 16) for word in body[1:].split(","))
            page = self.pages.get(at & -4096)
            return "E14" if page is None else page[at % 4096:at % 4096 + size].hex()
        if body.startswith("P"):
            self.told.append(f"{self.thread} {body}")
            return "OK"
        return ""


@pytest.fixture
def connect() -> Iterator[Callable[..., tuple[GdbStub, Door]]]:
    """Make a door of CPUs and pages, and a client at it."""
    made: list[tuple[GdbStub, Door, threading.Thread]] = []

    def make(cpus: dict[str, tuple[int, int, int]], pages: dict[int, bytes]) -> tuple[GdbStub, Door]:
        ours, theirs = socket.socketpair()
        stub, door = GdbStub(ours), Door(theirs, cpus, pages)
        serving = threading.Thread(target=door.serve)
        serving.start()
        made.append((stub, door, serving))
        return stub, door

    yield make
    for stub, door, serving in made:
        stub.close()
        serving.join()
        door.theirs.close()


def page_with_a_halt(at: int) -> bytes:
    """A page of NOPs with one HLT."""
    return b"\x90" * at + b"\xf4" + b"\x90" * (4095 - at)


def test_every_cpu_stands_at_a_halt_with_interrupts_off(connect: Callable[..., tuple[GdbStub, Door]]) -> None:
    """Each at the nearest page that has one; not a byte of memory is written."""
    other = (0xFFFF_FFFF_8100_4FFF, 0x002, 0x10)
    stub, door = connect({"p01.01": KERNEL, "p01.02": other}, {
        0xFFFF_FFFF_8100_0000: page_with_a_halt(0xABC), 0xFFFF_FFFF_8100_4000: b"\x90" * 4096,
        0xFFFF_FFFF_8100_3000: page_with_a_halt(7)})
    assert stub.park_all() == 2
    assert door.told == [
        "p01.01 P11=46000000", "p01.01 P10=bc0a0081ffffffff", "p01.02 P11=02000000", "p01.02 P10=07300081ffffffff"]


def test_what_the_machine_says_by_itself_is_no_answer(connect: Callable[..., tuple[GdbStub, Door]]) -> None:
    """A stop is told at any moment, between a question and its answer too."""
    stub, door = connect({"1": KERNEL}, {})
    door.unasked = b"$T02thread:01;#04$S05#b8"
    assert stub.ask("Hg1") == "OK"


@pytest.mark.parametrize(("cpus", "pages", "said"), [
    ({"1": (0x401000, 0x202, 0x33)}, {}, "CPU 1 of the crashed machine runs a program: its kernel has not stopped it"),
    ({"1": KERNEL}, {KERNEL[0] & -4096: b"\x90" * 4096},
     "CPU 1 of the crashed machine stands at 0xffffffff81000123, and no HLT is within 32 pages"),
    ({}, {}, "QEMU's debugger port names no CPU: 'l'"),
])
def test_what_cannot_be_parked(connect: Callable[..., tuple[GdbStub, Door]], cpus: dict[str, tuple[int, int, int]],
                               pages: dict[int, bytes], said: str) -> None:
    """A program's CPU, a kernel without a HLT, a machine without CPUs: one line each."""
    with pytest.raises(LabError) as raised:
        connect(cpus, pages)[0].park_all()
    assert str(raised.value) == said


@pytest.mark.parametrize("last", [b"", b"+$OK"])
def test_a_qemu_that_ends_is_said_to_be_gone(last: bytes) -> None:
    """In the middle of a packet too."""
    ours, theirs = socket.socketpair()
    theirs.sendall(last)
    theirs.shutdown(socket.SHUT_WR)
    with ours, theirs, pytest.raises(LabError, match=r"gone at 'qfThreadInfo': the connection was closed$"):
        GdbStub(ours).ask("qfThreadInfo")
