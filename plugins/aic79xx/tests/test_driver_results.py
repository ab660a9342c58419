"""How commands end: residuals, statuses, sense data with and without information units."""

from __future__ import annotations

import pytest

from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE
from ddsdk.sim import disk_faults
from ddsdk_aic79xx.ahd import Addressing
from ddsdk_aic79xx.model import AIC7901, AIC7902, ChipProfile
from ddsdk_aic79xx.queue import ahd_sg_setup
from ddsdk_aic79xx.regs import Scratch
from ddsdk_aic79xx.scb import Scb
from ddsdk_aic79xx.status import ahd_calc_residual, ahd_complete_scb, ahd_handle_scb_status
from plugins.aic79xx.tests.driver_rig import BOTH, DATA, EACH, Make, Rig

NBYTES = 0x4000
SEGMENTS = [(DATA, 0x200), (DATA + 0x1000, 0x1000), (DATA + 0x3000, 0x2E00)]


def start(make: Make, chip: ChipProfile = AIC7901, addressing: Addressing | None = None) -> Rig:
    """Crashed, agreed with the disk."""
    return make(chip).probe(addressing).polled()


def held(rig: Rig) -> Scb:
    """A READ that the chip does not hold, as a completion finds it."""
    scmd = rig.command(cdb.read_write(False, 0, 32, False), DMA_FROM_DEVICE, SEGMENTS)
    scmd.request_bufflen = NBYTES
    scb = rig.ahd.free.popleft()
    scb.target, scb.scmd, scb.tagged = 0, scmd, True
    scmd.scsi_done = rig.scsi_done
    ahd_sg_setup(rig.ahd, scb, SEGMENTS)
    rig.ahd.pending[scb.tag] = scb
    return scb


def upload(rig: Rig, scb: Scb, sgptr: int, count: int = 0, pointer: int = 0, status: int = 0) -> None:
    """What the chip wrote back."""
    view = scb.element.view
    view[0:4], view[4:8] = count.to_bytes(4, "little"), pointer.to_bytes(4, "little")
    view[8] = status
    view[0x24:0x28] = sgptr.to_bytes(4, "little")


# -- residuals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("addressing", [Addressing.BITS_39, Addressing.BITS_64])
@pytest.mark.parametrize(("sgptr", "left", "after", "resid", "overrun"), [
    (0x0A, 0, 0, 0, False),                             # not uploaded: everything moved
    (0x0E, 0, 0, NBYTES, False),                        # STATUS_VALID, FULL_RESID: nothing did
    (0x05, 0, 0, 0, False),                             # STATUS_VALID, no data at all
    (0x0C, 0x2C00, 3, 0x2C00, False),                   # within the last element
    (0x0C, 0x0800, 2, 0x0800 + 0x2E00, False),          # within the second one
    (0x0C, 0x0200, 1, NBYTES, False),                   # within the first one: all that follows as well
])
def test_residual(make: Make, addressing: Addressing, sgptr: int, left: int, after: int, resid: int,
                  overrun: bool) -> None:
    """The element's rest, and the elements behind it; their stride is that of the addressing."""
    rig = make().probe(addressing)
    rig.known_disk()
    scb = held(rig)
    word = left | (0x80000000 if after == 3 else 0)
    upload(rig, scb, scb.sg_busaddr & ~7 | sgptr, word, scb.sg_busaddr + after * rig.ahd.sg_size)
    assert ahd_calc_residual(rig.ahd, scb, NBYTES) == (resid, overrun)


@pytest.mark.parametrize(("pointer", "overrun"), [(0x01, False), (0x02, True)])
def test_residual_pointer_without_a_residual(make: Make, pointer: int, overrun: bool) -> None:
    """LIST_NULL: all moved; 02: the target wanted more, which is DID_ERROR."""
    rig = make().probe()
    rig.known_disk()
    scb = held(rig)
    scmd = scb.scmd
    assert scmd is not None
    upload(rig, scb, 0x0C, 0, pointer)
    ahd_complete_scb(rig.ahd, scb)
    assert scmd.result == (0x070000 if overrun else 0)
    assert scmd.resid == (NBYTES if overrun else 0)


def test_a_residual_that_makes_no_sense(make: Make) -> None:
    """A pointer outside the list: bounded, no exception."""
    rig = make().probe()
    rig.known_disk()
    scb = held(rig)
    for pointer in (0, 0xFFFFFFF8, scb.sg_busaddr + 127 * 8):
        upload(rig, scb, 0x0C, 0x10, pointer)
        assert ahd_calc_residual(rig.ahd, scb, NBYTES)[0] >= 0x10


@EACH
def test_short_transfers(make: Make, chip: ChipProfile) -> None:
    """What the disk does not move is in resid, whichever way the command went."""
    rig = start(make, chip)
    rig.disk.inject(disk_faults.wrong_length(3))
    scmd = rig.run(rig.rw(False, 0, SEGMENTS))
    assert (scmd.result, scmd.resid) == (0, 3 * 512)


@EACH
def test_an_inquiry_is_shorter_than_its_buffer(make: Make, chip: ChipProfile) -> None:
    """36 of 255 bytes."""
    rig = start(make, chip)
    scmd = rig.run(rig.command(cdb.inquiry(255), DMA_FROM_DEVICE, [(DATA, 255)]))
    assert scmd.result == 0
    assert 0 < scmd.resid < 255


