"""Scatter/gather lists: which ones the IOC takes, and what it makes of them."""

from __future__ import annotations

import struct

import pytest

from ddsdk_mptfusion.model_sgl import SglError, walk

FRAME, CHAIN, DATA = 0x00200000, 0x00210000, 0x00400000
FRAME_BYTES = 128

Piece = tuple[int, int, int]


def elements(*pieces: Piece) -> bytes:
    """(flags, length, address) as 32-bit elements, or 64-bit ones where the flags say so."""
    return b"".join(struct.pack("<IQ" if flags & 2 else "<II", flags << 24 | length, address)
                    for flags, length, address in pieces)


def take(*pieces: Piece, chain_offset: int = 0, to_device: bool | None = False, fetched: int = 64,
         chains: dict[int, bytes] | None = None, limit: int = FRAME_BYTES) -> list[tuple[int, int]]:
    """Walk a request's list, of whose frame *fetched* bytes are there already."""
    memory = {FRAME: (bytes(0x30) + elements(*pieces)).ljust(limit, b"\0"), **(chains or {})}

    def fetch(start: int, length: int) -> bytes:
        assert length <= len(memory[start]), "the IOC reads beyond the segment"
        return memory[start][:length]

    return walk(memory[FRAME][:fetched], FRAME, limit, chain_offset, to_device, 34, fetch)


def test_one_element():
    """Flags 0xD1 and 0xD5, 32 bits; 0xD3 and 0xD7, 64 bits."""
    assert take((0xD1, 0x4000, DATA)) == [(DATA, 0x4000)]
    assert take((0xD5, 0x4000, DATA), to_device=True) == [(DATA, 0x4000)]
    assert take((0xD3, 0x4000, 0x1_2345_6789_0000)) == [(0x1_2345_6789_0000, 0x4000)]
    assert take((0xD7, 0xFFFFFF, DATA), to_device=True) == [(DATA, 0xFFFFFF)]


@pytest.mark.parametrize("flags", [0xD1, 0xD5])
@pytest.mark.parametrize("to_device", [True, False, None])
def test_the_null_element_has_no_direction(flags, to_device):
    """A request without data carries one element of length 0; its direction bit means nothing."""
    assert take((flags, 0, DATA), to_device=to_device) == []


@pytest.mark.parametrize("fetched", [56, 64, 128])
def test_elements_of_both_widths_in_one_frame(fetched):
    """In order, empty ones dropped, however much of the frame was fetched at first."""
    assert take((0x12, 0x1000, 1 << 32), (0x10, 0, 0), (0x10, 0x800, DATA), (0x12, 0x200, DATA + 0x800),
                (0x10, 0x10, 8), (0xD3, 0x2000, 1 << 33), fetched=fetched) == [
        (1 << 32, 0x1000), (DATA, 0x800), (DATA + 0x800, 0x200), (8, 0x10), (1 << 33, 0x2000)]


@pytest.mark.parametrize("kind", [0x30, 0x32], ids=["32-bit", "64-bit"])
def test_chains_of_chains(kind):
    """Three chain buffers in a row; ChainOffset and NextChainOffset count dwords from the segment's start."""
    size = 12 if kind & 2 else 8
    at = [CHAIN, CHAIN + 0x100, CHAIN + 0x200]
    chains = {at[0]: elements((0x90, 0x20, DATA + 1), (kind, 8 + size | 2 << 16, at[1])),
              at[1]: elements((0x90, 0x30, DATA + 2), (kind, 8, at[2])),
              at[2]: elements((0xD1, 0x40, DATA + 3))}
    assert take((0x90, 0x10, DATA), (kind, 8 + size | 2 << 16, at[0]), chain_offset=14, chains=chains) == [
        (DATA, 0x10), (DATA + 1, 0x20), (DATA + 2, 0x30), (DATA + 3, 0x40)]


def test_a_chain_element_at_the_very_end_of_the_frame():
    """Nine elements and the chain element fill 128 bytes; the chain is at dword 30."""
    pieces = [(0x10, 1, DATA + n) for n in range(8)] + [(0x90, 1, DATA + 8), (0x30, 8, CHAIN)]
    chains = {CHAIN: elements((0xD1, 1, DATA + 9))}
    assert take(*pieces, chain_offset=30, chains=chains) == [(DATA + n, 1) for n in range(10)]


CHAIN_HERE = {"chain_offset": 14, "chains": {CHAIN: elements((0xD1, 0x1000, DATA), (0, 0, 0), (0, 0, 0))}}
BAD: dict[str, tuple[tuple[Piece, ...], dict[str, object], str]] = {
    "all zero": (((0, 0, 0),), {}, "not a simple one"),
    "transaction element": (((0xC1, 1, DATA),), {}, "not a simple one"),
    "reserved type": (((0xE1, 1, DATA),), {}, "not a simple one"),
    "chain where a simple one must be": (((0xF1, 0, DATA),), {}, "not a simple one"),
    "IOC memory": (((0xD9, 1, DATA),), {}, "IOC memory"),
    "direction of a write": (((0xD5, 1, DATA),), {}, "other direction"),
    "direction of a read": (((0xD1, 1, DATA),), {"to_device": True}, "other direction"),
    "ends without end of buffer": (((0x91, 1, DATA),), {}, "not its segment and buffer"),
    "ends without last element": (((0x51, 1, DATA),), {}, "not its segment and buffer"),
    "last element, no chain": (((0x90, 1, DATA),), {}, "chain offset says 0x0"),
    "chain offset elsewhere": (((0x90, 1, DATA), (0x30, 8, CHAIN)), {**CHAIN_HERE, "chain_offset": 16},
                               "chain offset says 0x40"),
    "chain not announced": (((0x10, 1, DATA), (0x30, 8, CHAIN)), CHAIN_HERE, "lacks the last-element flag"),
    "chain offset beyond the frame": (((0x90, 1, DATA),), {"chain_offset": 14, "limit": 56}, "outside"),
    "no end in the frame": (tuple([(0x10, 1, DATA)] * 10), {}, "outside the segment"),
    "64-bit element cut by the frame's end": ((*[(0x10, 1, DATA)] * 9, (0xD3, 1, DATA)), {}, "outside"),
    "chain of no length": (((0x90, 1, DATA), (0x30, 0, CHAIN)), CHAIN_HERE, "0 bytes hold no list"),
    "chain of 18 bytes": (((0x90, 1, DATA), (0x30, 18, CHAIN)), CHAIN_HERE, "18 bytes hold no list"),
    "chain in IOC memory": (((0x90, 1, DATA), (0x38, 8, CHAIN)), CHAIN_HERE, "in host memory"),
    "simple where the chain must be": (((0x90, 1, DATA), (0x10, 8, CHAIN)), CHAIN_HERE,
                                       "not a chain element"),
    "chain that ends too early": (((0x90, 1, DATA), (0x30, 8, CHAIN)),
                                  {"chain_offset": 14, "chains": {CHAIN: elements((0x10, 1, DATA))}},
                                  "outside"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_list(name):
    """Each is refused for its own reason."""
    pieces, options, reason = BAD[name]
    with pytest.raises(SglError, match=reason):
        take(*pieces, **{"limit": FRAME_BYTES, **options})


def test_a_chain_that_never_ends():
    """A chain buffer that chains to itself is given up after MaxChainDepth."""
    chains = {CHAIN: elements((0x90, 1, DATA), (0x30, 16 | 2 << 16, CHAIN))}
    with pytest.raises(SglError, match="more than 34 chain elements"):
        take((0x90, 1, DATA), (0x30, 16 | 2 << 16, CHAIN), chain_offset=14, chains=chains)
