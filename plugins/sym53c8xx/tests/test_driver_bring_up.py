"""Probe: the adapter comes up from whatever state its former owner left it in, or is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ddsdk.errors import DeviceError
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE
from ddsdk.sim.disk_faults import hang
from ddsdk_sym53c8xx.driver import sym_probe
from ddsdk_sym53c8xx.model import LSI53C810, LSI53C895A, LSI53C1010, ChipProfile
from plugins.sym53c8xx.tests.conftest import words
from plugins.sym53c8xx.tests.driver_rig import ALL, Make, Rig, chip_named, refusal

CODE = 0x30_0000                # somebody else's SCRIPTS
INT = 0x9808_0000


def foreign(rig: Rig, *program: tuple[int, ...], us: int = 200) -> None:
    """The former owner's SCRIPTS, as far as they come in *us*."""
    rig.function.dma_grant(CODE, 0x1000)
    rig.machine.memory.write(CODE, words(*program))
    rig.machine.memory.write(CODE + 0x200, bytes((0xC0, 0x20, 0x07)))
    rig.machine.memory.write(CODE + 0x210, bytes.fromhex("28000000000000010000"))
    for name, value in (("SCNTL0", 0xCA), ("SCNTL3", 0x03), ("SCID", 0x47), ("RESPID0", 0x80), ("DCNTL", 0x01),
                        ("STIME0", 0x0C), ("SIEN0", 0x8F), ("SIEN1", 0x15), ("DIEN", 0x7D)):
        rig.write(name, value)
    rig.write("DSA", CODE)
    rig.write("DSP", CODE)
    rig.machine.clock.advance(us * 1000)


SELECT = ((0x4100_0000, CODE), (0x0E00_0003, CODE + 0x200), (0x0A00_000A, CODE + 0x210))
MESSAGES = ((0x0F00_0001, CODE + 0x220), (0x6000_0040, 0), (0x0F00_0001, CODE + 0x220), (0x7C02_7F00, 0),
            (0x6000_0040, 0), (0x4800_0000, 0))


def in_data(rig: Rig) -> None:
    """Stopped in the middle of a data phase, the target connected."""
    rig.model.scsi.ports[0].target.units[0]._attention.clear()
    foreign(rig, *SELECT, *MESSAGES, (0x5000_0000, CODE), (0x0F00_0003, CODE + 0x220), (0x6000_0040, 0),
            (0x0900_0333, CODE + 0x400), (INT, 1), us=5000)
    assert rig.read("ISTAT0") & 0x09 == 0x09


def many_registers(rig: Rig) -> None:
    """Every register of configuration set to something else."""
    for name, value in (("SCNTL0", 0x03), ("SCNTL3", 0x7F), ("SCID", 0x25), ("SXFER", 0x3F), ("DMODE", 0x81),
                        ("CTEST4", 0x10), ("CTEST5", 0x20), ("DCNTL", 0x10), ("STEST2", 0x42), ("STIME0", 0xFF),
                        ("RESPID0", 0x20), ("DIEN", 0x7D), ("SIEN0", 0xFF), ("SIEN1", 0x07), ("TEMP", 0x123),
                        ("DSA", 0x456), ("SCRATCHA", 0x789)):
        rig.write(name, value)


def rst_held(rig: Rig) -> None:
    """Somebody asserted RST and died."""
    rig.write("SCNTL1", 0x08)
    rig.machine.clock.advance(50_000)


