"""Values of registers and scratch bytes, limits of the chip, configuration space.  hw-aic7xxx.md 2 to 4."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Phase(IntEnum):
    """SCSISIGI & E0, and LASTPHASE: the bus phase (3.1).  DT phases carry data on both edges of the clock."""

    DATAOUT = 0x00
    BUSFREE = 0x01          # in LASTPHASE only
    DATAOUT_DT = 0x20
    DATAIN = 0x40
    DATAIN_DT = 0x60
    COMMAND = 0x80
    MESGOUT = 0xA0
    STATUS = 0xC0
    MESGIN = 0xE0


PHASE_MASK: Final = 0xE0
#: Phases that move data.
DATA_PHASES: Final = frozenset((Phase.DATAOUT, Phase.DATAOUT_DT, Phase.DATAIN, Phase.DATAIN_DT))


class SeqInt(IntEnum):
    """INTSTAT & F1 while SEQINT is set (3.4): why the sequencer stopped."""

    BAD_PHASE = 0x01
    SEND_REJECT = 0x11
    PROTO_VIOLATION = 0x21
    NO_MATCH = 0x31
    IGN_WIDE_RES = 0x41
    PDATA_REINIT = 0x51
    HOST_MSG_LOOP = 0x61
    BAD_STATUS = 0x71
    PERR_DETECTED = 0x81
    DATA_OVERRUN = 0x91
    MKMSG_FAILED = 0xA1
    MISSED_BUSFREE = 0xB1
    SCB_MISMATCH = 0xC1
    NO_FREE_SCB = 0xD1
    OUT_OF_RANGE = 0xE1


SEQINT_CODE_MASK: Final = 0xF1


class Answer(IntEnum):
    """RETURN_1 (scratch 51): what the host answers the sequencer that stopped."""

    NOTHING = 0x00
    CONT_MSG_LOOP = 0x04
    EXIT_MSG_LOOP = 0x08
    SEND_REJ = 0x20
    SEND_SENSE = 0x40
    SEND_MSG = 0x80


class MsgOut(IntEnum):
    """MSG_OUT (scratch 3A) where it is no message byte."""

    NOOP = 0x08             # nothing to send
    IDENTIFYFLAG = 0x80     # build IDENTIFY
    HOST_MSG = 0xFF         # ask the host


#: No slot, no tag: the end of every list (scratch 39 to 43, `next`).
NONE: Final = 0xFF
#: What a chip that does not answer gives.
ALL_ONES: Final = 0xFF
#: On-chip SCB slots: hw-aic7xxx.md 2.
SLOTS: Final = 32
SLOT_BYTES: Final = 32
#: Instructions of the program RAM, bytes of each.
SEQRAM_INSTRUCTIONS: Final = 1024
INSTRUCTION_BYTES: Final = 4
#: Instructions [first, last) of the program the host loads in which a list is half linked.
CRITICAL_SECTIONS: Final = ((0x02, 0x06),)

# configuration space (2)
PCI_VENDOR_ID_ADAPTEC2: Final = 0x9005
PCIR_STATUS_HIGH: Final = 0x07
PCIR_CACHE_LINE_SIZE: Final = 0x0C
PCIR_SUBSYSTEM: Final = 0x2C
PCIR_DEVCONFIG: Final = 0x40
#: STATUS, high byte, cleared by writing ones.
STATUS_DPE, STATUS_SSE, STATUS_RMA, STATUS_RTA, STATUS_STA, STATUS_DPR = 0x80, 0x40, 0x20, 0x10, 0x08, 0x01
STATUS_ERRORS: Final = 0xF9
#: DEVCONFIG: no parity errors from us; dual address cycles, without which nothing above 4 GiB is reached.
DEVCONFIG_PCIERRGENDIS: Final = 0x80000000
DEVCONFIG_DACEN: Final = 0x00000004
