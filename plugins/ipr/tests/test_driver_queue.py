"""queuecommand and completion: request blocks, descriptors, handles, the free list, responses that are nobody's."""

from __future__ import annotations

import pytest

from ddsdk.errors import DmaFault
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, SCSI_MLQUEUE_HOST_BUSY
from ddsdk.scsi.host import ScsiDevice
from ddsdk_ipr.adapter import FIRST_PORT
from ddsdk_ipr.frames import HRRQ_TOGGLE_BIT
from plugins.ipr.tests.driver_rig import ALL, DATA, PAGE, SNIPE, ChipProfile, Make, Rig
from plugins.ipr.tests.test_vectors import A, B, C

READ_32 = ((0x200000, 16384),)
LBA = 0x12345


@pytest.fixture
def rig(make: Make) -> Rig:
    """A driver taken over by the dump."""
    return make().probe().take_over()


def as_vector(rig: Rig, ioarcb: bytes, outside: int) -> bytes:
    """The block with its addresses, handles and tag as the vectors have them."""
    block = next(block for block in rig.ioa.blocks if block.bus_addr == int.from_bytes(ioarcb[:4]))
    moved = bytearray(ioarcb)
    assert int.from_bytes(moved[8:12]) == rig.ioa.resources[0, 0, 0].handle
    assert int.from_bytes(moved[12:16]) == block.handle << 2
    moved[8:12], moved[12:16] = (0x42).to_bytes(4), (5 << 2).to_bytes(4)
    for at in (0, 36, 44, 52):
        value = int.from_bytes(moved[at:at + 4]) - block.bus_addr + 0x01000000
        moved[at:at + 4] = (value if value != outside else 0x01000100).to_bytes(4)
    if moved[88]:
        assert int.from_bytes(moved[92:96]) == 0x200000
        moved[92:96] = (0x02000000).to_bytes(4)
    return bytes(moved)


def test_read_is_vector_b(rig: Rig) -> None:
    """One descriptor inside the block, IOASA of 144 bytes; flag 20 where the caller gave no underflow, tagged."""
    scmd = rig.command(cdb.read_write(False, LBA, 32, False), DMA_FROM_DEVICE, READ_32)
    scmd.device.tagged_supported = False
    rig.queue(scmd)
    assert as_vector(rig, rig.ioarcb(rig.block_of(scmd)), 0) == B


@pytest.mark.parametrize("write", [False, True], ids=["A", "C"])
def test_the_first_ports_blocks_are_vectors_a_and_c(make: Make, write: bool) -> None:
    """The descriptor outside, IOASA of 128 bytes; the write with underflow given and sync complete owed."""
    rig = make().probe(FIRST_PORT).take_over()
    scmd = rig.rw(write, LBA, READ_32)
    scmd.device.tagged_supported = False
    if write:
        rig.ioa.resources[0, 0, 0].needs_sync_complete = True
    else:
        scmd.underflow = 0
    rig.queue(scmd)
    block = rig.block_of(scmd)
    assert as_vector(rig, rig.ioarcb(block), 0x01000100) == (C if write else A)
    descriptors = bytes(rig.ioa.view[block.ioadl_offset:block.ioadl_offset + 8])
    assert descriptors.hex() == ("69" if write else "49") + "00400000200000"
    assert not rig.ioa.resources[0, 0, 0].needs_sync_complete


@pytest.mark.parametrize(("count", "inside"), [(1, True), (5, True), (6, False), (64, False)])
def test_where_descriptors_go(rig: Rig, count: int, inside: bool) -> None:
    """Up to five in the block; more in the list behind the status area; both addresses point there."""
    scmd = rig.rw(True, 64, [(DATA + 2 * PAGE * n, 512) for n in range(count)])
    rig.queue(scmd)
    block = rig.block_of(scmd)
    ioarcb = rig.ioarcb(block)
    where = block.bus_addr + 88 if inside else block.ioadl_bus_addr
    assert ioarcb[36:52] == where.to_bytes(4) + (8 * count).to_bytes(4) + where.to_bytes(4) + bytes(4)
    rig.poll_until_done(scmd)
    assert scmd.result == 0


