"""Request blocks and descriptors: what is taken, what is refused, what is a fault of the host's."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.errors import DmaFault, HardwareFault
from plugins.ipr.tests.conftest import (
    BLOCK,
    DATA,
    QUEUE,
    READ,
    READ_LAST,
    WRITE,
    WRITE_LAST,
    Host,
    descriptor,
    request,
)

READ_8 = bytes((0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0))
WRITE_8 = bytes((0x2A, 0, 0, 0, 0, 8, 0, 0, 8, 0))
PAGE = 4096
INVALID, BAD_LIST = 0x05240000, 0x0B260000


def read_request(**members: Any) -> bytes:
    """READ(10) of a page."""
    return request(READ_8, nbytes=PAGE, **members)


def test_a_good_read_writes_twelve_bytes_of_status(ready: Host) -> None:
    """IOASC 0, 12 bytes returned of 144, residual 0; what lies behind is left alone."""
    assert ready.run(read_request(), descriptors=descriptor(READ_LAST, PAGE)) == 0
    assert ready.peek(BLOCK + 0x80, 16) == bytes.fromhex("00000000 000c 0090 00000000 eeeeeeee")


@pytest.mark.parametrize("pieces", [[PAGE], [512, 1024, 2560], [512] * 8])
def test_scatter_lists(ready: Host, pieces: list[int]) -> None:
    """Data goes to the descriptors' addresses in order, whatever their number."""
    ready.target.units[0].disk.writev(8, [memoryview(bytes(range(256)) * 16)], False)
    out, places = b"", []
    for number, nbytes in enumerate(pieces):
        places.append((DATA + 0x10000 * number, nbytes))
        out += descriptor(READ_LAST if number + 1 == len(pieces) else READ, nbytes, places[-1][0])
    assert ready.run(read_request(list_bytes=len(out)), descriptors=out) == 0
    assert b"".join(ready.peek(*place) for place in places) == bytes(range(256)) * 16


def test_five_descriptors_inside_the_block(ready: Host) -> None:
    """They are read with the block; the list address points at byte 88 of it."""
    lists = b"".join(descriptor(READ, 512, DATA + 0x1000 * n) for n in range(4)) + descriptor(READ_LAST, 2048,
                                                                                             DATA + 0x8000)
    assert ready.run(read_request(add_data=lists, list_bytes=40, read_ioadl_addr=BLOCK + 88)) == 0


@pytest.mark.parametrize("members", [
    {"ioarcb_host_pci_addr": BLOCK + 4}, {"add_cmd_parms_len": 8}, {"host_response_handle": 0x16},
    {"write_data_transfer_length": 512}, {"hi": 0x80},
], ids=["own address", "parameters", "low bits of the handle", "both directions", "direction flag"])
def test_an_invalid_block(ready: Host, members: dict[str, Any]) -> None:
    """05240000, and nothing is moved."""
    ready.poke(DATA, b"\x11" * PAGE)
    ready.submit(read_request(**members), descriptors=descriptor(READ_LAST, PAGE))
    assert ready.wait() == [5]
    assert (ready.ioasc(), ready.peek(DATA, PAGE)) == (INVALID, b"\x11" * PAGE)


@pytest.mark.parametrize("at", [4, 7, 16, 27, 58, 60])
def test_a_reserved_byte_that_is_not_zero(ready: Host, at: int) -> None:
    """05240000."""
    block = bytearray(read_request())
    block[at] = 1
    assert ready.run(bytes(block), descriptors=descriptor(READ_LAST, PAGE)) == INVALID


@pytest.mark.parametrize("lists", [
    descriptor(READ, PAGE), descriptor(WRITE_LAST, PAGE), descriptor(READ_LAST, 512), descriptor(READ_LAST, 8192),
    descriptor(READ, 512) + descriptor(READ, PAGE - 512),
    descriptor(READ_LAST, 512) + descriptor(READ_LAST, PAGE - 512),
    descriptor(READ, 0) + descriptor(READ_LAST, PAGE), descriptor(WRITE, 512) + descriptor(READ_LAST, PAGE - 512),
    descriptor(READ, 512) + descriptor(READ_LAST, PAGE),
], ids=["no last", "other direction", "too short", "too long", "no last of two", "last too early", "empty one",
        "mixed", "sum too long"])
