"""struct scsi_cmnd and the numbers a command's result is made of.

Source: `include/scsi/scsi.h`, `include/scsi/scsi_cmnd.h`, `include/linux/dma-mapping.h` (2.6.9).
`result = driver byte << 24 | host byte << 16 | message byte << 8 | SAM status`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from ddsdk.helperlib.dma import DMA_BIDIRECTIONAL as DMA_BIDIRECTIONAL
from ddsdk.helperlib.dma import DMA_FROM_DEVICE as DMA_FROM_DEVICE
from ddsdk.helperlib.dma import DMA_TO_DEVICE as DMA_TO_DEVICE

from ..block.pieces import ScatterList as ScatterList

if TYPE_CHECKING:
    from .host import ScsiDevice

# host byte: what the low-level driver has to say
DID_OK: Final = 0x00
DID_NO_CONNECT: Final = 0x01
DID_BUS_BUSY: Final = 0x02
DID_TIME_OUT: Final = 0x03
DID_BAD_TARGET: Final = 0x04
DID_ABORT: Final = 0x05
DID_PARITY: Final = 0x06
DID_ERROR: Final = 0x07
DID_RESET: Final = 0x08
DID_BAD_INTR: Final = 0x09
DID_PASSTHROUGH: Final = 0x0A
DID_SOFT_ERROR: Final = 0x0B
DID_IMM_RETRY: Final = 0x0C
DID_REQUEUE: Final = 0x0D

DID_NAMES: Final = (
    "DID_OK", "DID_NO_CONNECT", "DID_BUS_BUSY", "DID_TIME_OUT", "DID_BAD_TARGET", "DID_ABORT", "DID_PARITY",
    "DID_ERROR", "DID_RESET", "DID_BAD_INTR", "DID_PASSTHROUGH", "DID_SOFT_ERROR", "DID_IMM_RETRY",
    "DID_REQUEUE",
)

# driver byte
DRIVER_OK: Final = 0x00
DRIVER_BUSY: Final = 0x01
DRIVER_SOFT: Final = 0x02
DRIVER_MEDIA: Final = 0x03
DRIVER_ERROR: Final = 0x04
DRIVER_INVALID: Final = 0x05
DRIVER_TIMEOUT: Final = 0x06
DRIVER_HARD: Final = 0x07
DRIVER_SENSE: Final = 0x08

# status byte, SAM-2 5.3.1
SAM_STAT_GOOD: Final = 0x00
SAM_STAT_CHECK_CONDITION: Final = 0x02
SAM_STAT_CONDITION_MET: Final = 0x04
SAM_STAT_BUSY: Final = 0x08
SAM_STAT_INTERMEDIATE: Final = 0x10
SAM_STAT_INTERMEDIATE_CONDITION_MET: Final = 0x14
SAM_STAT_RESERVATION_CONFLICT: Final = 0x18
SAM_STAT_COMMAND_TERMINATED: Final = 0x22
SAM_STAT_TASK_SET_FULL: Final = 0x28
SAM_STAT_ACA_ACTIVE: Final = 0x30
SAM_STAT_TASK_ABORTED: Final = 0x40

# what queuecommand and the error handlers return
SCSI_MLQUEUE_HOST_BUSY: Final = 0x1055
SCSI_MLQUEUE_DEVICE_BUSY: Final = 0x1056
SUCCESS: Final = 0x2002
FAILED: Final = 0x2003

# enum dma_data_direction
DMA_NONE: Final = 3     # the other three are the helper library's

MAX_COMMAND_SIZE: Final = 16
SCSI_SENSE_BUFFERSIZE: Final = 96

_ZERO_SENSE: Final = bytes(SCSI_SENSE_BUFFERSIZE)


class ScsiCmnd:
    """One SCSI command on its way through a host adapter driver.

    `cmnd` is 16 bytes, zero past `cmd_len`.  `sg` holds physical addresses; the driver maps them (dma_map_sg)
    and never looks at the data.  `request_bufflen` is their sum.  `sense_buffer` receives autosense.  The
    driver sets `result` and `resid` (bytes of request_bufflen that did not move) and calls `scsi_done(scmd)`
    once. `host_scribble` is the driver's.  The mid-layer reuses ScsiCmnd objects; `serial_number` tells the
    uses apart.
    """

    __slots__ = (
        "allowed", "cmd_len", "cmnd", "device", "done", "host_scribble", "request_bufflen", "resid", "result",
        "retries", "sc_data_direction", "scsi_done", "sense_buffer", "serial_number", "sg", "tag",
        "timeout_per_command", "underflow",
    )

    def __init__(self, device: ScsiDevice) -> None:
        self.device = device
        self.cmnd = bytearray(MAX_COMMAND_SIZE)
        self.cmd_len = 0
        self.sc_data_direction: int = DMA_NONE
        self.request_bufflen = 0
        self.underflow = 0              # bytes that must move at least
        self.sg: ScatterList = ()
        self.sense_buffer = bytearray(SCSI_SENSE_BUFFERSIZE)
        self.result = 0
        self.resid = 0
        self.retries = 0
        self.allowed = 5
        self.timeout_per_command = 0    # jiffies
        self.tag = 0
        self.serial_number = 0
        self.scsi_done: Callable[[ScsiCmnd], None] = ignore_completion
        self.host_scribble: Any = None
        self.done = True                # nothing is outstanding

    def set_cdb(self, cdb: bytes) -> None:
        """Replace the command bytes; zero-fills to 16."""
        self.cmd_len = len(cdb)
        self.cmnd[:] = cdb.ljust(MAX_COMMAND_SIZE, b"\0")

    def clear_sense(self) -> None:
        """Zero the sense buffer in place (the driver may hold its address)."""
        self.sense_buffer[:] = _ZERO_SENSE

    def __repr__(self) -> str:
        return (f"<ScsiCmnd {self.serial_number} cdb={self.cmnd[:self.cmd_len].hex(' ')}"
                f" result={self.result:#010x} done={self.done}>")


def ignore_completion(_scmd: ScsiCmnd) -> None:
    """The completion of a command nobody waits for."""


def end_cmds(scmds: Iterable[ScsiCmnd], host_byte: int) -> None:
    """Tell the mid-layer that *scmds* ended with *host_byte* (DID_...) and moved nothing.  No driver lock is held."""
    for scmd in scmds:
        scmd.result = host_byte << 16
        scmd.resid = scmd.request_bufflen
        scmd.scsi_done(scmd)


def host_byte(result: int) -> int:
    """DID_* of a result."""
    return (result >> 16) & 0xFF


def status_byte(result: int) -> int:
    """SAM_STAT_* of a result."""
    return result & 0xFF


def did_name(host: int) -> str:
    """`DID_RESET`, or the number in hex."""
    return DID_NAMES[host] if host < len(DID_NAMES) else f"DID {host:#04x}"
