"""Every vector of hw-ipr.md section 15, byte for byte: as tables, and as the model takes them."""

from __future__ import annotations

import pytest

from ddsdk.abi import WIRE_BE
from ddsdk_ipr.bringup import ipr_id_hrrq_cdb
from ddsdk_ipr.frames import CmdPkt, Ioadl, Ioarcb, Ioasa, IoasaVset
from ddsdk_ipr.sense import ipr_gen_sense
from plugins.ipr.tests.conftest import BLOCK, DATA, QUEUE, Host, MakeHost

A = bytes.fromhex(
    "01 00 00 00 00 00 00 00 00 00 00 42 00 00 00 14"
    "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
    "00 00 40 00 01 00 01 00 00 00 00 00 01 00 01 00"
    "00 00 00 08 01 00 00 80 00 80 00 00 00 00 00 00"
    "24 30 28 00 00 01 23 45 00 00 20 00 00 00 00 00") + bytes(48)
A_IOADL = bytes.fromhex("49 00 40 00 02 00 00 00")
C = bytes.fromhex(
    "01 00 00 00 00 00 00 00 00 00 00 42 00 00 00 14"
    "00 00 00 00 00 00 00 00 00 00 00 00 00 00 40 00"
    "00 00 00 00 01 00 01 00 00 00 00 08 01 00 01 00"
    "00 00 00 00 01 00 00 80 00 80 00 00 00 00 00 00"
    "8c 30 2a 00 00 01 23 45 00 00 20 00 00 00 00 00") + bytes(48)
C_IOADL = bytes.fromhex("69 00 40 00 02 00 00 00")

LBA, BLOCKS, NBYTES = 0x12345, 32, 16384


def patched(block: bytes, **at: str) -> bytes:
    """*block* with bytes replaced: `patched(A, x24="01 00 00 58")`."""
    out = bytearray(block)
    for where, text in at.items():
        data = bytes.fromhex(text)
        start = int(where.removeprefix("x"), 16)
        out[start:start + len(data)] = data
    return bytes(out)


B = patched(A, x24="01 00 00 58", x2C="01 00 00 58", x38="00 90", x58="49 00 40 00 02 00 00 00")


def rw10(opcode: int) -> bytes:
    """READ(10) or WRITE(10) of the vectors."""
    return bytes((opcode, 0)) + LBA.to_bytes(4) + bytes((0, 0, BLOCKS, 0))


def block(**members: object) -> bytes:
    """The request block of the vectors, packed from its members."""
    fields: dict[str, object] = {
        "ioarcb_host_pci_addr": BLOCK, "res_handle": 0x42, "host_response_handle": 0x14, "write_ioadl_addr": 0x01000100,
        "read_ioadl_addr": 0x01000100, "ioasa_host_pci_addr": 0x01000080, "ioasa_len": 128, "add_data": bytes(40)}
    return Ioarcb.on(WIRE_BE).pack(Ioarcb(**(fields | members)))  # type: ignore[arg-type]


def test_vector_a_and_b_as_tables() -> None:
    """READ(10), descriptor outside and inside the block."""
    pkt = CmdPkt(flags_hi=0x24, flags_lo=0x30, cdb=rw10(0x28).ljust(16, b"\0"))
    assert block(cmd_pkt=pkt, read_data_transfer_length=NBYTES, read_ioadl_len=8) == A
    assert block(cmd_pkt=pkt, read_data_transfer_length=NBYTES, read_ioadl_len=8, write_ioadl_addr=BLOCK + 88,
                 read_ioadl_addr=BLOCK + 88, ioasa_len=144, add_data=A_IOADL + bytes(32)) == B
    assert Ioadl.on(WIRE_BE).pack(Ioadl(0x49 << 24 | NBYTES, DATA)) == A_IOADL


def test_vector_c_as_tables() -> None:
    """WRITE(10), sync complete owed, underflow given."""
    pkt = CmdPkt(flags_hi=0x8C, flags_lo=0x30, cdb=rw10(0x2A).ljust(16, b"\0"))
    assert block(cmd_pkt=pkt, write_data_transfer_length=NBYTES, write_ioadl_len=8) == C
    assert Ioadl.on(WIRE_BE).pack(Ioadl(0x69 << 24 | NBYTES, DATA)) == C_IOADL


def test_vector_d_as_tables() -> None:
    """ID HRRQ for a queue of 115 entries at 01100000."""
    assert ipr_id_hrrq_cdb(QUEUE) == bytes.fromhex("c4 00 01 10 00 00 00 01 cc")


