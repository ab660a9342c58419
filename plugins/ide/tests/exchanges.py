"""The exchanges recorded from QEMU's piix3-ide: what the host does, in words of ATA/ATAPI-6 and the PIIX data sheet.

One drive, master of the primary channel.  A label names a step where the model's personality `real` may say otherwise.
"""

from __future__ import annotations

import struct

from ddsdk.qemu.machine import AdapterSpec
from tests.real.golden import Exchange, Host, Recording, Register

DATA, ERROR, NSECTOR, LBAL, LBAM, LBAH, DEVICE, STATUS = range(8)
FEATURE, COMMAND = ERROR, STATUS
CONTROL = ALTSTATUS = (1, 0)
BM_COMMAND, BM_STATUS, BM_TABLE = (4, 0), (4, 2), (4, 4)
TABLE, BUFFER = 0x10_0000, 0x40_0000
NIEN, SRST, HOB = 0x02, 0x04, 0x80
BUSY_OR_DRQ = 0x88
DISK_SECTORS = (64 << 20) // 512


# -- what exchanges are made of ----------------------------------------------------------------------------------------


def registers(r: Host, label: str = "") -> None:
    """Error, count, LBA and device register, then the status."""
    for name, register in (("error", ERROR), ("count", NSECTOR), ("LBA low", LBAL), ("LBA mid", LBAM),
                           ("LBA high", LBAH), ("device", DEVICE)):
        r.read(register, f"{label}: {name}" if label else "")
    r.read(ALTSTATUS, f"{label}: status" if label else "")


def high_bytes(r: Host, label: str = "") -> None:
    """What HOB shows."""
    r.write(CONTROL, HOB)
    for register in (NSECTOR, LBAL, LBAM, LBAH):
        r.read(register, label)
    r.write(CONTROL, 0)


def taskfile(r: Host, command: int, lba: int = 0, sectors: int = 0, feature: int = 0, ext: bool = False,
             device: int = 0xE0) -> None:
    """The registers of a command, as hw-ide.md 13 has them."""
    if ext:
        for register, value in ((FEATURE, 0), (NSECTOR, sectors >> 8), (LBAL, lba >> 24), (LBAM, lba >> 32),
                                (LBAH, lba >> 40)):
            r.write(register, value & 0xFF)
    else:
        device |= lba >> 24 & 0x0F
    for register, value in ((FEATURE, feature), (NSECTOR, sectors), (LBAL, lba), (LBAM, lba >> 8), (LBAH, lba >> 16),
                            (DEVICE, device), (COMMAND, command)):
        r.write(register, value & 0xFF)


def rest(r: Host, label: str = "") -> None:
    """Wait until the drive is at rest; its status, which ends the interrupt, and the bus master's."""
    r.poll(ALTSTATUS, BUSY_OR_DRQ, 0)
    r.read(BM_STATUS, f"{label}: bus master" if label else "")
    r.read(STATUS, f"{label}: status" if label else "")
    r.write(BM_STATUS, 0x06)


def simple(r: Host, command: int, sectors: int = 0, feature: int = 0, label: str = "") -> None:
    """A command without data."""
    taskfile(r, command, 0, sectors, feature)
    rest(r, label)
    r.read(ERROR, f"{label}: error" if label else "")


def table(r: Host, *regions: tuple[int, int]) -> None:
    """The PRD table."""
    r.put(TABLE, b"".join(struct.pack("<IHH", at, nbytes & 0xFFFF, 0x8000 if n == len(regions) - 1 else 0)
                          for n, (at, nbytes) in enumerate(regions)))


def dma(r: Host, command: int, lba: int, sectors: int, *regions: tuple[int, int], write: bool = False,
        ext: bool = False, label: str = "") -> None:
    """A command by DMA: hw-ide.md 6."""
    direction = 0x00 if write else 0x08
    table(r, *regions)
    r.write(BM_TABLE, TABLE, 4)
    r.write(BM_STATUS, 0x06)
    r.write(BM_COMMAND, direction)
    taskfile(r, command, lba, sectors, ext=ext)
    r.write(BM_COMMAND, direction | 0x01)
    r.poll(ALTSTATUS, BUSY_OR_DRQ, 0, f"{label}: at rest" if label else "")
    r.read(BM_STATUS, f"{label}: bus master" if label else "")
    r.write(BM_COMMAND, 0x00)
    r.read(STATUS, f"{label}: status" if label else "")
    r.write(BM_STATUS, 0x06)
    registers(r, label)


