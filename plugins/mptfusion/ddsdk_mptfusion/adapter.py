"""What the driver knows about one IOC: MPT_ADAPTER, MPT_SCSI_HOST, and the frames allocated at probe.

Nothing is allocated after probe: each SCSI request owns its frame, its sense buffer and its chain buffers, so
that the dump path never runs out of memory, and queuecommand() never waits for any.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ddsdk.abi import WIRE_LE
from ddsdk.errors import DeviceError

from .frames import (
    SCSIIO_CONTROL_SIMPLEQ,
    SCSIIO_SGL_OFFSET,
    IOCFactsReply,
    PortFactsReply,
    PortType,
    SGEChain32,
    SGESimple64,
)
from .regs import MptRegs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ddsdk.helperlib.kernel import DmaBuffer, Iomem, Kernel, PciDev
    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiHost

#: Commands one host keeps outstanding, if the IOC has credits for so many.
MPT_SCSI_CAN_QUEUE: Final = 64
#: Segments of one command, if the IOC follows chains that long; all of them may be above 4 GiB.
MPT_SCSI_SG_DEPTH: Final = 256
#: Bytes of a request frame and of each chain buffer: min(128, IOCFacts), as Linux 2.6.9 mptbase.c.
MPT_REQUEST_BYTES: Final = 128
#: Segments of 12-byte elements in the request frame before its chain element, and in each chain buffer.
_ELEMENT_BYTES, _CHAIN_BYTES = SGESimple64.on(WIRE_LE).size, SGEChain32.on(WIRE_LE).size
_FRAME_SEGMENTS: Final = (MPT_REQUEST_BYTES - SCSIIO_SGL_OFFSET - _CHAIN_BYTES) // _ELEMENT_BYTES
_CHAIN_SEGMENTS: Final = (MPT_REQUEST_BYTES - _CHAIN_BYTES) // _ELEMENT_BYTES
_MAX_CHAIN_LEVELS: Final = -(-(MPT_SCSI_SG_DEPTH - _FRAME_SEGMENTS) // _CHAIN_SEGMENTS)
#: Bytes of a reply frame, and how many at most (2.6.9).
MPT_REPLY_BYTES: Final = 64
MPT_MAX_REPLY_DEPTH: Final = 128
#: Sense bytes kept: the size of scmd.sense_buffer.
MPT_SENSE_BYTES: Final = 96
#: Request frames that are not for SCSI commands: task management, EventNotification, EventAck.
MPT_INTERNAL_FRAMES: Final = 3

#: MsgContext: 9:0 request index, 28:10 how often the frame was used; 30:29 (context type) and 31 stay 0.
CONTEXT_USE: Final = 1 << 10
CONTEXT_MASK: Final = (1 << 29) - 1

#: The frame's end of life: called with the reply's bytes, None for a context reply.
Callback = Callable[["MptAdapter", "MptRequest", bytes | None], None]


class MptRequest:
    """One request frame.  Offsets are bytes into `MptAdapter.pool`.

    `context` is the MsgContext of its latest use.
    """

    __slots__ = ("bus_addr", "callback", "chain_bus_addr", "chain_offset", "context", "direction",
                 "frame_offset", "mapped", "scmd", "sense_bus_addr", "sense_offset")

    def __init__(self, index: int) -> None:
        self.context = index
        self.bus_addr = 0
        self.frame_offset = 0
        self.sense_bus_addr = 0
        self.sense_offset = 0
        self.chain_bus_addr = 0
        self.chain_offset = 0
        self.callback: Callback | None = None
        self.scmd: ScsiCmnd | None = None
        self.mapped: Sequence[tuple[int, int]] = ()       # what dma_map_sg() returned
        self.direction = 0


class MptAdapter:
    """MPT_ADAPTER: one IOC.

    `outstanding` maps the MsgContext of every request the IOC holds to the request: a completion whose
    context is not there is stale (from before a reset), foreign or a duplicate, and is dropped.
    `active`: requests may be posted.  `dead`: the last recovery failed.  `diagPending`: a reset is under way.
    `reset_count`: recoveries that worked.
    """

    def __init__(self, pdev: PciDev, chip: Iomem, name: str,
                 fault_reset: Callable[[MptAdapter], None]) -> None:
        self.kernel: Kernel = pdev.kernel
        self.pdev = pdev
        self.chip = chip
        self.name = name
        self.facts = IOCFactsReply()
        self.pfacts = PortFactsReply()
        kernel = self.kernel
        self.FreeQlock = kernel.spin_lock_init("FreeQlock")
        self.diagLock = kernel.spin_lock_init("diagLock")
        self.FreeQ: list[MptRequest] = []
        self.outstanding: dict[int, MptRequest] = {}
        self.active = False
        self.dead = False
        self.diagPending = False
        #: dwords of our own handshake not written yet; None: no handshake of ours
        self.handshake_left: int | None = None
        self.reset_count = 0
        self.quiet_polls = 0
        self.stale_replies = 0
        self.fault_reset_work = kernel.INIT_WORK(fault_reset, self)
        self.event_acks: deque[tuple[int, int]] = deque(maxlen=MPT_MAX_REPLY_DEPTH)

        self.pool: DmaBuffer | None = None
        self.view = memoryview(bytearray())         # of the pool
        self.requests: tuple[MptRequest, ...] = ()
        self.tm_request = MptRequest(0)
        self.event_request = MptRequest(0)
        self.ack_request = MptRequest(0)
        self.reply_bus_addr = 0
        self.reply_offset = 0
        self.reply_depth = 0
        self.chain_levels = 0

        # bound once: the calls of the per-command path
        self.readl = kernel.readl
        self.writel = kernel.writel
        self.spin_lock = kernel.spin_lock
        self.spin_unlock = kernel.spin_unlock
        self.dma_map_sg = kernel.dma_map_sg
        self.dma_unmap_sg = kernel.dma_unmap_sg

    @property
    def is_spi(self) -> bool:
        """Whether this is a parallel SCSI port."""
        return self.pfacts.PortType == PortType.SCSI

    @property
    def sg_tablesize(self) -> int:
        """Segments that always fit, with every address 64 bits wide and `chain_levels` chain buffers."""
        return min(MPT_SCSI_SG_DEPTH, _FRAME_SEGMENTS + _CHAIN_SEGMENTS * self.chain_levels)

    def printk(self, text: str) -> None:
        """A line of the kernel log."""
        self.kernel.printk(f"mptbase: {self.name}: {text}")

    # -- memory ------------------------------------------------------------------------------------

    def alloc_frames(self) -> None:
        """Allocate and lay out every frame, once, by what IOCFacts said.

        DeviceError when the IOC is too small.
        """
        facts = self.facts
        if facts.RequestFrameSize * 4 < MPT_REQUEST_BYTES:
            raise DeviceError(f"{self.name}: request frames of {facts.RequestFrameSize * 4} bytes; this"
                              f" driver needs {MPT_REQUEST_BYTES} (IOCFacts.RequestFrameSize)")
        depth = min(MPT_SCSI_CAN_QUEUE + MPT_INTERNAL_FRAMES, facts.GlobalCredits)
        if depth <= MPT_INTERNAL_FRAMES:
            raise DeviceError(f"{self.name}: {facts.GlobalCredits} request credits; this driver needs more"
                              f" than {MPT_INTERNAL_FRAMES} (IOCFacts.GlobalCredits)")
        ncmds = depth - MPT_INTERNAL_FRAMES
        self.reply_depth = min(facts.ReplyQueueDepth, MPT_MAX_REPLY_DEPTH)
        self.chain_levels = min(facts.MaxChainDepth, _MAX_CHAIN_LEVELS)
        chain_bytes = self.chain_levels * MPT_REQUEST_BYTES
        frames = depth * MPT_REQUEST_BYTES
        chains = ncmds * chain_bytes
        replies = self.reply_depth * MPT_REPLY_BYTES
        total = frames + chains + replies + ncmds * MPT_SENSE_BYTES
        pool = self.kernel.dma_alloc_coherent(self.pdev, total)
        if pool.bus_addr + total > 1 << 32:
            raise DeviceError(f"{self.name}: frames at {pool.bus_addr:#x}, the FIFOs take addresses below"
                              " 4 GiB; coherent memory must come from there")
        self.pool, self.view = pool, pool.view
        self.reply_offset = frames + chains
        self.reply_bus_addr = pool.bus_addr + self.reply_offset
        requests = tuple(MptRequest(index) for index in range(depth))
        for index, request in enumerate(requests):
            request.frame_offset = index * MPT_REQUEST_BYTES
            request.bus_addr = pool.bus_addr + request.frame_offset
            request.chain_offset = frames + index * chain_bytes
            request.chain_bus_addr = pool.bus_addr + request.chain_offset
            request.sense_offset = self.reply_offset + replies + index * MPT_SENSE_BYTES
            request.sense_bus_addr = pool.bus_addr + request.sense_offset
        self.requests = requests[:ncmds]
        self.tm_request, self.event_request, self.ack_request = requests[ncmds:]

    def facts_shrank(self) -> str:
        """What a reset took away of what the frames were laid out for; empty when nothing."""
        facts, depth = self.facts, len(self.requests) + MPT_INTERNAL_FRAMES
        for name, now, need in (("GlobalCredits", facts.GlobalCredits, depth),
                                ("ReplyQueueDepth", facts.ReplyQueueDepth, self.reply_depth),
                                ("RequestFrameSize", facts.RequestFrameSize * 4, MPT_REQUEST_BYTES),
                                ("MaxChainDepth", facts.MaxChainDepth, self.chain_levels)):
            if now < need:
                return f"IOCFacts.{name} {now} is less than the {need} in use since probe"
        return ""

    # -- requests ----------------------------------------------------------------------------------

    def refill_FreeQ(self) -> None:
        """Every SCSI request is free again; the lowest is used first."""
        self.FreeQ[:] = self.requests[::-1]

    def post(self, request: MptRequest, callback: Callback, register: Any = MptRegs.REQUEST_FIFO) -> None:
        """Hand an internal request to the IOC: its frame is packed already, with `request.context`."""
        request.callback = callback
        self.outstanding[request.context] = request
        self.kernel.writel(request.bus_addr, self.chip, register)

    def new_context(self, request: MptRequest) -> int:
        """The MsgContext of the next use of *request*."""
        request.context = context = (request.context + CONTEXT_USE) & CONTEXT_MASK
        return context

    def abandon_outstanding(self) -> list[ScsiCmnd]:
        """Forget every request the IOC holds, but not which memory it may still reach (`request.mapped`).

        Returns the commands, which are still to be ended.
        """
        scmds = []
        for request in self.outstanding.values():
            scmd, request.scmd = request.scmd, None
            if scmd is not None:
                scmds.append(scmd)
        self.outstanding.clear()
        return scmds

    def unmap_abandoned(self) -> None:
        """The IOC was reset: it reaches no command's memory any more.

        Every request is looked at: a crash may have come before one was outstanding, or after it ceased to be.
        """
        for request in self.requests:
            if request.mapped:
                mapped, request.mapped = request.mapped, ()
                self.dma_unmap_sg(self.pdev, mapped, request.direction)

    def release_locks(self) -> None:
        """Re-initialise the driver's locks: whoever held one is frozen and will never release it."""
        kernel = self.kernel
        self.FreeQlock = kernel.spin_lock_init("FreeQlock")
        self.diagLock = kernel.spin_lock_init("diagLock")


class MptScsiHost:
    """MPT_SCSI_HOST: what the SCSI side knows, `shost.hostdata`.

    `tmPending`: a task management request is under way (the IOC takes one at a time).
    """

    def __init__(self, ioc: MptAdapter, shost: ScsiHost, tm_timeout: Callable[[MptScsiHost], None]) -> None:
        kernel = ioc.kernel
        self.ioc = ioc
        self.shost = shost
        self.tmLock = kernel.spin_lock_init("tmLock")
        self.tmPending = False
        self.no_tags = SCSIIO_CONTROL_SIMPLEQ       # Control of a command to a device without tagged queueing
        self.tm_response = -1                       # ResponseCode; -1: none came
        self.tm_iocstatus = 0
        self.tm_done = kernel.init_completion()
        self.TMtimer = kernel.setup_timer(tm_timeout, self)

    def release_locks(self) -> None:
        """As MptAdapter.release_locks."""
        self.tmLock = self.ioc.kernel.spin_lock_init("tmLock")
