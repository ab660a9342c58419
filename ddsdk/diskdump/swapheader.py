"""The header of a swap area, read and believed while the machine is healthy: nothing of it is parsed after the crash.

    0     1024  boot code, a disk label: not swap's
    1024     4  version: 1
    1028     4  last page of the area, so that it has one page more
    1032     4  number of bad pages
    1036    16  UUID
    1052    16  label
    1536   4*n  the bad pages
    P - 10  10  SWAPSPACE2, P the size of a page

Numbers are in the byte order of the machine that made it; Linux takes either.  Source: Linux `include/linux/swap.h`
(union swap_header) and `mm/swapfile.c` (read_swap_header) for what is refused; mkswap(8); formats.md 9.6.
"""

from __future__ import annotations

import struct
import uuid
from typing import Final

from attrs import frozen

from ddsdk.abi import Abi
from ddsdk.errors import FormatError
from ddsdk.vmcore.dumpheader import text

from .probe import holds_dump, refusals
from .target import TargetFile

MAGIC: Final = b"SWAPSPACE2"
OLD_MAGIC: Final = b"SWAP-SPACE"
#: What hibernation puts in the place of MAGIC: the kernel's, and uswsusp's.
HIBERNATED: Final = (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001")
#: Sizes of a page that swapon(8) looks for.
SWAP_PAGES: Final = (4096, 8192, 16384, 32768, 65536)
_INFO_AT, _UUID_AT, _LABEL_AT, _BAD_AT = 1024, 1036, 1052, 1536
_MAGIC_BYTES = 10


@frozen
class SwapHeader:
    """A version 1 header that fits its device.  `pages` with the header's own page 0; `bad`, ascending, are never used.

    `page`: the header's page as it was read.
    """

    page_size: int
    pages: int
    bad: tuple[int, ...]
    uuid: bytes
    label: str
    page: bytes

    @property
    def uuid_text(self) -> str:
        """As swaplabel(8) prints it; empty when there is none."""
        return str(uuid.UUID(bytes=self.uuid)) if any(self.uuid) else ""

    def describe(self) -> dict[str, object]:
        """What `info` shows."""
        return {"label": self.label, "uuid": self.uuid_text, "page_bytes": self.page_size, "pages": self.pages,
                "bad_pages": len(self.bad)}

    def same_area(self, page: bytes | memoryview) -> bool:
        """Whether *page*, read later, still is this area's header; UUID and label may have been changed (swaplabel)."""
        return _geometry(self.page, len(self.bad)) == _geometry(page, len(self.bad))


def _geometry(page: bytes | memoryview, bad: int) -> tuple[bytes, bytes, bytes]:
    return (bytes(page[_INFO_AT:_UUID_AT]), bytes(page[_BAD_AT:_BAD_AT + 4 * bad]), bytes(page[-_MAGIC_BYTES:]))


def bad_pages_max(page_size: int) -> int:
    """MAX_SWAP_BADPAGES: the bad pages that a header has room for."""
    return (page_size - _MAGIC_BYTES - _BAD_AT) // 4


def read_swap_header(file: TargetFile, abi: Abi) -> SwapHeader:
    """The header of the swap area on *file*, for a machine like *abi*; FormatError for what swapon refuses."""
    head = file.read(0, min(file.size, max(SWAP_PAGES)))
    page_size = _page_size(file, head, abi)
    return parse_swap_header(head[:page_size], file.size // page_size, str(file))


def any_swap_header(file: TargetFile) -> SwapHeader | None:
    """The header of the swap area on *file*, of whatever page size; None when there is none that is right."""
    head = file.read(0, min(file.size, max(SWAP_PAGES)))
    for size in SWAP_PAGES:
        if head[:size].endswith(MAGIC) and len(head) >= size:
            try:
                return parse_swap_header(head[:size], file.size // size, str(file))
            except FormatError:
                continue
    return None


def _page_size(file: TargetFile, head: bytes, abi: Abi) -> int:
    """The page size at whose place MAGIC is, which has to be the machine's."""
    sizes = sorted(SWAP_PAGES, key=lambda size: size != abi.page_size)      # an old, larger header may be left over
    for size in sizes:
        magic = head[size - _MAGIC_BYTES:size]
        if magic == MAGIC and size == abi.page_size:
            if holds_dump(head):
                raise FormatError(f"{file}: a crash dump that has not been saved is in this swap area; run `ddsdk"
                                  " savecore` first")
            return size
        if magic == MAGIC:
            raise FormatError(f"{file}: this swap area was made for pages of {size} bytes, the machine's have "
                              f"{abi.page_size}: swapon would refuse it; make it with mkswap -p {abi.page_size}")
        if magic == OLD_MAGIC:
            raise FormatError(f"{file}: a swap area of version 0 (SWAP-SPACE), which Linux uses no more; mkswap makes "
                              "version 1")
        if magic.startswith(HIBERNATED):
            raise FormatError(f"{file}: a hibernated system's memory, no swapped pages of this machine; resume it, or"
                              " make the area anew with mkswap")
    held = refusals(file)
    what = f"it holds {'; '.join(held)}" if held else "there is no SWAPSPACE2 at the end of its first page"
    raise FormatError(f"{file}: no swap area: {what}; mkswap makes one")


def parse_swap_header(page: bytes, pages_there: int, name: str) -> SwapHeader:
    """The header in *page*, a whole one that ends with MAGIC, of a device of *pages_there* pages."""
    for prefix in ("<", ">"):
        version, last, bad_count = struct.unpack_from(f"{prefix}III", page, _INFO_AT)
        if version == 1:
            break
    else:
        version, = struct.unpack_from("<I", page, _INFO_AT)
        raise FormatError(f"{name}: a swap header of version {version}; Linux knows version 1 only")
    if not last:
        raise FormatError(f"{name}: an empty swap area: its last page is the header's own")
    if last >= pages_there:
        raise FormatError(f"{name}: the swap header says that the last page is {last}, the device has {pages_there}"
                          f" pages of {len(page)} bytes; was it cut, or is it another partition's?")
    most = bad_pages_max(len(page))
    if bad_count > most:
        raise FormatError(f"{name}: the swap header counts {bad_count} bad pages and has room for {most}; it is"
                          " damaged")
    bad = struct.unpack_from(f"{prefix}{bad_count}I", page, _BAD_AT)
    for number in bad:
        if not 0 < number <= last:
            raise FormatError(f"{name}: the swap header lists bad page {number} of an area of pages 1 to {last}; it is "
                              "damaged")
    if len(set(bad)) != len(bad):
        raise FormatError(f"{name}: the swap header lists a bad page twice; it is damaged")
    if len(bad) == last:
        raise FormatError(f"{name}: every page of the swap area is bad; there is nothing to save")
    return SwapHeader(len(page), last + 1, tuple(sorted(bad)), page[_UUID_AT:_LABEL_AT],
                      text(page[_LABEL_AT:_LABEL_AT + 16]), page)
