"""The {{cookiecutter.name}} driver as the mid-layer sees it: queuecommand, host template, probe.

Commands end in interrupt.py, the reset is in recovery.py, the dump hooks are in dump.py.  Lock order: host_lock, then
queue_lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.errors import DeviceError
from ddsdk.scsi.cmnd import DID_ERROR, DMA_FROM_DEVICE, DMA_NONE, DMA_TO_DEVICE
from ddsdk.scsi.host import ScsiHost, ScsiHostTemplate

from .adapter import CAN_QUEUE, SG_TABLESIZE, Adapter, Request, end_cmds
from .frames import Direction
from .interrupt import {{cookiecutter.name}}_finish, {{cookiecutter.name}}_interrupt
from .recovery import (
    {{cookiecutter.name}}_abort,
    {{cookiecutter.name}}_bus_reset,
    {{cookiecutter.name}}_device_reset,
    {{cookiecutter.name}}_host_reset,
    {{cookiecutter.name}}_reset,
    {{cookiecutter.name}}_reset_end,
    {{cookiecutter.name}}_reset_poll,
)

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Iomem, PciDev
    from ddsdk.hookspecs import Chip
    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiDone

_DIRECTIONS: Final = {
    DMA_NONE: Direction.NONE, DMA_TO_DEVICE: Direction.TO_DEVICE, DMA_FROM_DEVICE: Direction.FROM_DEVICE,
}


# -- queuecommand ------------------------------------------------------------------------------------------------------


def {{cookiecutter.name}}_queuecommand(scmd: ScsiCmnd, done: ScsiDone) -> int:
    """int {{cookiecutter.name}}_queuecommand(struct scsi_cmnd *, void (*done)(struct scsi_cmnd *)).

    Called with host_lock held and interrupts off.  0, or SCSI_MLQUEUE_HOST_BUSY while a reset is under way or all
    requests are in use.
    """
    adapter: Adapter = scmd.device.host.hostdata
    kernel = adapter.kernel
    scmd.scsi_done = done
    flags = kernel.spin_lock_irqsave(adapter.queue_lock)
    request = take_request(adapter)
    sent = request is not None and send(adapter, request, scmd)
    kernel.spin_unlock_irqrestore(adapter.queue_lock, flags)
    if request is None:
        return refuse(adapter, scmd)
    if not sent:
        end_cmds([scmd], DID_ERROR)
    return 0


def refuse(adapter: Adapter, scmd: ScsiCmnd) -> int:
    """No request to be had: for now, or for good."""
    raise NotImplementedError(
        "refuse: while adapter.dead end the command with end_cmds([scmd], DID_NO_CONNECT) and return 0; else return "
        "SCSI_MLQUEUE_HOST_BUSY.")


def take_request(adapter: Adapter) -> Request | None:
    """A free request, with the tag of its next use; None when there is none now.  queue_lock is held."""
    raise NotImplementedError(
        "take_request: when adapter.active and adapter.free is not empty, take a request off it and give it the tag "
        "of its next use, (tag + TAG_USE) & TAG_MASK (frames.py); else None.")


def send(adapter: Adapter, request: Request, scmd: ScsiCmnd) -> bool:
    """Map, fill, submit; false when the scatter list does not fit.  queue_lock is held."""
    if not map_data(adapter, request, scmd):
        adapter.unmap(request)
        adapter.free.append(request)
        return False
    fill_block(adapter, request, scmd)
    request.scmd = scmd
    submit(adapter, request)
    return True


def map_data(adapter: Adapter, request: Request, scmd: ScsiCmnd) -> bool:
    """Lend the command's memory to the adapter and write its scatter list; false when it has too many segments."""
    raise NotImplementedError(
        "map_data: set request.direction, request.mapped = dma_map_sg() of scmd.sg, and write one ScatterElement "
        "(frames.py) a segment at request.list; False when there are more than adapter.segments.")


def fill_block(adapter: Adapter, request: Request, scmd: ScsiCmnd) -> None:
    """Write the request block."""
    raise NotImplementedError(
        "fill_block: pack a RequestBlock (frames.py) at request.block: tag, id, LUN, direction, CDB, length, "
        "segments, and the bus addresses of scatter list and sense buffer.")


