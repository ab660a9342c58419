"""IOASC, the status code of a request: sense key, additional code, qualifier, SCSI status, a byte each.

Success is sense key 0, whatever the rest says.  Names and values: RHEL 4 drivers/scsi/ipr.h (2.0.11.6) and its
error table, as hw-ipr.md section 8.2 gives them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Ioasc(IntEnum):
    """Codes with a meaning of their own; compare with the status byte masked off."""

    GOOD = 0x00000000
    UNDERLENGTH_OK = 0x00330000           # success with information: less moved than was asked for
    RECOVERED = 0x01170000                # one of the 01xxxxxx: recovered by the device or the adapter
    NR_INIT_CMD_REQUIRED = 0x02040200     # start unit needed
    NR_IOA_RESET_REQUIRED = 0x02048000    # the adapter asks for a reset
    SYNC_REQUIRED = 0x023F0000            # the device's queue is frozen
    NR_SHUTTING_DOWN = 0x024E0000
    NR_SHUT_DOWN = 0x025A0000
    MED_REALLOC_ADVISED = 0x03110B00
    MED_DO_NOT_REALLOC = 0x03110C00
    HW_UNDERLENGTH = 0x04330000           # less moved than was asked for, and nobody said that this is fine
    HW_SEL_TIMEOUT = 0x04050000           # the device did not answer selection
    HW_CMD_TIMEOUT = 0x04080100           # the adapter timed the command out
    HW_DEV_PERMANENT = 0x04448200
    HW_FIRMWARE = 0x04448400
    HW_DEV_BUS_STATUS = 0x04448500        # the device returned the SCSI status in the low byte
    HW_RESET_NEEDED = 0x04448600
    IR_INVALID_REQ = 0x05240000           # request type or packet invalid
    IR_RESOURCE_HANDLE = 0x05250000       # no such resource
    IR_NO_CMDS_TO_2ND_IOA = 0x05258100
    BUS_WAS_RESET = 0x06290000            # by us
    BUS_WAS_RESET_BY_OTHER = 0x06298000
    DESCRIPTOR_INVALID = 0x0B260000
    ABORTED_CMD_TERM_BY_HOST = 0x0B5A0000
    # made by the driver
    IOA_WAS_RESET = 0x10000001
    PCI_ACCESS_ERROR = 0x10000002


#: Codes from here on no adapter sends.
FIRST_DRIVER_IOASC: Final = 0x10000000
IOASC_MASK: Final = 0xFFFFFF00
STATUS_MASK: Final = 0x000000FF
KEY_SHIFT: Final = 24


def sense_key(ioasc: int) -> int:
    """0 is success, whatever else stands there."""
    return ioasc >> KEY_SHIFT


def ioasc_name(ioasc: int) -> str:
    """`BUS_WAS_RESET (06290000)`, or the number alone."""
    try:
        name = Ioasc(ioasc if ioasc >= FIRST_DRIVER_IOASC else ioasc & IOASC_MASK).name
    except ValueError:
        return f"{ioasc:08x}"
    return f"{name} ({ioasc:08x})"
