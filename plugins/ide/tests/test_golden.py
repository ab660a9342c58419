"""Exchanges recorded from an interface nobody here wrote, replayed against both personalities of the model.

golden/*.json come from QEMU's piix3-ide (`ddsdk.testing.golden` says what the steps mean, `exchanges.py` what the host
does).  Every value QEMU gave is compared; where a personality differs on purpose, `DIFFERENCES` says what it gives, and
why; where the strict one refuses what QEMU lets pass, `STRICTER`.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ddsdk.errors import HardwareFault
from ddsdk.sim.ata_drive import AtaDrive, AtaIdentity
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.testing import Difference, Exchanges, Replay
from ddsdk_ide.chips import PIIX3
from ddsdk_ide.model import build
from ddsdk_ide.model_personality import QEMU, REAL, Personality
from plugins.ide.tests.driver_rig import PERSONALITIES

EXCHANGES = Exchanges(Path(__file__).parents[1] / "golden")
#: What the exchanges use: table, data.
GRANTED = (0x10_0000, 0x50_0000)
#: A port access on ISA terms; more than BSY needs to show, and than SRST has to be set.
ACCESS_NS = 10_000
#: QEMU's drive wakes up like this.
IDENTITY = AtaIdentity(power_on_multiple=16)

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


@pytest.fixture
def replaying() -> Iterator[Callable[[Personality], Replay]]:
    """Makes an interface after power-on, decoding and bus mastering on, the exchange's memory granted."""
    machines: list[Machine] = []

    def make(personality: Personality) -> Replay:
        machines.append(machine := Machine(PhysicalMemory.anonymous(16 << 20)))
        disk = Disk(memoryview(mmap.mmap(-1, EXCHANGES.load("identify")["disk_bytes"])))
        function = machine.pci.plug(build(PIIX3, machine, {(0, 0): AtaDrive(disk, IDENTITY)}, personality))
        function.config_write(0x04, 2, 0x5)
        function.config_write(0x40, 4, 0x8000_8000)         # as firmware leaves it; QEMU does not care
        function.dma_grant(GRANTED[0], GRANTED[1] - GRANTED[0])
        return Replay(machine, function, EXCHANGES, DIFFERENCES[personality.name], access_ns=ACCESS_NS,
                      poll_step_ns=ACCESS_NS, poll_limit_ns=100_000_000)

    yield make
    for machine in machines:
        machine.close()


def test_the_exchanges_are_there() -> None:
    """A replay of nothing would prove nothing."""
    assert {"power-on", "soft-reset", "identify", "write-sectors", "multiple", "dma-28", "dma-48", "short-table",
            "errors"} <= set(EXCHANGES.names)
    assert all("QEMU" in EXCHANGES.load(name)["recorded"] for name in EXCHANGES.names)


@PERSONALITIES
@pytest.mark.parametrize("name", EXCHANGES.names)
def test_the_model_answers_as_qemu_did(name: str, personality: Personality,
                                       replaying: Callable[[Personality], Replay]) -> None:
    """Register values and data are equal, but for the listed differences, all met."""
    replay = replaying(personality)
    if personality is REAL and name in STRICTER:
        with pytest.raises((HardwareFault, AssertionError), match=STRICTER[name]):
            replay.run(name)
        return
    replay.run(name)


@pytest.mark.parametrize("kind", ["in", "ins", "sum"])
def test_one_wrong_bit_is_noticed(kind: str, replaying: Callable[[Personality], Replay]) -> None:
    """A recorded value that is off by one bit fails the replay, and the step is named."""
    name = "dma-28" if kind == "sum" else "read-sectors"
    assert replaying(QEMU).altered(name, kind).startswith(f"{name}, step ")
