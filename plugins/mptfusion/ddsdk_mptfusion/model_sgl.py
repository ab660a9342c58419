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

_U32X2 = Struct("<II")
_U64 = Struct("<Q")
_ENDING = SGE_FLAGS_LAST_ELEMENT | SGE_FLAGS_END_OF_BUFFER | SGE_FLAGS_END_OF_LIST

Segment = tuple[int, int]
#: (segment's start, bytes wanted from it) -> its bytes, at least that many
Fetch = Callable[[int, int], bytes]


class SglError(Exception):
    """The IOC will not take this list; the text says why, for the trace."""


class _Segment:
    """A stretch of elements: the request frame's tail or a chain buffer, fetched as far as it is read."""

    __slots__ = ("_data", "_fetch", "_start", "limit")

    def __init__(self, start: int, limit: int, fetch: Fetch, data: bytes = b"") -> None:
        self._start = start
        self.limit = limit
        self._fetch = fetch
        self._data = data

    def element(self, at: int) -> tuple[int, int, int]:
        """(first dword, address, size of the element) at byte *at*."""
        first, address = self._words(at, 8)
        if first >> 24 & SGE_FLAGS_64_BIT_ADDRESSING:
            self._words(at, 12)
            address = _U64.unpack_from(self._data, at + 4)[0]
            return first, address, 12
        return first, address, 8

    def _words(self, at: int, size: int) -> tuple[int, int]:
        end = at + size
        if end > self.limit:
            raise SglError(f"element at {at:#x} runs past the segment's {self.limit:#x} bytes")
        if end > len(self._data):
            self._data = self._fetch(self._start, min(self.limit, max(end, 2 * len(self._data))))
        first, second = _U32X2.unpack_from(self._data, at)
        return first, second


def walk(frame: bytes, frame_start: int, frame_limit: int, chain_offset: int, to_device: bool | None,
         max_chains: int, fetch: Fetch) -> list[Segment]:
    """[(bus address, bytes)] of the list that starts at byte 0x30 of a request.

    *frame*: what was fetched of it, at bus address *frame_start*; *frame_limit*: RequestFrameSize in bytes;
    *chain_offset*: the request's ChainOffset in dwords.  SglError for a list the IOC refuses.
    """
    segment, at, chain_at = _Segment(frame_start, frame_limit, fetch, frame), SCSIIO_SGL_OFFSET, chain_offset * 4
    pieces: list[Segment] = []
    for _ in range(max_chains + 1):
        at = _simple_elements(segment, at, chain_at, to_device, pieces)
        if not at:
            return pieces
        segment, chain_at = _next_segment(segment, chain_at, fetch)
        at = 0
    raise SglError(f"more than {max_chains} chain elements")


def _simple_elements(segment: _Segment, at: int, chain_at: int, to_device: bool | None,
                     pieces: list[Segment]) -> int:
    """Take simple elements up to the segment's last; 0 when the list ended, else where the chain element is."""
    while True:
        if at == chain_at:
            raise SglError(f"the chain element at {at:#x} follows an element without the last-element flag")
        first, address, size = segment.element(at)
        flags, length = first >> 24, first & SGE_LENGTH_MASK
        if flags & SGE_FLAGS_ELEMENT_TYPE_MASK != SGE_FLAGS_SIMPLE_ELEMENT:
            raise SglError(f"element {first:#010x} at {at:#x} is not a simple one")
        if flags & SGE_FLAGS_LOCAL_ADDRESS:
            raise SglError(f"element {first:#010x} at {at:#x} points into IOC memory")
        if length:
            if to_device is not None and bool(flags & SGE_FLAGS_HOST_TO_IOC) is not to_device:
                raise SglError(f"element {first:#010x} at {at:#x} has the other direction than the command")
            pieces.append((address, length))
        if flags & SGE_FLAGS_END_OF_LIST:
            if flags & _ENDING != _ENDING:
                raise SglError(f"element {first:#010x} at {at:#x} ends the list but not its segment and buffer")
            return 0
        at += size
        if flags & SGE_FLAGS_LAST_ELEMENT:
            if at != chain_at:
                raise SglError(f"the last element before {at:#x} is not followed by the chain element "
                               f"the chain offset says ({chain_at:#x})")
            return at


def _next_segment(segment: _Segment, chain_at: int, fetch: Fetch) -> tuple[_Segment, int]:
    """What the chain element at *chain_at* points to, and where that segment's own chain element is."""
    first, address, _ = segment.element(chain_at)
    flags = first >> 24
    if flags & SGE_FLAGS_ELEMENT_TYPE_MASK != SGE_FLAGS_CHAIN_ELEMENT or flags & SGE_FLAGS_LOCAL_ADDRESS:
        raise SglError(f"element {first:#010x} at {chain_at:#x} is not a chain element in host memory")
    length = first & SGE_CHAIN_LENGTH_MASK
    if length < 8 or length % 4:
        raise SglError(f"chain element {first:#010x}: {length} bytes hold no list")
    return _Segment(address, length, fetch), (first >> 16 & 0xFF) * 4
