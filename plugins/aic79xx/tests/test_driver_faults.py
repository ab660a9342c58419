"""One strike of every fault of the model: what the driver makes of it, what the mid-layer sees, and that it goes on.

The rows are the error table of the hardware notes; what is needed to recover is the driver's business alone.
"""

from __future__ import annotations

from typing import Final

import pytest
from attrs import frozen

from ddsdk.scsi.cmnd import (
    DID_ERROR,
    DID_NO_CONNECT,
    DID_OK,
    DID_PARITY,
    DID_REQUEUE,
    DID_RESET,
    SUCCESS,
)
from ddsdk_aic79xx.ahd import AHD_SCBS
from ddsdk_aic79xx.model import AIC7901, AIC7902, AIC7902A, ChipProfile
from ddsdk_aic79xx.model_faults import FAULTS, HARDWARE_ERRORS
from ddsdk_aic79xx.negotiate import ASYNC
from ddsdk_aic79xx.regs import Scratch
from plugins.aic79xx.tests.driver_rig import DATA, PAGE, Make, Rig

ANY: Final = (AIC7901, AIC7902, AIC7902A)
PACKETS: Final = (AIC7901, AIC7902A)
MESSAGES: Final = (AIC7902,)


@frozen
class Row:
    """What becomes of a READ of a page: host byte, status, bytes missing, chip resets, the line that is logged.

    `chips`: on which it can strike.  `attention`: the disk was reset, and says so to the next command.
    """

    host: int = DID_OK
    status: int = 0
    resid: int = 0
    resets: int = 0
    says: str = ""
    chips: tuple[ChipProfile, ...] = ANY
    attention: bool = False


def lost(says: str, chips: tuple[ChipProfile, ...] = ANY) -> Row:
    """Only a reset helps."""
    return Row(DID_RESET, resid=PAGE, resets=1, says=f"{says}; reset scheduled", chips=chips, attention=True)


def bad(status: int) -> Row:
    """A status for the mid-layer."""
    return Row(status=status, resid=PAGE)


