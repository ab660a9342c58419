"""queuecommand: what is taken, what is refused, the exchange, several in flight, memory given back."""

from __future__ import annotations

import pytest

from ddsdk.helperlib.kernel import PciDev
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, SCSI_MLQUEUE_DEVICE_BUSY, SCSI_MLQUEUE_HOST_BUSY
from ddsdk_aic79xx.ahd import AHD_CAN_QUEUE, AHD_SCBS
from ddsdk_aic79xx.driver import ahd_linux_probe
from ddsdk_aic79xx.frames import AHD_NSEG
from ddsdk_aic79xx.model import AIC7901, AIC7902, ChipProfile
from ddsdk_aic79xx.regs import Scratch
from plugins.aic79xx.tests.driver_rig import BOTH, DATA, EACH, Make, Rig, chip_named


def start(make: Make, chip: ChipProfile = AIC7901) -> Rig:
    """Crashed, agreed with the disk."""
    return make(chip).probe().polled()


def grants(rig: Rig) -> int:
    """What the chip may reach."""
    assert rig.function.dma is not None
    return len(rig.function.dma.grants)


@EACH
def test_as_many_as_can_queue(make: Make, chip: ChipProfile) -> None:
    """64 at a time, each with its own page; the next one is refused; all complete, their memory is given back."""
    rig = start(make, chip)
    own = grants(rig)
    data = [rig.fill(DATA + 0x1000 * n, 4096, n) for n in range(AHD_CAN_QUEUE)]
    scmds = [rig.rw(True, 8 * n, [(DATA + 0x1000 * n, 4096)]) for n in range(AHD_CAN_QUEUE)]
    assert [rig.queue(scmd) for scmd in scmds] == [0] * AHD_CAN_QUEUE
    assert rig.queue(rig.tur()) == SCSI_MLQUEUE_HOST_BUSY
    assert len(rig.ahd.pending) == AHD_CAN_QUEUE
    rig.poll_until_done(*scmds)
    assert {scmd.result for scmd in scmds} == {0}
    assert all(rig.on_disk(8 * n, 4096) == data[n] for n in range(AHD_CAN_QUEUE))
    assert grants(rig) == own
    assert len(rig.ahd.free) == AHD_SCBS


def test_elements_are_exchanged(make: Make) -> None:
    """Every command goes where the one before had its own element; never two at one place."""
    rig = start(make)
    reserved = rig.ahd.reserved
    first = rig.ahd.free[0]
    own = first.element
    rig.queue(rig.tur())
    assert first.element is reserved
    assert rig.ahd.reserved is own
    for _ in range(30):
        rig.queue(rig.tur())
    elements = [scb.element for scb in rig.ahd.scbs] + [rig.ahd.tmf_scb.element, rig.ahd.reserved]
    assert len({element.busaddr for element in elements}) == AHD_SCBS + 2
    rig.poll_until_done(*[scb.scmd for scb in rig.ahd.pending.values() if scb.scmd is not None])


def test_a_tag_rests_before_it_is_used_again(make: Make) -> None:
    """Tags go round: a completion that comes twice finds nobody."""
    rig = start(make)
    tags = []
    for _ in range(AHD_SCBS + 1):
        tags.append(rig.ahd.free[0].tag)
        rig.run(rig.tur())
    assert len(set(tags[:AHD_SCBS])) == AHD_SCBS
    assert tags[AHD_SCBS] == tags[0]
    assert max(tags) < 0x100


@BOTH
def test_queues_wrap(make: Make, chip: ChipProfile) -> None:
    """Past 512 in both queues, past 65536 in the offset: nothing is lost, the valid bit turns over."""
    rig = start(make, chip)
    assert rig.hooks.quiesce(rig.sdev) == 0
    assert rig.host_reset() == 0x2002
    ahd, model = rig.ahd, rig.model
    ahd.qinnext = model.snscb = model.hnscb = 0xFFFE
    model.sdscb = ahd.qoutnext = 510
    model.put(Scratch.QOUTFIFO_NEXT_ADDR, ahd.shared_busaddr + 2 * 510)
    ahd.shared_view[:2 * 510] = b"\xff\x81" * 510              # what this pass has left behind
    for _ in range(6):
        rig.run(rig.tur())
    assert (ahd.qinnext, ahd.qoutnext, ahd.qout_valid, ahd.stale) == (model.hnscb, model.sdscb % 512, 0, 0)
    assert ahd.qinnext < 0x10


