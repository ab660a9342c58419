"""One flipped bit in the driver's code, a held FreeQlock: the dump refuses that device and takes the next."""

from __future__ import annotations

import ctypes
import dis
from collections.abc import Iterator
from pathlib import Path

import pytest

import ddsdk_mptfusion.sgl as victim
from ddsdk.abi import X86_64
from ddsdk.diskdump.format import format_device
from ddsdk.diskdump.target import DumpTarget
from ddsdk.diskdump.writer import Stage
from ddsdk.integrity import Region
from ddsdk.registry import discover
from ddsdk.rig import Rig
from ddsdk.sim.machine import Trigger
from ddsdk.target import Target
from ddsdk.vmcore.source import open_source


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Two mptfusion adapters with a formatted disk each, 2 MiB of memory, two CPUs."""
    targets = []
    for name in ("first.img", "second.img"):
        path = tmp_path / name
        path.write_bytes(bytes(8 << 20))
        format_device(DumpTarget(str(path)), abi=X86_64)
        targets.append(Target("mptfusion", str(path)))
    with open_source("synthetic:2M,cpus=2") as source, Rig.build(source, targets, discover("mptfusion")) as built:
        yield built


def test_both_are_sane_when_nothing_is_wrong(rig: Rig) -> None:
    """The control: the first device takes the dump, nobody is refused."""
    report = rig.crash_and_dump()
    assert report.device == str(rig.adapters[0].target)
    assert report.rejections == ()


def test_a_held_FreeQlock_refuses_the_device(rig: Rig) -> None:
    """A CPU frozen with FreeQlock held: -EBUSY from the sanity check, the second adapter takes the dump."""
    first = rig.adapters[0]
    ioc = first.host.hostdata.ioc
    kernel = rig.kernel

    def hold() -> None:
        kernel.spin_lock(ioc.FreeQlock)
        kernel.udelay(10_000)

    rig.machine.spawn(1, hold, "holder")
    rig.machine.run(for_ns=1_000_000)
    report = rig.dump(rig.machine.crash(Trigger.NMI_SWITCH))
    assert report.device == str(rig.adapters[1].target)
    (rejection,) = report.rejections
    assert (rejection.device, rejection.stage) == (str(first.target), Stage.SANITY)
    assert "EBUSY" in rejection.reason


def test_a_held_host_lock_refuses_the_device(rig: Rig) -> None:
    """The mid-layer's own check: host_lock held by a frozen CPU."""
    kernel, host = rig.kernel, rig.adapters[0].host

    def hold() -> None:
        kernel.spin_lock(host.host_lock)
        kernel.udelay(10_000)

    rig.machine.spawn(1, hold, "holder")
    rig.machine.run(for_ns=1_000_000)
    report = rig.dump(rig.machine.crash(Trigger.NMI_WATCHDOG))
    assert report.device == str(rig.adapters[1].target)
    assert "host_lock is held" in report.rejections[0].reason


def test_one_flipped_bit_in_the_drivers_code(rig: Rig) -> None:
    """A bit of the byte code that really runs, flipped in memory: every device of that driver is refused, by name."""
    function = next(value for value in vars(victim).values()
                    if callable(value) and getattr(value, "__module__", "") == victim.__name__
                    and hasattr(value, "__code__"))
    code = function.__code__
    start = id(code) + type(code).__basicsize__     # the instructions follow the object's fixed part
    instructions = (ctypes.c_ubyte * len(code.co_code)).from_address(start)
    place = next(at for at in range(2, len(instructions), 2) if instructions[at] == dis.opmap["LOAD_FAST"]) + 1
    instructions[place] ^= 1
    try:
        report = rig.crash_and_dump()
    finally:
        instructions[place] ^= 1
    assert report.device is None
    assert [r.stage for r in report.rejections] == [Stage.SANITY, Stage.SANITY]
    for rejection in report.rejections:
        assert "checksum error" in rejection.reason
        assert victim.__name__ in rejection.reason


def test_one_flipped_bit_in_a_declared_memory_region(tmp_path: Path) -> None:
    """White paper 2.1: code *and data*.  A region of memory is compared at the crash; damage ends the dump."""
    path = tmp_path / "d.img"
    path.write_bytes(bytes(8 << 20))
    format_device(DumpTarget(str(path)), abi=X86_64)
    table = bytearray(b"dump state" * 100)
    with (open_source("synthetic:2M") as source,
          Rig.build(source, [Target("mptfusion", str(path))], discover("mptfusion"),
                    regions=[Region("dump state", lambda: memoryview(table))]) as built):
        table[517] ^= 0x20
        report = built.crash_and_dump()
    assert report.device is None
    assert report.rejections[0].stage is Stage.CORE_CHECK
    assert "dump state" in report.rejections[0].reason