def test_an_invalid_list(ready: Host, lists: bytes) -> None:
    """0B260000."""
    assert ready.run(read_request(list_bytes=len(lists)), descriptors=lists) == BAD_LIST


@pytest.mark.parametrize("members", [{"list_bytes": 0}, {"list_bytes": 12}, {"list_bytes": 65 * 8},
                                     {"read_ioadl_addr": BLOCK + 0x114}])
def test_an_invalid_list_length_or_address(ready: Host, members: dict[str, Any]) -> None:
    """Empty, no whole descriptors, more than 64, not aligned to 8: 0B260000."""
    assert ready.run(read_request(**members), descriptors=descriptor(READ_LAST, PAGE)) == BAD_LIST


def test_a_list_without_data(ready: Host) -> None:
    """A command that moves nothing has no list."""
    assert ready.run(request(bytes(6), list_bytes=8), descriptors=descriptor(READ_LAST, PAGE)) == BAD_LIST


@pytest.mark.parametrize(("cdb", "nbytes", "write"), [
    (READ_8, 2048, False), (READ_8, PAGE, True), (WRITE_8, PAGE, False), (bytes((0x12, 0, 0, 0, 255, 0)), 36, False)])
def test_a_command_that_wants_more_or_otherwise(ready: Host, cdb: bytes, nbytes: int, write: bool) -> None:
    """Less memory than the command may fill, or the other direction: 0B260000."""
    assert ready.scsi(cdb, nbytes, write) == BAD_LIST


@pytest.mark.parametrize("members", [{"ioasa": 12}, {"ioasa": 0}, {"ioasa_host_pci_addr": BLOCK + 0x82}])
def test_a_block_that_cannot_be_answered(ready: Host, members: dict[str, Any]) -> None:
    """Without a proper status area not even a refusal can be given: a fault of the host's."""
    ready.submit(request(bytes(6), **members))
    with pytest.raises(HardwareFault, match="status area"):
        ready.advance(1_000_000)


def test_a_misaligned_block(ready: Host) -> None:
    """A request block is aligned to 4 bytes."""
    with pytest.raises(HardwareFault, match="aligned to 4 bytes"):
        ready.write("IOARRIN", BLOCK + 2)


def test_a_block_that_is_held_already(ready: Host) -> None:
    """Until its response a block is the adapter's; afterwards, or after BIST, it is the host's again."""
    ready.submit(request(bytes(6)))
    with pytest.raises(HardwareFault, match="holds that request block already"):
        ready.write("IOARRIN", BLOCK)
    assert ready.wait() == [5]
    ready.ioa.faults.inject("command-hung")
    assert ready.run(request(bytes(6))) is None
    with pytest.raises(HardwareFault, match="holds that request block already"):
        ready.write("IOARRIN", BLOCK)
    ready.bist()
    ready.bring_up()


def test_memory_that_was_not_granted(ready: Host) -> None:
    """DMA only through granted memory."""
    ready.submit(read_request(), descriptors=descriptor(READ_LAST, PAGE, 0x100000))
    with pytest.raises(DmaFault):
        ready.advance(10_000_000)


def test_several_requests_in_flight(ready: Host) -> None:
    """Responses come in the order of their ends, each with its own handle."""
    for number in range(8):
        at = BLOCK + 0x1000 * number
        ready.submit(request(bytes(6), at=at, index=20 + number), at)
    found: list[int] = []
    while len(found) < 8:
        found += ready.wait()
    assert found == list(range(20, 28))


def test_hrrq_upd_stays_until_it_is_cleared(ready: Host) -> None:
    """Posting sets it, INT_CLR clears it, the next posting sets it again."""
    ready.write("INT_CLR", 0x2)
    assert ready.read("INT") == 0
    assert ready.scsi(bytes(6)) == 0
    assert ready.read("INT") == 0x2
    ready.write("INT_CLR", 0x2)
    assert ready.read("INT") == 0
    assert ready.peek(QUEUE, 4) == bytes.fromhex("000001c9")
