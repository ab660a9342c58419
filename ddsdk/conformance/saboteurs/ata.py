"""Saboteurs of the checks that are an IDE drive's own, in ERR and IO."""

from __future__ import annotations

from typing import Final

from . import Saboteur
from .workshop import Edit

SABOTEURS: Final[tuple[Saboteur, ...]] = (
    Saboteur("err-ata-error-register-unread", "ERR-13", "The error register is never read.", (
        Edit("interrupt.py", "error = int(adapter.kernel.inb(adapter.ports, Regs.ERROR)) if stat & ERR_STAT else 0",
             "error = 0"),
    ), case="crc-dma", bus="ata"),
    Saboteur("err-ata-low-bytes-twice", "ERR-14", "The high bytes of the result are read without HOB.", (
        Edit("interrupt.py", "adapter.masked | Control.HOB.mask", "adapter.masked"),
        Edit("interrupt.py", "BmStatus, Control, Regs", "BmStatus, Regs"),
    ), case="dma", bus="ata"),
    Saboteur("err-ata-one-drive-for-both", "ERR-15", "The unit's bit of DEVICE is lost: both units are drive 0.", (
        Edit("driver.py", "outb(task.tf.device, adapter.ports", "outb(task.tf.device & 0xEF, adapter.ports"),
    ), bus="ata"),
    Saboteur("err-ata-all-of-it-moved", "ERR-16", "A bus master still active at the end goes unnoticed.", (
        Edit("interrupt.py", "adapter.offset = 0 if status.ACTIVE else task.nbytes", "adapter.offset = task.nbytes"),
    ), case="dma", bus="ata"),
    Saboteur("io-ata-first-block-by-interrupt", "IO-19", "A write's first block waits for an interrupt.", (
        Edit("driver.py", """    elif task.to_device:
        toy_watch_for_drq(adapter)
""", ""),
        Edit("driver.py", "toy_drq_timer, toy_interrupt, toy_watch_for_drq", "toy_drq_timer, toy_interrupt"),
    ), case="single-before-the-crash", bus="ata"),
    Saboteur("io-ata-last-block-taken-for-granted", "IO-20", "The status after the last block is not looked at.", (
        Edit("interrupt.py", """
    if stat & (ERR_STAT | WRERR_STAT) or task""", """
    if task.to_device and adapter.offset == task.nbytes:
        return end(adapter, task, stat & ~(ERR_STAT | WRERR_STAT))
    if stat & (ERR_STAT | WRERR_STAT) or task"""),
    ), case="single", bus="ata"),
    Saboteur("io-ata-a-high-byte-forgotten", "IO-21", "Of 48 bits of address eight are not written.", (
        Edit("driver.py", "        kernel.outb(tf.hob_lbah, ports, Regs.LBAH)\n", ""),
    ), case="48-bit", bus="ata"),
)
