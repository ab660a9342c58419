"""The exchanges recorded from QEMU's mptsas1068: what the host does, in the words of the MPI specification.

Register offsets, frames and numbers: Fusion-MPT MPI 1.5 (mpi.h, mpi_ioc.h, mpi_init.h of the vendor).
"""

from __future__ import annotations

import struct

from ddsdk.qemu.machine import AdapterSpec
from tests.real.golden import Exchange, Host, Recording

DOORBELL, WRITE_SEQUENCE, DIAGNOSTIC = 0x00, 0x04, 0x08
INT_STATUS, INT_MASK, REQUEST_FIFO, REPLY_FIFO = 0x30, 0x34, 0x40, 0x44
EMPTY = 0xFFFF_FFFF
REQUEST, CHAIN, REPLIES, SENSE, DATA = 0x20_0000, 0x21_0000, 0x30_0000, 0x38_0000, 0x40_0000
REPLY_STRIDE, REPLY_FRAMES = 0x80, 8
DATA_BYTES = 16 << 10

# SGE flags (MPI 1.5, mpi.h): one element (last, end of buffer, end of list), in a list, before a chain, chain
ONE_IN, ONE_OUT, SIMPLE, SIMPLE_LAST, CHAIN_SGE, WIDE = 0xD1, 0xD5, 0x10, 0x90, 0x30, 0x02
NO_DATA, TO_DISK, FROM_DISK = 0x0000_0000, 0x0100_0000, 0x0200_0000

MESSAGES = {2: "IOCInit", 3: "IOCFacts", 5: "PortFacts", 6: "PortEnable"}

def sge(flags: int, length: int, address: int) -> bytes:
    """One scatter/gather element; 64-bit when *flags* say so."""
    head = struct.pack("<I", flags << 24 | length)
    return head + struct.pack("<Q" if flags & WIDE else "<I", address)


def scsi_io(context: int, cdb: bytes, length: int, control: int, sgl: bytes, *, target: int = 0, bus: int = 0,
            chain: int = 0) -> bytes:
    """A SCSIIORequest (MPI 1.5, mpi_init.h) with sense at `SENSE`."""
    return struct.pack("<8BI8xI16sII", target, bus, chain, 0, len(cdb), 32, 0, 0, context, control,
                       cdb, length, SENSE) + sgl


def task_mgmt(context: int, kind: int, *, target: int = 0, task_context: int = 0) -> bytes:
    """A SCSITaskMgmt request."""
    return struct.pack("<8BI8x28xI", target, 0, 0, 1, 0, kind, 0, 0, context, task_context)


# -- what exchanges are made of ---------------------------------------------------------------------------

def hard_reset(r: Host) -> None:
    """The diagnostic reset; ends READY."""
    r.write(INT_STATUS, 0)
    for key in (0xFF, 0x4, 0xB, 0x2, 0x7, 0xD):
        r.write(WRITE_SEQUENCE, key)
    r.poll(DIAGNOSTIC, 0x80, 0x80)
    r.write(DIAGNOSTIC, 0x84)
    r.poll(DOORBELL, 0xF000_0000, 0x1000_0000)


