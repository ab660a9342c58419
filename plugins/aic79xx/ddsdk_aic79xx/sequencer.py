"""What the host and the sequencer's program agree on, besides the scratch page: constants, labels, values of bytes.

The program itself is Adaptec's and is not in this package.  What the driver downloads (firmware.py) is a stand-in of
the same interface: words of 31 bits and odd parity, the host's constants in the words named here.

Sources: aic79xx.seq rev 99, aic79xx.reg rev 70 (Linux 2.6.9, RHEL 4): names, values, effects.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

#: Bytes of an instruction in the program RAM, low byte first; bit 31 makes the number of ones odd.
INSTRUCTION_BYTES: Final = 4
#: Instructions the program RAM holds.
PROGRAM_WORDS_MAX: Final = 2048
#: What the loader patches in, one a word from word 1 on, in bits 7:0.
DOWNLOAD_CONSTANTS: Final = ("SG_PREFETCH_CNT", "SG_PREFETCH_CNT_LIMIT", "SG_PREFETCH_ALIGN_MASK",
                             "SG_PREFETCH_ADDR_MASK", "SG_SIZEOF", "PKT_OVERRUN_BUFOFFSET", "SCB_TRANSFER_SIZE")
FIRST_CONSTANT_WORD: Final = 1
#: PKT_OVERRUN_BUFOFFSET counts 256 bytes from SHARED_DATA_ADDR; the buffer is 512 bytes long.
OVERRUN_UNIT: Final = 256
#: SCB_TRANSFER_SIZE: 48 bytes move, 56 where the packet's LUN is the 8-byte one (Rev A).
SCB_TRANSFER_1BYTE_LUN: Final = 48
SCB_TRANSFER_FULL_LUN: Final = 56

#: Instruction addresses of the stand-in: where the idle loop runs, interrupt vectors, [first, last] of each section
#: in which the sequencer may not be looked at.
IDLE_LOOP_ADDR: Final = 8
INTVEC1: Final = 33
INTVEC2: Final = 34
CRITICAL_SECTIONS: Final = ((16, 20), (28, 31))

# -- values of scratch bytes -----------------------------------------------------------------------------------

#: An SCB id with this high byte is none; the low byte does not count.
SCB_LIST_NULL_HIGH: Final = 0xFF
SCB_LIST_NULL: Final = 0xFF00
#: QOUTFIFO_ENTRY_VALID_TAG, in the high byte of a queue entry.
VALID_TAG: Final = 0x80
#: LONGJMP_ADDR high byte: no routine, the FIFO is idle.
INVALID_ADDR: Final = 0x80
#: MSG_OUT: nothing to say; what the firmware composes itself; what it asks the host for.
MSG_NOOP: Final = 0x08
MSG_IDENTIFYFLAG: Final = 0x80
HOST_MSG: Final = 0xFF
#: RETURN_1.
EXIT_MSG_LOOP: Final = 0x08
CONT_MSG_LOOP_WRITE: Final = 0x04
CONT_MSG_LOOP_READ: Final = 0x03

# -- bus phases: SCSISIGI & E0, LASTPHASE ----------------------------------------------------------------------

PHASE_MASK: Final = 0xE0
P_BUSFREE: Final = 0x01             # in LASTPHASE only


class Phase(IntEnum):
    """What the target drives."""

    DATAOUT = 0x00
    DATAOUT_DT = 0x20
    DATAIN = 0x40
    DATAIN_DT = 0x60
    COMMAND = 0x80
    MESGOUT = 0xA0
    STATUS = 0xC0
    MESGIN = 0xE0


# -- queues ----------------------------------------------------------------------------------------------------

#: On-chip SCBs, and entries of either queue.
AHD_SCB_MAX: Final = 512
#: QOFF_CTLSTA.SCB_QSIZE for that many.
SCB_QSIZE_512: Final = 7
QOFF_MASK: Final = 0xFFFF
#: Entries the firmware moves to the output queue in one DMA.
QOUT_BURST: Final = 64
#: Bytes of the status IU that the host makes room for.
SENSE_BUFSIZE: Final = 256
#: SWTIMER and INT_COALESCING_TIMER.
TICK_US: Final = 25

#: SCBAUTOPTR: take the slot from the tag field, at 10 of the SCB.
SCBAUTOPTR_TAG: Final = 0x90
#: LUNLEN: the SCB holds one byte of LUN.
LUNLEN_SINGLE: Final = 0x0F
#: SG_CACHE_PRE as the host aims a FIFO at the sense buffer; the data sheet's last-segment bit is 02.
SG_CACHE_STATUS_IU: Final = 0x80
SG_CACHE_LAST_SEG: Final = 0x02
#: SXFRCTL1.STIMESEL in ms.
SELECTION_TIMEOUT_MS: Final = (256, 128, 64, 32)


def odd_parity(word: int) -> int:
    """*word* of 31 bits with bit 31 set so that the number of ones is odd."""
    return word | (1 - word.bit_count() % 2) << 31


def is_null(scbid: int) -> bool:
    """Whether a 16-bit SCB id names no SCB."""
    return scbid >> 8 == SCB_LIST_NULL_HIGH
