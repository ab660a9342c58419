"""The SYM53C8XX SCSI host driver as the mid-layer sees it: queuecommand, host template, probe.

What it does is what Linux 2.6.9's sym53c8xx_2 does; the code is ours, and so are the SCRIPTS (program.py).  Interrupts:
interrupt.py and what it calls; resets: recovery.py; aborts: abort.py; the dump hooks: dump.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.errors import DeviceError
from ddsdk.helperlib.kernel import DMA_32BIT_MASK
from ddsdk.scsi.cmnd import DID_ERROR, DID_NO_CONNECT, SCSI_MLQUEUE_HOST_BUSY, end_cmds
from ddsdk.scsi.host import ScsiHost, ScsiHostTemplate

from .abort import sym_eh_abort_handler, sym_eh_device_reset_handler
from .adapter import CAN_QUEUE, Hcb
from .block import sym_fill
from .chip import signal, sym_silence
from .chips import FEATURES
from .frames import SEGMENTS
from .interrupt import sym53c8xx_intr
from .recovery import (
    sym_eh_bus_reset_handler,
    sym_eh_host_reset_handler,
    sym_reset,
    sym_reset_tasklet,
    sym_reset_timer,
)

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Iomem, PciDev
    from ddsdk.hookspecs import Chip
    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiDone

#: 40 bits of address in a table entry.
_DMA_40BIT_MASK: Final = (1 << 40) - 1
#: 4 MiB: a segment merged of all of a command's still fits the 24 bits of a count.
_MAX_SECTORS: Final = 8192
_CMD_PER_LUN: Final = 16
_BARS: Final = 6


# -- queuecommand --------------------------------------------------------------------------------------------


def sym_queue_command(scmd: ScsiCmnd, done: ScsiDone) -> int:
    """int sym53c8xx_queue_command(struct scsi_cmnd *, void (*done)(struct scsi_cmnd *)).

    Called with host_lock held and interrupts off.  0, or SCSI_MLQUEUE_HOST_BUSY without a free block and while a reset
    is due or under way.
    """
    sdev = scmd.device
    np: Hcb = sdev.host.hostdata
    kernel, nexus = np.kernel, (sdev.id, sdev.lun)
    if not np.active and not np.dead:
        return SCSI_MLQUEUE_HOST_BUSY               # most of what is asked for during a reset
    scmd.scsi_done = done
    flags = kernel.spin_lock_irqsave(np.lock)
    tagged = sdev.tagged_supported and nexus not in np.untagged
    ccb = np.take(nexus, tagged=tagged) if np.active else None
    fits = ccb is not None and sym_fill(np, ccb, scmd, tagged=tagged)
    if ccb is not None and fits:
        np.busy[ccb.tag] = ccb
        np.without_tag += ccb.without_tag
        np.put_start_queue(ccb)
        signal(np)
    dead = np.dead
    kernel.spin_unlock_irqrestore(np.lock, flags)
    if fits:
        return 0
    if ccb is not None or dead:
        end_cmds([scmd], DID_ERROR if ccb is not None else DID_NO_CONNECT)
        return 0
    return SCSI_MLQUEUE_HOST_BUSY


# -- probe ---------------------------------------------------------------------------------------------------

#: C: struct scsi_host_template (white paper 4.3 item 2).
driver_template: Final = ScsiHostTemplate(
    name="sym53c8xx",
    proc_name="sym53c8xx",
    queuecommand=sym_queue_command,
    can_queue=CAN_QUEUE,
    sg_tablesize=SEGMENTS,
    max_sectors=_MAX_SECTORS,
    cmd_per_lun=_CMD_PER_LUN,
    dma_alignment=0,                    # a table entry has any address, any length
    eh_abort_handler=sym_eh_abort_handler,
    eh_device_reset_handler=sym_eh_device_reset_handler,
    eh_bus_reset_handler=sym_eh_bus_reset_handler,
    eh_host_reset_handler=sym_eh_host_reset_handler,
)


def sym_probe(pdev: PciDev, chip: Chip) -> ScsiHost:
    """int sym2_probe(struct pci_dev *, ...): reset chip and bus, start SCRIPTS, make a host of it.

    DeviceError, one line, when it is another chip or cannot be brought up.
    """
    kernel = pdev.kernel
    if (pdev.vendor, pdev.device) != (chip.vendor, chip.device):
        raise DeviceError(f"{pdev.name}: PCI ids {pdev.vendor:04x}:{pdev.device:04x} are not those of"
                          f" {chip.name} ({chip.vendor:04x}:{chip.device:04x}); name the chip that is there")
    if kernel.pci_enable_device(pdev):
        raise DeviceError(f"{pdev.name}: does not answer configuration cycles; is it seated and powered?")
    features = FEATURES[chip.name]
    kernel.dma_set_mask(pdev, DMA_32BIT_MASK)           # SCRIPTS and blocks are below 4 GiB
    kernel.pci_set_master(pdev)
    np = Hcb(pdev, _map_registers(pdev), f"{chip.name} {pdev.name}", features)
    if features.wide_addresses:
        kernel.dma_set_mask(pdev, _DMA_40BIT_MASK)
    np.reset_timer = kernel.setup_timer(sym_reset_timer, np)
    np.reset_tasklet = kernel.tasklet_init(sym_reset_tasklet, np)
    shost = ScsiHost(driver_template, kernel, pdev)
    shost.hostdata = np
    shost.this_id = np.own_id
    np.shost = shost
    sym_silence(np)
    if kernel.request_irq(pdev, sym53c8xx_intr, np):
        np.printk("no interrupt line; commands complete by polling only")
    if sym_reset(np, "probe"):
        raise DeviceError(f"{kernel.log[-1]}; give up on this adapter")
    kernel.pci_set_drvdata(pdev, np)
    return shost


def _map_registers(pdev: PciDev) -> Iomem:
    """The register file is the first memory BAR; behind which number the RAM's is depends on how wide the BARs are."""
    kernel = pdev.kernel
    for bar in range(_BARS):
        if kernel.pci_resource_len(pdev, bar):
            mapped = kernel.pci_iomap(pdev, bar)
            if mapped.kind == "mem":
                return mapped
    raise DeviceError(f"{pdev.name}: no memory BAR; the register file of a 53C8XX is its first one")
