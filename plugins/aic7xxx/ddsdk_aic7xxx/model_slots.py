"""SCB slots and the queues: free, disconnected and paged-out SCBs, uploads, tags in the output queue.

hw-aic7xxx.md 5 and 7, items 3, 11 and 12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault

from .frames import (
    CDB32_OFFSET,
    DISCONNECTED,
    HSCB_BYTES,
    MK_MESSAGE,
    SCB_BYTES,
    SCB_CDB_LEN,
    SCB_CONTROL,
    SCB_LUN,
    SCB_NEXT,
    SCB_SCSIID,
    SCB_TAG,
    TAG_ENB,
)
from .model_core import CMDCMPLT, AhcCore, no_slot
from .regs import NONE

if TYPE_CHECKING:
    from .model_port import Task


#: The scratch bytes by target, as `values` calls them.
BUSY_TARGETS: Final = tuple(f"BUSY_TARGETS[{number}]" for number in range(16))


class Slots:
    """The slots of one function, and its queues in host memory."""

    def __init__(self, chip: AhcCore) -> None:
        self.chip = chip

    def take(self) -> int | None:
        """A slot off the free list; else that of a disconnected SCB, which goes back to host memory meanwhile."""
        chip, values = self.chip, self.chip.values
        slot = values["FREE_SCBH"]
        if not no_slot(slot):
            values["FREE_SCBH"] = chip.slots[slot][SCB_NEXT]
            return int(slot)
        slot = values["DISCONNECTED_SCBH"]
        if no_slot(slot):
            return None
        raw = chip.slots[slot]
        values["DISCONNECTED_SCBH"] = raw[SCB_NEXT]
        self.upload(raw)
        return int(slot)

    def check(self, raw: bytearray, tag: int) -> None:
        """What no driver may write into an element."""
        wrong = ""
        if raw[SCB_TAG] != tag:
            wrong = f"its TAG is {raw[SCB_TAG]}: a command goes into the element the chip fetches next"
        elif raw[SCB_NEXT] == tag:
            wrong = "NEXT names itself"
        elif raw[SCB_SCSIID] & 0x0F != self.chip.values["SCSIID_ULTRA2"] & 0x0F:
            wrong = f"SCSIID {raw[SCB_SCSIID]:#04x} does not carry our id"
        elif not 6 <= raw[SCB_CDB_LEN] <= CDB32_OFFSET:
            wrong = f"CDB_LEN is {raw[SCB_CDB_LEN]}"
        elif raw[SCB_CONTROL] & 0x88 or (raw[SCB_CONTROL] & DISCONNECTED and not raw[SCB_CONTROL] & MK_MESSAGE):
            wrong = f"CONTROL is {raw[SCB_CONTROL]:#04x}"
        if wrong:
            raise HardwareFault(f"element {tag} of the SCB array: {wrong}")

    def upload(self, raw: bytearray) -> None:
        """32 bytes back to the element."""
        chip = self.chip
        chip.dma.write(chip.hscb_address + HSCB_BYTES * raw[SCB_TAG], raw)

    def free(self, slot: int) -> None:
        """A slot goes onto the free list."""
        raw, values = self.chip.slots[slot], self.chip.values
        raw[SCB_TAG] = NONE
        raw[SCB_NEXT] = values["FREE_SCBH"]
        values["FREE_SCBH"] = slot

    def find(self, task: Task) -> int | None:
        """The slot of a disconnected SCB, off its list; out of host memory where it had to make room."""
        chip, values = self.chip, self.chip.values
        tag = values[BUSY_TARGETS[task.port.id]] if task.tag is None else task.tag
        if tag == NONE:
            return None
        before, slot = NONE, values["DISCONNECTED_SCBH"]
        while not no_slot(slot):
            raw = chip.slots[slot]
            if raw[SCB_TAG] == tag:
                if no_slot(before):
                    values["DISCONNECTED_SCBH"] = raw[SCB_NEXT]
                else:
                    chip.slots[before][SCB_NEXT] = raw[SCB_NEXT]
                return int(slot) if self._matches(raw, task) else None
            before, slot = slot, raw[SCB_NEXT]
        return self._page_in(tag, task)

    def _matches(self, raw: bytearray, task: Task) -> bool:
        wanted = DISCONNECTED | (TAG_ENB if task.tag is not None else 0)
        return (raw[SCB_CONTROL] & (DISCONNECTED | TAG_ENB) == wanted and raw[SCB_SCSIID] >> 4 == task.port.id
                and raw[SCB_LUN] & 0x3F == task.lun)

    def _page_in(self, tag: int, task: Task) -> int | None:
        chip = self.chip
        raw = bytearray(chip.dma.read(chip.hscb_address + HSCB_BYTES * tag, SCB_BYTES)) \
            if self._in_array(tag) else bytearray(SCB_BYTES)
        if raw[SCB_TAG] != tag or not self._matches(raw, task):
            return None
        slot = self.take()
        if slot is not None:
            chip.slots[slot][:] = raw
        return slot

    def _in_array(self, tag: int) -> bool:
        """Whether the host granted an element of that number; a chip would read whatever is there."""
        address = self.chip.hscb_address + HSCB_BYTES * tag
        return any(start <= address and address + SCB_BYTES <= end for start, end, _ in self.chip.dma.grants)

    def put_tag(self, tag: int, *, tell: bool = True) -> None:
        """The entry itself.  HardwareFault where the host has not given it back, or gave others back too early."""
        chip, values = self.chip, self.chip.values
        position = values["SDSCB_QOFF"]
        (entry,) = chip.dma.view(chip.queue_address + position, 1, False)
        at = position & 3
        entries = chip.dma.memory.views(chip.queue_address + position - at, 4)[0]      # a look, no DMA
        if entries[at] != NONE or (at and NONE in entries[:at]):
            raise HardwareFault(f"output queue entry {position}: entries {entries.hex(' ')} of its group; an entry is"
                                " FF when the host has given it back, four at a time, after the fourth was used")
        entry[0] = tag
        values["SDSCB_QOFF"] = (position + 1) & 0xFF
        if tell:
            chip.interrupt(CMDCMPLT)
