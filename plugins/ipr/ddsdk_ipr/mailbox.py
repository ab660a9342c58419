"""Reading the adapter's memory through MAILBOX: the buffer that a unit check leaves.

hw-ipr.md section 9.  Word by word, each acknowledged by DBG_ACK in INT within 200 ms.  For the kernel log only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_BE

from .regs import ALL_ONES, DBG_ACK, DBG_ALERT, RESET_ALERT
from .tables import (
    FMT2_ADDR_MASK,
    FMT2_BAR_SHIFT,
    FMT2_BARS,
    HCAM_BYTES,
    SDT_READY_TO_USE,
    SDT_VALID_ENTRY,
    Hcam,
    HcamError,
    SdtEntry,
    SdtHeader,
)

if TYPE_CHECKING:
    from .adapter import IprIoaCfg

_ACK_US: Final = 200_000
#: How much of that goes by between looks at the watchdog.
_LONGEST_DELAY_US: Final = 1000
_ALERT_STEP_US: Final = 10
_HEADER, _ENTRY = SdtHeader.on(WIRE_BE), SdtEntry.on(WIRE_BE)
_TABLE_BYTES: Final = _HEADER.size + _ENTRY.size
_SMALLEST_BYTES: Final = Hcam.on(WIRE_BE).size + HcamError.on(WIRE_BE).size


def ipr_get_unit_check_buffer(ioa_cfg: IprIoaCfg) -> bytes | None:
    """Read and log the error buffer; None when there is none to be had.  Busy-waits, any context."""
    mailbox = ioa_cfg.kernel.readl(ioa_cfg.hdw_dma_regs, ioa_cfg.regs.MAILBOX)
    if not _sdt_is_fmt2(mailbox):
        ioa_cfg.printk(f"MAILBOX {mailbox:08x} is no address of a unit check buffer")
        return None
    table = ipr_get_ldump_data_section(ioa_cfg, mailbox, _TABLE_BYTES // 4)
    if table is None:
        ioa_cfg.printk("the adapter's memory cannot be read")
        return None
    header, entry = _HEADER.unpack(table), _ENTRY.unpack(table, _HEADER.size)
    if header.state != SDT_READY_TO_USE or not entry.flags & SDT_VALID_ENTRY:
        ioa_cfg.printk(f"the unit check buffer is not valid (state {header.state:08x}, flags {entry.flags:02x})")
        return None
    nbytes = min((entry.end_offset - entry.bar_str_offset) & FMT2_ADDR_MASK, HCAM_BYTES) & ~3
    if nbytes < _SMALLEST_BYTES:
        ioa_cfg.printk(f"the unit check buffer has {nbytes} bytes, too few for an entry")
        return None
    return ipr_get_ldump_data_section(ioa_cfg, entry.bar_str_offset, nbytes // 4)


def _sdt_is_fmt2(address: int) -> bool:
    """int ipr_sdt_is_fmt2(u32): an address of format 2, in a BAR that there can be."""
    return bool(address) and address >> FMT2_BAR_SHIFT in FMT2_BARS


def ipr_get_ldump_data_section(ioa_cfg: IprIoaCfg, address: int, words: int) -> bytes | None:
    """*words* of the adapter's memory from *address* on, big-endian; None when it stops answering."""
    kernel, window, regs = ioa_cfg.kernel, ioa_cfg.hdw_dma_regs, ioa_cfg.regs
    kernel.writel(RESET_ALERT | DBG_ALERT, window, regs.UPROC_SET)
    if not _wait_iodbg_ack(ioa_cfg):
        return None
    kernel.writel(DBG_ACK, window, regs.INT_CLR)
    kernel.writel(address, window, regs.MAILBOX)
    kernel.writel(RESET_ALERT, window, regs.UPROC_CLR)
    out = bytearray()
    for number in range(words):
        if not _wait_iodbg_ack(ioa_cfg):
            return None
        out += kernel.readl(window, regs.MAILBOX).to_bytes(4)
        if number + 1 < words:
            kernel.writel(DBG_ACK, window, regs.INT_CLR)
    kernel.writel(RESET_ALERT, window, regs.UPROC_SET)
    kernel.writel(DBG_ALERT, window, regs.UPROC_CLR)
    kernel.writel(DBG_ACK, window, regs.INT_CLR)
    _wait_alert_dropped(ioa_cfg)
    return bytes(out)


def _wait_iodbg_ack(ioa_cfg: IprIoaCfg) -> bool:
    """int ipr_wait_iodbg_ack(struct ipr_ioa_cfg *, int): looked for after 1, 2, 4 ... us."""
    kernel = ioa_cfg.kernel
    waited_us, delay_us = 0, 1
    while waited_us < _ACK_US:
        int_reg = kernel.readl(ioa_cfg.hdw_dma_regs, ioa_cfg.regs.INT)
        if int_reg == ALL_ONES:
            return False
        if int_reg & DBG_ACK:
            return True
        kernel.udelay(delay_us)
        kernel.touch_nmi_watchdog()
        waited_us += delay_us
        delay_us = min(2 * delay_us, _LONGEST_DELAY_US)
    return False


def _wait_alert_dropped(ioa_cfg: IprIoaCfg) -> None:
    """The adapter takes RESET_ALERT back; that it does not in time changes nothing."""
    kernel = ioa_cfg.kernel
    for _ in range(_ACK_US // _ALERT_STEP_US):
        if not kernel.readl(ioa_cfg.hdw_dma_regs, ioa_cfg.regs.UPROC) & RESET_ALERT:
            return
        kernel.udelay(_ALERT_STEP_US)
