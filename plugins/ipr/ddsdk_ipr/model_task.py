"""One request the adapter works on; also its data phase, as a SCSI target sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .model_scsi import Unit

Segment = tuple[int, int]


class Request:
    """A request block, parsed.  `dead`: it has ended, or nothing answers for it any more.

    `length` bytes of host memory in `segments`; `to_device` None: no data.
    """

    __slots__ = ("address", "cdb", "dead", "flags_hi", "flags_lo", "ioasa_address", "ioasa_bytes", "length",
                 "res_handle", "response_handle", "segments", "to_device", "type", "unit", "view")

    cdb: bytes
    flags_hi: int
    flags_lo: int
    ioasa_address: int
    ioasa_bytes: int
    length: int
    res_handle: int
    response_handle: int
    segments: list[Segment]
    type: int
    view: Callable[[int, int, bool], list[memoryview]]

    def __init__(self, address: int) -> None:
        self.address = address
        self.dead = False
        self.to_device: bool | None = None
        self.unit: Unit | None = None

    def gather(self, n: int) -> list[memoryview]:
        """See `DataPhase.gather`."""
        return self._views(n, True)

    def scatter(self, n: int) -> list[memoryview]:
        """See `DataPhase.scatter`."""
        return self._views(n, False)

    def put(self, data: bytes) -> int:
        """See `DataPhase.put`."""
        n = min(len(data), self.length)
        at = 0
        for view in self._views(n, False):
            view[:] = data[at:at + len(view)]
            at += len(view)
        return n

    def take(self) -> bytes:
        """Everything the host sends along."""
        return b"".join(self._views(self.length, True))

    def _views(self, n: int, to_device: bool) -> list[memoryview]:
        views: list[memoryview] = []
        for address, length in self.segments:
            if not n:
                break
            piece = min(n, length)
            views += self.view(address, piece, to_device)
            n -= piece
        return views
