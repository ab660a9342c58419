"""Every test vector of the hardware notes, register by register; the bytes are QEMU 7.2 mptsas1068's."""

from __future__ import annotations

import pytest

REQUEST, CHAIN, REPLY, SENSE, DATA = 0x00200000, 0x00210000, 0x00300000, 0x00380000, 0x00400000
LBA = 0x12345


def vector(text: str) -> bytes:
    """Hex with spaces and newlines."""
    return bytes.fromhex(text)


IOCFACTS = vector("00 00 00 03 00 00 00 00 44 33 22 11")
IOCFACTS_REPLY_FRESH = vector("""
    05 01 14 03 00 00 00 00 44 33 22 11 00 00 00 00
    00 00 00 00 22 00 0d 00 80 00 80 00 00 00 02 21
    00 00 00 00 80 00 08 00 00 00 00 00 00 00 08 01
    00 00 00 00 00 00 00 00 00 92 32 01 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""")
PORTFACTS = vector("00 00 00 05 00 00 00 00 01 00 00 00")
PORTFACTS_REPLY = vector("""
    00 00 0a 05 00 00 00 00 01 00 00 00 00 00 00 00
    00 00 00 00 00 30 08 00 08 00 09 00 00 00 00 00
    00 00 00 00 00 00 00 00""")
IOCINIT = vector("""
    04 00 00 02 00 00 01 00 02 00 00 00 80 00 00 00
    00 00 00 00 00 00 00 00""")
IOCINIT_REPLY = vector("04 00 05 02 00 00 01 00 02 00 00 00 00 00 00 00 00 00 00 00")
PORTENABLE = vector("00 00 00 06 00 00 00 00 03 00 00 00")
PORTENABLE_REPLY = vector("00 00 05 06 00 00 00 00 03 00 00 00 00 00 00 00 00 00 00 00")
TUR = vector("""
    00 00 00 00 06 20 00 00 10 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 38 00
    00 00 00 d1 00 00 40 00""")
TUR_REPLY = vector("""
    00 00 09 00 06 20 00 00 10 00 00 00 02 01 45 00
    00 00 00 00 00 00 00 00 12 00 00 00 00 00 00 00
    00 00 00 00""")
TUR_SENSE = vector("70 00 06 00 00 00 00 0a 00 00 00 00 29 00 00 00 00 00")
INQUIRY = vector("""
    00 00 00 00 06 20 00 00 11 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 02 12 00 00 00 24 00 00 00
    00 00 00 00 00 00 00 00 24 00 00 00 00 00 38 00
    24 00 00 d1 00 00 40 00""")
WRITE10 = vector("""
    00 00 00 00 0a 20 00 00 05 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 01 2a 00 00 01 23 45 00 00
    20 00 00 00 00 00 00 00 00 40 00 00 00 00 38 00
    00 40 00 d5 00 00 40 00""")
READ10 = vector("""
    00 00 00 00 0a 20 00 00 07 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 02 28 00 00 01 23 45 00 00
    20 00 00 00 00 00 00 00 00 40 00 00 00 00 38 00
    00 40 00 d1 00 00 40 00""")
READ10_SGE64 = vector("""
    00 00 00 00 0a 20 00 00 11 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 02 28 00 00 01 23 45 00 00
    20 00 00 00 00 00 00 00 00 40 00 00 00 00 38 00
    00 40 00 d3 00 00 40 00 00 00 00 00""")
READ10_4SGE = vector("""
    00 00 00 00 0a 20 00 00 12 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 02 28 00 00 01 23 45 00 00
    20 00 00 00 00 00 00 00 00 40 00 00 00 00 38 00
    00 10 00 10 00 30 40 00 00 10 00 10 00 20 40 00
    00 10 00 10 00 10 40 00 00 10 00 d1 00 00 40 00""")
