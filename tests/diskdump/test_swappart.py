"""The head of a swap part and the note that announces it, byte by byte; what cannot be is refused in one line."""

from __future__ import annotations

import struct
import zlib

import pytest
from attrs import evolve

from ddsdk.diskdump.swappart import (
    AreaState,
    Entry,
    SwapArea,
    SwapHead,
    pack_note,
    parse_head,
    parse_note,
    part_blocks,
)
from ddsdk.errors import FormatError
from tests.diskdump.swaps import UUID, UUID_TEXT

AREA = SwapArea("d:/dev/sda2", UUID, "one", 40_000, 4096, 3)
OTHER = SwapArea("d:/dev/sdb1", bytes(16), "", 16, 4096, 0)
ENTRY = Entry(UUID, 40_000, 102, 25, 32_768, 20, 4, AreaState.BEGUN, False)
LATER = Entry(bytes(16), 16)
CRASH = (1_100_000_000, 5)
HEAD = SwapHead(CRASH, 6, 132, False, (ENTRY, LATER))


def test_offsets() -> None:
    """The words of the head and of the first entry, little endian, where the table in swappart.py has them."""
    data = HEAD.pack(100, 4096)
    assert len(data) == 4096
    assert data[:8] == b"DDSWAP01"
    assert struct.unpack_from("<II", data, 8) == (1, 2)
    assert struct.unpack_from("<QQQ", data, 16) == (6, 100, 132)
    assert struct.unpack_from("<I", data, 40) == (0,)
    assert struct.unpack_from("<I", data, 44) == (zlib.crc32(data[:44] + bytes(4) + data[48:]),)
    assert struct.unpack_from("<QI4x", data, 48) == CRASH
    assert data[64:80] == UUID
    assert struct.unpack_from("<QQQQQQII", data, 80) == (40_000, 102, 25, 32_768, 20, 4, 1, 0)
    assert data[136:144] == bytes(8)
    assert struct.unpack_from("<QQ", data, 144 + 16) == (16, 0)
    assert data[224:] == bytes(4096 - 224)


def parsed(data: bytes, block: int = 100, blocks: int = 132, crash: tuple[int, int] = CRASH) -> SwapHead | None:
    """*data* as block *block* of a partition of *blocks* blocks whose memory ends at block 100."""
    return parse_head(data, block, 100, blocks, (AREA, OTHER), crash)


def test_the_head_comes_back() -> None:
    """In either of its two blocks."""
    for block in (100, 101):
        assert parsed(HEAD.pack(block, 4096), block) == HEAD


def test_what_is_no_head() -> None:
    """Nothing, a torn block, a head of another block, one of an older crash."""
    data = HEAD.pack(100, 4096)
    assert parsed(bytes(4096)) is None
    assert parsed(data[:512] + evolve(HEAD, sequence=8).pack(100, 4096)[512:]) == HEAD      # the rest is zeros
    assert parsed(data[:100] + bytes([data[100] ^ 1]) + data[101:]) is None
    assert parsed(data, 101) is None
    assert parsed(data, crash=(CRASH[0], 6)) is None


IMPOSSIBLE = {
    "more areas": (evolve(HEAD, entries=(ENTRY, LATER, LATER)),
                   "has 3 areas, the sub header names 2; one of them is damaged"),
    "another area": (evolve(HEAD, entries=(evolve(ENTRY, uuid=bytes(16)), LATER)),
                     "says of area 1 that it has 40000 pages, or another UUID; the sub header knows 40000 pages;"
                     " it is damaged"),
    "too far": (evolve(HEAD, entries=(evolve(ENTRY, done=40_001), LATER)),
                "says of area 1 that 20 pages are stored and 4 unreadable of 40001 of its 40000; it is damaged"),
    "more than looked at": (evolve(HEAD, entries=(evolve(ENTRY, done=23), LATER)),
                            "says of area 1 that 20 pages are stored and 4 unreadable of 23 of its 40000; it is"
                            " damaged"),
    "not begun": (evolve(HEAD, entries=(ENTRY, evolve(LATER, done=1))),
                  "says of area 2 that nothing of it is written, and that pages are stored; it is damaged"),
    "in the memory": (evolve(HEAD, entries=(evolve(ENTRY, first_block=101), LATER)),
                      "says of area 1 that it lies in 25 data blocks from block 106 on, of a partition of 132; it"
                      " is damaged"),
    "behind the end": (evolve(HEAD, entries=(evolve(ENTRY, data_blocks=26), LATER)),
                       "says of area 1 that it lies in 26 data blocks from block 107 on, of a partition of 132; it"
                       " is damaged"),
    "in each other": (evolve(HEAD, entries=(ENTRY, evolve(LATER, first_block=120, done=1))),
                      "says of area 2 that it lies in 0 data blocks from block 123 on, of a partition of 132; it"
                      " is damaged"),
    "no room": (evolve(HEAD, entries=(evolve(ENTRY, stored=26), LATER)),
                "says of area 1 that 26 pages are stored in 25 blocks; it is damaged"),
    "end": (evolve(HEAD, end_block=131), "says that it ends at block 131; its areas end at block 132, the partition at "
                                         "block 132; it is damaged"),
}