@BOTH
def test_scatter_lists(make: Make, chip: ChipProfile) -> None:
    """128 elements, odd addresses, odd lengths: the bytes arrive in order."""
    rig = start(make, chip)
    lengths = [3 + n % 61 for n in range(AHD_NSEG - 1)]
    lengths.append(8192 - sum(lengths))
    at, sg, data = DATA + 1, [], b""
    for number, length in enumerate(lengths):
        sg.append((at, length))
        data += rig.fill(at, length, number)
        at += length + 5
    assert rig.run(rig.rw(True, 0, sg)).result == 0
    assert rig.on_disk(0, 8192) == data


@pytest.mark.parametrize("what", ["segments", "cdb"])
def test_what_does_not_fit_is_refused_for_good(make: Make, what: str) -> None:
    """More than 128 segments, more than 16 bytes of CDB: DID_ERROR at once, and a line that says why."""
    rig = start(make)
    own = grants(rig)
    if what == "segments":
        scmd = rig.rw(True, 0, [(DATA + 16 * n, 8) for n in range(192)])
    else:
        scmd = rig.tur()
        scmd.cmnd = bytearray(32)
        scmd.cmd_len = 32
    assert rig.queue(scmd) == 0
    assert (scmd.done, scmd.result) == (True, 0x070000)
    assert "more than 128 and 16" in rig.kernel.log[-1]
    assert grants(rig) == own
    assert len(rig.ahd.free) == AHD_SCBS


def test_cdbs_of_16_bytes(make: Make) -> None:
    """They lie over the sense buffer's address; the sense data arrives all the same."""
    rig = start(make)
    data = rig.fill(DATA, 4096)
    write16 = bytes((0x8A, 0, *(16).to_bytes(8), *(8).to_bytes(4), 0, 0))
    assert rig.run(rig.command(write16, 1, [(DATA, 4096)])).result == 0
    assert rig.on_disk(16, 4096) == data
    beyond = bytes((0x88, 0, *(1 << 40).to_bytes(8), *(8).to_bytes(4), 0, 0))
    scmd = rig.run(rig.command(beyond, DMA_FROM_DEVICE, [(DATA, 4096)]))
    assert (scmd.result, scmd.sense_buffer[2] & 0xF, scmd.sense_buffer[12]) == (0x02, 5, 0x21)


def test_one_untagged_command_a_device(make: Make) -> None:
    """A device that takes no tags; another device is not concerned."""
    rig = start(make)
    rig.sdev.tagged_supported = False
    first, other = rig.tur(), rig.command(cdb.test_unit_ready(), sdev=rig.device(5))
    assert rig.queue(first) == 0
    assert rig.queue(rig.tur()) == SCSI_MLQUEUE_DEVICE_BUSY
    assert rig.queue(other) == 0
    rig.poll_until_done(first, other)
    assert (first.result, other.result) == (0, 0x010000)


@BOTH
def test_luns_that_are_not_there(make: Make, chip: ChipProfile) -> None:
    """The target answers for them; packets carry the LUN, IDENTIFY does."""
    rig = start(make, chip)
    scmd = rig.run(rig.command(cdb.test_unit_ready(), sdev=rig.device(0, 5)))
    assert (scmd.result, scmd.sense_buffer[12]) == (0x02, 0x25)


def test_a_frozen_queue_takes_nothing(make: Make) -> None:
    """HOST_BUSY until it is thawed; a dead adapter ends commands with DID_NO_CONNECT."""
    rig = start(make)
    rig.ahd.qfrozen = 1
    assert rig.queue(rig.tur()) == SCSI_MLQUEUE_HOST_BUSY
    rig.ahd.qfrozen = 0
    rig.ahd.active, rig.ahd.dead = False, True
    scmd = rig.tur()
    assert rig.queue(scmd) == 0
    assert (scmd.done, scmd.result) == (True, 0x010000)


def test_completed_by_the_interrupt_handler(make: Make) -> None:
    """Normal mode: nobody polls."""
    rig = make().probe()
    rig.known_disk()
    for _ in range(3):                                  # negotiation, unit attention
        scmd = rig.tur()
        rig.queue(scmd)
        rig.kernel.msleep(1)
    assert (scmd.done, scmd.result) == (True, 0)


def test_the_second_function(make: Make) -> None:
    """The other channel of a 7902 is an adapter of its own, brought up by itself; neither hears of the other."""
    rig = make(AIC7902).probe()
    other = next(one for one in rig.machine.pci.functions if one is not rig.function)
    assert other.name == rig.function.name[:-1] + "1"
    host = ahd_linux_probe(PciDev(rig.kernel, other), chip_named("aic7902"))
    rig.known_disk()
    rig.run(rig.tur())
    assert rig.run(rig.tur()).result == 0
    assert (host.hostdata.reset_count, rig.ahd.reset_count) == (1, 1)
    assert not host.hostdata.pending
    assert host.hostdata.qinnext == 0