READ10_CHAIN = vector("""
    00 00 0e 00 0a 20 00 00 13 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 02 28 00 00 01 23 45 00 00
    20 00 00 00 00 00 00 00 00 40 00 00 00 00 38 00
    00 10 00 90 00 00 40 00 18 00 00 30 00 00 21 00""")
CHAIN_BUFFER = vector("""
    00 10 00 10 00 10 40 00 00 10 00 10 00 20 40 00
    00 10 00 d1 00 30 40 00""")
READ10_OOB = vector("""
    00 00 00 00 0a 20 00 00 08 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 02 28 00 ff ff ff f0 00 00
    20 00 00 00 00 00 00 00 00 40 00 00 00 00 38 00
    00 40 00 d1 00 00 40 00""")
READ10_OOB_REPLY = vector("""
    00 00 09 00 0a 20 00 00 08 00 00 00 02 01 45 00
    00 00 00 00 00 00 00 00 12 00 00 00 00 00 00 00
    00 00 00 00""")
ABSENT = vector("""
    05 00 00 00 06 20 00 00 09 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 02 12 00 00 00 24 00 00 00
    00 00 00 00 00 00 00 00 24 00 00 00 00 00 38 00
    24 00 00 d1 00 00 40 00""")
ABSENT_REPLY = vector("""
    05 00 09 00 06 20 00 00 09 00 00 00 00 04 43 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00""")
TARGET_RESET = vector("""
    00 00 00 01 00 03 00 00 99 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00""")
TARGET_RESET_REPLY = vector("""
    00 00 06 01 00 03 00 00 99 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00""")


def sectors(host, count: int = 32) -> bytes:
    """What the disk holds from the vectors' LBA on."""
    buffer = bytearray(count * 512)
    host.target.units[0].disk.readv(LBA, [memoryview(buffer)])
    return bytes(buffer)


def fill(host) -> bytes:
    """Put something recognisable on the disk, 512 bytes apart."""
    data = b"".join(bytes([n + 1]) * 512 for n in range(32))
    host.target.units[0].disk.writev(LBA, [memoryview(data)])
    return data


def test_hard_reset(host):
    """The seven writes; DRWE reads 0x80 in between; afterwards Doorbell reads 0x10000000."""
    for key in (0xFF, 0x4, 0xB, 0x2, 0x7, 0xD):
        host.write("WRITE_SEQUENCE", key)
    assert host.read("DIAGNOSTIC") == 0x80
    host.write("DIAGNOSTIC", 0x84)
    host.advance(host.ioc.timing.hard_reset_ns)
    assert host.read("DOORBELL") == 0x10000000


def test_iocfacts(host):
    """mpt-iocfacts, mpt-iocfacts-reply-fresh: 80 bytes, WhoInit 0."""
    assert host.handshake(IOCFACTS) == IOCFACTS_REPLY_FRESH


def test_iocfacts_after_init(host):
    """WhoInit, MaxDevices and CurReplyFrameSize follow IOCInit, the rest stays."""
    host.handshake(IOCINIT)
    expected = bytearray(IOCFACTS_REPLY_FRESH)
    expected[0x15], expected[0x2E], expected[0x2C] = 4, 0, 0x80
    assert host.handshake(IOCFACTS) == bytes(expected)


def test_portfacts(host):
    """mpt-portfacts, mpt-portfacts-reply."""
    assert host.handshake(PORTFACTS) == PORTFACTS_REPLY


def test_iocinit_and_portenable(host):
    """mpt-iocinit, mpt-portenable and their replies; Doorbell reads OPERATIONAL, WhoInit 4."""
    assert host.handshake(IOCINIT) == IOCINIT_REPLY
    assert host.read("DOORBELL") == 0x24000000
    assert host.handshake(PORTENABLE) == PORTENABLE_REPLY


@pytest.mark.parametrize(("message", "start"), [(IOCFACTS, 0x42030000), (PORTFACTS, 0x42030000),
                                                (IOCINIT, 0x42060000), (PORTENABLE, 0x42030000)])
