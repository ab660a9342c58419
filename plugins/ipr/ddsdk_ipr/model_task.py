"""One request the adapter works on; also its data phase, as a SCSI target sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddsdk.sim.scsi_unit import ScatterData

if TYPE_CHECKING:
    from collections.abc import Callable

    from .model_scsi import Unit

Segment = tuple[int, int]


class Request(ScatterData):
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
