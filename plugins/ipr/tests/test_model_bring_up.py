"""The adapter's lives: power on, start, operational, ready, unit check, BIST; and its interrupt bits."""

from __future__ import annotations

import pytest

from ddsdk.bus import PCI_COMMAND
from ddsdk.errors import HardwareFault, RegisterAccessFault
from ddsdk_ipr.model import CITRINE, GEMSTONE, SNIPE, ChipProfile
from ddsdk_ipr.model_core import State
from ddsdk_ipr.regs import IprRegsL1, IprRegsL2
from plugins.ipr.tests.conftest import BLOCK, IOA, QUEUE, Host, MakeHost, request

TO_OPER, IOARRIN_LOST, NO_HRRQ, UNIT_CHECK = 0x80000000, 0x10, 0x04000000, 0x08000000
ALL_ONES = 0xFFFFFFFF
ALL = pytest.mark.parametrize("chip", [GEMSTONE, CITRINE, SNIPE], ids=lambda profile: profile.chip.name)


@ALL
def test_what_firmware_finds(make_host: MakeHost, chip: ChipProfile) -> None:
    """Ids, subsystem, BAR 0, PCI-X capability, BIST; nothing interrupts, everything is masked."""
    function = make_host(chip).function
    assert function.config_read(0x00, 4) == chip.chip.device << 16 | chip.chip.vendor
    assert function.config_read(0x2C, 4) == chip.subsystem_id << 16 | 0x1014
    bar = function.bars[0]
    assert bar is not None
    assert (bar.kind, bar.size) == ("mem", 0x1000)
    assert (function.config_read(0x34, 1), function.config_read(0x40, 1), function.config_read(0x0F, 1)) == (
        0x40, 0x07, 0x80)


@ALL
def test_power_on(make_host: MakeHost, chip: ChipProfile) -> None:
    """INT 0, MASK all ones, UPROC 0, MAILBOX 0."""
    host = make_host(chip)
    assert [host.read(name) for name in ("INT", "MASK", "UPROC", "MAILBOX")] == [0, ALL_ONES, 0, 0]
    assert host.ioa.state is State.RESET
    assert host.layout is (IprRegsL2 if chip is SNIPE else IprRegsL1)


@pytest.mark.parametrize(("offset", "verb"), [(0x228, "read"), (0x404, "read"), (0x224, "write"), (0x100, "read"),
                                              (0x290, "write")])
def test_accesses_the_table_does_not_have(host: Host, offset: int, verb: str) -> None:
    """Write-only registers cannot be read, nor read-only ones written; the other layout's offsets are nothing."""
    with pytest.raises(RegisterAccessFault):
        _ = host.window.read(offset, 4) if verb == "read" else host.window.write(offset, 4, 0)


@pytest.mark.parametrize("start", [0x82800000, 0xC2800000])
def test_start(host: Host, start: int) -> None:
    """After 50 ms TO_OPER is up, at first start and at a runtime one; handles exist from then on."""
    host.write("UPROC_SET", start)
    host.advance(49_999_999)
    assert (host.read("INT"), host.ioa.state) == (0, State.STARTING)
    host.advance(1)
    assert (host.read("INT"), host.ioa.state) == (TO_OPER, State.OPER)
    assert list(host.ioa.scsi.by_handle) == [0x42]


def test_half_a_start_is_none(host: Host) -> None:
    """START is a value, not one bit."""
    for part in (0x80000000, 0x02000000, 0x00800000):
        host.write("UPROC_SET", part)
    host.advance(100_000_000)
    assert (host.read("INT"), host.ioa.state) == (0, State.RESET)


def test_a_start_in_operation_is_ignored(ready: Host) -> None:
    """The adapter stays READY."""
    ready.write("UPROC_SET", 0x82800000)
    ready.advance(100_000_000)
    assert ready.ioa.state is State.READY
    assert ready.scsi(bytes(6)) == 0


def test_int_shows_before_masking_and_the_line_after(host: Host) -> None:
    """The line follows INT & ~MASK; MASK_SET and MASK_CLR move single bits, INT_CLR clears."""
    line = host.function.irq_line
    assert line is not None
    host.start()
    assert (host.read("INT"), line.level) == (TO_OPER, False)
    host.write("MASK_CLR", 0x9C00001A)
    assert (host.read("MASK"), line.level) == (0x63FFFFE5, True)
    host.write("MASK_SET", TO_OPER)
    assert (host.read("MASK"), line.level) == (0xE3FFFFE5, False)
    host.write("MASK_CLR", TO_OPER)
    host.write("INT_CLR", TO_OPER)
    assert (host.read("INT"), line.level) == (0, False)


@pytest.mark.parametrize("state", [State.RESET, State.STARTING])
def test_a_request_too_early_is_lost(host: Host, state: State) -> None:
    """IOARRIN_LOST, and nothing is fetched."""
    if state is State.STARTING:
        host.write("UPROC_SET", 0x82800000)
    host.write("IOARRIN", BLOCK)
    host.advance(1_000_000)
    assert (host.read("INT"), host.ioa.state) == (IOARRIN_LOST, state)


def test_operational_takes_nothing_but_id_hrrq(host: Host) -> None:
    """Any other request: NO_HRRQ; ID HRRQ makes it READY, its response is the first entry, HRRQ_UPD comes up."""
    host.start()
    assert host.run(request(bytes((0x12, 0, 0, 0, 36, 0)), handle=IOA)) is None
    assert host.read("INT") == TO_OPER | NO_HRRQ
    host.bist()
    host.start()
    assert host.identify() == 0
    assert (host.read("INT"), host.ioa.state, host.position) == (TO_OPER | 0x2, State.READY, 1)