STATES: dict[str, Callable[[Rig], None]] = {
    "after power-on": lambda rig: None,
    "SCRIPTS wait to be reselected": lambda rig: foreign(rig, (0x5000_0000, CODE)),
    "SCRIPTS run in a loop": lambda rig: foreign(rig, (0x8008_0000, CODE)),
    "a selection is under way": lambda rig: foreign(rig, *SELECT, us=4),
    "connected, SCRIPTS wait for a phase": lambda rig: foreign(rig, *SELECT, (0x870B_0000, CODE), (0x830B_0000, CODE)),
    "connected, stopped in data": in_data,
    "a command is disconnected": lambda rig: foreign(rig, *SELECT, *MESSAGES, (0x5000_0000, CODE), us=30),
    "selecting nobody": lambda rig: foreign(rig, (0x4105_0000, CODE), (0x870B_0000, CODE), us=20),
    "a selection timeout is pending": lambda rig: foreign(rig, (0x4105_0000, CODE), (0x870B_0000, CODE), us=300_000),
    "an INT is pending": lambda rig: foreign(rig, (INT, 0xBAD)),
    "an illegal instruction is pending": lambda rig: foreign(rig, (0xA008_0000, 0)),
    "INTF is pending": lambda rig: foreign(rig, (0x9818_0000, 0), (0x5000_0000, CODE)),
    "INTF and INT are pending": lambda rig: foreign(rig, (0x9818_0000, 0), (INT, 1)),
    "SIGP is set": lambda rig: rig.write("ISTAT0", 0x20),
    "SRST is set": lambda rig: rig.write("ISTAT0", 0x40),
    "ABRT is set": lambda rig: rig.write("ISTAT0", 0x80),
    "RST is asserted": rst_held,
    "stepping": many_registers,
}


@ALL
@pytest.mark.parametrize("state", STATES)
def test_comes_up_from(make: Make, chip: ChipProfile, state: str) -> None:
    """From every state SCRIPTS run, the bus is free, causes are enabled, and the disk answers."""
    rig = make(chip)
    rig.power_up()
    STATES[state](rig)
    rig.probe()
    assert rig.np.active
    assert rig.model.scripts.running
    assert rig.sdev.nr_sectors == 16384
    assert rig.machine.clock.now_ns < 10_000_000_000


def test_the_registers_it_works_with(make: Make) -> None:
    """Parity checked, ATN on bad parity, id 7, time-out 256 ms, no synchronous and no wide transfers."""
    rig = make(LSI53C1010).probe()
    rig.write("ISTAT0", 0x80)                                     # stopped, registers can be read
    rig.write("ISTAT0", 0x00)
    assert {name: rig.read(name) for name in (
        "SCNTL0", "SCNTL1", "SCNTL3", "SCID", "SXFER", "RESPID0", "STIME0", "DCNTL", "CCNTL0", "CCNTL1", "STEST3")} == {
        "SCNTL0": 0xCA, "SCNTL1": 0x00, "SCNTL3": 0x03, "SCID": 0x47, "SXFER": 0x00, "RESPID0": 0x80, "STIME0": 0x0C,
        "DCNTL": 0x01, "CCNTL0": 0x00, "CCNTL1": 0x06, "STEST3": 0x80}
    assert {name: rig.read(name) for name in ("SIEN0", "SIEN1", "DIEN")} == {"SIEN0": 0x8F, "SIEN1": 0x15, "DIEN": 0x7D}


@pytest.mark.parametrize(("chip", "running", "kept"), [
    (LSI53C895A, False, 0x08), (LSI53C1010, True, 0x08), (LSI53C810, True, 0x08), (LSI53C810, False, 0x00)])
def test_irq_mode_of_firmware_is_kept(make: Make, chip: ChipProfile, running: bool, kept: int) -> None:
    """DCNTL.IRQM (totem pole) is a choice of the board: it survives the chip reset, where DCNTL may be read.

    A 53C810 does not say whether its SCRIPTS run, only that they were aborted; else the reset value has to do, which
    suits every board.
    """
    rig = make(chip)
    rig.power_up()
    if running:
        foreign(rig)
        rig.write("ISTAT0", 0x40)
        rig.write("ISTAT0", 0x00)
    rig.write("DCNTL", 0x09)
    if running:
        rig.machine.memory.write(CODE, words((0x5000_0000, CODE)))
        rig.write("DSP", CODE)
        rig.machine.clock.advance(50_000)
    rig.probe()
    assert rig.np.dcntl == kept


