"""What the upper layer is told of each fault of the model's: hw-aic7xxx.md 17, "final result"."""

from __future__ import annotations

import pytest

from ddsdk.scsi.cmnd import (
    DID_ERROR,
    DID_NO_CONNECT,
    DID_OK,
    DID_PARITY,
    DID_RESET,
    SAM_STAT_BUSY,
    SAM_STAT_CHECK_CONDITION,
    SAM_STAT_COMMAND_TERMINATED,
    SAM_STAT_RESERVATION_CONFLICT,
    SAM_STAT_TASK_SET_FULL,
    host_byte,
    status_byte,
)
from ddsdk.sim import disk_faults
from ddsdk_aic7xxx.agreement import ASYNC_NARROW, ULTRA160, TransInfo
from ddsdk_aic7xxx.frames import Ext
from ddsdk_aic7xxx.model_chip import Port
from ddsdk_aic7xxx.model_faults import FAULTS
from plugins.aic7xxx.tests.driver_rig import DATA, DISK_ID, PAGE, Make, Rig

#: Fault -> host byte, status, resid of the read it strikes, what the log says.
RESULTS = {
    "adapter-gone": (DID_NO_CONNECT, 0, PAGE, "the adapter is gone; given up"),
    "atn-ignored": (DID_OK, 0, 0, ""),
    "bad-phase": (DID_OK, 0, 0, "bus phase 0x80 is none the sequencer knows"),
    "cio-parity": (DID_RESET, 0, PAGE, "the chip stopped: CIOPARERR; reset scheduled"),
    "cmdcmplt-lost": (DID_OK, 0, 0, ""),
    "command-slow": (DID_OK, 0, 0, ""),
    "completion-duplicate": (DID_OK, 0, 0, ""),
    "completion-foreign": (DID_OK, 0, 0, ""),
    "completion-late": (DID_OK, 0, 0, ""),
    "completion-stale": (DID_OK, 0, 0, ""),
    "data-overrun": (DID_ERROR, 0, PAGE, ""),
    "data-parity": (DID_PARITY, 0, 0, "parity error in phase 0x60"),
    "data-parity-code": (DID_PARITY, 0, 0, "parity error in phase 0x60"),
    "data-parity-code-alone": (DID_PARITY, 0, 0, ""),
    "data-path-parity": (DID_RESET, 0, PAGE, "the chip stopped: DPARERR; reset scheduled"),
    "data-phase-split": (DID_OK, 0, 0, ""),
    "disconnect-before-status": (DID_OK, 0, 0, ""),
    "foreign-bus-reset": (DID_RESET, 0, PAGE, "somebody reset the bus; bus reset"),
    "ignore-wide-residue": (DID_OK, 0, 1, ""),
    "illegal-host-address": (DID_RESET, 0, PAGE, "the chip stopped: ILLHADDR; reset scheduled"),
    "illegal-opcode": (DID_RESET, 0, PAGE, "the chip stopped: ILLOPCODE; reset scheduled"),
    "illegal-sequencer-address": (DID_RESET, 0, PAGE, "the chip stopped: ILLSADDR; reset scheduled"),
    "memory-parity": (DID_RESET, 0, PAGE, "the chip stopped: MPARERR; reset scheduled"),
    "message-parity": (DID_OK, 0, 0, "parity error in phase 0xe0"),
    "message-unknown": (DID_OK, 0, 0, ""),
    "missed-busfree": (DID_OK, 0, 0, ""),
    "no-free-scb": (DID_RESET, 0, PAGE, "the sequencer has no free slot (code d1); reset scheduled"),
    "pci-error": (DID_OK, 0, 0, "PCI error, status 0x80"),
    "protocol-violation": (DID_ERROR, 0, PAGE, "protocol violation in phase 0xc0"),
    "reselect-no-match": (DID_RESET, 0, PAGE, "target 3 reselected for nothing; resetting it"),
    "scb-mismatch": (DID_RESET, 0, PAGE,
                     "the sequencer found another SCB than it looked for (code c1); reset scheduled"),
    "scsiint-spurious": (DID_OK, 0, 0, ""),
    "selection-timeout": (DID_NO_CONNECT, 0, PAGE, ""),
    "send-reject": (DID_OK, 0, 0, "message 0x1f is rejected"),
    "sense-fails": (DID_ERROR, 0, PAGE, "REQUEST SENSE of SCB "),
    "sequencer-parity": (DID_RESET, 0, PAGE, "the chip stopped: SQPARERR; reset scheduled"),
    "status-parity": (DID_PARITY, 0, 0, "parity error in phase 0xc0"),
    "tag-out-of-range": (DID_RESET, 0, PAGE, "the sequencer met a tag out of range (code e1); reset scheduled"),
    "target-busy": (DID_OK, SAM_STAT_BUSY, PAGE, ""),
    "target-command-terminated": (DID_OK, SAM_STAT_COMMAND_TERMINATED, PAGE, ""),
    "target-negotiates": (DID_OK, 0, 0, ""),
    "target-queue-full": (DID_OK, SAM_STAT_TASK_SET_FULL, PAGE, ""),
    "target-reservation-conflict": (DID_OK, SAM_STAT_RESERVATION_CONFLICT, PAGE, ""),
    "transceiver-change": (DID_RESET, 0, PAGE, "the transceivers changed; bus reset"),
    "unexpected-busfree": (DID_ERROR, 0, PAGE, "target 3 left the bus"),
}
#: Not their defaults, which take seconds.
PARAMS = {"command-slow": {"ns": 300_000_000}, "completion-late": {"ns": 300_000_000}}
#: Those that strike at a pause, a reset, a negotiation, an error handler or an upload, or never end: tested elsewhere.
ELSEWHERE = {
    "abort-ignored", "command-hung", "completion-lost", "critical-section", "irq-lost", "message-retry",
    "negotiation-busfree", "negotiation-greedy", "negotiation-ignored", "pause-stuck", "ppr-rejected", "reset-hangs",
    "reset-slow", "residual-garbled", "sdtr-rejected", "transceiver-unsettled", "wdtr-rejected",
}


