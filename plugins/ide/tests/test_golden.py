"""Exchanges recorded from an interface nobody here wrote, replayed against both personalities of the model.

golden/*.json come from QEMU's piix3-ide (`tests/real/golden.py` says what the steps mean, `exchanges.py` what the host
does).  Every value QEMU gave is compared; where a personality differs on purpose, `DIFFERENCES` says what it gives, and
why; where the strict one refuses what QEMU lets pass, `STRICTER`.
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

from ddsdk.errors import HardwareFault
from ddsdk.sim.ata_drive import AtaDrive, AtaIdentity
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import Extent, PhysicalMemory
from ddsdk.sim.pci import SimPciFunction
from ddsdk_ide.chips import PIIX3
from ddsdk_ide.model import build
from ddsdk_ide.model_personality import QEMU, REAL, Personality

GOLDEN = Path(__file__).parents[1] / "golden"
EXCHANGES = sorted(path.stem for path in GOLDEN.glob("*.json"))
RAM_BYTES = 16 << 20
#: What the exchanges use: table, data.
GRANTED = (0x10_0000, 0x50_0000)
#: A port access on ISA terms; more than BSY needs to show, and than SRST has to be set.
ACCESS_NS = 10_000
POLL_LIMIT_NS = 100_000_000
#: QEMU's drive wakes up like this.
IDENTITY = AtaIdentity(power_on_multiple=16)

Step = Sequence[Any]


@frozen
class Difference:
    """What the model says where QEMU said something else, and why that is right."""

    ours: str
    because: str


_ABORTED = "no host protected area: the drive aborts it"
_DSC = "an error leaves DSC as it was"
_IDNF = "IDNF, and the first sector that is not there"
_TABLE = "nothing of the table was used: the bus master is active still"
_OWN = "the drive has its own name and abilities"
_SRST = "SRST clears the device register"
#: Of both personalities: (exchange, label of the step) -> what the model says instead
_COMMON: Mapping[tuple[str, str], Difference] = {
    ("identify", "IDENTIFY data"): Difference("99b4c8db", _OWN),
    ("settings", "IDLE IMMEDIATE: status"): Difference("50", "no command takes DSC away"),
    ("settings", "READ NATIVE MAX: error"): Difference("04", _ABORTED),
}
#: ... of one of them.
DIFFERENCES: Mapping[str, Mapping[tuple[str, str], Difference]] = {
    "qemu": {**_COMMON, ("settings", "READ NATIVE MAX: status"): Difference("41", _ABORTED)},
    "real": {
        **_COMMON,
        ("settings", "READ NATIVE MAX: status"): Difference("51", _ABORTED),
        ("settings", "unknown feature: status"): Difference("51", _DSC),
        ("dma-48", "HOB after DMA"): Difference("00", "both bytes of the count go down"),
        ("errors", "unknown command: status"): Difference("51", _DSC),
        ("errors", "past the end: status"): Difference("51", _DSC),
        ("errors", "past the end: error"): Difference("10", _IDNF),
        ("errors", "past the end: LBA low"): Difference("00", _IDNF),
        ("errors", "past the end: LBA mid"): Difference("00", _IDNF),
        ("errors", "past the end: LBA high"): Difference("02", _IDNF),
        ("errors", "past the end: bus master"): Difference("05", _TABLE),
        ("multiple-refused", "SET MULTIPLE 3: status"): Difference("51", _DSC),
        ("multiple-refused", "SET MULTIPLE 200: status"): Difference("51", _DSC),
        ("multiple-refused", "WRITE MULTIPLE, mode off: status"): Difference("51", _DSC),
        ("power-on", "power-on: error"): Difference("01", "the diagnostic code is there after power-on, too"),
        ("power-on", "power-on: device"): Difference("00", "no bit is set that the standard does not name"),
        ("power-on", "absent slave: LBA mid"): Difference("00", "drive 0 answers for drive 1"),
        ("power-on", "absent slave: LBA high"): Difference("00", "drive 0 answers for drive 1"),
        ("power-on", "empty channel"): Difference("7f", "nobody drives the cable, which pulls DD7 down"),
        ("soft-reset", "after SRST: device"): Difference("00", _SRST),
        ("slave-selected", "while SRST is set"): Difference("80", "SRST selects drive 0"),
        ("slave-selected", "just after SRST"): Difference("80", "SRST selects drive 0"),
        ("interrupt-pending", "after SRST: device"): Difference("00", _SRST),
        ("reset-in-a-read", "after SRST: device"): Difference("00", _SRST),
    },
}
#: Where the personality `real` does not go on: what is said then.
STRICTER: Mapping[str, str] = {
    "short-table": "at rest'.: the register stays 0x58",        # the drive waits for the rest of its data
    "bus-master-off": "at rest'.: the register stays 0x58",     # ... for all of it
    "undefined": "COMMAND <- 0xe5 while STATUS of drive 0 is 0x58",
}


@define
class Replay:
    """A PIIX3 with an empty disk, and the steps taken so far."""

    machine: Machine
    function: SimPciFunction
    personality: Personality
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
        memory = self.machine.memory
        if kind in ("put", "fill", "get", "sum"):
            at = int(where, 16)
            if kind == "put":
                memory.write(at, bytes.fromhex(rest[0]))
            elif kind == "fill":
                memory.write(at, pattern(*rest))
            elif kind == "get":
                self.compare(name, memory.read(at, len(rest[0]) // 2).hex(), *rest)
            else:
                self.compare(name, f"{zlib.crc32(memory.read(at, rest[0])):08x}", *rest[1:])
        elif kind == "config":
            self.function.config_write(int(where, 16), 2, int(rest[0], 16))
        else:
            self.access(name, kind, where, *rest)

    def access(self, name: str, kind: str, where: str, *rest: Any) -> None:
        """A step at a port."""
        bar, _, offset = where.rpartition("+")
        window, at = self.function.window(int(bar or "0")), int(offset, 16)
        if kind == "out":
            window.write(at, len(rest[0]) // 2, int(rest[0], 16))
        elif kind == "in":
            size = len(rest[0]) // 2
            self.compare(name, f"{window.read(at, size):0{2 * size}x}", *rest)
        elif kind == "poll":
            mask, wanted = int(rest[0], 16), int(rest[1], 16)
            end_ns = self.machine.clock.now_ns + POLL_LIMIT_NS
            while (value := window.read(at, 1)) & mask != wanted:
                assert self.machine.clock.now_ns < end_ns, f"the register stays {value:#04x}"
                self.machine.clock.advance(ACCESS_NS)
        elif kind == "outs":
            data = pattern(2 * rest[0], rest[1])
            for n in range(0, len(data), 2):
                window.write(at, 2, int.from_bytes(data[n:n + 2], "little"))
        elif kind == "ins":
            data = b"".join(window.read(at, 2).to_bytes(2, "little") for _ in range(rest[0]))
            self.compare(name, f"{zlib.crc32(data):08x}", *rest[1:])
        else:
            raise ValueError(f"{name}: unknown step {kind!r}")
        self.machine.clock.advance(ACCESS_NS)

    def compare(self, name: str, ours: str, theirs: str, label: str = "") -> None:
        """Equal to QEMU's value, or to the difference allowed for this step."""
        allowed = DIFFERENCES[self.personality.name].get((name, label)) if label else None
        if allowed is None or ours == theirs:
            assert ours == theirs, f"the model gives {ours}, QEMU gave {theirs}"
            return
        self.used.add((name, label))
        assert ours == allowed.ours, f"the model gives {ours}, DIFFERENCES says {allowed.ours}"


