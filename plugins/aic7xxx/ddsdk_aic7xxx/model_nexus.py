"""The sequencer while a target is connected: messages, command, data, status, completion.

hw-aic7xxx.md 7, items 6 to 12, and 10.  The target decides what comes next (`Connection.phase`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.scsi_target import GOOD, ScsiResult, transfer_of

from . import model_faulty
from .frames import (
    CDB_INLINE,
    DISCENB,
    DISCONNECTED,
    MK_MESSAGE,
    SCB_CDB_LEN,
    SCB_CONTROL,
    SCB_LUN,
    SCB_NEXT,
    SCB_SGPTR,
    SCB_STATUS,
    SCB_TAG,
    SG_RESID_VALID,
    STATUS_RCVD,
    TAG_ENB,
    TAG_TYPE,
    Msg,
)
from .model_data import SgList, put_residual
from .model_port import REQUEST_SENSE, Connection, Task, is_negotiation
from .model_sequencer import Seq
from .regs import NONE, Answer, MsgOut, Phase, ScsiSig, SeqFlags, SeqInt, SStat0

if TYPE_CHECKING:
    from .model import Aic7xxx

_REQ: Final = ScsiSig.REQ.mask | ScsiSig.BSY.mask
_DPHASE: Final = SeqFlags.DPHASE.mask
_SECTOR_BYTES: Final = 512
#: Messages the firmware does not leave to the host.
_TASK_MESSAGES: Final = frozenset((Msg.ABORT, Msg.ABORT_TAG, Msg.BUS_DEVICE_RESET))


class Nexus:
    """What the sequencer does with the connected target."""

    def __init__(self, chip: Aic7xxx) -> None:
        self.chip = chip
        self.in_host_loop = False
        self.data_until_ns = 0              # a data phase that nobody takes data of any more

    @property
    def conn(self) -> Connection | None:
        """The target on the bus."""
        return self.chip.bus.conn

    # -- phases ------------------------------------------------------------------------------------

    def phase_loop(self) -> None:
        """Whatever the target drives next."""
        chip, conn = self.chip, self.conn
        if conn is None:
            chip.seq.idle()
            return
        chip.seq.state = Seq.CONNECTED
        self.in_host_loop = False
        if chip.faults.armed and conn.stage == "command" and not chip.atn and not conn.msgin:
            model_faulty.before_command(chip, conn)
        if conn.task is None and conn.stage != "command" and not (chip.atn or conn.leaves):
            raise HardwareFault(f"target {conn.port.id} reselected with tag {conn.tag}, which no SCB has, and nobody"
                                " told it that (code 31)")
        phase = conn.phase(chip.atn)
        if phase is Phase.MESGOUT:
            self._message_out(conn)
        elif conn.msgin:
            self._message_in(conn)
        elif conn.stage == "command":
            chip.seq.after(chip.timing.command_ns, self._command)
        elif conn.stage == "work":
            self._work(conn)
        elif conn.stage == "data":
            self._data(conn)
        elif conn.stage == "status":
            chip.seq.after(chip.timing.finish_ns, self._status)
        else:
            self._complete(conn)

    def lines(self) -> int:
        """SCSISIGI."""
        chip, conn = self.chip, self.conn
        value = int(ScsiSig.ATN.mask) if chip.atn else 0
        if conn is None:
            return value | (ScsiSig.SEL.mask if chip.sstat0 & SStat0.SELINGO.mask else 0)
        phase = conn.phase(chip.atn)
        if chip.clock.now_ns < self.data_until_ns:
            phase = Phase.DATAIN
        if phase is None:
            return value | int(ScsiSig.BSY.mask)
        return value | int(phase) | _REQ

    # -- message out -------------------------------------------------------------------------------

    def _message_out(self, conn: Connection) -> None:
        chip, values = self.chip, self.chip.values
        values["LASTPHASE"] = Phase.MESGOUT
        message = values["MSG_OUT"]
        raw = chip.slot
        if message == MsgOut.HOST_MSG or conn.retry or (message == MsgOut.IDENTIFYFLAG
                                                        and raw[SCB_CONTROL] & MK_MESSAGE):
            self._host_loop()
            return
        words = bytes((message,))
        if message == MsgOut.IDENTIFYFLAG:
            control = raw[SCB_CONTROL]
            words = bytes((Msg.IDENTIFY | raw[SCB_LUN] & 0x3F | (0x40 if control & DISCENB else 0),))
            if control & TAG_ENB:
                words += bytes((control & (TAG_ENB | TAG_TYPE), raw[SCB_TAG]))
        for left in range(len(words) - 1, -1, -1):
            if not left:
                chip.atn = False
            self._hear(conn, words[len(words) - 1 - left])
        values["LAST_MSG"], values["MSG_OUT"] = message, MsgOut.NOOP
        chip.seq.after(chip.timing.message_ns * len(words), self.phase_loop)

    def _hear(self, conn: Connection, byte: int) -> None:
        """The target takes a byte and does what it is told."""
        chip, port = self.chip, conn.port
        message = conn.hear(byte, chip.atn)
        if not message or conn.nexus_message(message):
            return
        if chip.faults.armed and model_faulty.at_message(chip, conn, message):
            return
        code = message[0]
        if code in _TASK_MESSAGES:
            self._task_message(conn, code)
        elif is_negotiation(message):
            reply = port.negotiate(message, greedy=False)
            if not conn.asked:
                conn.msgin += reply
            conn.asked = False
        elif code == Msg.PARITY_ERROR:
            conn.stage = "complete"         # the message is sent again
        elif code == Msg.EXTENDED:
            conn.msgin.append(Msg.MESSAGE_REJECT)

    def _task_message(self, conn: Connection, code: int) -> None:
        """ABORT, ABORT TAG, BUS DEVICE RESET: done, and the target leaves the bus."""
        chip, port = self.chip, conn.port
        if code == Msg.BUS_DEVICE_RESET:
            port.reset(bus=False, until_ns=chip.clock.now_ns + chip.timing.recovery_ns)
        else:
            for task in list(port.tasks):
                if task.lun == conn.lun and (code == Msg.ABORT or task.tag == conn.tag):
                    port.end(task)
            port.allegiance.discard(conn.lun)
            chip.bus.allegiance_over(port)
        conn.leaves = True
        chip.later(chip.timing.message_ns, self._leave, conn)

    def _leave(self, conn: Connection) -> None:
        if self.conn is conn:
            self.chip.bus.drop()

    # -- the host's loop ---------------------------------------------------------------------------

    def _host_loop(self) -> None:
        """The host says or hears a byte, then says how to go on."""
        self.in_host_loop = True
        self.chip.values["RETURN_1"] = 0
        self.chip.seq.stop_with(SeqInt.HOST_MSG_LOOP, self._host_answered)

    def _host_answered(self) -> None:
        chip, conn = self.chip, self.conn
        answer = chip.values["RETURN_1"]
        if answer == Answer.EXIT_MSG_LOOP:
            self.in_host_loop = False
            self.phase_loop()
        elif answer == Answer.CONT_MSG_LOOP:
            if conn is None or conn.leaves:
                chip.seq.state = Seq.LOST   # no REQ will come; BUSFREE does
            else:
                chip.seq.after(chip.timing.message_ns, self._next_byte)
        else:
            raise HardwareFault(f"RETURN_1 is {answer:#04x} after code 61; it is {Answer.CONT_MSG_LOOP:#04x} or"
                                f" {Answer.EXIT_MSG_LOOP:#04x}")

    def _next_byte(self) -> None:
        conn = self.conn
        if conn is None or conn.leaves:
            self.chip.seq.state = Seq.LOST
            return
        phase = conn.phase(self.chip.atn)
        self.chip.values["LASTPHASE"] = Phase.BUSFREE if phase is None else phase
        self._host_loop()

    def give_byte(self, byte: int) -> None:
        """SCSIDATL, written: HardwareFault when no target waits for one."""
        chip, conn = self.chip, self.conn
        if conn is None or not self.in_host_loop or (conn.phase(chip.atn) is not Phase.MESGOUT and not conn.heard
                                                     and chip.values["LASTPHASE"] != Phase.MESGOUT):
            raise HardwareFault(f"SCSIDATL <- {byte:#04x}: no target takes a message byte now")
        conn.retry = False
        self._hear(conn, byte)

    def byte_on_bus(self) -> int:
        """SCSIBUSL: what a target that speaks has on the wires."""
        conn = self.conn
        if conn is None or not conn.msgin:
            return 0
        return conn.msgin[0]

    def take_byte(self) -> int:
        """SCSIDATL, read: the byte is taken off the bus."""
        byte = self.byte_on_bus()
        if self.conn is not None and self.conn.msgin:
            del self.conn.msgin[0]
        return byte

    # -- message in --------------------------------------------------------------------------------

    def _message_in(self, conn: Connection) -> None:
        """What the target has to say besides its business: the host listens."""
        self.chip.values["LASTPHASE"] = Phase.MESGIN
        self._host_loop()

    # -- command -----------------------------------------------------------------------------------

    def _command(self) -> None:
        chip, conn, values = self.chip, self.conn, self.chip.values
        if conn is None:
            chip.seq.idle()
            return
        if conn.phase(chip.atn) is not Phase.COMMAND:
            self.phase_loop()               # something came in between
            return
        raw = chip.slot
        values["LASTPHASE"] = Phase.COMMAND
        length = raw[SCB_CDB_LEN]
        inline = length <= CDB_INLINE
        cdb = bytes(raw[:length]) if inline else chip.dma.read(int.from_bytes(raw[:4], "little"), length)
        values["SEQ_FLAGS"] &= ~SeqFlags.NO_CDB_SENT.mask
        conn.task = task = Task(conn.port, conn.lun, conn.tag, cdb, conn.disc)
        conn.port.accept(task)
        chip.bus.allegiance_over(conn.port)
        conn.stage = "work"
        if (chip.faults.armed or chip.seq.doomed != NONE) and model_faulty.at_command(chip, conn, task):
            return
        self.begin(task)

    def begin(self, task: Task, extra_ns: int = 0) -> None:
        """The target works on its task from now on; it lets go of the bus meanwhile, if it may."""
        chip, conn = self.chip, self.conn
        chip.bus.start(task, extra_ns)
        if conn is not None and conn.task is task:
            if task.disc:
                self.disconnect()
            else:
                self.phase_loop()

    def disconnect(self) -> None:
        """DISCONNECT: the slot goes onto the disconnected list, the bus is free."""
        chip, conn, values = self.chip, self.conn, self.chip.values
        assert conn is not None
        raw, slot = chip.slot, values["SCBPTR"]
        raw[SCB_CONTROL] |= DISCONNECTED
        raw[SCB_NEXT] = values["DISCONNECTED_SCBH"]
        values["DISCONNECTED_SCBH"] = slot
        if not raw[SCB_CONTROL] & TAG_ENB:
            values[f"BUSY_TARGETS[{conn.port.id}]"] = raw[SCB_TAG]
        chip.bus.release()
        chip.seq.state = Seq.IDLE
        chip.seq.after(chip.timing.message_ns, chip.seq.idle)

    def _work(self, conn: Connection) -> None:
        """Connected, and the target works."""
        if conn.task is not None and conn.task.ready and conn.port.may_go_on(conn.task):
            conn.stage = "data"
            self.phase_loop()

    # -- data --------------------------------------------------------------------------------------

    def list_of(self) -> SgList:
        """The list of the SCB the sequencer works on."""
        chip = self.chip
        return SgList(chip.slot, chip.dma, min(64, max(16, chip.cache_line_bytes)), chip.reach)

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
        sg = self.list_of()
        dt = 0x20 if task.port.agreement[3] else 0
        chip.values["LASTPHASE"] = (Phase.DATAOUT if out else Phase.DATAIN) | dt
        exact = task.cdb[0] in (0x08, 0x0A, 0x28, 0x2A, 0x88, 0x8A)
        if (wanted > sg.length and (exact or not sg.length)) or (
                chip.faults.armed and chip.faults.hit("data-overrun") is not None):
            task.status, task.moved = GOOD, 0
            chip.seq.stop_with(SeqInt.DATA_OVERRUN, self.phase_loop)
            return
        if chip.faults.armed and task.split < 0 and model_faulty.at_data(chip, conn, task, sg):
            return
        chip.values["SEQ_FLAGS"] |= _DPHASE
        chip.seq.after(max(1, task.port.data_ns(min(wanted, sg.length))), self._move_data)

    def _move_data(self) -> None:
        conn = self.conn
        if conn is None or conn.task is None:
            self.chip.seq.idle()
            return
        self._finish(conn, self.list_of())

    def _no_data(self, conn: Connection) -> None:
        conn.stage = "status"
        self.phase_loop()

    def _finish(self, conn: Connection, sg: SgList) -> None:
        """Let the target carry the command out; data moves meanwhile."""
        chip, task = self.chip, conn.task
        assert task is not None
        if task.split >= 0:
            values = chip.values
            address = sum(values[f"HADDR[{n}]"] << 8 * n for n in range(4)) | chip.high_address << 32
            sg.remap(task.split, address, sum(values[f"HCNT[{n}]"] << 8 * n for n in range(3)))
        result = self._execute(task, sg)
        if result.hang:
            self._hang(conn)
            return
        task.moved, task.status = result.transferred, result.status
        if result.transferred:
            task.port.check_rate(chip.values["SCSIRATE"], chip.values["SCSIOFFSET"])
            put_residual(chip.slot, sg, result.transferred)
        conn.stage = "status"
        if chip.faults.armed and model_faulty.after_data(chip, conn, task, sg):
            return
        self.phase_loop()

    def _execute(self, task: Task, sg: SgList) -> ScsiResult:
        port = task.port
        if task.cdb[0] == REQUEST_SENSE and port.sense_fails:
            port.sense_fails = False
            return ScsiResult(0x02)
        return port.target.execute(task.lun, task.cdb, sg)

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
        chip, conn = self.chip, self.conn
        if conn is None or conn.task is None:
            chip.seq.idle()
            return
        if conn.phase(chip.atn) is not Phase.STATUS:
            self.phase_loop()
            return
        task = conn.task
        chip.values["LASTPHASE"] = Phase.STATUS
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
        chip.values["LASTPHASE"] = Phase.MESGIN
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
        if chip.slot[SCB_TAG] == chip.values[f"BUSY_TARGETS[{port.id}]"]:
            chip.values[f"BUSY_TARGETS[{port.id}]"] = NONE
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
        chip.seq.state = Seq.IDLE
        chip.seq.after(chip.timing.step_ns, chip.seq.idle)

