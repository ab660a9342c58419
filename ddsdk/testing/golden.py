"""Exchanges recorded from an adapter that nobody here wrote, replayed against a model.

A recording is a JSON file: `recorded` says from what, `after` which exchanges come before it, `disk_bytes` how large
the disk behind the adapter was, `steps` what was done.  A step is a list, addresses and values in hexadecimal, as wide
as the access; PLACE is an offset behind the default BAR, or BAR+offset:

    ["out", PLACE, value]                       write a register
    ["in", PLACE, value, label?]                read one: this came
    ["poll", PLACE, mask, wanted]               read until it has come
    ["config", offset, value]                   write 2 bytes of configuration space
    ["outs", PLACE, words, seed]                write a pattern, 2 bytes at a time
    ["ins", PLACE, words, crc, label?]          read 2 bytes at a time: the CRC-32 of what came
    ["put", address, bytes]                     write memory
    ["fill", address, length, seed]             ... a pattern
    ["get", address, bytes, label?]             read memory: this was there
    ["sum", address, length, crc, label?]       ... something with this CRC-32

Every value is compared.  Where the model differs on purpose a `Difference` says what it gives, and why.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from attrs import define, field, frozen

from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction

Step = Sequence[Any]
#: (exchange, label of the step)
Label = tuple[str, str]


@frozen
class Difference:
    """What the model says where the other adapter said something else, and why that is right."""

    ours: str
    because: str


@frozen
class Exchanges:
    """The recordings of a directory."""

    directory: Path

    @property
    def names(self) -> list[str]:
        """All of them."""
        return sorted(path.stem for path in self.directory.glob("*.json"))

    def load(self, name: str) -> dict[str, Any]:
        """One of them."""
        return cast("dict[str, Any]", json.loads((self.directory / f"{name}.json").read_text()))

    def chain(self, name: str) -> list[str]:
        """*name* behind those that come before it."""
        return [*self.load(name)["after"], name]


def pattern(length: int, seed: int) -> bytes:
    """The bytes of a "fill" or "outs" step."""
    return bytes((i * 31 + i // 256 + seed) % 256 for i in range(length))


@define
class Replay:
    """Steps taken on a model, compared as they go.  `used`: the differences that were met.

    `bar`: the default BAR.  `access_ns` pass with every access; a poll waits twice as long each time, up to
    `poll_step_ns`, and gives up after `poll_limit_ns`.
    """

    machine: Machine
    function: SimPciFunction
    exchanges: Exchanges
    differences: Mapping[Label, Difference]
    bar: int = 0
    access_ns: int = 0
    poll_step_ns: int = 10_000_000
    poll_limit_ns: int = 60_000_000_000
    used: set[Label] = field(factory=set)

    def run(self, name: str) -> None:
        """Replay exchange *name* behind those it builds on; AssertionError names the step that differs.

        A difference of theirs that was not met is out of date: AssertionError, too.
        """
        chain = self.exchanges.chain(name)
        for one in chain:
            self.run_steps(one, self.exchanges.load(one)["steps"])
        stale = {label for label in self.differences if label[0] in chain} - self.used
        assert not stale, f"the model gives what was recorded: remove {sorted(stale)} from the differences"

    def run_steps(self, name: str, steps: Sequence[Step]) -> None:
        """Take *steps*, as if they were exchange *name*."""
        for number, step in enumerate(steps):
            try:
                self._take(name, *step)
            except AssertionError as error:
                raise AssertionError(f"{name}, step {number} {step}: {error}") from None

    def altered(self, name: str, kind: str) -> str:
        """Replay *name* with one bit of its first value of *kind* wrong; what the AssertionError says."""
        *before, last = self.exchanges.chain(name)
        for earlier in before:
            self.run_steps(earlier, self.exchanges.load(earlier)["steps"])
        steps = self.exchanges.load(last)["steps"]
        value_at = {"in": 2, "get": 2, "ins": 3, "sum": 3}[kind]
        # one that the model agrees with
        step = next(step for step in steps if step[0] == kind
                    and (last, step[value_at + 1] if len(step) > value_at + 1 else "") not in self.differences)
        step[value_at] = step[value_at][:-1] + f"{int(step[value_at][-1], 16) ^ 1:x}"
        try:
            self.run_steps(last, steps)
        except AssertionError as error:
            return str(error)
        return ""

    # -- steps ---------------------------------------------------------------------------------------

    def _take(self, name: str, kind: str, where: str, *rest: Any) -> None:
        memory = self.machine.memory
        if kind == "put":
            memory.write(int(where, 16), bytes.fromhex(rest[0]))
        elif kind == "fill":
            memory.write(int(where, 16), pattern(*rest))
        elif kind == "get":
            self._compare(name, memory.read(int(where, 16), len(rest[0]) // 2).hex(), *rest)
        elif kind == "sum":
            self._compare(name, f"{zlib.crc32(memory.read(int(where, 16), rest[0])):08x}", *rest[1:])
        elif kind == "config":
            self.function.config_write(int(where, 16), 2, int(rest[0], 16))
        else:
            self._access(name, kind, where, *rest)

    def _access(self, name: str, kind: str, where: str, *rest: Any) -> None:
        """A step at a register."""
        bar, _, offset = where.rpartition("+")
        window, at = self.function.window(int(bar) if bar else self.bar), int(offset, 16)
        self.machine.clock.advance(self.access_ns)
        size = len(rest[0]) // 2 if isinstance(rest[0], str) else 2
        if kind == "out":
            window.write(at, size, int(rest[0], 16))
        elif kind == "in":
            self._compare(name, f"{window.read(at, size):0{2 * size}x}", *rest)
        elif kind == "poll":
            self._poll(lambda: window.read(at, size), int(rest[0], 16), int(rest[1], 16))
        elif kind == "outs":
            data = pattern(2 * rest[0], rest[1])
            for n in range(0, len(data), 2):
                window.write(at, 2, int.from_bytes(data[n:n + 2], "little"))
        elif kind == "ins":
            data = b"".join(window.read(at, 2).to_bytes(2, "little") for _ in range(rest[0]))
            self._compare(name, f"{zlib.crc32(data):08x}", *rest[1:])
        else:
            raise ValueError(f"{name}: unknown step {kind!r}")

    def _poll(self, read: Callable[[], int], mask: int, wanted: int) -> None:
        """Read until the value is there, letting time pass."""
        clock = self.machine.clock
        end_ns, step_ns = clock.now_ns + self.poll_limit_ns, max(self.access_ns, 1000)
        while (value := read()) & mask != wanted:
            assert clock.now_ns < end_ns, f"the register stays {value:#04x}"
            clock.advance(step_ns)
            step_ns = min(2 * step_ns, self.poll_step_ns)

    def _compare(self, name: str, ours: str, theirs: str, label: str = "") -> None:
        """Equal to what was recorded, or to the difference allowed for this step."""
        allowed = self.differences.get((name, label)) if label else None
        if allowed is None or ours == theirs:
            assert ours == theirs, f"the model gives {ours}, recorded was {theirs}"
            return
        self.used.add((name, label))
        assert ours == allowed.ours, f"the model gives {ours}, the difference says {allowed.ours}"
