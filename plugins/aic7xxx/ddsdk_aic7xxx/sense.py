"""Autosense: REQUEST SENSE in the element of the command that got CHECK CONDITION.  hw-aic7xxx.md 9.1."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.scsi.host import SCSI_2

from .adapter import AHC_LUNS, SENSE_BYTES, SG_LIST_BYTES
from .frames import (
    MK_MESSAGE,
    SCB_CDB_LEN,
    SCB_CONTROL,
    SCB_DATAPTR,
    SCB_LUN,
    SCB_SCSIOFFSET,
    SCB_SCSIRATE,
    SG_BYTES,
    SG_FULL_RESID,
    SG_LAST,
)
from .queue import ahc_requeue_tail, element

if TYPE_CHECKING:
    from .adapter import Ahc, AhcScb

_DATA: Final = Struct("<3I")
_ELEMENT: Final = Struct("<2I")
_REQUEST_SENSE: Final = 0x03
_CDB_LEN: Final = 6


def ahc_queue_sense(ahc: Ahc, scb: AhcScb, *, nothing_moved: bool) -> None:
    """Build REQUEST SENSE where the command was, same tag, untagged, connected to the end; queue it.

    *nothing_moved*: the target may have been exchanged or switched on; agree with it anew.
    """
    scmd, dev = scb.scmd, scb.dev
    assert scmd is not None
    assert dev is not None
    target = dev.target
    if nothing_moved:
        target.renegotiate()
    scb.sensing = True
    scb.nseg = 1
    scb.negotiate = target.negotiate
    bus_addr, count = ahc.memory.sense.bus_addr + scb.number * SENSE_BYTES, SG_LAST | SENSE_BYTES
    raw = element(ahc, scb)
    lun = dev.lun << 5 if scmd.device.scsi_level <= SCSI_2 and dev.lun < AHC_LUNS else 0
    raw[:_CDB_LEN] = bytes((_REQUEST_SENSE, lun, 0, 0, SENSE_BYTES, 0))
    _DATA.pack_into(raw, SCB_DATAPTR, bus_addr, count, ahc.sg_bus_addr(scb) + SG_BYTES | SG_FULL_RESID)
    _ELEMENT.pack_into(ahc.sg_view, scb.number * SG_LIST_BYTES, bus_addr, count)
    raw[SCB_CONTROL] = MK_MESSAGE if target.negotiate else 0
    raw[SCB_LUN] = dev.lun
    raw[SCB_CDB_LEN] = _CDB_LEN
    raw[SCB_SCSIRATE], raw[SCB_SCSIOFFSET] = target.curr.scsirate, target.curr.offset
    ahc_requeue_tail(ahc, scb)
