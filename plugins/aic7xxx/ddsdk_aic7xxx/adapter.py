"""What the driver knows of one channel: its SCBs, targets, devices and queues.  Everything is allocated at probe.

An `AhcScb` is the driver's object; the element of the SCB array it owns changes with every command (slot exchange,
hw-aic7xxx.md 5.4), and the element's number is the tag.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from .agreement import ASYNC_NARROW, ULTRA160
from .frames import HSCB_BYTES, QIN_OFFSET, QUEUE_ENTRIES, SG_BYTES, SHARED_BYTES

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import DmaBuffer, Iomem, Kernel, PciDev, TaskletStruct, TimerList, WorkStruct
    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiHost

#: Commands the chip is given at a time; one more SCB is reserved for the exchange, another for recovery.
AHC_CAN_QUEUE: Final = 64
AHC_SCBS: Final = AHC_CAN_QUEUE + 2
#: Segments of one list, 1 KiB; the last is for a segment that crosses 4 GiB and has to be cut there.
AHC_NSEG: Final = 128
AHC_SG_TABLESIZE: Final = AHC_NSEG - 1
SG_LIST_BYTES: Final = AHC_NSEG * SG_BYTES
#: Bytes autosense asks for.
SENSE_BYTES: Final = 32
AHC_TARGETS: Final = 16
AHC_LUNS: Final = 8
#: Where the input queue's log ends.
POSITION_MASK: Final = QUEUE_ENTRIES - 1


class AhcScb:
    """One SCB.  `hscb` is the element it owns; `host_byte` stays None while nothing is wrong.

    `scmd` is None while it carries no command.  `sensing`: the element holds a REQUEST SENSE for it.  `parity`: a byte
    was damaged on the bus.  `frozen`: its device waits until the command is delivered.  `recovery`: the message that
    ends it or its target, 0 for none.  `mapped` is memory the chip may still reach, as dma_map_sg() returned it.
    """

    __slots__ = ("dev", "direction", "frozen", "host_byte", "hscb", "mapped", "negotiate", "nseg", "number", "parity",
                 "recovery", "resid", "scmd", "scsi_status", "sense_resid", "sensing", "tagged")

    def __init__(self, number: int) -> None:
        self.number = self.hscb = number
        self.scmd: ScsiCmnd | None = None
        self.dev: AhcDevice | None = None
        self.mapped: Sequence[tuple[int, int]] = ()
        self.direction = 0
        self.nseg = 0
        self.start()

    def start(self) -> None:
        """Ready for a command: nothing is known of it yet."""
        self.host_byte: int | None = None
        self.scsi_status = self.resid = self.sense_resid = self.recovery = 0
        self.sensing = self.parity = self.frozen = self.negotiate = self.tagged = False


class AhcTarget:
    """One id: agreements, and the untagged command it works on.  `negotiate`: the next command has to begin with it."""

    __slots__ = ("asked", "curr", "devices", "disconnect", "goal", "id", "ignored", "negotiate", "untagged", "user")

    def __init__(self, number: int) -> None:
        self.id = number
        self.user = ULTRA160
        self.disconnect = True
        self.untagged: AhcScb | None = None
        self.devices = tuple(AhcDevice(self, lun) for lun in range(AHC_LUNS))
        self.forget_agreement()

    def forget_agreement(self) -> None:
        """As after a reset."""
        self.curr = ASYNC_NARROW
        self.goal = self.user
        self.asked = b""                    # the request under way
        self.ignored = 0
        self.negotiate = self.goal != ASYNC_NARROW

    def renegotiate(self) -> None:
        """Something went wrong on the wire: agree anew with the next command."""
        self.negotiate = self.goal != ASYNC_NARROW

    @property
    def active(self) -> int:
        """SCBs the chip holds for it."""
        return sum(dev.active for dev in self.devices)


class AhcDevice:
    """One logical unit: commands that wait, how many are with the chip, and why none may follow.

    `qfrozen` counts reasons: an error not delivered yet, a BUSY or QUEUE FULL that is waited out until `thaw_at`.
    """

    __slots__ = ("active", "busyq", "good", "lun", "on_runlist", "openings", "qfrozen", "target", "thaw_at")

    def __init__(self, target: AhcTarget, lun: int) -> None:
        self.target = target
        self.lun = lun
        self.busyq: deque[ScsiCmnd] = deque()
        self.reset()

    def reset(self) -> None:
        """No command is with the chip, nothing holds it up."""
        self.active = self.qfrozen = self.good = 0
        self.openings = AHC_CAN_QUEUE
        self.thaw_at: int | None = None
        self.on_runlist = False


class Message:
    """The host message loop's state: what is to be sent, how far, what came in."""

    __slots__ = ("incoming", "index", "kind", "out", "reply", "scb", "sent")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """No loop is on."""
        self.kind = ""                      # "out", "in"
        self.out = b""
        self.index = 0
        self.incoming = bytearray()
        self.reply = b""                    # to be sent when the target lets us
        self.sent = 0                       # the message that ended the last one sent whole: Msg or Ext code
        self.scb: AhcScb | None = None


