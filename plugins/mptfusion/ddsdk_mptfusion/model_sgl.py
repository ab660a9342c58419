"""Walking a scatter/gather list: simple and chain elements, 32- and 64-bit, with every rule enforced.

MPI 1.x, "Scatter Gather Elements" (LSI mpi.h 01.05.13); what is refused where: QEMU 7.2 mptsas1068, observed
(wrong element type, list shorter than the data).  Stricter than either: direction bit, closing flags, a chain
element that is not announced, IOC-local addresses.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from .mpi import (
    SCSIIO_SGL_OFFSET,
    SGE_CHAIN_LENGTH_MASK,
    SGE_FLAGS_64_BIT_ADDRESSING,
    SGE_FLAGS_CHAIN_ELEMENT,
    SGE_FLAGS_ELEMENT_TYPE_MASK,
    SGE_FLAGS_END_OF_BUFFER,
    SGE_FLAGS_END_OF_LIST,
    SGE_FLAGS_HOST_TO_IOC,
    SGE_FLAGS_LAST_ELEMENT,
    SGE_FLAGS_LOCAL_ADDRESS,
    SGE_FLAGS_SIMPLE_ELEMENT,
    SGE_LENGTH_MASK,
)

_dwords = Struct("<II").unpack_from
_address64 = Struct("<Q").unpack_from
_ENDING = SGE_FLAGS_LAST_ELEMENT | SGE_FLAGS_END_OF_BUFFER | SGE_FLAGS_END_OF_LIST
_ANY_END = SGE_FLAGS_LAST_ELEMENT | SGE_FLAGS_END_OF_LIST
_KIND = SGE_FLAGS_ELEMENT_TYPE_MASK | SGE_FLAGS_LOCAL_ADDRESS

Segment = tuple[int, int]
#: (start, bytes) -> that much host memory
Fetch = Callable[[int, int], bytes]


class SglError(Exception):
    """The IOC will not take this list; the text says why, for the trace."""


class _Stretch:
    """Elements in a row: the request frame's tail or a chain buffer, fetched as far as it is read."""

    __slots__ = ("_fetch", "_start", "data", "limit")

    def __init__(self, start: int, limit: int, fetch: Fetch, data: bytes = b"") -> None:
        self._start = start
        self.limit = limit
        self._fetch = fetch
        self.data = data

    def upto(self, end: int) -> bytes:
        """The bytes, at least as far as *end*; more are fetched, by doubling, when they are needed."""
        data = self.data
        if end > len(data):
            if end > self.limit:
                raise SglError(f"an element ends at {end:#x}, outside the segment's {self.limit:#x} bytes")
            data = self.data = self._fetch(self._start, min(self.limit, max(end, 2 * len(data))))
        return data


def walk(frame: bytes, frame_start: int, frame_limit: int, chain_offset: int, to_device: bool | None,
         max_chains: int, fetch: Fetch) -> list[Segment]:
    """[(bus address, bytes)] of the list that starts at byte 0x30 of a request.

    *frame*: what was fetched of it, at bus address *frame_start*; *frame_limit*: RequestFrameSize in bytes;
    *chain_offset*: the request's ChainOffset in dwords.  SglError for a list the IOC refuses.
    """
    stretch = _Stretch(frame_start, frame_limit, fetch, frame)
    at, chain_at = SCSIIO_SGL_OFFSET, chain_offset * 4
    pieces: list[Segment] = []
    for _ in range(max_chains + 1):
        if _simple_elements(stretch, at, chain_at, to_device, pieces):
            return pieces
        stretch, chain_at = _next_stretch(stretch, chain_at, fetch)
        at = 0
    raise SglError(f"more than {max_chains} chain elements")


def _simple_elements(stretch: _Stretch, at: int, chain_at: int, to_device: bool | None,
                     pieces: list[Segment]) -> bool:
    """Take simple elements up to the stretch's last; true when the list ended there, false at a chain."""
    data, have = stretch.data, len(stretch.data)
    mask = _KIND if to_device is None else _KIND | SGE_FLAGS_HOST_TO_IOC
    wanted = SGE_FLAGS_SIMPLE_ELEMENT | SGE_FLAGS_HOST_TO_IOC if to_device else SGE_FLAGS_SIMPLE_ELEMENT
    while True:
        end = at + 8
        if end > have:
            data = stretch.upto(end)
            have = len(data)
        first, address = _dwords(data, at)
        flags, length = first >> 24, first & SGE_LENGTH_MASK
        if flags & SGE_FLAGS_64_BIT_ADDRESSING:
            end = at + 12
            if end > have:
                data = stretch.upto(end)
                have = len(data)
            address = _address64(data, at + 4)[0]
        if flags & mask != wanted and (length or flags & _KIND != SGE_FLAGS_SIMPLE_ELEMENT):
            raise SglError(_complaint(first, at))
        if length:
            pieces.append((address, length))
        if flags & _ANY_END:
            return _closed(first, at, end, chain_at)
        at = end
        if at == chain_at:
            raise SglError(f"the element before the chain element at {at:#x} lacks the last-element flag")


def _complaint(first: int, at: int) -> str:
    flags = first >> 24
    if flags & SGE_FLAGS_ELEMENT_TYPE_MASK != SGE_FLAGS_SIMPLE_ELEMENT:
        return f"element {first:#010x} at {at:#x} is not a simple one"
    if flags & SGE_FLAGS_LOCAL_ADDRESS:
        return f"element {first:#010x} at {at:#x} points into IOC memory"
    return f"element {first:#010x} at {at:#x} has the other direction than the command"


def _closed(first: int, at: int, end: int, chain_at: int) -> bool:
    """What a closing element closes: the whole list (true) or its stretch; SglError when it does so badly."""
    flags = first >> 24
    if flags & SGE_FLAGS_END_OF_LIST:
        if flags & _ENDING != _ENDING:
            raise SglError(f"element {first:#010x} at {at:#x} ends the list, not its segment and buffer")
        return True
    if end != chain_at:
        raise SglError(f"the last element ends at {end:#x}; the chain offset says {chain_at:#x}")
    return False


def _next_stretch(stretch: _Stretch, chain_at: int, fetch: Fetch) -> tuple[_Stretch, int]:
    """What the chain element at *chain_at* points to, and where in there the next chain element is."""
    first, address = _dwords(stretch.upto(chain_at + 8), chain_at)
    flags = first >> 24
    if flags & _KIND != SGE_FLAGS_CHAIN_ELEMENT:
        raise SglError(f"element {first:#010x} at {chain_at:#x} is not a chain element in host memory")
    if flags & SGE_FLAGS_64_BIT_ADDRESSING:
        address = _address64(stretch.upto(chain_at + 12), chain_at + 4)[0]
    length = first & SGE_CHAIN_LENGTH_MASK
    if length < 8 or length % 4:
        raise SglError(f"chain element {first:#010x}: {length} bytes hold no list")
    return _Stretch(address, length, fetch), (first >> 16 & 0xFF) * 4