@pytest.fixture
def rig(make: Make) -> Rig:
    """Ready to dump."""
    return make().probe().take_over()


def test_every_fault_is_looked_at() -> None:
    """Here or elsewhere."""
    assert RESULTS.keys() | ELSEWHERE == FAULTS.keys()
    assert not RESULTS.keys() & ELSEWHERE


@pytest.mark.parametrize("fault", RESULTS)
def test_a_fault_has_the_result_the_document_gives(rig: Rig, fault: str) -> None:
    """The read it strikes, by polls alone; after all but a lost adapter the next ones work, each ends once."""
    host, status, resid, log = RESULTS[fault]
    data = bytes(range(256)) * 16
    rig.image[64 * 512:64 * 512 + PAGE] = data
    rig.run(rig.rw(False, 0))
    before = len(rig.kernel.log)
    rig.inject(fault, **PARAMS.get(fault, {}))
    scmd = rig.run(rig.rw(False, 64))
    assert rig.model.faults.struck == {fault: 1}
    assert (host_byte(scmd.result), status_byte(scmd.result), scmd.resid) == (host, status, resid)
    assert log in "\n".join(rig.kernel.log[before:])
    if fault == "adapter-gone":
        assert host_byte(rig.run(rig.rw(False, 64)).result) == DID_NO_CONNECT
        return
    if not scmd.result and not scmd.resid:
        assert rig.machine.memory.read(DATA, PAGE) == data
    rig.poll(600)
    for _ in range(2):
        scmd = rig.run(rig.rw(False, 64))
    assert (scmd.result, rig.machine.memory.read(DATA, PAGE)) == (0, data)


@pytest.mark.parametrize(("fault", "params"), [
    ("protocol-violation", {"phase": 0x40}), ("protocol-violation", {"phase": 0x80}),
    ("data-parity-code-alone", {"ns": 1_000_000}),
])
def test_where_the_target_would_not_listen_the_bus_is_reset(rig: Rig, fault: str, params: dict[str, int]) -> None:
    """A violation in a data or command phase; a data phase with a parity error that does not end."""
    rig.inject(fault, **params)
    scmd = rig.run(rig.rw(False, 64))
    assert host_byte(scmd.result) == DID_RESET
    assert rig.kernel.log[-1].endswith("bus reset")
    rig.attention()
    assert rig.run(rig.rw(False, 64)).result == 0


def test_a_garbled_residual_costs_a_reset(rig: Rig) -> None:
    """An uploaded S/G pointer that is none: the chip is not believed any more."""
    rig.disk.inject(disk_faults.wrong_length(1))
    rig.inject("residual-garbled")
    assert host_byte(rig.run(rig.rw(False, 64)).result) == DID_RESET
    assert any("residual S/G pointer 0x7ffffff4" in line for line in rig.kernel.log)
    rig.poll(50)
    rig.attention()
    assert rig.run(rig.rw(False, 64)).result == 0


@pytest.mark.parametrize(("fault", "agreement"), [
    ("", ULTRA160),
    ("ppr-rejected", TransInfo(10, 127, True)),
    ("wdtr-rejected", TransInfo(10, 127, True)),
    ("sdtr-rejected", TransInfo(10, 127, True)),
    ("negotiation-busfree", TransInfo(10, 127, True)),
    ("negotiation-ignored", ULTRA160),
    ("negotiation-greedy", ULTRA160),
    ("message-retry", ULTRA160),
    ("atn-ignored", ULTRA160),
    ("transceiver-unsettled", ULTRA160),
])
def test_a_negotiation_that_goes_wrong_ends_in_an_agreement(make: Make, fault: str, agreement: TransInfo) -> None:
    """Less is asked for, or the same again with another command; the command itself is carried out."""
    rig = make().probe().crash()
    assert rig.hooks.quiesce(rig.sdev) == 0
    if fault:
        rig.inject(fault)
    assert rig.host_reset() == 0x2002
    for _ in range(3):
        scmd = rig.run(rig.tur())
    assert (scmd.result, rig.ahc.targets[DISK_ID].curr) == (0, agreement)
    assert rig.model.bus.ports[DISK_ID].agreement == (
        agreement.period, agreement.offset, agreement.wide, agreement.dt)
    assert rig.run(rig.rw(False, 0)).result == 0
    assert not fault or fault in rig.model.faults.struck


