"""Where the sequencer's own fields are in the scratch page, for the steps that every command takes.

`chip.get(Scratch.X)` says the same of any field; these are for `chip.scratch[AT]`, `u16(chip.scratch, AT)` and
`put16(chip.scratch, AT, value)`.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from .regs import Scratch

if TYPE_CHECKING:
    from ddsdk.regs import Placed

SCRATCH_AT: Final = 0x100
SCRATCH_BYTES: Final = 0x80

_U16: Final = Struct("<H")
_U32: Final = Struct("<I")
unpack16: Final = _U16.unpack_from
put16: Final = _U16.pack_into
unpack32: Final = _U32.unpack_from
put32: Final = _U32.pack_into


def _at(field: Placed[Any]) -> int:
    return field.offset - SCRATCH_AT


WAITING_TID_HEAD: Final = _at(Scratch.WAITING_TID_HEAD)
WAITING_TID_TAIL: Final = _at(Scratch.WAITING_TID_TAIL)
#: By target: the first one's place; two bytes each.
WAITING_SCB_TAILS: Final = _at(Scratch.WAITING_SCB_TAILS[0])
NEXT_QUEUED_SCB_ADDR: Final = _at(Scratch.NEXT_QUEUED_SCB_ADDR)
COMPLETE_SCB_HEAD: Final = _at(Scratch.COMPLETE_SCB_HEAD)
COMPLETE_DMA_SCB_HEAD: Final = _at(Scratch.COMPLETE_DMA_SCB_HEAD)
MSG_OUT: Final = _at(Scratch.MSG_OUT)
SEQ_FLAGS: Final = _at(Scratch.SEQ_FLAGS)
SAVED_SCSIID: Final = _at(Scratch.SAVED_SCSIID)
SAVED_LUN: Final = _at(Scratch.SAVED_LUN)
LASTPHASE: Final = _at(Scratch.LASTPHASE)
QOUTFIFO_ENTRY_VALID_TAG: Final = _at(Scratch.QOUTFIFO_ENTRY_VALID_TAG)
SHARED_DATA_ADDR: Final = _at(Scratch.SHARED_DATA_ADDR)
QOUTFIFO_NEXT_ADDR: Final = _at(Scratch.QOUTFIFO_NEXT_ADDR)
LAST_MSG: Final = _at(Scratch.LAST_MSG)
SEQ_FLAGS2: Final = _at(Scratch.SEQ_FLAGS2)
CMDS_PENDING: Final = _at(Scratch.CMDS_PENDING)
LOCAL_HS_MAILBOX: Final = _at(Scratch.LOCAL_HS_MAILBOX)
