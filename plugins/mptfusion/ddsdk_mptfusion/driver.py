"""The Fusion-MPT SCSI host driver as the mid-layer sees it: queuecommand, error handlers, probe.

What it does is what Linux 2.6.9's mptbase.c and mptscsih.c do; the code is ours.  The dump hooks are in
dump.py, the IOC is behind the modules beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.errors import DeviceError
from ddsdk.helperlib.kernel import DMA_32BIT_MASK, DMA_64BIT_MASK, DMA_TO_DEVICE
from ddsdk.scsi.cmnd import DID_ERROR, DID_NO_CONNECT, FAILED, SCSI_MLQUEUE_HOST_BUSY, SUCCESS, end_cmds
from ddsdk.scsi.host import ScsiHost, ScsiHostTemplate

from .adapter import (
    CONTEXT_MASK,
    CONTEXT_USE,
    MPT_SCSI_CAN_QUEUE,
    MPT_SCSI_SG_DEPTH,
    MPT_SENSE_BYTES,
    MptAdapter,
    MptRequest,
    MptScsiHost,
)
from .frames import (
    SCSIIO_CONTROL_READ,
    SCSIIO_CONTROL_SIMPLEQ,
    SCSIIO_CONTROL_UNTAGGED,
    SCSIIO_CONTROL_WRITE,
    SGE_LENGTH_MASK,
    MsgFunction,
    TaskType,
)
from .ioc import mpt_do_ioc_recovery
from .recovery import mpt_fault_reset_work, mpt_go, mpt_HardResetHandler
from .regs import MptRegs
from .reply import mpt_interrupt, mptscsih_io_done
from .sgl import GIB4, ONE_SGE_FLAGS, REQUEST, REQUEST_ONE_SGE, put_sgl
from .task_mgmt import mptscsih_abort, mptscsih_taskmgmt_timeout, mptscsih_TMHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddsdk.helperlib.kernel import Iomem, PciDev
    from ddsdk.hookspecs import Chip
    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiDone

_REQUEST_FIFO: Final = MptRegs.REQUEST_FIFO.offset
_SCSI_IO: Final = int(MsgFunction.SCSI_IO_REQUEST)
#: SCSIIORequest.LUN, single level addressing, by LUN.
_LUNS: Final = tuple(bytes((0, lun, 0, 0, 0, 0, 0, 0)) for lun in range(256))
#: 4 MiB: a segment merged of all of a command's still fits one element.
_MAX_SECTORS: Final = 8192
_CMD_PER_LUN: Final = 7
_BARS: Final = 6


# -- queuecommand --------------------------------------------------------------------------------------------


def mptscsih_qcmd(scmd: ScsiCmnd, done: ScsiDone) -> int:
    """int mptscsih_qcmd(struct scsi_cmnd *, void (*done)(struct scsi_cmnd *)).

    Called with host_lock held and interrupts off.  0, or SCSI_MLQUEUE_HOST_BUSY without a free request frame
    and while a reset is due or under way.
    """
    hd: MptScsiHost = scmd.device.host.hostdata
    ioc = hd.ioc
    scmd.scsi_done = done
    if not ioc.active:
        return _not_active(ioc, scmd)
    lock, free = ioc.FreeQlock, ioc.FreeQ
    ioc.spin_lock(lock)
    request = free.pop() if free else None
    ioc.spin_unlock(lock)
    if request is None:
        return SCSI_MLQUEUE_HOST_BUSY
    request.context = context = (request.context + CONTEXT_USE) & CONTEXT_MASK
    request.scmd = scmd
    if not _fill_frame(ioc, hd, request, scmd):
        return _unfit(ioc, request, scmd)
    ioc.outstanding[context] = request
    ioc.writel(request.bus_addr, ioc.chip, _REQUEST_FIFO)
    return 0


def _fill_frame(ioc: MptAdapter, hd: MptScsiHost, request: MptRequest, scmd: ScsiCmnd) -> bool:
    """Map the data and write the SCSIIORequest with its scatter list; false when the list does not fit."""
    sdev, nbytes = scmd.device, scmd.request_bufflen
    control = SCSIIO_CONTROL_SIMPLEQ if sdev.tagged_supported else hd.no_tags
    address = size = chain = 0
    one, to_device = True, False
    if nbytes:
        direction = scmd.sc_data_direction
        to_device = direction == DMA_TO_DEVICE
        control |= SCSIIO_CONTROL_WRITE if to_device else SCSIIO_CONTROL_READ
        request.direction = direction
        request.mapped = segments = ioc.dma_map_sg(ioc.pdev, scmd.sg, direction)
        address, size = segments[0]
        one = len(segments) == 1 and size <= SGE_LENGTH_MASK and address + size <= GIB4
        if not one:
            chain_offset = put_sgl(ioc, request, segments, to_device)
            if chain_offset is None:
                return False
            chain = chain_offset
    header = (sdev.id, sdev.channel, chain, _SCSI_IO, scmd.cmd_len, MPT_SENSE_BYTES, 0, request.context,
              _LUNS[sdev.lun], control, scmd.cmnd, nbytes, request.sense_bus_addr)
    if one:
        REQUEST_ONE_SGE.pack_into(ioc.view, request.frame_offset, *header, ONE_SGE_FLAGS[to_device] | size,
                                  address)
    else:
        REQUEST.pack_into(ioc.view, request.frame_offset, *header)
    return True


def _not_active(ioc: MptAdapter, scmd: ScsiCmnd) -> int:
    """No IOC to talk to: for now, or for good."""
    if not ioc.dead:
        return SCSI_MLQUEUE_HOST_BUSY
    end_cmds([scmd], DID_NO_CONNECT)
    return 0


def _unfit(ioc: MptAdapter, request: MptRequest, scmd: ScsiCmnd) -> int:
    """More segments than sg_tablesize: the mid-layer broke its promise, and trying again will not help."""
    ioc.printk(f"{len(request.mapped)} segments do not fit; sg_tablesize is {ioc.sg_tablesize}")
    mapped, request.mapped = request.mapped, ()
    ioc.dma_unmap_sg(ioc.pdev, mapped, request.direction)
    request.scmd = None
    ioc.spin_lock(ioc.FreeQlock)
    ioc.FreeQ.append(request)
    ioc.spin_unlock(ioc.FreeQlock)
    end_cmds([scmd], DID_ERROR)
    return 0


# -- error handlers: called with host_lock held, which they drop while they wait -----------------------------


def MPT_HOST_LOCK(shost: ScsiHost) -> None:
    """MPT_HOST_LOCK of the white paper, 4.3 item 3: spin_lock() in crash mode, spin_lock_irq() otherwise."""
    kernel = shost.kernel
    if kernel.crashdump_mode():
        kernel.spin_lock(shost.host_lock)
    else:
        kernel.spin_lock_irq(shost.host_lock)


def MPT_HOST_UNLOCK(shost: ScsiHost) -> None:
    """MPT_HOST_UNLOCK of the white paper, 4.3 item 3: never enables interrupts in crash mode."""
    kernel = shost.kernel
    if kernel.crashdump_mode():
        kernel.spin_unlock(shost.host_lock)
    else:
        kernel.spin_unlock_irq(shost.host_lock)


def _unlocked(scmd: ScsiCmnd, handle: Callable[[MptScsiHost], int]) -> int:
    """*handle* with host_lock dropped; FAILED when the host has no adapter."""
    shost = scmd.device.host
    hd: MptScsiHost | None = shost.hostdata
    if hd is None:
        return FAILED
    MPT_HOST_UNLOCK(shost)
    result = handle(hd)
    MPT_HOST_LOCK(shost)
    return result


def mptscsih_abort_handler(scmd: ScsiCmnd) -> int:
    """int (*eh_abort_handler)(struct scsi_cmnd *)."""
    return _unlocked(scmd, lambda hd: mptscsih_abort(hd, scmd))


def mptscsih_dev_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_device_reset_handler)(struct scsi_cmnd *): target reset."""
    return _unlocked(scmd, lambda hd: mptscsih_TMHandler(hd, TaskType.TARGET_RESET, scmd.device))


