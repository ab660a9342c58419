"""A complete IDE driver for the toy interface: DMA and programmed I/O, soft reset, the four dump hooks."""

from __future__ import annotations

import errno
from struct import pack_into
from typing import Any, Final

from ddsdk.ata.host import IdeDrive, IdeHwif, IdePortInfo, ide_started, ide_stopped
from ddsdk.ata.taskfile import (
    AC_ERR_HOST_BUS,
    AC_ERR_HSM,
    AC_ERR_NODEV_HINT,
    AC_ERR_OTHER,
    BUSY_STAT,
    DRQ_STAT,
    ERR_STAT,
    TASKFILE_NO_DATA,
    WRERR_STAT,
    AtaTaskfile,
    IdeDone,
    IdeTask,
    ide_end_drive_cmd,
)
from ddsdk.errors import DeviceError
from ddsdk.helperlib.kernel import DMA_FROM_DEVICE, DMA_TO_DEVICE, IRQ_HANDLED, IRQ_NONE, PciDev
from ddsdk.hookspecs import Chip, hookimpl

from .toy_regs import BmCommand, BmStatus, ToyRegs

PRDS: Final = 256
NIEN, SRST, HOB = 0x02, 0x04, 0x80
WAIT_READY_MS: Final = 31_000
_PAGE: Final = 4096


class Toy:
    """The channel.  `task`: the command that is outstanding, `offset` bytes of it moved by programmed I/O."""

    def __init__(self, pdev: PciDev) -> None:
        self.pdev = pdev
        self.kernel = pdev.kernel
        self.ports = pdev.kernel.pci_iomap(pdev, 0)
        self.prds = pdev.kernel.dma_alloc_coherent(pdev, 8 * PRDS, 8 * PRDS)
        self.task: IdeTask | None = None
        self.offset = 0
        self.mapped: list[tuple[int, int]] = []
        self.hwif: Any = None

    def status(self) -> int:
        """Alternate status: clears nothing."""
        return int(self.kernel.inb(self.ports, ToyRegs.ALTSTATUS))


# -- starting a command --------------------------------------------------------------------------------------


def toy_do_rw_taskfile(task: IdeTask, done: IdeDone) -> int:
    """ide_startstop_t do_rw_taskfile(ide_drive_t *, ide_task_t *), ide_lock held."""
    toy: Toy = task.drive.hwif.hwif_data
    kernel, ports = toy.kernel, toy.ports
    if toy.task is not None or toy.status() & (BUSY_STAT | DRQ_STAT):
        return ide_stopped
    task.complete = done
    toy.task, toy.offset = task, 0
    kernel.outb(task.tf.device, ports, ToyRegs.DEVICE)
    if toy.status() in (0x00, 0x7F, 0xFF):
        _end(toy, toy.status(), err_mask=AC_ERR_NODEV_HINT)
        return ide_started
    if task.dma:
        _start_dma(toy, task)
    _write_taskfile(toy, task.tf)
    if task.dma:
        kernel.outb(BmCommand.of(START=1, READ=int(not task.to_device)), ports, ToyRegs.BM_COMMAND)
    elif task.to_device:
        _first_block(toy)
    return ide_started


def _write_taskfile(toy: Toy, tf: AtaTaskfile) -> None:
    outb, ports = toy.kernel.outb, toy.ports
    if tf.lba48:
        for value, reg in ((tf.hob_feature, ToyRegs.FEATURE), (tf.hob_nsector, ToyRegs.NSECTOR),
                           (tf.hob_lbal, ToyRegs.LBAL), (tf.hob_lbam, ToyRegs.LBAM), (tf.hob_lbah, ToyRegs.LBAH)):
            outb(value, ports, reg)
    for value, reg in ((tf.feature, ToyRegs.FEATURE), (tf.nsector, ToyRegs.NSECTOR), (tf.lbal, ToyRegs.LBAL),
                       (tf.lbam, ToyRegs.LBAM), (tf.lbah, ToyRegs.LBAH), (tf.command, ToyRegs.COMMAND)):
        outb(value, ports, reg)


def _start_dma(toy: Toy, task: IdeTask) -> None:
    kernel, ports = toy.kernel, toy.ports
    direction = DMA_TO_DEVICE if task.to_device else DMA_FROM_DEVICE
    toy.mapped = kernel.dma_map_sg(toy.pdev, task.sg, direction)
    pieces = []
    for bus_addr, length in toy.mapped:             # a region does not cross a 64 KiB boundary
        while length:
            take = min(length, 0x10000 - bus_addr % 0x10000)
            pieces.append((bus_addr, take))
            bus_addr, length = bus_addr + take, length - take
    for n, (at, length) in enumerate(pieces):
        pack_into("<IHH", toy.prds.view, 8 * n, at, length & 0xFFFF, 0x8000 if n == len(pieces) - 1 else 0)
    kernel.outl(toy.prds.bus_addr, ports, ToyRegs.PRD_TABLE)
    kernel.outb(BmStatus.of(ERROR=1, INTR=1), ports, ToyRegs.BM_STATUS)


