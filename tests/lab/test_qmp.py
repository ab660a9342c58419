"""The QMP client, against a QEMU that is a script."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from ddsdk.lab.qmp import Qmp
from ddsdk.lab.tools import LabError

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\n'


@pytest.fixture
def qemu() -> Iterator[tuple[socket.socket, socket.socket]]:
    """(our end, QEMU's end)."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def client(qemu: tuple[socket.socket, socket.socket], *answers: bytes) -> Qmp:
    """A client for which QEMU has said its *answers* already, the greeting before them."""
    qemu[1].sendall(GREETING + b'{"return": {}}\n' + b"".join(answers))
    return Qmp(qemu[0], lambda: "exit status 1; its last words: ouch")


def test_commands_and_their_answers(qemu: tuple[socket.socket, socket.socket]) -> None:
    """Events in between are passed over."""
    qmp = client(qemu, b'{"event": "STOP"}\n{"return": {"status": "paused"}}\n', b'{"return": {}}\n')
    assert qmp("query-status") == {"status": "paused"}
    assert qmp("stop", now=True) == {}
    assert [json.loads(line) for line in qemu[1].recv(4096).splitlines()] == [
        {"execute": "qmp_capabilities"}, {"execute": "query-status"}, {"execute": "stop", "arguments": {"now": True}}]
    qmp.close()


def test_a_refusal_is_quoted(qemu: tuple[socket.socket, socket.socket]) -> None:
    """In QEMU's words."""
    qmp = client(qemu, b'{"error": {"class": "GenericError", "desc": "not today"}}\n')
    with pytest.raises(LabError, match=r"^QEMU refused inject-nmi: not today$"):
        qmp("inject-nmi")
    qmp.close()


@pytest.mark.parametrize("last", [b"", b'{"retu'])
def test_a_qemu_that_ends_is_said_to_be_gone(qemu: tuple[socket.socket, socket.socket], last: bytes) -> None:
    """With its last words, be it in the middle of a line."""
    qmp = client(qemu, last)
    qemu[1].close()
    with pytest.raises(LabError, match=r"ouch|no JSON"):
        qmp("query-status")
    qmp.close()


def test_something_else_than_qmp(qemu: tuple[socket.socket, socket.socket]) -> None:
    """A socket that talks another language."""
    qemu[1].sendall(b"OK\n")
    with pytest.raises(LabError, match=r"answered the greeting with 'OK\\n', which is no JSON"):
        Qmp(qemu[0], lambda: "")
