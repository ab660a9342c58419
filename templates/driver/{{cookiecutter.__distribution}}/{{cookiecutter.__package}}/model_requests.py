"""The requests an adapter holds: fetched, checked, carried out by a target, reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE
from ddsdk.errors import HardwareFault
from ddsdk.sim.scsi_target import ScsiResult, ScsiTarget, transfer_of

from .frames import STATUS_OFFSET, TAG_MASK, Direction, Outcome, RequestBlock, ScatterElement, StatusBlock
from .model_chip import QUEUE, SEGMENTS
from .model_faults import ENDINGS, FETCH_FAULTS

if TYPE_CHECKING:
    from .model import {{cookiecutter.__Name}}Model

_BLOCK = RequestBlock.on(WIRE_LE)
_STATUS = StatusBlock.on(WIRE_LE)
_ELEMENT = ScatterElement.on(WIRE_LE)
_TO_DEVICE: Final[Mapping[int, bool | None]] = {
    Direction.NONE: None, Direction.TO_DEVICE: True, Direction.FROM_DEVICE: False,
}


class Task:
    """A request under way, and the host's side of its data phase (`ddsdk.sim.scsi_unit.DataPhase`)."""

    def __init__(self, model: {{cookiecutter.__Name}}Model, address: int, block: RequestBlock) -> None:
        self.model = model
        self.address = address
        self.block = block
        self.segments = self._fetch_list()
        self.length = block.LENGTH
        self.to_device = _TO_DEVICE[block.DIRECTION]

    def _fetch_list(self) -> list[tuple[int, int]]:
        """The scatter list, checked."""
        block = self.block
        if not block.SEGMENTS:
            return []
        fetched = self.model.dma.read(block.LIST, block.SEGMENTS * _ELEMENT.size)
        elements = [_ELEMENT.unpack(fetched, n * _ELEMENT.size) for n in range(block.SEGMENTS)]
        total = sum(element.LENGTH for element in elements)
        if total != block.LENGTH or any(element.RESERVED or not element.LENGTH for element in elements):
            raise HardwareFault(f"request block {block.TAG:#x}: the scatter list names {total} bytes, LENGTH says"
                                f" {block.LENGTH}; no element may be empty, RESERVED is 0")
        return [(element.ADDRESS, element.LENGTH) for element in elements]

    def gather(self, n: int) -> list[memoryview]:
        """The first *n* bytes of host memory, to be read."""
        return self._views(n, True)

    def scatter(self, n: int) -> list[memoryview]:
        """The first *n* bytes of host memory, to be filled."""
        return self._views(n, False)

    def put(self, data: bytes) -> int:
        """Store as much of *data* as LENGTH allows; returns how much."""
        n, at = min(len(data), self.length), 0
        for view in self._views(n, False):
            view[:] = data[at:at + len(view)]
            at += len(view)
        return n

    def _views(self, n: int, to_device: bool) -> list[memoryview]:
        views: list[memoryview] = []
        for address, length in self.segments:
            if n:
                views += self.model.dma.view(address, min(n, length), to_device)
                n -= min(n, length)
        return views


