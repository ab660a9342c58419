"""The sequencer: fetch, selection, disconnection, reselection, paging, posting; the bus reset.  hw-aic7xxx.md 7, 16."""

from __future__ import annotations

import pytest

from ddsdk.errors import HardwareFault
from ddsdk.sim import disk_faults
from ddsdk_aic7xxx.model_sequencer import Seq
from plugins.aic7xxx.tests.model_host import DATA, READ_8, TARGET, TUR, WRITE_8, Host, Make
from plugins.aic7xxx.tests.model_host import cold as cold
from plugins.aic7xxx.tests.model_host import host as host
from plugins.aic7xxx.tests.model_host import make_host as make_host

LBA_8 = 8 * 512


def test_a_tagged_read_from_fetch_to_posting(host: Host) -> None:
    """Fetched, selected, disconnected, reselected, moved, posted: what the lists show at each point."""
    data = bytes(range(256)) * 16
    host.disk[LBA_8:LBA_8 + 4096] = data
    tag = host.queue()
    host.advance(2)
    assert host.chip.seq.state is Seq.FETCH
    assert host.read("SEQ_FLAGS2") == 0x01
    host.advance(1)
    values = host.chip.values
    assert (values["WAITING_SCBH"], values["FREE_SCBH"], values["NEXT_QUEUED_SCB"]) == (0, 1, 1)
    assert values["SNSCB_QOFF"] == 1
    assert host.chip.seq.state is Seq.SELECT
    assert host.read("SSTAT0") == 0x10
    host.until(lambda: values["DISCONNECTED_SCBH"] == 0)
    assert host.slot(0)[0x18] == 0x64                   # tagged, may disconnect, has
    assert (values["WAITING_SCBH"], host.read("LASTPHASE"), host.read("SSTAT1") & 0x08) == (0xFF, 0x80, 0x08)
    host.intstat(0x02)
    assert (values["DISCONNECTED_SCBH"], values["FREE_SCBH"], values["SDSCB_QOFF"]) == (0xFF, 0, 1)
    assert host.tags() == [tag]
    assert host.machine.memory.read(DATA, 4096) == data


def test_an_untagged_command_is_found_by_its_target(host: Host) -> None:
    """BUSY_TARGETS holds its tag while it is disconnected, and FF afterwards."""
    tag = host.queue(control=0x40)
    assert host.until(lambda: host.chip.values[f"BUSY_TARGETS[{TARGET}]"] == tag)
    assert host.tags() == [tag]
    assert host.chip.values[f"BUSY_TARGETS[{TARGET}]"] == 0xFF


def test_who_may_not_disconnect_keeps_the_bus(host: Host) -> None:
    """Control 00: BSY all the time, and a second command waits for the bus."""
    first = host.queue(control=0x00)
    assert host.until(lambda: host.chip.bus.conn is not None)
    assert host.read("SCSISIGI") & 0x04
    second = host.queue(TUR, (), control=0x20)
    assert host.tags(2) == [first, second]


def test_the_fetch_is_dropped_when_the_host_queued_anew(host: Host) -> None:
    """NEXT_QUEUED_SCB is another one by the time the SCB is here: the slot goes back, the other one is fetched."""
    tag = host.queue()
    host.advance(2)
    host.pause()
    host.machine.memory.write(0x100000 + 64 * 50, host.element(tag)[:0x1B] + bytes((50,)) + host.element(tag)[0x1C:])
    host.write("NEXT_QUEUED_SCB", 50)
    host.unpause()
    assert host.tags() == [50]
    assert host.chip.values["FREE_SCBH"] == 0


@pytest.mark.parametrize(("fields", "why"), [
    ({"TAG": 9}, "its TAG is 9: a command goes into the element the chip fetches next"),
    ({"NEXT": 0}, "NEXT names itself"),
    ({"SCSIID": 0x35}, "does not carry our id"),
    ({"CDB_LEN": 40}, "CDB_LEN is 40"),
    ({"CONTROL": 0xE0}, "CONTROL is 0xe0"),
])
def test_an_element_no_driver_may_write(host: Host, fields: dict[str, int], why: str) -> None:
    """The chip would do something silently wrong; the model says what."""
    host.queue(**fields)  # type: ignore[arg-type]
    with pytest.raises(HardwareFault, match=why):
        host.advance(100)