@frozen
class Memory:
    """DMA memory, below 4 GiB: the SCB array, S/G lists, queues, sense data."""

    hscbs: DmaBuffer
    sg: DmaBuffer
    shared: DmaBuffer
    sense: DmaBuffer

    @classmethod
    def alloc(cls, kernel: Kernel, pdev: PciDev, count: int) -> Memory:
        """For *count* SCBs."""
        alloc = kernel.dma_alloc_coherent
        return cls(alloc(pdev, count * HSCB_BYTES), alloc(pdev, count * SG_LIST_BYTES), alloc(pdev, SHARED_BYTES),
                   alloc(pdev, count * SENSE_BYTES))

    def free(self, kernel: Kernel, pdev: PciDev) -> None:
        """Give it back."""
        for buffer in (self.hscbs, self.sg, self.shared, self.sense):
            kernel.dma_free_coherent(pdev, buffer)


class Ahc:
    """struct ahc_softc: one channel, `shost.hostdata`.

    `lock` protects all of it.  `active`: the chip may be given commands, and what it says counts.  `resetting`: a host
    reset is under way; `dead`: the last one failed; `reset_due`: one is to be scheduled.  `inten`: HCNTRL.INTEN; 0
    while no handler is installed, and after a crash.  `qfrozen`: reasons why no device may be served.  `by_tag`:
    element -> the SCB with the chip that owns it.
    """

    def __init__(self, pdev: PciDev, chip: Iomem, name: str, count: int = AHC_SCBS) -> None:
        kernel: Kernel = pdev.kernel
        self.kernel = kernel
        self.pdev = pdev
        self.name = name
        self.function = int(pdev.name[-1], 16)
        self.our_id = 7
        self.scb_count = 0                  # slots on the chip
        self.cache_line_bytes = 0
        self.lock = kernel.spin_lock_init("ahc.lock")
        self.scbs = tuple(AhcScb(number) for number in range(count))
        self.targets = tuple(AhcTarget(number) for number in range(AHC_TARGETS))
        self.msg = Message()
        self.active = self.resetting = self.dead = self.reset_due = False
        self.inten = 0
        self.qfrozen = 0
        self.reset_count = 0
        self.stale = 0                      # completions of SCBs the chip does not hold
        self.unsolicited = 0                # looks at INTSTAT in a row that found nothing
        self.target_perrs = 0               # PCI parity errors on accesses to the chip
        self.wait = kernel.init_waitqueue_head()
        # made by probe
        self.shost: ScsiHost
        self.memory: Memory
        self.thaw_timer: TimerList
        self.settle_timer: TimerList
        self.runq_tasklet: TaskletStruct
        self.reset_work: WorkStruct
        self.set_access(chip)
        self.forget()

    def set_access(self, chip: Iomem) -> None:
        """Reach the registers through this BAR."""
        kernel = self.kernel
        read, write = (kernel.inb, kernel.outb) if chip.kind == "io" else (kernel.readb, kernel.writeb)
        self.chip = chip
        self.inb: Callable[[Any], Any] = partial(read, chip)
        self.outb: Callable[[Any, int], None] = lambda reg, value: write(value, chip, reg)

    def attach_memory(self, memory: Memory) -> None:
        """What the chip will read and write."""
        self.memory = memory
        self.hscb_view = memory.hscbs.view
        self.sg_view = memory.sg.view
        self.qout = memory.shared.view[:QIN_OFFSET]
        self.qin = memory.shared.view[QIN_OFFSET:]

    def printk(self, text: str) -> None:
        """A line of the kernel log."""
        self.kernel.printk(f"aic7xxx: {self.name}: {text}")

    # -- SCBs --------------------------------------------------------------------------------------

    def forget(self, *, keep_ended: bool = False) -> None:
        """No SCB is with the chip; each owns the element of its own number, the last but one waits for the exchange.

        Which memory the chip may still reach is not forgotten (`AhcScb.mapped`); with *keep_ended* neither are commands
        that ended and were not delivered.
        """
        for scb in self.scbs:
            scb.hscb = scb.number
            scb.scmd = scb.dev = None
            scb.start()
        self.recovery_scb = self.scbs[-1]
        self.reserved = self.scbs[-2]
        #: The longest unused is used first: a completion that comes twice finds its tag free.
        self.free = deque(reversed(self.scbs[:-2]))
        self.by_tag: list[AhcScb | None] = [None] * len(self.scbs)
        self.qinpos = self.qoutpos = 0
        self.runq: deque[AhcDevice] = deque()
        if not keep_ended:
            self.completeq: list[tuple[ScsiCmnd, AhcDevice | None]] = []
        self.msg.clear()
        for target in self.targets:
            target.untagged = None
            for dev in target.devices:
                dev.reset()

    def device_of(self, scmd: ScsiCmnd) -> AhcDevice:
        """The device a command goes to; the mid-layer asks for none beyond max_id and max_lun."""
        return self.targets[scmd.device.id].devices[scmd.device.lun]

    def pending(self) -> list[AhcScb]:
        """SCBs with the chip."""
        return [scb for scb in self.by_tag if scb is not None]

    def scb_of(self, tag: int) -> AhcScb | None:
        """The SCB with the chip that owns element *tag*; None for a tag that is nobody's."""
        return self.by_tag[tag] if tag < len(self.by_tag) else None

    def unmap(self, scb: AhcScb) -> None:
        """End the SCB's mapping, if it has one; a crash half way does not unmap twice."""
        mapped, scb.mapped = scb.mapped, ()
        if mapped:
            self.kernel.dma_unmap_sg(self.pdev, mapped, scb.direction)

    def unmap_all(self) -> None:
        """The chip was reset: it reaches no command's memory any more."""
        for scb in self.scbs:
            self.unmap(scb)

    def sg_bus_addr(self, scb: AhcScb) -> int:
        """Where the SCB's S/G list is."""
        return self.memory.sg.bus_addr + scb.number * SG_LIST_BYTES

    def runnable(self, dev: AhcDevice) -> None:
        """Put the device on the run list, if it has something to run and is not there."""
        if dev.busyq and not dev.qfrozen and not dev.on_runlist:
            dev.on_runlist = True
            self.runq.append(dev)

    def freeze(self, dev: AhcDevice) -> None:
        """One more reason why the device may not be served."""
        dev.qfrozen += 1

    def thaw(self, dev: AhcDevice) -> None:
        """One reason less."""
        if dev.qfrozen:
            dev.qfrozen -= 1
        self.runnable(dev)
