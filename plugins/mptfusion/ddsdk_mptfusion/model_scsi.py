"""SCSI I/O as the IOC carries it out: parse the frame, walk its list, run the command, post the reply.

The hot path of the whole model: one object a command, precompiled structs, faults asked about only while some
are armed.  Layouts: frames.py.  Outcomes: LSI mpi_init.h 01.05.09; QEMU 7.2 mptsas1068, observed, for which
status goes with which failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE
from ddsdk.sim.scsi_target import CHECK_CONDITION, ScsiResult, ScsiTarget, transfer_of
from ddsdk.sim.scsi_unit import ScatterData

from . import model_faulty
from .frames import SCSIIOReply, SCSIIORequest
from .model_sgl import Segment, SglError, walk
from .mpi import (
    SCSIIO_CONTROL_ACAQ,
    SCSIIO_CONTROL_HEADOFQ,
    SCSIIO_CONTROL_NO_DISCONNECT,
    SCSIIO_CONTROL_NODATATRANSFER,
    SCSIIO_CONTROL_ORDEREDQ,
    SCSIIO_CONTROL_READ,
    SCSIIO_CONTROL_SIMPLEQ,
    SCSIIO_CONTROL_UNTAGGED,
    SCSIIO_CONTROL_WRITE,
    SCSIIO_MSGFLGS_CMD_DETERMINES_DATA_DIR,
    SCSIIO_MSGFLGS_SENSE_LOC_IOC,
    SCSIIO_SGL_OFFSET,
    SGE_FLAGS_SHIFT,
    SGE_LAST_READ_32,
    SGE_LAST_WRITE_32,
    SGE_LENGTH_MASK,
    IOCStatus,
    MsgFunction,
    ScsiState,
)

if TYPE_CHECKING:
    from .model_core import IocCore

_parse = SCSIIORequest.on(WIRE_LE).struct.unpack_from
_reply = SCSIIOReply.on(WIRE_LE).struct.pack
_REPLY_DWORDS = SCSIIOReply.on(WIRE_LE).size // 4
_element = Struct("<II").unpack_from

_SECTOR_BYTES = 512                     # for a CDB to a logical unit that is not there
_ATTRIBUTES = (SCSIIO_CONTROL_SIMPLEQ, SCSIIO_CONTROL_HEADOFQ, SCSIIO_CONTROL_ORDEREDQ, SCSIIO_CONTROL_ACAQ,
               SCSIIO_CONTROL_UNTAGGED, SCSIIO_CONTROL_NO_DISCONNECT)
_DIRECTIONS = ((SCSIIO_CONTROL_NODATATRANSFER, None), (SCSIIO_CONTROL_READ, False),
               (SCSIIO_CONTROL_WRITE, True))
#: Every Control word that is in order -> to the device?
_CONTROL: Final[Mapping[int, bool | None]] = {way | attribute: to_device for way, to_device in _DIRECTIONS
                                    for attribute in _ATTRIBUTES}
#: Single-level LUN, peripheral device addressing: byte 1 is the number.
_FLAT_LUNS = frozenset(bytes((0, lun, 0, 0, 0, 0, 0, 0)) for lun in range(256))
#: The one-element lists nearly every request has, by direction.
_ONLY_ELEMENT: Final = {True: SGE_LAST_WRITE_32 >> SGE_FLAGS_SHIFT, False: SGE_LAST_READ_32 >> SGE_FLAGS_SHIFT,
                 None: SGE_LAST_READ_32 >> SGE_FLAGS_SHIFT}


class ScsiTask(ScatterData):
    """One SCSI I/O request the IOC works on; also its data phase, as the target sees it."""

    __slots__ = ("bus", "cdb", "cdb_length", "context", "dead", "id", "length", "lun", "msg_flags", "scsi",
                 "segments", "sense_address", "sense_length", "target", "to_device")

    target: ScsiTarget
    cdb_length: int
    sense_length: int
    sense_address: int
    msg_flags: int
    segments: list[Segment]

    to_device: bool | None

    def __init__(self, scsi: ScsiIo, bus: int, target_id: int, lun: int, cdb: bytes, length: int,
                 context: int) -> None:
        self.scsi = scsi
        self.bus, self.id, self.lun = bus, target_id, lun
        self.cdb = cdb
        self.length = length
        self.context = context
        self.dead = False

    def _views(self, n: int, to_device: bool) -> list[memoryview]:
        view = self.scsi.dma_view
        first, length = self.segments[0] if self.segments else (0, 0)
        if n <= length:
            return view(first, n, to_device) if n else []
        views: list[memoryview] = []
        for address, length in self.segments:
            if length >= n:
                return views + view(address, n, to_device)
            views += view(address, length, to_device)
            n -= length
        return views


class ScsiIo:
    """The SCSI side of one IOC: its targets, the requests it works on."""

    def __init__(self, ioc: IocCore, targets: Mapping[tuple[int, int], ScsiTarget]) -> None:
        self._ioc = ioc
        self._chip = ioc.chip
        self._frame_bytes = ioc.chip.RequestFrameSize * 4
        self.targets = dict(targets)
        #: In the order of their arrival; a dict because order must not depend on hashes.
        self.tasks: dict[ScsiTask, None] = {}
        self._free_at_ns: dict[tuple[int, int], int] = {}
        self.dma_view: Callable[[int, int, bool], list[memoryview]]

    def reset(self) -> None:
        """All requests are forgotten; nothing answers for them."""
        for task in self.tasks:
            task.dead = True
        self.tasks.clear()
        self._free_at_ns.clear()

    def reset_bus(self, bus: int | None = None) -> None:
        """A bus reset, or the loss of the link, reached every target (of one *bus*)."""
        for (number, _), target in self.targets.items():
            if bus is None or number == bus:
                target.reset("bus")

    def address_error(self, bus: int, target_id: int) -> IOCStatus | None:
        """What is wrong with an address; None when a target answers there."""
        if bus >= self._chip.MaxBuses:
            return IOCStatus.SCSI_INVALID_BUS
        target = self.targets.get((bus, target_id))
        if target is None or not target.present or not self._ioc.messages.ports_enabled:
            if target_id >= self._chip.PortMaxDevices:
                return self._chip.target_out_of_range
            return IOCStatus.SCSI_DEVICE_NOT_THERE
        return None

    # -- a request arrives -----------------------------------------------------------------------------

    def start(self, mfa: int, frame: bytes) -> None:
        """A request was fetched from bus address *mfa*: *frame* is its beginning."""
        (target_id, bus, chain_offset, _, cdb_length, sense_length, msg_flags, context, lun, control, cdb,
         length, sense_address) = _parse(frame)
        ioc = self._ioc
        task = ScsiTask(self, bus, target_id, lun[1], cdb[:cdb_length], length, context)
        task.cdb_length, task.msg_flags = cdb_length, msg_flags
        task.sense_length, task.sense_address = sense_length, sense_address
        self.tasks[task] = None
        target = self.targets.get((bus, target_id))
        wrong = self.address_error(bus, target_id)
        if target is None or wrong is not None:
            self.post_after(ioc.timing.selection_ns, task, wrong or IOCStatus.INTERNAL_ERROR,
                            ScsiState.NO_SCSI_STATUS)
            return
        task.target = target
        refused = self._refused(task, mfa, frame, chain_offset, lun, control)
        if refused is not None:
            self.post_after(ioc.timing.command_ns, task, refused, ScsiState.NO_SCSI_STATUS)
            return
        if ioc.faults.armed and model_faulty.at_start(ioc, task):
            return
        place = (bus, target_id)
        now_ns = ioc.clock.now_ns
        begin_ns = max(now_ns + ioc.timing.command_ns, self._free_at_ns.get(place, 0))
        end_ns = begin_ns + target.service_ns(task.cdb, length)
        self._free_at_ns[place] = end_ns
        ioc.clock.at_ns(end_ns, self._finish, task)

    def _refused(self, task: ScsiTask, mfa: int, frame: bytes, chain_offset: int, lun: bytes,
                 control: int) -> IOCStatus | None:
        """Check the request; sets direction and scatter list.  None when it may run."""
        if (control not in _CONTROL or lun not in _FLAT_LUNS or not 6 <= task.cdb_length <= 16
                or task.msg_flags & SCSIIO_MSGFLGS_SENSE_LOC_IOC):
            return IOCStatus.INVALID_FIELD
        direction = _CONTROL[control]
        unit = task.target.units.get(task.lun)
        wanted, wants_out = transfer_of(task.cdb, _SECTOR_BYTES if unit is None else unit.disk.sector_size)
        if task.msg_flags & SCSIIO_MSGFLGS_CMD_DETERMINES_DATA_DIR:
            direction = wants_out
        task.to_device = direction
        element, address = _element(frame, SCSIIO_SGL_OFFSET)
        size = element & SGE_LENGTH_MASK
        if element >> SGE_FLAGS_SHIFT == _ONLY_ELEMENT[direction]:
            task.segments = [(address, size)] if size else []
        else:
            try:
                task.segments = walk(frame, mfa, self._frame_bytes, chain_offset, direction,
                                     self._chip.MaxChainDepth, self._ioc.dma.read)
            except SglError as error:
                self._ioc.note("sgl", str(error))
                return IOCStatus.INVALID_SGL
            size = sum([piece[1] for piece in task.segments])
        if size < task.length:
            return IOCStatus.INVALID_SGL
        if wanted > task.length or (wanted and wants_out is not direction):
            return IOCStatus.SCSI_DATA_OVERRUN
        return None

    # -- its end ---------------------------------------------------------------------------------------

    def _finish(self, task: ScsiTask) -> None:
        if task.dead:
            return
        ioc = self._ioc
        faulty = bool(ioc.faults.armed)
        if faulty and model_faulty.at_finish(ioc, task):
            return
        result = task.target.execute(task.lun, task.cdb, task)
        if result.hang:
            return
        if not result.status and result.transferred == task.length:
            del self.tasks[task]
            if faulty:
                model_faulty.post_good(ioc, task)
            else:
                ioc.post_context(task.context)
            return
        self._report(task, result)

    def _report(self, task: ScsiTask, result: ScsiResult) -> None:
        """Anything but GOOD and complete: autosense goes to the host, then an address reply."""
        status, state, sense = IOCStatus.SUCCESS, ScsiState(0), result.sense
        if result.transferred < task.length or (sense and self._chip.check_is_underrun):
            status = IOCStatus.SCSI_DATA_UNDERRUN
        written = min(len(sense), task.sense_length)
        if written:
            state = ScsiState.AUTOSENSE_VALID
            self._ioc.write_sense(task.sense_address, sense[:written])
        elif result.status == CHECK_CONDITION:
            state = ScsiState.AUTOSENSE_FAILED
        self.post(task, status, state, result.status, result.transferred, written)

    def post(self, task: ScsiTask, status: int, state: int, scsi_status: int = 0, transferred: int = 0,
             sense_count: int = 0, log_info: int = 0) -> None:
        """The request ends with an address reply."""
        self.tasks.pop(task, None)
        task.dead = True
        self._ioc.post_reply(self.reply(task, status, state, scsi_status, transferred, sense_count, log_info))

    def post_after(self, delay_ns: int, task: ScsiTask, status: int, state: int,
                   scsi_status: int = 0) -> None:
        """The same, *delay_ns* from now, unless something else ends the request first."""
        def fire() -> None:
            if not task.dead:
                self.post(task, status, state, scsi_status)
        self._ioc.clock.after_ns(delay_ns, fire)

    def hold_up(self, task: ScsiTask, delay_ns: int) -> None:
        """The task's target takes nothing new for *delay_ns*."""
        place = (task.bus, task.id)
        self._free_at_ns[place] = max(self._ioc.clock.now_ns, self._free_at_ns.get(place, 0)) + delay_ns

    def reply(self, task: ScsiTask, status: int, state: int, scsi_status: int = 0, transferred: int = 0,
              sense_count: int = 0, log_info: int = 0) -> bytes:
        """A SCSIIOReply."""
        return _reply(task.id, task.bus, _REPLY_DWORDS, MsgFunction.SCSI_IO_REQUEST, task.cdb_length,
                      task.sense_length, task.msg_flags, task.context, scsi_status, state, status, log_info,
                      transferred, sense_count, 0, 0)

    def terminate(self, doomed: Callable[[ScsiTask], bool], status: IOCStatus) -> int:
        """End every running request that is *doomed*, each with its own reply; how many there were."""
        victims = [task for task in self.tasks if doomed(task)]
        for task in victims:
            self.post(task, status, self._chip.terminated_state)
        return len(victims)