def test_the_bus_is_reset_for_long_enough(make: Make) -> None:
    """RST for 25 us at least; no selection within 250 ms after it."""
    rig = make(trace=True)
    rig.probe()
    assert rig.sdev
    writes = [(r.now_ns, r.fields) for r in rig.machine.trace if r.kind == "write"]
    (up_ns,) = [now for now, fields in writes if fields[:2] == ("SCNTL1", 0x08)]
    down_ns = next(now for now, fields in writes if now > up_ns and fields[:2] == ("SCNTL1", 0x00))
    started_ns = next(now for now, fields in writes if now > up_ns and fields[0] == "DSP")
    assert down_ns - up_ns >= 25_000
    assert started_ns - down_ns >= 250_000_000


@pytest.mark.parametrize(("fault", "times", "reason"), [
    ("all-ones", 0, "the adapter is gone"), ("rst-stuck", 0, "reset failed"), ("busy-stuck", 0, "reset failed")])
def test_refuses_for_good_reason(make: Make, fault: str, times: int, reason: str) -> None:
    """What three resets do not mend is refused with what was wrong."""
    rig = make()
    rig.power_up()
    rig.model.faults.inject(fault, times=times)
    assert reason in refusal(rig)
    assert rig.machine.clock.now_ns < 40_000_000_000


@pytest.mark.parametrize("fault", ["rst-stuck", "busy-stuck", "rst-slow", "abort-ignored", "reset-while-running",
                                   "irq-lost", "irq-stuck"])
def test_one_mishap_does_not_end_a_bring_up(make: Make, fault: str) -> None:
    """What goes wrong once is tried again, or waited for; a chip whose SCRIPTS run is stopped before it is reset."""
    rig = make()
    rig.power_up()
    foreign(rig, (0x5000_0000, CODE))
    rig.model.faults.inject(fault)
    rig.probe()
    assert rig.sdev.nr_sectors == 16384


def test_wrong_chip_is_named(make: Make) -> None:
    """Probing for another chip than the one in the slot fails with both pairs of PCI ids."""
    rig = make(LSI53C895A)
    with pytest.raises(DeviceError, match=r"1000:0012 are not those of 53c810 \(1000:0001\)"):
        sym_probe(rig.pdev, chip_named("53c810"))


def test_absent_function_is_refused(make: Make) -> None:
    """A function that answers no configuration cycle is refused before anything is mapped."""
    rig = make()
    rig.function.remove()
    assert "does not answer configuration cycles" in refusal(rig)


def test_limits(make: Make) -> None:
    """What the mid-layer is told: 32 commands, 92 segments, id 7."""
    shost = make(LSI53C810).probe().shost
    assert (shost.this_id, shost.can_queue, shost.sg_tablesize, shost.cmd_per_lun, shost.max_sectors) == (
        7, 32, 92, 16, 8192)


@ALL
def test_commands_complete_by_interrupt(make: Make, chip: ChipProfile) -> None:
    """In normal mode queuecommand and the interrupt line are enough; nobody polls."""
    rig = make(chip).probe()
    assert rig.sdev
    paddr = rig.machine.memory.reserve.alloc(64, 64)
    scmd = rig.command(cdb.inquiry(36), DMA_FROM_DEVICE, [(paddr, 36)])
    assert rig.queue(scmd) == 0
    rig.kernel.mdelay(5)
    assert (scmd.done, scmd.result, scmd.resid) == (True, 0, 0)
    assert bytes(rig.machine.memory.view(paddr + 8, 5)) == b"DDSDK"


def test_a_hung_command_of_the_former_owner(make: Make) -> None:
    """The target holds the bus and asserts no REQ: only RST ends that."""
    rig = make()
    rig.power_up()
    rig.disk.faults.inject(hang())
    rig.model.faults.inject("target-hangs")
    foreign(rig, *SELECT, (0x870B_0000, CODE))
    rig.probe()
    assert rig.model.faults.struck["target-hangs"] == 1
    assert rig.sdev.nr_sectors == 16384
