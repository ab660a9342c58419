"""struct scsi_host_template, Scsi_Host and scsi_device as a low-level driver meets them.

Source: `include/scsi/scsi_host.h`, `include/scsi/scsi_device.h` (2.6.9); members keep their C names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

from ddsdk.errors import PluginError

from .cmnd import MAX_COMMAND_SIZE, ScsiCmnd

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Kernel, PciDev
    from ddsdk.sim.locks import SpinLock

#: scsi_done: called by the driver once for each command that ended.
ScsiDone = Callable[[ScsiCmnd], None]
#: C: int (*queuecommand)(struct scsi_cmnd *, void (*done)(struct scsi_cmnd *)).  Called with host_lock held
#: and interrupts off.  Stores *done* in scmd.scsi_done, starts the command and returns 0, or
#: SCSI_MLQUEUE_HOST_BUSY.
QueueCommand = Callable[[ScsiCmnd, ScsiDone], int]
#: C: int (*eh_..._handler)(struct scsi_cmnd *).  Called with host_lock held; returns SUCCESS or FAILED.  It
#: may drop the lock while it waits, and holds it again when it returns.
ErrorHandler = Callable[[ScsiCmnd], int]

SG_ALL: Final = 255
SCSI_2: Final = 3
TYPE_DISK: Final = 0x00


@frozen
class ScsiHostTemplate:
    """What a driver says of all its adapters.

    `can_queue`: commands outstanding on one host.  `sg_tablesize`: segments a command may have after
    dma_map_sg. `max_sectors`: 512-byte sectors a command may move.  `cmd_per_lun`: commands outstanding on
    one device.  `dma_alignment`: address and length of every segment are multiples of one more than this mask; 511,
    whole sectors, is what queues have unless slave_configure() calls blk_queue_dma_alignment().
    """

    name: str
    proc_name: str
    queuecommand: QueueCommand
    can_queue: int = 1
    this_id: int = 7
    sg_tablesize: int = SG_ALL
    max_sectors: int = 1024
    cmd_per_lun: int = 1
    use_clustering: bool = True
    dma_alignment: int = 511
    eh_abort_handler: ErrorHandler | None = None
    eh_device_reset_handler: ErrorHandler | None = None
    eh_bus_reset_handler: ErrorHandler | None = None
    eh_host_reset_handler: ErrorHandler | None = None

    def __attrs_post_init__(self) -> None:
        for what in ("can_queue", "sg_tablesize", "max_sectors", "cmd_per_lun"):
            value = getattr(self, what)
            if value < 1:
                raise PluginError(f"host template {self.proc_name}: {what} {value} must be at least 1")
        if self.dma_alignment < 0 or self.dma_alignment & (self.dma_alignment + 1):
            raise PluginError(f"host template {self.proc_name}: dma_alignment {self.dma_alignment} must be a mask: 511"
                              " for whole sectors, 3 for dwords, 0 for any byte")


class ScsiHost:
    """One adapter.  Limits start as the template's and may be lowered by the driver's probe.

    `hostdata` is the driver's own.  `host_lock` is held around queuecommand and the error handlers.
    """

    def __init__(self, hostt: ScsiHostTemplate, kernel: Kernel, pdev: PciDev | None = None,
                 host_no: int = 0) -> None:
        self.hostt = hostt
        self.kernel = kernel
        self.pdev = pdev
        self.host_no = host_no
        self.host_lock: SpinLock = kernel.spin_lock_init(f"{hostt.proc_name}{host_no}.host_lock")
        self.hostdata: Any = None
        self.max_channel = 0            # highest channel
        self.max_id = 8                 # ids 0..max_id-1
        self.max_lun = 8                # luns 0..max_lun-1
        self.this_id = hostt.this_id
        self.can_queue = hostt.can_queue
        self.sg_tablesize = hostt.sg_tablesize
        self.max_sectors = hostt.max_sectors
        self.cmd_per_lun = hostt.cmd_per_lun
        self.max_cmd_len = MAX_COMMAND_SIZE
        self.last_serial = 0            # of commands handed to this host, ever

    def next_serial(self) -> int:
        """The serial number of the next command."""
        self.last_serial += 1
        return self.last_serial

    def __repr__(self) -> str:
        return f"<ScsiHost {self.hostt.proc_name}{self.host_no}>"


@define(eq=False)
class ScsiDevice:
    """One logical unit behind a host.

    `sector_size` bytes; `nr_sectors` counts sectors of that size.  `scsi_level` is the kernel's: INQUIRY byte
    2, plus 1 from SCSI-2 on (3 is SCSI-2).  `changed`: the medium was exchanged.  `expecting_cc_ua`: a reset
    was done, one unit attention is due.  `hostdata` is the driver's own.
    """

    host: ScsiHost
    channel: int
    id: int
    lun: int
    online: bool = True
    changed: bool = False
    sector_size: int = 512
    nr_sectors: int = 0
    scsi_level: int = SCSI_2
    type: int = TYPE_DISK
    vendor: str = ""
    model: str = ""
    rev: str = ""
    use_16_for_rw: bool = False
    tagged_supported: bool = False
    expecting_cc_ua: bool = False
    hostdata: Any = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """`hba0:0:3:0`: driver, host, channel, id, lun."""
        return f"{self.host.hostt.proc_name}{self.host.host_no}:{self.channel}:{self.id}:{self.lun}"