@pytest.fixture
def golden(host: Host) -> Host:
    """An adapter whose first disk has the vectors' handle, something at the vectors' LBA."""
    host.bring_up()
    host.clear_attention()
    assert host.ioa.scsi.units[0].handle == 0x42
    host.target.units[0].disk.writev(LBA, [memoryview(bytes(range(256)) * 64)], False)
    return host


@pytest.mark.parametrize(("vector", "outside"), [(A, A_IOADL), (B, b"")], ids="AB")
def test_the_model_takes_vector_a_and_b(golden: Host, vector: bytes, outside: bytes) -> None:
    """The read fills host memory; index 5 comes back; 12 bytes of status are written, all good."""
    golden.poke(BLOCK + 0x100, outside)
    golden.submit(vector)
    if outside:
        golden.poke(BLOCK + 0x100, outside)
    assert golden.wait() == [5]
    assert golden.peek(DATA, NBYTES) == bytes(range(256)) * 64
    assert (golden.ioasc(), golden.residual()) == (0, 0)


def test_the_model_takes_vector_c(golden: Host) -> None:
    """The write reaches the disk."""
    data = b"\xA5" * NBYTES
    golden.poke(DATA, data)
    golden.submit(C)
    golden.poke(BLOCK + 0x100, C_IOADL)
    assert golden.wait() == [5]
    back = bytearray(NBYTES)
    golden.target.units[0].disk.readv(LBA, [memoryview(back)])
    assert (golden.ioasc(), bytes(back)) == (0, data)


def test_the_model_takes_vector_d(host: Host) -> None:
    """The first entry of the queue is ID HRRQ's own: index 114, toggle 1."""
    host.start()
    vector = bytearray(128)
    vector[0:4], vector[0x34:0x38], vector[0x38:0x3A] = BLOCK.to_bytes(4), (BLOCK + 0x80).to_bytes(4), b"\0\x80"
    vector = bytearray(patched(bytes(vector), x08="ff ff ff ff", x0C="00 00 01 c8", x3E="01",
                               x42="c4 00 01 10 00 00 00 01 cc"))
    host.submit(bytes(vector))
    host.advance(1_000_000)
    assert host.peek(QUEUE, 4) == bytes.fromhex("000001c9")
    assert host.read("INT") & 0x2


def test_ioarrin_is_a_little_endian_register(golden: Host) -> None:
    """The value 01000000 is on the bus as 00 00 00 01."""
    assert (0x01000000).to_bytes(4, "little") == bytes.fromhex("00000001")
    golden.submit(A)
    assert list(golden.ioa.requests.held) == [0x01000000]


def test_words_of_three_laps(make_host: MakeHost) -> None:
    """Index 5: 00000015 on odd laps, 00000014 on even ones."""
    host = make_host()
    host.bring_up()
    host.clear_attention()
    seen = []
    for lap in range(3):
        while host.position:                    # to the end of the lap
            host.scsi(bytes(6))
        before = host.position
        assert host.scsi(bytes(6)) == 0
        seen.append(host.peek(QUEUE + 4 * before, 4).hex())
        assert host.toggle == (0, 1, 0)[lap]
    assert seen == ["00000014", "00000015", "00000014"]


def test_medium_error_of_a_volume_set(make_host: MakeHost) -> None:
    """IOASC 03110C00, residual and LBA where the vector has them; the sense made of it."""
    status = Ioasa.on(WIRE_BE).pack(Ioasa(ioasc=0x03110C00, residual_data_len=NBYTES,
                                          u=IoasaVset.on(WIRE_BE).pack(IoasaVset(failing_lba_lo=LBA)),
                                          auto_sense=bytes(96)))
    assert status[0:4] == bytes.fromhex("03 11 0c 00")
    assert status[8:12] == bytes.fromhex("00 00 40 00")
    assert status[32:40] == bytes.fromhex("00 00 00 00 00 01 23 45")
    sense = ipr_gen_sense(Ioasa.on(WIRE_BE).unpack(status), is_vset=True)
    assert sense[:14] == bytes.fromhex("f0 00 03 00 01 23 45 06 00 00 00 00 11 0c")
    assert sense[14:] == bytes(82)


def test_the_model_reports_that_medium_error(make_host: MakeHost) -> None:
    """A read of a volume set that meets a bad block 0x12345 ends with the vector's status."""
    from ddsdk.sim import disk_faults

    host = make_host(at=(0xFF, 0))
    host.bring_up()
    host.scsi(bytes(6))
    host.target.units[0].disk.faults.inject(disk_faults.medium_error(LBA))
    assert host.scsi(rw10(0x28), NBYTES) == 0x03110C00
    assert host.peek(BLOCK + 0x80 + 8, 4) == bytes.fromhex("00 00 40 00")
    assert host.peek(BLOCK + 0x80 + 32, 8) == bytes.fromhex("00 00 00 00 00 01 23 45")