class Requests:
    """What an adapter was given and has not reported.  A target works on one request at a time."""

    def __init__(self, model: {{cookiecutter.__Name}}Model, targets: Mapping[int, ScsiTarget]) -> None:
        self._model = model
        self._targets = targets
        self._submitted = 0
        self._tasks: dict[int, Task] = {}
        self._free_at_ns: dict[int, int] = {}

    def forget(self) -> None:
        """All of them."""
        self._submitted = 0
        self._tasks.clear()
        self._free_at_ns.clear()

    def reset_targets(self, target_id: int | None = None) -> None:
        """A reset reached the targets, or one of them; what it was working on ends."""
        for number, target in self._targets.items():
            if target_id in (None, number):
                target.reset("bus" if target_id is None else "target")
        for task in list(self._tasks.values()):
            if target_id in (None, task.block.ID):
                self._end(task, Outcome.RESET)

    # -- its beginning ---------------------------------------------------------------------------------------

    def submit(self, address: int) -> None:
        """A request block was handed over."""
        if self._submitted == QUEUE:
            raise HardwareFault(f"SUBMIT of {address:#x}: the adapter holds {QUEUE} requests (CAPS.QUEUE) already")
        self._submitted += 1
        self._model.later(self._model.timing.fetch_ns, self._fetch, address)

    def _fetch(self, address: int) -> None:
        model = self._model
        for fault, code in FETCH_FAULTS.items():
            if model.strikes(fault) is not None:
                return model.stop(code)
        if model.strikes("fault-silent") is not None:
            return model.stop(0, shown=False)
        block = _BLOCK.unpack(model.dma.read(address, _BLOCK.size))
        self._check(block)
        task = self._tasks[block.TAG] = Task(model, address, block)
        if model.strikes("command-hung") is not None:
            return None
        if model.strikes("bus-reset") is not None:
            return self.reset_targets()
        return self._start(task)

    def _check(self, block: RequestBlock) -> None:
        """What the data sheet forbids."""
        wrong = ""
        if block.TAG > TAG_MASK or block.TAG in self._tasks:
            wrong = f"TAG {block.TAG:#x} is in use, or has bit 31 set"
        elif not 6 <= block.CDB_LENGTH <= 16:
            wrong = f"CDB_LENGTH {block.CDB_LENGTH} is not 6 to 16"
        elif block.SEGMENTS > SEGMENTS:
            wrong = f"SEGMENTS {block.SEGMENTS} is more than {SEGMENTS} (CAPS.SEGMENTS)"
        elif block.DIRECTION > Direction.FROM_DEVICE or bool(block.DIRECTION) != bool(block.LENGTH):
            wrong = f"DIRECTION {block.DIRECTION} does not go with LENGTH {block.LENGTH}"
        elif block.RESERVED:
            wrong = f"RESERVED is {block.RESERVED:#x}, not 0"
        if wrong:
            raise HardwareFault(f"request block {block.TAG:#x}: {wrong}")

    def _start(self, task: Task) -> None:
        model, block = self._model, task.block
        for fault, (outcome, scsi_status) in ENDINGS.items():
            if model.strikes(fault) is not None:
                return model.later(model.timing.command_ns, self._end, task, outcome, scsi_status)
        target = self._targets.get(block.ID)
        if target is None or not target.present:
            return model.later(model.timing.selection_ns, self._end, task, Outcome.NO_TARGET)
        cdb = block.CDB[:block.CDB_LENGTH]
        unit = target.units.get(block.LUN)
        wanted, out = transfer_of(cdb, unit.disk.sector_size if unit else 512)
        if wanted > block.LENGTH or (wanted and out is not task.to_device):
            return model.later(model.timing.command_ns, self._end, task, Outcome.OVERRUN)
        now_ns = model.clock.now_ns
        end_ns = max(now_ns, self._free_at_ns.get(block.ID, 0)) + model.timing.command_ns
        end_ns += target.service_ns(cdb, block.LENGTH)
        struck = model.strikes("command-slow")
        if struck is not None:
            end_ns += struck.get("ns", model.timing.slow_ns)
        self._free_at_ns[block.ID] = end_ns
        return model.later(end_ns - now_ns, self._execute, task, target)

    # -- its end ---------------------------------------------------------------------------------------------

    def _execute(self, task: Task, target: ScsiTarget) -> None:
        block = task.block
        if self._tasks.get(block.TAG) is not task:
            return                              # aborted meanwhile
        result = target.execute(block.LUN, block.CDB[:block.CDB_LENGTH], task)
        if result.hang:
            return
        if self._model.strikes("underrun") is not None:
            result = ScsiResult(result.status, result.sense, result.transferred // 2)
        self._end(task, Outcome.ENDED, result.status, result.transferred, result.sense)

    def abort(self, tag: int) -> None:
        """The ABORT register."""
        task = self._tasks.get(tag)
        if task is not None:
            self._end(task, Outcome.ABORTED)

    def _end(self, task: Task, outcome: int, scsi_status: int = 0, moved: int = 0, sense: bytes = b"") -> None:
        """Write sense data and status block, then let the tag appear in DONE."""
        block, dma = task.block, self._model.dma
        if self._tasks.pop(block.TAG, None) is not task:
            return
        self._submitted -= 1
        sense = sense[:block.SENSE_LENGTH]
        if sense:
            dma.write(block.SENSE, sense)
        dma.write(task.address + STATUS_OFFSET, _STATUS.pack(StatusBlock(
            OUTCOME=outcome, SCSI_STATUS=scsi_status, SENSE_COUNT=len(sense), MOVED=moved)))
        self._model.post(block.TAG)
