"""Taking SCBs back from the chip, one or all: input queue, waiting list, disconnected list, slots; the bus reset.

hw-aic7xxx.md 12.  The sequencer is paused, `ahc.lock` is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from ddsdk.scsi.cmnd import DID_REQUEUE, DID_RESET

from .done import ahc_done, ahc_drain, ahc_run_qoutfifo
from .frames import SCB_NEXT, SCB_TAG
from .hw import (
    BUSFREE,
    SCSIRSTI,
    SCSISEQ_RESELECT,
    ahc_change,
    ahc_clear_msg_state,
    ahc_free_slot,
    ahc_restart,
    scb_inb,
    scb_outb,
)
from .queue import ahc_take_queued
from .regs import NONE, AhcRegs, ClrInt, SeqFlags2

if TYPE_CHECKING:
    from .adapter import Ahc, AhcDevice, AhcScb

_RST_US: Final = 25
#: Every status that CLRSINT0 and CLRSINT1 clear, our ATN included.
_CLRSINT0_ALL: Final = 0x78
_CLRSINT1_ALL: Final = 0xEF
_CLRSCSIINT: Final = ClrInt.CLRSCSIINT.mask

Matches = Callable[["AhcScb"], bool]


# -- lists of slots ----------------------------------------------------------------------------------------------


def _slots_of(ahc: Ahc, head: Any) -> Iterator[tuple[int, int]]:
    """(slot, tag) of a list; SCBPTR names the slot meanwhile.  Never more than there are slots."""
    slot = int(ahc.inb(head))
    for _ in range(ahc.scb_count):
        if slot >= ahc.scb_count:
            return
        ahc.outb(AhcRegs.SCBPTR, slot)
        following = scb_inb(ahc, SCB_NEXT)
        yield slot, scb_inb(ahc, SCB_TAG)
        slot = following


def ahc_take_listed(ahc: Ahc, head: Any, matches: Matches) -> list[AhcScb]:
    """Take the SCBs that match out of the waiting or the disconnected list; their slots are free again."""
    taken: list[AhcScb] = []
    if ahc.inb(head) >= ahc.scb_count:
        return taken
    saved, keep = int(ahc.inb(AhcRegs.SCBPTR)), list[int]()
    for slot, tag in _slots_of(ahc, head):
        scb = ahc.scb_of(tag)
        if scb is not None and not matches(scb):
            keep.append(slot)
            continue
        ahc_free_slot(ahc)
        if scb is not None:
            taken.append(scb)
    ahc.outb(head, keep[0] if keep else NONE)
    for slot, following in zip(keep, [*keep[1:], NONE], strict=False):
        ahc.outb(AhcRegs.SCBPTR, slot)
        scb_outb(ahc, SCB_NEXT, following)
    ahc.outb(AhcRegs.SCBPTR, saved)
    return taken


def ahc_free_slots(ahc: Ahc, matches: Matches) -> None:
    """Free every slot, in no list, that holds an SCB that matches, or a tag that is nobody's."""
    saved = int(ahc.inb(AhcRegs.SCBPTR))
    fetching = saved if ahc.inb(AhcRegs.SEQ_FLAGS2) & SeqFlags2.SCB_DMA.mask else NONE     # ahc_restart() frees it
    for slot in range(ahc.scb_count):
        if slot == fetching:
            continue
        ahc.outb(AhcRegs.SCBPTR, slot)
        tag = scb_inb(ahc, SCB_TAG)
        if tag == NONE:
            continue
        scb = ahc.scb_of(tag)
        if scb is None or matches(scb):
            ahc_free_slot(ahc)
    ahc.outb(AhcRegs.SCBPTR, saved)


# -- devices -----------------------------------------------------------------------------------------------------


def ahc_freeze_device(ahc: Ahc, scb: AhcScb) -> None:
    """The SCB's device has to wait until the SCB's command is delivered.

    Those of its commands that no target has seen yet go back to the device's queue, in their order.
    """
    dev = scb.dev
    if dev is None or scb.frozen:
        return
    scb.frozen = True
    ahc.freeze(dev)
    if dev.active > 1:
        ahc_take_back(ahc, dev, lambda other: other.dev is dev and other is not scb and not other.sensing)


