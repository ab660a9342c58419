"""The qtest client, against answers put into the socket beforehand."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ddsdk.errors import DeviceError
from ddsdk.qemu.qtest import CHUNK_BYTES, POSTED_LIMIT, QTest

Pair = tuple[QTest, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A client, and the end QEMU would hold."""
    ours, qemus = socket.socketpair()
    client = QTest(ours, lambda: "exit status 1; its last words: no room", timeout_s=0.2)
    with qemus:
        yield client, qemus
        client.close()


def sent(qemus: socket.socket) -> bytes:
    """Everything the client has sent so far."""
    return qemus.recv(1 << 20)


def test_an_answer_comes_back_without_its_ok(pair: Pair) -> None:
    """`ask` sends the line as it is and returns what follows "OK "."""
    client, qemus = pair
    qemus.sendall(b"OK 0x00000012\n")
    assert client.ask(b"readl 0xf0000000\n") == b"0x00000012"
    assert sent(qemus) == b"readl 0xf0000000\n"


def test_a_number_is_parsed(pair: Pair) -> None:
    """`read_int` understands QEMU's hexadecimal answers."""
    client, qemus = pair
    qemus.sendall(b"OK 0xffffffffffffffff\n")
    assert client.read_int(b"readq 0x0\n") == 0xFFFF_FFFF_FFFF_FFFF


def test_a_number_that_is_none_is_refused(pair: Pair) -> None:
    """An answer that is not hexadecimal names the command and what came."""
    client, qemus = pair
    qemus.sendall(b"OK\n")
    with pytest.raises(DeviceError, match=r"answered 'inl 0xcfc' with b''; a hexadecimal number was due"):
        client.read_int(b"inl 0xcfc\n")


def test_interrupt_lines_between_answers_are_noted(pair: Pair) -> None:
    """IRQ lines may stand before, between and after answers, and split over packets; levels are kept."""
    client, qemus = pair
    qemus.sendall(b"IRQ raise 11\nOK 0x1\nIRQ lower 11\nIRQ raise 14\nOK 0x2\nIR")
    assert client.ask(b"inb 0x1\n") == b"0x1"
    assert client.irq_lines == {11}
    assert client.ask(b"inb 0x2\n") == b"0x2"
    assert client.irq_lines == {14}
    qemus.sendall(b"Q lower 14\nIRQ lower 3\nOK 0x3\n")
    assert client.ask(b"inb 0x3\n") == b"0x3"
    assert client.irq_lines == set()


def test_posted_writes_go_out_at_once_and_their_answers_are_collected_later(pair: Pair) -> None:
    """A posted write does not wait; the next read skips its answer."""
    client, qemus = pair
    client.post(b"writel 0x10 0x1\n")
    client.post(b"writel 0x10 0x2\n")
    assert sent(qemus) == b"writel 0x10 0x1\nwritel 0x10 0x2\n"
    qemus.sendall(b"OK\nOK\nOK 0x2\n")
    assert client.ask(b"readl 0x10\n") == b"0x2"


def test_a_refused_posted_write_is_named_by_the_next_read(pair: Pair) -> None:
    """The error speaks of the write that failed, not of the read that found out."""
    client, qemus = pair
    client.post(b"writel 0x10\n")
    qemus.sendall(b"FAIL Unknown command 'writel'\nOK 0x0\n")
    with pytest.raises(DeviceError, match=r"QEMU refused 'writel 0x10': FAIL Unknown command"):
        client.ask(b"readl 0x10\n")


def test_posted_writes_are_bounded(pair: Pair) -> None:
    """At the limit the answers are collected before another write goes out."""
    client, qemus = pair
    for _ in range(POSTED_LIMIT):
        client.post(b"outb 0x80 0x0\n")
    with pytest.raises(DeviceError, match=r"gave no answer to 'outb 0x80 0x0' within 0.2 s"):
        client.post(b"outb 0x80 0x0\n")
    assert sent(qemus) == b"outb 0x80 0x0\n" * POSTED_LIMIT


def test_a_batch_is_one_write_and_as_many_answers(pair: Pair) -> None:
    """Commands that belong together cost one round trip."""
    client, qemus = pair
    qemus.sendall(b"OK\nOK 0x541000\n")
    assert client.batch([b"outl 0xcf8 0x80002000\n", b"inl 0xcfc\n"]) == [b"", b"0x541000"]
    assert sent(qemus) == b"outl 0xcf8 0x80002000\ninl 0xcfc\n"
    assert client.batch([]) == []


def test_memory_goes_over_in_bounded_pieces(pair: Pair) -> None:
    """Reads and writes of guest memory are cut into lines QEMU can hold."""
    client, qemus = pair
    qemus.sendall(b"OK 0x%s\nOK 0x0102\n" % (b"aa" * CHUNK_BYTES))
    assert client.read_memory(0x1000, CHUNK_BYTES + 2) == b"\xaa" * CHUNK_BYTES + b"\x01\x02"
    assert sent(qemus) == b"read 0x1000 0x4000\nread 0x5000 0x2\n"
    qemus.sendall(b"OK\n")
    client.write_memory(0x1000, b"\x01\xff")
    assert sent(qemus) == b"write 0x1000 0x2 0x01ff\n"


def test_silence_is_an_error_in_time(pair: Pair) -> None:
    """A QEMU that says nothing is given up after the time limit, with the command named."""
    client, _ = pair
    with pytest.raises(DeviceError, match=r"^qtest: QEMU gave no answer to 'inb 0x80' within 0.2 s"):
        client.ask(b"inb 0x80\n")


def test_a_dead_qemu_is_named_with_its_last_words(pair: Pair) -> None:
    """A closed socket becomes one line that says why QEMU is gone."""
    client, qemus = pair
    qemus.close()
    with pytest.raises(DeviceError, match=r"^qtest: QEMU is gone at 'inb 0x80': exit status 1; .*: no room$"):
        client.ask(b"inb 0x80\n")


def test_death_in_the_middle_of_an_answer_is_death(pair: Pair) -> None:
    """Half a line before the end is no answer."""
    client, qemus = pair
    qemus.sendall(b"OK 0x12")
    qemus.shutdown(socket.SHUT_WR)
    with pytest.raises(DeviceError, match="QEMU is gone at 'inl 0x0'"):
        client.ask(b"inl 0x0\n")


def test_an_endless_line_is_refused() -> None:
    """A peer that never ends its line does not fill our memory."""
    ours, qemus = socket.socketpair()
    with qemus:
        qemus.setblocking(False)
        client = QTest(ours, lambda: "", timeout_s=0.2)
        client._buffer = b"x" * (1 << 20)
        qemus.send(b"xx")
        with pytest.raises(DeviceError, match=r"sent a line above 1048576 bytes"):
            client.ask(b"inb 0x80\n")
        client.close()
