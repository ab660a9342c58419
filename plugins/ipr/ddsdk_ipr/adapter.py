"""What the driver knows about one adapter: ipr_ioa_cfg, its command blocks, its resources.

Nothing is allocated after probe: each command block owns its request block, status area, descriptors and sense
buffer, in one piece of coherent memory with the response queue, the configuration table and the HCAM buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from .frames import (
    HRRQ_HANDLE_SHIFT,
    INLINE_IOADLS,
    IOASA_BYTES,
    IOASA_BYTES_FIRST,
    MAX_SGLIST,
    NUM_CMD_BLKS,
    SCSI_SENSE_BUFFERSIZE,
    ShutdownType,
)
from .tables import CONFIG_TABLE_BYTES, HCAM_BYTES, MODE_PAGES_BYTES, Subtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ddsdk.helperlib.kernel import DmaBuffer, Iomem, Kernel, PciDev
    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiHost

    from .regs import IprRegs

IPR_MAX_COMMANDS: Final = 100
IPR_MAX_CMD_PER_LUN: Final = 6
#: Log entries and configuration changes that are waited for.
IPR_NUM_LOG_HCAMS: Final = 2
IPR_NUM_CFG_CHG_HCAMS: Final = 2
IPR_NUM_HCAMS: Final = IPR_NUM_LOG_HCAMS + IPR_NUM_CFG_CHG_HCAMS

#: Blocks of the error handlers: the second is for when the first got no answer.
_FIRST_EH: Final = IPR_MAX_COMMANDS + IPR_NUM_HCAMS
_NUM_EH: Final = 2

IOARCB_BYTES: Final = 128
_IOADL_BYTES: Final = 8
_BUFFER_BYTES: Final = 256
#: Response handles: 6:0 the block's index, above it how often the block was used; `<< 2` for the adapter.
INDEX_MASK: Final = 0x7F
_USE: Final = INDEX_MASK + 1
_HANDLES: Final = 1 << 30

Done = Callable[["IprIoaCfg", "IprCmnd"], None]
#: A step of the reset job: true to go on with `job_step` at once, false when something will bring it on.
JobStep = Callable[["IprIoaCfg"], bool]

_WORD: Final = Struct(">I")


@frozen
class BlockLayout:
    """How a command block is laid out (hw-ipr.md section 3): bytes of its IOASA, descriptors inside its IOARCB."""

    ioasa_bytes: int
    inline_ioadls: int


#: Driver 2.0.11, the first diskdump port; driver 2.0.11.6.
FIRST_PORT: Final = BlockLayout(IOASA_BYTES_FIRST, 0)
LATER: Final = BlockLayout(IOASA_BYTES, INLINE_IOADLS)


class IprCmnd:
    """struct ipr_cmnd, a command block.  Offsets are bytes into `IprIoaCfg.view`.

    `pending`: somebody waits for its end; who takes that back (its response, a reset) ends it, once.  `held`: the
    adapter may still read or write it, until its response or a reset.  `handle`: of its latest use, as the response
    queue brings it, shifted down.
    """

    __slots__ = ("bus_addr", "direction", "done", "handle", "held", "hostrcb_bus_addr", "hostrcb_offset",
                 "index", "ioa_cfg", "ioadl_bus_addr", "ioadl_offset", "ioarcb_offset", "ioasa_bus_addr",
                 "ioasa_offset", "mapped", "pending", "res", "scmd", "sense_bus_addr", "sense_offset", "timed", "timer")

    def __init__(self, ioa_cfg: IprIoaCfg, index: int) -> None:
        self.ioa_cfg = ioa_cfg
        self.index = index
        self.handle = (index - _USE) % _HANDLES               # so that the first use is the index alone
        self.bus_addr = self.ioarcb_offset = 0
        self.ioasa_bus_addr = self.ioasa_offset = 0
        self.ioadl_bus_addr = self.ioadl_offset = 0
        self.sense_bus_addr = self.sense_offset = 0
        self.hostrcb_bus_addr = self.hostrcb_offset = 0
        self.pending = self.held = False
        self.done: Done = _nothing
        self.scmd: ScsiCmnd | None = None
        self.res: Resource | None = None
        self.mapped: Sequence[tuple[int, int]] = ()           # what dma_map_sg() returned
        self.direction = 0
        self.timer: Any = None
        self.timed = False                                    # the timer was armed with this use


def _nothing(_ioa_cfg: IprIoaCfg, _ipr_cmd: IprCmnd) -> None:
    """The block was never used."""


class Resource:
    """struct ipr_resource_entry: a device of the configuration table."""

    __slots__ = ("handle", "in_erp", "naca", "name", "needs_sync_complete", "product_id", "subtype", "vendor_id")

    def __init__(self, name: str, handle: int, subtype: int, naca: bool, vendor_id: bytes, product_id: bytes) -> None:
        self.name = name
        self.handle = handle
        self.subtype = subtype
        self.naca = naca
        self.vendor_id = vendor_id
        self.product_id = product_id
        self.needs_sync_complete = False
        self.in_erp = False

    @property
    def is_gscsi(self) -> bool:
        """A device on a SCSI bus that the adapter passes commands to as they are."""
        return self.subtype == Subtype.GENERIC_SCSI

    @property
    def is_vset(self) -> bool:
        """A volume set of the adapter's own making."""
        return self.subtype == Subtype.VOLUME_SET

    def owes_sync(self) -> None:
        """Its queue may be frozen: the next command says "sync complete"."""
        if not self.naca:
            self.needs_sync_complete = True


