"""Request blocks: filled in, sent, watched by a timer.

hw-ipr.md sections 3 and 8.1; RHEL 4 drivers/scsi/ipr.c (2.0.11.6) for flags and order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_BE
from ddsdk.helperlib.kernel import DMA_TO_DEVICE

from .frames import (
    IOA_RES_HANDLE,
    IOADL_FLAGS_SHIFT,
    MAX_SGLIST,
    FlagsHi,
    FlagsLo,
    IoadlFlags,
    IoaOpcode,
    Ioarcb,
    RequestType,
)

if TYPE_CHECKING:
    from ddsdk.scsi.cmnd import ScsiCmnd

    from .adapter import Done, IprCmnd, IprIoaCfg, Resource

_IOARCB: Final = Ioarcb.on(WIRE_BE)
_pack: Final = _IOARCB.struct.pack_into
_ADD_DATA: Final = _IOARCB.offsetof("add_data")
_HANDLE_AT: Final = _IOARCB.offsetof("host_response_handle")
_WORD: Final = Struct(">I")
_DESCRIPTORS: Final = tuple(Struct(f">{2 * count}I") for count in range(MAX_SGLIST + 1))
_DESCRIPTOR_BYTES: Final = 8
_READ: Final = int(IoadlFlags.READ) << IOADL_FLAGS_SHIFT
_WRITE: Final = int(IoadlFlags.WRITE) << IOADL_FLAGS_SHIFT
_LAST: Final = int(IoadlFlags.LAST) << IOADL_FLAGS_SHIFT
#: The part of an IOASA that every submission zeroes: status code, lengths, residual.
_NO_STATUS: Final = bytes(12)

_HI_WRITE: Final = int(FlagsHi.WRITE_NOT_READ)
_HI_NO_ULEN: Final = int(FlagsHi.NO_ULEN_CHK)
_HI_SYNC: Final = int(FlagsHi.SYNC_COMPLETE)
_HI_ALWAYS: Final = int(FlagsHi.NO_LINK_DESC)
_LO_ALWAYS: Final = int(FlagsLo.ALIGNED_BFR | FlagsLo.DELAY_AFTER_RST)
_LO_SIMPLE: Final = int(FlagsLo.SIMPLE_TASK)
_LO_UNTAGGED: Final = int(FlagsLo.UNTAGGED_TASK)
_FIRST_IOA_OPCODE: Final = 0xC0
_SCSICDB, _IOACMD = int(RequestType.SCSICDB), int(RequestType.IOACMD)


def ipr_build_scsi(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, scmd: ScsiCmnd, res: Resource) -> bool:
    """Map the data and fill in the request block; false when there are more segments than descriptors."""
    nbytes = scmd.request_bufflen
    write = False
    segments: Sequence[tuple[int, int]] = ()
    if nbytes:
        direction = ipr_cmd.direction = scmd.sc_data_direction
        write = direction == DMA_TO_DEVICE
        ipr_cmd.mapped = segments = ioa_cfg.dma_map_sg(ioa_cfg.pdev, scmd.sg, direction)
        if len(segments) > MAX_SGLIST:
            return False
    flags_hi = _HI_WRITE | _HI_ALWAYS if write else _HI_ALWAYS
    if not scmd.underflow:
        flags_hi |= _HI_NO_ULEN
    if res.needs_sync_complete and not res.in_erp:
        res.needs_sync_complete = False
        flags_hi |= _HI_SYNC
    flags_lo = _LO_ALWAYS | (_LO_SIMPLE if scmd.device.tagged_supported else _LO_UNTAGGED)
    opcode = scmd.cmnd[0]
    adapters = opcode >= _FIRST_IOA_OPCODE and (not res.is_gscsi or opcode == IoaOpcode.QUERY_RSRC_STATE)
    _fill(ioa_cfg, ipr_cmd, res.handle, _IOACMD if adapters else _SCSICDB, flags_hi, flags_lo, scmd.cmnd, 0, nbytes,
          write, segments)
    return True


def _fill(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, res_handle: int, request_type: int, flags_hi: int, flags_lo: int,
          cdb: bytes | bytearray, timeout_s: int, nbytes: int, write: bool,
          segments: Sequence[tuple[int, int]]) -> None:
    """The request block as the adapter will read it, its descriptors, and a status area that says nothing yet."""
    count = len(segments)
    ioadl, inside = ipr_cmd.ioadl_bus_addr, b""
    if count:
        words = _descriptors(segments, _WRITE if write else _READ)
        if count <= ioa_cfg.layout.inline_ioadls:
            inside = _DESCRIPTORS[count].pack(*words)
            ioadl = ipr_cmd.bus_addr + _ADD_DATA
        else:
            _DESCRIPTORS[count].pack_into(ioa_cfg.view, ipr_cmd.ioadl_offset, *words)
    list_bytes = count * _DESCRIPTOR_BYTES
    to, back = (nbytes, 0) if write else (0, nbytes)
    to_list, back_list = (list_bytes, 0) if write else (0, list_bytes)
    _pack(ioa_cfg.view, ipr_cmd.ioarcb_offset, ipr_cmd.bus_addr, res_handle, ioa_cfg.next_handle(ipr_cmd), to, back,
          ioadl, to_list, ioadl, back_list, ipr_cmd.ioasa_bus_addr, ioa_cfg.layout.ioasa_bytes, request_type, 0,
          flags_hi, flags_lo, cdb, timeout_s, 0, inside)
    at = ipr_cmd.ioasa_offset
    ioa_cfg.view[at:at + 12] = _NO_STATUS


def _descriptors(segments: Sequence[tuple[int, int]], flags: int) -> list[int]:
    words: list[int] = []
    for address, length in segments:
        words += (flags | length, address)
    words[-2] |= _LAST
    return words


def ipr_send_command(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd) -> None:
    """Hand the block to the adapter; its response may come from here on."""
    ipr_cmd.pending = ipr_cmd.held = True
    ioa_cfg.writel(ipr_cmd.bus_addr, ioa_cfg.hdw_dma_regs, ioa_cfg.ioarrin_at)


# -- commands of the driver's own ----------------------------------------------------------------------------


def ipr_ioa_request(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, request_type: RequestType, cdb: bytes,
                    buffer: tuple[int, int] = (0, 0), *, write: bool = False, res_handle: int = IOA_RES_HANDLE,
                    flags_hi: int = 0, timeout_s: int = 0) -> None:
    """Fill in a request of the driver's own: *buffer* is (bus address, bytes)."""
    segments = (buffer,) if buffer[1] else ()
    _fill(ioa_cfg, ipr_cmd, res_handle, request_type, flags_hi | (_HI_WRITE if write else 0), 0, cdb.ljust(16, b"\0"),
          timeout_s, buffer[1], write, segments)


def ipr_do_req(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, done: Done, timeout: Callable[[IprCmnd], None],
               timeout_ms: int) -> None:
    """Send a block that is filled in: *done* when it ends, *timeout* in timer context when it does not in time."""
    ipr_cmd.done = done
    ipr_arm(ioa_cfg, ipr_cmd, timeout, timeout_ms)
    ipr_send_command(ioa_cfg, ipr_cmd)


def ipr_arm(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, function: Callable[[IprCmnd], None], ms: int) -> None:
    """(Re-)arm the block's timer."""
    kernel, timer = ioa_cfg.kernel, ipr_cmd.timer
    kernel.del_timer(timer)
    timer.function = function
    ipr_cmd.timed = True
    kernel.mod_timer(timer, kernel.jiffies + kernel.msecs_to_jiffies(ms))