def block(r: Host, words: int, label: str = "") -> None:
    """A block of a read by programmed I/O."""
    r.poll(ALTSTATUS, BUSY_OR_DRQ, 0x08)
    r.read(STATUS)
    r.read(NSECTOR)
    r.read_words(DATA, words, label)


# -- the exchanges: name -> (what comes first, what happens) -----------------------------------------------------------


def power_on(r: Host) -> None:
    """Registers nobody has touched: a drive, no slave, an empty channel, the bus master."""
    registers(r, "power-on")
    r.write(DEVICE, 0xB0)
    registers(r, "absent slave")
    r.write(DEVICE, 0xA0)
    for register in range(ERROR, STATUS + 1):
        r.read((2, register), "empty channel")
    for channel in (0, 8):
        for register in (0, 1, 2, 3):
            r.read((4, channel + register))
        r.read((4, channel + 4), size=4)


def bus_master_registers(r: Host) -> None:
    """Which bits of the bus master's registers stick."""
    for base in (0, 8):
        status: Register = (4, base + 2)
        r.write(status, 0xFF)
        r.read(status)
        r.write(status, 0x00)
        r.read(status)
        r.write((4, base + 4), 0x1234_5677, 4)
        r.read((4, base + 4), size=4)
        r.write((4, base), 0xFE)
        r.read((4, base))
        r.write((4, base), 0x00)
        r.read((4, base))


def soft_reset(r: Host) -> None:
    """SRST and nIEN, then nIEN: the signature of a disk."""
    r.write(CONTROL, SRST | NIEN)
    r.write(CONTROL, NIEN)
    r.poll(ALTSTATUS, 0xFF, 0x50)
    registers(r, "after SRST")
    r.write(CONTROL, 0)


def high_order_bytes(r: Host) -> None:
    """The registers are two bytes deep; a write of one ends HOB."""
    r.write(DEVICE, 0xE0)
    for value, register in zip((0x23, 0x45, 0x01), (LBAL, LBAM, LBAH), strict=True):
        r.write(register, value)
    for value, register in zip((0x89, 0x67, 0x45), (LBAL, LBAM, LBAH), strict=True):
        r.write(register, value)
    r.write(NSECTOR, 0x12)
    r.write(NSECTOR, 0x34)
    registers(r, "after SRST")
    r.write(CONTROL, HOB)
    for register in (NSECTOR, LBAL, LBAM, LBAH):
        r.read(register)
    r.write(NSECTOR, 0x56)
    for register in (NSECTOR, LBAL, LBAM, LBAH):
        r.read(register)
    r.write(CONTROL, HOB)
    r.read(NSECTOR)
    r.write(CONTROL, 0)


def identify(r: Host) -> None:
    """IDENTIFY DEVICE: one block, an interrupt, and nothing after it."""
    taskfile(r, 0xEC, device=0xA0)
    r.poll(ALTSTATUS, BUSY_OR_DRQ, 0x08)
    r.read(BM_STATUS)
    r.read(STATUS)
    r.write(BM_STATUS, 0x06)
    r.read_words(DATA, 256, "IDENTIFY data")
    r.read(STATUS)
    r.read(BM_STATUS)


def write_sectors(r: Host) -> None:
    """WRITE SECTORS, two of them, 28 and 48 bits: no interrupt asks for the first block, one comes after each."""
    for ext, command, lba in ((False, 0x30, 0x12345), (True, 0x34, 0x12347)):
        taskfile(r, command, lba, 2, ext=ext)
        r.poll(ALTSTATUS, BUSY_OR_DRQ, 0x08)
        r.read(BM_STATUS)
        r.write_words(DATA, 256, 3)
        r.poll(ALTSTATUS, BUSY_OR_DRQ, 0x08)
        r.read(NSECTOR)
        r.read(LBAL)
        r.read(BM_STATUS)
        r.read(STATUS)
        r.write(BM_STATUS, 0x06)
        r.write_words(DATA, 256, 4)
        rest(r)
        registers(r, "after programmed I/O")
        high_bytes(r)


def read_sectors(r: Host) -> None:
    """READ SECTORS of what was written: an interrupt for each block, none after the last."""
    for ext, command, lba in ((False, 0x20, 0x12345), (True, 0x24, 0x12347)):
        taskfile(r, command, lba, 2, ext=ext)
        for _ in range(2):
            r.poll(ALTSTATUS, BUSY_OR_DRQ, 0x08)
            r.read(BM_STATUS)
            r.read(STATUS)
            r.read(NSECTOR)
            r.read(LBAL)
            r.write(BM_STATUS, 0x06)
            r.read_words(DATA, 256)
        r.read(STATUS)
        registers(r, "after programmed I/O")


