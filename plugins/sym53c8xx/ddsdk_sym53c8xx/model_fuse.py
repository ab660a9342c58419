"""Neighbours that are carried out in one go: chains of comparisons, stores of constants.

What a chain does is what its instructions do one after the other; there is just one look at SFBR, or at the phase, for
all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .model_steps import Hold, Step

if TYPE_CHECKING:
    from .model_scripts import ScriptsProcessor

#: What comes of a comparison that holds: an address to go on at, or a step.
Hit = int | Step


class ByData(NamedTuple):
    """IF byte: SFBR is *data*."""

    data: int
    hit: Hit


class ByPhase(NamedTuple):
    """IF phase, and WHEN phase, for which *wait* holds SCRIPTS up while there is none."""

    phase: int
    hit: Hit
    wait: bool
    hold: Hold


class Put(NamedTuple):
    """A constant byte into a register: `others` are the bits that stay."""

    name: str
    others: int
    value: int


class Return(NamedTuple):
    """RETURN."""


Item = ByData | ByPhase | Put | Return | Step


@lru_cache(maxsize=1 << 12)
def fuse(items: tuple[Item, ...]) -> tuple[Step, ...]:
    """Steps for *items*."""
    steps: list[Step] = []
    at = 0
    while at < len(items):
        first, end = items[at], at + 1
        if isinstance(first, ByData):
            while end < len(items) and isinstance(items[end], ByData):
                end += 1
            steps.append(_by_data([one for one in items[at:end] if isinstance(one, ByData)]))
        elif isinstance(first, ByPhase):
            while end < len(items) and _if_phase(items[end]):
                end += 1
            steps.append(_by_phase(first, [one for one in items[at:end] if isinstance(one, ByPhase)]))
        elif isinstance(first, Put):
            while end < len(items) and isinstance(items[end], Put):
                end += 1
            puts = [one for one in items[at:end] if isinstance(one, Put)]
            if len(puts) == 1 and puts[0].name == "TEMP" and end < len(items) and isinstance(items[end], Return):
                end += 1
                steps.append(_put_and_return(puts[0]))
            else:
                steps += _puts(puts)
        else:
            steps.append(_return if isinstance(first, Return) else first)
        at = end
    return tuple(steps)


def _if_phase(item: Item) -> bool:
    return isinstance(item, ByPhase) and not item.wait


def _by_data(chain: Sequence[ByData]) -> Step:
    if len(chain) == 1:
        (data, hit), = chain

        def by_one(scripts: ScriptsProcessor) -> int | None:
            if scripts.values["SFBR"] != data:
                return None
            return hit if isinstance(hit, int) else hit(scripts)
        return by_one
    hits: dict[int, Hit] = {}
    for one in chain:
        hits.setdefault(one.data, one.hit)

    def by_data(scripts: ScriptsProcessor) -> int | None:
        hit = hits.get(scripts.values["SFBR"])
        return hit if hit is None or isinstance(hit, int) else hit(scripts)
    return by_data


def _return(scripts: ScriptsProcessor) -> int:
    return scripts.values["TEMP"]


def _by_phase(first: ByPhase, chain: Sequence[ByPhase]) -> Step:
    hits: list[Hit | None] = [None] * 8
    for one in reversed(chain):
        hits[one.phase] = one.hit
    if not first.wait:
        def by_phase(scripts: ScriptsProcessor) -> int | None:
            hit = hits[scripts.values["SSTAT1"]]
            return hit if hit is None or isinstance(hit, int) else hit(scripts)
        return by_phase
    hold = first.hold

    def when_phase(scripts: ScriptsProcessor) -> int | None:
        bus = scripts.bus
        port = bus.connected
        if port is None or bus.ack or bus.selecting is not None or port.phase is None:
            return hold(scripts, when_phase)
        scripts.values["SSTAT1"] = phase = port.phase
        hit = hits[phase]
        return hit if hit is None or isinstance(hit, int) else hit(scripts)
    return when_phase


def _puts(puts: Sequence[Put]) -> list[Step]:
    if len(puts) == 1:
        return [_put(puts[0])]
    return [step for n in range(0, len(puts), 2) for step in (
        [_put2(*puts[n:n + 2])] if n + 1 < len(puts) else [_put(puts[n])])]


def _put(one: Put) -> Step:
    name, others, value = one

    def put(scripts: ScriptsProcessor) -> None:
        values = scripts.values
        values[name] = values[name] & others | value
    return put


def _put2(one: Put, two: Put) -> Step:
    (name, others, value), (name2, others2, value2) = one, two

    def put2(scripts: ScriptsProcessor) -> None:
        values = scripts.values
        values[name] = values[name] & others | value
        values[name2] = values[name2] & others2 | value2
    return put2


def _put_and_return(one: Put) -> Step:
    _, others, value = one

    def put_and_return(scripts: ScriptsProcessor) -> int:
        values = scripts.values
        values["TEMP"] = target = values["TEMP"] & others | value
        return target
    return put_and_return