ROWS: Final[dict[str, Row]] = {
    # goes unnoticed, or nearly
    "cmdcmplt-lost": Row(), "coalescing-left-on": Row(), "completion-duplicate": Row(), "completion-foreign": Row(),
    "completion-stale": Row(), "critical-section": Row(), "lqi-crc-alone": Row(), "lqo-error": Row(),
    "seqint-spurious": Row(),
    "seqint-bad-phase": Row(says="sequencer interrupt BAD_PHASE"),
    "seqint-send-reject": Row(says="sequencer interrupt SEND_REJECT"),
    "seqint-bad-status": Row(says="sequencer interrupt BAD_STATUS"),
    "seqint-dump-state": Row(says="sequencer interrupt DUMP_CARD_STATE"),
    "seqint-tracepoint": Row(says="sequencer interrupt TRACEPOINT0"),
    "missed-busfree": Row(says="missed bus free"),
    "pci-error": Row(says="PCI error; cleared"),
    "split-error": Row(says="split transaction error; cleared"),
    "scsi-ram-parity": Row(says="SCSI cell memory parity, SSTAT3 0x02"),
    "spurious-scsiint": Row(says="bus free outside a connection"),
    # sent again by the driver, or by the chip
    "crc-in-lq": Row(chips=PACKETS), "lqo-busfree": Row(chips=PACKETS), "busfree-glitch": Row(chips=PACKETS),
    "agreement-lost": Row(says="target 0 lost the packetized agreement", chips=PACKETS),
    # data
    "short-transfer": Row(resid=PAGE // 2),
    "ignore-wide-residue": Row(resid=1, chips=MESSAGES),
    "pdata-reinit": Row(chips=MESSAGES), "mkmsg-failed": Row(chips=MESSAGES),
    "overrun": Row(DID_ERROR, resid=PAGE),
    "crc-in-data": Row(DID_PARITY, resid=PAGE, chips=PACKETS),
    "parity-in-data": Row(DID_PARITY, resid=PAGE, chips=MESSAGES),
    # the command's end
    "status-busy": bad(0x08), "status-queue-full": bad(0x28), "status-reservation-conflict": bad(0x18),
    "status-terminated": bad(0x22), "status-task-aborted": bad(0x40),
    "selection-timeout": Row(DID_NO_CONNECT, resid=PAGE),
    "busfree-in-data": Row(DID_ERROR, resid=PAGE, says="unexpected bus free in a packetized connection", chips=PACKETS),
    "busfree-at-identify": Row(DID_ERROR, resid=PAGE, says="unexpected bus free in phase 0xa0", chips=MESSAGES),
    "busfree-at-command": Row(DID_ERROR, resid=PAGE, says="unexpected bus free in phase 0x80", chips=MESSAGES),
    "busfree-at-data": Row(DID_ERROR, resid=PAGE, says="unexpected bus free in phase 0x40", chips=MESSAGES),
    "protocol-violation": Row(DID_ERROR, resid=PAGE, says="protocol violation in phase 0xe0; command aborted",
                              chips=MESSAGES),
    "reselect-no-match": Row(DID_RESET, resid=PAGE, says="reselected without a command; device reset", chips=MESSAGES,
                             attention=True),
    "foreign-bus-reset": Row(DID_REQUEUE, resid=PAGE, says="somebody reset the SCSI bus", attention=True),
    # only a reset helps
    **{name: lost(f"hardware error, ERROR {bits:#04x}") for name, bits in HARDWARE_ERRORS.items()},
    "saw-hwerr": lost("the sequencer saw a hardware error, ERROR 0x08"),
    "seqint-invalid": lost("invalid sequencer interrupt"),
    "transceiver-change": lost("transceiver mode changed"),
    "offset-overrun": lost("offset overrun"),
    "lqi-phase-change": lost("phase change in a packet, LQISTAT1 0x40"),
    "lq-overrun": lost("packet overrun, LQISTAT1 0x02", PACKETS),
    "packet-overrun": lost("packet overrun, LQISTAT1 0x01", PACKETS),
    "bad-lq": lost("packet overrun, LQISTAT1 0x04", PACKETS),
}
#: Tried elsewhere: these strike another command, an error handler, a reset, or make somebody wait.
ELSEWHERE: Final = {
    "adapter-gone", "command-hung", "command-slow", "completion-late", "completion-lost", "message-again",
    "pause-stuck", "ppr-rejected", "reset-hangs", "rst-stays-low", "sdtr-rejected", "sequencer-hung",
    "status-iu-too-long", "tmf-beaten", "tmf-ignored", "wdtr-rejected"}


def start(make: Make, chip: ChipProfile) -> Rig:
    """Crashed, agreed with the disk."""
    return make(chip).probe().polled()


def goes_on(rig: Rig, attention: bool = False) -> None:
    """The next command ends well, or with the unit attention that is due; nothing has leaked, nothing is frozen."""
    while rig.ahd.busyq or rig.ahd.qfrozen:
        rig.poll()
    if attention:
        scmd = rig.run(rig.tur())
        assert (scmd.result, scmd.sense_buffer[12]) == (0x02, 0x29)
    data = rig.fill(DATA + PAGE, PAGE, 5)
    assert rig.run(rig.rw(True, 64, [(DATA + PAGE, PAGE)])).result == 0
    assert rig.on_disk(64, PAGE) == data
    ahd = rig.ahd
    assert (len(ahd.free), len(ahd.pending), sum(bool(scb.mapped) for scb in ahd.scbs)) == (AHD_SCBS, 0, 0)
    assert (rig.model.get(Scratch.QFREEZE_COUNT), rig.model.get(Scratch.SEQ_FLAGS2)) == (0, 0)
    assert rig.model.scsi.simode1 & 0xA4 == 0xA4


def test_every_fault_has_its_test() -> None:
    """Here, or elsewhere."""
    assert ROWS.keys() | ELSEWHERE == FAULTS.keys()
    assert not ROWS.keys() & ELSEWHERE


@pytest.mark.parametrize("fault", ROWS)
def test_one_strike(make: Make, fault: str) -> None:
    """The command's end, the line, the resets; then the disk works as before.  Chips take turns."""
    row = ROWS[fault]
    rig = start(make, row.chips[list(ROWS).index(fault) % len(row.chips)])
    resets, lines = rig.ahd.reset_count, len(rig.kernel.log)
    rig.model.faults.inject(fault)
    scmd = rig.run(rig.rw(False, 8, [(DATA, PAGE)]))
    assert rig.model.faults.struck == {fault: 1}
    assert (scmd.result, scmd.resid) == (row.host << 16 | row.status, row.resid)
    assert rig.ahd.reset_count - resets == row.resets
    said = rig.kernel.log[lines:]
    assert len(said) == bool(row.says)
    assert all(row.says in line for line in said)
    goes_on(rig, row.attention)


@pytest.mark.parametrize("fault", ["lqo-busfree", "agreement-lost"])
def test_what_goes_wrong_for_ever_ends(make: Make, fault: str) -> None:
    """The driver tries a few times more; then the mid-layer learns of it."""
    rig = start(make, AIC7901)
    rig.model.faults.inject(fault, times=0)
    scmd = rig.run(rig.rw(False, 8, [(DATA, PAGE)]))
    assert scmd.result == (DID_PARITY if fault == "lqo-busfree" else DID_REQUEUE) << 16
    assert rig.model.faults.struck[fault] == {"lqo-busfree": 6, "agreement-lost": 3}[fault]
    rig.model.faults.clear()
    goes_on(rig)


def test_a_status_iu_that_is_too_long(make: Make) -> None:
    """Code 10: reset."""
    rig = start(make, AIC7901)
    rig.model.faults.inject("status-iu-too-long")
    scmd = rig.run(rig.rw(False, 0xFFFFFF00, [(DATA, PAGE)]))
    assert scmd.result == DID_RESET << 16
    assert "status information unit longer than its buffer; reset scheduled" in rig.log()
    goes_on(rig, attention=True)


def test_a_status_report_that_comes_twice(make: Make) -> None:
    """Code 1A once more for an SCB that is over: counted, and the freeze count does not go below zero."""
    rig = start(make, AIC7901)
    rig.model.faults.inject("completion-duplicate")
    assert rig.run(rig.rw(False, 0xFFFFFF00, [(DATA, PAGE)])).result == 0x02
    goes_on(rig)
    assert rig.ahd.stale == 1


def test_an_unknown_code(make: Make) -> None:
    """SEQINTCODE holds what no program raises: reset."""
    rig = start(make, AIC7901)
    rig.machine.clock.advance(1_000_000)
    rig.model.raise_int(0x04)
    rig.model.seqintcode = 0x77
    rig.poll()
    assert "sequencer interrupt 0x77, which there is not; reset scheduled" in rig.log()
    goes_on(rig, attention=True)


# -- negotiation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "packets", "offset", "wide"), [
    ("ppr-rejected", False, 0x3F, 1), ("message-again", True, 0x3F, 1)])
