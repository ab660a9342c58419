"""What the chip has not sent yet: reading, taking apart and putting together its queue and its waiting lists.

SCBs wait by target: SCB_NEXT leads to the next one of the same target, SCB_NEXT2 from the first one of a target to
the first one of the next.  The queue before that is a chain of elements in host memory, with a log of tags beside it.
The chip is paused throughout.  Source: aic79xx_core.c, "ahd_search_qinfifo" (Linux 2.6.9), by effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .queue import link
from .regs import CchanRegs, Mode, ModeRegs, Scratch, ScsiRegs, SStat0
from .sequencer import AHD_SCB_MAX, QOFF_MASK, SCB_LIST_NULL, is_null

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .ahd import AhdSoftc
    from .scb import Scb

_SELECTING: Final = SStat0.SELINGO.mask | SStat0.SELDO.mask


def ahd_get_snscb_qoff(ahd: AhdSoftc) -> int:
    """u_int ahd_get_snscb_qoff(struct ahd_softc *): reading moves the register on, so it is written back."""
    mode = ahd.set_modes(Mode.CCHAN)
    value = ahd.inw(CchanRegs.SNSCB_QOFF)
    ahd.outw(CchanRegs.SNSCB_QOFF, value)
    ahd.set_modes(mode)
    return value


def _scb(ahd: AhdSoftc, tag: int) -> Scb | None:
    return ahd.pending.get(tag)


# -- the queue -------------------------------------------------------------------------------------------------


def queued_tags(ahd: AhdSoftc) -> list[int]:
    """Tags that the chip has not fetched, in order."""
    position = ahd_get_snscb_qoff(ahd)
    count = ahd.qinnext - position & QOFF_MASK
    return [ahd.qin[(position + n) % AHD_SCB_MAX] for n in range(min(count, AHD_SCB_MAX))]


def requeue_tags(ahd: AhdSoftc, tags: list[int]) -> None:
    """The queue is *tags* from here on; what was in it besides is forgotten."""
    position = ahd_get_snscb_qoff(ahd)
    scbs = [scb for scb in (_scb(ahd, tag) for tag in tags) if scb is not None]
    for n, scb in enumerate(scbs):
        link(scb, scbs[n + 1].element.busaddr if n + 1 < len(scbs) else ahd.reserved.busaddr)
        ahd.qin[(position + n) % AHD_SCB_MAX] = scb.tag
    mode = ahd.set_modes(Mode.CCHAN)
    ahd.outn(Scratch.NEXT_QUEUED_SCB_ADDR, scbs[0].element.busaddr if scbs else ahd.reserved.busaddr)
    ahd.set_modes(mode)
    ahd.qinnext = position + len(scbs) & QOFF_MASK
    ahd.set_hnscb_qoff(ahd.qinnext)


# -- the waiting lists -----------------------------------------------------------------------------------------


def read_waiting(ahd: AhdSoftc) -> list[list[int]]:
    """Tags that wait for selection, by target in the order of their turns.

    A list that does not end where one has to is cut off: the chip's memory holds anything after a fault.
    """
    mode = ahd.set_modes(Mode.SCSI)
    pointer = ahd.inw(ModeRegs.SCBPTR)
    lists: list[list[int]] = []
    seen: set[int] = set()
    head = ahd.inw(Scratch.WAITING_TID_HEAD)
    while not is_null(head) and head < AHD_SCB_MAX and head not in seen:
        tags, tag, following = [], head, SCB_LIST_NULL
        while not is_null(tag) and tag < AHD_SCB_MAX and tag not in seen:
            seen.add(tag)
            tags.append(tag)
            ahd.outw(ModeRegs.SCBPTR, tag)
            if len(tags) == 1:
                following = ahd.inw(Scratch.SCB_NEXT2)
            tag = ahd.inw(Scratch.SCB_NEXT)
        lists.append(tags)
        head = following
    ahd.outw(ModeRegs.SCBPTR, pointer)
    ahd.set_modes(mode)
    return lists


def write_waiting(ahd: AhdSoftc, lists: list[list[int]], targets: Iterable[int]) -> None:
    """The waiting lists are *lists* from here on; the tails of *targets*, which changed, follow."""
    mode = ahd.set_modes(Mode.SCSI)
    pointer = ahd.inw(ModeRegs.SCBPTR)
    lists = [tags for tags in lists if tags]
    tails = dict.fromkeys(targets, SCB_LIST_NULL)
    for number, tags in enumerate(lists):
        for place, tag in enumerate(tags):
            ahd.outw(ModeRegs.SCBPTR, tag)
            ahd.outw(Scratch.SCB_NEXT, tags[place + 1] if place + 1 < len(tags) else SCB_LIST_NULL)
            behind = lists[number + 1][0] if place == 0 and number + 1 < len(lists) else SCB_LIST_NULL
            ahd.outw(Scratch.SCB_NEXT2, behind)
        target = ahd.inb(Scratch.SCB_SCSIID) >> 4
        if target in tails:
            tails[target] = tags[-1]
    for target, tail in tails.items():
        ahd.outw(Scratch.WAITING_SCB_TAILS[target], tail)
    ahd.outw(Scratch.WAITING_TID_HEAD, lists[0][0] if lists else SCB_LIST_NULL)
    ahd.outw(Scratch.WAITING_TID_TAIL, lists[-1][0] if lists else SCB_LIST_NULL)
    ahd.outw(ModeRegs.SCBPTR, pointer)
    ahd.set_modes(mode)


def wait_first(ahd: AhdSoftc, scb: Scb) -> None:
    """*scb* goes to the head of the waiting lists: it was sent in vain."""
    lists = [[other for other in tags if other != scb.tag] for tags in read_waiting(ahd)]
    write_waiting(ahd, [[scb.tag], *lists], (scb.target,))


def pull(ahd: AhdSoftc, wanted: Callable[[Scb], bool]) -> list[Scb]:
    """Take back what is *wanted* of the commands that were not sent yet; in the order in which they would have been.

    The one that is being selected stays.
    """
    taken = []
    mode = ahd.set_modes(Mode.SCSI)
    busy = ahd.inb(ScsiRegs.SSTAT0) & _SELECTING
    lists = read_waiting(ahd)
    kept = []
    for number, tags in enumerate(lists):
        stay = []
        for place, tag in enumerate(tags):
            scb = _scb(ahd, tag)
            if scb is not None and wanted(scb) and not (busy and number == place == 0):
                taken.append(scb)
            else:
                stay.append(tag)
        kept.append(stay)
    if taken:
        write_waiting(ahd, kept, {scb.target for scb in taken})
    tags = queued_tags(ahd)
    queued = [scb for scb in (_scb(ahd, tag) for tag in tags) if scb is not None and wanted(scb)]
    if queued:
        gone = {scb.tag for scb in queued}
        requeue_tags(ahd, [tag for tag in tags if tag not in gone])
    ahd.set_modes(mode)
    return taken + queued