def test_layout_of_a_block(rig: Rig) -> None:
    """hw-ipr.md section 3: IOASA at +128, descriptors at +272; 115 blocks, 784 bytes apart."""
    blocks = rig.ioa.blocks
    assert len(blocks) == 115
    assert {(b.ioasa_bus_addr - b.bus_addr, b.ioadl_bus_addr - b.bus_addr) for b in blocks} == {(128, 272)}
    assert blocks[1].bus_addr - blocks[0].bus_addr == 272 + 64 * 8
    assert all(block.bus_addr % 8 == 0 for block in blocks)


def test_tagged_commands_say_simple(rig: Rig) -> None:
    """Task attribute 02, with 30."""
    scmd = rig.tur()
    rig.queue(scmd)
    assert rig.ioarcb(rig.block_of(scmd))[65] == 0x32


@ALL
def test_data_goes_both_ways(make: Make, chip: ChipProfile) -> None:
    """Scattered, in several commands at a time."""
    rig = make(chip).probe().take_over()
    sg = [(DATA + 3 * PAGE * n, PAGE) for n in range(7)]
    expected = b"".join(rig.fill(*piece, seed=piece[0] >> 12) for piece in sg)
    commands = [rig.rw(True, 64, sg), rig.rw(False, 512), rig.rw(True, 1024, [(DATA, 512)])]
    for scmd in commands:
        assert rig.queue(scmd) == 0
    rig.poll_until_done(*commands)
    assert [scmd.result for scmd in commands] == [0, 0, 0]
    assert rig.on_disk(64, 7 * PAGE) == expected


def test_a_hundred_commands_and_no_more(rig: Rig) -> None:
    """The free list is bounded: the next one is busy, until one ends."""
    commands = [rig.rw(False, 8 * n, [(DATA + PAGE * n, PAGE)]) for n in range(100)]
    assert [rig.queue(scmd) for scmd in commands] == [0] * 100
    assert rig.queue(rig.tur()) == SCSI_MLQUEUE_HOST_BUSY
    rig.poll_until_done(*commands)
    assert rig.run(rig.tur()).result == 0
    assert len(set(rig.ioa.free_q)) == 100


def test_more_segments_than_descriptors(rig: Rig) -> None:
    """DID_ERROR at once; nothing stays mapped, the block is free again."""
    scmd = rig.rw(True, 0, [(DATA + 2 * PAGE * n, 512) for n in range(65)])
    assert rig.queue(scmd) == 0
    assert (scmd.result, scmd.resid) == (7 << 16, 65 * 512)
    assert len(rig.ioa.free_q) == 100
    assert rig.run(rig.tur()).result == 0


@pytest.mark.parametrize(("channel", "target", "lun"), [(0, 1, 0), (3, 0, 0), (0, 0, 7), (4, 0, 0)])
def test_nobody_there(rig: Rig, channel: int, target: int, lun: int) -> None:
    """DID_NO_CONNECT at once, nothing is sent."""
    scmd = rig.command(bytes(6), sdev=ScsiDevice(rig.shost, channel, target, lun))
    assert rig.queue(scmd) == 0
    assert (scmd.done, scmd.result) == (True, 1 << 16)


def test_a_member_disk_is_nobody(make: Make) -> None:
    """The mid-layer does not get at the disks of an array."""
    rig = make(SNIPE, at=(0xFF, 0)).probe()
    scmd = rig.command(bytes(6), sdev=ScsiDevice(rig.shost, 1, 0, 0))
    assert rig.queue(scmd) == 0
    assert scmd.result == 1 << 16


