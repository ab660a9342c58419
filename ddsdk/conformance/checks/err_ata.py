"""ERR of an IDE drive: what status and error registers say has to reach the mid-layer, by DMA and by programmed I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from attrs import frozen

from ddsdk.ata.disposition import ide_decide_disposition
from ddsdk.ata.taskfile import (
    ABRT_ERR,
    ECC_ERR,
    ERR_STAT,
    ICRC_ERR,
    ID_ERR,
    TASKFILE_IN,
    WIN_CHECKPOWERMODE1,
    WIN_IDENTIFY,
    WRERR_STAT,
    control,
    rw_taskfile,
)
from ddsdk.block.outcome import Disposition
from ddsdk.sim import disk_faults
from ddsdk.sim.disk_faults import Access, DiskFault, FaultKind

from .. import states
from ..ata_bench import AtaBench
from ..bench import DATA, NS_PER_S, PAGE, Bench, Command
from ..check import Need, Setup, check, not_applicable
from ..plan import Plan
from ..stretch import Ending, command_limit_ns, flush, read_some, write_some

DMA, PIO = "dma", "pio"
_SMALL: Final = Setup(disk_bytes=1 << 20)
#: Commands that pass before a fault strikes.
_SPARED: Final = 2
#: Sectors in the middle of a command of any stretch.
_BAD: Final = (150, 160)
_SLOW_NS: Final = 10 * NS_PER_S
#: Nobody waits longer for a drive that is not there.
_ABSENT_NS: Final = 2 * NS_PER_S


def by(bench: AtaBench, how: str) -> None:
    """From here on data moves so; where the driver offers no DMA, that does not apply."""
    if how == DMA and not bench.dev.current_speed:
        not_applicable("the port info offers no DMA mode")
    bench.dev.using_dma = how == DMA


@frozen
class _Case:
    """A fault of the drive; `survived`: the right outcome by the mid-layer's rules is success, else an error."""

    fault: DiskFault
    survived: bool = False


def _of(key: int, asc: int, after: int = _SPARED) -> DiskFault:
    return disk_faults.check_condition(key, asc, on=Access.MEDIUM, after=after, times=None)


#: What takes its time, which is the same both ways.
_LONG: Final = (FaultKind.SLOW, FaultKind.HANG)
#: Every way a drive has to say no, or to say nothing, and what ide_decide_disposition() makes of it.
_DRIVE: Final[Mapping[str, _Case]] = MappingProxyType({
    "bad-sectors": _Case(disk_faults.medium_error(*_BAD)),                  # UNC of a read, DF of a write
    "no-such-sector": _Case(_of(0x5, 0x21)),                                # IDNF
    "aborted": _Case(_of(0x5, 0x20)),                                       # ABRT
    "device-fault": _Case(disk_faults.hardware_error(None, _SPARED)),       # DF
    "crc": _Case(disk_faults.aborted_command(1, _SPARED), True),            # ICRC and ABRT
    "crc-stays": _Case(disk_faults.aborted_command(None, _SPARED)),
    "corrected": _Case(disk_faults.recovered_error(1, _SPARED), True),      # CORR
    "busy-for-a-while": _Case(disk_faults.busy(1, _SPARED), True),          # BSY, a second
    "slow": _Case(disk_faults.slow(_SLOW_NS, 1, _SPARED, Access.READ), True),
    "busy-for-ever": _Case(disk_faults.hang(1, _SPARED, Access.WRITE), True),   # BSY until the reset
    "flush-fails": _Case(disk_faults.sync_fails()),
    "flush-slow": _Case(disk_faults.slow(_SLOW_NS, 1, 0, Access.FLUSH), True),
})


def _answers(_plan: Plan) -> Sequence[str]:
    return [f"{case}-{how}" for case, what in _DRIVE.items() for how in (DMA, PIO)
            if how == DMA or not (what.fault.on is Access.FLUSH or what.fault.kind in _LONG)]


@check("ERR-13", hook="do_rw_taskfile", needs=(Need.ATA, Need.MODEL), setup=_SMALL, cases=_answers,
       source="hw-ide.md 7 and 11: status and error register, and what is retried; field.md 4.3, row disk", fix="""
       stat = hwif->INB(IDE_STATUS_REG);
       if (stat & (ERR_STAT | WRERR_STAT))
           err = hwif->INB(IDE_ERROR_REG);         /* as they are: the mid-layer decides */
       ide_end_drive_cmd(drive, stat, err);
       """)