def mptscsih_bus_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_bus_reset_handler)(struct scsi_cmnd *)."""
    return _unlocked(scmd, lambda hd: mptscsih_TMHandler(hd, TaskType.RESET_BUS, scmd.device))


def mptscsih_host_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_host_reset_handler)(struct scsi_cmnd *): hard reset of the IOC, from any state."""
    return _unlocked(scmd, lambda hd: FAILED if mpt_HardResetHandler(hd.ioc) else SUCCESS)


# -- probe ---------------------------------------------------------------------------------------------------

#: C: struct scsi_host_template driver_template (white paper 4.3 item 2).
driver_template: Final = ScsiHostTemplate(
    name="MPT SCSI Host",
    proc_name="mptscsih",
    queuecommand=mptscsih_qcmd,
    can_queue=MPT_SCSI_CAN_QUEUE,
    sg_tablesize=MPT_SCSI_SG_DEPTH,
    max_sectors=_MAX_SECTORS,
    cmd_per_lun=_CMD_PER_LUN,
    dma_alignment=0,                    # a simple element has any address, any length (LSI mpi.h)
    eh_abort_handler=mptscsih_abort_handler,
    eh_device_reset_handler=mptscsih_dev_reset,
    eh_bus_reset_handler=mptscsih_bus_reset,
    eh_host_reset_handler=mptscsih_host_reset,
)


