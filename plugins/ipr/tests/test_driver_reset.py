"""The reset job: its steps and times, in both modes; what it does to commands; when it gives up."""

from __future__ import annotations

import pytest

from ddsdk.bus import PCI_COMMAND
from ddsdk.scsi.cmnd import DID_NO_CONNECT, DID_RESET, FAILED, SCSI_MLQUEUE_HOST_BUSY, SUCCESS, host_byte
from ddsdk_ipr.model_core import State
from plugins.ipr.tests.driver_rig import ALL, MS, ChipProfile, Make, Rig, S


def written(rig: Rig, since: int) -> list[tuple[int, str, int]]:
    """(ms, register, value) of every write since record number *since*, IOARRIN apart."""
    records = list(rig.machine.trace)[since - rig.machine.trace.count:]
    return [(record.now_ns // MS, str(record.fields[0]), int(record.fields[1]))  # type: ignore[arg-type]
            for record in records if record.kind == "write" and record.fields[0] != "IOARRIN"]


@ALL
@pytest.mark.parametrize("crashed", [False, True], ids=["normal mode", "crash mode"])
def test_steps_and_times(make: Make, chip: ChipProfile, crashed: bool) -> None:
    """Shutdown, mask, alert, 100 ms, BIST, 2 s, restore, start; in crash mode nothing is unmasked."""
    rig = make(chip, trace=True).probe()
    if crashed:
        rig.crash()
    mark, began = rig.machine.trace.count, rig.machine.clock.now_ns
    assert rig.host_reset() == SUCCESS
    seen = written(rig, mark)
    alert = next(ms for ms, register, _ in seen if register == "UPROC_SET")
    assert alert - began // MS in range(20, 40)         # the abbreviated shutdown takes 20 ms
    expected = [("MASK_SET", 0xFFFFFFFF), ("INT_CLR", 0xFFFFFFFF), ("UPROC_SET", 0x01000000), ("UPROC_SET", 0xC2800000),
                ("MASK_CLR", 0x9C00001A), ("MASK_SET", 0x80000000), ("INT_CLR", 0x80000000)]
    if crashed:
        expected.remove(("MASK_CLR", 0x9C00001A))
    assert [(register, value) for _, register, value in seen
            if (register, value) != ("INT_CLR", 0x2)][:len(expected)] == expected
    start = next(ms for ms, register, value in seen if value == 0xC2800000)
    assert start - alert in range(2100, 2125)
    assert rig.machine.clock.now_ns - began < 2_500 * MS
    assert rig.read("MASK") == (0xFFFFFFFF if crashed else 0xFFFFFFFF & ~0x1C00001A)


def test_configuration_is_restored(make: Make) -> None:
    """Address, COMMAND, cache line, latency, interrupt line, PCI-X word, as they were at probe."""
    rig = make().probe().crash()
    before = [rig.function.config_read(4 * n, 4) for n in range(64)]
    assert rig.host_reset() == SUCCESS
    after = [rig.function.config_read(4 * n, 4) for n in range(64)]
    assert after == before


def test_commands_in_flight_end_with_DID_RESET(make: Make) -> None:
    """Once each, when BIST is over; queuecommand says busy meanwhile; their memory is theirs again."""
    rig = make().probe()
    assert rig.sdev
    rig.model.faults.inject("command-hung", times=3)
    commands = [rig.rw(False, 8 * n) for n in range(3)]
    for scmd in commands:
        rig.queue(scmd)
    rig.machine.run(for_ns=MS)
    rig.machine.clock.after_ns(MS, lambda: busy.append(rig.queue(rig.tur())))
    busy: list[int] = []
    assert rig.host_reset() == SUCCESS
    assert busy == [SCSI_MLQUEUE_HOST_BUSY]
    assert [host_byte(scmd.result) for scmd in rig.done] == [DID_RESET] * 3
    assert [scmd.resid for scmd in commands] == [4096] * 3
    assert not any(block.mapped for block in rig.ioa.blocks)
    assert len(rig.ioa.free_q) == 100


@pytest.mark.parametrize("fault", ["shutdown-hung", "shutdown-fails"])
def test_a_shutdown_that_fails_is_no_reason(make: Make, fault: str) -> None:
    """10 s are all it gets, and the reset is not begun again for it."""
    rig = make(trace=True).probe().crash()
    rig.model.faults.inject(fault)
    assert rig.host_reset() == SUCCESS
    assert sum(record.kind == "reset" for record in rig.machine.trace) == 1


@pytest.mark.parametrize(("ns", "held_ms"), [(350 * MS, 400), (3600 * S, 2000)])
def test_flash_that_is_being_written(make: Make, ns: int, held_ms: int) -> None:
    """CRIT_OP is waited for in steps of 100 ms, 2 s at most."""
    rig = make(trace=True).probe().crash()
    rig.model.faults.inject("crit-op", ns=ns)
    began = rig.machine.clock.now_ns
    assert rig.host_reset() == SUCCESS
    bist = next(record.now_ns for record in rig.machine.trace if record.kind == "reset")
    assert held_ms <= (bist - began) // MS - 20 < held_ms + 150


def test_memory_space_off(make: Make) -> None:
    """Nobody to alert: BIST after 100 ms, and configuration is restored."""
    rig = make(trace=True).probe().crash()
    rig.function.config_write(PCI_COMMAND, 2, 0)
    assert rig.hooks.quiesce(rig.sdev) == 0
    rig.ioa.hrrq_live = False
    mark = rig.machine.trace.count
    assert rig.host_reset() == SUCCESS
    assert ("UPROC_SET", 0x01000000) not in [seen[1:] for seen in written(rig, mark)]
    assert rig.function.config_read(PCI_COMMAND, 2) & 0x6 == 0x6


def test_unit_check_in_normal_mode(make: Make) -> None:
    """By interrupt: reset, the buffer read and logged, another reset, and commands work again."""
    rig = make(trace=True).probe()
    assert rig.sdev
    rig.model.faults.inject("unit-check", prc=0x00C0FFEE)
    scmd = rig.run(rig.rw(True, 8))
    assert host_byte(scmd.result) == DID_RESET
    rig.machine.run(until=lambda: rig.ioa.allow_cmds, for_ns=10 * S)
    assert sum(record.kind == "reset" for record in rig.machine.trace) == 2
    assert rig.log("permanent adapter failure, INT 08000002; resetting") or rig.log("INT 08000000; resetting")
    assert rig.log("error log: HW_FIRMWARE (04448400) at 0:0:0, PRC 00c0ffee, overlay ff")
    assert rig.run(rig.tur()).result == 0x02
    assert rig.run(rig.tur()).result == 0


@pytest.mark.parametrize(("fault", "line"), [
    ("mailbox-silent", "the adapter's memory cannot be read"),
    ("unit-check-buffer-garbled", "the unit check buffer is not valid (state 00000000, flags 20)")])
def test_a_buffer_that_cannot_be_read(make: Make, fault: str, line: str) -> None:
    """Said in the log; the reset goes on."""
    rig = make().probe()
    rig.model.faults.inject(fault)
    rig.model.faults.inject("unit-check")
    rig.run(rig.rw(True, 8)) if rig.sdev else None
    rig.machine.run(until=lambda: rig.ioa.allow_cmds, for_ns=10 * S)
    assert rig.log(line)
    assert rig.ioa.allow_cmds


@pytest.mark.parametrize("fault", ["bist-fails", "bist-hangs", "start-step-fails", "start-step-hung",
                                   "never-operational"])
def test_one_strike_in_crash_mode(make: Make, fault: str) -> None:
    """The second try works."""
    rig = make(trace=True).probe().crash()
    rig.model.faults.inject(fault)
    assert rig.host_reset() == SUCCESS
    assert sum(record.kind == "reset" for record in rig.machine.trace) == 2
    assert rig.ioa.reset_retries == 0


@pytest.mark.parametrize(("fault", "crashed", "bists"), [
    ("bist-fails", False, 5), ("bist-fails", True, 3), ("never-operational", False, 5)])
def test_for_ever(make: Make, fault: str, crashed: bool, bists: int) -> None:
    """Three retries, after a crash one; then a last bring-down, and the adapter is dead: DID_NO_CONNECT at once."""
    rig = make(trace=True).probe()
    assert rig.sdev
    scmd = rig.rw(True, 8)
    rig.model.faults.inject("command-hung")
    rig.queue(scmd)
    rig.machine.clock.advance(MS)
    if crashed:
        rig.crash()
    rig.model.faults.inject(fault, times=0)
    assert rig.host_reset() == FAILED
    assert sum(record.kind == "reset" for record in rig.machine.trace) == bists
    assert (rig.ioa.ioa_is_dead, rig.ioa.in_reset_reload) == (True, False)
    # where BIST worked the first time, it ended there
    assert host_byte(scmd.result) == (DID_RESET if fault == "never-operational" else DID_NO_CONNECT)
    last = rig.tur()
    assert rig.queue(last) == 0
    assert host_byte(last.result) == DID_NO_CONNECT
    assert rig.host_reset() == FAILED
    assert rig.model.state is not State.READY


def test_an_adapter_that_is_removed_during_the_reset(make: Make) -> None:
    """No reset brings it back, and none is tried again."""
    rig = make(trace=True).probe().crash()
    rig.machine.clock.after_ns(1500 * MS, rig.function.remove)
    assert rig.host_reset() == FAILED
    assert sum(record.kind == "reset" for record in rig.machine.trace) == 1
    assert rig.log("the adapter is gone")


def test_a_second_caller_joins(make: Make) -> None:
    """Two error handlers at a time: one reset."""
    rig = make(ncpus=2, trace=True).probe()
    assert rig.sdev
    results: list[int] = []

    def call() -> None:
        kernel, handler = rig.kernel, rig.shost.hostt.eh_host_reset_handler
        assert handler is not None
        flags = kernel.spin_lock_irqsave(rig.shost.host_lock)
        results.append(handler(rig.tur()))
        kernel.spin_unlock_irqrestore(rig.shost.host_lock, flags)
    for cpu in range(2):
        rig.machine.spawn(cpu, call, f"scsi_eh/{cpu}")
    rig.machine.run(for_ns=10 * S)
    assert results == [SUCCESS, SUCCESS]
    assert sum(record.kind == "reset" for record in rig.machine.trace) == 1


def test_the_same_reset_gives_the_same_trace(make: Make) -> None:
    """Deterministic to the last access."""
    digests = set()
    for _ in range(2):
        rig = make(trace=True).probe().crash()
        assert rig.host_reset() == SUCCESS
        digests.add(rig.machine.trace.digest())
    assert len(digests) == 1
