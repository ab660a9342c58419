"""Exchanges recorded from an adapter nobody here wrote, replayed against the SAS1068 model.

golden/*.json come from QEMU's mptsas1068 (`tests/real/golden.py` says what the steps mean).  Every
value QEMU gave is compared; where the model differs on purpose, `DIFFERENCES` says what it gives, and why.
"""

from __future__ import annotations

import json
import mmap
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define, frozen

from ddsdk.bus import PCI_COMMAND, Window
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import Extent, PhysicalMemory
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk_mptfusion.model import SAS1068, build

GOLDEN = Path(__file__).parents[1] / "golden"
EXCHANGES = sorted(path.stem for path in GOLDEN.glob("*.json"))
RAM_BYTES = 16 << 20
#: What the exchanges use: request frame, chain buffer, reply frames, sense, data.
GRANTED = (0x20_0000, 0x41_0000)
POLL_STEP_NS = 5_000
POLL_LIMIT_NS = 60_000_000_000

Step = Sequence[Any]


@frozen
class Difference:
    """The model's value where it is not QEMU's, and why that is right."""

    ours: str
    because: str


#: (exchange, label of the step) -> what the model says instead
DIFFERENCES: Mapping[tuple[str, str], Difference] = {
    ("inquiry", "inquiry header"): Difference(
        "000005021f000002", "our disk claims neither hierarchical LUNs nor synchronous transfer"),
    ("inquiry", "inquiry names"): Difference(
        b"DDSDK   DISK            0001".hex(), "vendor, product and revision are the disk's own"),
    ("hard-reset", "WhoInit after a hard reset"): Difference(
        "10000000", "a hard reset forgets who initialised the IOC; QEMU keeps WhoInit (hw notes 12.1)"),
    ("message-unit-reset", "IOCFacts reply word 22"): Difference(
        "1c000000", "a message unit reset voids IOCInit; QEMU still reports the reply frame size it set"),
    ("message-unit-reset", "IOCFacts reply word 23"): Difference(
        "1c000108", "a message unit reset voids IOCInit; QEMU still reports the MaxDevices it set (0 = 256)"),
}


@define
class Replay:
    """A SAS1068 model with an empty disk, and the steps taken so far."""

    machine: Machine
    window: Window
    used: set[tuple[str, str]]

    def run(self, name: str) -> None:
        """Replay exchange *name* after those it builds on; AssertionError names the step that differs."""
        recorded = load(name)
        for earlier in recorded["after"]:
            self.run_steps(earlier, load(earlier)["steps"])
        self.run_steps(name, recorded["steps"])

    def run_steps(self, name: str, steps: Sequence[Step]) -> None:
        """Take *steps*, comparing as they go."""
        for number, step in enumerate(steps):
            try:
                self.take(name, *step)
            except AssertionError as error:
                raise AssertionError(f"{name}, step {number} {step}: {error}") from None

    def take(self, name: str, kind: str, where: str, *rest: Any) -> None:
        """One step; AssertionError with both values when the model answers otherwise."""
        at, memory = int(where, 16), self.machine.memory
        if kind == "out":
            self.window.write(at, 4, int(rest[0], 16))
        elif kind == "poll":
            self.poll(at, int(rest[0], 16), int(rest[1], 16))
        elif kind == "put":
            memory.write(at, bytes.fromhex(rest[0]))
        elif kind == "fill":
            memory.write(at, bytes((i * 31 + i // 256 + rest[1]) % 256 for i in range(rest[0])))
        elif kind == "in":
            self.compare(name, f"{self.window.read(at, 4):08x}", *rest)
        elif kind == "get":
            self.compare(name, memory.read(at, len(rest[0]) // 2).hex(), *rest)
        elif kind == "sum":
            self.compare(name, f"{zlib.crc32(memory.read(at, rest[0])):08x}", *rest[1:])
        else:
            raise ValueError(f"{name}: unknown step {kind!r}")

    def compare(self, name: str, ours: str, theirs: str, label: str = "") -> None:
        """Equal to QEMU's value, or to the difference allowed for this step."""
        allowed = DIFFERENCES.get((name, label)) if label else None
        if allowed is None:
            assert ours == theirs, f"the model gives {ours}, QEMU gave {theirs}"
            return
        self.used.add((name, label))
        assert theirs != allowed.ours, "QEMU gives the same: the entry in DIFFERENCES is out of date"
        assert ours == allowed.ours, f"the model gives {ours}, DIFFERENCES says {allowed.ours}"

    def poll(self, register: int, mask: int, wanted: int) -> None:
        """Read until the value is there, letting time pass."""
        end_ns = self.machine.clock.now_ns + POLL_LIMIT_NS
        step_ns = POLL_STEP_NS
        while (value := self.window.read(register, 4)) & mask != wanted:
            assert self.machine.clock.now_ns < end_ns, f"register stays {value:#010x}"
            self.machine.clock.advance(step_ns)
            step_ns = min(2 * step_ns, 100_000_000)


def load(name: str) -> dict[str, Any]:
    """One recorded exchange."""
    return cast("dict[str, Any]", json.loads((GOLDEN / f"{name}.json").read_text()))


@pytest.fixture
def replay() -> Iterator[Replay]:
    """An adapter after power-on, decoding and bus mastering on, the exchange's memory granted."""
    disk_bytes = load(EXCHANGES[0])["disk_bytes"]
    ram = Extent(0, memoryview(mmap.mmap(-1, RAM_BYTES)))
    with Machine(PhysicalMemory([ram])) as machine:
        disk = Disk(memoryview(mmap.mmap(-1, disk_bytes)))
        function = build(machine, {(0, 0): ScsiTarget(disk)}, SAS1068)
        function.config_write(PCI_COMMAND, 2, 0x7)
        function.dma_grant(GRANTED[0], GRANTED[1] - GRANTED[0])
        number = next(n for n, bar in enumerate(function.bars) if bar is not None and bar.kind == "mem")
        yield Replay(machine, function.window(number), set())


def test_the_exchanges_are_there() -> None:
    """A replay of nothing would prove nothing."""
    assert {"bring-up", "unit-attention", "inquiry", "read-write", "out-of-range", "absent-target",
            "target-reset", "fault-0008"} <= set(EXCHANGES)
    assert all("QEMU" in load(name)["recorded"] for name in EXCHANGES)


@pytest.mark.parametrize("name", EXCHANGES)
def test_the_model_answers_as_qemu_did(name: str, replay: Replay) -> None:
    """Register values, reply frames, sense and data are equal, but for the listed differences, all met."""
    replay.run(name)
    chain = {name, *load(name)["after"]}
    assert replay.used == {key for key in DIFFERENCES if key[0] in chain}


@pytest.mark.parametrize("kind", ["in", "get", "sum"])
def test_one_wrong_bit_is_noticed(kind: str, replay: Replay) -> None:
    """A recorded value that is off by one bit fails the replay, and the step is named."""
    steps = load("read-write")["steps"] if kind == "sum" else load("unit-attention")["steps"]
    value_at = 3 if kind == "sum" else 2
    step = next(step for step in steps if step[0] == kind)
    text = step[value_at]
    step[value_at] = text[:-1] + f"{int(text[-1], 16) ^ 1:x}"
    replay.run_steps("bring-up", load("bring-up")["steps"])
    if kind == "sum":
        replay.run_steps("unit-attention", load("unit-attention")["steps"])
    with pytest.raises(AssertionError, match=rf"^altered, step \d+ \['{kind}', .*the model gives"):
        replay.run_steps("altered", steps)
