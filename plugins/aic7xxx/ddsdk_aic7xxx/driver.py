"""The AIC-7xxx driver as the mid-layer sees it: queuecommand, host template, probe.

Queues are in queue.py, commands end in done.py, the interrupt handler is in isr.py, error handlers are in recovery.py,
dump hooks in dump.py.  Lock order: host_lock, then ahc.lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.errors import DeviceError
from ddsdk.helperlib.kernel import DMA_32BIT_MASK
from ddsdk.scsi.cmnd import DID_BAD_TARGET, DID_NO_CONNECT, SCSI_MLQUEUE_HOST_BUSY
from ddsdk.scsi.host import ScsiHost, ScsiHostTemplate

from .adapter import AHC_CAN_QUEUE, AHC_LUNS, AHC_SG_TABLESIZE, AHC_TARGETS, Ahc, Memory
from .done import ahc_thaw_devices
from .hw import AhcError, ahc_access_test
from .isr import ahc_linux_isr, ahc_runq_tasklet
from .queue import ahc_run_device_queue
from .recovery import (
    ahc_bring_up,
    ahc_go,
    ahc_linux_abort,
    ahc_linux_bus_reset,
    ahc_linux_dev_reset,
    ahc_linux_host_reset,
    ahc_reset_work,
)
from .regs import (
    DEVCONFIG_DACEN,
    DEVCONFIG_PCIERRGENDIS,
    PCIR_CACHE_LINE_SIZE,
    PCIR_DEVCONFIG,
    PCIR_SUBSYSTEM,
)

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import PciDev
    from ddsdk.hookspecs import Chip
    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiDone

_DMA_39BIT_MASK: Final = (1 << 39) - 1
#: Targets find their feet after the bus reset of the attach; meanwhile commands wait in their devices' queues.
AHC_ATTACH_SETTLE_MS: Final = 5000
#: 4 MiB: every segment that neighbours merge into still fits one element.
_MAX_SECTORS: Final = 8192
_CMD_PER_LUN: Final = 32
# subsystem ids: type nibble, and the bit that says that a board uses the second function
_DEVICE_RAID_PORT: Final = 0x5
_SUBDEVICE_TYPE: Final = 0xF
_SUBDEVICE_CARD: Final = 0x0
_SUBDEVICE_MULTIFUNCTION: Final = 0x1000
_SUBVENDOR_ADAPTEC: Final = 0x9005


# -- queuecommand ----------------------------------------------------------------------------------------------


def ahc_linux_queue(scmd: ScsiCmnd, done: ScsiDone) -> int:
    """int ahc_linux_queue(struct scsi_cmnd *, void (*done)(struct scsi_cmnd *)).

    Called with host_lock held and interrupts off.  0; SCSI_MLQUEUE_HOST_BUSY while a reset is due or under way.
    """
    ahc: Ahc = scmd.device.host.hostdata
    scmd.scsi_done = done
    if scmd.device.id == ahc.our_id:
        return _refuse(scmd, DID_BAD_TARGET)
    if not ahc.active:
        return _refuse(scmd, DID_NO_CONNECT) if ahc.dead else SCSI_MLQUEUE_HOST_BUSY
    kernel, lock = ahc.kernel, ahc.lock
    kernel.spin_lock(lock)
    dev = ahc.device_of(scmd)
    dev.busyq.append(scmd)
    ahc_run_device_queue(ahc, dev)
    ended = bool(ahc.completeq)
    kernel.spin_unlock(lock)
    if ended:                               # one that did not fit: told of later, host_lock is held here
        kernel.tasklet_schedule(ahc.runq_tasklet)
    return 0


def _refuse(scmd: ScsiCmnd, host_byte: int) -> int:
    """End it at once."""
    scmd.result, scmd.resid = host_byte << 16, scmd.request_bufflen
    scmd.scsi_done(scmd)
    return 0


# -- probe -----------------------------------------------------------------------------------------------------

#: C: struct scsi_host_template aic7xxx_driver_template (white paper 4.3 item 2).
aic7xxx_driver_template: Final = ScsiHostTemplate(
    name="Adaptec AIC7xxx",
    proc_name="aic7xxx",
    queuecommand=ahc_linux_queue,
    can_queue=AHC_CAN_QUEUE,
    this_id=7,
    sg_tablesize=AHC_SG_TABLESIZE,
    max_sectors=_MAX_SECTORS,
    cmd_per_lun=_CMD_PER_LUN,
    dma_alignment=0,                        # an element has any address, any length
    eh_abort_handler=ahc_linux_abort,
    eh_device_reset_handler=ahc_linux_dev_reset,
    eh_bus_reset_handler=ahc_linux_bus_reset,
    eh_host_reset_handler=ahc_linux_host_reset,
)


def ahc_linux_pci_dev_probe(pdev: PciDev, chip: Chip) -> ScsiHost:
    """int ahc_linux_pci_dev_probe(struct pci_dev *, ...): bring one channel up and make a host of it.

    DeviceError, one line, when it is another chip, one that must be left alone, or cannot be brought up.
    """
    kernel = pdev.kernel
    if (pdev.vendor, pdev.device) != (chip.vendor, chip.device):
        raise DeviceError(f"{pdev.name}: PCI ids {pdev.vendor:04x}:{pdev.device:04x} are not those of {chip.name}"
                          f" ({chip.vendor:04x}:{chip.device:04x}); name the chip that is there")
    if kernel.pci_enable_device(pdev):
        raise DeviceError(f"{pdev.name}: does not answer configuration cycles; is it seated and powered?")
    _check_board(pdev)
    ahc = Ahc(pdev, kernel.pci_iomap(pdev, 1), f"{chip.name} {pdev.name}")
    _configure(ahc)
    if not ahc_access_test(ahc):
        ahc.set_access(kernel.pci_iomap(pdev, 0))
        if not ahc_access_test(ahc):
            raise DeviceError(f"{ahc.name}: registers do not read back what is written, by memory nor by I/O; is it"
                              " seated and powered?")
    ahc.attach_memory(Memory.alloc(kernel, pdev, len(ahc.scbs)))
    ahc.thaw_timer = kernel.setup_timer(ahc_thaw_devices, ahc)
    ahc.settle_timer = kernel.setup_timer(ahc_release_simq, ahc)
    ahc.runq_tasklet = kernel.tasklet_init(ahc_runq_tasklet, ahc)
    ahc.reset_work = kernel.INIT_WORK(ahc_reset_work, ahc)
    try:
        ahc_bring_up(ahc)
    except AhcError as error:
        ahc.memory.free(kernel, pdev)
        raise DeviceError(f"{ahc.name}: {error}; is it seated and powered?") from None
    if kernel.request_irq(pdev, ahc_linux_isr, ahc):
        ahc.printk("no interrupt line; commands end by polling only")
    kernel.pci_set_drvdata(pdev, ahc)
    shost = _make_host(ahc)
    ahc.qfrozen = 1
    ahc_go(ahc)
    kernel.mod_timer(ahc.settle_timer, kernel.jiffies + kernel.msecs_to_jiffies(AHC_ATTACH_SETTLE_MS))
    return shost


def ahc_release_simq(ahc: Ahc) -> None:
    """void ahc_release_simq(unsigned long): the attach's settling time is over; devices are served."""
    kernel = ahc.kernel
    flags = kernel.spin_lock_irqsave(ahc.lock)
    if ahc.qfrozen:
        ahc.qfrozen -= 1
    for target in ahc.targets:
        for dev in target.devices:
            ahc.runnable(dev)
    kernel.spin_unlock_irqrestore(ahc.lock, flags)
    kernel.tasklet_schedule(ahc.runq_tasklet)


