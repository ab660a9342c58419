"""IO of an IDE drive: programmed I/O, the status after the last block, addresses of 28 and of 48 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ddsdk.ata.taskfile import (
    TASKFILE_IN,
    TASKFILE_IN_DMA,
    TASKFILE_OUT,
    TASKFILE_OUT_DMA,
    WIN_READ,
    WIN_READ_EXT,
    WIN_READDMA,
    WIN_READDMA_EXT,
    WIN_WRITE,
    WIN_WRITE_EXT,
    WIN_WRITEDMA,
    WIN_WRITEDMA_EXT,
    read_write,
)
from ddsdk.sim import disk_faults
from ddsdk.sim.disk_faults import Access

from ..ata_bench import AtaBench
from ..bench import DATA, NS_PER_MS, PAGE, Command
from ..check import Need, check, not_applicable
from ..plan import Plan
from ..transfers import cut, differs, there_and_back
from .err_ata import DMA, PIO, by
from .poll import watched

#: Longer than any driver waits for the first block of a write with interrupts off.
_SLOW_NS: Final = 60 * NS_PER_MS
_MULTIPLE: Final = 16


def _modes(_plan: Plan) -> Sequence[str]:
    return [f"{blocks}-{when}" for blocks in ("single", "multiple") for when in ("before-the-crash", "after-it")]


def _blocks(bench: AtaBench, blocks: str) -> None:
    """Programmed I/O, a sector a block or several."""
    by(bench, PIO)
    if blocks == "multiple" and not bench.dev.mult_count:
        not_applicable("the drive takes no MULTIPLE commands")
    if blocks != "multiple":
        bench.dev.mult_count = 0


@check("IO-19", hook="do_rw_taskfile", needs=(Need.ATA,), cases=_modes,
       source="ATA/ATAPI-6, 9.5 and 9.6: PIO data in and out; hw-ide.md 3: of a write no interrupt asks for the first"
              " block", fix="""
       if (task->data_phase == TASKFILE_OUT) {     /* DRQ comes without an interrupt, and may take its time */
           mod_timer(&adapter->drq_timer, jiffies + 1);
       """)
def programmed_io_moves_every_byte(bench: AtaBench, case: str) -> None:
    """Without DMA, sector by sector and in blocks of several, before the crash and after it, data arrives bit for bit,
    also when the drive is slow to ask for it.
    """
    blocks, _, when = case.partition("-")
    if when == "after-it":
        bench.take_over()
    _blocks(bench, blocks)
    size = bench.setup.sector_size
    there_and_back(bench, 8, [(DATA, size)])
    there_and_back(bench, 16, [(DATA + 3 * size, 2 * size)], [(DATA + 0x8000, 2 * size)])
    sectors = min(2 * _MULTIPLE + 5, bench.max_bytes // size)
    there_and_back(bench, 64, cut(bench, sectors * size, size, DATA + size, 3 * size),
                   cut(bench, sectors * size, size, DATA + 0x40000, size))
    if bench.disk is not None:
        for access in (Access.WRITE, Access.READ):
            bench.disk.inject(disk_faults.slow(_SLOW_NS, 1, 0, access))
        there_and_back(bench, 128, [(DATA, PAGE)])


def _last_blocks(_plan: Plan) -> Sequence[str]:
    return ("single", "multiple", DMA)


@check("IO-20", hook="do_rw_taskfile", needs=(Need.ATA, Need.MODEL), cases=_last_blocks,
       source="hw-ide.md 8: the status after the last block was never looked at; hookspecs dump_poll: of a write, only"
              " once the status after the last block is known", fix="""
       if (adapter->offset == task->nbytes)        /* all blocks are with the drive: now wait for BSY to clear, */
           ide_end_drive_cmd(drive, stat, err);    /* and say what the status is then */
       """)
def the_last_block_counts(bench: AtaBench, case: str) -> None:
    """A write is over when the drive has taken its last block: an error there is reported, and no success before."""
    assert bench.disk is not None
    bench.take_over()
    if case == DMA:
        by(bench, DMA)
    else:
        _blocks(bench, case)
    early: list[str] = []
    for n, sectors in enumerate((1, 8, 2 * _MULTIPLE + 1)):
        nbytes, block = sectors * bench.setup.sector_size, 40 + 8 * n
        command = watched(bench, True, block, DATA, nbytes, early, 3 + n)
        bench.expect(bench.start(command) and bench.wait(command), f"a write of {sectors} sectors did not end")
        error = bench.error_of(command)
        bench.expect(not error, f"a write of {sectors} sectors failed: {error}")
        bench.expect(not early, "".join(early[:1]))
        last = command_last(bench, block, sectors)
        bench.disk.inject(disk_faults.medium_error(last))
        command = bench.command(True, last - sectors + 1, [(DATA, nbytes)])
        bench.expect(bench.start(command) and bench.wait(command),
                     f"a write of {sectors} sectors, the last of which cannot be written, did not end")
        bench.expect(bench.error_of(command), f"a write of {sectors} sectors, the last of which cannot be written,"
                                              " ended well; look at the status after the last block")
        bench.disk.faults.clear()
    bench.works()


def command_last(bench: AtaBench, block: int, sectors: int) -> int:
    """The last of *sectors* from *block* on."""
    return block * PAGE // bench.setup.sector_size + sectors - 1


# -- addresses -----------------------------------------------------------------------------------------------

#: (write, bits) -> (command, data phase) by DMA, by programmed I/O.
_COMMANDS: Final = {
    (True, 28): ((WIN_WRITEDMA, TASKFILE_OUT_DMA), (WIN_WRITE, TASKFILE_OUT)),
    (False, 28): ((WIN_READDMA, TASKFILE_IN_DMA), (WIN_READ, TASKFILE_IN)),
    (True, 48): ((WIN_WRITEDMA_EXT, TASKFILE_OUT_DMA), (WIN_WRITE_EXT, TASKFILE_OUT)),
    (False, 48): ((WIN_READDMA_EXT, TASKFILE_IN_DMA), (WIN_READ_EXT, TASKFILE_IN)),
}
#: Sector 48 of a small disk when what is beyond some register is cut off.
_BEYOND: Final = {28: (1 << 8, 1 << 16, 1 << 24), 48: (1 << 8, 1 << 16, 1 << 24, 1 << 32, 1 << 40)}
_SECTOR: Final = 48


@check("IO-21", hook="do_rw_taskfile", needs=(Need.ATA,), cases=lambda plan: ("28-bit", "48-bit"),
       source="ATA/ATAPI-6, 6.2: 28-bit and 48-bit addressing, the registers are written twice; hw-ide.md 3", fix="""
       if (tf->lba48) {                            /* the high bytes first, all five of them, 0 or not */
           hwif->OUTB(tf->hob_feature, IDE_FEATURE_REG);
           hwif->OUTB(tf->hob_nsector, IDE_NSECTOR_REG);
           hwif->OUTB(tf->hob_lbal, IDE_SECTOR_REG);
           hwif->OUTB(tf->hob_lbam, IDE_LCYL_REG);
           hwif->OUTB(tf->hob_lbah, IDE_HCYL_REG);
       }
       """)
def addresses_are_not_cut_off(bench: AtaBench, case: str) -> None:
    """Commands of 28 and of 48 bits reach their sector with their count, whichever came before; an address beyond the
    disk fails and changes nothing, whatever bit of it says so.
    """
    bits = 48 if case == "48-bit" else 28
    if not bench.dev.lba48:
        not_applicable("drive or driver do no 48 bits")
    bench.take_over()
    for other in (76 - bits, bits):             # one of the other kind, whose registers are left
        _there_and_back(bench, other, _SECTOR, 8)
    size = bench.setup.sector_size
    counts = (255, 256, *((257, 300) if bits == 48 else ()))
    for count in counts:
        if count * size <= bench.max_bytes:
            _there_and_back(bench, bits, 64, count)
    before = bench.whole_disk()
    for beyond in _BEYOND[bits]:
        if beyond < bench.sectors:
            continue
        bench.fill(DATA, PAGE, 9)
        error = bench.finish(_command(bench, True, bits, _SECTOR + beyond, 8))
        bench.expect(error and bench.whole_disk() == before,
                     f"a {bits}-bit write at sector {_SECTOR + beyond:#x} of a small disk must fail and change nothing;"
                     f" it {'changed the disk' if bench.whole_disk() != before else 'ended well'}")
    bench.works()


def _command(bench: AtaBench, write: bool, bits: int, sector: int, count: int) -> Command:
    command, phase = _COMMANDS[write, bits][0 if bench.dev.using_dma else 1]
    return bench.task(read_write(command, bench.dev.unit, sector, count, bits == 48), phase,
                      [(DATA, count * bench.setup.sector_size)])


def _there_and_back(bench: AtaBench, bits: int, sector: int, count: int) -> None:
    nbytes, what = count * bench.setup.sector_size, f"of {count} sectors at {sector} by a {bits}-bit command"
    data = bench.fill(DATA, nbytes, count & 0x7F)
    error = bench.finish(_command(bench, True, bits, sector, count))
    bench.expect(not error, f"the write {what} failed: {error}")
    have = bench.on_disk(sector, nbytes)
    bench.expect(have == data, f"the write {what} ended well, and on the disk {differs(have, data)}")
    bench.memory.write(DATA, bytes(nbytes))
    error = bench.finish(_command(bench, False, bits, sector, count))
    bench.expect(not error, f"the read {what} failed: {error}")
    have = bench.memory.read(DATA, nbytes)
    bench.expect(have == data, f"the read {what} ended well, and in memory {differs(have, data)}")