def test_nobody_answers_a_selection(host: Host) -> None:
    """After 256 ms SCSIINT, SELTO, SELINGO; the SCB stays on the waiting list and nothing is posted."""
    host.queue(target=9)
    host.advance(255_000)
    assert host.read("INTSTAT") == 0
    host.advance(1_010)
    assert (host.read("INTSTAT"), host.read("SSTAT1") & 0x80, host.read("SSTAT0")) == (0x04, 0x80, 0x10)
    assert host.read("HCNTRL") & 0x04
    assert (host.read("WAITING_SCBH"), host.read("SDSCB_QOFF")) == (0, 0)


@pytest.mark.parametrize(("stimesel", "ms"), [(1, 128), (2, 64), (3, 32)])
def test_stimesel_shortens_the_selection_timeout(host: Host, stimesel: int, ms: int) -> None:
    """SXFRCTL1 bits 4:3."""
    host.pause()
    host.write("SXFRCTL1", 0x27 | stimesel << 3)
    host.unpause()
    host.queue(target=9)
    host.advance(ms * 1000 - 500)
    assert host.read("INTSTAT") == 0
    host.advance(1000)
    assert host.read("INTSTAT") == 0x04


def test_a_selection_that_the_host_takes_back_begins_anew(host: Host) -> None:
    """ENSELO cleared: SELINGO falls; unpaused, the waiting SCB is selected again."""
    host.queue(target=9)
    host.advance(1000)
    host.pause()
    assert host.read("SSTAT0") == 0x10
    host.write("SCSISEQ", 0x12)
    assert host.read("SSTAT0") == 0
    host.unpause()
    host.advance(255_000)
    assert host.read("INTSTAT") == 0
    host.intstat(0x04, 2_000)


def test_more_commands_than_slots(host: Host) -> None:
    """Forty commands: disconnected SCBs make room in host memory and come back, each ends once with its data."""
    host.drive.inject(disk_faults.slow(5_000_000, 1))
    tags = [host.queue(bytes((0x28, 0, 0, 0, 0, n, 0, 0, 1, 0)), ((DATA + 512 * n, 512),)) for n in range(40)]
    for n in range(40):
        host.disk[512 * n:512 * n + 512] = bytes((n,)) * 512
    host.advance(2000)
    assert host.chip.values["FREE_SCBH"] == 0xFF
    assert sum(host.element(tag)[0x18] & 0x04 for tag in tags) // 4 == 8       # uploaded, DISCONNECTED
    assert sorted(host.tags(40)) == tags
    assert host.machine.memory.read(DATA, 40 * 512) == b"".join(bytes((n,)) * 512 for n in range(40))


def test_a_tag_nobody_has_is_no_match(host: Host) -> None:
    """The SCB is gone from slots and memory when its target reselects: code 31, SELID names the target."""
    tag = host.queue()
    host.until(lambda: host.chip.values["DISCONNECTED_SCBH"] == 0)
    host.pause()
    host.write("DISCONNECTED_SCBH", 0xFF)
    host.unpause()
    host.intstat(0x31)
    assert host.read("SELID") == TARGET << 4
    assert host.element(tag)[0x18] & 0x04 == 0


# -- data ------------------------------------------------------------------------------------------------------


def test_a_write_takes_memory_to_the_disk(host: Host) -> None:
    """In three segments, the residual saying that all of it moved."""
    memory, data = host.machine.memory, bytes(range(256)) * 16
    for at, length in ((0, 512), (8192, 1024), (16384, 2560)):
        memory.write(DATA + at, data[:length])
        data = data[length:] + data[:length]
    host.run(WRITE_8, ((DATA, 512), (DATA + 8192, 1024), (DATA + 16384, 2560)))
    assert host.disk[LBA_8:LBA_8 + 4096] == bytes(range(256)) * 16


def test_data_moves_only_at_the_rate_agreed_on(host: Host) -> None:
    """SCSIRATE and SCSIOFFSET come from the SCB; others than the target's are a fault."""
    host.queue(rate=0xC2, offset=0x7F)
    with pytest.raises(HardwareFault, match="data at SCSIRATE 0xc2, offset 0x7f; agreed: period factor 0"):
        host.advance(2000)


def test_more_wanted_than_the_list_has(host: Host) -> None:
    """DATA_OVERRUN, nothing is carried out; afterwards status and posting as usual, the element uploaded."""
    tag = host.queue(WRITE_8, ((DATA, 2048),))
    host.intstat(0x91)
    host.read("CCSCBCTL")
    host.write("CLRINT", 0x01)
    host.unpause()
    assert host.tags() == [tag]
    assert host.element(tag)[0x14] & 0x06 == 0x06                   # uploaded, nothing moved
    assert not any(host.disk[LBA_8:LBA_8 + 4096])


