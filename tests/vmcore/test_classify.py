"""The classifier as a whole: its budget, its counts, its manners with memory that is damaged."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddsdk.abi import X86_64
from ddsdk.errors import UsageError
from ddsdk.vmcore.classify import Classifier, classify, classify_every_level
from ddsdk.vmcore.image import MemoryExtent, MemorySource
from ddsdk.vmcore.pageflags import ALWAYS, Kind
from ddsdk.vmcore.zeropages import ZeroScanner
from tests.vmcore.kernel import ANON, HWPOISON, LRU, PAGES_AT, PRIVATE, SLAB, Kernel, P


def busy(model: str = "vmemmap") -> Kernel:
    """A kernel with pages of every kind."""
    kernel = Kernel(model=model)
    for pfn in range(0, 6000, 3):
        kernel.page(pfn, flags=LRU | (PRIVATE if pfn % 2 else 0), mapping=ANON if pfn % 5 == 0 else 0)
    for pfn in range(10240, 30000, 32):
        kernel.free(pfn, pfn // 32 % 5)
    for pfn in range(0, 6000, 7):
        kernel.write(pfn * P + 77, b"content")
    return kernel


@pytest.mark.parametrize("model", ["vmemmap", "scattered"])
@pytest.mark.parametrize("level", [31])
def test_after_the_crash_nothing_is_allocated_beyond_the_budget(level: int | None, model: str) -> None:
    """Built before; what `run` takes, with what was built, stays below what was declared."""
    memory = busy(model).source()
    Classifier(memory, level)                       # imports and caches
    gc.collect()
    tracemalloc.start()
    try:
        classifier = Classifier(memory, level)
        built, _ = tracemalloc.get_traced_memory()
        assert built <= classifier.budget_bytes
        if level is None:
            classifier.run_every_level()
        else:
            classifier.run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= classifier.budget_bytes
    assert classifier.budget_bytes < (8 << 20)


def test_each_level_alone_is_what_the_pass_for_all_says() -> None:
    """Same frames, same counts."""
    memory = busy().source()
    together = classify_every_level(memory)
    for level in (0, 1, 2, 4, 8, 16, 18, 30, 31):
        alone, of_all = classify(memory, level), together.at(level)
        assert alone.kept == of_all.kept
        assert (alone.counts, alone.kept_pages) == (of_all.counts, of_all.kept_pages)
        assert alone.kept.count() == alone.kept_pages
        assert alone.total_pages == 40960


def test_large_free_blocks_are_passed_over_without_being_taken_for_others() -> None:
    """Runs of the largest order, with blocks in them that only look like it; in every level's pass they are read."""
    kernel = Kernel(frames=3 << 15)
    for block in range(16, 90):
        kernel.free(block << 10, 10)
    kernel.page(20 << 10, flags=SLAB)
    kernel.page(30 << 10, private=9)
    kernel.page(45 << 10, compound_head=1)
    kernel.page((40 << 10) + 7, flags=HWPOISON)
    kernel.page((41 << 10) + 7, flags=LRU)
    together = classify_every_level(kernel.source())
    for level in (16, 17, 18, 31):
        alone, of_all = classify(kernel.source(), level), together.at(level)
        assert alone.kept == of_all.kept
        assert (alone.counts, alone.kept_pages) == (of_all.counts, of_all.kept_pages)
    assert list(together.at(16).kept.runs(16 << 10)) == [(20 << 10, 1024), ((30 << 10) + 512, 512),
                                                         (45 << 10, 1024), (90 << 10, 6 << 10)]


def test_running_twice_says_the_same() -> None:
    """Nothing is left over from the first time."""
    classifier = Classifier(busy().source(), 31)
    first = classifier.run()
    kept, counts = first.kept.copy(), dict(first.counts)
    second = classifier.run()
    assert (second.kept, second.counts) == (kept, counts)


