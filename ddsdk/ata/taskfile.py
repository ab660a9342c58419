"""Taskfile commands: codes and register bits, and the object that carries a command through a driver.

Source: `include/linux/hdreg.h`, `include/linux/ide.h` (2.6.9); `include/linux/libata.h` for struct ata_taskfile and the
AC_ERR_ bits (2.6.16); ATA/ATAPI-6 (T13/1410D rev 3), chapter 8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..block.pieces import ScatterList

if TYPE_CHECKING:
    from .host import IdeDrive

# status register
BUSY_STAT: Final = 0x80
READY_STAT: Final = 0x40
WRERR_STAT: Final = 0x20            # DF, device fault
SEEK_STAT: Final = 0x10
DRQ_STAT: Final = 0x08
ECC_STAT: Final = 0x04              # corrected
INDEX_STAT: Final = 0x02
ERR_STAT: Final = 0x01
#: C: BAD_STAT of a command that should be over: none of these may be set.
BAD_STAT: Final = BUSY_STAT | WRERR_STAT | DRQ_STAT | ERR_STAT

# error register
ICRC_ERR: Final = 0x80              # with ABRT_ERR, or after DMA: CRC error on the cable
BBD_ERR: Final = 0x80               # else: bad block
ECC_ERR: Final = 0x40               # UNC
MC_ERR: Final = 0x20
ID_ERR: Final = 0x10                # IDNF
MCR_ERR: Final = 0x08
ABRT_ERR: Final = 0x04
TRK0_ERR: Final = 0x02
MARK_ERR: Final = 0x01

# commands
WIN_READ: Final = 0x20
WIN_READ_EXT: Final = 0x24
WIN_READDMA_EXT: Final = 0x25
WIN_MULTREAD_EXT: Final = 0x29
WIN_WRITE: Final = 0x30
WIN_WRITE_EXT: Final = 0x34
WIN_WRITEDMA_EXT: Final = 0x35
WIN_MULTWRITE_EXT: Final = 0x39
WIN_MULTREAD: Final = 0xC4
WIN_MULTWRITE: Final = 0xC5
WIN_SETMULT: Final = 0xC6
WIN_READDMA: Final = 0xC8
WIN_WRITEDMA: Final = 0xCA
WIN_STANDBYNOW1: Final = 0xE0
WIN_IDLEIMMEDIATE: Final = 0xE1
WIN_CHECKPOWERMODE1: Final = 0xE5
WIN_FLUSH_CACHE: Final = 0xE7
WIN_FLUSH_CACHE_EXT: Final = 0xEA
WIN_IDENTIFY: Final = 0xEC
WIN_SETFEATURES: Final = 0xEF

SETFEATURES_EN_WCACHE: Final = 0x02
SETFEATURES_XFER: Final = 0x03
SETFEATURES_DIS_WCACHE: Final = 0x82

#: Transfer modes, as SETFEATURES_XFER counts them: mode n is XFER_UDMA_0 + n.
XFER_PIO_0: Final = 0x08
XFER_MW_DMA_0: Final = 0x20
XFER_UDMA_0: Final = 0x40

# how a command moves its data
TASKFILE_NO_DATA: Final = 0x0000
TASKFILE_IN: Final = 0x0001
TASKFILE_MULTI_IN: Final = 0x0002
TASKFILE_OUT: Final = 0x0004
TASKFILE_MULTI_OUT: Final = 0x0008
TASKFILE_IN_DMA: Final = 0x0020
TASKFILE_OUT_DMA: Final = 0x0040
_TO_DEVICE: Final = TASKFILE_OUT | TASKFILE_MULTI_OUT | TASKFILE_OUT_DMA

# what a driver knows that the drive's registers do not say
AC_ERR_DEV: Final = 1 << 0          # the drive said so: see status and error
AC_ERR_HSM: Final = 1 << 1          # the drive does not follow the protocol
AC_ERR_TIMEOUT: Final = 1 << 2      # the driver itself gave up waiting
AC_ERR_MEDIA: Final = 1 << 3        # the drive said so
AC_ERR_ATA_BUS: Final = 1 << 4      # CRC error on the cable
AC_ERR_HOST_BUS: Final = 1 << 5     # the bus master reports an error
AC_ERR_SYSTEM: Final = 1 << 6       # the driver could not do it just now
AC_ERR_INVALID: Final = 1 << 7      # the driver cannot do such a command at all
AC_ERR_OTHER: Final = 1 << 8        # something else: a reset ended it
AC_ERR_NODEV_HINT: Final = 1 << 9   # no drive there

#: Device register: bits 7 and 5 are obsolete and set, as drives of old want them.
_DEVICE: Final = 0xA0
_LBA: Final = 0x40

#: Names for messages.
COMMAND_NAMES: Final = {
    WIN_READ: "READ SECTORS", WIN_READ_EXT: "READ SECTORS EXT", WIN_READDMA: "READ DMA",
    WIN_READDMA_EXT: "READ DMA EXT", WIN_MULTREAD: "READ MULTIPLE", WIN_MULTREAD_EXT: "READ MULTIPLE EXT",
    WIN_WRITE: "WRITE SECTORS", WIN_WRITE_EXT: "WRITE SECTORS EXT", WIN_WRITEDMA: "WRITE DMA",
    WIN_WRITEDMA_EXT: "WRITE DMA EXT", WIN_MULTWRITE: "WRITE MULTIPLE", WIN_MULTWRITE_EXT: "WRITE MULTIPLE EXT",
    WIN_SETMULT: "SET MULTIPLE MODE", WIN_STANDBYNOW1: "STANDBY IMMEDIATE", WIN_IDLEIMMEDIATE: "IDLE IMMEDIATE",
    WIN_CHECKPOWERMODE1: "CHECK POWER MODE", WIN_FLUSH_CACHE: "FLUSH CACHE", WIN_FLUSH_CACHE_EXT: "FLUSH CACHE EXT",
    WIN_IDENTIFY: "IDENTIFY DEVICE", WIN_SETFEATURES: "SET FEATURES",
}


def command_name(command: int) -> str:
    """`WRITE DMA EXT`, or `command 0x42`."""
    return COMMAND_NAMES.get(command) or f"command {command:#04x}"


class AtaTaskfile(NamedTuple):
    """struct ata_taskfile: what goes into the command block registers, one byte each.

    `lba48`: a 48-bit command; the `hob_` values are written first, then the others, into the same registers.
    As a result: what the registers read back.
    """

    command: int = 0
    feature: int = 0
    nsector: int = 0
    lbal: int = 0
    lbam: int = 0
    lbah: int = 0
    device: int = _DEVICE
    hob_feature: int = 0
    hob_nsector: int = 0
    hob_lbal: int = 0
    hob_lbam: int = 0
    hob_lbah: int = 0
    lba48: bool = False

    @property
    def sector(self) -> int:
        """The LBA in the registers."""
        low = self.lbah << 16 | self.lbam << 8 | self.lbal
        if self.lba48:
            return (self.hob_lbah << 16 | self.hob_lbam << 8 | self.hob_lbal) << 24 | low
        return (self.device & 0x0F) << 24 | low


def control(unit: int, command: int, feature: int = 0, nsector: int = 0) -> AtaTaskfile:
    """A command of drive *unit* without an address."""
    return AtaTaskfile(command, feature, nsector, device=_DEVICE | unit << 4)


def read_write(command: int, unit: int, sector: int, sectors: int, lba48: bool) -> AtaTaskfile:
    """*command* on *sectors* from *sector* on; counts of 256 (28 bits) and 65536 (48 bits) are 0 in the registers."""
    device = _DEVICE | _LBA | unit << 4
    low, mid, high = sector & 0xFF, sector >> 8 & 0xFF, sector >> 16 & 0xFF
    if lba48:
        return AtaTaskfile(command, 0, sectors & 0xFF, low, mid, high, device, 0, sectors >> 8 & 0xFF,
                           sector >> 24 & 0xFF, sector >> 32 & 0xFF, sector >> 40 & 0xFF, True)
    return AtaTaskfile(command, 0, sectors & 0xFF, low, mid, high, device | sector >> 24 & 0x0F)


#: (write, how) -> (28-bit command, 48-bit command, data phase); how: 0 PIO, 1 MULTIPLE, 2 DMA.
_RW: Final = {
    (False, 0): (WIN_READ, WIN_READ_EXT, TASKFILE_IN),
    (False, 1): (WIN_MULTREAD, WIN_MULTREAD_EXT, TASKFILE_MULTI_IN),
    (False, 2): (WIN_READDMA, WIN_READDMA_EXT, TASKFILE_IN_DMA),
    (True, 0): (WIN_WRITE, WIN_WRITE_EXT, TASKFILE_OUT),
    (True, 1): (WIN_MULTWRITE, WIN_MULTWRITE_EXT, TASKFILE_MULTI_OUT),
    (True, 2): (WIN_WRITEDMA, WIN_WRITEDMA_EXT, TASKFILE_OUT_DMA),
}


def rw_taskfile(drive: IdeDrive, write: bool, sector: int, sectors: int) -> tuple[AtaTaskfile, int]:
    """(taskfile, data phase) of a read or write the way *drive* is set up now: DMA, MULTIPLE, or sector by sector."""
    how = 2 if drive.using_dma else 1 if drive.mult_count else 0
    short, long, phase = _RW[write, how]
    return read_write(long if drive.lba48 else short, drive.unit, sector, sectors, drive.lba48), phase


class IdeTask:
    """ide_task_t: one command on its way through an IDE driver.

    `tf` goes into the registers, `data_phase` (TASKFILE_...) says how the data moves: `nbytes` of it, in the memory
    `sg` names by physical address.  The driver maps `sg` for DMA (dma_map_sg), or copies through the data port block by
    block (`block_bytes`, `pieces()`).  When the command is over, `ide_end_drive_cmd()` says how, once.

    Result: `status`, `error` registers; `result_tf` what the others read, None when they were not read; `resid` bytes
    of `nbytes` that did not move; `err_mask` what the driver alone knows.  `special` is the driver's.  The mid-layer
    reuses IdeTask objects; `serial_number` tells the uses apart.
    """

    __slots__ = ("allowed", "complete", "data_phase", "done", "drive", "err_mask", "error", "nbytes", "resid",
                 "result_tf", "retries", "serial_number", "sg", "special", "status", "tf", "timeout")

    def __init__(self, drive: IdeDrive) -> None:
        self.drive = drive
        self.tf = AtaTaskfile()
        self.data_phase: int = TASKFILE_NO_DATA
        self.sg: ScatterList = ()
        self.nbytes = 0
        self.status = 0
        self.error = 0
        self.result_tf: AtaTaskfile | None = None
        self.resid = 0
        self.err_mask = 0
        self.retries = 0
        self.allowed = 5
        self.timeout = 0                # jiffies
        self.serial_number = 0
        self.complete: IdeDone = ignore_completion
        self.special: Any = None
        self.done = True                # nothing is outstanding

    def prepare(self, tf: AtaTaskfile, data_phase: int, serial_number: int) -> None:
        """Make it ready to be handed to the driver."""
        self.tf, self.data_phase, self.serial_number = tf, data_phase, serial_number
        self.status = self.error = self.err_mask = 0
        self.resid = 0
        self.result_tf = None
        self.done = False

    @property
    def to_device(self) -> bool:
        """Data goes to the drive."""
        return bool(self.data_phase & _TO_DEVICE)

    @property
    def dma(self) -> bool:
        """A bus master moves the data."""
        return bool(self.data_phase & (TASKFILE_IN_DMA | TASKFILE_OUT_DMA))

    @property
    def block_bytes(self) -> int:
        """Bytes between two looks at the status register, by PIO; the last block may be shorter."""
        multiple = self.drive.mult_count if self.data_phase & (TASKFILE_MULTI_IN | TASKFILE_MULTI_OUT) else 1
        return min(self.nbytes, multiple * self.drive.sector_size)

    def pieces(self, offset: int, nbytes: int) -> list[tuple[int, int]]:
        """(physical address, bytes) of the *nbytes* of data from byte *offset* on."""
        found = []
        for segment, length in self.sg:
            if offset >= length:
                offset -= length
                continue
            take = min(length - offset, nbytes)
            if not take:
                break
            found.append((segment + offset, take))
            offset, nbytes = 0, nbytes - take
        return found

    def __repr__(self) -> str:
        return (f"<IdeTask {self.serial_number} {command_name(self.tf.command)} status={self.status:#04x}"
                f" error={self.error:#04x} done={self.done}>")


#: Called by the driver once for each command that ended.
IdeDone = Callable[[IdeTask], None]


def ignore_completion(_task: IdeTask) -> None:
    """The completion of a command nobody waits for."""


def ide_end_drive_cmd(task: IdeTask, stat: int, err: int = 0, tf: AtaTaskfile | None = None, resid: int = 0,
                      err_mask: int = 0) -> None:
    """void ide_end_drive_cmd(ide_drive_t *, u8 stat, u8 err): *task* is over.

    *stat*, *err*: status and error registers as they are now; *tf*: the others, *resid*: bytes that did not move,
    *err_mask*: AC_ERR_... the driver knows of.
    """
    task.status, task.error, task.result_tf = stat, err, tf
    task.resid, task.err_mask = resid, err_mask
    task.complete(task)