def test_a_list_without_an_end(host: Host) -> None:
    """No element has bit 31: a fault, not a walk through memory."""
    tag = host.reserved
    host.queue(READ_8, ((DATA, 512), (DATA + 4096, 512)))
    host.machine.memory.write(0x110000 + 1024 * tag + 12, (512).to_bytes(4, "little"))
    with pytest.raises(HardwareFault, match="has no length"):
        host.advance(2000)


# -- targets ---------------------------------------------------------------------------------------------------


def test_an_untagged_command_beside_tagged_ones_is_a_fault(host: Host) -> None:
    """Overlapped commands, which SCSI-2 lets the target abort."""
    host.drive.inject(disk_faults.slow(5_000_000, 1))
    host.queue()
    host.queue(control=0x40)
    with pytest.raises(HardwareFault, match="overlapped commands"):
        host.advance(1000)


def test_sense_data_waits_and_others_wait_for_it(host: Host) -> None:
    """After CHECK CONDITION a unit's other commands stand still until REQUEST SENSE, which gets the data."""
    host.drive.inject(disk_faults.hardware_error(1))
    bad, good = host.queue(), host.queue()
    host.intstat(0x71)
    assert host.element(bad)[0x08] == 0x02
    host.read("CCSCBCTL")
    host.write("CLRINT", 0x01)
    host.write("RETURN_1", 0)
    host.unpause()
    assert host.tags() == [bad]
    host.advance(5000)
    assert host.chip.values["SDSCB_QOFF"] == 1
    sense = host.queue(bytes.fromhex("03 00 00 00 20 00"), ((DATA, 32),), control=0x00)
    assert host.tags(2) == [sense, good]
    assert host.machine.memory.read(DATA, 3)[2:] != b"\x00" or host.element(sense)


def test_an_unanswered_bad_status_is_a_fault(host: Host) -> None:
    """RETURN_1 is stale unless the host writes it."""
    host.drive.inject(disk_faults.busy(1))
    host.queue()
    host.intstat(0x71)
    host.read("CCSCBCTL")
    host.write("CLRINT", 0x01)
    host.unpause()
    with pytest.raises(HardwareFault, match="RETURN_1 is 0xff after code 71"):
        host.advance(10)


# -- resets of the bus -----------------------------------------------------------------------------------------


def test_rst_drops_everything(host: Host) -> None:
    """SCSIRSTI, no ENSELO; targets have a unit attention and answer no selection for a while; SCBs stay where they are.
    """
    host.drive.inject(disk_faults.slow(50_000_000, 1))
    host.queue()
    host.until(lambda: host.chip.values["DISCONNECTED_SCBH"] == 0)
    host.pause()
    host.write("SIMODE1", 0x84)
    host.write("SCSISEQ", 0x13)
    assert host.read("SCSISEQ") & 0x40 == 0
    host.advance(25)
    host.write("SCSISEQ", 0x12)
    assert host.read("SSTAT1") & 0x28 == 0x28
    assert host.read("INTSTAT") == 0
    assert host.chip.values["DISCONNECTED_SCBH"] == 0
    assert host.chip.bus.ports[TARGET].tasks == []
    assert host.chip.bus.ports[TARGET].deaf_until_ns > host.machine.clock.now_ns
    assert host.target.units[0]._attention


def test_rst_is_driven_for_25_us(host: Host) -> None:
    """Less is a fault."""
    host.pause()
    host.write("SIMODE1", 0x84)
    host.write("SCSISEQ", 0x13)
    host.advance(24)
    with pytest.raises(HardwareFault, match="RST was driven for 24000 ns"):
        host.write("SCSISEQ", 0x12)


def test_our_own_reset_interrupts_unless_it_is_switched_off(host: Host) -> None:
    """SIMODE1.SCSIRSTI."""
    host.pause()
    host.write("SCSISEQ", 0x13)
    assert host.read("INTSTAT") == 0x04


def test_what_was_going_on_dies_with_the_chip(make_host: Make) -> None:
    """CHIPRST: no DMA, no completion any more; the target still works and reselects for an SCB that is gone."""
    host = make_host().start()
    host.drive.inject(disk_faults.slow(5_000_000, 1))
    host.queue()
    host.until(lambda: host.chip.values["DISCONNECTED_SCBH"] == 0)
    host.reset()
    host.advance(10_000)
    assert host.chip.intstat == 0
    host.init()
    host.machine.memory.write(0x100000, bytes(64))
    host.unpause()
    host.intstat(0x31)
