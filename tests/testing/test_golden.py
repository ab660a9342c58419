"""The replay of recorded exchanges, on a device that remembers what is written."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ddsdk.regs import Reg32, RegBlock, rw
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.model import HwModel
from ddsdk.sim.pci import BarSpec, SimPciFunction
from ddsdk.testing import Difference, Exchanges, Replay
from ddsdk.testing.golden import pattern


class Regs(RegBlock, size=0x10, byte_access=True):
    """Two registers."""

    FIRST = Reg32.at(0x00, rw)
    SECOND = Reg32.at(0x04, rw)


class Device(HwModel):
    """SECOND is 7 a little after FIRST was written."""

    regs = Regs

    def w_FIRST(self, value: Reg32) -> None:
        """Begin."""
        self.store("FIRST", value)
        self.clock.after_ns(50_000, self.values.__setitem__, "SECOND", 7)


BASE = [["config", "04", "0007"], ["out", "0", "00000001"], ["poll", "4", "0000000f", "00000007"]]
WHOLE = [["put", "1000", "0102"], ["get", "1000", "0102"], ["fill", "2000", 64, 3],
         ["sum", "2000", 64, f"{zlib.crc32(pattern(64, 3)):08x}", "the pattern"], ["in", "0+4", "00000007", "seven"],
         ["in", "0", "00000001"], ["outs", "0", 2, 5], ["ins", "0", 2, f"{zlib.crc32(2 * pattern(4, 5)[2:]):08x}"]]


@pytest.fixture
def exchanges(tmp_path: Path) -> Exchanges:
    """Two recordings, one behind the other."""
    for name, after, steps in (("base", [], BASE), ("whole", ["base"], WHOLE)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"recorded": "by hand", "after": after, "steps": steps}))
    return Exchanges(tmp_path)


def replay(exchanges: Exchanges, differences: Mapping[tuple[str, str], Difference] | None = None) -> Replay:
    """On a device of its own."""
    machine = Machine(PhysicalMemory.anonymous(1 << 20))
    function = machine.pci.plug(SimPciFunction(Device(), vendor=1, device=2, bars={0: BarSpec("mem", 0x10)}))
    return Replay(machine, function, exchanges, differences or {})


def test_every_kind_of_step(exchanges: Exchanges) -> None:
    """Those before it come first; a poll lets time pass."""
    assert exchanges.names == ["base", "whole"]
    assert exchanges.chain("whole") == ["base", "whole"]
    one = replay(exchanges)
    one.run("whole")
    assert one.machine.clock.now_ns >= 50_000


@pytest.mark.parametrize("kind", ["in", "get", "sum", "ins"])
def test_one_wrong_bit_is_noticed(exchanges: Exchanges, kind: str) -> None:
    """The step is named, with both values."""
    said = replay(exchanges).altered("whole", kind)
    assert said.startswith("whole, step ")
    assert f"['{kind}', " in said
    assert "the model gives " in said


def test_a_difference_is_allowed_where_it_is_declared(exchanges: Exchanges) -> None:
    """With the model's value, no other."""
    steps: list[Any] = [["in", "4", "00000009", "nine"]]
    for ours, said in (("00000007", ""), ("00000008", "the difference says 00000008")):
        one = replay(exchanges, {("whole", "nine"): Difference(ours, "it counts otherwise")})
        one.run("base")
        if said:
            with pytest.raises(AssertionError, match=said):
                one.run_steps("whole", steps)
        else:
            one.run_steps("whole", steps)
            assert one.used == {("whole", "nine")}


def test_a_difference_that_is_none_is_out_of_date(exchanges: Exchanges) -> None:
    """The model gives what was recorded."""
    one = replay(exchanges, {("whole", "seven"): Difference("00000008", "once")})
    with pytest.raises(AssertionError, match=r"remove \[\('whole', 'seven'\)\]"):
        one.run("whole")


def test_a_register_that_never_changes_ends_the_poll(exchanges: Exchanges) -> None:
    """In bounded virtual time."""
    one = replay(exchanges)
    one.run("base")
    with pytest.raises(AssertionError, match="the register stays 0x07"):
        one.run_steps("more", [["poll", "4", "0000000f", "00000001"]])


def test_an_unknown_step_is_an_error(exchanges: Exchanges) -> None:
    """Not something to be skipped."""
    with pytest.raises(ValueError, match="unknown step 'jump'"):
        replay(exchanges).run_steps("whole", [["jump", "0", "1"]])