def test_counts_follow_makedumpfiles_words() -> None:
    """A page counts once; at level 4, cache without private data is still called that."""
    kernel = Kernel()
    kernel.page(10, flags=LRU)
    kernel.page(11, flags=LRU | PRIVATE)
    kernel.page(12, flags=LRU, mapping=ANON)
    found = classify_every_level(kernel.source())
    per_level = {level: found.counts(level)[0] for level in (2, 4, 6, 8)}
    seen = {level: (counts[Kind.CACHE], counts[Kind.PRIVATE_CACHE], counts[Kind.USER])
            for level, counts in per_level.items()}
    assert seen == {2: (1, 0, 0), 4: (1, 1, 0), 6: (1, 1, 0), 8: (0, 0, 1)}


@pytest.mark.parametrize("level", [-1, 32, 1 << 40])
def test_there_are_32_levels(level: int) -> None:
    """The line says what they are made of."""
    with pytest.raises(UsageError, match=rf"dump level {level}: it is 0 to 31"):
        classify(Kernel().source(), level)


class Holey(MemorySource):
    """Some pages are in the map and cannot be read."""

    missing = range(700, 733)

    def views(self, paddr: int, length: int) -> list[memoryview]:
        if any(paddr < (pfn + 1) * P and pfn * P < paddr + length for pfn in self.missing):
            raise UsageError("not there")
        return super().views(paddr, length)


def test_a_page_that_cannot_be_read_is_not_kept() -> None:
    """It is counted as such where pages are read; its neighbours are judged."""
    kernel = Kernel()
    for pfn in range(640, 768):
        kernel.write(pfn * P, b"x")
    plain = kernel.source()
    memory = Holey(plain.abi, plain.extents, (), plain.vmcoreinfo, "holey")
    answer = classify(memory, 1)
    assert answer.counts[Kind.UNREADABLE] == 33
    assert answer.kept.frames(640, 768).tolist() == [*range(640, 700), *range(733, 768)]


def test_zero_scan_sees_every_byte() -> None:
    """One byte anywhere, in pages next to zero pages."""
    rng = np.random.default_rng(5)
    data = np.zeros((600, P), np.uint8)
    dirty = np.flatnonzero(rng.random(600) < 0.5)
    for pfn in dirty:
        data[pfn, rng.integers(P)] = rng.integers(1, 256)
    memory = MemorySource(X86_64, (MemoryExtent(0, data.nbytes, memoryview(data).cast("B")),), (), None, "x")
    zero, bad = np.zeros(600, np.bool_), np.zeros(600, np.bool_)
    ZeroScanner(memory).scan(0, zero, bad)
    assert np.flatnonzero(~zero).tolist() == dirty.tolist()
    assert not bad.any()


#: A kernel whose tables, map and struct pages are bent; made once, bent anew in each example by way of its bytes.
@given(spots=st.lists(st.tuples(st.sampled_from(["tables", "pages"]), st.integers(0, (1 << 20) - 1), st.binary(
    min_size=1, max_size=64)), max_size=12), level=st.integers(0, 31))
def test_damaged_memory_never_raises_and_never_loses_a_frame(spots: list[tuple[str, int, bytes]], level: int) -> None:
    """Every frame of RAM is either kept or counted."""
    kernel = Kernel(frames=10240)
    for where, at, data in spots:
        base = 0x0180_0000 if where == "tables" else PAGES_AT
        kernel.write(base + at % (60 << 10 if where == "tables" else 10240 * 64 - 64), data)
    answer = classify(kernel.source(), level)
    assert answer.total_pages == 10240
    assert answer.kept.count() == answer.kept_pages


@given(key=st.sampled_from(sorted(Kernel(frames=10240).info)), value=st.one_of(
    st.integers(-(1 << 70), 1 << 70).map(str), st.text(max_size=20), st.integers(0, 200).map(str)),
    level=st.integers(0, 31))
@settings(max_examples=25)
def test_damaged_vmcoreinfo_never_raises(key: str, value: str, level: int) -> None:
    """Any value of any key: an answer, all frames accounted for."""
    kernel = Kernel(frames=10240)
    kernel.info[key] = value.replace("\n", "")
    answer = classify(kernel.source(), level)
    assert answer.total_pages == 10240
    assert answer.kept.count() == answer.kept_pages
    assert all("\n" not in str(gap) for gap in answer.gaps)


def test_kinds_are_eight_bits() -> None:
    """One byte a frame; the first five are the levels' bits."""
    assert [kind.value for kind in Kind] == [1 << n for n in range(8)]
    assert ALWAYS == 0xE0
