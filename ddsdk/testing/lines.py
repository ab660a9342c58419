"""A crash at any line of a driver: the dump works, or it is refused because a lock is held."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from attrs import frozen

from ddsdk.ata.load import IoLoad as AtaLoad
from ddsdk.ata.load import Region
from ddsdk.block.dump_device import PolledDumpDevice
from ddsdk.conformance.line_trap import LineTrap, source_files
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, DMA_TO_DEVICE
from ddsdk.scsi.midlayer import ScsiRequest
from ddsdk.sim.machine import Trigger

from .ata import AtaDriverRig
from .rig import DATA, PAGE, DriverRig
from .scsi import ScsiDriverRig

R = TypeVar("R", bound=DriverRig[Any, Any])
#: Where workloads read and write on the disk, beyond what `dump_some` writes.
SECTOR = 3000
_BUFFERS = 0x200000


@frozen
class Lines:
    """What came of it.  `lines`: how many there are; `verdicts`: "dumped", or a refusal -> the lines it came at."""

    lines: int
    verdicts: dict[str, list[int]]


def crash_at_lines(probed: Callable[[], R], modules: Iterable[str], workload: Callable[[R], None], samples: int, *,
                   pages: int = 4) -> Lines:
    """Crash at some of the lines that *modules* run under *workload*, and dump *pages* pages each time.

    *probed* makes a rig with its driver up.  *samples* lines are tried where no lock is held, one in six under
    each set of locks, for the refusal is the same.  AssertionError: a refusal where no lock is held, or for something
    else than a lock, a wrong page, or not one dump.
    """
    files = source_files(modules)

    def crash_at(line: int) -> tuple[LineTrap, str]:
        rig = probed()
        device, locks = rig.dump_device(), rig.machine.locks
        trap = LineTrap(rig.machine, files, line, lambda: rig.machine.crash(Trigger.OOPS),
                        lambda: ",".join(sorted(lock.name for lock in locks.held())))
        with trap.set():
            workload(rig)
        verdict = dump_some(rig, device, pages) if line else ""
        rig.machine.close()
        return trap, verdict

    counted = crash_at(0)[0]
    verdicts: dict[str, list[int]] = {}
    for held, numbers in counted.kinds.items():
        wanted = samples if not held else 1 + samples // 6
        for line in numbers[::max(1, len(numbers) // wanted)]:
            trap, verdict = crash_at(line)
            verdicts.setdefault(verdict, []).append(line)
            busy = "is held" in verdict or verdict.endswith("-EBUSY")
            assert verdict == "dumped" or (held and busy), \
                f"line {line}, {trap.where}, locks {held or 'none'}: {verdict}"
    assert "dumped" in verdicts, f"{counted.lines} lines, and a crash at any is refused: {verdicts}"
    return Lines(counted.lines, verdicts)


def dump_some(rig: DriverRig[Any, Any], device: PolledDumpDevice[Any], pages: int = 4, nbytes: int = PAGE) -> str:
    """Sanity check, quiesce, pages out and checked on the disk, shutdown: "dumped", or why it was refused."""
    if not rig.machine.crashdump_mode:
        rig.machine.crash(Trigger.PANIC)
    rig.disk.faults.clear()
    if device.sanity_check() < 0:
        return device.why
    assert device.quiesce() == 0, device.why
    for page in range(pages):
        data = rig.fill(DATA, nbytes, page)
        assert device.rw_block(True, 3 * page, [(DATA, nbytes)]) == 0, device.why
        assert rig.on_disk(24 * page, nbytes) == data, f"page {page} is wrong on the disk"
    assert device.shutdown() == 0, device.why
    return "dumped"


def scsi_workload(handler: str = "", turns: int = 3, *, victim: bool = False) -> Callable[[ScsiDriverRig[Any, Any]],
                                                                                          None]:
    """Two tasks with reads and writes on two CPUs; a third calls the error handler *handler*, "host_reset" say.

    *victim*: for a command of its own that is on its way.
    """
    def run(rig: ScsiDriverRig[Any, Any]) -> None:
        def load(number: int) -> None:
            request = ScsiRequest(rig.sdev)
            for turn in range(turns):
                write = turn % 2 == 0
                request.execute(cdb.read_write(write, SECTOR + 64 * number + 8 * turn, 8, False),
                                DMA_TO_DEVICE if write else DMA_FROM_DEVICE,
                                [(_BUFFERS + 0x10000 * number, PAGE)], PAGE, PAGE)

        def error_handler() -> None:
            request = ScsiRequest(rig.sdev)
            if victim:
                request.scmd = rig.tur()
                rig.queue(request.scmd)
            request.call_handler(getattr(rig.shost.hostt, f"eh_{handler}_handler"))

        rig.machine.spawn(0, lambda: load(0), "load/0")
        rig.machine.spawn(1, lambda: load(1), "load/1")
        if handler:
            rig.machine.spawn(1, error_handler, "scsi_eh")
        rig.machine.run()
    return run


def ata_workload(*, reset: bool = False, for_ns: int = 8_000_000) -> Callable[[AtaDriverRig[Any, Any]], None]:
    """Workers read and write on every drive, by DMA and by programmed I/O; one resets the channel if *reset*."""
    def run(rig: AtaDriverRig[Any, Any]) -> None:
        assert rig.drive                            # scanned
        for number, drive in enumerate(rig.found):
            drive.using_dma = drive.unit == 0
            region = Region(SECTOR, 512, writable=True)
            AtaLoad(drive, region, 1, 2 - number % 2, 16, 3 if reset and not number else 0).start()
        rig.machine.run(for_ns=for_ns)
    return run