@pytest.mark.parametrize("cdb", ["c400011000020001cc", "c400011000000001cd", "c4000110000000 0000"])
def test_a_queue_that_cannot_be_one(host: Host, cdb: str) -> None:
    """Not aligned to 4, no whole words, no words at all: NO_HRRQ."""
    host.start()
    host.submit(request(bytes.fromhex(cdb), index=114, handle=IOA, kind=1))
    host.advance(1_000_000)
    assert (host.read("INT"), host.ioa.state) == (TO_OPER | NO_HRRQ, State.OPER)


# -- BIST ------------------------------------------------------------------------------------------------------


def test_bist_from_ready(ready: Host) -> None:
    """For a second nothing answers and configuration is lost; then RESET, without queue, handles, requests."""
    place = ready.function.config_read(0x10, 4)
    ready.submit(request(bytes(6)))
    ready.function.config_write(0x0F, 1, 0x40)
    assert (ready.read("INT"), ready.ioa.state) == (ALL_ONES, State.BIST)
    assert (ready.function.config_read(PCI_COMMAND, 2), ready.function.config_read(0x0F, 1)) == (0, 0xC0)
    ready.advance(999_999_999)
    assert ready.function.config_read(0x0F, 1) == 0xC0
    ready.advance(1)
    assert ready.function.config_read(0x0F, 1) == 0x80
    ready.function.config_write(0x10, 4, place)
    ready.function.config_write(PCI_COMMAND, 2, 0x6)
    assert [ready.read(name) for name in ("INT", "MASK", "UPROC")] == [0, ALL_ONES, 0]
    assert (ready.ioa.hrrq.entries, ready.ioa.scsi.by_handle, ready.ioa.requests.held) == (0, {}, {})
    assert ready.responses() == []


def test_bist_can_be_begun_in_bist(host: Host) -> None:
    """The second begins the time anew."""
    host.function.config_write(0x0F, 1, 0x40)
    host.advance(600_000_000)
    host.function.config_write(0x0F, 1, 0x40)
    host.advance(600_000_000)
    assert host.ioa.state is State.BIST
    host.advance(400_000_000)
    assert host.ioa.state is State.RESET


def test_a_reset_resets_the_disks_and_gives_other_handles(ready: Host) -> None:
    """The unit attention is due again, and the handle of before means nothing."""
    old = ready.ioa.scsi.units[0].handle
    ready.bist()
    ready.bring_up()
    new = ready.ioa.scsi.units[0].handle
    assert new != old
    assert ready.scsi(bytes(6), handle=old) == 0x05250000
    assert ready.scsi(bytes(6), handle=new) == 0x04448502


def test_registers_do_not_answer_where_the_bar_is_not(ready: Host) -> None:
    """After BIST a driver that switches decoding on without the address reads all ones."""
    ready.function.config_write(0x0F, 1, 0x40)
    ready.advance(1_000_000_000)
    ready.function.config_write(PCI_COMMAND, 2, 0x6)
    assert ready.read("MASK") == ALL_ONES
    ready.write("UPROC_SET", 0x82800000)
    ready.advance(100_000_000)
    assert ready.ioa.state is State.RESET


def test_flash_that_is_being_written(ready: Host) -> None:
    """CRIT_OP from RESET_ALERT on for a second; BIST meanwhile is a fault of the host's, after 2 s it is not."""
    ready.ioa.faults.inject("crit-op", ns=10_000_000_000)
    ready.write("UPROC_SET", 0x01000000)
    assert ready.read("INT") & 0x02000000
    with pytest.raises(HardwareFault, match="flash is being written"):
        ready.function.config_write(0x0F, 1, 0x40)
    ready.advance(2_000_000_000)
    ready.function.config_write(0x0F, 1, 0x40)
    assert ready.ioa.state is State.BIST


# -- unit check ------------------------------------------------------------------------------------------------


def test_unit_check(ready: Host) -> None:
    """INT says so; nothing is fetched or posted any more, clearing the bit changes nothing, BIST ends it."""
    ready.ioa.faults.inject("unit-check")
    assert ready.run(request(bytes(6))) is None
    assert (ready.read("INT") & UNIT_CHECK, ready.ioa.state) == (UNIT_CHECK, State.UNITCHECK)
    ready.write("INT_CLR", UNIT_CHECK)
    assert ready.run(request(bytes(6), at=BLOCK + 0x1000, index=6), BLOCK + 0x1000, index=6) is None
    ready.bist()
    assert ready.ioa.state is State.RESET
    ready.bring_up()
    assert ready.scsi(bytes(6)) == 0x04448502


def test_what_was_posted_before_a_unit_check_can_be_read(ready: Host) -> None:
    """The queue is in the host's memory."""
    ready.submit(request(bytes(6)))
    ready.advance(1_000_000)
    ready.ioa.enter_unit_check()
    assert ready.responses() == [5]


def test_bus_mastering_off(ready: Host) -> None:
    """The block cannot be fetched: XFER_FAIL."""
    ready.function.config_write(PCI_COMMAND, 2, 0x2)
    assert ready.run(request(bytes(6))) is None
    assert ready.read("INT") & 0x10000000


def test_surprise_removal(ready: Host) -> None:
    """All ones, for good; nothing that was under way reaches memory."""
    ready.submit(request(bytes(6)))
    ready.function.remove()
    ready.advance(1_000_000_000)
    assert ready.read("INT") == ALL_ONES
    assert ready.peek(QUEUE + 4 * ready.position, 4) == bytes(4)
