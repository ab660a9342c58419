"""Filling a command block: messages, CDB, what a reselection has to prove, data."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DMA_TO_DEVICE

from .adapter import WORD
from .frames import INSN_BYTES, SEGMENTS, Message, TransferInsn
from .program import NO_STATUS, offset
from .scatter import put_segments

if TYPE_CHECKING:
    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiDevice

    from .adapter import Ccb, Hcb

_IDENTIFY: Final = int(Message.IDENTIFY)
_MAY_DISCONNECT: Final = int(Message.IDENTIFY | Message.DISCONNECT_PRIVILEGE)
_SIMPLE_TAG: Final = int(Message.SIMPLE_QUEUE_TAG)
# places in a command block: the per-command path packs them directly
_SELECT, _CDB_BYTES = offset("select"), offset("cdb_bytes")
_MSGOUT_BYTES, _STATUS_BYTE = offset("msgout_bytes"), offset("status_byte")
#: From `select` on: the entries of select, msgout, cdb, status; `next` is the start queue's.
_HEAD: Final = Struct("<8I")
#: From `cdb_bytes` on: CDB, messages, status byte, spare, `moved`, `done`.
_BODY: Final = Struct("<16s8sB15xII")
_RESUME_ID = offset("resume") + INSN_BYTES
_RESUME_LUN = offset("resume") + 3 * INSN_BYTES
#: INT, IF NOT data (bits 7..0) AND MASK (15..8).
_INT_IF_NOT: Final = int(TransferInsn.of(KIND=2, OPCODE=3, COMPARE_DATA=1))
_VALID_ID: Final = 0x80
_TARGET_ROUTINE: Final = 0x40 << 8          # bit of IDENTIFY that does not count


def sym_fill(np: Hcb, ccb: Ccb, scmd: ScsiCmnd, *, tagged: bool) -> bool:
    """Map the data and write the block; false when the list does not fit.  np.lock is held."""
    sdev = scmd.device
    segments: list[tuple[int, int]] = []
    if scmd.request_bufflen:
        ccb.direction = scmd.sc_data_direction
        ccb.mapped = segments = np.kernel.dma_map_sg(np.pdev, scmd.sg, ccb.direction)
        if len(segments) > SEGMENTS:
            np.printk(f"{len(segments)} segments do not fit; sg_tablesize is {SEGMENTS}")
            np.unmap(ccb)
            np.free.append(ccb)
            return False
    ccb.scmd = scmd
    ccb.error = ccb.resid = 0
    ccb.sensing = False
    ccb.nexus = sdev.id, sdev.lun
    ccb.tagged, ccb.without_tag = tagged, not tagged
    write_block(np, ccb, sdev, bytes(scmd.cmnd[:scmd.cmd_len]), disconnect=True)
    ccb.set_data(segments, to_device=ccb.direction == DMA_TO_DEVICE)
    put_segments(np, ccb)
    return True


def write_block(np: Hcb, ccb: Ccb, sdev: ScsiDevice, cdb: bytes, *, disconnect: bool) -> None:
    """Everything of a block but its data."""
    view, at, address = np.view, ccb.offset, ccb.address
    target, lun = sdev.id, sdev.lun
    identify = (_MAY_DISCONNECT if disconnect else _IDENTIFY) | lun
    messages = bytes((identify, _SIMPLE_TAG, ccb.tag)) if ccb.tagged else bytes((identify,))
    _HEAD.pack_into(view, at + _SELECT, np.scntl3 << 24 | target << 16, 0, len(messages), address + _MSGOUT_BYTES,
                    len(cdb), address + _CDB_BYTES, 1, address + _STATUS_BYTE)
    _BODY.pack_into(view, at + _CDB_BYTES, cdb, messages, NO_STATUS, 0, 0)
    WORD.pack_into(view, at + _RESUME_ID, _INT_IF_NOT | _VALID_ID | target)
    WORD.pack_into(view, at + _RESUME_LUN, _INT_IF_NOT | _TARGET_ROUTINE | _IDENTIFY | lun)
