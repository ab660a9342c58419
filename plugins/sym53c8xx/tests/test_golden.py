"""Exchanges recorded from a chip nobody here wrote, replayed against the 53C895A model.

golden/*.json come from QEMU's lsi53c895a (`ddsdk.testing.golden` says what the steps mean, `exchanges.py` what the
host does).  Every value QEMU gave is compared; where the model differs on purpose, `DIFFERENCES` says what it gives.
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
from ddsdk_sym53c8xx.model import LSI53C895A, build

EXCHANGES = Exchanges(Path(__file__).parents[1] / "golden")
#: What the exchanges use: SCRIPTS, messages, table, data.
GRANTED = (0x20_0000, 0x41_0000)
#: Between two accesses; more than the 12 clocks that reads of SIST0, SIST1 and DSTAT have to be apart.
ACCESS_NS = 1_000

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


@pytest.fixture
def replay() -> Iterator[Replay]:
    """A chip after power-on, decoding and bus mastering on, the exchange's memory granted."""
    with Machine(PhysicalMemory.anonymous(16 << 20)) as machine:
        disk = Disk(memoryview(mmap.mmap(-1, EXCHANGES.load("registers")["disk_bytes"])))
        function = build(machine, {(0, 0): ScsiTarget(disk)}, LSI53C895A)
        function.config_write(PCI_COMMAND, 2, 0x7)
        function.dma_grant(GRANTED[0], GRANTED[1] - GRANTED[0])
        yield Replay(machine, function, EXCHANGES, DIFFERENCES, bar=1, access_ns=ACCESS_NS, poll_limit_ns=2_000_000_000)


def test_the_exchanges_are_there() -> None:
    """A replay of nothing would prove nothing."""
    assert {"registers", "dispatched", "table", "absent", "intfly", "register-moves",
            "bus-reset"} <= set(EXCHANGES.names)
    assert all("QEMU" in EXCHANGES.load(name)["recorded"] for name in EXCHANGES.names)


@pytest.mark.parametrize("name", EXCHANGES.names)
def test_the_model_answers_as_qemu_did(name: str, replay: Replay) -> None:
    """Register values, messages, sense and data are equal, but for the listed differences, all met."""
    replay.run(name)


@pytest.mark.parametrize("kind", ["in", "get", "sum"])
def test_one_wrong_bit_is_noticed(kind: str, replay: Replay) -> None:
    """A recorded value that is off by one bit fails the replay, and the step is named."""
    assert replay.altered("dispatched", kind).startswith("dispatched, step ")