@pytest.mark.parametrize(("head", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_a_head_cannot_say(head: SwapHead, message: str) -> None:
    """With a CRC that is right; nothing is read or allocated by such numbers."""
    with pytest.raises(FormatError) as error:
        parsed(head.pack(100, 4096))
    assert str(error.value) == f"the head of the swap part in block 100 {message}"


@pytest.mark.parametrize(("at", "value", "message"), [
    (8, 2, "the head of the swap part in block 100 has version 2, not 1; a newer ddsdk reads it"),
    (128, 5, "the head of the swap part in block 100 says of area 1 that its state is 5; there are 0 to 4; it is"
             " damaged"),
])
def test_words_nobody_writes(at: int, value: int, message: str) -> None:
    """A version or a state of the future."""
    data = bytearray(HEAD.pack(100, 4096))
    struct.pack_into("<I", data, at, value)
    struct.pack_into("<I", data, 44, 0)
    struct.pack_into("<I", data, 44, zlib.crc32(data))
    with pytest.raises(FormatError) as error:
        parsed(bytes(data))
    assert str(error.value) == message


def test_the_note_comes_back() -> None:
    """52 bytes and the name an area."""
    note = pack_note((AREA, OTHER))
    assert len(note) == 8 + 2 * (52 + 11)
    assert parse_note(note, 4096) == (AREA, OTHER)
    assert (AREA.uuid_text, OTHER.uuid_text) == (UUID_TEXT, "")
    assert parse_note(pack_note((evolve(AREA, name="a\n\x1b[1mb"),)), 4096)[0].name == "a??[1mb"


@pytest.mark.parametrize(("note", "message"), [
    (b"", "has version 0 and 0 areas, not 1 and 1 to 32; a newer ddsdk reads it"),
    (struct.pack("<II", 2, 1), "has version 2 and 1 areas, not 1 and 1 to 32; a newer ddsdk reads it"),
    (struct.pack("<II", 1, 33), "has version 1 and 33 areas, not 1 and 1 to 32; a newer ddsdk reads it"),
    (pack_note((AREA, OTHER))[:100], "ends in area 2 of 2; it is damaged"),
    (pack_note((AREA,))[:-1],
     "says of area 1 40000 pages of 4096 bytes, 3 bad ones, a name of 11 bytes; it is damaged"),
    (pack_note((evolve(AREA, pages=1),)),
     "says of area 1 1 pages of 4096 bytes, 3 bad ones, a name of 11 bytes; it is damaged"),
    (pack_note((evolve(AREA, bad_pages=40_000),)),
     "says of area 1 40000 pages of 4096 bytes, 40000 bad ones, a name of 11 bytes; it is damaged"),
    (pack_note((evolve(AREA, page_size=8192),)),
     "says of area 1 40000 pages of 8192 bytes, 3 bad ones, a name of 11 bytes; it is damaged"),
])
def test_notes_that_cannot_be(note: bytes, message: str) -> None:
    """One line each."""
    with pytest.raises(FormatError) as error:
        parse_note(note, 4096)
    assert str(error.value) == f"sub header: the note on swap areas {message}"


def test_sizes() -> None:
    """Two heads; for each area its header, two maps and every page, with a record's head should there be records."""
    assert AREA.map_blocks == 2
    assert AREA.most_blocks == 1 + 2 * 2 + 40_000 + 157
    assert part_blocks((AREA, OTHER)) == 2 + AREA.most_blocks + (1 + 2 + 16 + 1)
    assert part_blocks(()) == 0
