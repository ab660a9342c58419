"""Message phases: what the firmware says by itself, and the host message loop, a byte a stop.

hw-aic7xxx.md 7 item 6, and 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault

from . import model_faulty
from .frames import DISCENB, IDENTIFY_LUN, MK_MESSAGE, SCB_CONTROL, SCB_LUN, SCB_TAG, TAG_ENB, Msg
from .model_port import Connection, is_negotiation
from .model_sequencer import Seq
from .regs import Answer, MsgOut, Phase, ScsiSig, SeqInt, SStat0

if TYPE_CHECKING:
    from .model import Aic7xxx

_NOOP, _IDENTIFYFLAG, _HOST_MSG = MsgOut.NOOP, MsgOut.IDENTIFYFLAG, MsgOut.HOST_MSG
_REQ: Final = ScsiSig.REQ.mask | ScsiSig.BSY.mask
#: Messages after which the target leaves the bus.
_TASK_MESSAGES: Final = frozenset((Msg.ABORT, Msg.ABORT_TAG, Msg.BUS_DEVICE_RESET))


class Messages:
    """What the sequencer and the connected target say to one another."""

    def __init__(self, chip: Aic7xxx) -> None:
        self.chip = chip
        self.in_host_loop = False
        self.data_until_ns = 0              # a data phase that nobody takes data of any more

    @property
    def conn(self) -> Connection | None:
        """The target on the bus."""
        return self.chip.bus.conn

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

    def out(self, conn: Connection) -> None:
        """The target takes messages: what the firmware has to say, or, by MK_MESSAGE and HOST_MSG, the host."""
        chip, values = self.chip, self.chip.values
        values["LASTPHASE"] = Phase.MESGOUT
        if conn.retry:                      # what the firmware said by itself: once more
            conn.retry, chip.atn, values["MSG_OUT"] = False, True, values["LAST_MSG"]
        message = values["MSG_OUT"]
        raw = chip.slot
        if message == _HOST_MSG or (message == _IDENTIFYFLAG and raw[SCB_CONTROL] & MK_MESSAGE):
            self._host_loop()
            return
        count = 1
        chip.atn = False                    # before the last byte
        if message == _IDENTIFYFLAG:
            control = raw[SCB_CONTROL]
            count = 3 if control & TAG_ENB else 1
            conn.identified(raw[SCB_LUN] & IDENTIFY_LUN, bool(control & DISCENB), raw[SCB_TAG] if count == 3 else None)
        else:
            self._hear(conn, message)
        values["LAST_MSG"], values["MSG_OUT"] = message, _NOOP
        took_ns, nexus = chip.timing.message_ns * count, chip.nexus
        if conn.stage == "command" and not (conn.msgin or conn.retry or chip.faults.armed):
            chip.seq.after(took_ns + chip.timing.command_ns, nexus.command)       # nothing can come in between
        else:
            chip.seq.after(took_ns, nexus.phase_loop)

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
            conn.answered = 0 if conn.asked else message[2]
            conn.asked = False
        elif code == Msg.MESSAGE_REJECT and conn.answered:
            port.rejected(conn.answered)
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
            self.chip.nexus.phase_loop()
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

    def incoming(self, conn: Connection) -> None:
        """What the target has to say besides its business: the host listens."""
        self.chip.values["LASTPHASE"] = Phase.MESGIN
        self._host_loop()