def ahc_take_back(ahc: Ahc, dev: AhcDevice, matches: Matches) -> None:
    """Put SCBs that are still in the input queue or wait for selection back to their device's queue."""
    back = ahc_take_listed(ahc, AhcRegs.WAITING_SCBH, matches)[::-1]       # the last one fetched is the first there
    back += ahc_take_queued(ahc, matches)
    for scb in reversed(back):
        ahc_requeue(ahc, scb)
    ahc.runnable(dev)


def ahc_requeue(ahc: Ahc, scb: AhcScb) -> None:
    """The chip does not hold the SCB any more; its command is the first of its device's queue again."""
    scmd, dev = scb.scmd, scb.dev
    assert scmd is not None
    assert dev is not None
    ahc.by_tag[scb.hscb] = None
    ahc.unmap(scb)
    scb.scmd = None
    dev.active -= 1
    if dev.target.untagged is scb:
        dev.target.untagged = None
    dev.busyq.appendleft(scmd)
    ahc.free.append(scb)
    ahc.runnable(dev)


# -- aborting ----------------------------------------------------------------------------------------------------


def ahc_abort_scbs(ahc: Ahc, matches: Matches, host_byte: int) -> None:
    """End the SCBs that match, wherever they are: *host_byte*, or DID_REQUEUE for those no target has seen."""
    unseen = ahc_take_queued(ahc, matches) + ahc_take_listed(ahc, AhcRegs.WAITING_SCBH, matches)
    ahc_take_listed(ahc, AhcRegs.DISCONNECTED_SCBH, matches)
    ahc_free_slots(ahc, matches)
    for target in ahc.targets:
        if target.untagged is not None and matches(target.untagged):
            ahc.outb(AhcRegs.BUSY_TARGETS[target.id], NONE)
    for scb in ahc.pending():
        if matches(scb):
            if scb.host_byte is None:
                scb.host_byte = DID_REQUEUE if scb in unseen and not scb.sensing else host_byte
            ahc_done(ahc, scb)


def ahc_clear_intstat(ahc: Ahc) -> None:
    """Clear every status of the SCSI block, and SCSIINT."""
    ahc.outb(AhcRegs.CLRSINT1, _CLRSINT1_ALL)
    ahc.outb(AhcRegs.CLRSINT0, _CLRSINT0_ALL)
    ahc.outb(AhcRegs.CLRINT, _CLRSCSIINT)


def ahc_drive_reset(ahc: Ahc) -> None:
    """Pull RST for 25 us."""
    ahc_change(ahc, AhcRegs.SIMODE1, SCSIRSTI)
    ahc_change(ahc, AhcRegs.SCSISEQ, 0, 0x01)
    ahc.inb(AhcRegs.SCSISEQ)
    ahc.kernel.udelay(_RST_US)
    ahc_change(ahc, AhcRegs.SCSISEQ, 0x01)
    ahc_clear_intstat(ahc)
    ahc_change(ahc, AhcRegs.SIMODE1, 0, SCSIRSTI)


def ahc_reset_channel(ahc: Ahc, why: str, *, initiate: bool) -> None:
    """Reset the bus, or follow somebody else's reset (not *initiate*): every command ends, all targets start anew.

    Those that had ended before have ended well.  In the end the sequencer runs.
    """
    ahc.printk(f"{why}; bus reset")
    ahc_clear_msg_state(ahc)
    ahc_run_qoutfifo(ahc)
    ahc_change(ahc, AhcRegs.SIMODE1, BUSFREE | SCSIRSTI)
    if initiate:
        ahc_drive_reset(ahc)
    ahc_clear_intstat(ahc)
    ahc.outb(AhcRegs.SCSISEQ, ahc.inb(AhcRegs.SCSISEQ_TEMPLATE) & SCSISEQ_RESELECT)
    ahc.outb(AhcRegs.CLRINT, ClrInt.CLRSEQINT.mask)
    ahc_abort_scbs(ahc, lambda scb: True, DID_RESET)
    ahc_drain(ahc, DID_REQUEUE)
    for target in ahc.targets:
        target.forget_agreement()
    ahc_restart(ahc)
