"""What the firmware does, as a state machine: idle loop, SCB fetch, selection, reselection, posting.

hw-aic7xxx.md 7 and 16.  Each state ends with the next move being scheduled; a paused sequencer makes none.  What
happens while a target is connected is model_nexus.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault

from . import model_faulty
from .frames import (
    DISCONNECTED,
    HSCB_BYTES,
    MK_MESSAGE,
    SCB_BYTES,
    SCB_CONTROL,
    SCB_LUN,
    SCB_NEXT,
    SCB_SCSIID,
    SCB_SCSIOFFSET,
    SCB_SCSIRATE,
)
from .model_core import BUSFREE, SCSIINT, Run
from .model_port import Connection
from .regs import NONE, SLOTS, MsgOut, Phase, ScsiSeq, SeqFlags, SeqFlags2, SeqInt, SStat0, SStat1

if TYPE_CHECKING:
    from .model import Aic7xxx

_RUN: Final = Run.RUN
_FLAGS_IDLE: Final = SeqFlags.NOT_IDENTIFIED.mask | SeqFlags.NO_CDB_SENT.mask
_FLAGS_SELECTED: Final = SeqFlags.NO_CDB_SENT.mask
_FLAGS_RESELECTED: Final = SeqFlags.NOT_IDENTIFIED.mask
_PHASE_NONE: Final = Phase.BUSFREE
_SCB_DMA: Final = SeqFlags2.SCB_DMA.mask
_ENSELO: Final = ScsiSeq.ENSELO.mask
_ENRSELI: Final = ScsiSeq.ENRSELI.mask
_SELINGO: Final = SStat0.SELINGO.mask
_SELDO: Final = SStat0.SELDO.mask
_SELDI: Final = SStat0.SELDI.mask
_SCSIRSTI: Final = SStat1.SCSIRSTI.mask
_SELTO: Final = SStat1.SELTO.mask
_RESELECT_ONLY: Final = 0x32


class Seq(Enum):
    """The sequencer's states; CONNECTED has its own in `Connection.stage`."""

    IDLE = "idle"
    FETCH = "fetching an SCB"
    SELECT = "selecting"
    RESELECT = "being reselected"
    CONNECTED = "connected"
    STOPPED = "waiting for the host"
    LOST = "waiting for what does not come"


_IDLE, _CONNECTED = Seq.IDLE, Seq.CONNECTED


