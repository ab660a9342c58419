"""From scsi_cmnd to the chip: device queues, building an SCB, the slot exchange; and what is still in the input queue.

hw-aic7xxx.md 5.1, 5.3, 5.4, 12.2.  `ahc.lock` is held in all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_ERROR

from .adapter import AHC_NSEG, POSITION_MASK, SG_LIST_BYTES, Ahc, AhcDevice, AhcScb
from .frames import (
    CDB32_OFFSET,
    CDB_INLINE,
    DISCENB,
    HSCB_BYTES,
    MK_MESSAGE,
    SCB_BYTES,
    SCB_CDB_LEN,
    SCB_NEXT,
    SCB_TAG,
    SG_BYTES,
    SG_FULL_RESID,
    SG_HIGH_SHIFT,
    SG_LAST,
    SG_LIST_NULL,
    TAG_ENB,
    XFER_LEN_ODD,
)
from .regs import AhcRegs

if TYPE_CHECKING:
    from ddsdk.scsi.cmnd import ScsiCmnd

_HSCB: Final = Struct("<12s3I8B")           # HardwareScb without CDB32
_ELEMENT: Final = Struct("<2I")
_HNSCB_QOFF: Final = AhcRegs.HNSCB_QOFF.offset
_GIB4: Final = 1 << 32
_LOW: Final = _GIB4 - 1


# -- device queues ---------------------------------------------------------------------------------------------


def ahc_run_device_queues(ahc: Ahc) -> None:
    """Serve every device on the run list: what the tasklet does, and the poll by itself."""
    while ahc.runq:
        dev = ahc.runq.popleft()
        dev.on_runlist = False
        ahc_run_device_queue(ahc, dev)


def ahc_run_device_queue(ahc: Ahc, dev: AhcDevice) -> None:
    """Give the chip what this device has waiting, as far as it may be given now.

    An untagged command is alone with its logical unit, and the only untagged one of its target.
    """
    target = dev.target
    while dev.busyq and ahc.free and not dev.qfrozen and not ahc.qfrozen and ahc.active:
        tagged = dev.busyq[0].device.tagged_supported
        if target.untagged is not None and (not tagged or target.untagged.dev is dev):
            return
        if dev.active >= (dev.openings if tagged else 1):
            return
        ahc_start(ahc, dev, dev.busyq.popleft(), tagged)


def ahc_start(ahc: Ahc, dev: AhcDevice, scmd: ScsiCmnd, tagged: bool) -> None:
    """Give one command to the chip; one that does not fit a list ends with DID_ERROR."""
    scb = ahc.free.popleft()
    scb.start()
    scb.dev, scb.tagged = dev, tagged
    segments = ahc_map(ahc, scb, scmd)
    if segments is None:
        ahc.unmap(scb)
        ahc.free.append(scb)
        scmd.result, scmd.resid = DID_ERROR << 16, scmd.request_bufflen
        ahc.completeq.append((scmd, None))
        return
    scb.scmd = scmd
    dev.active += 1
    if not tagged:
        dev.target.untagged = scb
    ahc_exchange(ahc, scb)
    ahc_fill(ahc, scb, segments)
    ahc_hand_over(ahc, scb)


# -- S/G lists -------------------------------------------------------------------------------------------------


def ahc_map(ahc: Ahc, scb: AhcScb, scmd: ScsiCmnd) -> Sequence[tuple[int, int]] | None:
    """Lend the command's memory to the chip and write its list; None when it has too many segments."""
    if not scmd.request_bufflen:
        return ()
    scb.direction = scmd.sc_data_direction
    scb.mapped = ahc.kernel.dma_map_sg(ahc.pdev, scmd.sg, scb.direction)
    segments = cut_at_4_gib(scb.mapped)
    if len(segments) > AHC_NSEG:
        ahc.printk(f"{len(segments)} segments do not fit a list of {AHC_NSEG}")
        return None
    put_list(ahc.sg_view, scb.number * SG_LIST_BYTES, segments)
    return segments


