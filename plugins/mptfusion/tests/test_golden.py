"""Exchanges recorded from an adapter nobody here wrote, replayed against the SAS1068 model.

golden/*.json come from QEMU's mptsas1068 (`ddsdk.testing.golden` says what the steps mean).  Every
value QEMU gave is compared; where the model differs on purpose, `DIFFERENCES` says what it gives, and why.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ddsdk.bus import PCI_COMMAND
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.testing import Difference, Exchanges, Replay
from ddsdk_mptfusion.model import SAS1068, build

EXCHANGES = Exchanges(Path(__file__).parents[1] / "golden")
#: What the exchanges use: request frame, chain buffer, reply frames, sense, data.
GRANTED = (0x20_0000, 0x41_0000)

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


@pytest.fixture
def replay() -> Iterator[Replay]:
    """An adapter after power-on, decoding and bus mastering on, the exchange's memory granted."""
    with Machine(PhysicalMemory.anonymous(16 << 20)) as machine:
        disk = Disk(memoryview(mmap.mmap(-1, EXCHANGES.load("bring-up")["disk_bytes"])))
        function = build(machine, {(0, 0): ScsiTarget(disk)}, SAS1068)
        function.config_write(PCI_COMMAND, 2, 0x7)
        function.dma_grant(GRANTED[0], GRANTED[1] - GRANTED[0])
        yield Replay(machine, function, EXCHANGES, DIFFERENCES, bar=1, poll_step_ns=100_000_000)


def test_the_exchanges_are_there() -> None:
    """A replay of nothing would prove nothing."""
    assert {"bring-up", "unit-attention", "inquiry", "read-write", "out-of-range", "absent-target",
            "target-reset", "fault-0008"} <= set(EXCHANGES.names)
    assert all("QEMU" in EXCHANGES.load(name)["recorded"] for name in EXCHANGES.names)


@pytest.mark.parametrize("name", EXCHANGES.names)
def test_the_model_answers_as_qemu_did(name: str, replay: Replay) -> None:
    """Register values, reply frames, sense and data are equal, but for the listed differences, all met."""
    replay.run(name)


@pytest.mark.parametrize("kind", ["in", "get", "sum"])
def test_one_wrong_bit_is_noticed(kind: str, replay: Replay) -> None:
    """A recorded value that is off by one bit fails the replay, and the step is named."""
    name = "read-write" if kind == "sum" else "unit-attention"
    assert replay.altered(name, kind).startswith(f"{name}, step ")