def _first_block(toy: Toy) -> None:
    """Of a write no interrupt asks for the first block: DRQ comes at once, or poll and interrupt find it later."""
    for _ in range(100):
        if not toy.status() & BUSY_STAT:
            toy_advance(toy)
            return
        toy.kernel.udelay(1)


# -- the interrupt handler, which is also the poll -----------------------------------------------------------


def toy_interrupt(_irq: int, toy: Toy) -> int:
    """irqreturn_t toy_interrupt(int, void *)."""
    flags = toy.kernel.spin_lock_irqsave(toy.hwif.ide_lock)
    handled = toy_advance(toy)
    toy.kernel.spin_unlock_irqrestore(toy.hwif.ide_lock, flags)
    return handled


def toy_advance(toy: Toy) -> int:
    """One step of the command that is outstanding, if there is one to do.  ide_lock held."""
    task, kernel, ports = toy.task, toy.kernel, toy.ports
    if toy.status() & BUSY_STAT and not (task is not None and task.dma):
        return IRQ_NONE
    if task is None:
        kernel.inb(ports, ToyRegs.STATUS)           # nobody's: clear it
        return IRQ_NONE
    if task.dma:
        return _advance_dma(toy, task)
    stat = int(kernel.inb(ports, ToyRegs.STATUS))
    if stat & (ERR_STAT | WRERR_STAT) or task.data_phase == TASKFILE_NO_DATA:
        _end(toy, stat)
    elif stat & DRQ_STAT and toy.offset < task.nbytes:
        _move_block(toy, task)
        if not task.to_device and toy.offset == task.nbytes:
            kernel.udelay(1)
            _end(toy, int(kernel.inb(ports, ToyRegs.STATUS)))
    elif toy.offset == task.nbytes:
        _end(toy, stat)                             # the status after the last block
    elif not stat & DRQ_STAT:
        _end(toy, stat)                             # it ended early
    return IRQ_HANDLED


