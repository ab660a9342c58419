"""ide_hwif_t and ide_drive_t as an IDE driver meets them, and what a driver says of its ports.

Source: `include/linux/ide.h` (2.6.9); struct ide_port_info is 2.6.2x's name for what a driver says once.  Members keep
their C names where there are any.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

from ddsdk.errors import PluginError

from .taskfile import IdeDone, IdeTask

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Kernel, PciDev
    from ddsdk.sim.locks import SpinLock

    from .identify import IdentifyData

#: C: ide_startstop_t.
ide_stopped: Final = 0
ide_started: Final = 1

#: C: ide_startstop_t do_rw_taskfile(ide_drive_t *, ide_task_t *).  Called with ide_lock held and interrupts off, never
#: while a command of this channel is outstanding.  Stores *done* in task.complete, writes the taskfile and returns
#: ide_started; ide_stopped when the channel cannot take a command now (the mid-layer tries again).  When the command is
#: over - in the interrupt handler, or in dump_poll - the driver calls ide_end_drive_cmd(task, ...), once.
DoRwTaskfile = Callable[[IdeTask, IdeDone], int]
#: C: ide_startstop_t ide_do_reset(ide_drive_t *).  Soft reset of the channel, both drives.  Called with ide_lock held
#: and interrupts off; it may drop the lock while it waits, and holds it again when it returns.  What was outstanding
#: ends with AC_ERR_OTHER, or is forgotten.  Returns 0 once the drive has reported itself ready, else -errno.
DoReset = Callable[["IdeDrive"], int]
#: C: int (*speedproc)(ide_drive_t *, u8 speed).  Sets the interface's timing for *speed* (XFER_...).  Called at scan
#: time, without locks; the mid-layer sends SET FEATURES itself.  Returns 0 or -errno: then the drive stays with PIO.
SpeedProc = Callable[["IdeDrive", int], int]

MAX_DRIVES: Final = 2
PRD_ENTRIES: Final = 256


@frozen
class IdePortInfo:
    """What a driver says of all its ports.

    `max_sectors`: 512-byte sectors a command may move.  `sg_tablesize`: segments a command may have after dma_map_sg.
    `ultra_mask`, `mwdma_mask`: DMA modes the interface can do, bit n is mode n; both 0: programmed I/O only.
    `no_lba48`: it cannot write the registers twice.  `dma_alignment`: address and length of every segment are multiples
    of one more than this mask; 511, whole sectors, is what queues have.
    """

    name: str
    proc_name: str
    do_rw_taskfile: DoRwTaskfile
    do_reset: DoReset | None = None
    speedproc: SpeedProc | None = None
    max_sectors: int = 256
    sg_tablesize: int = PRD_ENTRIES
    ultra_mask: int = 0
    mwdma_mask: int = 0
    no_lba48: bool = False
    dma_alignment: int = 511

    def __attrs_post_init__(self) -> None:
        for what in ("max_sectors", "sg_tablesize"):
            if getattr(self, what) < 1:
                raise PluginError(f"port info of {self.proc_name}: {what} {getattr(self, what)} must be at least 1")
        for what, modes in (("ultra_mask", 7), ("mwdma_mask", 3)):
            if not 0 <= getattr(self, what) < 1 << modes:
                raise PluginError(f"port info of {self.proc_name}: {what} {getattr(self, what):#x} has bits beyond mode"
                                  f" {modes - 1}")
        if self.dma_alignment < 0 or self.dma_alignment & (self.dma_alignment + 1):
            raise PluginError(f"port info of {self.proc_name}: dma_alignment {self.dma_alignment} must be a mask: 511"
                              " for whole sectors, 1 for even addresses, 0 for any")


class IdeHwif:
    """ide_hwif_t: one channel.  Limits start as the port info's and may be lowered by the driver's probe.

    `mate`: the other channel of the same chip; `channel` is 0 or 1.  `hwif_data` is the driver's own.  `ide_lock` is
    held around do_rw_taskfile and do_reset (the kernel has one for all channels; here each has its own).  `queue`:
    whose command is outstanding, and who waits for the channel; `resetting`: a reset is under way.  Waiters sleep on
    `wait`.
    """

    def __init__(self, port_info: IdePortInfo, kernel: Kernel, pdev: PciDev | None = None, index: int = 0,
                 channel: int = 0) -> None:
        self.port_info = port_info
        self.kernel = kernel
        self.pdev = pdev
        self.index = index
        self.channel = channel
        self.ide_lock: SpinLock = kernel.spin_lock_init(f"{port_info.proc_name}{index}:{channel}.ide_lock")
        self.hwif_data: Any = None
        self.mate: IdeHwif | None = None
        self.max_sectors = port_info.max_sectors
        self.sg_tablesize = port_info.sg_tablesize
        self.drives = tuple(IdeDrive(self, unit) for unit in range(MAX_DRIVES))
        self.queue: deque[object] = deque()
        self.resetting = False
        self.wait = kernel.init_waitqueue_head()
        self.last_serial = 0            # of commands handed to this channel, ever

    @property
    def busy(self) -> bool:
        """A command of the mid-layer is outstanding, or about to be (C: hwgroup->busy)."""
        return bool(self.queue)

    @property
    def channels(self) -> tuple[IdeHwif, ...]:
        """This channel and its mate, if it has one."""
        return (self,) if self.mate is None else (self, self.mate)

    def next_serial(self) -> int:
        """The serial number of the next command."""
        self.last_serial += 1
        return self.last_serial

    def __repr__(self) -> str:
        return f"<IdeHwif {self.port_info.proc_name}{self.index}:{self.channel}>"


@define(eq=False)
class IdeDrive:
    """ide_drive_t: drive *unit* (0 master, 1 slave) of a channel.

    `present`: it answered IDENTIFY DEVICE (`id`).  `dead`: it cannot be used.  `changed`: the medium was exchanged.
    `nr_sectors` counts sectors of `sector_size` bytes.  `using_dma` with `current_speed` (XFER_...), `mult_count`
    (sectors per DRQ block, 0 off): how data moves now; `mult_req`, `wcache_req` (None: leave it): what was asked for.
    `special`: these settings are due, a reset took them away.  `driver_data` is the driver's own.
    """

    hwif: IdeHwif = field(repr=False)
    unit: int
    present: bool = False
    dead: bool = False
    changed: bool = False
    id: IdentifyData | None = None
    nr_sectors: int = 0
    sector_size: int = 512
    lba48: bool = False
    using_dma: bool = False
    current_speed: int = 0
    mult_count: int = 0
    mult_req: int = 0
    wcache_req: bool | None = None
    special: bool = False
    driver_data: Any = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """`piix0:0:1`: driver, interface, channel, unit."""
        hwif = self.hwif
        return f"{hwif.port_info.proc_name}{hwif.index}:{hwif.channel}:{self.unit}"

    @property
    def model(self) -> str:
        """By IDENTIFY DEVICE."""
        return self.id.model if self.id is not None else ""

    @property
    def online(self) -> bool:
        """Present and usable."""
        return self.present and not self.dead
