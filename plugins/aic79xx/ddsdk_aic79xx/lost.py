"""What cannot be gone on with: a chip or a bus that has to be reset, an adapter that is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddsdk.scsi.cmnd import DID_NO_CONNECT, DID_RESET

if TYPE_CHECKING:
    from .ahd import AhdSoftc


def ahd_lost(ahd: AhdSoftc, why: str) -> None:
    """It cannot go on like this: the recovery work item resets chip and bus (the original often the bus alone).

    Until then it stands still and says nothing; nothing is sent.  The lock is held.
    """
    ahd.active, ahd.lost = False, True
    ahd.inten = 0
    ahd.hold()
    ahd.printk(f"{why}; reset scheduled")
    ahd.kernel.schedule_work(ahd.recover_work)


def ahd_gone(ahd: AhdSoftc) -> None:
    """All ones: nobody is there any more.  The lock is held."""
    ahd.active, ahd.dead = False, True
    ahd.printk("the adapter is gone")
    ahd_end_all(ahd, DID_NO_CONNECT)


def ahd_end_all(ahd: AhdSoftc, host_byte: int = DID_RESET) -> None:
    """Every command the driver has ends with *host_byte*.  Their memory is unmapped only if a reset came before."""
    for scmd in ahd.held_commands():
        scmd.result = host_byte << 16
        scmd.resid = scmd.request_bufflen
        ahd.completeq.append(scmd)
    ahd.pending.clear()
    ahd.busyq.clear()