def test_a_negotiation_that_does_not_go_smoothly(make: Make, fault: str, packets: bool, offset: int, wide: int) -> None:
    """Without PPR: width, then speed, without packets; a message that is wanted again is said again."""
    rig = make(AIC7901).probe()
    rig.known_disk()
    rig.crash()
    rig.hooks.quiesce(rig.sdev)
    assert rig.host_reset() == SUCCESS
    rig.model.faults.inject(fault)
    for _ in range(3):
        rig.run(rig.tur())
    curr = rig.ahd.targets[0].curr
    assert rig.model.faults.struck == {fault: 1}
    assert (curr.packetized, curr.offset, curr.width) == (packets, offset, wide)
    goes_on(rig)


@pytest.mark.parametrize(("faults", "offset", "wide"), [
    (("ppr-rejected", "wdtr-rejected"), 0x3F, 0), (("ppr-rejected", "wdtr-rejected", "sdtr-rejected"), 0, 0)])
def test_a_target_that_can_next_to_nothing(make: Make, faults: tuple[str, ...], offset: int, wide: int) -> None:
    """What is rejected is not asked for again."""
    rig = make(AIC7901).probe()
    rig.known_disk()
    rig.crash()
    rig.hooks.quiesce(rig.sdev)
    assert rig.host_reset() == SUCCESS
    for fault in faults:
        rig.model.faults.inject(fault, times=0)
    for _ in range(3):
        rig.run(rig.tur())
    curr = rig.ahd.targets[0].curr
    assert set(rig.model.faults.struck) == set(faults)
    assert (curr.packetized, curr.offset, curr.width) == (False, offset, wide)
    struck = dict(rig.model.faults.struck)
    goes_on(rig)
    assert rig.model.faults.struck == struck
    assert (curr == ASYNC) is (offset == 0)
