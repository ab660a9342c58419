"""An ATA drive: what it does with each command, given its taskfile and a way to move data.

A model of an IDE interface puts registers in front of it: it collects the taskfile, calls `begin()` when the command
register is written, and shows what the command under way says.  Commands: ATA/ATAPI-6 (T13/1410D rev 3), chapter 8.
Stricter than most drives: reserved bits and registers that must be zero abort, and so do addresses by cylinder and DMA
before any DMA mode was set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, Protocol

from attrs import frozen

from . import ata_taskfile as ata
from .ata_command import Action, AtaCommand, Refused, Reply, Transfer
from .ata_faults import BAD_SECTOR, READY, keeps_busy, refuses, registers_of
from .ata_identify import AtaIdentity, Settings, identify_device
from .ata_taskfile import SIGNATURE, AtaResult, Taskfile
from .disk import Disk, DiskError
from .disk_faults import Access, DiskFault, FaultKind

__all__ = ["AtaCommand", "AtaDrive", "AtaIdentity", "AtaResult", "AtaTiming", "DataPhase", "ResetKind", "Taskfile"]

ResetKind = Literal["power", "srst"]
Power = Literal["active", "idle", "standby", "sleep"]

#: What CHECK POWER MODE puts into the count register.
_POWER_COUNT: Final = {"active": 0xFF, "idle": 0x80, "standby": 0x00}


class DataPhase(Protocol):
    """A bus master's side: `length` bytes of host memory, to be read (gather) or filled (scatter)."""

    length: int

    def gather(self, n: int) -> list[memoryview]:
        """The first *n* bytes, to be read."""

    def scatter(self, n: int) -> list[memoryview]:
        """The first *n* bytes, to be filled."""


@frozen
class AtaTiming:
    """How long a drive takes.  The defaults are a disk with a cache on an Ultra DMA 5 cable.

    `busy_ns`: what a disk that is busy for a while adds, unless the fault says how long.
    """

    command_ns: int = 40_000
    bytes_per_second: int = 100_000_000
    flush_ns: int = 5_000_000
    start_ns: int = 2_000_000_000
    reset_ns: int = 2_000_000
    busy_ns: int = 1_000_000_000

    def data_ns(self, nbytes: int) -> int:
        """Nanoseconds that *nbytes* take on the cable."""
        return nbytes * 1_000_000_000 // self.bytes_per_second


@frozen
class _Rw:
    """How a command that names sectors is to be read."""

    protocol: ata.Protocol
    ext: bool = False
    multiple: bool = False


_IN, _OUT, _NONE = ata.Protocol.PIO_IN, ata.Protocol.PIO_OUT, ata.Protocol.NON_DATA
_DMA_IN, _DMA_OUT = ata.Protocol.DMA_IN, ata.Protocol.DMA_OUT
_RW: Final = {
    ata.READ_SECTORS: _Rw(_IN), ata.READ_SECTORS_EXT: _Rw(_IN, ext=True),
    ata.WRITE_SECTORS: _Rw(_OUT), ata.WRITE_SECTORS_EXT: _Rw(_OUT, ext=True),
    ata.READ_MULTIPLE: _Rw(_IN, multiple=True), ata.READ_MULTIPLE_EXT: _Rw(_IN, ext=True, multiple=True),
    ata.WRITE_MULTIPLE: _Rw(_OUT, multiple=True), ata.WRITE_MULTIPLE_EXT: _Rw(_OUT, ext=True, multiple=True),
    ata.READ_DMA: _Rw(_DMA_IN), ata.READ_DMA_EXT: _Rw(_DMA_IN, ext=True),
    ata.WRITE_DMA: _Rw(_DMA_OUT), ata.WRITE_DMA_EXT: _Rw(_DMA_OUT, ext=True),
    ata.READ_VERIFY_SECTORS: _Rw(_NONE), ata.READ_VERIFY_SECTORS_EXT: _Rw(_NONE, ext=True),
}