def mptscsih_probe(pdev: PciDev, chip: Chip) -> ScsiHost:
    """int mptscsih_probe(struct pci_dev *, ...): bring the IOC to OPERATIONAL and make a host of it.

    DeviceError, one line, when it is another chip or cannot be brought up.
    """
    kernel = pdev.kernel
    if (pdev.vendor, pdev.device) != (chip.vendor, chip.device):
        raise DeviceError(f"{pdev.name}: PCI ids {pdev.vendor:04x}:{pdev.device:04x} are not those of"
                          f" {chip.name} ({chip.vendor:04x}:{chip.device:04x}); name the chip that is there")
    if kernel.pci_enable_device(pdev):
        raise DeviceError(f"{pdev.name}: does not answer configuration cycles; is it seated and powered?")
    if kernel.dma_set_mask(pdev, DMA_64BIT_MASK):
        kernel.dma_set_mask(pdev, DMA_32BIT_MASK)
    kernel.pci_set_master(pdev)
    ioc = MptAdapter(pdev, _map_registers(pdev), f"{chip.name} {pdev.name}", mpt_fault_reset_work)
    if mpt_do_ioc_recovery(ioc, force=False):
        raise DeviceError(f"{kernel.log[-1]}; it was reset twice, give up on this adapter")
    for request in ioc.requests:
        request.callback = mptscsih_io_done
    shost = ScsiHost(driver_template, kernel, pdev)
    hd = shost.hostdata = MptScsiHost(ioc, shost, mptscsih_taskmgmt_timeout)
    hd.no_tags = SCSIIO_CONTROL_UNTAGGED if ioc.is_spi else SCSIIO_CONTROL_SIMPLEQ
    _set_limits(ioc, shost)
    kernel.pci_set_drvdata(pdev, ioc)
    if kernel.request_irq(pdev, mpt_interrupt, ioc):
        ioc.printk("no interrupt line; commands complete by polling only")
    mpt_go(ioc)
    return shost


def _map_registers(pdev: PciDev) -> Iomem:
    """The register file is the first memory BAR; behind which number depends on how wide the BARs are."""
    kernel = pdev.kernel
    for bar in range(_BARS):
        if kernel.pci_resource_len(pdev, bar):
            mapped = kernel.pci_iomap(pdev, bar)
            if mapped.kind == "mem":
                return mapped
    raise DeviceError(f"{pdev.name}: no memory BAR; the register file of a Fusion-MPT chip is its first one")


def _set_limits(ioc: MptAdapter, shost: ScsiHost) -> None:
    facts, pfacts = ioc.facts, ioc.pfacts
    shost.can_queue = len(ioc.requests)
    shost.cmd_per_lun = min(_CMD_PER_LUN, shost.can_queue)
    shost.sg_tablesize = ioc.sg_tablesize
    shost.this_id = pfacts.PortSCSIID
    shost.max_id = pfacts.MaxDevices or facts.MaxDevices or 256
    shost.max_channel = max(facts.MaxBuses, 1) - 1
