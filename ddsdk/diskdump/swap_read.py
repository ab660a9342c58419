"""What swap areas a dump partition has (the layout: swappart.py).  Nothing of it is believed before it is bounded.

Whatever is wrong with the swap part, the memory before it can be saved: it costs a warning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from ddsdk.errors import DeviceError, FormatError

from .header import Status
from .scan import scan_data
from .swappart import HEADS, AreaState, Entry, SwapArea, SwapHead, parse_head, part_blocks
from .target import TargetFile

if TYPE_CHECKING:
    from .partition import HeaderFacts, PartitionDump

Progress = Callable[[int, int], None]


@frozen
class SavedArea:
    """One area: `number` counts from 1, in the order of registration."""

    number: int
    area: SwapArea
    entry: Entry

    @property
    def whole(self) -> bool:
        """Every page that can be in use was saved."""
        return self.entry.state is AreaState.WHOLE and not self.entry.unreadable

    @property
    def missing(self) -> str:
        """What is not there of it, in words; empty when it is whole."""
        entry = self.entry
        if self.whole:
            return ""
        if not entry.begun:
            said = {AreaState.NO_ROOM: "there was no room for it", AreaState.NOT_READ: "its device could not be read"}
            return f"not saved: {said.get(entry.state, 'the dump ended before it')}"
        said = {AreaState.NO_ROOM: "there was no room for more", AreaState.NOT_READ: "its device was given up",
                AreaState.BEGUN: "the dump ended there"}
        lost = f"{entry.unreadable} pages could not be read" if entry.unreadable else ""
        rest = f"pages from {entry.done} on are not there: {said[entry.state]}" if entry.state in said else ""
        return "; ".join(part for part in (lost, rest) if part)

    def describe(self) -> dict[str, object]:
        """What `info` and `--json` show."""
        area, entry = self.area, self.entry
        return {"number": self.number, "device": area.name, "label": area.label, "uuid": area.uuid_text,
                "page_bytes": area.page_size, "pages": area.pages, "bad_pages": area.bad_pages,
                "state": entry.state.words, "saved_pages": entry.stored, "unreadable_pages": entry.unreadable,
                "looked_at_pages": entry.done, "first_block": entry.first_block if entry.begun else None,
                "data_blocks": entry.data_blocks, "missing": self.missing}

    def __str__(self) -> str:
        area = self.area
        named = (("label", area.label), ("UUID", area.uuid_text))
        names = "".join(f", {word} {value}" for word, value in named if value)
        what = self.missing or "whole"
        return f"{area.name}{names}: {area.pages} pages of {area.page_size} bytes, {self.entry.stored} saved; {what}"


@frozen
class SwapPart:
    """The swap part of a dump.  `touched_end`: the first block that it certainly left alone."""

    areas: tuple[SavedArea, ...]
    touched_end: int
    warnings: tuple[str, ...] = ()
    damage: str = ""

    def describe(self) -> list[dict[str, object]]:
        """What `--json` shows."""
        return [area.describe() for area in self.areas]


def read_swap(file: TargetFile, dump: PartitionDump, progress: Progress | None = None) -> SwapPart | None:
    """The swap part of *dump*, without its pages; None when no area was to be saved with it."""
    sub, facts = dump.sub, dump.dump
    if sub is None or not (sub.swap or sub.swap_damage):
        return None
    areas = sub.swap
    start, head, problems = facts.header.written_blocks, None, list[str]()
    if facts.status & ~Status.COMPRESSED == Status.COMPLETED:
        head = _head(file, facts, start, areas, problems)
    entries = head.entries if head is not None else tuple(Entry(area.uuid, area.pages) for area in areas)
    saved = tuple(SavedArea(number, area, entry)
                  for number, (area, entry) in enumerate(zip(areas, entries, strict=True), 1))
    damage = f"{file}: {sub.swap_damage or problems[0]}" if sub.swap_damage or (problems and head is None) else ""
    warnings: tuple[str, ...] = (damage,) if damage else ()
    warnings += tuple(f"swap area {area.number}, {area.area.name}: {area.missing}" for area in saved if not area.whole)
    if head is not None and head.finished:
        return SwapPart(saved, head.end_block, warnings, damage)
    if facts.status & ~Status.COMPRESSED != Status.COMPLETED:
        return SwapPart(saved, 0, warnings, damage)         # it never came to that
    low = head.end_block if head is not None else min(start, facts.device_blocks)
    most = start + part_blocks(areas) if areas else facts.device_blocks
    end = max(low, min(most, facts.device_blocks))
    if dump.kind is not None and low < end:
        end = scan_data(file, facts.abi, dump.kind, dump.record, low, end, facts.device_blocks, progress).touched_end
    return SwapPart(saved, max(low, end), warnings, damage)


def _head(file: TargetFile, facts: HeaderFacts, start: int, areas: tuple[SwapArea, ...],
          problems: list[str]) -> SwapHead | None:
    """The head that counts; why others cannot be heads goes to *problems*."""
    found: list[SwapHead] = []
    page, stamp = facts.abi.page_size, facts.header.timestamp
    for block in range(start, min(start + HEADS, facts.device_blocks)):
        try:
            head = parse_head(file.read(block * page, page), block, start, facts.device_blocks, areas,
                              (stamp.tv_sec, stamp.tv_nsec))
        except (FormatError, DeviceError) as error:
            problems.append(str(error))
            continue
        if head is not None:
            found.append(head)
    return max(found, key=lambda head: head.sequence, default=None)
