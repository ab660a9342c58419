"""How commands go on and end: by the interrupt handler, by dump_poll, and by a timer for what no interrupt asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ddsdk.ata.taskfile import IdeTask

from .adapter import Adapter

if TYPE_CHECKING:
    from ddsdk.ata.taskfile import AtaTaskfile

#: kmap_atomic() maps a page at a time.
_PAGE: Final = 4096


class Ending(NamedTuple):
    """What ide_end_drive_cmd() is told, once ide_lock is released."""

    task: IdeTask
    stat: int
    error: int = 0
    tf: AtaTaskfile | None = None
    resid: int = 0
    err_mask: int = 0


def {{cookiecutter.name}}_interrupt(_irq: int, adapter: Adapter) -> int:
    """irqreturn_t {{cookiecutter.name}}_interrupt(int irq, void *dev_id): ours when BM_STATUS says that the line rose."""
    raise NotImplementedError(
        "{{cookiecutter.name}}_interrupt: read BM_STATUS (regs.py): IRQ_NONE when it is GONE or INTR is clear; else clear "
        "INTR, step(), IRQ_HANDLED.")


def step(adapter: Adapter) -> None:
    """Look at the drive once, and say so without the lock if the command is over."""
    raise NotImplementedError(
        "step: with spin_lock_irqsave() of ide_lock call advance(), unless adapter.resetting; without the lock "
        "ide_end_drive_cmd() with the Ending, if there is one.")


def {{cookiecutter.name}}_watch_for_drq(adapter: Adapter) -> None:
    """Of a write by programmed I/O no interrupt asks for the first block: in normal mode a timer looks for it."""
    raise NotImplementedError(
        "{{cookiecutter.name}}_watch_for_drq: in normal mode mod_timer() drq_timer to the next jiffy; in crash mode "
        "dump_poll looks.")


def {{cookiecutter.name}}_drq_timer(adapter: Adapter) -> None:
    """void {{cookiecutter.name}}_drq_timer(unsigned long): until the first block is moved, or the command is over."""
    raise NotImplementedError(
        "{{cookiecutter.name}}_drq_timer: step(), and {{cookiecutter.name}}_watch_for_drq() again while a write by programmed "
        "I/O has not moved a byte.")


# -- one step of a command: ide_lock is held -----------------------------------------------------------------------


def advance(adapter: Adapter) -> Ending | None:
    """Do what the drive is ready for; what there is to say if that ended the command."""
    raise NotImplementedError(
        "advance: read STATUS (regs.py), whatever is outstanding; None when nothing is, or BSY without DMA; GONE is "
        "unmap() and end() with AC_ERR_NODEV_HINT; else advance_dma() or advance_pio().")


def advance_dma(adapter: Adapter, task: IdeTask, stat: int) -> Ending | None:
    """Over when the drive is done, neither BSY nor DRQ, or the bus master found an error."""
    raise NotImplementedError(
        "advance_dma: None while BSY or DRQ is set and BM_STATUS.ERROR is not; else stop the bus master, clear "
        "BM_STATUS, unmap(), adapter.offset is all unless BM_STATUS said ACTIVE, end(), with AC_ERR_HOST_BUS after an "
        "ERROR.")


def advance_pio(adapter: Adapter, task: IdeTask, stat: int) -> Ending | None:
    """Move a block when the drive asks for one.  A write is over only with the status after its last block."""
    raise NotImplementedError(
        "advance_pio: end() on ERR, DF, a command without data, or without DRQ; with DRQ move_block(), AC_ERR_HSM "
        "when nothing is left to move; a read ends after its last block with the status then, a write with the next "
        "one.")


def move_block(adapter: Adapter, task: IdeTask) -> None:
    """One DRQ block through the data port, page by page."""
    raise NotImplementedError(
        "move_block: task.block_bytes from adapter.offset on, page by page: kmap_atomic() of task.pieces(), insw() or "
        "outsw() of DATA (regs.py), kunmap_atomic(); then udelay(1).")


def end(adapter: Adapter, task: IdeTask, stat: int, err_mask: int = 0) -> Ending:
    """The command is over: status, error register, where it ended, how much moved."""
    raise NotImplementedError(
        "end: forget() the command; ERROR (regs.py) when ERR is set and read_registers(), unless err_mask says more; "
        "an Ending, resid what adapter.offset has not reached.")


def read_registers(adapter: Adapter, sent: AtaTaskfile) -> AtaTaskfile:
    """What the command block registers hold now; HOB gives the high bytes of 48 bits."""
    raise NotImplementedError(
        "read_registers: NSECTOR, LBAL, LBAM, LBAH, DEVICE (regs.py); for 48 bits the first four once more with HOB "
        "in CONTROL, which keeps adapter.masked and loses HOB again.")
