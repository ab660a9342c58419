"""The host response queue: where it is, where the next entry goes, and which lap this is.

hw-ipr.md section 5.  There is no consumer register: the queue has a slot for each command block, so that it cannot
overflow as long as each is in flight once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .frames import HRRQ_HANDLE_MASK
from .regs import HRRQ_UPD

if TYPE_CHECKING:
    from .model_core import IoaCore

_WORD = 4


class Hrrq:
    """The queue of one adapter, as the adapter knows it."""

    def __init__(self, ioa: IoaCore) -> None:
        self._ioa = ioa
        self._write: Callable[[int, bytes], None]
        self.forget()

    def plugged(self) -> None:
        """DMA can be used from here on."""
        self._write = self._ioa.dma.write

    def forget(self) -> None:
        """No queue: a reset."""
        self.address = 0
        self.entries = 0
        self.position = 0
        self.toggle = 1

    def identify(self, address: int, nbytes: int) -> bool:
        """The host names its queue; false when it cannot be one."""
        if address % _WORD or nbytes % _WORD or not nbytes:
            return False
        self.address = address
        self.entries = nbytes // _WORD
        self.position = 0
        self.toggle = 1
        return True

    def post(self, handle: int) -> None:
        """A response handle becomes the next entry, and HRRQ_UPD comes up."""
        ioa = self._ioa
        position = self.position
        self._write(self.address + _WORD * position, (handle & HRRQ_HANDLE_MASK | self.toggle).to_bytes(_WORD))
        self._advance(position)
        if not ioa.int & HRRQ_UPD or ioa.faults.armed:
            ioa.raise_int(HRRQ_UPD)

    def post_stale(self, handle: int) -> None:
        """The same with the toggle bit of the lap before: to the host there is nothing new."""
        position = self.position
        stale = handle & HRRQ_HANDLE_MASK | self.toggle ^ 1
        self._write(self.address + _WORD * position, stale.to_bytes(_WORD))
        self._advance(position)
        self._ioa.raise_int(HRRQ_UPD)

    def _advance(self, position: int) -> None:
        self.position = position + 1
        if self.position == self.entries:
            self.position = 0
            self.toggle ^= 1
