"""Lists of SCBs that wait for selection: one for each target, and the list of their heads.

Source: effects of aic79xx.seq rev 99 (Linux 2.6.9).
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from . import model_scratch as at
from .frames import Control, is_null
from .sequencer import SCB_LIST_NULL, SCB_LIST_NULL_HIGH

if TYPE_CHECKING:
    from .model_control import ChipControl

_CONTROL, _SCSIID, _NEXT, _NEXT2 = 0x12, 0x13, 0x2C, 0x2E
_U16: Final = Struct("<H")
_LINKS: Final = Struct("<2H")               # _NEXT and _NEXT2
_NULL: Final = SCB_LIST_NULL_HIGH           # high byte of a list's end
_MK_MESSAGE: Final = Control.MK_MESSAGE


def wait_for_target(chip: ChipControl, tag: int, slot: memoryview) -> None:
    """The SCB joins its target's list; one with a message to send waits by itself."""
    scratch = chip.scratch
    tail_at = at.WAITING_SCB_TAILS + 2 * (slot[_SCSIID] >> 4)
    if not slot[_CONTROL] & _MK_MESSAGE:
        tail = at.unpack16(scratch, tail_at)[0]
        at.put16(scratch, tail_at, tag)
        if not is_null(tail):
            _U16.pack_into(chip.slot(tail), _NEXT, tag)
            return
    _append_tid(chip, tag)


def _append_tid(chip: ChipControl, tag: int) -> None:
    scratch = chip.scratch
    if scratch[at.WAITING_TID_HEAD + 1] == _NULL:
        at.put16(scratch, at.WAITING_TID_HEAD, tag)
    else:
        _U16.pack_into(chip.slot(at.unpack16(scratch, at.WAITING_TID_TAIL)[0]), _NEXT2, tag)
    at.put16(scratch, at.WAITING_TID_TAIL, tag)


def take_head(chip: ChipControl) -> int:
    """The first SCB of the first target was selected: it leaves the lists; its target's next one waits its turn."""
    scratch = chip.scratch
    tag: int = at.unpack16(scratch, at.WAITING_TID_HEAD)[0]
    slot = chip.slot(tag)
    after, behind = _LINKS.unpack_from(slot, _NEXT)
    slot[_NEXT + 1] = slot[_NEXT2 + 1] = SCB_LIST_NULL_HIGH
    if is_null(behind):
        at.put16(scratch, at.WAITING_TID_HEAD, SCB_LIST_NULL)
        at.put16(scratch, at.WAITING_TID_TAIL, SCB_LIST_NULL)
    else:
        at.put16(scratch, at.WAITING_TID_HEAD, behind)
    tail_at = at.WAITING_SCB_TAILS + 2 * (slot[_SCSIID] >> 4)
    if not is_null(after):
        _append_tid(chip, after)
    elif at.unpack16(scratch, tail_at)[0] == tag:
        at.put16(scratch, tail_at, SCB_LIST_NULL)
    return tag
