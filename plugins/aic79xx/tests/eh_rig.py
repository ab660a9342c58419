"""The driver before the crash or after it, its error handlers, and commands that give them something to do."""

from __future__ import annotations

from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import ScsiCmnd
from ddsdk.sim import disk_faults
from ddsdk_aic79xx.ahd import AHD_SCBS
from ddsdk_aic79xx.model import ChipProfile
from ddsdk_aic79xx.regs import Scratch
from plugins.aic79xx.tests.driver_rig import DATA, Make, Rig

S = 1_000_000_000
PAGE = 4096
ABSENT = 9


def ready(rig: Rig) -> Rig:
    """The unit attention used up, everything agreed."""
    rig.known_disk()
    while rig.run(rig.tur()).result:
        assert len(rig.done) < 50
    return rig


BEFORE, AFTER = "before the crash", "after it"


def start(make: Make, chip: ChipProfile, mode: str) -> Rig:
    """The disk ready, in *mode*."""
    rig = make(chip).probe()
    if mode == AFTER:
        rig.known_disk()
        rig.take_over()
    return ready(rig)


def abort(rig: Rig, scmd: ScsiCmnd) -> int:
    """The abort handler."""
    return rig.handle(rig.shost.hostt.eh_abort_handler, scmd)


def device_reset(rig: Rig, scmd: ScsiCmnd) -> int:
    """The device reset handler."""
    return rig.handle(rig.shost.hostt.eh_device_reset_handler, scmd)


def bus_reset(rig: Rig) -> int:
    """The bus reset handler."""
    return rig.handle(rig.shost.hostt.eh_bus_reset_handler, rig.tur())


def pass_ms(rig: Rig, ms: int) -> None:
    """Time in which the driver does what it has to."""
    if rig.machine.crashdump_mode:
        for _ in range(10 * ms):
            rig.poll()
    else:
        rig.kernel.msleep(ms)


def read(rig: Rig, number: int = 0) -> ScsiCmnd:
    """A page."""
    return rig.rw(False, 8 * number, [(DATA + PAGE * number, PAGE)])


def to_nobody(rig: Rig) -> ScsiCmnd:
    """A command for an id that nobody has: its selection takes 256 ms to fail."""
    sdev = rig.device(ABSENT)
    sdev.tagged_supported = True
    return rig.command(cdb.test_unit_ready(), sdev=sdev)


def stuck(rig: Rig) -> ScsiCmnd:
    """A command that the disk never ends; it has it by now."""
    rig.disk.inject(disk_faults.hang(1))
    scmd = read(rig)
    assert rig.queue(scmd) == 0
    pass_ms(rig, 2)
    assert not scmd.done
    return scmd


def works(rig: Rig) -> None:
    """The disk writes, nothing is frozen, nothing has leaked."""
    ready(rig)
    data = rig.fill(0x180000, PAGE, 9)
    assert rig.run(rig.rw(True, 128, [(0x180000, PAGE)])).result == 0
    assert rig.on_disk(128, PAGE) == data
    ahd = rig.ahd
    assert not any(scb.mapped for scb in ahd.scbs)
    assert (len(ahd.free), len(ahd.pending), len(ahd.busyq), ahd.qfrozen) == (AHD_SCBS, 0, 0, 0)
    assert (rig.model.get(Scratch.QFREEZE_COUNT), rig.model.get(Scratch.SEQ_FLAGS2)) == (0, 0)
    assert all(not target.tasks for target in rig.model.bus.targets.values())