def cut_at_4_gib(segments: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """No element crosses 4 GiB: bits 38:32 of its address do not count on."""
    for bus_addr, length in segments:
        if bus_addr >> 32 != bus_addr + length - 1 >> 32:
            break
    else:
        return segments
    out = []
    for bus_addr, length in segments:
        while length:
            piece = min(length, _GIB4 - (bus_addr & _LOW))
            out.append((bus_addr, piece))
            bus_addr, length = bus_addr + piece, length - piece
    return out


def put_list(view: memoryview, at: int, segments: Sequence[tuple[int, int]]) -> None:
    """Write the S/G list; the last element is marked."""
    pack = _ELEMENT.pack_into
    for bus_addr, length in segments[:-1]:
        pack(view, at, bus_addr & _LOW, bus_addr >> 32 << SG_HIGH_SHIFT | length)
        at += SG_BYTES
    bus_addr, length = segments[-1]
    pack(view, at, bus_addr & _LOW, SG_LAST | bus_addr >> 32 << SG_HIGH_SHIFT | length)


# -- the element -----------------------------------------------------------------------------------------------


def ahc_exchange(ahc: Ahc, scb: AhcScb) -> None:
    """The chip fetches the reserved element next: that one is *scb*'s now, and *scb*'s old one is reserved."""
    reserved = ahc.reserved
    scb.hscb, reserved.hscb = reserved.hscb, scb.hscb
    ahc.by_tag[scb.hscb] = scb


def ahc_fill(ahc: Ahc, scb: AhcScb, segments: Sequence[tuple[int, int]]) -> None:
    """Write the element that *scb* owns: hw-aic7xxx.md 5."""
    scmd, dev = scb.scmd, scb.dev
    assert scmd is not None
    assert dev is not None
    target, tag = dev.target, scb.hscb
    at = tag * HSCB_BYTES
    control = TAG_ENB if scb.tagged else 0
    if target.disconnect:
        control |= DISCENB
    if target.negotiate:
        control |= MK_MESSAGE
        scb.negotiate = True
    lun = dev.lun | XFER_LEN_ODD if scmd.request_bufflen & 1 else dev.lun
    dataptr, datacnt, sgptr = 0, 0, SG_LIST_NULL
    scb.nseg = len(segments)
    if segments:
        dataptr, datacnt = _ELEMENT.unpack_from(ahc.sg_view, scb.number * SG_LIST_BYTES)
        sgptr = ahc.sg_bus_addr(scb) + SG_BYTES | SG_FULL_RESID
    cdb = bytes(scmd.cmnd[:scmd.cmd_len])
    if len(cdb) > CDB_INLINE:
        ahc.hscb_view[at + CDB32_OFFSET:at + CDB32_OFFSET + len(cdb)] = cdb
        cdb = (ahc.memory.hscbs.bus_addr + at + CDB32_OFFSET).to_bytes(4, "little")
    curr = target.curr
    _HSCB.pack_into(ahc.hscb_view, at, cdb, dataptr, datacnt, sgptr, control, target.id << 4 | ahc.our_id, lun, tag,
                    scmd.cmd_len, curr.scsirate, curr.offset, ahc.reserved.hscb)


def ahc_hand_over(ahc: Ahc, scb: AhcScb) -> None:
    """Log the element in the input queue and tell the chip that there is one more."""
    ahc.qin[ahc.qinpos] = scb.hscb
    ahc.qinpos = pos = (ahc.qinpos + 1) & POSITION_MASK
    ahc.outb(_HNSCB_QOFF, pos)


def element(ahc: Ahc, scb: AhcScb) -> memoryview:
    """The first 32 bytes of the element that *scb* owns."""
    at = scb.hscb * HSCB_BYTES
    return ahc.hscb_view[at:at + SCB_BYTES]


# -- what the chip has not fetched; it is paused ---------------------------------------------------------------


def ahc_queued(ahc: Ahc) -> list[AhcScb]:
    """SCBs in the input queue, first one first.  Reading the chip's position moves it: it is written back."""
    snscb = int(ahc.inb(AhcRegs.SNSCB_QOFF))
    ahc.outb(AhcRegs.SNSCB_QOFF, snscb)
    count = (ahc.qinpos - snscb) & POSITION_MASK
    tags = [ahc.qin[snscb + n & POSITION_MASK] for n in range(count)]
    return [scb for scb in (ahc.scb_of(tag) for tag in tags) if scb is not None]


def ahc_requeue_tail(ahc: Ahc, scb: AhcScb) -> None:
    """Queue the element that *scb* owns once more, without an exchange."""
    queued = ahc_queued(ahc)
    if queued:
        element(ahc, queued[-1])[SCB_NEXT] = scb.hscb
    else:
        ahc.outb(AhcRegs.NEXT_QUEUED_SCB, scb.hscb)
    element(ahc, scb)[SCB_NEXT] = ahc.reserved.hscb
    ahc_hand_over(ahc, scb)


def ahc_take_queued(ahc: Ahc, matches: Callable[[AhcScb], bool]) -> list[AhcScb]:
    """Take those that match out of the input queue; the rest is linked anew (12.2)."""
    queued = ahc_queued(ahc)
    taken = [scb for scb in queued if matches(scb)]
    if not taken:
        return []
    left = [scb for scb in queued if not matches(scb)]
    if left:
        _move_to_reserved(ahc, left[0])
    ahc.outb(AhcRegs.NEXT_QUEUED_SCB, left[0].hscb if left else ahc.reserved.hscb)
    ahc.qinpos = int(ahc.inb(AhcRegs.SNSCB_QOFF))
    ahc.outb(AhcRegs.SNSCB_QOFF, ahc.qinpos)
    for scb, following in zip(left, [*left[1:], ahc.reserved], strict=False):
        element(ahc, scb)[SCB_NEXT] = following.hscb
        ahc.qin[ahc.qinpos] = scb.hscb
        ahc.qinpos = (ahc.qinpos + 1) & POSITION_MASK
    ahc.outb(_HNSCB_QOFF, ahc.qinpos)
    return taken


def _move_to_reserved(ahc: Ahc, scb: AhcScb) -> None:
    """The chip may be fetching the first element just now: give the first survivor another one, so that it notices."""
    old, new = scb.hscb * HSCB_BYTES, ahc.reserved.hscb * HSCB_BYTES
    view = ahc.hscb_view
    view[new:new + HSCB_BYTES] = view[old:old + HSCB_BYTES]
    ahc.by_tag[scb.hscb] = None
    ahc_exchange(ahc, scb)
    view[new + SCB_TAG] = scb.hscb
    if view[new + SCB_CDB_LEN] > CDB_INLINE:
        view[new:new + 4] = (ahc.memory.hscbs.bus_addr + new + CDB32_OFFSET).to_bytes(4, "little")
