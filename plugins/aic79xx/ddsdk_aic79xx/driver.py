"""The aic79xx driver as the mid-layer sees it: queuecommand, host template, probe.

What it does is what Linux 2.6.9's aic79xx_osm.c and aic79xx_osm_pci.c do; the code is ours.  The dump hooks are in
dump.py, the chip is behind the modules beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.errors import DeviceError
from ddsdk.helperlib.kernel import DMA_32BIT_MASK
from ddsdk.scsi.cmnd import (
    DID_ERROR,
    DID_NO_CONNECT,
    SCSI_MLQUEUE_DEVICE_BUSY,
    SCSI_MLQUEUE_HOST_BUSY,
)
from ddsdk.scsi.host import ScsiHost, ScsiHostTemplate

from .ahd import AHD_CAN_QUEUE, AHD_NUM_TARGETS, AHD_OUR_ID, Addressing, AhdSoftc
from .chips import PCI_DEVICE_HOSTRAID, REVISION_MIN, Bug, bugs_of, features_of
from .frames import AHD_NSEG, CDB_MAX
from .interrupt import ahd_linux_isr
from .queue import ahd_send
from .recovery import (
    ahd_linux_abort,
    ahd_linux_bus_reset,
    ahd_linux_dev_reset,
    ahd_linux_host_reset,
    ahd_recover,
    ahd_recover_work,
)
from .reset import ahd_reset_poll, ahd_runq
from .status import ahd_done

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Iomem, Kernel, PciDev
    from ddsdk.hookspecs import Chip
    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiDone


_IO_BAR, _MEM_BAR, _HIGH_IO_BAR = 0, 1, 3
_REVISION_ID: Final = 0x08
_COMMAND: Final = 0x04
_DEVCONFIG: Final = 0x40
_DEVCONFIG1: Final = 0x44
_BUS_PATTERN: Final = 0xE000            # all ones: plain PCI; anything else: PCI-X
_DACEN: Final = 0x0004
_PREQDIS: Final = 0x01
_MAX_SECTORS: Final = 8192
_CMD_PER_LUN: Final = 32
_MAX_LUN: Final = 8


# -- queuecommand ----------------------------------------------------------------------------------------------


def ahd_linux_queue(scmd: ScsiCmnd, done: ScsiDone) -> int:
    """int ahd_linux_queue(struct scsi_cmnd *, void (*done)(struct scsi_cmnd *)).

    Called with host_lock held and interrupts off.  0, or SCSI_MLQUEUE_HOST_BUSY without a free SCB and while the queue
    is frozen or a reset is due; SCSI_MLQUEUE_DEVICE_BUSY for a second untagged command of a device.
    """
    ahd: AhdSoftc = scmd.device.host.hostdata
    kernel = ahd.kernel
    scmd.scsi_done = done
    kernel.spin_lock(ahd.lock)
    refused = SCSI_MLQUEUE_HOST_BUSY
    fits = True
    if ahd.active and not ahd.qfrozen and ahd.free and len(ahd.scbs) - len(ahd.free) < AHD_CAN_QUEUE:
        if not scmd.device.tagged_supported and _busy(ahd, scmd):
            refused = SCSI_MLQUEUE_DEVICE_BUSY
        else:
            refused = 0
            fits = _start(ahd, scmd)
    dead = ahd.dead
    kernel.spin_unlock(ahd.lock)
    if not refused and fits:
        return 0
    if not fits or dead:
        scmd.result = (DID_NO_CONNECT if fits else DID_ERROR) << 16
        scmd.resid = scmd.request_bufflen
        scmd.scsi_done(scmd)
        return 0
    return refused


def _busy(ahd: AhdSoftc, scmd: ScsiCmnd) -> bool:
    """Whether the device has a command: one that takes no tags has one at a time."""
    sdev = scmd.device
    return any(scb.target == sdev.id and scb.lun == sdev.lun for scb in (*ahd.pending.values(), *ahd.busyq))


def _start(ahd: AhdSoftc, scmd: ScsiCmnd) -> bool:
    """Map, build, send; false when the scatter list or the CDB does not fit.  The lock is held."""
    scb, sdev = ahd.free.popleft(), scmd.device
    scb.target, scb.lun = sdev.id, sdev.lun
    scb.cdb = bytes(scmd.cmnd[:scmd.cmd_len])
    scb.tagged = sdev.tagged_supported
    segments: list[tuple[int, int]] = []
    if scmd.request_bufflen:
        scb.direction = scmd.sc_data_direction
        segments = ahd.kernel.dma_map_sg(ahd.pdev, scmd.sg, scb.direction)
        scb.mapped = segments
    if len(segments) > AHD_NSEG or len(scb.cdb) > CDB_MAX:
        ahd.printk(f"{len(segments)} segments, a CDB of {len(scb.cdb)} bytes: more than {AHD_NSEG} and {CDB_MAX}")
        ahd_done(ahd, scb)
        return False
    scb.scmd = scmd
    ahd_send(ahd, scb, segments)
    return True


# -- probe -----------------------------------------------------------------------------------------------------

#: C: struct scsi_host_template aic79xx_driver_template (white paper 4.3 item 2).
driver_template: Final = ScsiHostTemplate(
    name="aic79xx",
    proc_name="aic79xx",
    queuecommand=ahd_linux_queue,
    can_queue=AHD_CAN_QUEUE,
    this_id=AHD_OUR_ID,
    sg_tablesize=AHD_NSEG,
    max_sectors=_MAX_SECTORS,
    cmd_per_lun=_CMD_PER_LUN,
    dma_alignment=0,                    # an element has any address, any length below 16 MiB
    eh_abort_handler=ahd_linux_abort,
    eh_device_reset_handler=ahd_linux_dev_reset,
    eh_bus_reset_handler=ahd_linux_bus_reset,
    eh_host_reset_handler=ahd_linux_host_reset,
)


def ahd_linux_probe(pdev: PciDev, chip: Chip, addressing: Addressing | None = None) -> ScsiHost:
    """int ahd_linux_pci_dev_probe(struct pci_dev *, ...): bring one channel up and make a host of it.

    *addressing*: how wide data addresses are; 39 bits unless the board forbids it (the original takes 64 bits where
    memory reaches past 512 GiB, which no call of the helper library tells).  DeviceError, one line, when it is another
    chip, too old, or cannot be brought up.
    """
    kernel = pdev.kernel
    if (pdev.vendor, pdev.device & ~PCI_DEVICE_HOSTRAID) != (chip.vendor, chip.device):
        raise DeviceError(f"{pdev.name}: PCI ids {pdev.vendor:04x}:{pdev.device:04x} are not those of {chip.name}"
                          f" ({chip.vendor:04x}:{chip.device:04x}); name the chip that is there")
    revision = kernel.pci_read_config_byte(pdev, _REVISION_ID)
    if revision < REVISION_MIN:
        kernel.pci_write_config_word(pdev, _COMMAND, 0)
        raise DeviceError(f"{pdev.name}: revision {revision} of the chip; this driver knows {REVISION_MIN} and later")
    if kernel.pci_enable_device(pdev):
        raise DeviceError(f"{pdev.name}: does not answer configuration cycles; is it seated and powered?")
    kernel.pci_set_master(pdev)
    ahd = _softc(pdev, chip, revision, addressing)
    ahd.defer_to(ahd_reset_poll, ahd_runq, ahd_recover_work)
    _set_mask(ahd)
    ahd.alloc_memory()
    ahd.hold()                              # whoever had the chip before us may have left its interrupt up
    if kernel.request_irq(pdev, ahd_linux_isr, ahd):
        ahd.printk("no interrupt line; commands complete by polling only")
    if ahd_recover(ahd, by_chip=True):
        kernel.free_irq(pdev, ahd)
        raise DeviceError(f"{kernel.log[-1]}; give up on this adapter")
    kernel.pci_set_drvdata(pdev, ahd)
    return _make_host(ahd)


def _softc(pdev: PciDev, chip: Chip, revision: int, addressing: Addressing | None) -> AhdSoftc:
    """What the chip is, and through which window it is reached."""
    kernel = pdev.kernel
    bugs, features = bugs_of(pdev.device, revision), features_of(revision)
    devconfig = kernel.pci_read_config_word(pdev, _DEVCONFIG)
    pcix = devconfig & _BUS_PATTERN != _BUS_PATTERN
    if addressing is None:
        addressing = Addressing.BITS_39 if devconfig & _DACEN else Addressing.BITS_32
    if not bugs & Bug.SENT_RST:
        kernel.pci_write_config_byte(pdev, _DEVCONFIG1, kernel.pci_read_config_byte(pdev, _DEVCONFIG1) | _PREQDIS)
    low, high = map_registers(kernel, pdev, avoid_memory=pcix and bool(bugs & Bug.PCIX_MMIO))
    ahd = AhdSoftc(pdev, low, high, f"{chip.name} {pdev.name}", bugs, features, addressing)
    ahd.pcix = pcix
    return ahd


def map_registers(kernel: Kernel, pdev: PciDev, *, avoid_memory: bool) -> tuple[Iomem, Iomem | None]:
    """The memory window, or both I/O windows where that does not work."""
    if not avoid_memory and kernel.pci_resource_len(pdev, _MEM_BAR):
        return kernel.pci_iomap(pdev, _MEM_BAR), None
    if kernel.pci_resource_len(pdev, _IO_BAR) and kernel.pci_resource_len(pdev, _HIGH_IO_BAR):
        return kernel.pci_iomap(pdev, _IO_BAR), kernel.pci_iomap(pdev, _HIGH_IO_BAR)
    raise DeviceError(f"{pdev.name}: neither a memory window nor two I/O windows for the registers")


def _set_mask(ahd: AhdSoftc) -> None:
    """How far data may be; a platform that refuses gets 32 bits."""
    kernel, pdev = ahd.kernel, ahd.pdev
    if kernel.dma_set_mask(pdev, ahd.addressing.value):
        ahd.addressing = Addressing.BITS_32
        kernel.dma_set_mask(pdev, DMA_32BIT_MASK)


def _make_host(ahd: AhdSoftc) -> ScsiHost:
    shost = ScsiHost(driver_template, ahd.kernel, ahd.pdev)
    shost.hostdata = ahd
    shost.this_id = ahd.our_id
    shost.max_id = AHD_NUM_TARGETS if ahd.wide else 8
    shost.max_lun = _MAX_LUN
    return shost
