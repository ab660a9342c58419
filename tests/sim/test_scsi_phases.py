"""A command whose data moves in pieces: sizes before bytes, both directions, beginning anew, refusals."""

from __future__ import annotations

import gc

import pytest

from ddsdk.errors import HardwareFault
from ddsdk.sim import disk_faults
from ddsdk.sim.disk import Disk
from ddsdk.sim.scsi_phases import PhasedCommand
from ddsdk.sim.scsi_target import CHECK_CONDITION, GOOD, ScsiTarget

TEST_UNIT_READY = bytes(6)
WRITE_4 = bytes.fromhex("2a000000000800000400")
READ_4 = bytes.fromhex("28000000000800000400")
DATA = bytes(range(256)) * 8


@pytest.fixture
def disk() -> Disk:
    """64 KiB."""
    return Disk(bytearray(1 << 16))


@pytest.fixture
def target(disk: Disk) -> ScsiTarget:
    """A disk that has told of its power-on."""
    target = ScsiTarget(disk, autosense=False)
    ready(target)
    return target


def ready(target: ScsiTarget) -> None:
    """Take the unit attention."""
    command = PhasedCommand(target, 0, TEST_UNIT_READY)
    command.run()
    assert command.result is not None
    assert command.result.status == CHECK_CONDITION


def on_disk(disk: Disk, lba: int, nbytes: int) -> bytes:
    """What the disk holds."""
    view = memoryview(bytearray(nbytes))
    disk.readv(lba, [view])
    return bytes(view)


def test_a_write_says_how_much_it_wants_and_takes_it_piece_by_piece(disk: Disk, target: ScsiTarget) -> None:
    """Nothing reaches the disk before everything is there; then all of it does, straight from the pieces."""
    command = PhasedCommand(target, 0, WRITE_4)
    assert (command.out, command.expected) == (True, 2048)
    command.begin()
    assert (command.total, command.data_left, command.result) == (2048, 2048, None)
    for at, n in ((0, 1), (1, 999), (1000, 1048)):
        command.take([memoryview(DATA)[at:at + n]], n)
    assert command.data_left == 0
    assert on_disk(disk, 8, 2048) == bytes(2048)
    command.end()
    assert command.result == (GOOD, b"", 2048, False)
    assert on_disk(disk, 8, 2048) == DATA


def test_a_read_waits_in_the_buffer(disk: Disk, target: ScsiTarget) -> None:
    """The bytes come in pieces of the initiator's size, with zeros past the end."""
    disk.writev(8, [memoryview(DATA)])
    command = PhasedCommand(target, 0, READ_4)
    assert command.out is False
    command.run()
    assert (command.total, command.first_byte()) == (2048, 0)
    pieces = [memoryview(bytearray(n)) for n in (3, 2000, 50)]
    command.give(pieces[:1])
    assert command.first_byte() == 3
    command.give(pieces[1:])
    assert b"".join(pieces) == DATA[:2048] + bytes(5)
    assert command.data_left == -5


def test_a_refused_write_wants_nothing(target: ScsiTarget) -> None:
    """A unit attention comes before the data."""
    target.reset("bus")
    command = PhasedCommand(target, 0, WRITE_4)
    command.begin()
    assert command.result is not None
    assert (command.total, command.result.status) == (0, CHECK_CONDITION)


def test_a_target_may_want_less_than_the_cdb_says(disk: Disk, target: ScsiTarget) -> None:
    """A short write asks for what it will write."""
    disk.inject(disk_faults.wrong_length(1))
    command = PhasedCommand(target, 0, WRITE_4)
    command.begin()
    assert command.total == 1536


@pytest.mark.parametrize("saved", [0, 5, 700])
def test_a_transfer_begins_anew_where_it_was_saved(disk: Disk, target: ScsiTarget, saved: int) -> None:
    """What moved after the saved pointer moves again, in both directions."""
    write = PhasedCommand(target, 0, WRITE_4)
    write.begin()
    write.take([memoryview(DATA)[:saved]], saved)
    write.saved = write.current
    write.take([memoryview(bytes(300))], 300)
    write.rewind()
    assert write.current == saved
    write.take([memoryview(DATA)[saved:2048]], 2048 - saved)
    write.end()
    assert on_disk(disk, 8, 2048) == DATA
    read = PhasedCommand(target, 0, READ_4)
    read.run()
    read.saved = saved
    read.give([memoryview(bytearray(1000))])
    read.rewind()
    rest = memoryview(bytearray(2048 - saved))
    read.give([rest])
    assert bytes(rest) == DATA[saved:2048]


def test_data_that_nobody_announced_is_a_fault(target: ScsiTarget) -> None:
    """A write that was not begun has nowhere to take its data from."""
    with pytest.raises(HardwareFault, match="wants 2048 bytes"):
        PhasedCommand(target, 0, WRITE_4).run()


def test_a_command_that_is_forgotten_half_way_writes_nothing(disk: Disk, target: ScsiTarget) -> None:
    """A reset drops it: its greenlet goes without a word."""
    command = PhasedCommand(target, 0, WRITE_4)
    command.begin()
    command.take([memoryview(DATA)[:2048]], 2048)
    del command
    gc.collect()
    assert on_disk(disk, 8, 2048) == bytes(2048)


@pytest.mark.parametrize(("cdb", "takes"), [
    ("2a000000000800000400", 2048), ("8a000000000000000008000000020000", 1024), ("2a000000007f00000200", 0),
    ("0a0000080400", 0), ("28000000000800000400", 0)])
def test_a_write_that_nothing_stands_in_the_way_of(target: ScsiTarget, cdb: str, takes: int) -> None:
    """WRITE(10) and (16) inside the disk are known in advance, others are not; nor is any with a condition pending."""
    unit = target.units[0]
    assert unit.takes(bytes.fromhex(cdb)) == takes
    unit.stopped = True
    assert unit.takes(bytes.fromhex(cdb)) == 0
    unit.stopped = False
    target.reset("bus")
    assert unit.takes(bytes.fromhex(cdb)) == 0


def test_a_fault_armed_while_data_moves_strikes(disk: Disk, target: ScsiTarget) -> None:
    """The command is carried out once all of it is there, with what is armed then."""
    command = PhasedCommand(target, 0, WRITE_4)
    command.begin()
    command.take([memoryview(DATA)[:2048]], 2048)
    disk.inject(disk_faults.wrong_length(1))
    command.end()
    assert command.result == (GOOD, b"", 1536, False)
    assert on_disk(disk, 8, 2048) == DATA[:1536] + bytes(512)
