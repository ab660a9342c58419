"""Two personalities: drive and bus master as the documents describe them, and as QEMU's piix3-ide plays them.

What differs is hw-ide.md's columns "real" and "QEMU" (2, 4, 6, 7 and 13); QEMU's was seen by experiment on 7.2.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from ddsdk.sim.ata_taskfile import ABRT, BSY, DF, DRDY, DRQ, DSC, ERR, AtaResult, Taskfile

READY: Final = DRDY | DSC


@frozen
class Personality:
    """`strict`: what the documents leave undefined is a HardwareFault.  The rest says what registers show.

    `busy`: status while a command works.  `dma_waiting`, `dma_moving`: while the drive waits for the bus master, while
    data moves.  `floating`: what a channel with nothing on it reads as.  `power_on_error`, `reset_device`: registers
    after power-on, after SRST.  `absent`: registers of a drive that is not there beside one that is - count, LBA - or
    None for the other drive's.  `atomic`: a transfer by DMA is one piece: a short table moves nothing and ends well,
    stopping it waits for its end, and so does SRST, which leaves selected who was; without bus mastering it ends well
    too, and an error is an error.
    """

    name: str
    strict: bool
    busy: int
    dma_waiting: int
    dma_moving: int
    floating: int
    power_on_error: int
    reset_device: int
    absent: Taskfile | None
    atomic: bool

    def ended(self, result: AtaResult, sent: Taskfile) -> AtaResult:
        """What the registers say of a command that ended with *result*; *sent* is the command."""
        if not self.atomic:
            return result
        if result.status & (ERR | DF):          # one way to fail, and nothing said about where
            return AtaResult(DRDY | ERR, ABRT, sent)
        return result._replace(taskfile=result.taskfile._replace(hob_nsector=sent.hob_nsector))


REAL: Final = Personality(
    name="real", strict=True, busy=BSY, dma_waiting=READY | DRQ, dma_moving=READY | BSY, floating=0x7F,
    power_on_error=0x01, reset_device=0x00, absent=None, atomic=False)
QEMU: Final = Personality(
    name="qemu", strict=False, busy=READY | BSY, dma_waiting=READY | DRQ, dma_moving=READY | DRQ, floating=0x00,
    power_on_error=0x00, reset_device=0xA0, absent=Taskfile(nsector=1, lbal=1, lbam=0xFF, lbah=0xFF), atomic=True)
