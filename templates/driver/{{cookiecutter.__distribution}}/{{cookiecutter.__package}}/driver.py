"""The {{cookiecutter.name}} driver as the mid-layer sees it: queuecommand, host template, probe.

Commands end in interrupt.py, the reset is in recovery.py, the dump hooks are in dump.py.  Lock order: host_lock, then
queue_lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE
from ddsdk.errors import DeviceError
from ddsdk.helperlib.kernel import DMA_32BIT_MASK, DMA_64BIT_MASK
from ddsdk.scsi.cmnd import (
    DID_ERROR,
    DID_NO_CONNECT,
    DMA_FROM_DEVICE,
    DMA_NONE,
    DMA_TO_DEVICE,
    SCSI_MLQUEUE_HOST_BUSY,
)
from ddsdk.scsi.host import ScsiHost, ScsiHostTemplate

from .adapter import CAN_QUEUE, ELEMENT_BYTES, SENSE_BYTES, SG_TABLESIZE, Adapter, Request, end_cmds
from .frames import (
    BLOCK_BYTES,
    TAG_MASK,
    TAG_USE,
    Direction,
    RequestBlock,
    ScatterElement,
)
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
from .regs import SIGNATURE, Regs

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
    if not adapter.dead:
        return SCSI_MLQUEUE_HOST_BUSY
    end_cmds([scmd], DID_NO_CONNECT)
    return 0


def take_request(adapter: Adapter) -> Request | None:
    """A free request, with the tag of its next use; None when there is none now.  queue_lock is held."""
    if not adapter.active or not adapter.free:
        return None
    request = adapter.free.pop()
    request.tag = (request.tag + TAG_USE) & TAG_MASK
    return request


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
    if not scmd.request_bufflen:
        return True
    request.direction = scmd.sc_data_direction
    request.mapped = adapter.kernel.dma_map_sg(adapter.pdev, scmd.sg, request.direction)
    if len(request.mapped) > adapter.segments:
        adapter.printk(f"{len(request.mapped)} segments do not fit; sg_tablesize is {adapter.segments}")
        return False
    pack = ScatterElement.on(WIRE_LE).struct.pack_into
    for number, (bus_addr, length) in enumerate(request.mapped):
        pack(adapter.pool.view, request.list + number * ELEMENT_BYTES, bus_addr, length, 0)
    return True


def fill_block(adapter: Adapter, request: Request, scmd: ScsiCmnd) -> None:
    """Write the request block."""
    pool, sdev = adapter.pool, scmd.device
    RequestBlock.on(WIRE_LE).pack_into(pool.view, request.block, RequestBlock(
        TAG=request.tag,
        ID=sdev.id,
        LUN=sdev.lun,
        DIRECTION=_DIRECTIONS[scmd.sc_data_direction] if scmd.request_bufflen else Direction.NONE,
        CDB_LENGTH=scmd.cmd_len,
        CDB=bytes(scmd.cmnd),
        LENGTH=scmd.request_bufflen,
        SEGMENTS=len(request.mapped),
        SENSE_LENGTH=SENSE_BYTES,
        LIST=pool.bus_addr + request.list,
        SENSE=pool.bus_addr + request.sense,
    ))


def submit(adapter: Adapter, request: Request) -> None:
    """Hand the request to the adapter: the write of SUBMIT_HIGH does it."""
    kernel, bus_addr = adapter.kernel, adapter.pool.bus_addr + request.block
    kernel.writel(bus_addr & 0xFFFFFFFF, adapter.chip, Regs.SUBMIT_LOW)
    kernel.writel(bus_addr >> 32, adapter.chip, Regs.SUBMIT_HIGH)


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
    kernel = pdev.kernel
    if kernel.pci_enable_device(pdev):
        raise DeviceError(f"{pdev.name}: does not answer configuration cycles; is it seated and powered?")
    if kernel.dma_set_mask(pdev, DMA_64BIT_MASK):
        kernel.dma_set_mask(pdev, DMA_32BIT_MASK)
    kernel.pci_set_master(pdev)
    return kernel.pci_iomap(pdev, 0)


def identify(adapter: Adapter) -> None:
    """Read ID, and from CAPS what requests may be; DeviceError when it is another chip."""
    ident = adapter.kernel.readl(adapter.chip, Regs.ID)
    if ident.SIGNATURE != SIGNATURE:
        raise DeviceError(f"{adapter.name}: ID reads {int(ident):#010x}, its upper half must be {SIGNATURE:#06x}; name"
                          " the chip that is there")
    adapter.caps = adapter.kernel.readl(adapter.chip, Regs.CAPS)
    adapter.segments = min(SG_TABLESIZE, adapter.caps.SEGMENTS)


def alloc_requests(adapter: Adapter) -> None:
    """Allocate blocks, scatter lists and sense buffers, once, for all the requests the adapter holds at a time."""
    depth, list_bytes = min(CAN_QUEUE, adapter.caps.QUEUE), adapter.segments * ELEMENT_BYTES
    lists = depth * BLOCK_BYTES
    senses = lists + depth * list_bytes
    adapter.pool = adapter.kernel.dma_alloc_coherent(adapter.pdev, senses + depth * SENSE_BYTES)
    adapter.requests = tuple(
        Request(n, n * BLOCK_BYTES, lists + n * list_bytes, senses + n * SENSE_BYTES) for n in range(depth))


def make_host(adapter: Adapter) -> ScsiHost:
    """struct Scsi_Host with the limits of this adapter."""
    shost = ScsiHost(driver_template, adapter.kernel, adapter.pdev)
    shost.hostdata = adapter
    shost.can_queue = len(adapter.requests)
    shost.sg_tablesize = adapter.segments
    shost.this_id = adapter.caps.OWN_ID
    shost.max_id = adapter.caps.TARGETS
    return shost
