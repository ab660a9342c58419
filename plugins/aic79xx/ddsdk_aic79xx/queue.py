"""Handing commands to the chip: building an SCB, the exchange of elements, the queue of tags.

The chip knows only the address of the element it fetches next.  So a command is written into the element that is
reserved for it, and the command's own element becomes the reserved one; the tag goes with the content.
Source: aic79xx_inline.h, aic79xx_osm.c (Linux 2.6.9); layouts in frames.py.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE

from .ahd import Addressing
from .frames import (
    CDB_INLINE_MAX,
    SG_HIGH_ADDR_MASK,
    SG_HIGH_ADDR_SHIFT,
    SG_LAST_SEG,
    Control,
    HardwareScb,
    SgElement,
    SgElement64,
    SgFlag,
)
from .scb import Scb, ScbFlag
from .sequencer import AHD_SCB_MAX, QOFF_MASK

if TYPE_CHECKING:
    from .ahd import AhdSoftc

_pack: Final = HardwareScb.on(WIRE_LE).struct.pack_into
_element: Final = SgElement.on(WIRE_LE).struct.pack_into
_element64: Final = SgElement64.on(WIRE_LE).struct.pack_into
_NEXT_AT: Final = HardwareScb.on(WIRE_LE).offsetof("next_hscb_busaddr")
_U32: Final = Struct("<I")
_SPARE: Final = bytes(8)
#: The LUN of a packet, little-endian: single-level addressing has it in the last byte but one.
_LONG_LUN_SHIFT: Final = 48
# plain numbers: the per-command path makes no enums
_DISCENB, _MK_MESSAGE, _DISCONNECTED = int(Control.DISCENB), int(Control.MK_MESSAGE), int(Control.DISCONNECTED)
_TAGGED: Final = _DISCENB | int(Control.TAG_ENB)
_FULL_RESID, _LIST_NULL = int(SgFlag.FULL_RESID), int(SgFlag.LIST_NULL)
_PACKETIZED: Final = int(ScbFlag.PACKETIZED)
_PER_SENDING: Final = _PACKETIZED | int(ScbFlag.NEGOTIATE)
_MESSAGE: Final = int(ScbFlag.ABORT | ScbFlag.DEVICE_RESET)
REQUEST_SENSE: Final = 0x03
#: Bytes of autosense without information units.
SENSE_BYTES: Final = 32


def ahd_sg_setup(ahd: AhdSoftc, scb: Scb, segments: list[tuple[int, int]]) -> tuple[int, int, int]:
    """Write the scatter list of *scb*; (dataptr, datacnt, sgptr) of its HardwareScb."""
    if not segments:
        return 0, 0, _LIST_NULL
    view, at, size, last = ahd.sg_view, scb.sg_offset, ahd.sg_size, len(segments) - 1
    wide = ahd.addressing is Addressing.BITS_64
    if not last and not wide:               # one segment: the common case
        address, nbytes = segments[0]
        word = nbytes | SG_LAST_SEG | (address >> 32 & SG_HIGH_ADDR_MASK) << SG_HIGH_ADDR_SHIFT
        _element(view, at, address & 0xFFFFFFFF, word)
        return address, word, scb.sg_busaddr + size | _FULL_RESID
    words = []
    for number, (address, nbytes) in enumerate(segments):
        word = nbytes | (SG_LAST_SEG if number == last else 0)
        if wide:
            _element64(view, at, address, word, 0)
        else:
            word |= (address >> 32 & SG_HIGH_ADDR_MASK) << SG_HIGH_ADDR_SHIFT
            _element(view, at, address & 0xFFFFFFFF, word)
        words.append(word)
        at += size
    return segments[0][0], words[0], scb.sg_busaddr + size | _FULL_RESID


def ahd_send(ahd: AhdSoftc, scb: Scb, segments: list[tuple[int, int]], *, disconnect: bool = True) -> None:
    """Build the HardwareScb of *scb* and give it to the chip.

    The first command after a bus reset carries a message (MK_MESSAGE), as does one that aborts or resets.
    """
    target = ahd.targets[scb.target]
    control = (_TAGGED if scb.tagged else _DISCENB) if disconnect else 0
    flags = scb.flags & ~_PER_SENDING
    if flags & _MESSAGE:
        # an abort may be overtaken by the target's return for the command: that has to find it disconnected
        control |= _MK_MESSAGE | (_DISCONNECTED if flags & ScbFlag.ABORT else 0)
    elif target.forced or (target.curr is not target.goal and target.curr != target.goal):
        control |= _MK_MESSAGE
        flags |= ScbFlag.NEGOTIATE
    data = ahd_sg_setup(ahd, scb, segments)
    attribute = 0
    if control & _MK_MESSAGE or not target.curr.packetized:
        attribute = sum([nbytes for _, nbytes in segments]) & 1
    else:
        flags |= _PACKETIZED
    scb.flags = flags
    cdb = scb.cdb
    if len(cdb) <= CDB_INLINE_MAX:
        cdb_bytes, sense = cdb.ljust(CDB_INLINE_MAX, b"\0"), scb.sense_busaddr
    else:
        cdb_bytes, sense = cdb[:CDB_INLINE_MAX], int.from_bytes(cdb[CDB_INLINE_MAX:].ljust(4, b"\0"), "little")
    ahd_queue_scb(ahd, scb, (cdb_bytes, sense, scb.tag, control, scb.target << 4 | ahd.our_id, scb.lun, attribute,
                             len(cdb), scb.task_management, *data))


def ahd_send_sense(ahd: AhdSoftc, scb: Scb, *, by_lun: bool, renegotiate: bool) -> None:
    """REQUEST SENSE in place of the command that ended with CHECK CONDITION: same SCB, same tag, other element.

    *by_lun*: the target is old enough to want its LUN in the CDB, too.  *renegotiate*: nothing moved; perhaps the
    target has forgotten what was agreed.
    """
    scb.flags = scb.flags & ~_PER_SENDING | ScbFlag.SENSE
    control = 0
    if renegotiate or ahd.targets[scb.target].must_negotiate:
        control = _MK_MESSAGE
        scb.flags |= ScbFlag.NEGOTIATE
    cdb = bytes((REQUEST_SENSE, scb.lun << 5 if by_lun else 0, 0, 0, SENSE_BYTES, 0))
    data = ahd_sg_setup(ahd, scb, [(scb.sense_busaddr, SENSE_BYTES)])
    left_over = bytes(scb.element.view[len(cdb):CDB_INLINE_MAX])
    ahd_queue_scb(ahd, scb, (cdb + left_over, scb.sense_busaddr, scb.tag, control, scb.target << 4 | ahd.our_id,
                             scb.lun, 0, len(cdb), 0, *data))


def ahd_queue_scb(ahd: AhdSoftc, scb: Scb, fields: tuple[object, ...]) -> None:
    """void ahd_queue_scb(struct ahd_softc *, struct scb *): the exchange.  No pause is needed."""
    element, spare = ahd.reserved, scb.element
    long_lun = scb.lun << _LONG_LUN_SHIFT if ahd.pkt_lun else 0
    _pack(element.view, 0, *fields, element.busaddr, spare.busaddr, long_lun, _SPARE)
    ahd.pending[scb.tag] = scb
    scb.element, ahd.reserved = element, spare
    ahd.qin[ahd.qinnext % AHD_SCB_MAX] = scb.tag
    ahd.qinnext = ahd.qinnext + 1 & QOFF_MASK
    ahd.set_hnscb_qoff(ahd.qinnext)


def link(scb: Scb, next_busaddr: int) -> None:
    """The element of *scb* is followed by another one than it was queued with."""
    _U32.pack_into(scb.element.view, _NEXT_AT, next_busaddr)
