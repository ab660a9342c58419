"""The sequencer while a target is connected: command, data, status, completion; messages are model_messages.py's.

hw-aic7xxx.md 7, items 7 to 12.  The target decides what comes next (`Connection.phase`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.scsi_target import GOOD, ScsiResult, transfer_of

from . import model_faulty
from .frames import (
    CDB_INLINE,
    DISCONNECTED,
    MK_MESSAGE,
    SCB_CDB_LEN,
    SCB_CONTROL,
    SCB_NEXT,
    SCB_SGPTR,
    SCB_STATUS,
    SCB_TAG,
    SG_RESID_VALID,
    STATUS_RCVD,
    TAG_ENB,
)
from .model_data import SgList, put_residual
from .model_port import REQUEST_SENSE, Connection, Task
from .model_sequencer import Seq
from .model_slots import BUSY_TARGETS
from .regs import NONE, Answer, Phase, SeqFlags, SeqInt

if TYPE_CHECKING:
    from .model import Aic7xxx

_DPHASE: Final = SeqFlags.DPHASE.mask
_NO_CDB_SENT: Final = SeqFlags.NO_CDB_SENT.mask
_SECTOR_BYTES: Final = 512
_CONNECTED, _IDLE = Seq.CONNECTED, Seq.IDLE
_COMMAND, _STATUS, _MESGIN = Phase.COMMAND, Phase.STATUS, Phase.MESGIN
_DATAIN, _DATAOUT = int(Phase.DATAIN), int(Phase.DATAOUT)
#: Commands that move all of their data, or it is an overrun.
_EXACT: Final = frozenset((0x08, 0x0A, 0x28, 0x2A, 0x88, 0x8A))


class Nexus:
    """What the sequencer does with the connected target."""

    def __init__(self, chip: Aic7xxx) -> None:
        self.chip = chip

    # -- phases ------------------------------------------------------------------------------------

    def phase_loop(self) -> None:
        """Whatever the target drives next."""
        chip = self.chip
        conn, seq = chip.bus.conn, chip.seq
        if conn is None:
            seq.idle()
            return
        seq.state = _CONNECTED
        chip.messages.in_host_loop = False
        if chip.faults.armed and conn.stage == "command" and not chip.atn and not conn.msgin:
            model_faulty.before_command(chip, conn)
        stage, out = conn.stage, chip.atn or conn.retry
        if stage == "data" and conn.task is None and not (chip.atn or conn.leaves):
            raise HardwareFault(f"target {conn.port.id} reselected with tag {conn.tag}, which no SCB has, and nobody"
                                " told it that (code 31)")
        if out:
            chip.messages.out(conn)
        elif conn.msgin:
            chip.messages.incoming(conn)
        elif stage == "command":
            seq.after(chip.timing.command_ns, self.command)
        elif stage == "data":
            self._data(conn)
        elif stage == "status":
            seq.after(chip.timing.finish_ns, self._status)
        elif stage == "work":
            self._work(conn)
        elif stage == "stuck":
            seq.state = Seq.LOST
        else:
            self._complete(conn)

    # -- command -----------------------------------------------------------------------------------

    def command(self) -> None:
        """The target takes the command block."""
        chip = self.chip
        conn, values = chip.bus.conn, chip.values
        if conn is None:
            chip.seq.idle()
            return
        if conn.phase(chip.atn) is not _COMMAND:
            self.phase_loop()               # something came in between
            return
        raw = chip.slot
        values["LASTPHASE"] = _COMMAND
        length = raw[SCB_CDB_LEN]
        inline = length <= CDB_INLINE
        cdb = bytes(raw[:length]) if inline else chip.dma.read(int.from_bytes(raw[:4], "little"), length)
        values["SEQ_FLAGS"] &= ~_NO_CDB_SENT
        conn.task = task = Task(conn.port, conn.lun, conn.tag, cdb, conn.disc)
        if conn.port.accept(task):
            chip.bus.allegiance_over(conn.port)
        conn.stage = "work"
        if (chip.faults.armed or chip.seq.doomed != NONE) and model_faulty.at_command(chip, conn, task):
            return
        self.begin(task)

    def begin(self, task: Task, extra_ns: int = 0) -> None:
        """The target works on its task from now on; it lets go of the bus meanwhile, if it may."""
        chip = self.chip
        conn = chip.bus.conn
        chip.bus.start(task, extra_ns)
        if conn is not None and conn.task is task:
            if task.disc:
                self.disconnect()
            else:
                self.phase_loop()

    def disconnect(self) -> None:
        """DISCONNECT: the slot goes onto the disconnected list, the bus is free."""
        chip = self.chip
        conn, values, seq = chip.bus.conn, chip.values, chip.seq
        assert conn is not None
        raw, slot = chip.slot, values["SCBPTR"]
        raw[SCB_CONTROL] |= DISCONNECTED
        raw[SCB_NEXT] = values["DISCONNECTED_SCBH"]
        values["DISCONNECTED_SCBH"] = slot
        if not raw[SCB_CONTROL] & TAG_ENB:
            values[BUSY_TARGETS[conn.port.id]] = raw[SCB_TAG]
        chip.bus.release()
        seq.state = _IDLE
        seq.after(chip.timing.message_ns, seq.idle)

    def _work(self, conn: Connection) -> None:
        """Connected, and the target works."""
        if conn.task is not None and conn.task.ready and conn.port.may_go_on(conn.task):
            conn.stage = "data"
            self.phase_loop()

    # -- data --------------------------------------------------------------------------------------

    def _data(self, conn: Connection) -> None:
        """The data phase, if the command has one."""
        chip, task = self.chip, conn.task
        assert task is not None
        if task.status is not None or task.moved >= 0:
            self._no_data(conn)
            return
        unit = task.port.target.units.get(task.lun)
        wanted, out = transfer_of(task.cdb, unit.disk.sector_size if unit else _SECTOR_BYTES)
        if not wanted:
            self._finish(conn, SgList(chip.slot, chip.dma, 16, chip.reach))
            return
        sg = SgList(chip.slot, chip.dma, chip.sg_bytes, chip.reach)
        dt = 0x20 if task.port.agreement[3] else 0
        chip.values["LASTPHASE"] = (_DATAOUT if out else _DATAIN) | dt
        if (wanted > sg.length and (task.cdb[0] in _EXACT or not sg.length)) or (
                chip.faults.armed and chip.faults.hit("data-overrun") is not None):
            task.status, task.moved = GOOD, 0
            chip.seq.stop_with(SeqInt.DATA_OVERRUN, self.phase_loop)
            return
        if chip.faults.armed and task.split < 0 and model_faulty.at_data(chip, conn, task, sg):
            return
        chip.values["SEQ_FLAGS"] |= _DPHASE
        took_ns = max(1, task.port.data_ns(min(wanted, sg.length)))
        if chip.faults.armed:
            chip.seq.after(took_ns, partial(self._move_data, sg, False))
        else:                               # nothing comes between the data and the status
            chip.seq.after(took_ns + chip.timing.finish_ns, partial(self._move_data, sg, True))

    def _move_data(self, sg: SgList, whole: bool) -> None:
        """The data phase is over; *whole*: and the status phase as well."""
        conn = self.chip.bus.conn
        if conn is None or conn.task is None:
            self.chip.seq.idle()
            return
        self._finish(conn, sg, whole)

    def _no_data(self, conn: Connection) -> None:
        conn.stage = "status"
        self.phase_loop()

    def _finish(self, conn: Connection, sg: SgList, whole: bool = False) -> None:
        """Let the target carry the command out; data moves meanwhile."""
        chip, task = self.chip, conn.task
        assert task is not None
        if task.split >= 0:
            values = chip.values
            address = sum(values[f"HADDR[{n}]"] << 8 * n for n in range(4)) | chip.high_address << 32
            sg.remap(task.split, address, sum(values[f"HCNT[{n}]"] << 8 * n for n in range(3)))
        port = task.port
        if port.sense_fails and task.cdb[0] == REQUEST_SENSE:
            port.sense_fails = False
            result = ScsiResult(0x02)
        else:
            result = port.target.execute(task.lun, task.cdb, sg)
        if result.hang:
            self._hang(conn)
            return
        task.moved, task.status = result.transferred, result.status
        if result.transferred:
            port.check_rate(chip.values["SCSIRATE"], chip.values["SCSIOFFSET"])
            put_residual(chip.slot, sg, result.transferred)
        conn.stage = "status"
        if chip.faults.armed and model_faulty.after_data(chip, conn, task, sg):
            return
        if whole:
            self._status()
        else:
            self.phase_loop()

    def _hang(self, conn: Connection) -> None:
        """The target never goes on; whether it keeps the bus depends on whether it may disconnect."""
        task = conn.task
        assert task is not None
        task.ready = False
        conn.stage = "work"
        if task.disc:
            self.disconnect()

    # -- status and completion ---------------------------------------------------------------------

    def _status(self) -> None:
        chip = self.chip
        conn = chip.bus.conn
        if conn is None or conn.task is None:
            chip.seq.idle()
            return
        if conn.phase(chip.atn) is not _STATUS:
            self.phase_loop()
            return
        task = conn.task
        chip.values["LASTPHASE"] = _STATUS
        raw = chip.slot
        raw[SCB_STATUS] = task.status or 0
        raw[SCB_CONTROL] |= STATUS_RCVD
        conn.stage = "complete"
        if chip.faults.armed and model_faulty.at_status(chip, conn):
            return
        self._complete(conn)

    def _complete(self, conn: Connection) -> None:
        """COMMAND COMPLETE."""
        chip, raw = self.chip, self.chip.slot
        chip.values["LASTPHASE"] = _MESGIN
        if raw[SCB_CONTROL] & MK_MESSAGE:
            raw[SCB_CONTROL] &= ~MK_MESSAGE
            chip.seq.stop_with(SeqInt.MKMSG_FAILED, self.phase_loop)
            return
        task = conn.task
        assert task is not None
        status = task.status or 0
        if status == GOOD and self._all_moved(raw):
            self._post(conn)
            return
        raw[SCB_SGPTR] |= SG_RESID_VALID
        if chip.faults.armed:
            model_faulty.at_upload(chip, raw)
        chip.scbs.upload(raw)
        if status == GOOD:
            self._post(conn)
            return
        chip.values["RETURN_1"] = 0xFF      # stale: the host has to answer
        conn.port.note_status(task, status)
        chip.seq.stop_with(SeqInt.BAD_STATUS, lambda: self._answered(conn))

    def _all_moved(self, raw: bytearray) -> bool:
        """Nothing is left of the list: no data, or a residual S/G pointer that says so."""
        sgptr = raw[SCB_SGPTR]
        if sgptr & 0x01:
            return True
        return not sgptr & 0x02 and bool(raw[4] & 0x01)

    def _answered(self, conn: Connection) -> None:
        """After BAD_STATUS: the host takes the SCB back for REQUEST SENSE, or it is posted."""
        answer = self.chip.values["RETURN_1"]
        if answer == Answer.SEND_SENSE:
            self._let_go(conn)
            self.chip.scbs.free(self.chip.values["SCBPTR"])
            self._free_bus()
        elif answer == Answer.NOTHING:
            self._post(conn)
        else:
            raise HardwareFault(f"RETURN_1 is {answer:#04x} after code 71; it is {Answer.SEND_SENSE:#04x} or 0")

    def _let_go(self, conn: Connection) -> None:
        """The task is over, whatever became of its SCB."""
        chip, task = self.chip, conn.task
        assert task is not None
        port = conn.port
        port.end(task)
        busy = BUSY_TARGETS[port.id]
        if chip.slot[SCB_TAG] == chip.values[busy]:
            chip.values[busy] = NONE
        chip.bus.allegiance_over(port)

    def _post(self, conn: Connection) -> None:
        chip = self.chip
        tag, slot = chip.slot[SCB_TAG], chip.values["SCBPTR"]
        self._let_go(conn)
        chip.scbs.free(slot)
        chip.seq.post(tag)
        if chip.faults.armed and chip.faults.hit("missed-busfree") is not None:
            chip.later(chip.timing.message_ns, chip.bus.release)
            chip.seq.stop_with(SeqInt.MISSED_BUSFREE, chip.seq.idle)
            return
        self._free_bus()

    def _free_bus(self) -> None:
        chip = self.chip
        chip.bus.release()
        seq = chip.seq
        seq.state = _IDLE
        seq.after(chip.timing.step_ns, seq.idle)