def a_drive_s_answer_ends_as_the_mid_layer_rules(bench: AtaBench, case: str) -> None:
    """Whatever status, error or silence the drive answers with in the middle of a dump: what the mid-layer retries ends
    well, anything else in an error with a reason, and the next command works.
    """
    assert bench.disk is not None
    name, _, how = case.rpartition("-")
    disk, wanted = bench.disk, _DRIVE[name]
    limit_ns = command_limit_ns(bench, 0 if bench.lacks(Need.RESET) else 2 * states.reset_ns(bench))
    bench.take_over()
    stretches: tuple[tuple[str, Callable[[Bench], Ending], Access], ...] = (
        ("writes", write_some, Access.WRITE), ("reads", read_some, Access.READ), ("flushes", flush, Access.FLUSH))
    for what, stretch, access in stretches:
        if not wanted.fault.on & access or (access is Access.FLUSH and wanted.fault.on is not Access.FLUSH):
            continue
        by(bench, how)
        disk.inject(wanted.fault)
        with bench.within(limit_ns, f"a dump whose drive answers {name} to one of its {what}"):
            ending = stretch(bench)
        bench.expect(disk.faults.struck, f"the {what} never reached the drive, where {name} waited for them")
        if wanted.survived:
            bench.expect(ending, f"{name} for one of the {what}, which the mid-layer retries, ended it: {ending}; tell"
                                 " it status and error register as the drive left them")
        else:
            bench.expect(not ending, f"{name} stayed, and all of the {what} ended well; an error that stays must be"
                                     " reported")
        disk.faults.clear()
        disk.faults.struck.clear()
        with bench.within(limit_ns, f"the command after {name}"):
            bench.works()


# -- what the registers said ---------------------------------------------------------------------------------


@frozen
class _Said:
    """What the drive's registers hold at the end, and at which sector."""

    fault: DiskFault
    write: bool
    status: int
    error: int
    at: int | None = None


#: A command of 8 sectors from 64 on.
_FIRST: Final = 64
_SAID: Final[Mapping[str, _Said]] = MappingProxyType({
    "uncorrectable": _Said(disk_faults.medium_error(66), False, ERR_STAT, ECC_ERR, 66),
    "no-such-sector": _Said(_of(0x5, 0x21, 0), True, ERR_STAT, ID_ERR),
    "aborted": _Said(_of(0x5, 0x20, 0), True, ERR_STAT, ABRT_ERR),
    "crc": _Said(disk_faults.aborted_command(None), True, ERR_STAT, ICRC_ERR | ABRT_ERR),
    "device-fault": _Said(disk_faults.hardware_error(None), True, WRERR_STAT, 0),
})


@check("ERR-14", hook="ide_end_drive_cmd", needs=(Need.ATA, Need.MODEL), setup=_SMALL, cases=lambda plan: (DMA, PIO),
       source="ATA/ATAPI-6, 6.2: HOB; 7.7, 7.14: error and status register; ide-io.c, ide_end_drive_cmd()", fix="""
       hwif->OUTB(drive->ctl | 0x80, IDE_CONTROL_REG);          /* HOB: the high bytes, then off again */
       args->hobRegister[IDE_SECTOR_OFFSET_HOB] = hwif->INB(IDE_SECTOR_REG);
       """)
def the_registers_are_reported_as_they_were(bench: AtaBench, how: str) -> None:
    """A command that failed ends with the drive's own status and error bits, and where the driver reports the other
    registers too, with the sector the drive names; the command after it has none of that.
    """
    assert bench.disk is not None
    bench.take_over()
    by(bench, how)
    for name, said in _SAID.items():
        bench.disk.inject(said.fault)
        task = _ended(bench, bench.command(said.write, _FIRST, [(DATA, PAGE)]), name).raw
        bench.expect(task.status & (ERR_STAT | WRERR_STAT) == said.status,
                     f"the drive answers {name} with {said.status:#04x} in its status, the driver reports"
                     f" {task.status:#04x}")
        bench.expect(not said.error or task.error == said.error,
                     f"the drive answers {name} with {said.error:#04x} in its error register, the driver reports"
                     f" {task.error:#04x}")
        bench.expect(said.at is None or task.result_tf is None or task.result_tf.sector == said.at,
                     f"the drive names sector {said.at}, by the registers that the driver reports it is"
                     f" {task.result_tf and task.result_tf.sector:#x}; of 48 bits half are read with HOB set")
        bench.disk.faults.clear()
        after = _ended(bench, bench.command(True, _FIRST, [(DATA, PAGE)]), f"a write after {name}")
        error = bench.error_of(after)
        bench.expect(not error and not after.raw.status & (ERR_STAT | WRERR_STAT),
                     f"the write after {name} ended with {error or 'an error bit in its status'}; nothing is wrong"
                     " with it")


