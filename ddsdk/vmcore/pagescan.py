"""struct pages to kinds: the rules of pageflags.py applied to a window of page frames at a time, by numpy.

A block of 2**n frames - free, or compound - starts at a multiple of 2**n, so inside a window it is a row of the
window folded to that width; larger blocks are carried over to the windows that follow.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from ddsdk.abi import Abi

from .pageflags import ALWAYS, FIRST_BIT, MAX_ORDER, Column, Compound, Hugetlb, Kind, PageRules
from .zeropages import runs_of

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]

WINDOW_ORDER = 15
#: Page frames that are judged at once: 2 MiB of struct pages.
WINDOW = 1 << WINDOW_ORDER
#: Of them, those whose columns are gathered at once: 256 KiB of struct pages, which a CPU's own cache holds.
_GATHER = 1 << 12
#: Free blocks are passed over when they are of this order at least, and as many, one after the other.
_SKIP_ORDER, _SKIP_BLOCKS = 6, 4
#: What a cache page is before those with private data are told apart.
_ANY_CACHE = (Kind.CACHE | Kind.PRIVATE_CACHE).value
_CACHE_SHIFT, _USER_SHIFT = Kind.CACHE.bit_length() - 1, Kind.USER.bit_length() - 1


class PageScanner:
    """Kinds of the frames of one window, a bit each (`kinds`), gathered piece by piece.

    Everything it needs is allocated here.  `impossible` counts free blocks whose order no kernel has: they are kept.
    """

    def __init__(self, rules: PageRules, abi: Abi, *, frees_go: bool = False) -> None:
        """*frees_go*: free pages are left out whatever else they are, so large free blocks need no second look."""
        self.rules = rules
        self._frees_go = frees_go
        self.kinds = np.zeros(WINDOW, np.uint8)
        self.rows = np.zeros(WINDOW * rules.page_bytes, np.uint8)       # struct pages that lie scattered
        self.impossible = 0
        self._prefix = abi.struct_prefix
        self._flags, self._mapcounts, self._masked = (np.zeros(WINDOW, np.uint32) for _ in range(3))
        self._tail, self._anon, self._found = (np.zeros(WINDOW, np.uint8) for _ in range(3))
        self._slab, self._yes, self._cache = (np.zeros(WINDOW, np.bool_) for _ in range(3))
        self._carry_end = [0] * 8
        self._first = 0

    @property
    def scratch_bytes(self) -> int:
        """What is allocated, and what numpy takes for a moment: index arrays of a whole window."""
        kept = (self.kinds, self.rows, self._flags, self._mapcounts, self._masked, self._tail, self._anon, self._found,
                self._slab, self._yes, self._cache)
        return sum(array.nbytes for array in kept) + 6 * 8 * WINDOW

    def start(self, first_pfn: int) -> None:
        """Begin the window at *first_pfn*, a multiple of WINDOW; windows come in ascending order."""
        self._first = first_pfn
        self.kinds.fill(0)
        for bit, end in enumerate(self._carry_end):
            if end > first_pfn:
                self.kinds[:end - first_pfn] |= np.uint8(1 << bit)

    def restart(self) -> None:
        """Forget what was carried over: the next window is the first."""
        self._carry_end = [0] * 8
        self.impossible = 0

    def scan(self, rows: U8, pfn: int) -> None:
        """Add what the struct pages *rows*, those of frame *pfn* and after, say."""
        at, done = pfn - self._first, 0
        for start, end in self._large_free(rows, pfn):
            if done < start:
                self._scan(rows[done:start], pfn + done)
            self.kinds[at + start:at + end] |= np.uint8(Kind.FREE)
            done = end
        if done < len(rows):
            self._scan(rows[done:], pfn + done)

    def _large_free(self, rows: U8, pfn: int) -> list[tuple[int, int]]:
        """[start, end) of runs of free blocks of the largest order: the heads tell, the rest is not read."""
        rules = self.rules
        mapcount, private, flags, order = rules.mapcount, rules.private, rules.flags, (rules.buddy_orders or 0) - 1
        if (not self._frees_go or rules.buddy_count is None or mapcount is None or private is None or flags is None
                or not _SKIP_ORDER <= order <= WINDOW_ORDER):
            return []
        first = -pfn % (1 << order)
        if len(rows) - first < _SKIP_BLOCKS << order:
            return []
        free = ((self._column(rows, mapcount, first, order) == rules.buddy_count)
                & (self._column(rows, private, first, order) == order))
        if rules.slab_flag is not None:
            free &= self._column(rows, flags, first, order) & np.uint32(rules.slab_flag) == 0
        if rules.compound_head is not None:
            free &= self._column(rows, rules.compound_head, first, order) & np.uint8(FIRST_BIT) == 0
        return [(first + (start << order), first + (end << order))
                for start, end in runs_of(free) if end - start >= _SKIP_BLOCKS]

    def _scan(self, rows: U8, pfn: int) -> None:
        rules, count, at = self.rules, len(rows), pfn - self._first
        if rules.flags is None:
            return
        flags, found, tail = self._flags[:count], self._found[:count], self._tail[:count]
        self._gather(rows, count, rules.flags)
        present = int(np.bitwise_or.reduce(flags))
        self._mark_slab(count, present)
        self._mark_cache_and_user(count, present)
        if rules.hwpoison is not None and present & rules.hwpoison:
            found |= self._test(rules.hwpoison, count).view(np.uint8) * np.uint8(Kind.HWPOISON)
        if rules.offline_count is not None:
            self._mark_offline(count)
        np.bitwise_xor(tail, FIRST_BIT, out=tail)
        found *= tail                           # a tail's fate is its head's
        if rules.buddy_count is not None and rules.private is not None:
            self._mark_free(rows, rules.buddy_count, rules.private, at)
        if rules.unaccepted_count is not None:
            self._mark_unaccepted(count, at)
        if rules.compound is not None and present & rules.compound.head_mask:
            self._mark_compound(rows, rules.compound, at)
        self.kinds[at:at + count] |= found

    # -- columns --------------------------------------------------------------------------------------------

    def _column(self, rows: U8, column: Column, first: int = 0, order: int = 0) -> npt.NDArray[np.unsignedinteger]:
        """A member of each struct page; of the heads of whole blocks of 2**order from row *first* on."""
        size = self.rules.page_bytes
        return np.ndarray((len(rows) - first >> order,), f"{self._prefix}u{column.nbytes}", rows.data,
                          first * size + column.offset, (size << order,))

    def _gather(self, rows: U8, count: int, flags: Column) -> None:
        """Members that lie a struct page apart, into arrays without gaps."""
        rules = self.rules
        for low in range(0, count, _GATHER):
            high = min(low + _GATHER, count)
            some = rows[low:high]
            np.copyto(self._flags[low:high], self._column(some, flags))
            if rules.mapcount is not None:
                np.copyto(self._mapcounts[low:high], self._column(some, rules.mapcount))
            for member, out in ((rules.mapping, self._anon), (rules.compound_head, self._tail)):
                if member is not None:
                    np.bitwise_and(self._column(some, member), np.uint8(FIRST_BIT), out=out[low:high])
                else:
                    out[low:high] = 0

    def _test(self, mask: int, count: int) -> Flags:
        """Whether any flag of *mask* is set, in `_yes`."""
        masked, yes = self._masked[:count], self._yes[:count]
        np.bitwise_and(self._flags[:count], np.uint32(mask), out=masked)
        np.not_equal(masked, 0, out=yes)
        return yes

    # -- single frames --------------------------------------------------------------------------------------

    def _mark_slab(self, count: int, present: int) -> None:
        slab, rules = self._slab[:count], self.rules
        slab.fill(False)
        if rules.slab_flag is not None and present & rules.slab_flag:
            np.copyto(slab, self._test(rules.slab_flag, count))
        if rules.slab_count is not None:
            slab |= np.equal(self._mapcounts[:count], np.uint32(rules.slab_count), out=self._yes[:count])

    def _mark_cache_and_user(self, count: int, present: int) -> None:
        rules, found, cache = self.rules, self._found[:count], self._cache[:count]
        anon = self._anon[:count].view(np.bool_)
        cache.fill(False)
        if rules.lru is not None and present & rules.lru:
            np.copyto(cache, self._test(rules.lru, count))
        np.greater(anon, self._slab[:count], out=anon)                  # anonymous and not slab
        if not rules.knows_slab:
            anon &= cache
        if rules.swapcache is not None and present & rules.swapcache:
            mask = rules.swapcache | (rules.swapbacked or 0)
            masked = np.bitwise_and(self._flags[:count], np.uint32(mask), out=self._masked[:count])
            cache |= np.equal(masked, np.uint32(mask), out=self._yes[:count])
        np.greater(cache, anon, out=cache)
        np.multiply(cache.view(np.uint8), np.uint8(_ANY_CACHE), out=found)
        if rules.private_flag is not None and present & rules.private_flag:
            private = self._test(rules.private_flag, count).view(np.uint8)
            np.left_shift(private, _CACHE_SHIFT, out=private)
            np.bitwise_xor(private, np.uint8(0xFF), out=private)
            found &= private                    # private data: no longer CACHE, PRIVATE_CACHE stays
        found |= np.left_shift(anon.view(np.uint8), _USER_SHIFT, out=self._yes[:count].view(np.uint8))

    def _mark_offline(self, count: int) -> None:
        offline = np.equal(self._mapcounts[:count], np.uint32(self.rules.offline_count or 0), out=self._yes[:count])
        if offline.any():
            np.greater(offline, self._slab[:count], out=offline)
            self._found[:count][offline] |= np.uint8(Kind.OFFLINE)

    # -- blocks ---------------------------------------------------------------------------------------------

    def _blocks(self, value: int, count: int) -> Index:
        """Frames that are no tails and whose _mapcount is *value*."""
        yes = np.equal(self._mapcounts[:count], np.uint32(value), out=self._yes[:count])
        yes &= self._tail[:count].view(np.bool_)            # which by now says "no tail"
        return np.flatnonzero(yes)

    def _mark_free(self, rows: U8, buddy_count: int, private: Column, at: int) -> None:
        heads = self._blocks(buddy_count, len(rows))
        heads = heads[~self._slab[heads]]
        if not len(heads):
            return
        orders = self._column(rows, private)[heads]
        limit = min(self.rules.buddy_orders or 0, MAX_ORDER + 1)
        good = orders < limit
        orders = np.minimum(orders, limit).astype(np.int64)
        good &= (heads + at + self._first) & ((1 << orders) - 1) == 0
        if not good.all():
            self.impossible += len(good) - int(np.count_nonzero(good))
            self._found[heads[~good]] &= np.uint8(ALWAYS)
        self._spread(heads[good] + at, orders[good], np.uint8(Kind.FREE))

    def _mark_unaccepted(self, count: int, at: int) -> None:
        rules = self.rules
        heads = self._blocks(rules.unaccepted_count or 0, count)
        if len(heads) and rules.buddy_orders is not None and rules.buddy_orders <= MAX_ORDER + 1:
            order = rules.buddy_orders - 1
            heads = heads[(heads + at + self._first) & ((1 << order) - 1) == 0]
            self._spread(heads + at, np.full(len(heads), order), np.uint8(Kind.FREE))

    def _mark_compound(self, rows: U8, compound: Compound, at: int) -> None:
        """The order of each compound page, and whether it is a hugetlb page; all its frames share its head's fate."""
        found, count = self._found, len(rows)
        heads = np.flatnonzero(self._test(compound.head_mask, count)
                               & self._tail[:count].view(np.bool_))
        if len(heads) and heads[-1] == count - 1:           # its second page is elsewhere; it has none
            heads = heads[:-1]
        if not len(heads):
            return
        if compound.hugetlb is not Hugetlb.NONE:
            huge = heads[self._is_hugetlb(rows, compound, heads)]
            found[huge] |= np.uint8(Kind.USER)
        heads = heads[found[heads] != 0]
        if not len(heads):
            return
        orders = (self._column(rows, compound.order)[heads + 1]
                  & self._column(rows, compound.order).dtype.type(compound.order_mask))
        orders = np.minimum(orders, MAX_ORDER + 1).astype(np.int64)
        good = (orders > 0) & (orders <= MAX_ORDER) & ((heads + at + self._first) & ((1 << orders) - 1) == 0)
        heads, orders = heads[good], orders[good]
        self._spread(heads + at, orders, found[heads])

    def _is_hugetlb(self, rows: U8, compound: Compound, heads: Index) -> Flags:
        if compound.dtor is None:
            return cast("Flags", np.equal(self._mapcounts[heads], np.uint32(compound.dtor_value)))
        values = self._column(rows, compound.dtor)[heads + 1]
        if compound.hugetlb is Hugetlb.FLAG:
            values = values & values.dtype.type(compound.dtor_value)
            return cast("Flags", np.not_equal(values, 0))
        return cast("Flags", np.equal(values, compound.dtor_value))

    def _spread(self, heads: Index, orders: npt.NDArray[np.int64], kinds: U8 | np.uint8) -> None:
        """Give the 2**order frames of each block its *kinds*; *heads* count from the window's start."""
        for order in np.flatnonzero(np.bincount(orders)).tolist():
            chosen = orders == order
            some = heads[chosen]
            marks = kinds[chosen] if isinstance(kinds, np.ndarray) else kinds
            if order > WINDOW_ORDER:
                self._carry(some, order, marks)
            elif not order:
                self.kinds[some] |= marks
            else:
                folded = self.kinds.reshape(-1, 1 << order)
                folded[some >> order] |= marks[:, None] if isinstance(marks, np.ndarray) else marks

    def _carry(self, heads: Index, order: int, marks: U8 | np.uint8) -> None:
        """A block that is larger than a window: the rest of this one, and the next ones."""
        for index, head in enumerate(heads.tolist()):
            mark = int(marks[index]) if isinstance(marks, np.ndarray) else int(marks)
            self.kinds[head:] |= np.uint8(mark)
            for bit in range(8):
                if mark >> bit & 1:
                    self._carry_end[bit] = max(self._carry_end[bit], self._first + head + (1 << order))
