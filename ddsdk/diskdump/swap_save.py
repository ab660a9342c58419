"""Swap areas out of a dump into files: sparse images that swaplabel and swapon take for the area itself.

`swap-N.img`, N by order: the area's own header, each page where it was, holes for zeros.  While it is written, and for
good when pages of it are missing, it is `swap-N-incomplete.img`, with a list of them in `swap-N-missing.txt`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from attrs import frozen

from .crashdir import CaseDirectory
from .partition import PartitionDump
from .swap_pages import AreaPages
from .swap_read import SavedArea
from .target import TargetFile

T = TypeVar("T")
#: `tell(phase, done, total)`, counts in pages.
Tell = Callable[[str, int, int], None]
#: Calls what it is given, and again when there was no room and somebody made some.
WithRoom = Callable[[Callable[[], "SwapImage"]], "SwapImage"]


@frozen
class SwapImage:
    """One area, saved; `path` None when the dump has nothing of it.

    `pages` are in the file, `missing_pages` are not known, as `why` says; the others are zeros, or bad.
    """

    saved: SavedArea
    path: str | None
    pages: int = 0
    missing_pages: int = 0
    why: str = ""

    def describe(self) -> dict[str, object]:
        """What `--json` shows."""
        area = self.saved.area
        return {"number": self.saved.number, "device": area.name, "label": area.label, "uuid": area.uuid_text,
                "path": self.path, "area_pages": area.pages, "pages": self.pages, "missing_pages": self.missing_pages,
                "why": self.why}

    def __str__(self) -> str:
        area = self.saved.area
        if self.path is None:
            return f"swap area {self.saved.number}, {area.name}: {self.why}"
        what = f"{self.missing_pages} pages are missing: {self.why}" if self.missing_pages else "whole"
        return f"{self.path}: {self.pages} of {area.pages} pages of {area.name} are not zeros, {what}"


def save_areas(case: CaseDirectory, file: TargetFile, dump: PartitionDump, tell: Tell,
               with_room: WithRoom = lambda action: action()) -> tuple[SwapImage, ...]:
    """Each swap area of *dump* as a file in *case*.  DeviceError: no room; FormatError: an area is damaged."""
    areas = dump.swap.areas if dump.swap is not None else ()
    return tuple(with_room(lambda saved=saved: _image(case, file, dump, saved, tell))      # type: ignore[misc]
                 for saved in areas)


def _image(case: CaseDirectory, file: TargetFile, dump: PartitionDump, saved: SavedArea, tell: Tell) -> SwapImage:
    if not saved.entry.begun:
        return SwapImage(saved, None, 0, saved.area.pages - 1 - saved.area.bad_pages, saved.missing)
    pages, page = AreaPages(file, dump, saved), saved.area.page_size
    name = f"swap-{saved.number}"
    draft = f"{name}-incomplete.img"
    image = case.create_sparse(draft, f"{name}.img", saved.area.pages * page, (pages.stored.count() + 1) * page)
    try:
        pages.write(image, lambda done, total: tell("swap", done, total))
        image.sync()
    except BaseException:
        case.remove_file(draft)
        raise
    finally:
        image.close()
    missing = pages.missing.count()
    if not missing:
        case.rename(draft, f"{name}.img")
        return SwapImage(saved, f"{case.path}/{name}.img", pages.stored.count())
    lines = [f"{first} {count}" for first, count in pages.missing.runs()]
    case.write_text(f"{name}-missing.txt", "\n".join(["# first page, number of pages", *lines, ""]))
    there = (pages.stored - pages.missing).count()
    why = saved.missing or "its blocks on the dump device are damaged"
    return SwapImage(saved, f"{case.path}/{draft}", there, missing, why)