def multiple(r: Host) -> None:
    """SET MULTIPLE MODE 16; 20 sectors in two blocks each way, 28 and 48 bits."""
    simple(r, 0xC6, 16)
    for ext, write, read in ((False, 0xC5, 0xC4), (True, 0x39, 0x29)):
        taskfile(r, write, 0x2000, 20, ext=ext)
        for words in (16 * 256, 4 * 256):
            r.poll(ALTSTATUS, BUSY_OR_DRQ, 0x08)
            r.read(NSECTOR)
            r.write_words(DATA, words, 5)
        rest(r)
        taskfile(r, read, 0x2000, 20, ext=ext)
        block(r, 16 * 256)
        block(r, 4 * 256)
        rest(r)
        registers(r, "after programmed I/O")


def multiple_refused(r: Host) -> None:
    """Counts that are no power of two, or too many; MULTIPLE commands when the mode is off."""
    for count in (3, 200, 0):
        simple(r, 0xC6, count, label=f"SET MULTIPLE {count}")
    taskfile(r, 0xC5, 0x2000, 8)
    rest(r, "WRITE MULTIPLE, mode off")
    r.read(ERROR)


def settings(r: Host) -> None:
    """Transfer modes, write cache, power."""
    for feature, count in ((0x03, 0x0C), (0x03, 0x22), (0x03, 0x45), (0x02, 0), (0x82, 0), (0x02, 0)):
        simple(r, 0xEF, count, feature)
    simple(r, 0xEF, 0, 0x7F, "unknown feature")
    simple(r, 0xE5)
    r.read(NSECTOR)
    simple(r, 0xE1, label="IDLE IMMEDIATE")
    for command in (0xE7, 0xEA):
        simple(r, command)
    simple(r, 0xF8, label="READ NATIVE MAX")


def dma_28(r: Host) -> None:
    """WRITE DMA and READ DMA of 16 KiB in two regions: the interrupt, the count at 0, the LBA one past the end."""
    r.fill(BUFFER, 0x4000, 7)
    dma(r, 0xCA, 0x12345, 32, (BUFFER, 0x2000), (BUFFER + 0x2000, 0x2000), write=True, label="after DMA")
    r.fill(BUFFER, 0x4000, 0)
    dma(r, 0xC8, 0x12345, 32, (BUFFER, 0x4000), label="after DMA")
    r.sum(BUFFER, 0x4000)


def dma_48(r: Host) -> None:
    """WRITE DMA EXT and READ DMA EXT of 300 sectors, three regions, one of 64 KiB; what HOB shows after it."""
    regions = ((BUFFER, 0x10000), (BUFFER + 0x10000, 0x10000), (BUFFER + 0x20000, 0x5800))
    r.fill(BUFFER, 0x25800, 9)
    dma(r, 0x35, 0x1000, 300, *regions, write=True, ext=True, label="after DMA")
    high_bytes(r, "HOB after DMA")
    r.fill(BUFFER, 0x25800, 0)
    dma(r, 0x25, 0x1000, 300, *regions, ext=True, label="after DMA")
    r.sum(BUFFER, 0x25800)


def dma_masked(r: Host) -> None:
    """The same with nIEN: the bus master's interrupt bit stays 0."""
    r.write(CONTROL, NIEN)
    dma(r, 0xC8, 0x12345, 8, (BUFFER, 0x1000), label="after DMA")
    r.write(CONTROL, 0)


def long_table(r: Host) -> None:
    """A table of 8192 bytes for 4096: active and interrupt, and all has moved."""
    dma(r, 0xC8, 0x12345, 8, (BUFFER, 0x2000), label="after DMA")


def short_table(r: Host) -> None:
    """A table of 2048 bytes for 4096: it looks like success, but for interrupt and count."""
    dma(r, 0xC8, 0x12345, 8, (BUFFER, 0x0800), label="short table")


def bus_master_off(r: Host) -> None:
    """COMMAND bit 2 off: it looks like success, and nothing has moved."""
    r.fill(BUFFER, 0x1000, 1)
    r.config(0x04, 0x0001)
    dma(r, 0xC8, 0x12345, 8, (BUFFER, 0x1000), label="no bus master")
    r.config(0x04, 0x0005)
    r.sum(BUFFER, 0x1000)


