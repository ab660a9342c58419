"""What the driver knows about one chip: ahd_softc, its SCBs, its targets, the memory allocated at probe.

Nothing is allocated after probe: each SCB owns its scatter list and sense buffer, so that the dump path never runs out
of memory.  The chip's own structures (elements) move between SCBs with every command: see queue.py.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE
from ddsdk.errors import DeviceError

from .access import ChipAccess
from .chips import Bug, Feature
from .frames import AHD_NSEG, QOUT_VALID, SCB_BYTES, SgElement, SgElement64
from .message import MsgState
from .negotiate import AhdTarget
from .scb import NO_ELEMENT, Element, Scb
from .sequencer import AHD_SCB_MAX, OVERRUN_UNIT, SENSE_BUFSIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddsdk.helperlib.kernel import DmaBuffer, Iomem, PciDev
    from ddsdk.scsi.cmnd import ScsiCmnd

#: Commands one host keeps outstanding, and SCBs there are: a tag comes to be used again only after so many others
#: that a completion which comes twice finds nobody (and all are below 256: a tag message has one byte).
AHD_CAN_QUEUE: Final = 64
AHD_SCBS: Final = 128
#: Own id.
AHD_OUR_ID: Final = 7
AHD_NUM_TARGETS: Final = 16
#: Bytes of the packetized bit bucket of Rev A.
_OVERRUN_BYTES: Final = 2 * OVERRUN_UNIT
_QOUT_BYTES: Final = 2 * AHD_SCB_MAX


class Addressing(Enum):
    """How wide bus addresses of data are; elements of the scatter list follow."""

    BITS_32 = (1 << 32) - 1
    BITS_39 = (1 << 39) - 1
    BITS_64 = (1 << 64) - 1


class AhdSoftc(ChipAccess):
    """struct ahd_softc.

    `pending`: SCBs that the chip holds, by tag; a completion whose tag is not there is stale, foreign or a duplicate.
    `busyq`: SCBs that are to be sent again.  `completeq`: commands whose scsi_done() is due.
    `active`: commands may be sent.  `lost`: a recovery is scheduled.  `dead`: the last one failed.  `resetting`: one is
    under way.
    `qfrozen`: how often somebody froze the queue; after a bus reset timer and tasklet thaw it (reset.py).
    """

    def __init__(self, pdev: PciDev, low: Iomem, high: Iomem | None, name: str, bugs: Bug, features: Feature,
                 addressing: Addressing = Addressing.BITS_39) -> None:
        super().__init__(pdev.kernel, low, high)
        kernel = self.kernel
        self.pdev, self.name = pdev, name
        self.bugs, self.features, self.addressing = bugs, features, addressing
        self.lock = kernel.spin_lock_init("ahd_lock")
        self.our_id = AHD_OUR_ID
        self.wide = True
        self.collides = bool(bugs & Bug.INTCOLLISION)
        self.pkt_lun = bool(bugs & Bug.PKT_LUN)
        self.sg_size = (SgElement64 if addressing is Addressing.BITS_64 else SgElement).on(WIRE_LE).size
        self.pcix = False

        self.active = self.dead = self.lost = self.resetting = False
        self.qfrozen = 0
        self.reset_polling = self.thaw_due = False
        self.identified = False                             # the chip was looked at after a reset
        self.iocell_due = False                             # the next selection stops once
        self.in_chip_reset = True                           # CHIPRST may have been written, and not taken back
        self.sxfrctl1 = 0
        self.reset_count = 0
        self.stale = self.quiet_polls = 0
        self.hwerr_count = 0
        self.msg = MsgState()
        self.targets = tuple(AhdTarget(number) for number in range(AHD_NUM_TARGETS))

        self.sg_view = self.sense_view = self.shared_view = memoryview(bytearray())
        self.shared_busaddr = 0
        self.elements: tuple[Element, ...] = (NO_ELEMENT,)     # one a command, then the first reserved one
        self.scbs: tuple[Scb, ...] = ()
        self.tmf_scb = Scb(0, NO_ELEMENT)                  # device reset: no command of the mid-layer's
        self.free: deque[Scb] = deque()
        self.pending: dict[int, Scb] = {}
        self.busyq: deque[Scb] = deque()
        self.completeq: deque[ScsiCmnd] = deque()
        self.reserved = NO_ELEMENT
        self.qin = [0] * AHD_SCB_MAX
        self.qinnext = 0
        self.qoutnext = 0
        self.qout_valid = QOUT_VALID

        self.wait = kernel.init_waitqueue_head()
        self.reset_timer = kernel.setup_timer(_nothing, self)
        self.runq_tasklet = kernel.tasklet_init(_nothing, self)
        self.recover_work = kernel.INIT_WORK(_nothing, self)

    def defer_to(self, reset_timer: Callable[[AhdSoftc], None], runq: Callable[[AhdSoftc], None],
                 recover: Callable[[AhdSoftc], None]) -> None:
        """Who is called later: by the reset timer, the run-queue tasklet, the recovery work item."""
        self.reset_timer.function = reset_timer
        self.runq_tasklet.func = runq
        self.recover_work.func = recover

    def printk(self, text: str) -> None:
        """A line of the kernel log."""
        self.kernel.printk(f"aic79xx: {self.name}: {text}")

    def has(self, bug: Bug) -> bool:
        """Whether this revision has *bug*."""
        return bool(self.bugs & bug)

    # -- memory ----------------------------------------------------------------------------------------

    def alloc_memory(self, count: int = AHD_SCBS) -> None:
        """Elements, scatter lists, sense buffers for *count* commands (and one of ours), output queue; once.

        DeviceError when memory is where the chip's 32-bit pointers do not reach.
        """
        alloc, pdev = self.kernel.dma_alloc_coherent, self.pdev
        total = count + 1
        self.place(alloc(pdev, total * SCB_BYTES), alloc(pdev, total * AHD_NSEG * self.sg_size),
                   alloc(pdev, total * SENSE_BUFSIZE), alloc(pdev, self.shared_bytes), count)

    @property
    def overrun_offset(self) -> int:
        """Where the bit bucket is in the shared block, behind the output queue."""
        return _QOUT_BYTES

    @property
    def shared_bytes(self) -> int:
        """Output queue, bit bucket on Rev A, the first reserved element."""
        return _QOUT_BYTES + self._bucket_bytes + SCB_BYTES

    @property
    def _bucket_bytes(self) -> int:
        return _OVERRUN_BYTES if self.has(Bug.PKT_BITBUCKET) else 0

    def place(self, hscbs: DmaBuffer, lists: DmaBuffer, senses: DmaBuffer, shared: DmaBuffer, count: int) -> None:
        """Lay everything out in the memory given."""
        for buffer in (hscbs, lists, senses, shared):
            if buffer.bus_addr + len(buffer.view) > 1 << 32:
                raise DeviceError(f"{self.name}: coherent memory at {buffer.bus_addr:#x}, the chip's queues take"
                                  " addresses below 4 GiB; it must come from there")
        self.sg_view, self.sense_view = lists.view, senses.view
        self.shared_view, self.shared_busaddr = shared.view, shared.bus_addr
        elements, scbs = [], []
        for tag in range(count + 1):
            at = tag * SCB_BYTES
            elements.append(Element(hscbs.view[at:at + SCB_BYTES], hscbs.bus_addr + at))
            scb = Scb(tag, elements[tag])
            scb.sg_offset = tag * AHD_NSEG * self.sg_size
            scb.sg_busaddr = lists.bus_addr + scb.sg_offset
            scb.sense_offset = tag * SENSE_BUFSIZE
            scb.sense_busaddr = senses.bus_addr + scb.sense_offset
            scbs.append(scb)
        at = _QOUT_BYTES + self._bucket_bytes
        elements.append(Element(shared.view[at:at + SCB_BYTES], shared.bus_addr + at))
        self.elements = tuple(elements)
        self.scbs, self.tmf_scb = tuple(scbs[:-1]), scbs[-1]
        self.forget_queues()

    # -- queues ----------------------------------------------------------------------------------------

    def forget_queues(self) -> None:
        """Everything as at probe: elements dealt out anew, queues empty, every SCB free, the highest tag first.

        What a command has mapped stays mapped, see `unmap_all`.
        """
        for scb in (*self.scbs, self.tmf_scb):
            scb.element = self.elements[scb.tag]
            scb.clear()
            scb.scmd = None
        self.reserved = self.elements[-1]
        self.free = deque(reversed(self.scbs))
        self.pending = {}
        self.busyq = deque()
        self.qinnext = self.qoutnext = 0
        self.qout_valid = QOUT_VALID
        self.shared_view[:_QOUT_BYTES] = bytes(_QOUT_BYTES)

    def held_commands(self) -> list[ScsiCmnd]:
        """Every command that some SCB still carries, taken off it."""
        scmds = []
        for scb in self.scbs:
            scmd, scb.scmd = scb.scmd, None
            if scmd is not None:
                scmds.append(scmd)
        return scmds

    def unmap(self, scb: Scb) -> None:
        """The chip reaches the command's memory no more."""
        mapped = scb.mapped
        if mapped:
            scb.mapped = ()                 # first: after a crash in between it must not be unmapped twice
            self.kernel.dma_unmap_sg(self.pdev, mapped, scb.direction)

    def unmap_all(self) -> None:
        """The same for all; every SCB is looked at, for a crash may have come before one was noted, or after."""
        for scb in self.scbs:
            self.unmap(scb)

    def release_locks(self) -> None:
        """Whoever held the lock is frozen and will never release it."""
        self.lock = self.kernel.spin_lock_init("ahd_lock")


def _nothing(_ahd: AhdSoftc) -> None:
    """Until defer_to()."""
