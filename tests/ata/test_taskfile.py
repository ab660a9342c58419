"""The bytes of what the mid-layer sends, and what it reads from answers."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from ddsdk.ata import taskfile as t
from ddsdk.ata.host import IdePortInfo
from ddsdk.ata.identify import IdentifyData, NotAnAtaDisk
from ddsdk.errors import PluginError
from ddsdk.sim.ata_drive import AtaIdentity
from ddsdk.sim.ata_identify import Settings, identify_device
from tests.ata.fake_hwif import build


def test_the_48_bit_vector() -> None:
    """hw-ide.md V1: LBA 123456789h, 32 sectors, drive 0; previous bytes first, then the others."""
    tf = t.read_write(t.WIN_WRITEDMA_EXT, 0, 0x123456789, 32, True)
    assert (tf.hob_feature, tf.hob_nsector, tf.hob_lbal, tf.hob_lbam, tf.hob_lbah) == (0, 0, 0x23, 0x01, 0x00)
    assert (tf.feature, tf.nsector, tf.lbal, tf.lbam, tf.lbah, tf.device, tf.command) == (
        0x00, 0x20, 0x89, 0x67, 0x45, 0xE0, 0x35)
    assert (tf.lba48, tf.sector) == (True, 0x123456789)


def test_the_28_bit_vector() -> None:
    """hw-ide.md V2: LBA 12345h, 8 sectors; bits 27-24 go into the device register, the slave is its bit 4."""
    tf = t.read_write(t.WIN_READDMA, 0, 0x12345, 8, False)
    assert (tf.feature, tf.nsector, tf.lbal, tf.lbam, tf.lbah, tf.device, tf.command) == (
        0x00, 0x08, 0x45, 0x23, 0x01, 0xE0, 0xC8)
    tf = t.read_write(t.WIN_READDMA, 1, 0xABCDEF0, 8, False)
    assert (tf.lbal, tf.lbam, tf.lbah, tf.device, tf.sector) == (0xF0, 0xDE, 0xBC, 0xFA, 0xABCDEF0)


@pytest.mark.parametrize(("sectors", "lba48", "low", "high"), [
    (256, False, 0, 0), (255, False, 0xFF, 0), (256, True, 0, 1), (65536, True, 0, 0), (0x1234, True, 0x34, 0x12)])
def test_counts(sectors: int, lba48: bool, low: int, high: int) -> None:
    """The largest count is 0 in the registers."""
    tf = t.read_write(t.WIN_READ, 0, 0, sectors, lba48)
    assert (tf.nsector, tf.hob_nsector) == (low, high)


def test_control_commands() -> None:
    """No LBA bit; the slave is bit 4."""
    assert t.control(1, t.WIN_SETFEATURES, t.SETFEATURES_XFER, 0x45) == t.AtaTaskfile(
        0xEF, 0x03, 0x45, device=0xB0)


@pytest.mark.parametrize(("dma", "multiple", "lba48", "codes", "phases"), [
    (True, 16, True, (0x25, 0x35), (t.TASKFILE_IN_DMA, t.TASKFILE_OUT_DMA)),
    (True, 16, False, (0xC8, 0xCA), (t.TASKFILE_IN_DMA, t.TASKFILE_OUT_DMA)),
    (False, 16, True, (0x29, 0x39), (t.TASKFILE_MULTI_IN, t.TASKFILE_MULTI_OUT)),
    (False, 16, False, (0xC4, 0xC5), (t.TASKFILE_MULTI_IN, t.TASKFILE_MULTI_OUT)),
    (False, 0, True, (0x24, 0x34), (t.TASKFILE_IN, t.TASKFILE_OUT)),
    (False, 0, False, (0x20, 0x30), (t.TASKFILE_IN, t.TASKFILE_OUT))])
def test_how_data_moves(dma: bool, multiple: int, lba48: bool, codes: tuple[int, int],
                        phases: tuple[int, int]) -> None:
    """By how the drive is set up at that moment; the slave is named in every command."""
    drive = build(scan=False).drive
    drive.using_dma, drive.mult_count, drive.lba48 = dma, multiple, lba48
    for write in (False, True):
        tf, phase = t.rw_taskfile(drive, write, 5, 3)
        assert (tf.command, phase, tf.device, tf.nsector) == (codes[write], phases[write], 0xF0, 3)


def test_blocks_and_pieces() -> None:
    """A block is multiple sectors, the last is shorter; pieces of memory are found by offset."""
    drive = build(scan=False).drive
    drive.mult_count = 4
    task = t.IdeTask(drive)
    task.nbytes, task.sg = 4096, ((0x1000, 512), (0x3000, 3072), (0x9000, 512))
    for phase, block, to_device, dma in ((t.TASKFILE_IN, 512, False, False), (t.TASKFILE_MULTI_OUT, 2048, True, False),
                                         (t.TASKFILE_OUT_DMA, 512, True, True)):
        task.data_phase = phase
        assert (task.block_bytes, task.to_device, task.dma) == (block, to_device, dma)
    assert task.pieces(0, 512) == [(0x1000, 512)]
    assert task.pieces(0, 2048) == [(0x1000, 512), (0x3000, 1536)]
    assert task.pieces(2048, 2048) == [(0x3000 + 1536, 1536), (0x9000, 512)]
    assert task.pieces(3584, 4096) == [(0x9000, 512)]
    assert task.pieces(0, 0) == []


def test_names() -> None:
    """Commands are spelled out; an unknown one by its code."""
    assert t.command_name(0x35) == "WRITE DMA EXT"
    assert t.command_name(0x42) == "command 0x42"


# --- IDENTIFY DEVICE ---------------------------------------------------------------------------------------


def data(sectors: int = 0x12345678, sector_size: int = 512, **identity: Any) -> bytearray:
    """What our drive answers."""
    return bytearray(identify_device(AtaIdentity(**identity), Settings(sectors, sector_size, 0, 0x45, True)))


def test_identify() -> None:
    """Model, serial, firmware, capacity, modes, cache."""
    assert IdentifyData.parse(data()) == IdentifyData(
        model="DDSDK DISK", serial="DD000001", fw_rev="0001", lba=True, dma=True, lba48=True, sectors=0x12345678,
        sector_size=512, max_multiple=16, ultra_mask=0x3F, mwdma_mask=0x07, write_cache=True, wcache_on=True,
        flush=True, flush_ext=True)


def test_identify_of_qemus_drive() -> None:
    """The words that hw-ide.md 3 gives, and nothing of ours."""
    words = [0] * 256
    for word, value in {47: 0x8010, 49: 0x0B00, 53: 0x0007, 59: 0x0110, 60: 0x2000, 63: 0x0007, 80: 0x00F0,
                        82: 0x4021, 83: 0x7400, 84: 0x4000, 85: 0x4021, 86: 0x3400, 88: 0x203F, 93: 0x6001,
                        100: 0x2000, 106: 0x6000}.items():
        words[word] = value
    for first, text in ((10, "QM00001"), (23, "2.5+"), (27, "QEMU HARDDISK")):
        padded = text.ljust(len(text) + len(text) % 2)
        words[first:first + len(padded) // 2] = struct.unpack(f">{len(padded) // 2}H", padded.encode())
    found = IdentifyData.parse(struct.pack("<256H", *words))
    assert (found.model, found.serial, found.fw_rev) == ("QEMU HARDDISK", "QM00001", "2.5+")
    assert (found.sectors, found.sector_size, found.max_multiple, found.ultra_mask) == (0x2000, 512, 16, 0x3F)
    assert (found.lba48, found.write_cache, found.wcache_on, found.flush_ext) == (True, True, True, True)


def test_identify_of_an_old_drive() -> None:
    """28 bits of capacity, no cache, no FLUSH; a word 83 without its valid bits says nothing."""
    found = IdentifyData.parse(data(lba48=False, flush=False, write_cache=False, ultra_mask=0, power_on_mode=0x22))
    assert (found.lba48, found.flush, found.flush_ext, found.write_cache, found.ultra_mask) == (
        False, False, False, False, 0)
    assert found.sectors == 0xFFFFFFF
    wild = data()
    wild[166:168] = b"\xff\xff"
    wild[510] = 0
    assert not IdentifyData.parse(wild).lba48


@pytest.mark.parametrize("size", [512, 1024, 2048, 4096])
def test_sector_sizes(size: int) -> None:
    """Words 117-118, when word 106 says so."""
    assert IdentifyData.parse(data(1000, size)).sector_size == size


@pytest.mark.parametrize(("damage", "message"), [
    (lambda d: d[:100], "100 bytes of IDENTIFY data, 512 are due"),
    (lambda d: d[:40] + b"\x01" + d[41:], "the IDENTIFY data's checksum is wrong"),
    (lambda d: bytes(512), "the IDENTIFY data is empty"),
    (lambda d: b"\x80\x85" + bytes(510), "an ATAPI device (word 0 is 0x8580), no disk")])
def test_no_disk(damage: Any, message: str) -> None:
    """Damaged data and other devices are told apart from disks, in one line."""
    with pytest.raises(NotAnAtaDisk) as error:
        IdentifyData.parse(damage(bytes(data())))
    assert str(error.value) == message


@pytest.mark.parametrize(("limits", "message"), [
    ({"max_sectors": 0}, "port info of p: max_sectors 0 must be at least 1"),
    ({"sg_tablesize": -1}, "port info of p: sg_tablesize -1 must be at least 1"),
    ({"ultra_mask": 0x80}, "port info of p: ultra_mask 0x80 has bits beyond mode 6"),
    ({"mwdma_mask": 0x08}, "port info of p: mwdma_mask 0x8 has bits beyond mode 2"),
    ({"dma_alignment": 2}, "port info of p: dma_alignment 2 must be a mask: 511 for whole sectors, 1 for even"
                           " addresses, 0 for any")])
def test_impossible_ports(limits: dict[str, int], message: str) -> None:
    """Refused where they are written."""
    with pytest.raises(PluginError) as error:
        IdePortInfo("p", "p", lambda task, done: 0, **limits)
    assert str(error.value) == message