def errors(r: Host) -> None:
    """An unknown command, and addresses past the end: by DMA, by programmed I/O, with 28 and with 48 bits."""
    simple(r, 0xFE, label="unknown command")
    beyond = DISK_SECTORS - 4
    dma(r, 0xC8, beyond, 8, (BUFFER, 0x1000), label="past the end")
    dma(r, 0x25, beyond, 8, (BUFFER, 0x1000), ext=True, label="past the end")
    high_bytes(r)
    dma(r, 0x35, 0x1_0000_0000, 8, (BUFFER, 0x1000), write=True, ext=True, label="past the end")
    high_bytes(r)
    taskfile(r, 0x20, DISK_SECTORS, 1)
    rest(r, "past the end")
    registers(r, "past the end")


def reset_in_a_read(r: Host) -> None:
    """SRST in the middle of a block; then a command works."""
    taskfile(r, 0x20, 0x12345, 4)
    block(r, 256)
    r.poll(ALTSTATUS, BUSY_OR_DRQ, 0x08)
    r.read_words(DATA, 100)
    soft_reset(r)
    taskfile(r, 0x20, 0x12345, 1)
    block(r, 256)
    r.read(STATUS)


def interrupt_pending(r: Host) -> None:
    """An interrupt that is pending when SRST comes, and what the bus master remembers of it."""
    simple(r, 0xE5)
    taskfile(r, 0xE5)
    r.poll(ALTSTATUS, BUSY_OR_DRQ, 0)
    r.read(BM_STATUS)
    soft_reset(r)
    r.read(BM_STATUS)
    r.write(BM_STATUS, 0x04)
    r.read(BM_STATUS)


def absent_slave(r: Host) -> None:
    """Commands to a slave that is not there: nothing happens; the master works."""
    r.write(DEVICE, 0xB0)
    r.write(COMMAND, 0xEC)
    r.read(ALTSTATUS)
    r.read(BM_STATUS)
    r.write(DEVICE, 0xA0)
    simple(r, 0xE5)


def reset_with_the_slave_selected(r: Host) -> None:
    """SRST while the absent slave is selected: who is selected afterwards?"""
    r.write(DEVICE, 0xB0)
    r.write(CONTROL, SRST | NIEN)
    r.read(ALTSTATUS, "while SRST is set")
    r.write(CONTROL, NIEN)
    r.read(ALTSTATUS, "just after SRST")
    r.poll(ALTSTATUS, 0x80, 0)
    r.write(DEVICE, 0xA0)
    r.poll(ALTSTATUS, 0xFF, 0x50)
    registers(r)
    r.write(CONTROL, 0)


def undefined(r: Host) -> None:
    """What the standard leaves open: a command while a block waits, the data port without DRQ."""
    taskfile(r, 0x20, 0x12345, 1)
    r.poll(ALTSTATUS, BUSY_OR_DRQ, 0x08)
    r.write(COMMAND, 0xE5)
    r.read(STATUS)
    r.read_words(DATA, 256)
    r.read(STATUS)
    r.read_words(DATA, 1)


EXCHANGES: dict[str, Exchange] = {
    "power-on": ((), power_on),
    "bus-master-registers": ((), bus_master_registers),
    "soft-reset": ((), soft_reset),
    "high-order-bytes": (("soft-reset",), high_order_bytes),
    "identify": (("soft-reset",), identify),
    "write-sectors": (("soft-reset",), write_sectors),
    "read-sectors": (("soft-reset", "write-sectors"), read_sectors),
    "multiple": (("soft-reset",), multiple),
    "multiple-refused": (("soft-reset",), multiple_refused),
    "settings": (("soft-reset",), settings),
    "dma-28": (("soft-reset",), dma_28),
    "dma-48": (("soft-reset",), dma_48),
    "dma-masked": (("soft-reset",), dma_masked),
    "long-table": (("soft-reset",), long_table),
    "short-table": (("soft-reset",), short_table),
    "bus-master-off": (("soft-reset",), bus_master_off),
    "errors": (("soft-reset",), errors),
    "reset-in-a-read": (("soft-reset", "write-sectors"), reset_in_a_read),
    "interrupt-pending": (("soft-reset",), interrupt_pending),
    "absent-slave": (("soft-reset",), absent_slave),
    "slave-selected": (("soft-reset",), reset_with_the_slave_selected),
    "undefined": (("soft-reset", "write-sectors"), undefined),
}

RECORDING = Recording(AdapterSpec("piix3-ide", 0x8086, 0x7010, disk_device="ide-hd", onboard="ide"), bar=0, size=1,
                      command=0x0005, disk_bytes=64 << 20, exchanges=EXCHANGES)
