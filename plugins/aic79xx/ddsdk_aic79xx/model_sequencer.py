"""The sequencer's program by its effects: the idle loop, fetching, waiting lists, uploads, the output queue.

What it does between the moments at which the host could see something is one step, and takes its time; see
model_activity.py.  Connections on the bus are activities of model_bus.py and model_nonpack.py.
Source: effects of aic79xx.seq rev 99 (Linux 2.6.9): the idle loop's order, lists, freeze, valid tag.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from ddsdk.errors import HardwareFault

from . import model_faulty
from .frames import Control, SgFlag, is_null
from .model_activity import STOPPED, Activity
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
    from ddsdk.regs import Placed

    from .model_control import ChipControl

_TAG, _CONTROL, _SCSIID = 0x10, 0x12, 0x13
_STATUS, _LINK, _SGPTR, _BUSADDR, _NEXT, _NEXT2 = 0x08, 0x0C, 0x24, 0x28, 0x2C, 0x2E
_U16: Final = Struct("<H")
_FROZEN: Final = SeqFlags2.SELECTOUT_QFROZEN.mask
_UPLOAD_BYTES: Final = 48
_STEP_NS: Final = 200


class Sequencer:
    """The program of one chip.

    `acting`: a step is under way.  `suspended`: the activity that goes on when the host lets it.
    """

    def __init__(self, chip: ChipControl) -> None:
        self._chip = chip
        self.reset()

    def reset(self) -> None:
        """The program stops, and forgets what it was at."""
        self.acting = False
        self.suspended: Activity | None = None
        self.bad: list[int] = []                # uploaded with a status, to be reported when no selection runs
        self._line = 0                          # counts restarts: what an earlier program had begun is over
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
        if suspended is not None:
            self.run(suspended)
        else:
            self._idle()

    def run(self, activity: Activity) -> None:
        """The next step of *activity*."""
        pause_ns = next(activity, None)
        if pause_ns is None:
            self._idle()
        elif pause_ns == STOPPED:
            self.suspended = activity
        else:
            self.acting = True
            self._chip.later(pause_ns, self._step_done, self._line, activity)

    def _step_done(self, line: int, activity: Activity) -> None:
        if line != self._line:
            return
        self.acting = False
        if self._chip.stopped:                  # something on the bus stopped it meanwhile
            self.suspended = activity
        elif self._chip.pause_wanted:
            self.suspended = activity
            self._chip.stop()
        else:
            self.run(activity)

    def _idle(self) -> None:
        """One turn of the idle loop; nothing happens where there is nothing to do."""
        chip = self._chip
        if chip.stopped or self.acting or self.hung:
            return
        if chip.pause_wanted:
            chip.stop()
            return
        activity = self._next_activity()
        if activity is not None:
            self.run(activity)
        elif chip.mode != 0x22:
            chip.set_mode(Mode.CCHAN)

    def _next_activity(self) -> Activity | None:
        """In the order of the idle loop."""
        chip, bus = self._chip, self._chip.bus
        if chip.error and chip.profile.collision:
            return self._saw_hwerr()
        if chip.faults.armed:
            struck = model_faulty.in_idle(chip)
            if struck is not None:
                return struck
        bus.begin_selection()
        connection = bus.next_activity()
        if connection is not None:
            return connection
        if chip.scsi.gsfifo:
            return self._take_good()
        if self.bad and not bus.selecting and self.held.get(self.bad[0], 0) <= chip.clock.now_ns:
            return self._report()
        if chip.hnscb != chip.snscb and not self.frozen:
            return self._fetch()
        if not is_null(chip.get(Scratch.COMPLETE_DMA_SCB_HEAD)):
            return self._upload()
        return self._flush() if self._due() else None

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
        return bool(self._chip.get(Scratch.SEQ_FLAGS2) & _FROZEN)

    def freeze(self) -> None:
        """A bad status came: nothing more goes out until the host has looked at it."""
        chip = self._chip
        chip.put(Scratch.QFREEZE_COUNT, chip.get(Scratch.QFREEZE_COUNT) + 1 & 0xFFFF)
        chip.put(Scratch.SEQ_FLAGS2, chip.get(Scratch.SEQ_FLAGS2) | _FROZEN)
        chip.bus.withdraw()

    # -- the input queue -------------------------------------------------------------------------------

    def _fetch(self) -> Activity:
        chip = self._chip
        chip.set_mode(Mode.CCHAN)
        yield chip.timing.fetch_ns
        if chip.hnscb == chip.snscb or self.frozen:
            return
        size = chip.constant("SCB_TRANSFER_SIZE")
        address = chip.get(Scratch.NEXT_QUEUED_SCB_ADDR)
        data = chip.dma.read(address, size)
        auto = chip.banks[4].values["SCBAUTOPTR"]
        tag = _U16.unpack_from(data, auto & 0x3F)[0] if auto & 0x80 else chip.scbptr(Mode.CCHAN)
        if tag >= AHD_SCB_MAX:
            raise HardwareFault(f"SCB at {address:#x} fetched with tag {tag:#x}: there are {AHD_SCB_MAX} slots")
        slot = chip.slot(tag)
        over = not is_null(chip.get(Scratch.COMPLETE_SCB_HEAD)) and tag in self.waiting()
        link = bytes(slot[_LINK:_LINK + 2])
        slot[:size] = data
        if over:                                # it has ended meanwhile, and is a link of that list
            slot[_LINK:_LINK + 2] = link
        chip.put(Scratch.NEXT_QUEUED_SCB_ADDR, int.from_bytes(data[_NEXT:_NEXT + 4], "little"))
        hung = chip.snscb in self.doomed
        self.doomed.discard(chip.snscb)
        chip.snscb = chip.snscb + 1 & QOFF_MASK
        chip.put(Scratch.CMDS_PENDING, chip.get(Scratch.CMDS_PENDING) + 1 & 0xFFFF)
        slot[_TAG:_TAG + 2] = b"\0\0"
        slot[_NEXT + 1] = slot[_NEXT2 + 1] = SCB_LIST_NULL_HIGH
        if not hung:
            self._wait_for_target(tag)

    def _wait_for_target(self, tag: int) -> None:
        """The SCB joins its target's list; one with a message to send waits by itself."""
        chip, slot = self._chip, self._chip.slot(tag)
        tail_field = Scratch.WAITING_SCB_TAILS[slot[_SCSIID] >> 4]
        tail = chip.get(tail_field)
        alone = slot[_CONTROL] & Control.MK_MESSAGE
        if not alone and not is_null(tail):
            _U16.pack_into(chip.slot(tail), _NEXT, tag)
            chip.put(tail_field, tag)
            return
        if not alone:
            chip.put(tail_field, tag)
        self._append_tid(tag)

    def _append_tid(self, tag: int) -> None:
        chip = self._chip
        last = chip.get(Scratch.WAITING_TID_TAIL)
        if is_null(chip.get(Scratch.WAITING_TID_HEAD)):
            chip.put(Scratch.WAITING_TID_HEAD, tag)
        else:
            _U16.pack_into(chip.slot(last), _NEXT2, tag)
        chip.put(Scratch.WAITING_TID_TAIL, tag)

    def take_head(self) -> int:
        """The first SCB of the first target was selected: it leaves the lists; its target's next one waits its turn."""
        chip = self._chip
        tag = chip.get(Scratch.WAITING_TID_HEAD)
        slot = chip.slot(tag)
        after, behind = _U16.unpack_from(slot, _NEXT)[0], _U16.unpack_from(slot, _NEXT2)[0]
        slot[_NEXT + 1] = slot[_NEXT2 + 1] = SCB_LIST_NULL_HIGH
        chip.put(Scratch.WAITING_TID_HEAD, SCB_LIST_NULL if is_null(behind) else behind)
        if is_null(behind):
            chip.put(Scratch.WAITING_TID_TAIL, SCB_LIST_NULL)
        tail_field = Scratch.WAITING_SCB_TAILS[slot[_SCSIID] >> 4]
        if not is_null(after):
            self._append_tid(after)
        elif chip.get(tail_field) == tag:
            chip.put(tail_field, SCB_LIST_NULL)
        return tag

    # -- completions -----------------------------------------------------------------------------------

    def push(self, head: Placed[Any], tag: int) -> None:
        """*tag* is the first of the completion list that begins at *head*."""
        chip, slot = self._chip, self._chip.slot(tag)
        before = chip.get(head)
        if is_null(before):
            slot[_LINK + 1] = SCB_LIST_NULL_HIGH
        else:
            _U16.pack_into(slot, _LINK, before)
        chip.put(head, tag)

    def completed(self, tag: int, *, upload: bool) -> None:
        """A command is over: its SCB goes back to the host first if there is more to say than that."""
        self.push(Scratch.COMPLETE_DMA_SCB_HEAD if upload else Scratch.COMPLETE_SCB_HEAD, tag)

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
        tag = chip.get(Scratch.COMPLETE_SCB_HEAD)
        while not is_null(tag):
            tags.append(tag)
            tag = _U16.unpack_from(chip.slot(tag), _LINK)[0]
        return tags[::-1]

    def _due(self) -> bool:
        """Whether there is something to post, and it is to be posted now."""
        chip = self._chip
        if is_null(chip.get(Scratch.COMPLETE_SCB_HEAD)):
            return False
        if self.held and not self._unheld():
            return False
        return not self._coalesced()

    def _unheld(self) -> list[int]:
        now_ns = self._chip.clock.now_ns
        return [tag for tag in self.waiting() if self.held.get(tag, 0) <= now_ns]

    def _coalesced(self) -> bool:
        """Held back to be posted with others: until there are enough, or the first has waited long enough."""
        chip = self._chip
        if not chip.get(Scratch.LOCAL_HS_MAILBOX) & HsMailbox.ENINT_COALESCE.mask:
            return False
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
        chip = self._chip
        chip.set_mode(Mode.CCHAN)
        yield chip.timing.post_ns
        waiting = self.waiting()
        ready = self._unheld() if self.held else waiting
        room = min(QOUT_BURST, AHD_SCB_MAX - chip.sdscb % AHD_SCB_MAX)
        tags = ready[:room]
        self._since_ns = 0
        self._relist([tag for tag in waiting if tag not in tags] if len(tags) < len(waiting) else [])
        for tag in tags:
            self.held.pop(tag, None)
        chip.put(Scratch.CMDS_PENDING, chip.get(Scratch.CMDS_PENDING) - len(tags) & 0xFFFF)
        loud = True
        if chip.faults.armed:
            tags, loud = model_faulty.at_flush(chip, tags, room)
        if tags:
            self.post(tags, loud)

    def _relist(self, tags: list[int]) -> None:
        self._chip.put(Scratch.COMPLETE_SCB_HEAD, SCB_LIST_NULL)
        for tag in tags:
            self.push(Scratch.COMPLETE_SCB_HEAD, tag)

    def post(self, tags: list[int], loud: bool = True) -> None:
        """Write *tags* into the output queue, each with the valid tag of this pass; then CMDCMPLT."""
        chip = self._chip
        valid = chip.get(Scratch.QOUTFIFO_ENTRY_VALID_TAG)
        entries = b"".join([_U16.pack(tag | valid << 8) for tag in tags])
        address = chip.get(Scratch.QOUTFIFO_NEXT_ADDR)
        chip.dma.write(address, entries)
        self.last_posted = tags[-1]
        chip.sdscb = chip.sdscb + len(tags) & QOFF_MASK
        address += len(entries)
        if chip.sdscb % AHD_SCB_MAX == 0:
            address = chip.get(Scratch.SHARED_DATA_ADDR)
            chip.put(Scratch.QOUTFIFO_ENTRY_VALID_TAG, valid ^ VALID_TAG)
        chip.put(Scratch.QOUTFIFO_NEXT_ADDR, address)
        if loud:
            chip.raise_int(IntStat.CMDCMPLT.mask)