def pattern(length: int, seed: int) -> bytes:
    """The bytes of a "fill" step."""
    return bytes((i * 31 + i // 256 + seed) % 256 for i in range(length))


def load(name: str) -> dict[str, Any]:
    """One recorded exchange."""
    return cast("dict[str, Any]", json.loads((GOLDEN / f"{name}.json").read_text()))


@pytest.fixture(params=[QEMU, REAL], ids=lambda personality: personality.name)
def replay(request: pytest.FixtureRequest) -> Iterator[Replay]:
    """An interface after power-on, decoding and bus mastering on, the exchange's memory granted."""
    yield from replaying(request.param)


def replaying(personality: Personality) -> Iterator[Replay]:
    """The same of one personality."""
    disk_bytes = load(EXCHANGES[0])["disk_bytes"]
    ram = Extent(0, memoryview(mmap.mmap(-1, RAM_BYTES)))
    with Machine(PhysicalMemory([ram])) as machine:
        disk = Disk(memoryview(mmap.mmap(-1, disk_bytes)))
        function = machine.pci.plug(build(PIIX3, machine, {(0, 0): AtaDrive(disk, IDENTITY)}, personality))
        function.config_write(0x04, 2, 0x5)
        function.config_write(0x40, 4, 0x8000_8000)         # as firmware leaves it; QEMU does not care
        function.dma_grant(GRANTED[0], GRANTED[1] - GRANTED[0])
        yield Replay(machine, function, personality)


def test_the_exchanges_are_there() -> None:
    """A replay of nothing would prove nothing."""
    assert {"power-on", "soft-reset", "identify", "write-sectors", "multiple", "dma-28", "dma-48", "short-table",
            "errors"} <= set(EXCHANGES)
    assert all("QEMU" in load(name)["recorded"] for name in EXCHANGES)


@pytest.mark.parametrize("name", EXCHANGES)
def test_the_model_answers_as_qemu_did(name: str, replay: Replay) -> None:
    """Register values and data are equal, but for the listed differences, all met."""
    if replay.personality is REAL and name in STRICTER:
        with pytest.raises((HardwareFault, AssertionError), match=STRICTER[name]):
            replay.run(name)
        return
    replay.run(name)
    chain = {name, *load(name)["after"]}
    assert replay.used == {key for key in DIFFERENCES[replay.personality.name] if key[0] in chain}


@pytest.mark.parametrize("kind", ["in", "ins", "sum"])
def test_one_wrong_bit_is_noticed(kind: str) -> None:
    """A recorded value that is off by one bit fails the replay, and the step is named."""
    name, earlier = ("dma-28", ()) if kind == "sum" else ("read-sectors", ("write-sectors",))
    steps = load(name)["steps"]
    value_at = {"in": 2, "ins": 3, "sum": 3}[kind]
    step = next(step for step in steps if step[0] == kind)
    step[value_at] = step[value_at][:-1] + f"{int(step[value_at][-1], 16) ^ 1:x}"
    for replay in replaying(QEMU):
        for first in ("soft-reset", *earlier):
            replay.run_steps(first, load(first)["steps"])
        with pytest.raises(AssertionError, match=rf"^altered, step \d+ \['{kind}', .*the model gives"):
            replay.run_steps("altered", steps)
