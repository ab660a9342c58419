"""What commands end with: status, host byte, residual count, sense data; and each fault of bus, chip and targets."""

from __future__ import annotations

import pytest

from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, DMA_NONE, DMA_TO_DEVICE
from ddsdk.scsi.host import ScsiDevice
from ddsdk.sim.disk_faults import medium_error
from ddsdk_sym53c8xx.model import LSI53C810, LSI53C1010, ChipProfile
from ddsdk_sym53c8xx.model_faults import FAULTS
from plugins.sym53c8xx.tests.driver_rig import ALL, BOTH, DATA, Make, Rig, pattern

GOOD, CHECK = 0x00, 0x02
NO_CONNECT, BUS_BUSY, PARITY, ERROR, RESET, REQUEUE = (
    0x01_0000, 0x02_0000, 0x06_0000, 0x07_0000, 0x08_0000, 0x0D_0000)
SENSED = 0x0800_0002


@pytest.fixture
def rig(make: Make) -> Rig:
    """Taken over, ready to dump."""
    return make().probe().take_over()


@ALL
def test_data_both_ways(make: Make, chip: ChipProfile) -> None:
    """A write reaches the disk, a read memory; nothing is left over."""
    rig = make(chip).probe().take_over()
    data = rig.fill(DATA, 8192)
    write = rig.run(rig.rw(True, 24, [(DATA, 8192)]))
    assert (write.result, write.resid, rig.on_disk(24, 8192)) == (GOOD, 0, data)
    read = rig.run(rig.rw(False, 24, [(DATA + 0x10000, 8192)]))
    assert (read.result, read.resid, rig.machine.memory.read(DATA + 0x10000, 8192)) == (GOOD, 0, data)


@BOTH
def test_autosense(make: Make, chip: ChipProfile) -> None:
    """CHECK CONDITION: sense data is fetched with the command's own block before anything else, DRIVER_SENSE set."""
    rig = make(chip).probe().take_over()
    scmd = rig.run(rig.command(cdb.read_write(False, 0x7FFF_FFF0, 8, False), DMA_FROM_DEVICE, [(DATA, 4096)]))
    assert (scmd.result, scmd.resid) == (SENSED, 4096)
    assert (scmd.sense_buffer[0], scmd.sense_buffer[2], scmd.sense_buffer[12]) == (0x70, 0x05, 0x21)
    assert rig.run(rig.command(cdb.test_unit_ready())).result == GOOD


def test_autosense_among_others(rig: Rig) -> None:
    """Commands that were queued before go on afterwards, and keep their data."""
    rig.disk.faults.inject(medium_error(8, 8))
    rig.image[:16384] = pattern(9, 16384)
    scmds = [rig.rw(False, 8 * n, [(DATA + 4096 * n, 4096)]) for n in range(4)]
    for scmd in scmds:
        assert rig.queue(scmd) == 0
    rig.poll_until_done(*scmds)
    assert [scmd.result for scmd in scmds] == [GOOD, SENSED, GOOD, GOOD]
    assert scmds[1].sense_buffer[2] == 0x03
    for n in (0, 2, 3):
        assert rig.machine.memory.read(DATA + 4096 * n, 4096) == pattern(9, 16384)[4096 * n:4096 * (n + 1)]


def test_underrun(rig: Rig) -> None:
    """INQUIRY with room for 255 bytes: the rest is the residual count."""
    scmd = rig.run(rig.command(cdb.inquiry(255), DMA_FROM_DEVICE, [(DATA, 255)]))
    length = 5 + rig.machine.memory.read(DATA, 5)[4]
    assert (scmd.result, scmd.resid) == (GOOD, 255 - length)


def test_underrun_in_the_middle_of_a_list(rig: Rig) -> None:
    """Segments after the one that was cut count as well."""
    scmd = rig.run(rig.command(cdb.inquiry(255), DMA_FROM_DEVICE, [(DATA, 30), (DATA + 0x100, 2), (DATA + 0x200, 223)]))
    length = 5 + rig.machine.memory.read(DATA, 5)[4]
    assert (scmd.result, scmd.resid) == (GOOD, 255 - length)


def test_a_list_of_exactly_what_comes(rig: Rig) -> None:
    """READ CAPACITY: 8 bytes, no residual count."""
    scmd = rig.run(rig.command(cdb.read_capacity_10(), DMA_FROM_DEVICE, [(DATA, 8)]))
    assert (scmd.result, scmd.resid) == (GOOD, 0)


