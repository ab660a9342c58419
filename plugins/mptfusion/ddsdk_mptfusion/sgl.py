"""Scatter/gather lists: simple elements in the request frame, chains from there into its chain buffers.

Element layout: LSI mpi.h 01.05.13 ("SGE field definition and masks").  An element is 8 bytes below 4 GiB and
12 above; each is as short as its own address allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE

from .adapter import MPT_REQUEST_BYTES
from .frames import (
    SCSIIO_SGL_OFFSET,
    SGE_FLAGS_64_BIT_ADDRESSING,
    SGE_FLAGS_CHAIN_ELEMENT,
    SGE_FLAGS_END_OF_BUFFER,
    SGE_FLAGS_END_OF_LIST,
    SGE_FLAGS_HOST_TO_IOC,
    SGE_FLAGS_LAST_ELEMENT,
    SGE_FLAGS_SHIFT,
    SGE_FLAGS_SIMPLE_ELEMENT,
    SGE_LAST_READ_32,
    SGE_LENGTH_MASK,
    SCSIIORequest,
    SGEChain32,
)

if TYPE_CHECKING:
    from .adapter import MptAdapter, MptRequest

GIB4: Final = 1 << 32
#: Dwords a list has in the request frame, and in one chain buffer.
FRAME_DWORDS: Final = (MPT_REQUEST_BYTES - SCSIIO_SGL_OFFSET) // 4
CHAIN_DWORDS: Final = MPT_REQUEST_BYTES // 4
CHAIN_ELEMENT_DWORDS: Final = SGEChain32.on(WIRE_LE).size // 4

_SIMPLE: Final = SGE_FLAGS_SIMPLE_ELEMENT << SGE_FLAGS_SHIFT
_WRITE: Final = SGE_FLAGS_HOST_TO_IOC << SGE_FLAGS_SHIFT
_64: Final = SGE_FLAGS_64_BIT_ADDRESSING << SGE_FLAGS_SHIFT
_LAST: Final = SGE_FLAGS_LAST_ELEMENT << SGE_FLAGS_SHIFT
_END: Final = (SGE_FLAGS_LAST_ELEMENT | SGE_FLAGS_END_OF_BUFFER | SGE_FLAGS_END_OF_LIST) << SGE_FLAGS_SHIFT
_CHAIN: Final = SGE_FLAGS_CHAIN_ELEMENT << SGE_FLAGS_SHIFT

#: A SCSIIORequest without its list.
REQUEST: Final = SCSIIORequest.on(WIRE_LE).struct
#: A SCSIIORequest and one 32-bit element: the whole frame of most commands in one go.
REQUEST_ONE_SGE: Final = Struct(REQUEST.format + "II")
#: The flags of that element, by direction: from the device, to the device.
ONE_SGE_FLAGS: Final = (SGE_LAST_READ_32, SGE_LAST_READ_32 | _WRITE)
_DWORDS: Final = tuple(Struct(f"<{count}I") for count in range(max(FRAME_DWORDS, CHAIN_DWORDS) + 1))


def elements(segments: Iterable[tuple[int, int]], to_device: bool) -> list[tuple[int, ...]]:
    """One simple element, as its dwords, for each (bus address, bytes); more where one cannot hold it."""
    base = _SIMPLE | _WRITE if to_device else _SIMPLE
    out: list[tuple[int, ...]] = []
    for address, length in segments:
        while length > SGE_LENGTH_MASK:
            out.append(_element(base, address, SGE_LENGTH_MASK & ~0xFFF))
            address += SGE_LENGTH_MASK & ~0xFFF
            length -= SGE_LENGTH_MASK & ~0xFFF
        if address + length <= GIB4:
            out.append((base | length, address))
        else:
            out.append(_element(base, address, length))
    return out


def _element(base: int, address: int, length: int) -> tuple[int, ...]:
    if address + length <= GIB4:
        return (base | length, address)
    return (base | _64 | length, address & 0xFFFFFFFF, address >> 32)


def put_sgl(ioc: MptAdapter, request: MptRequest, segments: Sequence[tuple[int, int]],
            to_device: bool) -> int | None:
    """Write the list of *segments* into the frame and chain buffers of *request*.

    Returns the request's ChainOffset in dwords (0: no chain), or None when there are more segments than
    `ioc.sg_tablesize` or more elements than the chain buffers hold.
    """
    if _put_short(ioc, request, segments, to_device):
        return 0
    if len(segments) > ioc.sg_tablesize:
        return None
    rest = elements(segments, to_device)
    flags, *address = rest[-1]
    rest[-1] = (flags | _END, *address)
    if sum(map(len, rest)) <= FRAME_DWORDS:
        _put(ioc, request.frame_offset + SCSIIO_SGL_OFFSET, rest, ())
        return 0
    pieces = _cut(rest)
    if len(pieces) - 1 > ioc.chain_levels:
        return None
    at = request.frame_offset + SCSIIO_SGL_OFFSET
    for level, piece in enumerate(pieces):
        chain: tuple[int, ...] = ()
        if level + 1 < len(pieces):
            chain = _chain_element(request, level, pieces[level + 1], last=level + 2 == len(pieces))
        _put(ioc, at, piece, chain)
        at = request.chain_offset + level * MPT_REQUEST_BYTES
    return SCSIIO_SGL_OFFSET // 4 + _size(pieces[0])


def _put_short(ioc: MptAdapter, request: MptRequest, segments: Sequence[tuple[int, int]],
               to_device: bool) -> bool:
    """The common case, quickly: a few segments below 4 GiB, all in the frame.  False: it is another case."""
    if len(segments) > FRAME_DWORDS // 2:
        return False
    base = _SIMPLE | _WRITE if to_device else _SIMPLE
    dwords: list[int] = []
    for address, length in segments:
        if length > SGE_LENGTH_MASK or address + length > GIB4:
            return False
        dwords += (base | length, address)
    dwords[-2] |= _END
    _DWORDS[len(dwords)].pack_into(ioc.view, request.frame_offset + SCSIIO_SGL_OFFSET, *dwords)
    return True


def _cut(rest: list[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """What goes into the frame and each chain buffer; all but the last leave room for a chain element."""
    pieces: list[list[tuple[int, ...]]] = []
    room, start = FRAME_DWORDS - CHAIN_ELEMENT_DWORDS, 0
    left = sum(map(len, rest))
    while start < len(rest):
        if pieces and left <= CHAIN_DWORDS:
            pieces.append(rest[start:])
            break
        used, end = 0, start
        while used + len(rest[end]) <= room:
            used += len(rest[end])
            end += 1
        pieces.append(rest[start:end])
        left -= used
        start, room = end, CHAIN_DWORDS - CHAIN_ELEMENT_DWORDS
    for piece in pieces[:-1]:
        flags, *address = piece[-1]
        piece[-1] = (flags | _LAST, *address)
    return pieces


def _chain_element(request: MptRequest, level: int, piece: list[tuple[int, ...]],
                   last: bool) -> tuple[int, ...]:
    """The element that leads to chain buffer *level*, which holds *piece*."""
    size = _size(piece)
    length = size if last else size + CHAIN_ELEMENT_DWORDS
    next_offset = 0 if last else size
    return (_CHAIN | next_offset << 16 | length * 4, request.chain_bus_addr + level * MPT_REQUEST_BYTES)


def _size(piece: Iterable[tuple[int, ...]]) -> int:
    """Dwords."""
    return sum(map(len, piece))


def _put(ioc: MptAdapter, at: int, piece: Iterable[tuple[int, ...]], chain: tuple[int, ...]) -> None:
    dwords = [dword for element in piece for dword in element]
    dwords += chain
    _DWORDS[len(dwords)].pack_into(ioc.view, at, *dwords)
