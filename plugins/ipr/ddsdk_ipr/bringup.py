"""The reset job's second half: from a chip that nobody started to one that takes commands.

hw-ipr.md section 6.2; the numbers are its steps.  Each is one request through the job's block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_BE

from .command import ipr_arm, ipr_do_req, ipr_ioa_request
from .frames import NUM_CMD_BLKS, IoaOpcode, RequestType
from .hcam import ipr_send_hcams
from .ioasc import IOASC_MASK, Ioasc, ioasc_name, sense_key
from .job import ipr_job_request, ipr_reset_failed, ipr_reset_ioa_job, ipr_reset_over, ipr_timeout
from .regs import ALL_ONES, ERROR_INTERRUPTS, OPER_INTERRUPTS, RUNTIME_RESET, START, TO_OPER
from .resources import ipr_add_resource
from .tables import (
    CONFIG_HDR_BYTES,
    CONFIG_TABLE_BYTES,
    EXTENDED_RESET_DELAY,
    IS_IOA_RESOURCE,
    MODE_PAGE_28,
    MODE_PAGES_BYTES,
    UCODE_DOWNLOAD_REQ,
    ConfigTableEntry,
    ConfigTableHdr,
    DevBusEntry,
    InquiryPage3,
    ModePage28,
    ModeParmHdr,
    StdInqData,
    SupportedDevice,
)

if TYPE_CHECKING:
    from .adapter import IprCmnd, IprIoaCfg

_INTERNAL_MS: Final = 30_000
_SET_SUP_DEVICE_MS: Final = 120_000
_OPERATIONAL_MS: Final = 300_000

_INQUIRY, _MODE_SENSE, _MODE_SELECT = 0x12, 0x1A, 0x15
_STD_INQUIRY_BYTES, _PAGE_BYTES = 100, 24
_EVPD: Final = 0x01
_SAVE_PAGES: Final = 0x11
_CARD_AT: Final = StdInqData.on(WIRE_BE).offsetof("product_id")
_CARD_CHARS: Final = 4
_PAGE3 = InquiryPage3.on(WIRE_BE)
_HDR = ConfigTableHdr.on(WIRE_BE)
_ENTRY = ConfigTableEntry.on(WIRE_BE)
_MODE_HDR = ModeParmHdr.on(WIRE_BE)
_PAGE28 = ModePage28.on(WIRE_BE)
_BUS = DevBusEntry.on(WIRE_BE)
_SUPPORTED = SupportedDevice.on(WIRE_BE)


def ipr_reset_enable_ioa(ioa_cfg: IprIoaCfg) -> bool:
    """Steps 1 to 3: an empty queue, then start the firmware, unless it is operational already."""
    kernel, window, regs = ioa_cfg.kernel, ioa_cfg.hdw_dma_regs, ioa_cfg.regs
    ipr_init_ioa_mem(ioa_cfg)
    ioa_cfg.job_step = ipr_ioafp_identify_hrrq
    int_reg = kernel.readl(window, regs.INT)
    if int_reg == ALL_ONES or int_reg & ERROR_INTERRUPTS:
        return ipr_reset_failed(ioa_cfg, f"INT {int_reg:08x} right after the reset")
    if int_reg & TO_OPER:
        ioa_cfg.waits_for_oper = False
        _unmask(ioa_cfg, OPER_INTERRUPTS & ~TO_OPER)
        return True
    ioa_cfg.waits_for_oper = True
    kernel.writel(START | (RUNTIME_RESET if ioa_cfg.was_started else 0), window, regs.UPROC_SET)
    ipr_arm(ioa_cfg, ioa_cfg.reset_cmd, _oper_timeout, _OPERATIONAL_MS)
    _unmask(ioa_cfg, OPER_INTERRUPTS)
    return False


def _unmask(ioa_cfg: IprIoaCfg, bits: int) -> None:
    """Let interrupts through.  In crash mode none: the poll reads INT, which shows them before masking."""
    kernel, window = ioa_cfg.kernel, ioa_cfg.hdw_dma_regs
    if not kernel.crashdump_mode():
        ioa_cfg.allow_interrupts = True
        kernel.writel(bits, window, ioa_cfg.regs.MASK_CLR)
    kernel.readl(window, ioa_cfg.regs.INT)


def _oper_timeout(ipr_cmd: IprCmnd) -> None:
    ipr_cmd.timed = False
    ipr_reset_failed(ipr_cmd.ioa_cfg, f"not operational {_OPERATIONAL_MS // 1000} s after it was started")


def ipr_init_ioa_mem(ioa_cfg: IprIoaCfg) -> None:
    """Step 1: no response from a life before is taken for one of this."""
    view, hrrq, table = ioa_cfg.view, ioa_cfg.hrrq_offset, ioa_cfg.cfg_table_offset
    view[hrrq:hrrq + 4 * NUM_CMD_BLKS] = bytes(4 * NUM_CMD_BLKS)
    ioa_cfg.hrrq_curr, ioa_cfg.toggle_bit = 0, 1
    ioa_cfg.distrusted = False
    view[table:table + CONFIG_TABLE_BYTES] = bytes(CONFIG_TABLE_BYTES)


def ipr_ioafp_identify_hrrq(ioa_cfg: IprIoaCfg) -> bool:
    """Step 5: where the queue is.  Its first entry says that this went well."""
    ioa_cfg.job_step = ipr_ioafp_std_inquiry
    ioa_cfg.hrrq_live = True
    ipr_ioa_request(ioa_cfg, ioa_cfg.reset_cmd, RequestType.IOACMD, ipr_id_hrrq_cdb(ioa_cfg.hrrq_bus_addr))
    return ipr_job_request(ioa_cfg, _INTERNAL_MS)


def ipr_id_hrrq_cdb(hrrq_bus_addr: int) -> bytes:
    """ID HOST RR Q for a queue at *hrrq_bus_addr*."""
    return bytes((IoaOpcode.ID_HOST_RR_Q, 0)) + hrrq_bus_addr.to_bytes(4) + bytes(1) + (4 * NUM_CMD_BLKS).to_bytes(2)


def _inquiry(ioa_cfg: IprIoaCfg, flags: int, page: int, nbytes: int) -> bool:
    at = ioa_cfg.buffer_offset
    ioa_cfg.view[at:at + nbytes] = bytes(nbytes)
    ipr_ioa_request(ioa_cfg, ioa_cfg.reset_cmd, RequestType.SCSICDB, bytes((_INQUIRY, flags, page, 0, nbytes, 0)),
                    (ioa_cfg.buffer_bus_addr, nbytes))
    return ipr_job_request(ioa_cfg, _INTERNAL_MS)


def ipr_ioafp_std_inquiry(ioa_cfg: IprIoaCfg) -> bool:
    """Step 6: which card this is."""
    ioa_cfg.job_step = ipr_ioafp_page3_inquiry
    return _inquiry(ioa_cfg, 0, 0, _STD_INQUIRY_BYTES)


def ipr_ioafp_page3_inquiry(ioa_cfg: IprIoaCfg) -> bool:
    """Step 8: its firmware.  (Step 7 and 9, pages 0 and D0, say whether there is a second adapter.)"""
    at = ioa_cfg.buffer_offset + _CARD_AT
    card = bytes(ioa_cfg.view[at:at + _CARD_CHARS])
    try:
        ioa_cfg.type = int(card, 16)
    except ValueError:
        return ipr_reset_failed(ioa_cfg, f"product id begins {card!r}, which is no card type")
    ioa_cfg.job_step = ipr_ioafp_query_ioa_cfg
    return _inquiry(ioa_cfg, _EVPD, 3, _PAGE_BYTES)


def ipr_ioafp_query_ioa_cfg(ioa_cfg: IprIoaCfg) -> bool:
    """Step 10: what is behind it."""
    page = _PAGE3.unpack(bytes(ioa_cfg.view[ioa_cfg.buffer_offset:ioa_cfg.buffer_offset + _PAGE_BYTES]))
    ioa_cfg.firmware = page.major_release << 24 | page.card_type << 16 | int.from_bytes(page.minor_release)
    ioa_cfg.job_step = ipr_init_res_table
    cdb = bytes((IoaOpcode.QUERY_IOA_CONFIG,)) + bytes(6) + CONFIG_TABLE_BYTES.to_bytes(2)
    ipr_ioa_request(ioa_cfg, ioa_cfg.reset_cmd, RequestType.IOACMD, cdb,
                    (ioa_cfg.cfg_table_bus_addr, CONFIG_TABLE_BYTES))
    return ipr_job_request(ioa_cfg, _INTERNAL_MS)


def ipr_init_res_table(ioa_cfg: IprIoaCfg) -> bool:
    """The table as resources; handles of before the reset mean nothing any more."""
    view, at = ioa_cfg.view, ioa_cfg.cfg_table_offset
    header = _HDR.unpack(bytes(view[at:at + CONFIG_HDR_BYTES]))
    if header.flags & UCODE_DOWNLOAD_REQ:
        ioa_cfg.printk("the adapter wants new microcode")
    ioa_cfg.resources.clear()
    ioa_cfg.unsupported = []
    for number in range(header.num_entries):
        start = at + CONFIG_HDR_BYTES + number * _ENTRY.size
        entry = _ENTRY.unpack(bytes(view[start:start + _ENTRY.size]))
        if not entry.flags & IS_IOA_RESOURCE:
            res = ipr_add_resource(ioa_cfg, entry)
            if res.is_gscsi:
                ioa_cfg.unsupported.append(res)
    ioa_cfg.job_step = ipr_ioafp_mode_sense_page28
    return True


def ipr_ioafp_mode_sense_page28(ioa_cfg: IprIoaCfg) -> bool:
    """Step 11: the attributes of the SCSI buses.  An adapter without the page has none to set."""
    ioa_cfg.job_step = ipr_ioafp_mode_select_page28
    at = ioa_cfg.buffer_offset
    ioa_cfg.view[at:at + MODE_PAGES_BYTES] = bytes(MODE_PAGES_BYTES)
    ipr_ioa_request(ioa_cfg, ioa_cfg.reset_cmd, RequestType.SCSICDB,
                    bytes((_MODE_SENSE, 0, MODE_PAGE_28, 0, MODE_PAGES_BYTES, 0)),
                    (ioa_cfg.buffer_bus_addr, MODE_PAGES_BYTES))
    ipr_do_req(ioa_cfg, ioa_cfg.reset_cmd, _mode_sense_done, ipr_timeout, _INTERNAL_MS)
    return False


def _mode_sense_done(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd) -> None:
    ioasc = ioa_cfg.word(ipr_cmd.ioasa_offset)
    if ioasc & IOASC_MASK == Ioasc.IR_INVALID_REQ:
        ioa_cfg.job_step = ipr_set_supported_devs
    elif sense_key(ioasc):
        ipr_reset_failed(ioa_cfg, f"MODE SENSE of page 28 failed: {ioasc_name(ioasc)}")
        return
    ipr_reset_ioa_job(ioa_cfg)


def ipr_ioafp_mode_select_page28(ioa_cfg: IprIoaCfg) -> bool:
    """Step 12: the same attributes, with our delay after a bus reset."""
    view, at = ioa_cfg.view, ioa_cfg.buffer_offset
    nbytes = view[at] + 1
    data = bytearray(view[at:at + min(nbytes, MODE_PAGES_BYTES)])
    page_at = _MODE_HDR.size + data[3]
    if len(data) < page_at + _PAGE28.size or data[page_at] & 0x3F != MODE_PAGE_28:
        return ipr_reset_failed(ioa_cfg, f"MODE SENSE gave {nbytes} bytes without page 28")
    page = _PAGE28.unpack(bytes(data), page_at)
    data[:_MODE_HDR.size] = bytes(_MODE_HDR.size)
    data[page_at] = MODE_PAGE_28                            # PS is reserved in MODE SELECT
    delay_at = page_at + _PAGE28.size + _BUS.offsetof("extended_reset_delay")
    for number in range(page.num_entries):
        where = delay_at + number * page.entry_length
        if where < len(data):
            data[where] = EXTENDED_RESET_DELAY
    view[at:at + len(data)] = data
    ioa_cfg.job_step = ipr_set_supported_devs
    ipr_ioa_request(ioa_cfg, ioa_cfg.reset_cmd, RequestType.SCSICDB,
                    bytes((_MODE_SELECT, _SAVE_PAGES, 0, 0, len(data), 0)), (ioa_cfg.buffer_bus_addr, len(data)),
                    write=True)
    return ipr_job_request(ioa_cfg, _INTERNAL_MS)


def ipr_set_supported_devs(ioa_cfg: IprIoaCfg) -> bool:
    """Step 13, once for each SCSI disk."""
    if not ioa_cfg.unsupported:
        ioa_cfg.job_step = ipr_ioa_reset_done
        return True
    res = ioa_cfg.unsupported.pop(0)
    at = ioa_cfg.buffer_offset
    ioa_cfg.view[at:at + _SUPPORTED.size] = _SUPPORTED.pack(SupportedDevice(
        data_length=_SUPPORTED.size, num_records=1, vendor_id=res.vendor_id, product_id=res.product_id))
    cdb = bytes((IoaOpcode.SET_SUPPORTED_DEVICES,)) + bytes(6) + _SUPPORTED.size.to_bytes(2)
    ipr_ioa_request(ioa_cfg, ioa_cfg.reset_cmd, RequestType.IOACMD, cdb,
                    (ioa_cfg.buffer_bus_addr, _SUPPORTED.size), write=True)
    return ipr_job_request(ioa_cfg, _SET_SUP_DEVICE_MS)


def ipr_ioa_reset_done(ioa_cfg: IprIoaCfg) -> bool:
    """READY, step 14: open for commands."""
    ioa_cfg.reset_retries = 0
    ioa_cfg.was_started = True
    ioa_cfg.resets += 1
    ioa_cfg.allow_cmds = True
    ipr_send_hcams(ioa_cfg)
    ipr_reset_over(ioa_cfg)
    return False
