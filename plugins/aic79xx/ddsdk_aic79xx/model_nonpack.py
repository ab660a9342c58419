"""A non-packetized connection: IDENTIFY and tag, messages by the host, command, data, status, COMMAND COMPLETE.

One object for the time in which one target has the bus.
Source: effects of aic79xx.seq rev 99 (Linux 2.6.9); SPI-4, 13, 16.
"""

from __future__ import annotations

from collections.abc import Generator
from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.scsi_target import GOOD

from . import model_faulty, model_faulty_nonpack
from . import model_scratch as at
from .frames import (
    CDB_LEN_PTR,
    Control,
    SgFlag,
    busy_slot,
    is_null,
)
from .model_activity import STOPPED, Activity
from .model_data import DataPhase
from .model_target import After, Heard, SpiTarget, Task
from .regs import IntStat, Mode, Scratch, SeqFlags, SeqIntCode
from .sequencer import (
    CONT_MSG_LOOP_READ,
    CONT_MSG_LOOP_WRITE,
    EXIT_MSG_LOOP,
    HOST_MSG,
    MSG_IDENTIFYFLAG,
    MSG_NOOP,
    P_BUSFREE,
    SCB_LIST_NULL_HIGH,
    Phase,
)

if TYPE_CHECKING:
    from .model_control import ChipControl

#: An activity that ends with what the target does next, None when the bus has gone free.
MessageLoop = Generator[int, None, "Heard | None"]

_STATUS, _CONTROL, _SCSIID, _LUN, _CDB_LEN, _SGPTR = 0x08, 0x12, 0x13, 0x14, 0x16, 0x24
_ENBUSFREE: Final = 0x08            # SIMODE1
_U16: Final = Struct("<H")
_SCSI: Final = Mode.SCSI
_MESGOUT, _COMMAND, _MESGIN = int(Phase.MESGOUT), int(Phase.COMMAND), int(Phase.MESGIN)
_DATAIN, _STATUS_PHASE = int(Phase.DATAIN), int(Phase.STATUS)
_NOT_IDENTIFIED, _NO_CDB_SENT = SeqFlags.NOT_IDENTIFIED.mask, SeqFlags.NO_CDB_SENT.mask
_DPHASE: Final = SeqFlags.DPHASE.mask
_FLAGS_IDLE: Final = _NOT_IDENTIFIED | _NO_CDB_SENT
#: A message loop that goes on for longer than this has no end.
_MESSAGE_BYTES_MAX: Final = 512


