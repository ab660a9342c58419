"""The SCSI bus: selection, reselection, packetized connections.  Non-packetized ones are in model_nonpack.py."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.scsi_target import GOOD, ScsiResult, ScsiTarget

from . import model_faulty
from . import model_scratch as at
from .frames import STATUS_PKT_SENSE, Control, SgFlag, TaskMgmt
from .model_activity import STOPPED, Activity
from .model_chips import MS
from .model_data import DataPhase
from .model_nonpack import Connection
from .model_status_iu import status_iu
from .model_target import SpiTarget, Task
from .model_waiting import take_head
from .regs import NegConOpts, ScsiSeq0, SeqIntCode, SStat0, SStat1, SxfrCtl1
from .sequencer import (
    LUNLEN_SINGLE,
    SCB_LIST_NULL_HIGH,
    SELECTION_TIMEOUT_MS,
)

if TYPE_CHECKING:
    from .model_control import ChipControl

_STATUS, _CONTROL, _SCSIID, _LUN, _SGPTR, _TMF = 0x08, 0x12, 0x13, 0x14, 0x24, 0x17
_ENSELO, _SCSIRSTO = ScsiSeq0.ENSELO.mask, ScsiSeq0.SCSIRSTO.mask
_SELINGO, _SELDO = SStat0.SELINGO.mask, SStat0.SELDO.mask
_WIDEXFER: Final = NegConOpts.WIDEXFER.mask
_MK_MESSAGE: Final = Control.MK_MESSAGE
_ENRSELI: Final = 0x10                  # SCSISEQ1
_IU: Final = 0x01                       # NEGPPROPTS


class Bus:
    """One SCSI bus.  `selecting`: the SCB being selected; `connection`: a non-packetized one that has the bus.

    `selected`: SELDO, for this SCB, not looked at yet.  `deferred`: what happened while the sequencer stood still.
    """

    def __init__(self, chip: ChipControl, targets: Mapping[int, ScsiTarget]) -> None:
        self._chip = chip
        self.targets = {number: SpiTarget(number, one, chip.profile.disk) for number, one in targets.items()}
        #: Commands that want their data and status phases; targets wait through a chip reset.
        self.ready: deque[Task] = deque()
        self.rst_low = False                    # somebody else holds RST
        self._begun = 0
        self.chip_reset()

    def chip_reset(self) -> None:
        """Our side of it is gone; the targets notice nothing."""
        self.selecting = False
        self.arbitrate_ns = 0                   # when an arbitration ends that no event stands for yet
        self._begun += 1                        # counts selections: one that was taken back has no end
        self.selected: int | None = None
        self.deferred: list[Callable[[], object]] = []
        self.connection: Connection | None = None
        self.currscb = self.lastscb = 0

    def restarted(self) -> None:
        """The program began anew: whoever had the bus finds nobody there any more."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abandon()
        self._chip.scsi.bus_free()

    # -- RST -------------------------------------------------------------------------------------------

    def drop_all(self) -> None:
        """RST is low: nothing that was on the bus goes on."""
        chip = self._chip
        chip.sequencer.drop()
        self.chip_reset()
        self.ready.clear()
        for bank in chip.fifos:
            bank.owner = None

    def targets_reset(self) -> None:
        """RST was low for long enough."""
        for target in self.targets.values():
            target.bus_reset()

    def rst_rises(self) -> None:
        """Whoever held RST let go of it."""
        self.rst_low = False
        self._chip.kick()

    def foreign_reset(self) -> None:
        """Somebody else pulled RST."""
        self.drop_all()
        self.targets_reset()
        self._chip.scsi.bus_was_reset()

    # -- what the idle loop asks -----------------------------------------------------------------------

    def begin_selection(self) -> None:
        """Try for the first SCB of the first target, if nothing stands in the way."""
        chip, scsi = self._chip, self._chip.scsi
        if (self.selecting or self.rst_low or self.selected is not None or self.connection is not None
                or chip.sequencer.frozen or scsi.seq0 & _SCSIRSTO or scsi.sstat0 & _SELINGO
                or chip.scratch[at.WAITING_TID_HEAD + 1] == SCB_LIST_NULL_HIGH):
            return
        scsi.seq0 |= _ENSELO
        self.selecting = True
        self._begun += 1
        self.arbitrate_ns = chip.clock.now_ns + chip.timing.arbitrate_ns

    def schedule(self) -> None:
        """The arbitration that has begun ends in its time."""
        if self.arbitrate_ns:
            self._chip.clock.at_ns(self.arbitrate_ns, self._arbitrated, self._begun)
            self.arbitrate_ns = 0

    def selects_at_once(self) -> bool:
        """The same, with nothing else to do: true when it, and the selection, could be done there and then."""
        if not self._chip.clock.pass_to(self.arbitrate_ns):
            self.schedule()
            return False
        self.arbitrate_ns = 0
        return self._arbitration(self._begun)

    def withdraw(self) -> None:
        """ENSELO goes off; a selection that has begun in earnest runs to its end."""
        scsi = self._chip.scsi
        if not scsi.sstat0 & (_SELINGO | _SELDO):
            scsi.seq0 &= ~_ENSELO
            self.selecting = False
            self.arbitrate_ns = 0
            self._begun += 1

    def _arbitrated(self, begun: int) -> None:
        if self._arbitration(begun):
            self._chip.sequencer.go()

    def _arbitration(self, begun: int, late: bool = False) -> bool:
        """It is over: whether the selection is, too.  *late*: other things happen at this moment."""
        if begun != self._begun:
            return False
        chip = self._chip
        if chip.stopped:
            self.defer(lambda: self._arbitration(begun, late=True))
            return False
        tag, values = at.unpack16(chip.scratch, at.WAITING_TID_HEAD)[0], chip.banks[3].values
        scsiid = chip.slot(tag)[_SCSIID]
        number = scsiid >> 4
        if scsiid & 0x0F != values["IOWNID"]:
            raise HardwareFault(f"SCB {tag:#x} selects as id {scsiid & 0x0F}, IOWNID is {values['IOWNID']}")
        chip.scsi.sstat0 |= _SELINGO
        values["SELOID"] = number
        target = self.targets.get(number)
        absent = target is None or not target.present
        if chip.faults.armed and model_faulty.nobody_there(chip, number):
            absent = True
        if not absent:
            if not late and chip.clock.pass_to(chip.clock.now_ns + chip.timing.select_ns):
                return self._selection(begun, tag)
            chip.later(chip.timing.select_ns, self._select_done, begun, tag)
        elif chip.scsi.sxfrctl1 & SxfrCtl1.ENSTIMER.mask:
            ms = SELECTION_TIMEOUT_MS[(chip.scsi.sxfrctl1 & SxfrCtl1.STIMESEL.mask) >> 3]
            chip.later(ms * MS * (2 if chip.profile.rev_a else 1), self._select_timeout, begun)
        return False

    def _select_done(self, begun: int, tag: int) -> None:
        if self._selection(begun, tag):
            self._chip.sequencer.go()

    def _selection(self, begun: int, tag: int) -> bool:
        """The target has answered: whether there is something to do now."""
        if begun != self._begun:
            return False
        chip, scsi = self._chip, self._chip.scsi
        if chip.stopped:
            self.defer(lambda: self._select_done(begun, tag))
            return False
        self.selecting = False
        self.selected = tag
        scsi.sstat0 = scsi.sstat0 & ~_SELINGO | _SELDO
        scsi.connected()
        scsi.look()
        return True

    def _select_timeout(self, begun: int) -> None:
        """Nobody answers: SELTO; the SCB stays where it is, SELINGO until it is cleared."""
        if begun != self._begun:
            return
        chip = self._chip
        if chip.stopped:
            self.defer(lambda: self._select_timeout(begun))
            return
        self.selecting = False
        chip.scsi.sstat1 |= SStat1.SELTO.mask
        chip.scsi.look()

    def defer(self, event: Callable[[], object]) -> None:
        """Nothing moves while the sequencer stands still; *event* happens when it goes on."""
        self.deferred.append(event)

    def next_activity(self) -> Activity | None:
        """What the sequencer has to do about the bus now."""
        while self.deferred:
            self.deferred.pop(0)()
            if self._chip.stopped:
                return None
        if self.selected is not None:
            return self._selection_done(self.selected)
        connection = self.connection
        if connection is not None:
            return connection.next_activity()
        if self._chip.scsi.seq1 & _ENRSELI and not self.selecting:
            while self.ready:
                task = self.ready.popleft()
                if not (task.dead or task.target.must_wait(task)):
                    return self._reselected(task)
        return None

    # -- connections begin -----------------------------------------------------------------------------

    def _selection_done(self, tag: int) -> Activity:
        """A turn of the idle loop later `selection_over()` is called, and the connection begins."""
        chip, slot = self._chip, self._chip.slot(tag)
        target = self.targets[slot[_SCSIID] >> 4]
        self.selected = None
        if slot[_CONTROL] & _MK_MESSAGE or not chip.banks[3].table[target.number][2] & _IU:
            return Connection(chip, target, tag).selected()
        return self._packet_out(target, tag)

    def selection_over(self, tag: int) -> None:
        """The sequencer has seen SELDO: the SCB leaves the waiting lists."""
        chip, scsi = self._chip, self._chip.scsi
        scsi.sstat0 &= ~_SELDO
        scsi.seq0 &= ~_ENSELO
        if take_head(chip) != tag:
            raise HardwareFault(f"WAITING_TID_HEAD was changed while SCB {tag:#x} was being selected")

    def _reselected(self, task: Task) -> Activity:
        """After arbitration the connection begins, unless the command is gone by then."""
        self._chip.scsi.connected()
        if task.packetized:
            return self._packet_in(task)
        return Connection(self._chip, task.target, task.tag, task).reselected(task)

    def check_table(self, target: SpiTarget) -> None:
        """What the chip's negotiation table says of *target* is what was agreed, or data is garbled."""
        period, offset, options, connection = self._chip.banks[3].table[target.number]
        agreed = target.agreement
        wide = connection & _WIDEXFER
        if (offset, bool(options & _IU), wide) != (agreed.offset, agreed.packetized, agreed.wide) or (
                offset and period != agreed.period):
            raise HardwareFault(f"data for target {target.number} with period {period:#x}, offset {offset:#x}, wide"
                                f" {wide}, IU {options & _IU} in the negotiation table; agreed is {agreed}")

    # -- packetized ------------------------------------------------------------------------------------

    def _packet_out(self, target: SpiTarget, tag: int) -> Activity:
        chip, scsi = self._chip, self._chip.scsi
        yield chip.timing.idle_ns
        self.selection_over(tag)
        scsi.packetized = True
        self.currscb = tag
        chip.banks[3].values["CURRSCB"] = tag
        yield chip.timing.packet_ns
        if chip.faults.armed:
            yield from model_faulty.packet_out(chip, target, tag)
            if self.currscb != tag:
                return
        if not target.agreement.packetized:
            self.connection = connection = Connection(chip, target, tag)
            yield from connection.agreement_lost()
            return
        self.lastscb = tag
        chip.banks[3].values["LASTSCB"] = tag
        slot, pointers = chip.slot(tag), chip.banks[4].values
        lun = self._packet_lun(slot)
        flags = slot[pointers["FLAGPTR"]]
        scsi.bus_free()
        if flags:
            yield from self._task_management(target, tag, lun, TaskMgmt(flags))
            return
        begin, length = pointers["CMDPTR"], slot[pointers["CMDLENPTR"]]
        if length & 0x80:
            raise HardwareFault(f"SCB {tag:#x}: a CDB by pointer in a packet is not modelled")
        task = Task(target, tag, lun, bytes(slot[begin:begin + min(length, pointers["CDBLIMIT"])]), True, True)
        self.start(task)

    def start(self, task: Task) -> None:
        """The target has the command."""
        chip = self._chip
        due_ns = task.target.accept(task, chip.clock.now_ns)
        if chip.faults.armed:
            due_ns += model_faulty.at_target(chip, task)
        chip.clock.at_ns(due_ns, self._due, task)
        if task.target.blocked:
            self._unblock(task.target)

    def _due(self, task: Task) -> None:
        if not task.dead and not task.target.must_wait(task):
            self.ready.append(task)
            self._chip.sequencer.go()

    def _unblock(self, target: SpiTarget) -> None:
        """Commands that a contingent allegiance held up go on."""
        self.ready.extend(target.unblocked())

    def carry_out(self, task: Task, data: DataPhase) -> ScsiResult:
        """The target does what it was told."""
        result = task.target.carry_out(task, data)
        if task.target.blocked:
            self._unblock(task.target)
        return result

    def _packet_lun(self, slot: memoryview) -> int:
        pointers = self._chip.banks[4].values
        begin, length = pointers["LUNPTR"], pointers["LUNLEN"]
        if length == LUNLEN_SINGLE:
            return 0x7F if self._chip.profile.rev_a else slot[begin]    # Rev A sends what lies around it, too
        return slot[begin + 6]

    def _task_management(self, target: SpiTarget, tag: int, lun: int, flags: TaskMgmt) -> Activity:
        """The function is carried out at once; code 13, or 14 for a command that was over before."""
        chip = self._chip
        yield chip.timing.packet_ns
        fate = model_faulty.tmf(chip) if chip.faults.armed else ""
        if fate == "ignored":
            return
        beaten = fate == "beaten" or bool(flags & TaskMgmt.ABORT_TASK and tag in chip.sequencer.waiting())
        if not beaten:
            target.task_management(flags, lun, tag)
        chip.set_mode(3, tag)
        chip.raise_seqint(SeqIntCode.TASKMGMT_CMD_CMPLT_OKAY if beaten else SeqIntCode.TASKMGMT_FUNC_COMPLETE)
        yield STOPPED

    def _packet_in(self, task: Task) -> Activity:
        """Data and status of a packetized command."""
        chip, target, tag = self._chip, task.target, task.tag
        yield chip.timing.arbitrate_ns
        if task.dead:
            chip.scsi.bus_free()
            return
        chip.scsi.packetized = True
        yield chip.timing.packet_ns
        if task.dead:
            chip.scsi.bus_free()
            return
        slot = chip.slot(tag)
        number = 0 if chip.banks[0].owner is None else 1
        data = DataPhase(chip, slot)
        if data.length:
            self.check_table(target)
        overrun = task.wanted > data.length
        if chip.faults.armed:
            again, forced = yield from model_faulty.packet_in(chip, task, number)
            if again or task.dead:
                chip.scsi.bus_free()
                return
            overrun |= forced
        if overrun:
            chip.set_mode(number, tag)
            chip.raise_seqint(SeqIntCode.CFG4OVERRUN)
            yield STOPPED
        result = self.carry_out(task, data)
        if result.hang:
            chip.scsi.bus_free()
            return
        target.over(task)
        left = data.note(result.transferred, overrun=overrun)
        if result.status == GOOD and not left:          # good and complete: into the good-status FIFO
            chip.scsi.bus_free()
            chip.scsi.gsfifo.append(tag)
            return
        slot[_CONTROL] |= Control.STATUS_RCVD
        slot[_SGPTR] |= SgFlag.STATUS_VALID
        if result.status == GOOD:
            slot[_STATUS] = GOOD
        else:
            chip.sequencer.freeze()
            yield from status_iu(chip, number, tag, result)
            slot[_STATUS] = STATUS_PKT_SENSE
        chip.scsi.bus_free()
        chip.sequencer.completed(tag, upload=True)
