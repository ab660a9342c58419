"""The SCSI side: resources, their handles and queues, commands carried out on targets.

hw-ipr.md sections 7, 8.2 and 13.  A disk on a SCSI bus is generic SCSI; one that is given as (FF, id) is a volume set,
whose member disk shows as an AF disk that takes no I/O.  Handles are opaque, and other ones after every start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ddsdk.abi import WIRE_BE
from ddsdk.sim.scsi_target import CHECK_CONDITION, ScsiResult, ScsiTarget, transfer_of

from . import model_faulty
from .frames import AUTOSENSE_VALID, IOASA_BYTES, FlagsHi, IoasaVset
from .ioasc import Ioasc
from .model_task import Request
from .tables import IS_ARRAY_MEMBER, VSET_BUS, Subtype

if TYPE_CHECKING:
    from .model_core import IoaCore

S = 1_000_000_000
_FIRST_HANDLE = 0x42
_HANDLES_OF_A_START = 0x10000
_INQUIRY, _REQUEST_SENSE, _TEST_UNIT_READY = 0x12, 0x03, 0x00
_PAST_FROZEN = int(FlagsHi.SYNC_OVERRIDE | FlagsHi.SYNC_COMPLETE)
_SYNC_COMPLETE = int(FlagsHi.SYNC_COMPLETE)
_SYNC_OVERRIDE = int(FlagsHi.SYNC_OVERRIDE)
_NO_ULEN_CHK = int(FlagsHi.NO_ULEN_CHK)
_SENSE_BYTES = 18
#: Where the member disk of a volume set is.
_MEMBER_BUS = 1


class Unit:
    """A resource: a logical unit somewhere, and its queue in the adapter.

    `frozen`: an error was reported; only commands that were sent later and know of it get through.  `kept`: sense data
    that nobody has asked for yet, of a target that sent it along.
    """

    __slots__ = ("bus", "free_at_ns", "frozen", "handle", "id", "kept", "lun", "subtype", "target", "tasks", "waiting")

    def __init__(self, bus: int, target_id: int, lun: int, subtype: Subtype, target: ScsiTarget) -> None:
        self.bus, self.id, self.lun = bus, target_id, lun
        self.subtype = subtype
        self.target = target
        self.handle = 0
        #: In the order of their arrival; a dict because order must not depend on hashes.
        self.tasks: dict[Request, None] = {}
        self.frozen = False
        #: Commands that were on their way when the queue froze: no flag of theirs can be about that.
        self.waiting: frozenset[Request] = frozenset()
        self.kept = b""
        self.free_at_ns = 0

    @property
    def flags(self) -> int:
        """Byte 2 of its entry."""
        return IS_ARRAY_MEMBER if self.subtype is Subtype.AF_DASD else 0

    def freeze(self) -> None:
        """An error is about to be reported."""
        self.frozen = True
        self.waiting = frozenset(self.tasks)

    def thaw(self) -> None:
        """Nothing of the past counts any more."""
        self.frozen = False
        self.waiting = frozenset()
        self.kept = b""


class ScsiIo:
    """The devices behind one adapter."""

    def __init__(self, ioa: IoaCore, targets: Mapping[tuple[int, int], ScsiTarget]) -> None:
        self._ioa = ioa
        self._timing = ioa.timing
        self.units: list[Unit] = []
        self.by_handle: dict[int, Unit] = {}
        for (bus, target_id), target in sorted(targets.items()):
            vset = bus == VSET_BUS
            for lun in sorted(target.units):
                kind = Subtype.VOLUME_SET if vset else Subtype.GENERIC_SCSI
                self.units.append(Unit(bus, target_id, lun, kind, target))
            if vset:
                self.units.append(Unit(_MEMBER_BUS, target_id, 0, Subtype.AF_DASD, target))

    # -- lives -----------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Requests are gone, queues are not frozen."""
        for unit in self.units:
            unit.tasks.clear()
            unit.thaw()
            unit.free_at_ns = 0
        self.by_handle = {}

    def assign_handles(self) -> None:
        """The firmware came up and looked who is there."""
        base = _FIRST_HANDLE + (self._ioa.starts - 1) * _HANDLES_OF_A_START
        self.by_handle = {}
        for number, unit in enumerate(self.units):
            unit.handle = base + number
            self.by_handle[unit.handle] = unit

    def bus_reset(self, bus: int | None = None) -> None:
        """A bus reset reached every target (of one *bus*)."""
        for unit in self.units:
            if bus is None or unit.bus == bus:
                unit.thaw()
                unit.target.reset("bus")

    def new_handle(self, unit: Unit) -> None:
        """The device went and came back."""
        self.by_handle.pop(unit.handle, None)
        unit.handle += _HANDLES_OF_A_START >> 1
        self.by_handle[unit.handle] = unit

    # -- a command ---------------------------------------------------------------------------------------

    def start(self, request: Request) -> None:
        """A SCSI command for a resource was fetched and found in order."""
        ioa = self._ioa
        unit = self.by_handle[request.res_handle]
        if unit.subtype is Subtype.AF_DASD:
            ioa.later(self._timing.refused_ns, ioa.requests.end, request, Ioasc.IR_INVALID_REQ, request.length)
            return
        request.view = ioa.dma.view
        request.unit = unit
        unit.tasks[request] = None
        if ioa.faults.armed and model_faulty.at_start(ioa, request, unit):
            return
        target, clock = unit.target, ioa.clock
        wanted, wants_out = transfer_of(_cut(request.cdb), target.units[unit.lun].disk.sector_size)
        if wanted > request.length or (wanted and wants_out is not request.to_device):
            ioa.later(self._timing.refused_ns, ioa.requests.end, request, Ioasc.DESCRIPTOR_INVALID, request.length)
            return
        if not target.present:
            ioa.later(self._timing.selection_ns, ioa.requests.end, request, Ioasc.HW_SEL_TIMEOUT, request.length)
            return
        # its data goes over the bus in turn; what else takes long - a flush, a slow medium - holds up nobody but itself
        begin_ns = max(clock.now_ns + self._timing.command_ns, unit.free_at_ns)
        disk = target.timing
        unit.free_at_ns = begin_ns + disk.command_ns + request.length * S // disk.bytes_per_second
        clock.at_ns(begin_ns + target.service_ns(request.cdb, request.length), self._finish, request, unit)

    def _finish(self, request: Request, unit: Unit) -> None:
        if request.dead:
            return
        ioa = self._ioa
        if unit.frozen:
            flags = request.flags_hi
            if not flags & _PAST_FROZEN or (request in unit.waiting and not flags & _SYNC_OVERRIDE):
                ioa.requests.end(request, Ioasc.SYNC_REQUIRED, request.length)
                return
            if flags & _SYNC_COMPLETE:
                unit.frozen = False
        if not ioa.can_dma() or (unit.kept and self._kept_sense(request, unit)):
            return
        result = unit.target.execute(unit.lun, _cut(request.cdb), request)
        if result.hang:
            return
        if ioa.faults.armed and not result.status and model_faulty.carried_out(ioa, request, result):
            return
        if not result.status and result.transferred == request.length:
            ioa.requests.end_good(request)
        else:
            self._report(request, unit, result)

    def _kept_sense(self, request: Request, unit: Unit) -> bool:
        """Sense data that came along with the status, and that the host asks for by a command; true when it was."""
        kept, unit.kept = unit.kept, b""
        if request.cdb[0] != _REQUEST_SENSE:
            return False
        moved = request.put(kept[:request.cdb[4]])
        self._short(request, moved)
        return True

    def _short(self, request: Request, moved: int) -> None:
        """It went well, and *moved* is perhaps less than was asked for."""
        left = request.length - moved
        if not left:
            ioasc = Ioasc.GOOD
        elif request.flags_hi & _NO_ULEN_CHK:
            ioasc = Ioasc.UNDERLENGTH_OK
        else:
            ioasc = Ioasc.HW_UNDERLENGTH
        self._ioa.requests.end(request, ioasc, left)

    def _report(self, request: Request, unit: Unit, result: ScsiResult) -> None:
        """Anything but GOOD and complete."""
        if not result.status:
            self._short(request, result.transferred)
            return
        left = request.length - result.transferred
        if unit.subtype is Subtype.VOLUME_SET:
            self._report_vset(request, result, left)
            return
        unit.freeze()
        sense = result.sense
        if result.status == CHECK_CONDITION and self._fetches_sense(request):
            sense = sense or self._sense_of(unit)
            self._ioa.requests.end(request, Ioasc.HW_DEV_BUS_STATUS | result.status, left, sense=sense,
                                   specific=AUTOSENSE_VALID, failing=unit.handle)
            return
        unit.kept = sense
        self._ioa.requests.end(request, Ioasc.HW_DEV_BUS_STATUS | result.status, left, failing=unit.handle)

    def _fetches_sense(self, request: Request) -> bool:
        ioa = self._ioa
        if not ioa.chip.autosense or request.ioasa_bytes < IOASA_BYTES:
            return False
        return ioa.faults.hit("autosense-missing") is None

    def _sense_of(self, unit: Unit) -> bytes:
        """The firmware asks the target by itself."""
        data = _Sense()
        unit.target.execute(unit.lun, bytes((_REQUEST_SENSE, 0, 0, 0, _SENSE_BYTES, 0)), data)
        return bytes(data.sense)

    def _report_vset(self, request: Request, result: ScsiResult, left: int) -> None:
        """The firmware speaks for its array: the IOASC says what sense data would."""
        sense = result.sense or (self._sense_of(request.unit) if request.unit is not None else b"")
        if result.status != CHECK_CONDITION or len(sense) < _SENSE_BYTES:
            self._ioa.requests.end(request, Ioasc.HW_DEV_BUS_STATUS | result.status, left)
            return
        ioasc = (sense[2] & 0x0F) << 24 | sense[12] << 16 | sense[13] << 8
        u = bytes(12)
        if sense[0] & 0x80 and ioasc >> 24 == 3:
            u = IoasaVset.on(WIRE_BE).pack(IoasaVset(failing_lba_lo=int.from_bytes(sense[3:7])))
            ioasc = Ioasc.MED_DO_NOT_REALLOC if sense[12] == 0x11 else ioasc
        self._ioa.requests.end(request, ioasc, left, u=u, failing=request.res_handle)

    # -- whole queues ------------------------------------------------------------------------------------

    def terminate(self, doomed: Callable[[Unit], bool], ioasc: int) -> None:
        """End every request of the units that are *doomed*."""
        for unit in self.units:
            if doomed(unit):
                for request in list(unit.tasks):
                    self._ioa.requests.end(request, ioasc, request.length)


class _Sense:
    """The data phase of a REQUEST SENSE that the firmware sends."""

    length = _SENSE_BYTES
    to_device: bool | None = False

    def __init__(self) -> None:
        self.sense = bytearray()

    def gather(self, n: int) -> list[memoryview]:
        """Nothing goes there."""
        return []

    def scatter(self, n: int) -> list[memoryview]:
        """Room for it."""
        self.sense = bytearray(n)
        return [memoryview(self.sense)]

    def put(self, data: bytes) -> int:
        """Take it."""
        self.sense[:] = data
        return len(data)


_CDB_BYTES = (6, 10, 10, 16, 16, 12, 16, 16)


def _cut(cdb: bytes) -> bytes:
    """The command without the zeros behind it."""
    return cdb[:_CDB_BYTES[cdb[0] >> 5]]
