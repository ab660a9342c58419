"""What the driver knows of one adapter: struct sym_hcb, its command blocks, the memory they share with the chip.

All memory is allocated at probe.  `Hcb.pool` holds the 64 command blocks, aligned to 64 KiB; `Hcb.code` the program,
the start queue, and a place for sense data of each block.
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.helperlib.kernel import store_le32
from ddsdk.scsi.cmnd import ScsiCmnd

from .chips import Features
from .frames import BLOCK_BYTES, BLOCKS, INSN_BYTES, TAG_STEP, WORD_BYTES, Transfer, TransferInsn
from .program import BUCKET_BYTES, SLOTS, Sir, block_codes, common_program, offset
from .regs import Regs1010, Scntl3

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ddsdk.helperlib.kernel import DmaBuffer, Iomem, Kernel, PciDev, TaskletStruct, TimerList
    from ddsdk.scsi.host import ScsiHost

#: Commands the host takes at a time.  There are twice as many tags, so that one that was used lately rests: a target
#: that reselects for a command that is over finds a block that is not in use.
CAN_QUEUE: Final = 32
SENSE_BYTES: Final = 96
_POOL_ALIGN: Final = BLOCKS * BLOCK_BYTES
_PROGRAM_BYTES: Final = 4096
_BUCKET_AT: Final = _PROGRAM_BYTES
_SENSE_AT: Final = _BUCKET_AT + BUCKET_BYTES
_CODE_BYTES: Final = _SENSE_AT + BLOCKS * SENSE_BYTES

WORD: Final = Struct("<I")
#: First words of JUMP, INT and NOP without a condition.
NOP: Final = int(TransferInsn.of(KIND=2))
INT: Final = int(TransferInsn.of(KIND=2, OPCODE=Transfer.INT, IF_TRUE=1))
INTFLY: Final = int(TransferInsn.of(KIND=2, OPCODE=Transfer.INT, IF_TRUE=1, ON_THE_FLY=1))

_DONE_AT: Final = offset("done")
_RESUME_AT: Final = offset("resume")
_NEXT_AT: Final = offset("next")
_LAUNCH_AT: Final = offset("launch")


class Ccb:
    """A command block: `tag`, where it lies, what it does.  `launch`: where SCRIPTS begin with it.

    `scmd` is None while nothing is outstanding on it.  `mapped` is memory that the chip may still reach.  `sensing`:
    it sends REQUEST SENSE for `scmd`, whose own residual count is `resid`.  `slot`: its place in the start queue.
    `nexus`: target and LUN; `without_tag`: it is counted as such.  `error`: a host byte that outdoes what the target
    says.  Data: `segments` as mapped, the last of them at the end of the block's list; `left`: bytes not moved by the
    last phase mismatch; `saved`: which remainder the saved data pointer is in, -1 none; `after`: of each remainder,
    the segment that follows it.
    """

    __slots__ = (
        "address",
        "after",
        "direction",
        "done_at",
        "error",
        "launch",
        "left",
        "mapped",
        "nexus",
        "offset",
        "remainders",
        "resid",
        "saved",
        "scmd",
        "segments",
        "sense_address",
        "sense_offset",
        "sensing",
        "slot",
        "tag",
        "tagged",
        "to_device",
        "without_tag",
    )

    def __init__(self, index: int, pool_address: int, code_address: int) -> None:
        self.tag = index * TAG_STEP
        self.offset = index * BLOCK_BYTES
        self.address = pool_address + self.offset
        self.done_at = self.offset + _DONE_AT
        self.launch = self.address + _LAUNCH_AT
        self.sense_offset = _SENSE_AT + index * SENSE_BYTES
        self.sense_address = code_address + self.sense_offset
        self.scmd: ScsiCmnd | None = None
        self.mapped: Sequence[tuple[int, int]] = ()
        self.direction = 0
        self.nexus = (0, 0)
        self.tagged = self.sensing = self.without_tag = False
        self.slot = -1
        self.error = 0
        self.resid = 0
        self.set_data((), to_device=False)

    def set_data(self, segments: Sequence[tuple[int, int]], *, to_device: bool) -> None:
        """What is to be moved; nothing is yet."""
        self.segments = segments
        self.to_device = to_device
        self.left = segments[0][1] if len(segments) == 1 else sum(length for _, length in segments)
        self.saved = -1
        self.after = [0, 0]
        self.remainders: list[tuple[int, int]] = [(0, 0), (0, 0)]


class Hcb:
    """struct sym_hcb: `shost.hostdata`.

    `lock` protects everything here.  `active`: commands may be queued.  `resetting`: a reset is under way, or about to
    be.  `dead`: the last one failed.  `busy`: blocks with a command, by tag.  `put`: number of the slot that is filled
    next.
    """

    def __init__(self, pdev: PciDev, chip: Iomem, name: str, features: Features) -> None:
        kernel = pdev.kernel
        self.kernel: Kernel = kernel
        self.readb = kernel.readb               # bound once, for the poll
        self.pdev = pdev
        self.chip = chip
        self.name = name
        self.features = features
        self.shost: ScsiHost
        self.lock = kernel.spin_lock_init("sym.lock")
        self.wait = kernel.init_waitqueue_head()
        self.active = self.resetting = self.dead = False
        self.reset_tries = self.reset_error = self.reset_deadline = self.reset_step = 0
        self.resets = 0
        self.free: deque[Ccb] = deque()
        self.aborted: deque[Ccb] = deque()      # their tags rest longer: some targets forget that they were aborted
        self.busy: dict[int, Ccb] = {}
        self.put = 0
        self.without_tag = 0                    # commands outstanding that have none
        self.at_gate = False                    # SCRIPTS have stopped there
        self.tm_result: bool | None = None
        self.answered: set[int] = set()         # ids that have ever answered a command
        self.untagged: set[tuple[int, int]] = set()     # targets and LUNs that refused a tag
        self.dcntl = 0                          # what firmware chose in DCNTL
        self.own_id = 7
        self.scntl3 = Scntl3.of(CCF=3)          # 40 MHz SCLK, asynchronous, 8 bits
        self.waiting = False                    # somebody waits on `wait`
        self.dfbc_at = Regs1010.DFBC.offset
        self.line_off = False                   # the interrupt line is disabled
        self.strays = 0                         # reselections for commands that nobody gave
        # made by probe
        self.pool: DmaBuffer
        self.code: DmaBuffer
        self.reset_timer: TimerList
        self.reset_tasklet: TaskletStruct
        self.alloc()

    # -- memory ----------------------------------------------------------------------------------------------

    def alloc(self) -> None:
        """Blocks and program, once."""
        kernel = self.kernel
        self.pool = kernel.dma_alloc_coherent(self.pdev, _POOL_ALIGN, _POOL_ALIGN)
        self.code = kernel.dma_alloc_coherent(self.pdev, _CODE_BYTES)
        program = common_program(self.code.bus_addr, self.code.bus_addr + _BUCKET_AT)
        self.labels: Mapping[str, int] = program.labels
        self.view, self.code_view = self.pool.view, self.code.view
        self._slots_at, self._idle = self.at("slots"), self.labels["idle"]
        self.program = bytes(program)
        self.ccbs = tuple(Ccb(n, self.pool.bus_addr, self.code.bus_addr) for n in range(BLOCKS))
        #: The last one is never a command's: task management.
        self.tm = self.ccbs[-1]
        self.block_codes = block_codes(self.pool.bus_addr, self.labels)

    def write_memory(self) -> None:
        """Program and blocks as they are at the beginning; nobody may be running them."""
        self.code_view[:len(self.program)] = self.program
        code_at = offset("launch")
        for one, code in zip(self.ccbs, self.block_codes, strict=True):
            self.view[one.offset:one.offset + BLOCK_BYTES] = bytes(BLOCK_BYTES)
            self.view[one.offset + code_at:one.offset + code_at + len(code)] = code
        self.put = 0
        self.at_gate = False
        for one in self.ccbs:
            one.slot = -1

    def at(self, label: str) -> int:
        """Offset of a label of the program in `code_view`."""
        return self.labels[label] - self.code.bus_addr

    def poke(self, label: str, value: int, word: int = 0) -> None:
        """Write a word of the program, which may be running: the *word*th behind *label*."""
        store_le32(self.code_view, self.at(label) + word * WORD_BYTES, value)

    def peek(self, label: str, word: int = 0) -> int:
        """Read one."""
        (value,) = WORD.unpack_from(self.code_view, self.at(label) + word * WORD_BYTES)
        return int(value)

    # -- the start queue -------------------------------------------------------------------------------------

    def slot_address(self, slot: int) -> int:
        """Bus address of a slot; numbers count up for ever, the ring goes round."""
        return self.labels["slots"] + slot % SLOTS * INSN_BYTES

    def fill_slot(self, slot: int, target: int) -> None:
        """What the slot's JUMP jumps to; SCRIPTS may be just there."""
        store_le32(self.code_view, self.at("slots") + slot % SLOTS * INSN_BYTES + WORD_BYTES, target)

    @property
    def start(self) -> int:
        """The slot SCRIPTS come to next."""
        at = (self.peek("startpos", 1) - self.labels["slots"]) // INSN_BYTES
        return self.put - (self.put - at) % SLOTS

    def put_start_queue(self, ccb: Ccb) -> None:
        """Append *ccb*: the slot behind becomes empty first, so that SCRIPTS never run past the end."""
        ccb.slot = self.put
        self.put += 1
        after = self.put % SLOTS * INSN_BYTES
        pack, code, slots = WORD.pack_into, self.code_view, self._slots_at + WORD_BYTES
        pack(code, slots + after, self._idle)
        pack(self.view, ccb.offset + _NEXT_AT, self.labels["slots"] + after)
        pack(code, slots + ccb.slot % SLOTS * INSN_BYTES, ccb.launch)

    def skip_slot(self, ccb: Ccb) -> None:
        """*ccb*'s turn is over though its target was never selected.  SCRIPTS stand still."""
        self.poke("startpos", self.slot_address(ccb.slot + 1), 1)

    def started(self, ccb: Ccb) -> bool:
        """Whether its target was selected: the start position is behind its slot."""
        return ccb.slot < self.start

    def unstarted(self) -> list[Ccb]:
        """Blocks in the start queue whose target was not selected yet, in their order.  SCRIPTS stand still."""
        start = self.start
        return sorted((one for one in (*self.busy.values(), self.tm) if one.slot >= start), key=lambda one: one.slot)

    def rebuild_start_queue(self, waiting: Sequence[Ccb]) -> None:
        """*waiting* is all that is to be started, in this order.  SCRIPTS stand still."""
        self.poke("startpos", self.slot_address(self.put), 1)
        self.fill_slot(self.put, self.labels["idle"])
        for one in waiting:
            self.put_start_queue(one)

    # -- blocks ----------------------------------------------------------------------------------------------

    def release(self, ccb: Ccb, *, rests: bool = False) -> None:
        """Its command is over: a reselection with its tag is nobody's.  *rests*: use it as late as possible."""
        ccb.scmd, ccb.sensing = None, False
        self.without_tag -= ccb.without_tag
        ccb.without_tag = False
        store_le32(self.view, ccb.offset + _RESUME_AT + INSN_BYTES, INT)
        self.busy.pop(ccb.tag, None)
        (self.aborted if rests else self.free).append(ccb)

    def take(self, nexus: tuple[int, int], *, tagged: bool) -> Ccb | None:
        """A free block, the one that was used longest ago; None when there is none for this *nexus* (target, LUN) now.

        A logical unit takes one command without a tag, and then no other (SCSI-2, 7.5.2).
        """
        if len(self.busy) >= CAN_QUEUE:
            return None
        if self.busy and (not tagged or self.without_tag):
            for one in self.busy.values():
                if one.nexus == nexus and not (tagged and one.tagged):
                    return None
        return self.free.popleft() if self.free else self.aborted.popleft() if self.aborted else None

    def unmap(self, ccb: Ccb) -> None:
        """The chip does not reach the command's memory any more."""
        if ccb.mapped:
            mapped, ccb.mapped = ccb.mapped, ()     # first: after a crash in between, it must not be unmapped twice
            self.kernel.dma_unmap_sg(self.pdev, mapped, ccb.direction)

    def forget(self) -> list[ScsiCmnd]:
        """Forget every command, but not which memory the chip may still reach; they are still to be ended."""
        scmds = [one.scmd for one in self.ccbs if one.scmd is not None]
        for one in self.ccbs:
            one.scmd, one.sensing, one.without_tag = None, False, False
        self.without_tag = 0
        self.busy.clear()
        self.free.clear()
        self.aborted.clear()
        return scmds

    def reclaim(self) -> None:
        """The chip has been reset and forgotten everything: all blocks are free, their memory is the kernel's."""
        for one in self.ccbs:
            self.unmap(one)
        self.busy.clear()
        self.aborted.clear()
        self.free.clear()
        self.free.extend(self.ccbs[:-1])

    def printk(self, text: str) -> None:
        """A line of the kernel log."""
        self.kernel.printk(f"sym53c8xx: {self.name}: {text}")


__all__ = ["CAN_QUEUE", "INT", "INTFLY", "NOP", "SENSE_BYTES", "WORD", "Ccb", "Hcb", "Sir"]
