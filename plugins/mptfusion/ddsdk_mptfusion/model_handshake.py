"""The doorbell handshake: a message dword by dword in, its reply word by word out.

LSI mpi.h 01.05.13 (doorbell and interrupt bits); order of events as Linux 2.6.9 mptbase.c drives it and QEMU
7.2 confirms it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from struct import unpack
from typing import TYPE_CHECKING

from .mpi import IOCStatus
from .regs import FaultCode

if TYPE_CHECKING:
    from .model_core import IocCore

_HEADER_BYTES = 12


class Phase(Enum):
    """Where a handshake is; everything but IDLE shows as Doorbell bit 27."""

    IDLE = "no handshake"
    REQUEST = "dwords of the request are expected"
    WORKING = "the request is complete, its reply not yet there"
    REPLY = "words of the reply are offered"
    END = "the last word was taken, the closing interrupt was not"


class Handshake:
    """One handshake at a time; a word is offered with a doorbell interrupt and gone once that is cleared."""

    def __init__(self, ioc: IocCore) -> None:
        self._ioc = ioc
        self.phase = Phase.IDLE
        self._expected = 0
        self._request = bytearray()
        self._words: list[int] = []
        self._offered: int | None = None

    def reset(self) -> None:
        """Whatever was under way is forgotten."""
        self.phase = Phase.IDLE
        self._request.clear()
        self._words.clear()
        self._offered = None

    @property
    def data(self) -> int:
        """Doorbell 15:0 while a handshake is under way; meaningless (0) while no word is offered."""
        return self._offered or 0

    def start(self, dwords: int) -> None:
        """HANDSHAKE was written to the doorbell: a request of *dwords* dwords follows."""
        ioc = self._ioc
        if not 1 <= dwords <= ioc.chip.RequestFrameSize:
            ioc.enter_fault(FaultCode.INVALID_FUNCTION)
            return
        self.phase = Phase.REQUEST
        self._expected = dwords * 4
        self._request.clear()
        ioc.raise_doorbell()

    def dword(self, value: int) -> None:
        """The next dword of the request was taken."""
        self._request += value.to_bytes(4, "little")
        if len(self._request) < self._expected:
            return
        self.phase = Phase.WORKING
        ioc = self._ioc
        if ioc.faults.hit("handshake-silent") is not None:
            return
        request = bytes(self._request).ljust(_HEADER_BYTES, b"\0")
        struck = ioc.faults.hit("handshake-status")
        if struck is None:
            outcome = ioc.messages.handle(request, by_handshake=True)
        else:
            outcome = ioc.messages.refuse(request, struck.get("status", IOCStatus.INTERNAL_ERROR))
        if outcome is not None:
            delay_ns, finish = outcome
            ioc.later(delay_ns, self._answer, finish)

    def acknowledge(self) -> None:
        """The host cleared the doorbell interrupt."""
        if self.phase is Phase.REPLY:
            self._offered = None
            if not self._words:
                self.phase = Phase.END
            self._ioc.later(self._ioc.timing.handshake_word_ns, self._offer)
        elif self.phase is Phase.END:
            self.phase = Phase.IDLE

    def _answer(self, finish: Callable[[], bytes]) -> None:
        ioc = self._ioc
        reply = finish()
        faults = ioc.faults
        self._words = list(unpack(f"<{len(reply) // 2}H", reply))
        struck = faults.hit("handshake-garbled")
        if struck is not None:
            mask = struck.get("xor", 0x5A5A)
            self._words = [word ^ mask for word in self._words]
        struck = faults.hit("handshake-short")
        if struck is not None:
            del self._words[struck.get("words", 4):]
        self.phase = Phase.REPLY if self._words else Phase.END
        self._offer()

    def _offer(self) -> None:
        if self.phase is Phase.REPLY:
            self._offered = self._words.pop(0)
        self._ioc.raise_doorbell()