class Sequencer:
    """The sequencer of one function."""

    def __init__(self, chip: Aic7xxx) -> None:
        self.chip = chip
        self.state = Seq.IDLE
        self.last_tag: int | None = None
        self._move: Callable[[], object] | None = None      # what comes next
        self._due = False                   # it was due while the sequencer stood still
        self._when_ns = 0                   # when, while another one is being made
        self._moving = False                # a move is being made
        self._serial = 0                    # tells a scheduled move from one that was taken back
        self.doomed = NONE                  # element whose command will never be heard of again
        self._rst_since_ns = -1
        self._fetching = NONE

    # -- moves -------------------------------------------------------------------------------------

    def after(self, delay_ns: int, move: Callable[[], object]) -> None:
        """Make *move* in *delay_ns*, or as soon as the sequencer runs after that."""
        self._move, self._due = move, False
        self._when_ns = when_ns = self.chip.clock.now_ns + delay_ns
        if not self._moving:
            self._serial = serial = self._serial + 1
            self.chip.clock.at_ns(when_ns, self._fire, serial)

    def _fire(self, serial: int) -> None:
        """Make the move that is due, and those after it while nothing else is due in between (`Clock.pass_to`)."""
        if serial != self._serial:
            return
        chip = self.chip
        clock = chip.clock
        self._moving = True
        try:
            while chip.run is _RUN:
                move, self._move = self._move, None
                if move is None:
                    return
                self._when_ns = 0
                move()
                if not self._when_ns or self._move is None:
                    return
                if not clock.pass_to(self._when_ns):
                    self._serial = serial = self._serial + 1
                    clock.at_ns(self._when_ns, self._fire, serial)
                    return
            self._due = True
        finally:
            self._moving = False

    def stop_with(self, code: SeqInt, then: Callable[[], object]) -> None:
        """SEQINT: stand still until the host has dealt with it, then go on."""
        self.state = Seq.STOPPED if self.chip.bus.conn is None else Seq.CONNECTED
        self.then(then)
        self.chip.intstat &= 0x0F
        self.chip.interrupt(code)

    def go_on(self, restart: bool) -> None:
        """Unpaused; *restart*: the program begins anew."""
        if restart:
            self._forget_move()
            self.state = Seq.IDLE
            self.after(self.chip.timing.step_ns, self.idle)
        elif self._due and self._move is not None:
            self.after(self.chip.timing.step_ns, self._move)
        else:
            self.kick()

    def then(self, move: Callable[[], object]) -> None:
        """Make *move* as soon as the sequencer runs again."""
        self._forget_move()
        self._move, self._due = move, True

    def lose(self) -> None:
        """Stand still until errors are cleared."""
        self.state = Seq.LOST
        self._move = None

    def stop(self) -> None:
        """Nothing comes next."""
        self.doomed = NONE
        self._forget_move()
        self.state = Seq.IDLE

    def _forget_move(self) -> None:
        """What was to come next does not."""
        self._serial += 1
        self._when_ns = 0
        self._move, self._due = None, False

    def kick(self, *, last: bool = False) -> None:
        """Something to do turned up: look, if the sequencer is idle, or waits for the connected target.

        *last*: as the last act of an event, so that it may be done at once.
        """
        chip = self.chip
        if self._move is not None or chip.run is not _RUN:
            return
        if self.state is _IDLE:
            move: Callable[[], object] = self.idle
        elif self.state is _CONNECTED and chip.bus.conn is not None:
            move = chip.nexus.phase_loop
        else:
            return
        if last and not self._moving and chip.clock.pass_to(chip.clock.now_ns + chip.timing.step_ns):
            self._move, self._due = move, False
            self._serial += 1
            self._fire(self._serial)
        else:
            self.after(chip.timing.step_ns, move)

    def errors_cleared(self) -> None:
        """CLRPARERR: a fetch that failed on the PCI bus is tried again."""
        if self.state is Seq.LOST:
            self.state = Seq.IDLE
            self.kick()

    # -- idle --------------------------------------------------------------------------------------

    def idle(self) -> None:
        """The idle loop: reselection, selection, fetch; whatever comes first."""
        chip = self.chip
        values = chip.values
        self.state = _IDLE
        if chip.bus.conn is not None:
            return                          # somebody holds the bus and the program knows nothing of it
        values["SEQ_FLAGS"] = _FLAGS_IDLE
        values["LASTPHASE"] = _PHASE_NONE
        values["SCSIRATE"] = values["SCSIOFFSET"] = 0
        chip.sstat1 |= BUSFREE
        if chip.bus.ready and values["SCSISEQ"] & _ENRSELI:
            task = chip.bus.next_ready()
            if task is not None:
                self.state = Seq.RESELECT
                chip.bus.conn = Connection(task.port, task)
                self.after(chip.timing.select_ns, self._reselected)
                return
        if values["WAITING_SCBH"] < SLOTS:
            self._select()
        elif values["HNSCB_QOFF"] != values["SNSCB_QOFF"]:
            self._fetch()

    # -- fetch -------------------------------------------------------------------------------------

    def _fetch(self) -> None:
        chip, values = self.chip, self.chip.values
        if chip.faults.armed and model_faulty.at_fetch(self):
            return
        slot = chip.scbs.take()
        if slot is None:
            self.stop_with(SeqInt.NO_FREE_SCB, self.idle)
            return
        self.state = Seq.FETCH
        chip.point_at(slot)
        values["SEQ_FLAGS2"] |= _SCB_DMA
        self._fetching = values["NEXT_QUEUED_SCB"]
        self.after(chip.timing.fetch_ns, self._fetched)

    def _fetched(self) -> None:
        chip, values = self.chip, self.chip.values
        slot, tag = values["SCBPTR"], values["NEXT_QUEUED_SCB"]
        values["SEQ_FLAGS2"] &= ~_SCB_DMA
        self.state = Seq.IDLE
        if tag != self._fetching:           # the host queued anew meanwhile
            chip.scbs.free(slot)
            self.after(chip.timing.step_ns, self.idle)
            return
        raw = chip.slots[slot]
        raw[:] = chip.dma.read(chip.hscb_address + HSCB_BYTES * tag, SCB_BYTES)
        chip.scbs.check(raw, tag)
        values["NEXT_QUEUED_SCB"] = raw[SCB_NEXT]
        raw[SCB_NEXT] = values["WAITING_SCBH"]
        values["WAITING_SCBH"] = slot
        values["SNSCB_QOFF"] = (values["SNSCB_QOFF"] + 1) & 0xFF
        self.idle()

    # -- selection ---------------------------------------------------------------------------------

    def _select(self) -> None:
        chip, values = self.chip, self.chip.values
        raw = chip.slots[values["WAITING_SCBH"]]
        if not values["SIMODE1"] & _SCSIRSTI:
            chip.sstat1 &= ~_SCSIRSTI
            values["SIMODE1"] |= _SCSIRSTI
        values["SCSIID_ULTRA2"] = raw[SCB_SCSIID]
        values["SCSISEQ"] = values["SCSISEQ_TEMPLATE"]
        chip.sstat0 |= _SELINGO
        self.state = Seq.SELECT
        port = chip.bus.port(raw[SCB_SCSIID] >> 4)
        if port is None or (chip.faults.armed and chip.faults.hit("selection-timeout") is not None):
            timeout_ns = chip.timing.selection_timeout_ns >> (values["SXFRCTL1"] >> 3 & 3)
            self.after(timeout_ns, self._timed_out)
            return
        wait_ns = max(0, port.deaf_until_ns - chip.clock.now_ns)
        self.after(chip.timing.select_ns + wait_ns, self._selected)

    def _timed_out(self) -> None:
        chip = self.chip
        if not self._still_selecting():
            return
        if not chip.values["SXFRCTL1"] & 0x04:
            self.state = Seq.LOST           # without ENSTIMER it waits for ever
            return
        self.state = Seq.STOPPED
        chip.sstat1 |= _SELTO | BUSFREE
        self.then(self.idle)
        chip.look_at_bus()

    def _still_selecting(self) -> bool:
        """The host may have taken ENSELO away: then the sequencer starts over."""
        if self.chip.values["SCSISEQ"] & _ENSELO and self.chip.values["WAITING_SCBH"] < SLOTS:
            return True
        self.chip.sstat0 &= ~_SELINGO
        self.idle()
        return False

    def _selected(self) -> None:
        chip, values = self.chip, self.chip.values
        if not self._still_selecting():
            return
        slot = values["WAITING_SCBH"]
        raw = chip.point_at(slot)
        port = chip.bus.port(raw[SCB_SCSIID] >> 4)
        if port is None:                    # it went away meanwhile
            self._timed_out()
            return
        chip.sstat0 &= ~(_SELINGO | _SELDO)
        chip.sstat1 &= ~BUSFREE
        values["SIMODE1"] |= BUSFREE        # armed by the hardware for the connection
        values["SCSISEQ"] &= _RESELECT_ONLY
        values["WAITING_SCBH"] = raw[SCB_NEXT]
        raw[SCB_NEXT] = NONE
        values["SAVED_SCSIID"], values["SAVED_LUN"] = raw[SCB_SCSIID], raw[SCB_LUN] & 0x3F
        values["SCSIRATE"], values["SCSIOFFSET"] = raw[SCB_SCSIRATE], raw[SCB_SCSIOFFSET]
        values["MSG_OUT"] = MsgOut.IDENTIFYFLAG
        values["SEQ_FLAGS"] = _FLAGS_SELECTED
        chip.bus.conn = Connection(port)
        self.state = _CONNECTED
        chip.atn = True
        if chip.faults.armed and not port.tasks and chip.faults.hit("atn-ignored") is not None:
            chip.atn = False
            chip.bus.conn.lun = raw[SCB_LUN] & 0x3F
        chip.nexus.phase_loop()

    # -- reselection -------------------------------------------------------------------------------

    def _reselected(self) -> None:
        chip, values = self.chip, self.chip.values
        conn = chip.bus.conn
        if conn is None or conn.task is None:
            self.idle()
            return
        task = conn.task
        self.state = _CONNECTED
        chip.sstat0 |= _SELDI
        values["SELID"] = task.port.id << 4
        chip.sstat1 &= ~BUSFREE
        values["SIMODE1"] |= BUSFREE
        values["SEQ_FLAGS"] = _FLAGS_RESELECTED
        values["LASTPHASE"] = Phase.MESGIN
        values["SAVED_SCSIID"] = task.port.id << 4 | values["SCSIID_ULTRA2"] & 0x0F
        values["SAVED_LUN"] = task.lun
        chip.sstat0 &= ~_SELDI
        if chip.faults.armed:
            struck = chip.faults.hit("reselect-no-match")
            if struck is not None:
                conn.tag, conn.task = struck.get("tag", 0xFD), None
                self.stop_with(SeqInt.NO_MATCH, chip.nexus.phase_loop)
                return
        slot = chip.scbs.find(task)
        if slot is None:
            self.stop_with(SeqInt.NO_MATCH, chip.nexus.phase_loop)
            return
        raw = chip.point_at(slot)
        raw[SCB_CONTROL] &= ~DISCONNECTED
        values["SEQ_FLAGS"] = 0
        values["SCSIRATE"], values["SCSIOFFSET"] = raw[SCB_SCSIRATE], raw[SCB_SCSIOFFSET]
        if raw[SCB_CONTROL] & MK_MESSAGE:
            chip.atn = True
            values["MSG_OUT"] = MsgOut.HOST_MSG
        chip.nexus.phase_loop()

    # -- posting -----------------------------------------------------------------------------------

    def post(self, tag: int) -> None:
        """A tag goes into the output queue, CMDCMPLT tells."""
        if self.chip.faults.armed and model_faulty.at_post(self, tag):
            return
        self.last_tag = tag
        self.chip.scbs.put_tag(tag)

    # -- what the host does meanwhile --------------------------------------------------------------

    def scsiseq_written(self, before: int, value: int) -> None:
        """RST; a selection that is taken back."""
        chip = self.chip
        if value & ~before & 0x01:
            self._rst_since_ns = chip.clock.now_ns
            chip.bus.reset()
        elif before & ~value & 0x01 and chip.clock.now_ns - self._rst_since_ns < chip.timing.rst_ns:
            raise HardwareFault(f"RST was driven for {chip.clock.now_ns - self._rst_since_ns} ns, less than"
                                f" {chip.timing.rst_ns}")
        if self.state is Seq.SELECT and before & ~value & _ENSELO:
            chip.sstat0 &= ~_SELINGO
            self.after(chip.timing.step_ns, self.idle)

    def bus_was_reset(self) -> None:
        """RST: nobody is connected, nothing is selected; the program does not know yet."""
        self.chip.sstat0 &= ~_SELINGO
        self.stop()

    @property
    def connected(self) -> bool:
        """Whether a target is on the bus."""
        return self.chip.bus.conn is not None

    def spurious(self) -> None:
        """SCSIINT, and nothing is the matter."""
        self.chip.interrupt(SCSIINT)

    def atn_raised(self) -> None:
        """The host has something to say: a target that works listens when the sequencer goes on."""
        if self._move is None:
            self.then(self.chip.nexus.phase_loop)
