"""Reads of the adapter's memory through MAILBOX, and the buffer a unit check leaves there.

hw-ipr.md section 9.  Word by word, each acknowledged by DBG_ACK; addresses in format 2 (BAR in the top nibble).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from ddsdk.abi import WIRE_BE
from ddsdk.errors import HardwareFault

from .regs import DBG_ACK, DBG_ALERT, RESET_ALERT
from .tables import SDT_READY_TO_USE, SDT_VALID_ENTRY, Hcam, HcamError, HcamOp, NotifyType, ResAddr, SdtEntry, SdtHeader

if TYPE_CHECKING:
    from .model_core import IoaCore

#: Where the table and the error buffer are: BAR 0, in the adapter's own memory behind it.
_TABLE = 0x00081000
_BUFFER = 0x00082000
_BODY_BYTES = 64


class _Phase(Enum):
    IDLE = "nothing under way"
    ALERTED = "both alerts are set; the address is awaited"
    READING = "words are handed out"


class Mailbox:
    """The handshake of one adapter, and the memory behind it."""

    def __init__(self, ioa: IoaCore) -> None:
        self._ioa = ioa
        self.forget()

    def forget(self) -> None:
        """A start of the firmware: the buffer of the last unit check is gone."""
        self.value = 0
        self._memory: dict[int, int] = {}
        self.stop()

    def stop(self) -> None:
        """A handshake that was under way is not."""
        self._phase = _Phase.IDLE
        self._at = 0

    def unit_check(self, prc: int) -> None:
        """The firmware failed with *prc*: the table says where the error buffer is."""
        ioa = self._ioa
        body = HcamError.on(WIRE_BE).pack(HcamError(failing_dev_ioasc=0x04448400, failing_dev_res_addr=ResAddr(),
                                                    prc=prc)).ljust(_BODY_BYTES, b"\0")
        hcam = Hcam.on(WIRE_BE).pack(Hcam(op_code=HcamOp.LOG_DATA, notify_type=NotifyType.ERROR_LOG_ENTRY,
                                          overlay_id=0xFF, length=len(body))) + body
        garbled = ioa.faults.hit("unit-check-buffer-garbled") is not None
        table = SdtHeader.on(WIRE_BE).pack(SdtHeader(
            state=0 if garbled else SDT_READY_TO_USE, num_entries=1, num_entries_used=1, dump_size=len(hcam)))
        table += SdtEntry.on(WIRE_BE).pack(SdtEntry(bar_str_offset=_BUFFER, end_offset=_BUFFER + len(hcam),
                                                    flags=SDT_VALID_ENTRY))
        self.stop()
        self._memory.clear()
        for start, data in ((_TABLE, table), (_BUFFER, hcam)):
            for at in range(0, len(data), 4):
                self._memory[start + at] = int.from_bytes(data[at:at + 4])
        self.value = _TABLE

    # -- the handshake -----------------------------------------------------------------------------------

    def written(self, value: int) -> None:
        """MAILBOX <- address: step 2 of the handshake."""
        self.value = value
        if self._phase is _Phase.ALERTED:
            self._at = value

    def alerts_set(self, uproc: int) -> None:
        """UPROC has new bits."""
        both = RESET_ALERT | DBG_ALERT
        if self._phase is _Phase.IDLE and uproc & both == both:
            self._phase = _Phase.ALERTED
            self._acknowledge()

    def alerts_cleared(self, cleared: int) -> None:
        """UPROC lost bits: RESET_ALERT asks for the first word, DBG_ALERT ends the handshake."""
        if self._phase is _Phase.ALERTED and cleared & RESET_ALERT:
            self._phase = _Phase.READING
            self._offer()
        elif cleared & DBG_ALERT and self._phase is not _Phase.IDLE:
            self.stop()
            self._ioa.later(self._ioa.timing.debug_ack_ns, self._ioa.drop_reset_alert)

    def acknowledged(self) -> None:
        """The host took a word and wants the next."""
        if self._phase is _Phase.READING:
            self._at += 4
            self._offer()

    def _offer(self) -> None:
        if self._at not in self._memory:
            raise HardwareFault(f"MAILBOX: {self._at:#010x} is read, where the adapter has nothing to show; a unit"
                                " check leaves a table at the address MAILBOX then holds")
        self.value = self._memory[self._at]
        self._acknowledge()

    def _acknowledge(self) -> None:
        ioa = self._ioa
        if ioa.faults.hit("mailbox-silent") is None:
            ioa.later(ioa.timing.debug_ack_ns, ioa.raise_int, DBG_ACK)