def test_no_data_at_all(rig: Rig) -> None:
    """A command without a list."""
    scmd = rig.run(rig.command(cdb.test_unit_ready(), DMA_NONE))
    assert (scmd.result, scmd.resid) == (GOOD, 0)


def test_target_wants_to_give_more(rig: Rig) -> None:
    """More data than the list has room for: taken and thrown away, DID_ERROR, nothing written behind the list."""
    rig.fill(DATA, 8192)
    before = rig.machine.memory.read(DATA + 2048, 6144)
    scmd = rig.run(rig.command(cdb.read_write(False, 0, 8, False), DMA_FROM_DEVICE, [(DATA, 2048)]))
    assert (scmd.result, scmd.resid) == (ERROR, 0)
    assert rig.machine.memory.read(DATA + 2048, 6144) == before
    assert rig.run(rig.command(cdb.test_unit_ready())).result == GOOD


def test_target_wants_more_than_there_is(rig: Rig) -> None:
    """A write of 8 sectors with data for 4: the command is aborted, the disk keeps what it had."""
    rig.fill(DATA, 4096)
    scmd = rig.run(rig.command(cdb.read_write(True, 0, 8, False), DMA_TO_DEVICE, [(DATA, 2048)]))
    assert (scmd.result, scmd.resid) == (ERROR, 2048)
    assert rig.on_disk(0, 4096) == bytes(4096)
    assert rig.run(rig.command(cdb.test_unit_ready())).result == GOOD
    assert rig.np.resets == 2                                     # probe and take-over, none since


def test_data_where_none_was_expected(rig: Rig) -> None:
    """INQUIRY without a list."""
    scmd = rig.run(rig.command(cdb.inquiry(36)))
    assert scmd.result == ERROR


def test_nobody_there(rig: Rig) -> None:
    """An id without a target: DID_NO_CONNECT after the selection timeout, and others go on."""
    ghost = ScsiDevice(rig.shost, 0, 3, 0)
    lost, good = rig.command(cdb.test_unit_ready(), sdev=ghost), rig.rw(False, 0, [(DATA, 4096)])
    before_ns = rig.machine.clock.now_ns
    assert rig.queue(lost) == rig.queue(good) == 0
    rig.poll_until_done(lost, good)
    assert (lost.result, good.result) == (NO_CONNECT, GOOD)
    assert 250_000_000 < rig.machine.clock.now_ns - before_ns < 300_000_000


# -- faults ----------------------------------------------------------------------------------------------------------

#: Fault -> result of a read in the middle of two, of a write, whether the bus is reset.  None: the fault does not
#: strike there.
HANGS = ("hangs", "hangs", False)
RECOVERED = (GOOD, GOOD, False)
BY_RESET = (RESET, RESET, True)
OUTCOMES: dict[str, tuple[int | str | None, int | str | None, bool]] = {
    "all-ones": (NO_CONNECT, NO_CONNECT, False),
    "arbitration-lost": RECOVERED, "command-slow": RECOVERED, "early-disconnect": RECOVERED,
    "general-timer": RECOVERED, "message-negotiate": RECOVERED, "message-noop": RECOVERED,
    "message-out-again": RECOVERED, "message-unknown": RECOVERED, "no-save-pointers": RECOVERED,
    "parity-message-in": RECOVERED, "reselect-bad-tag": RECOVERED, "reselect-duplicate": RECOVERED,
    "reselect-foreign": RECOVERED, "reselect-late": RECOVERED, "reselect-stale": RECOVERED,
    "reselect-wrong-target": RECOVERED, "restore-pointers": RECOVERED, "sigp-lost": RECOVERED, "tag-refused": RECOVERED,
    "bad-phase": BY_RESET, "bus-fault-data": BY_RESET, "bus-fault-fetch": BY_RESET, "gross-error": BY_RESET,
    "illegal-instruction": BY_RESET, "mode-change": BY_RESET, "pci-parity": BY_RESET,
    "reselect-no-identify": BY_RESET, "reselect-no-tag": BY_RESET, "reset-by-other": BY_RESET,
    "wrong-direction": BY_RESET,
    "command-hung": HANGS, "reselect-lost": HANGS, "target-hangs": HANGS,
    "data-overrun": (ERROR, None, False),
    "parity-data-in": (PARITY | SENSED, None, False),
    "parity-data-out": (None, SENSED, False),
    "parity-status": (SENSED, SENSED, False),
    "selection-unanswered": (BUS_BUSY, BUS_BUSY, False),
    "status-missing": (ERROR, ERROR, False), "status-unknown": (ERROR, ERROR, False),
    "unexpected-disconnect": (ERROR, ERROR, False),
}
#: Those that strike elsewhere: resets, aborts, the interrupt line, sense data.
ELSEWHERE = {"abort-ignored", "abort-refused", "busy-stuck", "intfly-lost", "irq-lost", "irq-stuck",
             "reset-while-running", "rst-slow", "rst-stuck", "sense-empty", "sense-refused"}