class AtaDrive:
    """A drive with *disk* in it.

    `present` False: nothing is plugged in there; the interface reports what it reports for an absent drive.
    `multiple`: sectors per DRQ block of the MULTIPLE commands, 0 off.  `dma_mode`: as SET FEATURES 03 counts it, 0
    none.
    """

    def __init__(self, disk: Disk, identity: AtaIdentity | None = None, timing: AtaTiming | None = None) -> None:
        self.disk = disk
        self.identity = identity or AtaIdentity()
        self.timing = timing or AtaTiming()
        self.present = True
        self.power: Power = "active"
        self.multiple = self.identity.power_on_multiple
        self.dma_mode = self.identity.power_on_mode
        self._power_on_cache = disk.write_cache
        self._reverting = True
        self._current: AtaCommand | None = None
        self._actions: dict[int, tuple[Callable[[Taskfile], AtaResult], Access | None]] = {
            ata.EXECUTE_DEVICE_DIAGNOSTIC: (lambda _taskfile: _PASSED, None),
            ata.SET_MULTIPLE_MODE: (self._set_multiple, Access.OTHER),
            ata.SET_FEATURES: (self._set_features, Access.OTHER),
            ata.CHECK_POWER_MODE: (self._check_power_mode, Access.OTHER),
            ata.IDLE_IMMEDIATE: (self._idle, Access.OTHER), ata.IDLE: (self._idle, Access.OTHER),
            ata.STANDBY_IMMEDIATE: (self._standby, Access.OTHER), ata.STANDBY: (self._standby, Access.OTHER),
            ata.SLEEP: (self._sleep, Access.OTHER),
            ata.FLUSH_CACHE: (self._flush, Access.FLUSH), ata.FLUSH_CACHE_EXT: (self._flush, Access.FLUSH),
        }

    # --- commands ------------------------------------------------------------------------------------------

    def begin(self, taskfile: Taskfile) -> AtaCommand:
        """Take the command in *taskfile*: BSY rises.  Whatever was under way before is forgotten."""
        if self._current is not None:
            self._current.drop()
        self._current = command = self._take(taskfile)
        return command

    def execute(self, taskfile: Taskfile, data: DataPhase) -> AtaResult:
        """Carry out a whole command at once: `begin()`, then one `move()` of as much as *data* has.

        A drive that wants more than *data* has never ends: `hang`, with DRQ in its status.
        """
        command = self.begin(taskfile)
        if command.result is not None:
            return command.result
        nbytes = min(command.nbytes, data.length)
        views = data.gather(nbytes) if command.protocol.to_device else data.scatter(nbytes)
        result = command.move(views)
        return result or AtaResult(READY | ata.DRQ, 0, taskfile, command.moved, hang=True)

    def reset(self, kind: ResetKind = "srst") -> AtaResult:
        """Power-on, or SRST in the device control register: what the host reads after `timing.reset_ns`.

        Settings revert to those of power-on; SRST leaves them when reverting was disabled (SET FEATURES 66).
        """
        if self._current is not None:
            self._current.drop()
            self._current = None
        if kind == "power":
            self.disk.power_off()
            self._reverting = True
        self.power = "active" if self.power == "sleep" or kind == "power" else self.power
        if self._reverting:
            self.multiple = self.identity.power_on_multiple
            self.dma_mode = self.identity.power_on_mode
            self.disk.write_cache = self._power_on_cache
        return _PASSED

    def _take(self, taskfile: Taskfile) -> AtaCommand:
        code = taskfile.command
        if self.power == "sleep":
            return Refused(taskfile, hang=True)
        rw, action = _RW.get(code), self._actions.get(code)
        if rw is not None:
            command = self._take_rw(taskfile, rw)
        elif code == ata.IDENTIFY_DEVICE:
            command = Reply(taskfile, self._identify)
            command.service_ns = self.timing.command_ns
        elif action is None or (code == ata.FLUSH_CACHE_EXT and not self.identity.lba48) or (
                action[1] is Access.FLUSH and not self.identity.flush):
            command = self._abort(taskfile)
        else:
            command = self._take_action(taskfile, *action)
        return command

    def _take_action(self, taskfile: Taskfile, act: Callable[[Taskfile], AtaResult],
                     access: Access | None) -> AtaCommand:
        fault = self.disk.faults.strike(access) if access is not None and self.disk.faults.armed else None
        refused = self._refused(taskfile, fault, write=access is Access.FLUSH)
        if fault is not None and fault.kind is FaultKind.MEDIUM:
            refused = Refused(taskfile, *registers_of(fault.sense or BAD_SECTOR, access is Access.FLUSH))
        command = refused or Action(taskfile, lambda: act(taskfile))
        command.service_ns = self.timing.command_ns + self._delays(access, fault)
        if access is Access.FLUSH:
            command.service_ns += self.timing.flush_ns
        return command

    def _take_rw(self, taskfile: Taskfile, rw: _Rw) -> AtaCommand:
        if not self._well_formed(taskfile, rw):
            return self._abort(taskfile)
        disk, write = self.disk, rw.protocol.to_device
        sector, sectors = taskfile.sector(rw.ext), taskfile.sectors(rw.ext)
        end = disk.sectors if rw.ext else min(disk.sectors, ata.LBA28_MAX)
        if sector + sectors > end:
            first = max(sector, end)
            command: AtaCommand = Refused(taskfile.at(first, sectors, rw.ext), READY | ata.ERR, ata.IDNF)
            command.service_ns = self.timing.command_ns
            return command
        access = Access.WRITE if write else Access.READ
        fault = disk.faults.strike(access, sector, sectors) if disk.faults.armed else None
        refused = self._refused(taskfile, fault, write=write)
        if refused is not None:
            command = refused
        elif rw.protocol is _NONE:
            command = Action(taskfile, lambda: self._verify(taskfile, rw.ext, fault))
        else:
            command = Transfer(disk, taskfile, rw.protocol, sector, sectors, rw.ext,
                               self.multiple if rw.multiple else 1, fault)
        command.service_ns = self.timing.command_ns + self._delays(access, fault)
        if self.power == "standby":
            command.service_ns += self.timing.start_ns
        self.power = "active"
        return command

    def _well_formed(self, taskfile: Taskfile, rw: _Rw) -> bool:
        if not taskfile.device & ata.LBA or (rw.protocol.dma and not self.dma_mode):
            return False
        if rw.multiple and not self.multiple:
            return False
        reserved = taskfile.device & 0x0F or taskfile.feature or taskfile.hob_feature
        return not rw.ext or (self.identity.lba48 and not reserved)

    def _refused(self, taskfile: Taskfile, fault: DiskFault | None, *, write: bool) -> AtaCommand | None:
        """What a fault leaves of a command that it lets do nothing."""
        if fault is None:
            return None
        if fault.kind is FaultKind.HANG:
            return Refused(taskfile, hang=True)
        if refuses(fault):
            return Refused(taskfile, *registers_of(fault.sense, write))
        return None

    def _abort(self, taskfile: Taskfile) -> AtaCommand:
        command = Refused(taskfile, *_ABORTED)
        command.service_ns = self.timing.command_ns
        return command

    def _delays(self, access: Access | None, fault: DiskFault | None) -> int:
        """What faults add to the service time."""
        extra = 0
        if fault is not None and keeps_busy(fault):
            extra = fault.amount or self.timing.busy_ns
        if access is not None and self.disk.faults.armed:
            slow = self.disk.faults.strike(access, slow=True)
            extra += slow.amount if slow is not None else 0
        return extra

    # --- what they do --------------------------------------------------------------------------------------

    def _identify(self) -> bytes:
        disk = self.disk
        return identify_device(self.identity, Settings(disk.sectors, disk.sector_size, self.multiple, self.dma_mode,
                                                       disk.write_cache))

    def _verify(self, taskfile: Taskfile, ext: bool, fault: DiskFault | None) -> AtaResult:
        """READ VERIFY: read, and give nothing away."""
        sector, sectors = taskfile.sector(ext), taskfile.sectors(ext)
        try:
            if fault is not None and fault.kind is FaultKind.MEDIUM:
                sector = max(sector, fault.first)
                raise DiskError(fault.sense or BAD_SECTOR, "a bad sector")
            self.disk.readv(sector, [memoryview(bytearray(sectors * self.disk.sector_size))])
        except DiskError as error:
            return AtaResult(*registers_of(error.sense, False), taskfile.at(sector, sectors, ext))
        return AtaResult(READY, 0, taskfile.at(sector + sectors, 0, ext))

    def _set_multiple(self, taskfile: Taskfile) -> AtaResult:
        count = taskfile.nsector
        if count & (count - 1) or count > self.identity.max_multiple:
            self.multiple = 0           # a refused mode is no mode
            return AtaResult(*_ABORTED, taskfile)
        self.multiple = count
        return AtaResult(READY, 0, taskfile)

    def _set_features(self, taskfile: Taskfile) -> AtaResult:
        feature, good = taskfile.feature, AtaResult(READY, 0, taskfile)
        if feature == ata.ENABLE_WRITE_CACHE and self.identity.write_cache:
            self.disk.write_cache = True
        elif feature == ata.DISABLE_WRITE_CACHE and self.identity.write_cache:
            good = self._flush(taskfile)
            self.disk.write_cache = self.disk.write_cache and good.status != READY
        elif feature == ata.SET_TRANSFER_MODE and self._has_mode(taskfile.nsector):
            mode = taskfile.nsector
            self.dma_mode = mode if mode >= ata.MWDMA_MODE else self.dma_mode
        elif feature in (ata.DISABLE_REVERTING, ata.ENABLE_REVERTING):
            self._reverting = feature == ata.ENABLE_REVERTING
        else:
            return AtaResult(*_ABORTED, taskfile)
        return good

    def _has_mode(self, mode: int) -> bool:
        return (mode in (ata.PIO_DEFAULT, ata.PIO_DEFAULT_NO_IORDY) or ata.PIO_MODE <= mode <= ata.PIO_MODE + 4
                or self.identity.has_dma_mode(mode))

    def _check_power_mode(self, taskfile: Taskfile) -> AtaResult:
        return AtaResult(READY, 0, taskfile._replace(nsector=_POWER_COUNT[self.power]))

    def _idle(self, taskfile: Taskfile) -> AtaResult:
        self.power = "idle"
        return AtaResult(READY, 0, taskfile)

    def _standby(self, taskfile: Taskfile) -> AtaResult:
        """The cache is written out before the heads are parked."""
        result = self._flush(taskfile)
        self.power = "standby"
        return result

    def _sleep(self, taskfile: Taskfile) -> AtaResult:
        """Only a reset wakes it."""
        result = self._flush(taskfile)
        self.power = "sleep"
        return result

    def _flush(self, taskfile: Taskfile) -> AtaResult:
        try:
            self.disk.flush()
        except DiskError as error:
            return AtaResult(*registers_of(error.sense, True), taskfile)
        return AtaResult(READY, 0, taskfile)


_ABORTED: Final = (READY | ata.ERR, ata.ABRT)
#: The first drive found nothing wrong with itself.
_PASSED: Final = AtaResult(READY, ata.PASSED, SIGNATURE)
