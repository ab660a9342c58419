"""The driver as the mid-layer sees it: queuecommand, host template, probe.

What it does is what RHEL 4's ipr.c (2.0.11 and 2.0.11.6) does, by hw-ipr.md; the code is ours.  The dump hooks are in
dump.py, the reset job in job.py and bringup.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.bus import PCI_CACHE_LINE_SIZE, PCI_CAPABILITY_LIST, PCI_STATUS, PCI_STATUS_CAP_LIST
from ddsdk.errors import DeviceError
from ddsdk.helperlib.kernel import DMA_32BIT_MASK
from ddsdk.scsi.cmnd import DID_ERROR, DID_NO_CONNECT, SCSI_MLQUEUE_HOST_BUSY, end_cmds
from ddsdk.scsi.host import ScsiHost, ScsiHostTemplate

from .adapter import IPR_MAX_CMD_PER_LUN, IPR_MAX_COMMANDS, LATER, BlockLayout, IprIoaCfg
from .bringup import ipr_reset_enable_ioa
from .chips import REGISTERS
from .command import ipr_build_scsi, ipr_send_command
from .eh import ipr_eh_abort, ipr_eh_bus_reset, ipr_eh_dev_reset, ipr_eh_host_reset
from .frames import MAX_SGLIST, ShutdownType
from .interrupt import ipr_isr, ipr_poll
from .job import (
    ipr_initiate_ioa_reset,
    ipr_reset_ioa_job,
    ipr_reset_work,
    ipr_wait_for_reset,
)
from .regs import (
    ALL_ONES,
    CACHE_LINE_SIZE,
    ERROR_INTERRUPTS,
    HRRQ_UPD,
    PCI_CAP_ID_PCIX,
    PCI_X_CMD,
    PCI_X_CMD_DPERR_E,
    PCI_X_CMD_ERO,
    RESET_ALERT,
    TO_OPER,
    UNIT_CHECK,
)
from .reset import ipr_mask_and_clear_interrupts, ipr_reset_shutdown_ioa, ipr_save_config
from .resources import IPR_VSET_CHANNEL
from .result import ipr_scsi_done
from .tables import Subtype

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Iomem, PciDev
    from ddsdk.hookspecs import Chip
    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiDone

    from .adapter import IprCmnd

_MAX_SECTORS: Final = 512
_MAX_TARGETS: Final = 16
_MAX_LUNS: Final = 256
#: The highest register used is at 0x52C.
_REGISTER_BYTES: Final = 0x530
_MAX_CAPABILITIES: Final = 48


# -- queuecommand --------------------------------------------------------------------------------------------


def ipr_queuecommand(scmd: ScsiCmnd, done: ScsiDone) -> int:
    """int ipr_queuecommand(struct scsi_cmnd *, void (*done)(struct scsi_cmnd *)).

    Called with host_lock held and interrupts off.  0, or SCSI_MLQUEUE_HOST_BUSY without a free block and while the
    reset job is at work.
    """
    ioa_cfg: IprIoaCfg = scmd.device.host.hostdata
    scmd.scsi_done = done
    if not ioa_cfg.allow_cmds:
        return _not_allowed(ioa_cfg, scmd)
    sdev = scmd.device
    res = ioa_cfg.resources.get((sdev.channel, sdev.id, sdev.lun))
    if res is None or res.subtype == Subtype.AF_DASD:
        return _no_connect(scmd)
    lock, free_q = ioa_cfg.lock, ioa_cfg.free_q
    ioa_cfg.spin_lock(lock)
    ipr_cmd = free_q.pop() if free_q else None
    ioa_cfg.spin_unlock(lock)
    if ipr_cmd is None:
        return SCSI_MLQUEUE_HOST_BUSY
    ipr_cmd.scmd, ipr_cmd.res, ipr_cmd.done = scmd, res, ipr_scsi_done
    if not ipr_build_scsi(ioa_cfg, ipr_cmd, scmd, res):
        return _unfit(ioa_cfg, ipr_cmd, scmd)
    ipr_send_command(ioa_cfg, ipr_cmd)
    return 0


def _not_allowed(ioa_cfg: IprIoaCfg, scmd: ScsiCmnd) -> int:
    """No adapter to talk to: for now, or for good."""
    return _no_connect(scmd) if ioa_cfg.ioa_is_dead else SCSI_MLQUEUE_HOST_BUSY


def _no_connect(scmd: ScsiCmnd) -> int:
    """Nobody is there: the command ends at once."""
    end_cmds([scmd], DID_NO_CONNECT)
    return 0


def _unfit(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, scmd: ScsiCmnd) -> int:
    """More segments than sg_tablesize: the mid-layer broke its promise, and trying again will not help."""
    ioa_cfg.printk(f"{len(ipr_cmd.mapped)} segments do not fit; sg_tablesize is {MAX_SGLIST}")
    ioa_cfg.unmap(ipr_cmd)
    ioa_cfg.free(ipr_cmd)
    end_cmds([scmd], DID_ERROR)
    return 0


#: C: static struct scsi_host_template driver_template (white paper 4.3 item 2).
driver_template: Final = ScsiHostTemplate(
    name="IPR",
    proc_name="ipr",
    queuecommand=ipr_queuecommand,
    can_queue=IPR_MAX_COMMANDS,
    this_id=-1,
    sg_tablesize=MAX_SGLIST,
    max_sectors=_MAX_SECTORS,
    cmd_per_lun=IPR_MAX_CMD_PER_LUN,
    eh_abort_handler=ipr_eh_abort,
    eh_device_reset_handler=ipr_eh_dev_reset,
    eh_bus_reset_handler=ipr_eh_bus_reset,
    eh_host_reset_handler=ipr_eh_host_reset,
)


# -- probe ---------------------------------------------------------------------------------------------------


def ipr_probe(pdev: PciDev, chip: Chip, layout: BlockLayout = LATER) -> ScsiHost:
    """int ipr_probe(struct pci_dev *, ...): bring the adapter up and make a host of it.

    DeviceError, one line, when it is another chip or cannot be brought up.
    """
    kernel = pdev.kernel
    if (pdev.vendor, pdev.device) != (chip.vendor, chip.device):
        raise DeviceError(f"{pdev.name}: PCI ids {pdev.vendor:04x}:{pdev.device:04x} are not those of"
                          f" {chip.name} ({chip.vendor:04x}:{chip.device:04x}); name the chip that is there")
    if kernel.pci_enable_device(pdev):
        raise DeviceError(f"{pdev.name}: does not answer configuration cycles; is it seated and powered?")
    kernel.dma_set_mask(pdev, DMA_32BIT_MASK)
    kernel.pci_set_master(pdev)
    kernel.pci_write_config_byte(pdev, PCI_CACHE_LINE_SIZE, CACHE_LINE_SIZE)
    ioa_cfg = IprIoaCfg(pdev, _map_registers(pdev), REGISTERS[chip.name], f"{chip.name} {pdev.name}", layout)
    ipr_set_pcix_cmd_reg(ioa_cfg)
    ipr_save_config(ioa_cfg)
    ioa_cfg.alloc_mem()
    ioa_cfg.first_step, ioa_cfg.second_step = ipr_reset_shutdown_ioa, ipr_reset_enable_ioa
    ioa_cfg.poll_function = ipr_poll
    ioa_cfg.reset_work = kernel.INIT_WORK(ipr_reset_work, ioa_cfg)
    needs_hard_reset = ipr_needs_hard_reset(ioa_cfg)
    if kernel.request_irq(pdev, ipr_isr, ioa_cfg):
        raise DeviceError(f"{pdev.name}: no interrupt line; before a crash commands complete by interrupt only")
    if needs_hard_reset:
        ipr_initiate_ioa_reset(ioa_cfg, ShutdownType.NONE, "somebody used it before")
    else:
        ioa_cfg.in_reset_reload = True
        ioa_cfg.reset_retries += 1
        ioa_cfg.job_step = ipr_reset_enable_ioa
        ipr_reset_ioa_job(ioa_cfg)
    if not ipr_wait_for_reset(ioa_cfg):
        kernel.free_irq(pdev, ioa_cfg)
        raise DeviceError(f"{kernel.log[-1]}; give up on this adapter")
    ioa_cfg.printk(f"card {ioa_cfg.type:04X}, firmware {ioa_cfg.firmware:08X}, {len(ioa_cfg.resources)} devices")
    return _make_host(ioa_cfg)


def _make_host(ioa_cfg: IprIoaCfg) -> ScsiHost:
    shost = ScsiHost(driver_template, ioa_cfg.kernel, ioa_cfg.pdev)
    shost.hostdata = ioa_cfg
    shost.max_id = _MAX_TARGETS
    shost.max_lun = _MAX_LUNS
    shost.max_channel = IPR_VSET_CHANNEL
    ioa_cfg.host = shost
    ioa_cfg.kernel.pci_set_drvdata(ioa_cfg.pdev, ioa_cfg)
    return shost


def _map_registers(pdev: PciDev) -> Iomem:
    """BAR 0, which must be memory and reach beyond the last register."""
    kernel = pdev.kernel
    nbytes = kernel.pci_resource_len(pdev, 0)
    mapped = kernel.pci_iomap(pdev, 0) if nbytes else None
    if mapped is None or mapped.kind != "mem" or nbytes < _REGISTER_BYTES:
        raise DeviceError(f"{pdev.name}: BAR 0 must be memory of {_REGISTER_BYTES:#x} bytes or more, it has"
                          f" {nbytes:#x}")
    return mapped


def ipr_set_pcix_cmd_reg(ioa_cfg: IprIoaCfg) -> None:
    """Let a PCI-X function recover from data parity errors and reorder; remember the word for after a reset."""
    kernel, pdev = ioa_cfg.kernel, ioa_cfg.pdev
    at = _find_capability(pdev, PCI_CAP_ID_PCIX)
    if not at:
        return
    command = kernel.pci_read_config_word(pdev, at + PCI_X_CMD) | PCI_X_CMD_DPERR_E | PCI_X_CMD_ERO
    ioa_cfg.pcix_at, ioa_cfg.saved_pcix_cmd = at, command
    kernel.pci_write_config_word(pdev, at + PCI_X_CMD, command)


def _find_capability(pdev: PciDev, wanted: int) -> int:
    """int pci_find_capability(struct pci_dev *, int): its offset, 0 when there is none."""
    kernel = pdev.kernel
    if not kernel.pci_read_config_word(pdev, PCI_STATUS) & PCI_STATUS_CAP_LIST:
        return 0
    at = kernel.pci_read_config_byte(pdev, PCI_CAPABILITY_LIST)
    for _ in range(_MAX_CAPABILITIES):
        if not at:
            break
        if kernel.pci_read_config_byte(pdev, at) == wanted:
            return at
        at = kernel.pci_read_config_byte(pdev, at + 1)
    return 0


def ipr_needs_hard_reset(ioa_cfg: IprIoaCfg) -> bool:
    """Whether somebody - another driver, a kernel before this one - left the adapter in use.  Masks it."""
    kernel, window, regs = ioa_cfg.kernel, ioa_cfg.hdw_dma_regs, ioa_cfg.regs
    mask = kernel.readl(window, regs.MASK)
    int_reg = kernel.readl(window, regs.INT)
    uproc = kernel.readl(window, regs.UPROC)
    if int_reg != ALL_ONES and int_reg & UNIT_CHECK:
        ioa_cfg.ioa_unit_checked = True
    ipr_mask_and_clear_interrupts(ioa_cfg, ALL_ONES & ~TO_OPER)
    in_use = not mask & HRRQ_UPD or bool(int_reg & HRRQ_UPD)
    return in_use or bool(uproc & RESET_ALERT) or bool(int_reg & ERROR_INTERRUPTS)