@pytest.mark.parametrize(("code", "offset", "agreement"), [
    (Ext.SDTR, 31, TransInfo(10, 31, True)),
    (Ext.SDTR, 0, TransInfo(0, 0, True)),
    (Ext.SDTR, 0xFF, ULTRA160),             # too much: rejected, and agreed on anew
    (Ext.WDTR, 0, ULTRA160),                # the speed is agreed on anew
    (Ext.PPR, 16, TransInfo(9, 16, True, True)),
])
def test_a_target_that_asks_itself(rig: Rig, code: Ext, offset: int, agreement: TransInfo) -> None:
    """It gets its own words back, or MESSAGE REJECT; both sides mean the same afterwards."""
    rig.inject("target-negotiates", code=code, offset=offset)
    for _ in range(2):
        assert rig.run(rig.rw(False, 0)).result == 0
    port = rig.model.bus.ports[DISK_ID].agreement
    assert rig.ahc.targets[DISK_ID].curr == agreement
    assert port == (agreement.period, agreement.offset, agreement.wide, agreement.dt)


@pytest.mark.parametrize("faults", [
    ("ppr-rejected",), ("sdtr-rejected", "sdtr-rejected"), ("wdtr-rejected", "wdtr-rejected"), ("negotiation-greedy",),
    ("negotiation-busfree",), ("negotiation-ignored",),
])
def test_what_was_agreed_on_is_void_when_a_new_agreement_fails(rig: Rig, faults: tuple[str, ...]) -> None:
    """The target was asked anew, because of a parity error, and what held before was fast."""
    assert rig.run(rig.rw(False, 0)).result == 0
    assert rig.ahc.targets[DISK_ID].curr == ULTRA160
    rig.inject("data-parity")
    assert host_byte(rig.run(rig.rw(False, 0)).result) == DID_PARITY
    for fault in faults:
        rig.inject(fault)
    for _ in range(4):
        assert rig.run(rig.rw(False, 0)).result == 0


@pytest.mark.parametrize(("faults", "agreement"), [
    (("wdtr-rejected", "wdtr-rejected"), TransInfo(10, 127)),
    (("sdtr-rejected", "sdtr-rejected", "sdtr-rejected"), ASYNC_NARROW),
    (("negotiation-ignored",) * 2, TransInfo(10, 127, True)),
])
def test_a_target_that_refuses_again_and_again(make: Make, faults: tuple[str, ...], agreement: TransInfo) -> None:
    """PPR, then the width, then the speed; at last asynchronous and narrow, which nobody can refuse."""
    rig = make().probe().crash()
    assert rig.hooks.quiesce(rig.sdev) == 0
    assert rig.host_reset() == 0x2002
    for fault in faults:
        rig.inject(fault)
    for _ in range(4):
        rig.run(rig.tur())
    assert rig.ahc.targets[DISK_ID].curr == agreement
    assert rig.run(rig.rw(False, 0)).result == 0
    assert rig.ahc.targets[DISK_ID].negotiate is False


def test_a_target_of_another_time(make: Make) -> None:
    """No PPR, 10 MHz, narrow: it is what it can be."""
    rig = make().probe()
    rig.model.bus.ports[DISK_ID].can = Port(ppr=False, period=25, offset=8, wide=False)
    rig.crash()
    assert rig.hooks.quiesce(rig.sdev) == 0
    assert rig.host_reset() == 0x2002
    rig.attention()
    assert rig.ahc.targets[DISK_ID].curr == TransInfo(25, 8)
    assert rig.run(rig.rw(True, 0)).result == 0


def test_sense_data_arrives_with_the_command(rig: Rig) -> None:
    """CHECK CONDITION: DRIVER_SENSE, eighteen bytes, the transfer agreed on anew since nothing moved."""
    rig.disk.inject(disk_faults.medium_error(64, times=1))
    scmd = rig.run(rig.rw(False, 64))
    assert scmd.result == 0x08000000 | SAM_STAT_CHECK_CONDITION
    assert scmd.sense_buffer[:14].hex() == "f0000300000040" + "0a00000000" + "1100"
    assert scmd.resid == PAGE
    assert rig.ahc.targets[DISK_ID].curr == ULTRA160


def test_what_moved_before_the_bad_sector_counts(rig: Rig) -> None:
    """Two sectors of eight: resid says six."""
    rig.disk.inject(disk_faults.medium_error(66, times=1))
    scmd = rig.run(rig.rw(False, 64))
    assert (status_byte(scmd.result), scmd.resid) == (SAM_STAT_CHECK_CONDITION, PAGE - 1024)
