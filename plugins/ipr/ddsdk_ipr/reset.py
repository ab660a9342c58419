"""The reset job's first half: tell the firmware, BIST, configuration space as it was.

hw-ipr.md section 10; the words in capitals are its steps.  bringup.py has the second half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.bus import (
    PCI_BASE_ADDRESS_0,
    PCI_BIST,
    PCI_BIST_CODE,
    PCI_BIST_START,
    PCI_COMMAND,
    PCI_COMMAND_MEMORY,
    PCI_VENDOR_ID,
)

from .command import ipr_do_req, ipr_ioa_request
from .frames import IoaOpcode, RequestType, ShutdownType
from .hcam import ipr_log_buffer
from .job import (
    ipr_fail_all_ops,
    ipr_ioa_gone,
    ipr_job_end,
    ipr_reset_failed,
    ipr_reset_ioa_job,
    ipr_reset_start_timer,
    ipr_stop_job,
)
from .mailbox import ipr_get_unit_check_buffer
from .regs import ALL_ONES, CRIT_OP, PCI_X_CMD, RESET_ALERT

if TYPE_CHECKING:
    from .adapter import IprCmnd, IprIoaCfg

_SHUTDOWN_MS: Final = {ShutdownType.NORMAL: 600_000, ShutdownType.PREPARE_FOR_NORMAL: 30_000,
                       ShutdownType.ABBREV: 10_000}
_CHECK_FOR_RESET_MS: Final = 100
_WAIT_FOR_RESET_MS: Final = 2000
_BIST_MS: Final = 2000
_CONFIG_DWORDS: Final = 64
_CONFIG_HEADER: Final = range(PCI_BASE_ADDRESS_0 // 4, 16)
_BIST_DWORD: Final = PCI_BIST // 4
#: What restoring writes to that dword: not the BIST byte, which would begin another one.
_BIST_DWORD_MASK: Final = 0x00FFFFFF


def ipr_reset_shutdown_ioa(ioa_cfg: IprIoaCfg) -> bool:
    """SHUTDOWN: tell the firmware, if it listens.  Whatever it answers, the reset goes on."""
    ioa_cfg.job_step = ipr_reset_alert
    listens = ioa_cfg.hrrq_live and not ioa_cfg.distrusted and not ioa_cfg.reset_cmd.held
    if ioa_cfg.shutdown_type is ShutdownType.NONE or not listens:
        return True
    ipr_ioa_request(ioa_cfg, ioa_cfg.reset_cmd, RequestType.IOACMD,
                    bytes((IoaOpcode.IOA_SHUTDOWN, ioa_cfg.shutdown_type)))
    ipr_do_req(ioa_cfg, ioa_cfg.reset_cmd, lambda ioa, _ipr_cmd: ipr_reset_ioa_job(ioa), _shutdown_timeout,
               _SHUTDOWN_MS[ioa_cfg.shutdown_type])
    return False


def _shutdown_timeout(ipr_cmd: IprCmnd) -> None:
    ioa_cfg = ipr_cmd.ioa_cfg
    ioa_cfg.printk("the shutdown command got no answer")
    ipr_stop_job(ioa_cfg)
    ipr_reset_ioa_job(ioa_cfg)


def ipr_reset_alert(ioa_cfg: IprIoaCfg) -> bool:
    """ALERT: mask everything and say that a reset is coming, if there is somebody to hear it."""
    kernel, regs = ioa_cfg.kernel, ioa_cfg.regs
    ioa_cfg.job_step = ipr_reset_start_bist
    ioa_cfg.allow_interrupts = ioa_cfg.hrrq_live = False
    if kernel.pci_read_config_word(ioa_cfg.pdev, PCI_COMMAND) & PCI_COMMAND_MEMORY:
        ipr_mask_and_clear_interrupts(ioa_cfg, ALL_ONES)
        kernel.writel(RESET_ALERT, ioa_cfg.hdw_dma_regs, regs.UPROC_SET)
        ioa_cfg.job_step = ipr_reset_wait_for_reset
        ioa_cfg.alert_budget_ms = _WAIT_FOR_RESET_MS
    return ipr_reset_start_timer(ioa_cfg, _CHECK_FOR_RESET_MS)


def ipr_mask_and_clear_interrupts(ioa_cfg: IprIoaCfg, clear: int) -> None:
    """Mask every interrupt, clear *clear*; the read behind it flushes both writes."""
    kernel, window, regs = ioa_cfg.kernel, ioa_cfg.hdw_dma_regs, ioa_cfg.regs
    kernel.writel(ALL_ONES, window, regs.MASK_SET)
    kernel.writel(clear, window, regs.INT_CLR)
    kernel.readl(window, regs.INT)


def ipr_reset_wait_for_reset(ioa_cfg: IprIoaCfg) -> bool:
    """WAIT: not while flash is being written, but no longer than the budget."""
    int_reg = ioa_cfg.kernel.readl(ioa_cfg.hdw_dma_regs, ioa_cfg.regs.INT)
    if int_reg != ALL_ONES and int_reg & CRIT_OP and ioa_cfg.alert_budget_ms > 0:
        ioa_cfg.alert_budget_ms -= _CHECK_FOR_RESET_MS
        return ipr_reset_start_timer(ioa_cfg, _CHECK_FOR_RESET_MS)
    ioa_cfg.job_step = ipr_reset_start_bist
    return True


def ipr_reset_start_bist(ioa_cfg: IprIoaCfg) -> bool:
    """BIST: the only reset there is."""
    ioa_cfg.job_step = ipr_reset_restore_cfg_space
    ioa_cfg.kernel.pci_write_config_byte(ioa_cfg.pdev, PCI_BIST, PCI_BIST_START)
    return ipr_reset_start_timer(ioa_cfg, _BIST_MS)


def ipr_reset_restore_cfg_space(ioa_cfg: IprIoaCfg) -> bool:
    """RESTORE: configuration space as it was; every request the adapter had is over."""
    kernel, pdev = ioa_cfg.kernel, ioa_cfg.pdev
    if kernel.pci_read_config_word(pdev, PCI_VENDOR_ID) != pdev.vendor:
        ipr_ioa_gone(ioa_cfg)
        return False
    bist = kernel.pci_read_config_byte(pdev, PCI_BIST)
    if bist & (PCI_BIST_START | PCI_BIST_CODE):
        return ipr_reset_failed(ioa_cfg, f"BIST {'is not over' if bist & PCI_BIST_START else 'failed'} ({bist:#04x})")
    ipr_restore_config(ioa_cfg)
    ipr_fail_all_ops(ioa_cfg)
    if ioa_cfg.ioa_unit_checked:
        ioa_cfg.ioa_unit_checked = False
        if not kernel.crashdump_mode():             # it is for the log only, and costs another BIST
            buffer = ipr_get_unit_check_buffer(ioa_cfg)
            if buffer is not None:
                ipr_log_buffer(ioa_cfg, buffer)
            ioa_cfg.job_step = ipr_reset_alert
            return ipr_reset_start_timer(ioa_cfg, 0)
    if ioa_cfg.in_ioa_bringdown:
        ipr_job_end(ioa_cfg)
        return False
    ioa_cfg.job_step = ioa_cfg.second_step
    return True


def ipr_save_config(ioa_cfg: IprIoaCfg) -> None:
    """Remember configuration space as it is now, at probe."""
    kernel, pdev = ioa_cfg.kernel, ioa_cfg.pdev
    ioa_cfg.pci_cfg_buf = tuple([kernel.pci_read_config_dword(pdev, 4 * n) for n in range(_CONFIG_DWORDS)])


def ipr_restore_config(ioa_cfg: IprIoaCfg) -> None:
    """Write the header back, COMMAND last: nothing is decoded before its address is right.  Then the PCI-X word."""
    kernel, pdev, saved = ioa_cfg.kernel, ioa_cfg.pdev, ioa_cfg.pci_cfg_buf
    for n in _CONFIG_HEADER:
        kernel.pci_write_config_dword(pdev, 4 * n, saved[n])
    kernel.pci_write_config_dword(pdev, 4 * _BIST_DWORD, saved[_BIST_DWORD] & _BIST_DWORD_MASK)
    if ioa_cfg.pcix_at:
        kernel.pci_write_config_word(pdev, ioa_cfg.pcix_at + PCI_X_CMD, ioa_cfg.saved_pcix_cmd)
    kernel.pci_write_config_word(pdev, PCI_COMMAND, saved[PCI_COMMAND // 4] & 0xFFFF)
