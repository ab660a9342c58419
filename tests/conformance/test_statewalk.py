"""Snapshots of object graphs: what is seen, what is not, and how a difference reads."""

from __future__ import annotations

import functools
import itertools
import random
import zlib
from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from attrs import define

from ddsdk.conformance.bench import Bench
from ddsdk.conformance.load import plans_for
from ddsdk.conformance.statewalk import Snapshot, changes, snapshot, state_of, still
from ddsdk.sim.clock import Clock


class Colour(Enum):
    """A state, as models have them."""

    RED = 1
    GREEN = 2


@define
class Part:
    """With slots."""

    name: str
    count: int = 0
    state: Colour = Colour.RED
    other: Any = None


class Loose:
    """With a dictionary, a slot of its own that nobody filled, and something that is computed once."""

    def __init__(self) -> None:
        self.parts = [Part("a"), Part("b")]
        self.queue: deque[int] = deque((1, 2))
        self.table: dict[object, int] = {"x": 1, 7: 2}
        self.buffer = bytearray(b"\x01\x02")
        self.long = memoryview(bytearray(1000))
        self.marks = {3, 1}
        self.tags = itertools.count(5)
        self.dice = random.Random(1)
        self.call = len
        self._readers = {1: 2}

    @functools.cached_property
    def costly(self) -> int:
        """Filled when first asked for: no state."""
        return 42


def what(thing: Any, change: Any) -> list[str]:
    """How *thing* reads after *change* was made to it."""
    before = snapshot({"it": thing})
    change(thing)
    return changes(before, snapshot({"it": thing}))


def change_long(it: Loose) -> None:
    """Its last byte."""
    it.long[999] = 1


@pytest.mark.parametrize(("change", "says"), [
    (lambda it: setattr(it.parts[1], "count", 3), ["it.parts[1].count was 0, is 3"]),
    (lambda it: setattr(it.parts[0], "state", Colour.GREEN), ["it.parts[0].state was Colour.RED, is Colour.GREEN"]),
    (lambda it: it.table.__setitem__(7, 0x40), ["it.table[7] was 2, is 0x40"]),
    (lambda it: it.buffer.__setitem__(0, 0xFF), ["it.buffer was bytes 0102, is bytes ff02"]),
    (lambda it: it.queue.popleft(), ["it.queue was a deque of 2, is a deque of 1", "it.queue[0] was 1, is 2",
                                     "it.queue[1] was 2, is nothing"]),
    (lambda it: it.marks.add(2), ["it.marks was a set of 2, is a set of 3", "it.marks.items was 1, 3, is 1, 2, 3"]),
    (lambda it: next(it.tags), ["it.tags was count(5), is count(6)"]),
    (lambda it: setattr(it, "extra", None), ["it.extra was nothing, is None"]),
], ids=["slot", "enum", "table", "bytes", "deque", "set", "counter", "new attribute"])
def test_a_change_is_named_by_its_path(change: Any, says: list[str]) -> None:
    """Path, old value, new value; of a container also how many there are."""
    assert what(Loose(), change) == says


def test_a_long_buffer_is_told_by_its_checksum() -> None:
    """Which byte it was is not said."""
    before, after = zlib.crc32(bytes(1000)), zlib.crc32(bytes(999) + b"\1")
    assert what(Loose(), change_long) == [
        f"it.long was 1000 bytes with CRC {before:#010x}, is 1000 bytes with CRC {after:#010x}"]


def test_a_generator_of_random_numbers_has_a_state() -> None:
    """A draw changes it."""
    assert len(what(Loose(), lambda it: it.dice.random())) == 1


@pytest.mark.parametrize("change", [
    lambda it: it.costly,
    lambda it: it._readers.clear(),
    lambda it: setattr(it, "call", len),
    lambda it: setattr(it, "parts", [Part("a"), Part("b")]),
], ids=["cached property", "dispatch table", "same function", "equal objects"])
def test_what_is_no_state(change: Any) -> None:
    """Caches, dispatch tables, code, and which of two equal objects it is."""
    assert what(Loose(), change) == []


def test_the_second_way_to_an_object_is_named_by_the_first() -> None:
    """Cycles end; a reference that goes elsewhere is a change."""
    one, two = Part("one"), Part("two")
    one.other, two.other = two, one
    shown = snapshot({"one": one, "two": two})
    assert (shown["one.other"], shown["two.other"]) == ("the same as two", "the same as one")
    one.other = one
    assert changes(shown, snapshot({"one": one, "two": two})) == ["one.other was the same as two, is the same as one"]


def test_the_world_is_not_followed() -> None:
    """A clock that moves on is no change of whoever holds it."""
    part = Part("a", other=Clock())
    assert snapshot({"it": part})["it.other"] == "a Clock"
    assert what(part, lambda it: it.other.advance(5)) == []


@pytest.fixture
def bench() -> Iterator[Bench]:
    """The bundled driver, crashed."""
    with Bench.build(plans_for("mptfusion", chip="sas1068")[0]) as built:
        built.crash()
        yield built


def test_of_a_bench_that_nobody_touches_nothing_changes(bench: Bench) -> None:
    """Twice the same, though the walk itself looks at everything."""
    assert changes(state_of(bench), state_of(bench)) == []


def test_of_a_bench_driver_model_memory_and_configuration_are_seen(bench: Bench) -> None:
    """Each by what the driver or the bus does to it."""
    before = state_of(bench)
    bench.pci_command(clear=4)
    bench.function.dma_map([(0x1000, 512)], True)
    bench.call_quiesce()
    said = changes(before, state_of(bench))
    assert "configuration space at 0x4 was 7, is 3" in said
    assert "memory 0x1000-0x1200, mapped was nothing, is 1" in said
    assert any(line.startswith("model.") for line in said)
    assert any(line.startswith("drvdata.active was True") for line in said)


def test_a_state_is_waited_for_until_it_stands_still() -> None:
    """An adapter that goes on for three looks is through when four looks in a row show the same."""
    looks: list[int] = []

    def take() -> Snapshot:
        return {"left": max(0, 3 - len(looks))}

    assert still(take, lambda: looks.append(0)) == {"left": 0}
    assert len(looks) == 7


def test_a_state_that_never_stands_still_is_given_up() -> None:
    """The last one comes back, after a bounded number of looks."""
    looks: list[int] = []
    assert still(lambda: {"looks": len(looks)}, lambda: looks.append(0)) == {"looks": 200}