class IprIoaCfg:
    """struct ipr_ioa_cfg: one adapter.

    `allow_cmds`: commands may be sent.  `in_reset_reload`: the reset job is at work.  `ioa_is_dead`: it gave up.
    `hrrq_live`: the adapter posts to the queue.  `waits_for_oper`: the job waits for TO_OPER.
    `distrusted`: it posted nonsense; what it posts counts for nothing until a reset.
    """

    def __init__(self, pdev: PciDev, hdw_dma_regs: Iomem, regs: IprRegs, name: str, layout: BlockLayout) -> None:
        kernel: Kernel = pdev.kernel
        self.kernel = kernel
        self.pdev = pdev
        self.name = name
        self.layout = layout
        self.hdw_dma_regs = hdw_dma_regs
        self.regs = regs
        self.lock = kernel.spin_lock_init("ioa_cfg.lock")
        self.reset_wait_q = kernel.init_waitqueue_head()
        self.host: ScsiHost | None = None

        self.allow_cmds = False
        self.allow_interrupts = False
        self.in_reset_reload = False
        self.in_ioa_bringdown = False
        self.ioa_unit_checked = False
        self.ioa_is_dead = False
        self.hrrq_live = False
        self.waits_for_oper = False
        self.distrusted = False
        self.was_started = False
        self.reset_retries = 0
        self.resets = 0                             # reset jobs that ended well
        self.waiters = 0                            # of the reset job's end

        # the job's halves and the poll, set at probe: bringup.py and interrupt.py build on job.py
        self.first_step: JobStep = _no_step
        self.second_step: JobStep = _no_step
        self.poll_function: Callable[[IprIoaCfg], None] = _no_poll
        self.job_step: JobStep = _no_step
        self.shutdown_type = ShutdownType.NONE
        self.alert_budget_ms = 0
        self.reset_work: Any = None
        self.eh_done = kernel.init_completion()     # of the request that the error handler waits for,
        self.eh_cmd: IprCmnd | None = None          # which is in this block
        self.unsupported: list[Resource] = []       # disks SET SUPPORTED DEVICES still has to name
        self.pci_cfg_buf: tuple[int, ...] = ()
        self.pcix_at = 0
        self.saved_pcix_cmd = 0

        self.type = 0                               # of the card: 0x5703
        self.firmware = 0
        self.resources: dict[tuple[int, int, int], Resource] = {}
        self.stale_responses = 0
        self.quiet_polls = 0                        # in a row that found nothing
        self.errors_logged = 0

        self.pool: DmaBuffer | None = None
        self.view = memoryview(bytearray())
        self.blocks: tuple[IprCmnd, ...] = ()
        self.free_q: list[IprCmnd] = []
        self.reset_cmd = IprCmnd(self, NUM_CMD_BLKS - 1)
        self.hrrq_offset = self.hrrq_bus_addr = 0
        self.hrrq_curr = 0
        self.toggle_bit = 1
        self.cfg_table_offset = self.cfg_table_bus_addr = 0
        self.buffer_offset = self.buffer_bus_addr = 0

        # bound once: the calls of the per-command path
        self.readl, self.writel = kernel.readl, kernel.writel
        self.spin_lock, self.spin_unlock = kernel.spin_lock, kernel.spin_unlock
        self.dma_map_sg, self.dma_unmap_sg = kernel.dma_map_sg, kernel.dma_unmap_sg
        self.ioarrin_at, self.int_at = regs.IOARRIN.offset, regs.INT.offset

    def printk(self, text: str) -> None:
        """A line of the kernel log."""
        self.kernel.printk(f"ipr: {self.name}: {text}")

    # -- memory ------------------------------------------------------------------------------------

    def alloc_mem(self) -> None:
        """ipr_alloc_mem: all of it, once."""
        ioadl_at = IOARCB_BYTES + self.layout.ioasa_bytes
        block_bytes = ioadl_at + MAX_SGLIST * _IOADL_BYTES
        senses = NUM_CMD_BLKS * block_bytes
        hrrq = senses + NUM_CMD_BLKS * SCSI_SENSE_BUFFERSIZE
        cfg_table = hrrq + _aligned(NUM_CMD_BLKS * _WORD.size)
        buffer = cfg_table + _aligned(CONFIG_TABLE_BYTES)
        hostrcbs = buffer + _aligned(max(_BUFFER_BYTES, MODE_PAGES_BYTES))
        pool = self.kernel.dma_alloc_coherent(self.pdev, hostrcbs + IPR_NUM_HCAMS * HCAM_BYTES)
        self.pool, self.view = pool, pool.view
        self.blocks = tuple(IprCmnd(self, index) for index in range(NUM_CMD_BLKS))
        for block in self.blocks:
            at = block.index * block_bytes
            block.ioarcb_offset, block.bus_addr = at, pool.bus_addr + at
            block.ioasa_offset, block.ioasa_bus_addr = at + IOARCB_BYTES, block.bus_addr + IOARCB_BYTES
            block.ioadl_offset, block.ioadl_bus_addr = at + ioadl_at, block.bus_addr + ioadl_at
            block.sense_offset = senses + block.index * SCSI_SENSE_BUFFERSIZE
            block.sense_bus_addr = pool.bus_addr + block.sense_offset
            block.timer = self.kernel.setup_timer(_unarmed, block)
        for number, block in enumerate(self.hcam_blocks):
            block.hostrcb_offset = hostrcbs + number * HCAM_BYTES
            block.hostrcb_bus_addr = pool.bus_addr + block.hostrcb_offset
        self.hrrq_offset, self.hrrq_bus_addr = hrrq, pool.bus_addr + hrrq
        self.cfg_table_offset, self.cfg_table_bus_addr = cfg_table, pool.bus_addr + cfg_table
        self.buffer_offset, self.buffer_bus_addr = buffer, pool.bus_addr + buffer
        self.refill_free_q()
        self.pick_reset_cmd()

    @property
    def scsi_blocks(self) -> tuple[IprCmnd, ...]:
        """Those of the mid-layer's commands."""
        return self.blocks[:IPR_MAX_COMMANDS]

    @property
    def hcam_blocks(self) -> tuple[IprCmnd, ...]:
        """Those that wait for notifications: log entries first."""
        return self.blocks[IPR_MAX_COMMANDS:IPR_MAX_COMMANDS + IPR_NUM_HCAMS]

    @property
    def eh_blocks(self) -> tuple[IprCmnd, ...]:
        """Those of the error handlers."""
        return self.blocks[_FIRST_EH:_FIRST_EH + _NUM_EH]

    def pick_reset_cmd(self) -> None:
        """The job's block: the last that the adapter does not hold, as it may after a crash in the job."""
        spare = self.blocks[:_FIRST_EH + _NUM_EH - 1:-1]
        self.reset_cmd = next((block for block in spare if not block.held), spare[0])

    def refill_free_q(self) -> None:
        """Every block of the mid-layer's is free; the lowest is used first."""
        flags = self.kernel.spin_lock_irqsave(self.lock)
        self.free_q[:] = self.scsi_blocks[::-1]
        self.kernel.spin_unlock_irqrestore(self.lock, flags)

    # -- blocks ------------------------------------------------------------------------------------

    def next_handle(self, block: IprCmnd) -> int:
        """The response handle of the next use of *block*, as the adapter gets it."""
        block.handle = handle = (block.handle + _USE) % _HANDLES
        return handle << HRRQ_HANDLE_SHIFT

    def free(self, block: IprCmnd) -> None:
        """Put a block of the mid-layer's back."""
        block.scmd = None
        self.spin_lock(self.lock)
        self.free_q.append(block)
        self.spin_unlock(self.lock)

    def unmap(self, block: IprCmnd) -> None:
        """The adapter is done with its data."""
        mapped = block.mapped
        if mapped:
            block.mapped = ()           # first: after a crash in between, it must not be unmapped twice
            self.dma_unmap_sg(self.pdev, mapped, block.direction)

    def word(self, offset: int) -> int:
        """A big-endian word of the pool."""
        value: int = _WORD.unpack_from(self.view, offset)[0]
        return value

    def put_word(self, offset: int, value: int) -> None:
        """Write one."""
        _WORD.pack_into(self.view, offset, value)

    def poll(self) -> None:
        """The interrupt handler by hand, for waits of the driver's own."""
        self.poll_function(self)


def _unarmed(_block: IprCmnd) -> None:
    """A block's timer before its first use."""


def _no_poll(_ioa_cfg: IprIoaCfg) -> None:
    """Before probe has set one."""


def _no_step(_ioa_cfg: IprIoaCfg) -> bool:
    """No job is under way."""
    return False


def _aligned(nbytes: int) -> int:
    return nbytes + 15 & ~15