def test_handshake_starts(message, start):
    """The doorbell value that announces each message."""
    assert 0x42000000 | len(message) // 4 << 16 == start


def test_tur_reports_the_reset(host):
    """mpt-tur, mpt-tur-reply, mpt-tur-sense: the first command after a reset; ReplyFifo gives 0x80180000."""
    host.bring_up()
    assert host.run(TUR) == 0x80180000
    assert host.peek(REPLY, 0x24) == TUR_REPLY
    assert host.peek(SENSE, 18) == TUR_SENSE
    assert host.run(TUR) == 0x00000010


def test_inquiry(ready):
    """mpt-inquiry: context reply 0x11, 36 bytes in memory."""
    assert ready.run(INQUIRY) == 0x00000011
    data = ready.peek(DATA, 40)
    assert data[0] == 0
    assert data[4] == 31
    assert data[36:] == b"\0\0\0\0"


def test_write10(ready):
    """mpt-write10: context reply 5, 16 KiB on the disk at LBA 0x12345."""
    data = bytes(range(256)) * 64
    ready.poke(DATA, data)
    assert ready.run(WRITE10) == 0x00000005
    assert sectors(ready) == data


def test_read10(ready):
    """mpt-read10: context reply 7."""
    data = fill(ready)
    assert ready.run(READ10) == 0x00000007
    assert ready.peek(DATA, 0x4000) == data


def test_read10_sge64(ready):
    """mpt-read10-sge64: one 64-bit element, context reply 0x11."""
    data = fill(ready)
    assert ready.run(READ10_SGE64) == 0x00000011
    assert ready.peek(DATA, 0x4000) == data


def test_read10_4sge(ready):
    """mpt-read10-4sge: four elements, the pages in descending order, context reply 0x12."""
    data = fill(ready)
    assert ready.run(READ10_4SGE) == 0x00000012
    assert [ready.peek(DATA + at, 0x1000) for at in (0x3000, 0x2000, 0x1000, 0)] == [
        data[at:at + 0x1000] for at in range(0, 0x4000, 0x1000)]


def test_read10_chain(ready):
    """mpt-read10-chain, mpt-chain-buffer: one element, then three behind a chain, context reply 0x13."""
    data = fill(ready)
    ready.poke(CHAIN, CHAIN_BUFFER)
    assert ready.run(READ10_CHAIN) == 0x00000013
    assert ready.peek(DATA, 0x4000) == data


def test_read10_oob(ready):
    """mpt-read10-oob, mpt-read10-oob-reply: sense 05/21/00."""
    reply = ready.frame_of(ready.run(READ10_OOB))
    assert reply == READ10_OOB_REPLY
    sense = ready.peek(SENSE, 18)
    assert (sense[0] & 0x7F, sense[2], sense[12], sense[13]) == (0x70, 5, 0x21, 0)


def test_absent(ready):
    """mpt-absent, mpt-absent-reply: target 5 is not there."""
    assert ready.frame_of(ready.run(ABSENT)) == ABSENT_REPLY


def test_target_reset(ready):
    """mpt-target-reset, mpt-target-reset-reply; the disk then reports unit attention 06/29/00 once."""
    assert ready.frame_of(ready.run(TARGET_RESET), 0x18) == TARGET_RESET_REPLY
    assert ready.frame_of(ready.run(TUR)) == TUR_REPLY
    assert ready.peek(SENSE, 18) == TUR_SENSE
    assert ready.run(TUR) == 0x00000010


def test_request_before_iocinit_is_a_fault(host):
    """After a hard reset, a RequestFifo write without IOCInit: Doorbell reads 0x4w000008, w = WhoInit."""
    assert host.hard_reset()
    host.write("REQUEST_FIFO", REQUEST)
    assert host.read("DOORBELL") & 0xF8FFFFFF == 0x40000008
