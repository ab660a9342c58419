"""Exchanges recorded from a chip nobody here wrote, replayed against the 53C895A model.

golden/*.json come from QEMU's lsi53c895a (`tests/real/golden.py` says what the steps mean, `exchanges.py` what the
host does).  Every value QEMU gave is compared; where the model differs on purpose, `DIFFERENCES` says what it gives.
"""

from __future__ import annotations

import json
import mmap
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define, field, frozen

from ddsdk.bus import PCI_COMMAND, Window
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import Extent, PhysicalMemory
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk_sym53c8xx.model import LSI53C895A, build

GOLDEN = Path(__file__).parents[1] / "golden"
EXCHANGES = sorted(path.stem for path in GOLDEN.glob("*.json"))
RAM_BYTES = 16 << 20
#: What the exchanges use: SCRIPTS, messages, table, data.
GRANTED = (0x20_0000, 0x41_0000)
#: Between two accesses; more than the 12 clocks that reads of SIST0, SIST1 and DSTAT have to be apart.
ACCESS_NS = 1_000
POLL_LIMIT_NS = 2_000_000_000

Step = Sequence[Any]


@frozen
class Difference:
    """The model's value where it is not QEMU's, and why that is right."""

    ours: str
    because: str


_CMP = "SIST0.CMP says that a selection is over, enabled or not; QEMU never sets it"
_CMP_RSL = "SIST0.CMP and RSL say what happened on the bus, enabled or not; QEMU shows neither"
_MISSING = "a register that QEMU does not have"
#: Exchanges that read SIST0 behind a selection, behind a selection and a reselection, behind a phase mismatch.
_SELECTED = ("unit-attention", "mismatch-jump", "after-bus-reset")
_RESELECTED = (("dispatched", "selected"), ("dispatched", "reselected"), ("table", "selected"), ("table", "reselected"))
_MISMATCH = ("unit-attention", "inquiry", "lun-1", "after-bus-reset")
#: (exchange, label of the step) -> what the model says instead
DIFFERENCES: Mapping[tuple[str, str], Difference] = {
    **{(name, "selected SIST0"): Difference("40", _CMP) for name in _SELECTED},
    **{(name, f"{how} SIST0"): Difference("50", _CMP_RSL) for name, how in _RESELECTED},
    **{(name, "mismatch SIST0"): Difference("c0", _CMP) for name in _MISMATCH},
    **{("registers", f"reset {at}"): Difference("00", _MISSING) for at in ("44", "45", "49", "4c", "51", "54", "55")},
    ("inquiry", "inquiry header"): Difference(
        "000005021f000002", "our disk claims neither hierarchical LUNs nor synchronous transfer"),
    ("inquiry", "inquiry names"): Difference(
        b"DDSDK   DISK            0001".hex(), "vendor, product and revision are the disk's own"),
    ("mismatch-jump", "UA"): Difference("00400012", "where the next byte would go; QEMU adds what was left"),
    ("mismatch-jump", "DBC"): Difference("98080000", "DBC holds the low 24 bits of whatever instruction came last"),
}


@define
class Replay:
    """A 53C895A with an empty disk, and the steps taken so far."""

    machine: Machine
    window: Window
    used: set[tuple[str, str]] = field(factory=set)

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
        if kind == "put":
            memory.write(at, bytes.fromhex(rest[0]))
        elif kind == "fill":
            memory.write(at, bytes((i * 31 + i // 256 + rest[1]) % 256 for i in range(rest[0])))
        elif kind == "get":
            self.compare(name, memory.read(at, len(rest[0]) // 2).hex(), *rest)
        elif kind == "sum":
            self.compare(name, f"{zlib.crc32(memory.read(at, rest[0])):08x}", *rest[1:])
        elif kind == "poll":
            self.poll(at, int(rest[0], 16), int(rest[1], 16))
        else:
            self.machine.clock.advance(ACCESS_NS)
            size = len(rest[0]) // 2
            if kind == "out":
                self.window.write(at, size, int(rest[0], 16))
            elif kind == "in":
                self.compare(name, f"{self.window.read(at, size):0{2 * size}x}", *rest)
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
        end_ns, step_ns = self.machine.clock.now_ns + POLL_LIMIT_NS, ACCESS_NS
        while (value := self.window.read(register, 1)) & mask != wanted:
            assert self.machine.clock.now_ns < end_ns, f"register stays {value:#04x}"
            self.machine.clock.advance(step_ns)
            step_ns = min(2 * step_ns, 10_000_000)


def load(name: str) -> dict[str, Any]:
    """One recorded exchange."""
    return cast("dict[str, Any]", json.loads((GOLDEN / f"{name}.json").read_text()))


@pytest.fixture
def replay() -> Iterator[Replay]:
    """A chip after power-on, decoding and bus mastering on, the exchange's memory granted."""
    disk_bytes = load(EXCHANGES[0])["disk_bytes"]
    ram = Extent(0, memoryview(mmap.mmap(-1, RAM_BYTES)))
    with Machine(PhysicalMemory([ram])) as machine:
        disk = Disk(memoryview(mmap.mmap(-1, disk_bytes)))
        function = build(machine, {(0, 0): ScsiTarget(disk)}, LSI53C895A)
        function.config_write(PCI_COMMAND, 2, 0x7)
        function.dma_grant(GRANTED[0], GRANTED[1] - GRANTED[0])
        yield Replay(machine, function.window(1))


def test_the_exchanges_are_there() -> None:
    """A replay of nothing would prove nothing."""
    assert {"registers", "dispatched", "table", "absent", "intfly", "register-moves", "bus-reset"} <= set(EXCHANGES)
    assert all("QEMU" in load(name)["recorded"] for name in EXCHANGES)


@pytest.mark.parametrize("name", EXCHANGES)
def test_the_model_answers_as_qemu_did(name: str, replay: Replay) -> None:
    """Register values, messages, sense and data are equal, but for the listed differences, all met."""
    replay.run(name)
    chain = {name, *load(name)["after"]}
    assert replay.used == {key for key in DIFFERENCES if key[0] in chain}


@pytest.mark.parametrize("kind", ["in", "get", "sum"])
def test_one_wrong_bit_is_noticed(kind: str, replay: Replay) -> None:
    """A recorded value that is off by one bit fails the replay, and the step is named."""
    recorded = load("dispatched")
    for earlier in recorded["after"]:
        replay.run_steps(earlier, load(earlier)["steps"])
    steps, value_at = recorded["steps"], 3 if kind == "sum" else 2
    step = next(step for step in steps if step[0] == kind and len(step) == value_at + 1)
    step[value_at] = step[value_at][:-1] + f"{int(step[value_at][-1], 16) ^ 1:x}"
    with pytest.raises(AssertionError, match=rf"^dispatched, step \d+ \['{kind}', .*the model gives"):
        replay.run_steps("dispatched", steps)