class Connection:
    """One target has the bus, for SCB *tag*.  *task*: it reselected us for this command."""

    def __init__(self, chip: ChipControl, target: SpiTarget, tag: int, task: Task | None = None) -> None:
        self._chip, self.target, self.tag, self.task = chip, target, tag, task
        self._slot = chip.slot(tag)
        self._lost_agreement = False

    # -- what the bus asks -----------------------------------------------------------------------------

    def next_activity(self) -> Activity | None:
        """Data and status, once the target that waits on the bus has them."""
        bus = self._chip.bus
        if self.task is not None and self.task in bus.ready:
            bus.ready.remove(self.task)
            return self._data_and_status(self.task)
        return None

    def abandon(self) -> None:
        """We let go: a command that had begun on the bus is lost to both sides."""
        if self.task is not None:
            self.target.over(self.task)

    def _free(self) -> None:
        """The bus goes free as it should."""
        chip = self._chip
        chip.bus.connection = None
        chip.scratch[at.LASTPHASE] = P_BUSFREE
        chip.scratch[at.SEQ_FLAGS] = _FLAGS_IDLE
        chip.scsi.bus_free()

    def busfree(self, lastphase: int) -> None:
        """The bus goes free while ENBUSFREE says that the host wants to hear of it."""
        chip = self._chip
        chip.bus.connection = None
        chip.put(Scratch.LASTPHASE, lastphase)
        chip.scsi.bus_free(wanted=False)

    def _phase(self, phase: int) -> None:
        """The target changes the phase."""
        chip = self._chip
        chip.scsi.phase = chip.scratch[at.LASTPHASE] = phase

    def _identified(self) -> None:
        chip, slot = self._chip, self._slot
        chip.set_mode(_SCSI, self.tag)
        chip.scratch[at.SAVED_SCSIID] = slot[_SCSIID]
        chip.scratch[at.SAVED_LUN] = slot[_LUN]
        chip.scsi.simode1 |= _ENBUSFREE

    # -- we select -------------------------------------------------------------------------------------

    def selected(self) -> Activity:
        """From message-out on."""
        chip, slot, scratch, timing = self._chip, self._slot, self._chip.scratch, self._chip.timing
        messages_ns = (3 if slot[_CONTROL] & Control.TAG_ENB else 1) * timing.message_ns
        # IDENTIFY, the tag message and the command are one step where nothing can come in between
        plain = not (chip.faults.armed or slot[_CONTROL] & Control.MK_MESSAGE or self.target.agreement.packetized)
        yield timing.idle_ns + messages_ns + timing.command_ns if plain else timing.idle_ns
        chip.bus.selection_over(self.tag)
        chip.bus.connection = self
        self._identified()
        if plain:
            scratch[at.LAST_MSG], scratch[at.MSG_OUT] = MSG_IDENTIFYFLAG, MSG_NOOP
            chip.scsi.atn = False
            self._phase(_COMMAND)
            yield from self._command()
            return
        scratch[at.SEQ_FLAGS] = _NO_CDB_SENT
        self._phase(_MESGOUT)
        chip.scsi.atn = True
        scratch[at.MSG_OUT] = MSG_IDENTIFYFLAG
        if chip.faults.armed and model_faulty.busfree(chip, "busfree-at-identify"):
            self.busfree(Phase.MESGOUT)
            return
        if slot[_CONTROL] & Control.MK_MESSAGE:
            heard = yield from self.host_messages()
            if heard is None or heard.after is not After.COMMAND:
                return
            self._phase(_COMMAND)
            yield chip.timing.command_ns
        else:
            yield messages_ns
            chip.scsi.atn = False
            scratch[at.LAST_MSG] = scratch[at.MSG_OUT]
            scratch[at.MSG_OUT] = MSG_NOOP
            if self.target.agreement.packetized:        # it expects L_Qs, not an IDENTIFY
                self.busfree(Phase.MESGOUT)
                return
            self._phase(_COMMAND)
            yield timing.command_ns
        yield from self._command()

    def agreement_lost(self) -> Activity:
        """A target that was sent a packet without believing in packets wants a command: code 0D."""
        chip = self._chip
        self._lost_agreement = True
        chip.scsi.packetized = False
        self._phase(Phase.COMMAND)
        chip.set_mode(Mode.SCSI, self.tag)
        chip.raise_seqint(SeqIntCode.ILLEGAL_PHASE)
        yield STOPPED
        chip.scsi.simode1 |= _ENBUSFREE
        slot = self._slot
        yield chip.timing.command_ns
        if not chip.scsi.atn or chip.get(Scratch.MSG_OUT) != HOST_MSG:
            raise HardwareFault(f"target {self.target.number} lost the packetized agreement, and the host did not"
                                " assert ATN with MSG_OUT = FF")
        if any(slot[:6]) or slot[_CDB_LEN] != 6:
            raise HardwareFault("the command for a target that lost the packetized agreement is no TEST UNIT READY")
        yield from self.host_messages()

    def _command(self) -> Activity:
        """The command phase is over; then the target disconnects if it may."""
        chip, slot = self._chip, self._slot
        length = slot[_CDB_LEN]
        if length & CDB_LEN_PTR:
            length = slot[_STATUS]
            cdb = chip.dma.read(int.from_bytes(slot[:8], "little"), length)
        else:
            cdb = bytes(slot[:length])
        chip.scratch[at.SEQ_FLAGS] = 0
        tagged = bool(slot[_CONTROL] & Control.TAG_ENB)
        self.task = task = Task(self.target, self.tag, slot[_LUN], cdb, False, tagged)
        if chip.faults.armed:
            if model_faulty.busfree(chip, "busfree-at-command"):
                self.task = None
                self.busfree(Phase.COMMAND)
                return
            dropped = yield from model_faulty_nonpack.after_command(chip, self)
            if dropped:
                return
        task.connected = not slot[_CONTROL] & Control.DISCENB
        chip.bus.start(task)
        if task.connected:
            chip.scsi.phase = _COMMAND                  # BSY stays, no REQ yet
            return
        self._phase(_MESGIN)
        yield chip.timing.message_ns                    # DISCONNECT
        slot[_CONTROL] |= Control.DISCONNECTED
        if not tagged:
            self._busy(self.tag)
        self._free()

    def _busy(self, tag: int | None) -> None:
        """The busy target table: which untagged command (target, lun) works on."""
        number, index = busy_slot(self.target.number, self._slot[_LUN])
        slot, place = self._chip.slot(number), 0x38 + 2 * index
        if tag is None:
            slot[place + 1] = SCB_LIST_NULL_HIGH
        else:
            _U16.pack_into(slot, place, tag)

    # -- it reselects ----------------------------------------------------------------------------------

    def reselected(self, task: Task) -> Activity:
        """IDENTIFY and tag lead to the SCB, which has to be one that disconnected."""
        chip = self._chip
        yield chip.timing.arbitrate_ns + (3 if task.tagged else 1) * chip.timing.message_ns
        if task.dead:
            chip.scsi.bus_free()
            return
        chip.scsi.selid = task.target.number << 4
        chip.bus.connection = self
        self._phase(_MESGIN)
        chip.scsi.simode1 |= _ENBUSFREE
        chip.scratch[at.SEQ_FLAGS] = _NOT_IDENTIFIED
        tag = task.tag
        if not task.tagged:
            number, index = busy_slot(self.target.number, task.lun)
            tag = _U16.unpack_from(chip.slot(number), 0x38 + 2 * index)[0]
        slot = self._slot if tag == self.tag else chip.slot(tag)
        match = not is_null(tag) and slot[_CONTROL] & Control.DISCONNECTED
        if chip.faults.armed and model_faulty_nonpack.no_match(chip):
            match = False
        if not match:
            yield from self._no_match()
            return
        self.tag, self._slot = tag, slot
        self._identified()
        slot[_CONTROL] &= ~Control.DISCONNECTED & 0xFF
        chip.scratch[at.SEQ_FLAGS] = 0
        if not task.tagged:
            self._busy(None)
        yield from self._data_and_status(task)

    def _no_match(self) -> Activity:
        """Code 04: the host asserts ATN and gets rid of it."""
        chip = self._chip
        chip.set_mode(Mode.SCSI)
        chip.raise_seqint(SeqIntCode.NO_MATCH)
        yield STOPPED
        if not chip.scsi.atn or chip.get(Scratch.MSG_OUT) != HOST_MSG:
            raise HardwareFault("a reselection without a match, and the host did not assert ATN with MSG_OUT = FF")
        yield from self.host_messages()

    # -- data, status, completion ----------------------------------------------------------------------

    def _data_and_status(self, task: Task) -> Activity:
        chip, slot = self._chip, self._slot
        if task.dead:
            self.busfree(chip.get(Scratch.LASTPHASE))
            return
        chip.set_mode(_SCSI, self.tag)
        data = DataPhase(chip, slot)
        if data.length:
            chip.bus.check_table(self.target)
        overrun = task.wanted > data.length
        if chip.faults.armed:
            outcome = yield from model_faulty_nonpack.data_phase(chip, self, task, data)
            if outcome is None:
                return
            overrun |= outcome
        result = chip.bus.carry_out(task, data)
        if result.hang:
            if not task.connected:
                self._free()
            return
        if result.transferred:
            chip.scratch[at.SEQ_FLAGS] = _DPHASE
        left = data.note(result.transferred, overrun=overrun)
        if overrun:
            if result.transferred:
                self._phase(_DATAIN)
            chip.raise_seqint(SeqIntCode.DATA_OVERRUN)
            yield STOPPED
        self._phase(_STATUS_PHASE)
        yield 2 * chip.timing.message_ns                # status, and the message
        slot[_STATUS] = result.status
        slot[_CONTROL] |= Control.STATUS_RCVD
        self._phase(_MESGIN)
        self.target.over(task)
        self.task = None
        if chip.faults.armed and model_faulty_nonpack.message_unsent(chip):
            slot[_CONTROL] |= Control.MK_MESSAGE
        if slot[_CONTROL] & Control.MK_MESSAGE:
            chip.raise_seqint(SeqIntCode.MKMSG_FAILED)
            yield STOPPED
        self._free()                                    # COMMAND COMPLETE
        bad = result.status != GOOD
        if bad:
            chip.sequencer.freeze()
        if bad or left:
            slot[_SGPTR] |= SgFlag.STATUS_VALID
        chip.sequencer.completed(self.tag, upload=bad or left)

    # -- the host's messages ---------------------------------------------------------------------------

    def _ask(self, phase: int) -> Activity:
        """Code 07 in *phase*: the host says in RETURN_1 what to do."""
        chip = self._chip
        chip.scsi.phase = phase
        chip.put(Scratch.LASTPHASE, phase)
        chip.set_mode(Mode.SCSI, self.tag)
        chip.raise_seqint(SeqIntCode.HOST_MSG_LOOP)
        yield STOPPED

    def host_messages(self) -> MessageLoop:
        """Message-out by the host until ATN falls, the target's answer read by the host.

        Returns what the target does then; None when the bus has gone free.
        """
        chip = self._chip
        sent = bytearray()
        while True:
            yield from self._ask(Phase.MESGOUT)
            if chip.get(Scratch.RETURN_1) != CONT_MSG_LOOP_WRITE:
                raise HardwareFault(f"message-out phase, and RETURN_1 is {chip.get(Scratch.RETURN_1):#04x}")
            sent.append(chip.get(Scratch.RETURN_2))
            if len(sent) > _MESSAGE_BYTES_MAX:
                raise HardwareFault("a message of more than 512 bytes: ATN has to fall with its last byte")
            yield chip.timing.message_ns
            if not chip.scsi.atn:
                break
        if chip.faults.armed and model_faulty_nonpack.message_again(chip):
            chip.scsi.atn = False
            return (yield from self.host_messages())    # and it all comes once more
        before = self.target.agreement
        heard = self.target.hear(bytes(sent), chip.get(Scratch.SAVED_LUN), self.tag & 0xFF)
        if chip.faults.armed:
            heard = model_faulty_nonpack.heard(chip, self.target, before, heard)
        chip.put(Scratch.LAST_MSG, HOST_MSG)
        chip.put(Scratch.MSG_OUT, MSG_NOOP)
        return (yield from self._answer(heard))

    def _answer(self, heard: Heard) -> MessageLoop:
        chip = self._chip
        if heard.after is After.FREE:
            self.busfree(Phase.MESGOUT)
            return None
        for byte in heard.reply:
            chip.scsi.bus_byte = byte
            yield from self._ask(Phase.MESGIN)
            if chip.get(Scratch.RETURN_1) != CONT_MSG_LOOP_READ:
                raise HardwareFault(f"message-in phase, and RETURN_1 is {chip.get(Scratch.RETURN_1):#04x}")
            yield chip.timing.message_ns
        if heard.after is After.REPLY_FREE:
            self.busfree(Phase.MESGIN)
            return None
        if chip.scsi.atn:                               # the host has more to say
            return (yield from self.host_messages())
        yield from self._ask(Phase.COMMAND)
        if chip.get(Scratch.RETURN_1) != EXIT_MSG_LOOP:
            raise HardwareFault(f"the target left the message phases, and RETURN_1 is"
                                f" {chip.get(Scratch.RETURN_1):#04x}; it has to be {EXIT_MSG_LOOP:#04x}")
        return Heard(After.COMMAND)

    def illegal(self, code: SeqIntCode) -> Activity:
        """Any sequencer interrupt in the middle of a connection."""
        self._chip.set_mode(Mode.SCSI, self.tag)
        self._chip.raise_seqint(code)
        yield STOPPED
        assert not self._chip.intstat & IntStat.SEQINT.mask