def _ended(bench: AtaBench, command: Command, what: str) -> Command:
    bench.expect(bench.start(command), f"{what}: the driver says busy though nothing is outstanding")
    bench.expect(bench.wait(command), f"{what}: the command did not end within 30 s")
    return command


# -- nobody there --------------------------------------------------------------------------------------------


@check("ERR-15", hook="do_rw_taskfile", needs=(Need.ATA,), source="hw-ide.md 7: a drive that is not there reads as 00,"
       " 7F or FF; field.md 4.3, row HBA: selection timeout", fix="""
       SELECT_DRIVE(drive);
       stat = hwif->INB(IDE_ALTSTATUS_REG);
       if (stat == 0xff || stat == 0x7f || stat == 0)
           ...                                 /* nobody: end it with AC_ERR_NODEV_HINT, do not wait for it */
       """)
def an_absent_drive_is_reported_at_once(bench: AtaBench) -> None:
    """A command to the channel's other drive, which is not there, ends in an error within 2 s, and the disk works."""
    other = bench.hwif.drives[1 - bench.dev.unit]
    bench.expect(not other.present, f"unit {other.unit} of the channel answered IDENTIFY DEVICE, and there is but one"
                                    f" drive, unit {bench.dev.unit}; select the drive that the taskfile names")
    bench.take_over()
    other.sector_size, other.lba48 = bench.dev.sector_size, bench.dev.lba48
    for tf, phase, nbytes in ((control(other.unit, WIN_CHECKPOWERMODE1), 0, 0),
                              (control(other.unit, WIN_IDENTIFY), TASKFILE_IN, 512),
                              (*rw_taskfile(other, False, 0, PAGE // other.sector_size), PAGE)):
        sg = [(DATA, nbytes)] if nbytes else []
        memory = bench.fill(DATA, PAGE, 3)
        command = bench.task(tf, phase, sg, other)
        bench.expect(bench.start(command), "the driver says busy to a command for a drive that is not there; take it"
                                           " and end it with AC_ERR_NODEV_HINT")
        bench.expect(bench.wait(command, limit_ns=_ABSENT_NS), "a command for a drive that is not there did not end"
                                                               " within 2 s")
        bench.expect(bench.error_of(command), "a command for a drive that is not there ended well")
        bench.expect(bench.memory.read(DATA, PAGE) == memory, "a command for a drive that is not there changed memory")
        bench.goes_on("after a command for a drive that is not there")


# -- what moved ----------------------------------------------------------------------------------------------


@check("ERR-16", hook="ide_end_drive_cmd", needs=(Need.ATA, Need.MODEL), setup=_SMALL, cases=lambda plan: (DMA, PIO),
       source="field.md 4.3, row disk: short write; hw-ide.md 5: the bus master is still active when the drive is done",
       fix="""
       dma_stat = hwif->INB(hwif->dma_status);
       if (dma_stat & 1)                       /* not at the end of its table: the drive moved less */
           ...
       """)
def what_did_not_move_is_said(bench: AtaBench, how: str) -> None:
    """A drive that ends with good status before all has moved: the command ends in an error, or with bytes missing."""
    assert bench.disk is not None
    bench.take_over()
    by(bench, how)
    for missing in (1, 3, PAGE // bench.setup.sector_size):
        for write in (True, False):
            bench.disk.inject(disk_faults.wrong_length(missing))
            command = bench.command(write, _FIRST, [(DATA, PAGE)])
            what = f"a {'write' if write else 'read'} of which {missing} sectors did not move"
            _ended(bench, command, what)
            outcome = ide_decide_disposition(command.raw)
            bench.expect(outcome.disposition is not Disposition.SUCCESS,
                         f"{what} ended well, by the driver's word with all of its bytes")
            bench.disk.faults.clear()
    bench.works()