@pytest.mark.parametrize(("opcode", "kind"), [(0xC2, 1), (0xC3, 0), (0x28, 0)])
def test_opcodes_of_the_adapter(rig: Rig, opcode: int, kind: int) -> None:
    """C0 to FF go to a SCSI device as they are, but for C2."""
    rig.model.faults.inject("command-hung")
    scmd = rig.command(bytes((opcode, 0, 0, 0, 0, 0, 0, 0, 0, 0)))
    rig.queue(scmd)
    assert rig.ioarcb(rig.block_of(scmd))[62] == kind


def test_opcodes_of_the_adapter_to_a_volume_set(make: Make) -> None:
    """There they are the adapter's."""
    rig = make(SNIPE, at=(0xFF, 0)).probe().take_over()
    scmd = rig.command(bytes((0xC3, 0, 0, 0, 0, 0)))
    rig.queue(scmd)
    assert rig.ioarcb(rig.block_of(scmd))[62] == 1


# -- the response queue ----------------------------------------------------------------------------------------


def test_the_queue_wraps(rig: Rig) -> None:
    """At the end of the lap of 115 the toggle bit turns over, and nothing is lost."""
    toggles = set()
    for _ in range(120):
        assert rig.run(rig.tur()).result == 0
        toggles.add(rig.ioa.toggle_bit)
    assert toggles == {0, 1}
    assert rig.ioa.stale_responses == 0


def test_each_use_of_a_block_has_its_own_handle(rig: Rig) -> None:
    """Index below, use count above; index 5's first use is 0x14, as the vector has it."""
    block = rig.ioa.blocks[5]
    block.handle = (5 - 128) % (1 << 30)
    assert [rig.ioa.next_handle(block) for _ in range(3)] == [0x14, 0x14 + (128 << 2), 0x14 + (256 << 2)]
    block.handle = (5 - 128) % (1 << 30)
    assert rig.ioa.next_handle(block) == 0x14


@pytest.mark.parametrize("fault", ["completion-duplicate", "completion-stale", "completion-foreign",
                                   "completion-out-of-order"])
def test_responses_that_are_nobodys(rig: Rig, fault: str) -> None:
    """Each command ends once, with its own data; others are counted and forgotten."""
    rig.model.faults.inject(fault, after=2)
    commands = [rig.rw(True, 8 * n, [(DATA + PAGE * n, PAGE)]) for n in range(8)]
    for n, scmd in enumerate(commands):
        rig.fill(DATA + PAGE * n, PAGE, n)
        rig.queue(scmd)
    rig.poll_until_done(*commands)
    assert sorted(map(id, rig.done)) == sorted(map(id, commands))
    assert rig.ioa.stale_responses == (0 if fault == "completion-out-of-order" else 1)
    for n in range(8):
        assert rig.on_disk(8 * n, PAGE) == rig.fill(DATA, PAGE, n)


def test_an_old_lap_is_not_new(rig: Rig) -> None:
    """An entry with the toggle bit of the lap before is not looked at."""
    at = rig.ioa.hrrq_offset + 4 * rig.ioa.hrrq_curr
    rig.ioa.put_word(at, 5 << 2 | (rig.ioa.toggle_bit ^ HRRQ_TOGGLE_BIT))
    for _ in range(10):
        rig.poll()
    assert (rig.ioa.stale_responses, rig.done) == (0, [])


def test_a_block_that_there_is_not(rig: Rig) -> None:
    """Index 115: the adapter is reset, its commands end, and it works again."""
    rig.model.faults.inject("bad-index")
    scmd = rig.run(rig.rw(True, 0))
    assert scmd.result == 8 << 16                       # DID_RESET
    assert rig.log("is for a block that there is not; resetting")
    assert rig.run(rig.tur()).result == 0x02
    assert rig.run(rig.tur()).result == 0


def test_dma_of_a_dead_kernels_read_is_over_after_the_reset(make: Make) -> None:
    """Its memory is unmapped by then."""
    rig = make().probe()
    scmd = rig.rw(False, 8)
    assert rig.sdev
    rig.queue(scmd)
    rig.take_over()
    with pytest.raises(DmaFault):
        rig.model.dma.read(DATA, PAGE)