def test_the_table_is_complete() -> None:
    """Every fault is here, or said to be tested elsewhere."""
    assert set(OUTCOMES) | ELSEWHERE == set(FAULTS)


@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
@pytest.mark.parametrize("fault", sorted(OUTCOMES))
def test_fault(make: Make, fault: str, write: bool) -> None:
    """Two commands, one strike: both end as they should, good ones with their data; then the adapter works."""
    expected, reset = OUTCOMES[fault][write], OUTCOMES[fault][2]
    rig = make(LSI53C1010 if write else LSI53C810 if fault != "mode-change" else LSI53C1010).probe().take_over()
    data = rig.fill(DATA, 8192, 3)
    if not write:
        rig.image[:8192] = data = pattern(5, 8192)
    resets = rig.np.resets
    rig.model.faults.inject(fault, **({"ns": 300_000_000} if fault in ("command-slow", "reselect-late") else {}))
    scmds = [rig.rw(write, 8 * n, [(DATA + 4096 * n, 4096)]) for n in range(2)]
    for scmd in scmds:
        assert rig.queue(scmd) == 0
    if expected == "hangs":
        for _ in range(10):
            rig.advance(2_000)
            rig.kernel.diskdump_update()
            rig.hooks.dump_poll(rig.sdev)
        assert not scmds[0].done
        assert rig.host_reset() == 0x2002
        return
    rig.poll_until_done(*scmds)
    assert bool(rig.model.faults.struck.get(fault)) is (expected is not None)
    second = expected if reset or expected == NO_CONNECT else REQUEUE if fault == "tag-refused" else GOOD
    assert (scmds[0].result, scmds[1].result) == (expected or GOOD, second)
    assert rig.np.resets - resets == reset
    for n, scmd in enumerate(scmds):
        if scmd.result == GOOD:
            there = rig.on_disk(0, 8192) if write else rig.machine.memory.read(DATA, 8192)
            assert there[4096 * n:4096 * (n + 1)] == data[4096 * n:4096 * (n + 1)]
            assert scmd.resid == 0
    rig.model.faults.clear()
    if expected != NO_CONNECT:
        rig.run(rig.command(cdb.test_unit_ready()))
        assert rig.run(rig.rw(True, 0, [(DATA, 4096)])).result == GOOD
        assert len(rig.np.free) + len(rig.np.aborted) == 63
        assert rig.np.busy == {}


@pytest.mark.parametrize("fault", ["sense-refused", "sense-empty"])
def test_no_sense_data(rig: Rig, fault: str) -> None:
    """The command is over, and nobody knows why: DID_ERROR, so that it is tried again."""
    rig.model.faults.inject(fault)
    scmd = rig.run(rig.command(cdb.read_write(False, 0x7FFF_FFF0, 8, False), DMA_FROM_DEVICE, [(DATA, 4096)]))
    assert scmd.result == ERROR
    assert "gives no sense data" in rig.kernel.log[-1]


def test_a_lun_that_refuses_tags_gets_none(rig: Rig) -> None:
    """After MESSAGE REJECT one command at a time, until the next reset; those that waited with a tag come again."""
    rig.model.faults.inject("tag-refused", times=0)
    scmds = [rig.rw(False, 8 * n, [(DATA + 4096 * n, 4096)]) for n in range(4)]
    for scmd in scmds:
        assert rig.queue(scmd) == 0
    rig.poll_until_done(*scmds)
    assert [scmd.result for scmd in scmds] == [GOOD, REQUEUE, REQUEUE, REQUEUE]
    assert rig.run(scmds[1]).result == GOOD
    rig.model.faults.clear()
    assert rig.np.untagged == {(0, 0)}
    first, second = (rig.rw(False, 8 * n, [(DATA, 4096)]) for n in range(2))
    assert (rig.queue(first), rig.queue(second)) == (0, 0x1055)
    rig.poll_until_done(first)
    assert rig.host_reset() == 0x2002
    assert rig.np.untagged == set()