def handshake(r: Host, request: bytes, words: int) -> None:
    """One message through the doorbell; reads *words* 16-bit words of reply."""
    r.write(INT_STATUS, 0)
    r.write(DOORBELL, 0x42 << 24 | len(request) // 4 << 16)
    r.poll(INT_STATUS, 0x1, 0x1)
    r.read(DOORBELL)
    r.write(INT_STATUS, 0)
    for dword in struct.unpack(f"<{len(request) // 4}I", request):
        r.poll(INT_STATUS, 1 << 31, 0)
        r.write(DOORBELL, dword)
    for word in range(words):
        r.poll(INT_STATUS, 0x1, 0x1)
        r.read(DOORBELL, f"{MESSAGES[request[3]]} reply word {word}")
        r.write(INT_STATUS, 0)
    r.poll(INT_STATUS, 0x1, 0x1)
    r.write(INT_STATUS, 0)
    r.read(DOORBELL)


def post(r: Host, frame: bytes) -> None:
    """Put *frame* at `REQUEST` and post it."""
    r.put(REQUEST, frame)
    r.write(REQUEST_FIFO, REQUEST)


def reply(r: Host, length: int = 0, *, sense: int = 0, label: str = "") -> None:
    """Wait for a reply, pop it, look into its frame when it has one (*length*), give the frame back."""
    r.poll(INT_STATUS, 0x8, 0x8)
    value = r.read(REPLY_FIFO)
    if length:
        address = value << 1 & 0xFFFF_FFFF
        r.get(address, length, label)
        if sense:
            r.get(SENSE, sense)
        r.write(REPLY_FIFO, address)
    # QEMU's IntStatus bit 3 falls only when a read finds the FIFO empty: every reply ends with that read
    drained(r)


def drained(r: Host) -> None:
    """The reply FIFO is empty."""
    value = r.read(REPLY_FIFO)
    assert value == EMPTY, f"reply FIFO: {value:#x}"


# -- the exchanges: name -> (what comes first, what happens) --------------------------------------------


def bring_up(r: Host) -> None:
    """Hard reset, IOCFacts, PortFacts, reply frames, IOCInit, PortEnable, OPERATIONAL."""
    hard_reset(r)
    start(r)


def start(r: Host) -> None:
    """From READY to OPERATIONAL."""
    handshake(r, bytes.fromhex("000000030000000044332211"), 40)
    handshake(r, bytes.fromhex("000000050000000001000000"), 20)
    for frame in range(REPLY_FRAMES):
        r.write(REPLY_FIFO, REPLIES + frame * REPLY_STRIDE)
    handshake(r, bytes.fromhex("040000020000010002000000800000000000000000000000"), 10)
    handshake(r, bytes.fromhex("000000060000000003000000"), 10)
    r.poll(DOORBELL, 0xF000_0000, 0x2000_0000)
    r.read(DOORBELL)
    r.write(INT_MASK, 0x9)
    r.read(INT_MASK)


def unit_attention(r: Host) -> None:
    """TEST UNIT READY: the first one after power-on has UNIT ATTENTION, the second is good."""
    frame = scsi_io(0x10, bytes(6), 0, NO_DATA, sge(ONE_IN, 0, DATA))
    post(r, frame)
    reply(r, 36, sense=18)
    post(r, frame)
    reply(r)


def inquiry(r: Host) -> None:
    """INQUIRY, 36 bytes."""
    post(r, scsi_io(0x11, bytes.fromhex("120000002400"), 36, FROM_DISK, sge(ONE_IN, 36, DATA)))
    reply(r)
    r.get(DATA, 8, "inquiry header")
    r.get(DATA + 8, 28, "inquiry names")


WRITE_10 = bytes.fromhex("2a000001234500002000")
READ_10 = bytes.fromhex("28000001234500002000")


def read_write(r: Host) -> None:
    """WRITE(10) of 16 KiB, then the same blocks back through every form of scatter list."""
    quarter = DATA_BYTES // 4
    pages = [DATA + n * quarter for n in range(4)]
    r.fill(DATA, DATA_BYTES, 7)
    post(r, scsi_io(5, WRITE_10, DATA_BYTES, TO_DISK, sge(ONE_OUT, DATA_BYTES, DATA)))
    reply(r)

    def read(context: int, sgl: bytes, chain: int = 0) -> None:
        r.fill(DATA, DATA_BYTES, 0)
        post(r, scsi_io(context, READ_10, DATA_BYTES, FROM_DISK, sgl, chain=chain))
        reply(r)
        r.sum(DATA, DATA_BYTES)

    read(0x07, sge(ONE_IN, DATA_BYTES, DATA))
    read(0x11, sge(ONE_IN | WIDE, DATA_BYTES, DATA))
    read(0x12, b"".join(sge(ONE_IN if n == 0 else SIMPLE, quarter, pages[n]) for n in (3, 2, 1, 0)))
    r.put(CHAIN, b"".join(sge(ONE_IN if n == 3 else SIMPLE, quarter, pages[n]) for n in (1, 2, 3)))
    read(0x13, sge(SIMPLE_LAST, quarter, pages[0]) + sge(CHAIN_SGE, 24, CHAIN), chain=14)
    r.put(CHAIN, b"".join(sge((ONE_IN if n == 3 else SIMPLE) | WIDE, quarter, pages[n]) for n in (1, 2, 3)))
    read(0x14, sge(SIMPLE_LAST | WIDE, quarter, pages[0]) + sge(CHAIN_SGE | WIDE, 36, CHAIN), chain=15)


def gather_write(r: Host) -> None:
    """WRITE(10) from four scattered pages, read back in one piece."""
    quarter = DATA_BYTES // 4
    r.fill(DATA, DATA_BYTES, 99)
    r.put(CHAIN, b"".join(sge(ONE_OUT if n == 0 else SIMPLE | 4, quarter, DATA + n * quarter)
                          for n in (2, 1, 0)))
    post(r, scsi_io(0x21, WRITE_10, DATA_BYTES, TO_DISK,
                   sge(SIMPLE_LAST | 4, quarter, DATA + 3 * quarter) + sge(CHAIN_SGE, 24, CHAIN), chain=14))
    reply(r)
    r.fill(DATA, DATA_BYTES, 0)
    post(r, scsi_io(0x22, READ_10, DATA_BYTES, FROM_DISK, sge(ONE_IN, DATA_BYTES, DATA)))
    reply(r)
    r.sum(DATA, DATA_BYTES)


def out_of_range(r: Host) -> None:
    """READ(10) far beyond the disk: ILLEGAL REQUEST, logical block address out of range."""
    beyond = bytes.fromhex("2800fffffff000002000")
    post(r, scsi_io(8, beyond, DATA_BYTES, FROM_DISK, sge(ONE_IN, DATA_BYTES, DATA)))
    reply(r, 36, sense=18)


def underrun(r: Host) -> None:
    """READ CAPACITY(10) with room for 64 bytes: 8 arrive, status GOOD, residual reported."""
    post(r, scsi_io(0x31, bytes.fromhex("25000000000000000000"), 64, FROM_DISK, sge(ONE_IN, 64, DATA)))
    reply(r, 36)
    r.get(DATA, 8)


def absent_target(r: Host) -> None:
    """INQUIRY to places where there is no disk: target 5, target 9, bus 1."""
    command = bytes.fromhex("120000002400")
    for context, target, bus in ((9, 5, 0), (10, 9, 0), (11, 0, 1)):
        post(r, scsi_io(context, command, 36, FROM_DISK, sge(ONE_IN, 36, DATA), target=target, bus=bus))
        reply(r, 36)


def refused_lists(r: Host) -> None:
    """What the IOC refuses: too short a scatter list, a null element, data against the CDB."""
    command = bytes.fromhex("120000002400")
    post(r, scsi_io(0x41, command, 36, FROM_DISK, sge(ONE_IN, 20, DATA)))
    reply(r, 36, label="short list")
    post(r, scsi_io(0x42, command, 36, FROM_DISK, bytes(8)))
    reply(r, 36, label="null element")
    post(r, scsi_io(0x43, command, 36, TO_DISK, sge(ONE_OUT, 36, DATA)))
    reply(r, 36, label="wrong direction")


def target_reset(r: Host) -> None:
    """Target reset: acknowledged, and the disk reports UNIT ATTENTION once."""
    post(r, task_mgmt(0x99, 3))
    reply(r, 24)
    unit_attention(r)


def task_management(r: Host) -> None:
    """LU reset and bus reset work, clear ACA is not supported."""
    for context, kind in ((0x51, 5), (0x52, 4), (0x53, 8)):
        post(r, task_mgmt(context, kind))
        reply(r, 24, label=f"task type {kind}")


def event_notification(r: Host) -> None:
    """Events switched on: one answer, event 0x0A."""
    post(r, bytes.fromhex("010000070000000077000000"))
    reply(r, 32)


def fault_0008(r: Host) -> None:
    """A request without IOCInit: FAULT 0x0008; a hard reset ends it."""
    hard_reset(r)
    r.write(REQUEST_FIFO, REQUEST)
    r.poll(DOORBELL, 0xF000_0000, 0x4000_0000)
    r.read(DOORBELL)
    hard_reset(r)
    r.read(DOORBELL)


def fault_0006(r: Host) -> None:
    """An address reply is due and no reply frame is free: FAULT 0x0006."""
    hard_reset(r)
    handshake(r, bytes.fromhex("040000020000010002000000800000000000000000000000"), 10)
    post(r, scsi_io(9, bytes.fromhex("120000002400"), 36, FROM_DISK, sge(ONE_IN, 36, DATA), target=5))
    r.poll(DOORBELL, 0xF000_0000, 0x4000_0000)
    r.read(DOORBELL)
    drained(r)


def message_unit_reset(r: Host) -> None:
    """OPERATIONAL -> message unit reset -> READY, and bring-up works again."""
    r.write(DOORBELL, 0x4000_0000)
    r.poll(INT_STATUS, 1 << 31, 0)
    r.poll(DOORBELL, 0xF000_0000, 0x1000_0000)
    r.read(DOORBELL)
    drained(r)
    start(r)


def hard_reset_again(r: Host) -> None:
    """OPERATIONAL -> hard reset -> READY, interrupts masked, nothing in the reply FIFO."""
    hard_reset(r)
    r.read(DOORBELL, "WhoInit after a hard reset")
    r.read(INT_MASK)
    drained(r)


EXCHANGES: dict[str, Exchange] = {
    "bring-up": ((), bring_up),
    "unit-attention": (("bring-up",), unit_attention),
    "inquiry": (("bring-up", "unit-attention"), inquiry),
    "read-write": (("bring-up", "unit-attention"), read_write),
    "gather-write": (("bring-up", "unit-attention"), gather_write),
    "out-of-range": (("bring-up", "unit-attention"), out_of_range),
    "underrun": (("bring-up", "unit-attention"), underrun),
    "absent-target": (("bring-up",), absent_target),
    "refused-lists": (("bring-up", "unit-attention"), refused_lists),
    "target-reset": (("bring-up", "unit-attention"), target_reset),
    "task-management": (("bring-up", "unit-attention"), task_management),
    "event-notification": (("bring-up",), event_notification),
    "fault-0008": ((), fault_0008),
    "fault-0006": ((), fault_0006),
    "message-unit-reset": (("bring-up",), message_unit_reset),
    "hard-reset": (("bring-up",), hard_reset_again),
}

RECORDING = Recording(AdapterSpec("mptsas1068", 0x1000, 0x0054), bar=1, size=4, command=0x0007, disk_bytes=1 << 30,
                      exchanges=EXCHANGES)