def submit(adapter: Adapter, request: Request) -> None:
    """Hand the request to the adapter: the write of SUBMIT_HIGH does it."""
    raise NotImplementedError(
        "submit: write the request block's bus address to SUBMIT_LOW, then SUBMIT_HIGH (regs.py); the second write "
        "hands it over.")


# -- probe -------------------------------------------------------------------------------------------------------------

#: C: struct scsi_host_template (white paper 4.3 item 2).  probe() lowers what the adapter cannot do.
driver_template: Final = ScsiHostTemplate(
    name="{{cookiecutter.chip}} SCSI host adapter",
    proc_name="{{cookiecutter.name}}",
    queuecommand={{cookiecutter.name}}_queuecommand,
    can_queue=CAN_QUEUE,
    sg_tablesize=SG_TABLESIZE,
    max_sectors=2048,
    cmd_per_lun=8,
    dma_alignment=0,                    # a scatter element has any address and any length
    eh_abort_handler={{cookiecutter.name}}_abort,
    eh_device_reset_handler={{cookiecutter.name}}_device_reset,
    eh_bus_reset_handler={{cookiecutter.name}}_bus_reset,
    eh_host_reset_handler={{cookiecutter.name}}_host_reset,
)


def {{cookiecutter.name}}_probe(pdev: PciDev, chip: Chip) -> ScsiHost:
    """int {{cookiecutter.name}}_probe(struct pci_dev *, ...): bring the adapter up and make a host of it.

    DeviceError, one line, when it is not there or cannot be brought up.
    """
    kernel = pdev.kernel
    adapter = Adapter(pdev, map_registers(pdev), f"{chip.name} {pdev.name}")
    identify(adapter)
    alloc_requests(adapter)
    adapter.done_tasklet = kernel.tasklet_init({{cookiecutter.name}}_finish, adapter)
    adapter.reset_tasklet = kernel.tasklet_init({{cookiecutter.name}}_reset_end, adapter)
    adapter.reset_timer = kernel.setup_timer({{cookiecutter.name}}_reset_poll, adapter)
    if {{cookiecutter.name}}_reset(adapter, "probe"):
        kernel.dma_free_coherent(pdev, adapter.pool)
        raise DeviceError(f"{adapter.name}: the reset failed: {kernel.log[-1]}; is the adapter seated and powered?")
    if kernel.request_irq(pdev, {{cookiecutter.name}}_interrupt, adapter):
        adapter.printk("no interrupt line; commands end by polling only")
    kernel.pci_set_drvdata(pdev, adapter)
    return make_host(adapter)


def map_registers(pdev: PciDev) -> Iomem:
    """Enable the function, let it do 64-bit DMA, map BAR 0."""
    raise NotImplementedError(
        "map_registers: pci_enable_device(), dma_set_mask() to 64 bits or else 32, pci_set_master(), then pci_iomap() "
        "of BAR 0; DeviceError when the function does not answer.")


def identify(adapter: Adapter) -> None:
    """Read ID, and from CAPS what requests may be; DeviceError when it is another chip."""
    raise NotImplementedError(
        "identify: read ID (regs.py), DeviceError unless its SIGNATURE is right; read CAPS into adapter.caps; "
        "adapter.segments is the smaller of CAPS.SEGMENTS and SG_TABLESIZE.")


def alloc_requests(adapter: Adapter) -> None:
    """Allocate blocks, scatter lists and sense buffers, once, for all the requests the adapter holds at a time."""
    raise NotImplementedError(
        "alloc_requests: one dma_alloc_coherent() for the request blocks, scatter lists and sense buffers (frames.py) "
        "of as many requests as CAPS.QUEUE and CAN_QUEUE allow; adapter.requests names their places.")


def make_host(adapter: Adapter) -> ScsiHost:
    """struct Scsi_Host with the limits of this adapter."""
    raise NotImplementedError(
        "make_host: a ScsiHost of driver_template with hostdata, can_queue and sg_tablesize; this_id and max_id are "
        "OWN_ID and TARGETS of CAPS (regs.py).")