def _move_block(toy: Toy, task: IdeTask) -> None:
    nbytes = min(task.block_bytes, task.nbytes - toy.offset)
    for paddr, length in task.pieces(toy.offset, nbytes):
        while length:
            take = min(length, _PAGE - paddr % _PAGE)
            view = toy.kernel.kmap_atomic(paddr, take)
            if task.to_device:
                toy.kernel.outsw(toy.ports, ToyRegs.DATA, view, take // 2)
            else:
                toy.kernel.insw(toy.ports, ToyRegs.DATA, view, take // 2)
            toy.kernel.kunmap_atomic(view)
            paddr, length = paddr + take, length - take
    toy.offset += nbytes


def _advance_dma(toy: Toy, task: IdeTask) -> int:
    kernel, ports = toy.kernel, toy.ports
    bm = kernel.inb(ports, ToyRegs.BM_STATUS)
    if not (bm.INTR or bm.ERROR):
        return IRQ_NONE
    kernel.outb(BmCommand.of(), ports, ToyRegs.BM_COMMAND)
    stat = int(kernel.inb(ports, ToyRegs.STATUS))
    kernel.outb(BmStatus.of(ERROR=1, INTR=1), ports, ToyRegs.BM_STATUS)
    toy.offset = task.nbytes
    _end(toy, stat, err_mask=AC_ERR_HOST_BUS if bm.ERROR else 0)
    return IRQ_HANDLED


def _end(toy: Toy, stat: int, err_mask: int = 0) -> None:
    """The command is over: unmap, read the registers, say so."""
    task, kernel, ports = toy.task, toy.kernel, toy.ports
    assert task is not None
    _unmap(toy)
    toy.task = None
    tf, left = task.tf, 0
    if not err_mask:
        tf, left = _read_registers(toy, task.tf)
        if not stat & ERR_STAT:
            left = left if task.dma else (task.nbytes - toy.offset) // task.drive.sector_size
        if stat & DRQ_STAT:
            err_mask = AC_ERR_HSM
    error = int(kernel.inb(ports, ToyRegs.ERROR)) if stat & ERR_STAT else 0
    ide_end_drive_cmd(task, stat, error, tf, min(task.nbytes, left * task.drive.sector_size), err_mask)


def _read_registers(toy: Toy, sent: AtaTaskfile) -> tuple[AtaTaskfile, int]:
    """(LBA registers, sectors that did not move)."""
    kernel, ports = toy.kernel, toy.ports

    def read() -> tuple[int, int, int, int]:
        count, *lba = (int(kernel.inb(ports, reg)) for reg in (
            ToyRegs.NSECTOR, ToyRegs.LBAL, ToyRegs.LBAM, ToyRegs.LBAH))
        return count, lba[0], lba[1], lba[2]

    count, lbal, lbam, lbah = read()
    device = int(kernel.inb(ports, ToyRegs.DEVICE))
    tf = sent._replace(nsector=count, lbal=lbal, lbam=lbam, lbah=lbah, device=device)
    if not sent.lba48:
        return tf, count
    kernel.outb(HOB, ports, ToyRegs.CONTROL)
    high, lbal, lbam, lbah = read()
    kernel.outb(0, ports, ToyRegs.CONTROL)
    return tf._replace(hob_nsector=high, hob_lbal=lbal, hob_lbam=lbam, hob_lbah=lbah), high << 8 | count


def _unmap(toy: Toy) -> None:
    if toy.mapped and toy.task is not None:
        direction = DMA_TO_DEVICE if toy.task.to_device else DMA_FROM_DEVICE
        toy.kernel.dma_unmap_sg(toy.pdev, toy.mapped, direction)
    toy.mapped = []


# -- reset ---------------------------------------------------------------------------------------------------


def _soft_reset(toy: Toy) -> int:
    """SRST for 10 us, then wait for BSY to fall, 31 s at most.  0, or -EIO when it does not."""
    kernel, ports = toy.kernel, toy.ports
    kernel.outb(BmCommand.of(), ports, ToyRegs.BM_COMMAND)
    kernel.outb(SRST | NIEN, ports, ToyRegs.CONTROL)
    kernel.udelay(10)
    kernel.outb(0, ports, ToyRegs.CONTROL)
    for _ in range(WAIT_READY_MS):
        kernel.diskdump_mdelay(1)
        if not toy.status() & BUSY_STAT:
            return 0
    kernel.printk("toy: BSY for 31 s after a soft reset")
    return -errno.EIO


def toy_do_reset(drive: IdeDrive) -> int:
    """ide_startstop_t ide_do_reset(ide_drive_t *), ide_lock held."""
    toy: Toy = drive.hwif.hwif_data
    error = _soft_reset(toy)
    task = toy.task
    if task is not None:
        _unmap(toy)
        toy.task = None
        ide_end_drive_cmd(task, toy.status(), err_mask=AC_ERR_OTHER)
    return error


# -- the dump hooks ------------------------------------------------------------------------------------------


class ToyHooks:
    """What diskdump asks of the driver."""

    @hookimpl
    def dump_sanity_check(self, drive: IdeDrive) -> int:
        """Bus mastering on, somebody there."""
        toy: Toy = drive.hwif.hwif_data
        if not toy.kernel.pci_read_config_word(toy.pdev, 4) & 0x4:
            return -errno.ENXIO
        return -errno.ENODEV if toy.status() == 0xFF else 0

    @hookimpl
    def quiesce(self, drive: IdeDrive) -> int:
        """Stop the bus master, forget the command."""
        toy: Toy = drive.hwif.hwif_data
        toy.kernel.outb(BmCommand.of(), toy.ports, ToyRegs.BM_COMMAND)
        _unmap(toy)
        toy.task = None
        return 0

    @hookimpl
    def dump_poll(self, drive: IdeDrive) -> None:
        """The interrupt handler by hand."""
        toy_interrupt(0, drive.hwif.hwif_data)

    @hookimpl
    def shutdown(self, drive: IdeDrive) -> int:
        """No interrupt of this drive meets the next kernel."""
        toy: Toy = drive.hwif.hwif_data
        toy.kernel.outb(NIEN, toy.ports, ToyRegs.CONTROL)
        return 0


def toy_probe(pdev: PciDev, chip: Chip) -> IdeHwif:
    """int toy_probe(struct pci_dev *, ...): one channel; a chip called "pio" has no bus master."""
    kernel = pdev.kernel
    if kernel.pci_enable_device(pdev):
        raise DeviceError(f"{pdev.name}: does not answer")
    kernel.pci_set_master(pdev)
    toy = Toy(pdev)
    hwif = toy.hwif = IdeHwif(IdePortInfo(
        name="Toy IDE", proc_name="toy", do_rw_taskfile=toy_do_rw_taskfile, do_reset=toy_do_reset,
        max_sectors=256, sg_tablesize=64, ultra_mask=0 if chip.name == "pio" else 0x3F, dma_alignment=1), kernel, pdev)
    hwif.hwif_data = toy
    kernel.outb(0, toy.ports, ToyRegs.CONTROL)
    kernel.request_irq(pdev, toy_interrupt, toy)
    return hwif
