"""SCSI parallel interface: message bytes, and what transfer agreements are as register values.

SPI-4 rev 10, 16 (messages); SCSIRATE codes of Ultra2 and later chips: hw-aic7xxx.md 10.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Msg(IntEnum):
    """Message codes."""

    COMMAND_COMPLETE = 0x00
    EXTENDED = 0x01
    SAVE_POINTERS = 0x02
    RESTORE_POINTERS = 0x03
    DISCONNECT = 0x04
    INITIATOR_DET_ERR = 0x05
    ABORT = 0x06
    MESSAGE_REJECT = 0x07
    NOOP = 0x08
    PARITY_ERROR = 0x09
    BUS_DEVICE_RESET = 0x0C
    ABORT_TAG = 0x0D
    SIMPLE_TAG = 0x20
    IGNORE_WIDE_RESIDUE = 0x23
    IDENTIFY = 0x80


class Ext(IntEnum):
    """Codes of extended messages."""

    SDTR = 0x01
    WDTR = 0x03
    PPR = 0x04


#: Bytes that follow EXTENDED and the length byte.
EXT_LEN: Final = {Ext.SDTR: 3, Ext.WDTR: 2, Ext.PPR: 6}

IDENTIFY_DISC: Final = 0x40
IDENTIFY_LUN: Final = 0x3F
PPR_DT: Final = 0x02
OFFSET_MAX: Final = 0x7F
#: The period factor that goes with offset 0; it has no meaning there.
PERIOD_ASYNC: Final = 0x45
PERIOD_DT: Final = 9
#: Fastest factor without DT.
PERIOD_ST: Final = 10

#: Period factor -> SCSIRATE 4:0 (9: with its DT bit).
RATE_CODES: Final = (
    (9, 0x42), (10, 0x03), (11, 0x04), (12, 0x05), (15, 0x06), (18, 0x07), (25, 0x08), (31, 0x19), (37, 0x1A),
    (43, 0x1B), (50, 0x1C),
)
RATE_WIDE: Final = 0x80
RATE_DT: Final = 0x40
RATE_SINGLE_EDGE: Final = 0x10