def _check_board(pdev: PciDev) -> None:
    """DeviceError for a part that belongs to a RAID controller, or a second channel that leads nowhere."""
    subsystem = pdev.kernel.pci_read_config_dword(pdev, PCIR_SUBSYSTEM)
    subvendor, subdevice = subsystem & 0xFFFF, subsystem >> 16
    if pdev.device & 0xF == _DEVICE_RAID_PORT:
        raise DeviceError(f"{pdev.name}: {pdev.device:04x} belongs to a RAID controller on the board; its driver is"
                          " another one")
    trusted = (pdev.vendor == subvendor == _SUBVENDOR_ADAPTEC and subdevice != pdev.device
               and subdevice & _SUBDEVICE_TYPE == _SUBDEVICE_CARD)
    if int(pdev.name[-1], 16) and trusted and not subdevice & _SUBDEVICE_MULTIFUNCTION:
        raise DeviceError(f"{pdev.name}: the board (subsystem {subdevice:04x}) has one channel, this is the chip's"
                          " second")


def _configure(ahc: Ahc) -> None:
    """Configuration space: bus mastering, no parity errors of ours, addresses above 4 GiB; commands reach 39 bits."""
    kernel, pdev = ahc.kernel, ahc.pdev
    kernel.pci_set_master(pdev)
    devconfig = kernel.pci_read_config_dword(pdev, PCIR_DEVCONFIG) | DEVCONFIG_PCIERRGENDIS
    if kernel.dma_set_mask(pdev, _DMA_39BIT_MASK):
        kernel.dma_set_mask(pdev, DMA_32BIT_MASK)
    else:
        devconfig |= DEVCONFIG_DACEN
    kernel.pci_write_config_dword(pdev, PCIR_DEVCONFIG, devconfig)
    ahc.cache_line_bytes = 4 * (kernel.pci_read_config_byte(pdev, PCIR_CACHE_LINE_SIZE) & 0x3F)


def _make_host(ahc: Ahc) -> ScsiHost:
    """struct Scsi_Host of this channel."""
    shost = ScsiHost(aic7xxx_driver_template, ahc.kernel, ahc.pdev)
    shost.hostdata = ahc
    shost.this_id = ahc.our_id
    shost.max_id = AHC_TARGETS
    shost.max_lun = AHC_LUNS
    ahc.shost = shost
    return shost