# -- statuses ----------------------------------------------------------------------------------------------------


@EACH
def test_check_condition_brings_its_sense_data(make: Make, chip: ChipProfile) -> None:
    """A READ beyond the end: 05/21/00; the firmware is thawed; nothing stays in the sense buffer for the next one."""
    rig = start(make, chip)
    scmd = rig.run(rig.rw(False, 0xFFFFFF00, [(DATA, 4096)]))
    assert (scmd.result, scmd.sense_buffer[2] & 0xF, scmd.sense_buffer[12]) == (0x02, 5, 0x21)
    assert scmd.resid == 4096
    assert rig.model.get(Scratch.QFREEZE_COUNT) == 0
    assert not any(rig.ahd.sense_view)
    assert rig.run(rig.tur()).result == 0


@pytest.mark.parametrize(("chip", "asks"), [(AIC7901, 0), (AIC7902, 1)], ids=["packetized", "non-packetized"])
def test_sense_data_is_asked_for_where_it_does_not_come_by_itself(make: Make, chip: ChipProfile, asks: int) -> None:
    """A status IU has it; without one REQUEST SENSE takes the command's place, same SCB."""
    rig = start(make, chip)
    before = rig.ahd.qinnext
    rig.run(rig.rw(False, 0xFFFFFF00, [(DATA, 4096)]))
    assert rig.ahd.qinnext - before == 1 + asks


@BOTH
@pytest.mark.parametrize(("fault", "status"), [
    ("status-busy", 0x08), ("status-queue-full", 0x28), ("status-reservation-conflict", 0x18),
    ("status-task-aborted", 0x40)])
def test_other_statuses_are_the_mid_layers(make: Make, chip: ChipProfile, fault: str, status: int) -> None:
    """Passed on as they are; the next command is not held up."""
    rig = start(make, chip)
    rig.model.faults.inject(fault)
    scmd = rig.run(rig.rw(True, 0, [(DATA, 4096)]))
    assert (scmd.result, scmd.resid) == (status, 4096)
    assert rig.model.get(Scratch.QFREEZE_COUNT) == 0
    assert rig.run(rig.tur()).result == 0


def test_commands_behind_a_check_condition_are_sent_anew(make: Make) -> None:
    """Without packets: what had not been sent yet waits until the sense data was fetched; nothing is lost."""
    rig = start(make, AIC7902)
    rig.run(rig.tur())
    bad = rig.rw(False, 0xFFFFFF00, [(DATA, 4096)])
    good = [rig.rw(False, 8 * n, [(DATA + 0x1000 * n, 4096)]) for n in range(1, 8)]
    for scmd in (bad, *good):
        assert rig.queue(scmd) == 0
    rig.poll_until_done(bad, *good)
    assert (bad.result, bad.sense_buffer[12]) == (0x02, 0x21)
    assert {scmd.result for scmd in good} == {0}


def test_a_request_sense_that_fails_is_an_error(make: Make) -> None:
    """Not even the sense data can be had: DID_ERROR."""
    rig = start(make, AIC7902)
    rig.model.faults.inject("status-busy", after=1)
    assert rig.run(rig.rw(False, 0xFFFFFF00, [(DATA, 4096)])).result == 0x070000
    assert rig.model.get(Scratch.QFREEZE_COUNT) == 0


@pytest.mark.parametrize(("iu", "result", "sense"), [
    ("0000 02 02 00000012 00000000 7000060000000000", 0x02, "70000600"),
    ("0000 00 08 00000000 00000000 7000060000000000", 0x08, "00000000"),
    ("0000 01 00 00000000 00000004 00000005 70000600", 0x070000, "00000000"),
    ("0000 03 02 00000012 00000004 00000000 70000b00", 0x02, "70000b00"),
    ("0000 02 02 ffffffff 00000000 7000060000000000", 0x02, "70000600"),
    ("0000 03 02 00000012 ffffffff 7000060000000000", 0x02, "00000000"),
])
def test_status_information_units(make: Make, iu: str, result: int, sense: str) -> None:
    """Flags say what of it is there; packet failure data come before sense data; lengths that lie stay in bounds."""
    rig = start(make)
    scb = held(rig)
    scmd = scb.scmd
    assert scmd is not None
    data = bytes.fromhex(iu.replace(" ", ""))
    rig.ahd.sense_view[scb.sense_offset:scb.sense_offset + len(data)] = data
    upload(rig, scb, 0x0E, status=0xFF)
    ahd_handle_scb_status(rig.ahd, scb)
    assert scmd.result == result
    assert bytes(scmd.sense_buffer[:4]) == bytes.fromhex(sense)
    assert not any(rig.ahd.sense_view)


def test_rev_a_sends_its_lun_whole(make: Make) -> None:
    """Sense data of a LUN that is not there: the packet had the LUN where Rev A looks for it."""
    from ddsdk_aic79xx.model import AIC7902A
    rig = start(make, AIC7902A)
    scmd = rig.run(rig.command(cdb.test_unit_ready(), sdev=rig.device(0, 3)))
    assert (scmd.result, scmd.sense_buffer[12]) == (0x02, 0x25)
