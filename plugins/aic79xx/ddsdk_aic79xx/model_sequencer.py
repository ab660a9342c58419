"""The sequencer's program by its effects: the idle loop, fetching, waiting lists, uploads, the output queue.

What it does between the moments at which the host could see something is one step, and takes its time; see
model_activity.py.  Connections on the bus are activities of model_bus.py and model_nonpack.py.
Source: effects of aic79xx.seq rev 99 (Linux 2.6.9): the idle loop's order, lists, freeze, valid tag.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault

from . import model_faulty
from . import model_scratch as at
from .frames import SgFlag, is_null
from .model_activity import STOPPED, Activity
from .model_waiting import wait_for_target
from .regs import HsMailbox, IntStat, Mode, Scratch, SeqFlags2, SeqIntCode
from .sequencer import (
    AHD_SCB_MAX,
    CRITICAL_SECTIONS,
    IDLE_LOOP_ADDR,
    P_BUSFREE,
    QOFF_MASK,
    QOUT_BURST,
    SCB_LIST_NULL,
    SCB_LIST_NULL_HIGH,
    VALID_TAG,
)

if TYPE_CHECKING:

    from .model_control import ChipControl

_TAG, _CONTROL, _SCSIID = 0x10, 0x12, 0x13
_STATUS, _LINK, _SGPTR, _BUSADDR, _NEXT, _NEXT2 = 0x08, 0x0C, 0x24, 0x28, 0x2C, 0x2E
_U16: Final = Struct("<H")
_NULL: Final = SCB_LIST_NULL_HIGH           # high byte of a list's end
_CCHAN: Final = Mode.CCHAN
_COALESCE: Final = HsMailbox.ENINT_COALESCE.mask
_CMDCMPLT: Final = IntStat.CMDCMPLT.mask
_FROZEN: Final = SeqFlags2.SELECTOUT_QFROZEN.mask
_UPLOAD_BYTES: Final = 48
_STEP_NS: Final = 200


class Sequencer:
    """The program of one chip.

    `acting`: a step is under way.  `suspended`: the activity that goes on when the host lets it.
    """

    def __init__(self, chip: ChipControl) -> None:
        self._chip = chip
        self._line = 0                          # counts restarts: what an earlier program had begun is over
        self.reset()

    def reset(self) -> None:
        """The program stops, and forgets what it was at."""
        self._line += 1
        self.acting = False
        self.suspended: Activity | None = None
        self.bad: list[int] = []                # uploaded with a status, to be reported when no selection runs
        self.hung = False
        self.doomed: set[int] = set()           # places in the input queue of SCBs that a fault swallows
        self.held: dict[int, int] = {}          # completions a fault holds back: tag -> until
        self.last_posted: int | None = None
        self._since_ns = 0                      # of the oldest completion that coalescing holds back

    def restart(self) -> None:
        """From address 0: scratch and SCBs are as they were, whatever was on the bus is dropped."""
        chip = self._chip
        self.drop()
        self.hung = False
        chip.bus.restarted()
        chip.scsi.simode1 &= ~0x08
        chip.set_mode(Mode.CCHAN)
        chip.put(Scratch.LASTPHASE, P_BUSFREE)
        chip.curaddr = IDLE_LOOP_ADDR

    def drop(self) -> None:
        """Nothing of what was under way goes on."""
        self._line += 1
        self.acting = False
        self.suspended = None
        self.bad = []

    # -- running ---------------------------------------------------------------------------------------

    def go(self) -> None:
        """Go on where the host stopped it, or take a turn of the idle loop."""
        if self._chip.stopped or self.acting or self.hung:
            return
        suspended, self.suspended = self.suspended, None
        activity = self._turn() if suspended is None else suspended
        self._chip.bus.schedule()
        if activity is not None:
            self.run(activity)

    def run(self, activity: Activity) -> None:
        """The next step of *activity*, and those after it while nothing else is due in between (`Clock.pass_to`)."""
        chip, bus = self._chip, self._chip.bus
        clock = chip.clock
        while True:
            pause_ns = next(activity, None)
            if pause_ns is None:
                following = self._turn()
                while following is None and bus.arbitrate_ns and bus.selects_at_once():
                    following = self._turn()
                if following is None:
                    return
                activity = following
                bus.schedule()
            elif pause_ns == STOPPED:
                self.suspended = activity
                return
            elif not clock.pass_to(clock.now_ns + pause_ns):
                self.acting = True
                clock.at_ns(clock.now_ns + pause_ns, self._step_done, self._line, activity)
                return
            elif chip.stopped or chip.pause_wanted:
                self._suspend(activity)
                return

    def _step_done(self, line: int, activity: Activity) -> None:
        if line != self._line:
            return
        self.acting = False
        if self._chip.stopped or self._chip.pause_wanted:
            self._suspend(activity)
        else:
            self.run(activity)

    def _suspend(self, activity: Activity) -> None:
        """Something on the bus stopped the sequencer meanwhile, or the host wants it to stop now."""
        self.suspended = activity
        if not self._chip.stopped:
            self._chip.stop()

    def _turn(self) -> Activity | None:
        """One turn of the idle loop; nothing happens where there is nothing to do."""
        chip, bus = self._chip, self._chip.bus
        if chip.stopped or self.acting or self.hung:
            return None
        if chip.pause_wanted:
            chip.stop()
            return None
        if chip.error and chip.profile.collision:
            return self._saw_hwerr()
        if chip.faults.armed:
            struck = model_faulty.in_idle(chip)
            if struck is not None:
                return struck
        scratch = chip.scratch
        if scratch[at.WAITING_TID_HEAD + 1] != _NULL:
            bus.begin_selection()
        if bus.deferred or bus.selected is not None or bus.connection is not None or bus.ready:
            connection = bus.next_activity()
            if connection is not None:
                return connection
        if chip.scsi.gsfifo:
            return self._take_good()
        if self.bad and not bus.selecting and self.held.get(self.bad[0], 0) <= chip.clock.now_ns:
            return self._report()
        if chip.hnscb != chip.snscb and not scratch[at.SEQ_FLAGS2] & _FROZEN:
            return self._fetch()
        if scratch[at.COMPLETE_DMA_SCB_HEAD + 1] != _NULL:
            return self._upload()
        if scratch[at.COMPLETE_SCB_HEAD + 1] != _NULL and self._due():
            return self._flush()
        if chip.mode != 0x22:
            chip.set_mode(_CCHAN)
        return None

    def _saw_hwerr(self) -> Activity:
        self._chip.raise_seqint(SeqIntCode.SAW_HWERR)
        yield STOPPED

    def step_out(self) -> None:
        """Single step: one instruction, then it stands still again."""
        self.acting = True
        self._chip.later(_STEP_NS, self._stepped, self._line)

    def _stepped(self, line: int) -> None:
        if line != self._line:
            return
        chip = self._chip
        self.acting = False
        chip.curaddr += 1
        if not any(first <= chip.curaddr <= last for first, last in CRITICAL_SECTIONS):
            chip.curaddr = IDLE_LOOP_ADDR
        chip.stop()

    # -- freeze ----------------------------------------------------------------------------------------

    @property
    def frozen(self) -> bool:
        """Nothing is fetched or selected."""
        return bool(self._chip.scratch[at.SEQ_FLAGS2] & _FROZEN)

    def freeze(self) -> None:
        """A bad status came: nothing more goes out until the host has looked at it."""
        chip = self._chip
        chip.put(Scratch.QFREEZE_COUNT, chip.get(Scratch.QFREEZE_COUNT) + 1 & 0xFFFF)
        chip.put(Scratch.SEQ_FLAGS2, chip.get(Scratch.SEQ_FLAGS2) | _FROZEN)
        chip.bus.withdraw()

    # -- the input queue -------------------------------------------------------------------------------

    def _fetch(self) -> Activity:
        chip, scratch = self._chip, self._chip.scratch
        chip.set_mode(_CCHAN)
        yield chip.timing.fetch_ns
        if chip.hnscb == chip.snscb or scratch[at.SEQ_FLAGS2] & _FROZEN:
            return
        size = chip.constant("SCB_TRANSFER_SIZE")
        address = at.unpack32(scratch, at.NEXT_QUEUED_SCB_ADDR)[0]
        data = chip.dma.read(address, size)
        auto = chip.banks[4].values["SCBAUTOPTR"]
        tag = _U16.unpack_from(data, auto & 0x3F)[0] if auto & 0x80 else chip.scbptr(Mode.CCHAN)
        if tag >= AHD_SCB_MAX:
            raise HardwareFault(f"SCB at {address:#x} fetched with tag {tag:#x}: there are {AHD_SCB_MAX} slots")
        slot = chip.slot(tag)
        over = scratch[at.COMPLETE_SCB_HEAD + 1] != _NULL and tag in self.waiting()
        link = bytes(slot[_LINK:_LINK + 2]) if over else b""
        slot[:size] = data
        if over:                                # it has ended meanwhile, and is a link of that list
            slot[_LINK:_LINK + 2] = link
        scratch[at.NEXT_QUEUED_SCB_ADDR:at.NEXT_QUEUED_SCB_ADDR + 4] = data[_NEXT:_NEXT + 4]
        hung = chip.snscb in self.doomed
        self.doomed.discard(chip.snscb)
        chip.snscb = chip.snscb + 1 & QOFF_MASK
        at.put16(scratch, at.CMDS_PENDING, at.unpack16(scratch, at.CMDS_PENDING)[0] + 1 & 0xFFFF)
        slot[_TAG:_TAG + 2] = b"\0\0"
        slot[_NEXT + 1] = slot[_NEXT2 + 1] = SCB_LIST_NULL_HIGH
        if not hung:
            wait_for_target(chip, tag, slot)

    # -- completions -----------------------------------------------------------------------------------

    def push(self, head: int, tag: int) -> None:
        """*tag* is the first of the completion list whose head is at *head* of the scratch page."""
        chip = self._chip
        slot, scratch = chip.slot(tag), chip.scratch
        if scratch[head + 1] == _NULL:
            slot[_LINK + 1] = SCB_LIST_NULL_HIGH
        else:
            slot[_LINK:_LINK + 2] = scratch[head:head + 2]
        at.put16(scratch, head, tag)

    def completed(self, tag: int, *, upload: bool) -> None:
        """A command is over: its SCB goes back to the host first if there is more to say than that."""
        self.push(at.COMPLETE_DMA_SCB_HEAD if upload else at.COMPLETE_SCB_HEAD, tag)

    def _take_good(self) -> Activity:
        yield self._chip.timing.idle_ns
        gsfifo = self._chip.scsi.gsfifo
        if gsfifo:
            self.completed(gsfifo.popleft(), upload=False)

    def _upload(self) -> Activity:
        chip = self._chip
        chip.set_mode(Mode.CCHAN)
        yield chip.timing.fetch_ns
        tag = chip.get(Scratch.COMPLETE_DMA_SCB_HEAD)
        if is_null(tag):
            return
        slot = chip.slot(tag)
        link = _U16.unpack_from(slot, _LINK)[0]
        chip.put(Scratch.COMPLETE_DMA_SCB_HEAD, SCB_LIST_NULL if is_null(link) else link)
        slot[_LINK + 1] = SCB_LIST_NULL_HIGH
        _U16.pack_into(slot, _TAG, tag)
        slot[_SGPTR] |= SgFlag.STATUS_VALID
        chip.dma.write(int.from_bytes(slot[_BUSADDR:_BUSADDR + 4], "little"), slot[:_UPLOAD_BYTES])
        if slot[_STATUS]:
            self.bad.append(tag)
            if chip.faults.armed:
                model_faulty.before_report(chip, tag)
        else:
            self.completed(tag, upload=False)

    def _report(self) -> Activity:
        """Code 1A for an SCB that ended with a status."""
        chip = self._chip
        yield chip.timing.idle_ns
        if not self.bad or chip.bus.selecting:
            return
        tag = self.bad.pop(0)
        self.held.pop(tag, None)
        for _ in range(model_faulty.at_report(chip) if chip.faults.armed else 1):
            chip.set_mode(Mode.CCHAN, tag)
            chip.raise_seqint(SeqIntCode.BAD_SCB_STATUS)
            yield STOPPED

    # -- the output queue ------------------------------------------------------------------------------

    def waiting(self) -> list[int]:
        """Tags of the list of good completions, the oldest first."""
        chip, tags = self._chip, []
        tag = at.unpack16(chip.scratch, at.COMPLETE_SCB_HEAD)[0]
        while tag >> 8 != _NULL:
            tags.append(tag)
            tag = _U16.unpack_from(chip.slot(tag), _LINK)[0]
        tags.reverse()
        return tags

    def _due(self) -> bool:
        """Whether what there is to post is to be posted now."""
        if self.held and not self._unheld():
            return False
        return not self._chip.scratch[at.LOCAL_HS_MAILBOX] & _COALESCE or not self._coalesced()

    def _unheld(self) -> list[int]:
        now_ns = self._chip.clock.now_ns
        return [tag for tag in self.waiting() if self.held.get(tag, 0) <= now_ns]

    def _coalesced(self) -> bool:
        """Held back to be posted with others: until there are enough, or the first has waited long enough."""
        chip = self._chip
        most, least = ((256 - chip.get(one)) & 0xFF for one in (Scratch.INT_COALESCING_MAXCMDS,
                                                                Scratch.INT_COALESCING_MINCMDS))
        limit_ns = chip.get(Scratch.INT_COALESCING_TIMER) * chip.timing.coalesce_tick_ns
        if not self._since_ns:
            self._since_ns = chip.clock.now_ns
            chip.later(limit_ns, chip.kick)
        early = chip.clock.now_ns < self._since_ns + limit_ns
        return early and len(self.waiting()) < most and chip.get(Scratch.CMDS_PENDING) >= least

    def _flush(self) -> Activity:
        """Entries for the good completions, in one DMA, not across the queue's end."""
        chip, scratch = self._chip, self._chip.scratch
        chip.set_mode(_CCHAN)
        yield chip.timing.post_ns
        waiting = self.waiting()
        ready = self._unheld() if self.held else waiting
        room = min(QOUT_BURST, AHD_SCB_MAX - chip.sdscb % AHD_SCB_MAX)
        tags = ready if len(ready) <= room else ready[:room]
        self._since_ns = 0
        at.put16(scratch, at.COMPLETE_SCB_HEAD, SCB_LIST_NULL)
        if len(tags) < len(waiting):
            for tag in waiting:
                if tag not in tags:
                    self.push(at.COMPLETE_SCB_HEAD, tag)
        if self.held:
            for tag in tags:
                self.held.pop(tag, None)
        at.put16(scratch, at.CMDS_PENDING, at.unpack16(scratch, at.CMDS_PENDING)[0] - len(tags) & 0xFFFF)
        loud = True
        if chip.faults.armed:
            tags, loud = model_faulty.at_flush(chip, tags, room)
        if tags:
            self.post(tags, loud)

    def post(self, tags: list[int], loud: bool = True) -> None:
        """Write *tags* into the output queue, each with the valid tag of this pass; then CMDCMPLT."""
        chip, scratch = self._chip, self._chip.scratch
        valid = scratch[at.QOUTFIFO_ENTRY_VALID_TAG]
        entries = b"".join([_U16.pack(tag | valid << 8) for tag in tags]) if len(tags) > 1 else bytes(
            (tags[0] & 0xFF, tags[0] >> 8 | valid))
        address = at.unpack32(scratch, at.QOUTFIFO_NEXT_ADDR)[0]
        chip.dma.write(address, entries)
        self.last_posted = tags[-1]
        chip.sdscb = chip.sdscb + len(tags) & QOFF_MASK
        address += len(entries)
        if chip.sdscb % AHD_SCB_MAX == 0:
            address = at.unpack32(scratch, at.SHARED_DATA_ADDR)[0]
            scratch[at.QOUTFIFO_ENTRY_VALID_TAG] = valid ^ VALID_TAG
        at.put32(scratch, at.QOUTFIFO_NEXT_ADDR, address)
        if loud:
            chip.raise_int(_CMDCMPLT)
