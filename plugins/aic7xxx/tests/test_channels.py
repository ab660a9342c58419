"""An AIC-7899: two functions, two hosts, one package."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import pytest

from ddsdk.helperlib.kernel import Kernel, PciDev
from ddsdk.scsi.cmnd import DID_RESET, SUCCESS, host_byte
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk_aic7xxx.model import AIC7899, build
from plugins.aic7xxx.tests.driver_rig import DATA, DISK_ID, PAGE, Rig


@pytest.fixture
def channels() -> Iterator[tuple[Rig, Rig]]:
    """Both channels of one package probed, a disk on each."""
    machine = Machine(PhysicalMemory.anonymous(8 << 20))
    kernel = Kernel(machine)
    images = [memoryview(mmap.mmap(-1, Rig.disk_bytes)) for _ in range(2)]
    drives = [Disk(image) for image in images]
    build(machine, {(n, DISK_ID): ScsiTarget(drive) for n, drive in enumerate(drives)}, AIC7899)
    first, second = (Rig(machine, kernel, function, PciDev(kernel, function), AIC7899, drive, image)
                     for function, drive, image in zip(machine.pci.functions, drives, images, strict=True))
    first.probe_only()
    second.probe()
    yield first, second
    machine.close()


def test_the_second_function_follows_the_first_into_its_slot(channels: tuple[Rig, Rig]) -> None:
    """Same slot, function 1, same ids, its own BARs; its SCB RAM bank is its own."""
    first, second = channels
    assert (first.pdev.name, second.pdev.name) == ("0000:00:04.0", "0000:00:04.1")
    assert second.function.config_read(0, 4) == 0x00C09005
    assert first.kernel.pci_resource_start(first.pdev, 1) != second.kernel.pci_resource_start(second.pdev, 1)
    assert (first.value("SCBBADDR"), second.value("SCBBADDR")) == (0, 1)
    assert first.model.slots is not second.model.slots


def test_both_channels_work_at_the_same_time(channels: tuple[Rig, Rig]) -> None:
    """Thirty writes each, interleaved, every byte on its own disk."""
    first, second = channels
    for rig in channels:
        rig.attention()
    scmds = []
    for n in range(30):
        for rig, seed in ((first, 1), (second, 2)):
            at = DATA + PAGE * (2 * n + seed)
            rig.fill(at, PAGE, seed * 40 + n)
            scmds.append((rig, rig.rw(True, 8 * n, [(at, PAGE)])))
    for rig, scmd in scmds:
        rig.queue(scmd)
    first.machine.run(until=lambda: all(scmd.done for _, scmd in scmds), for_ns=1_000_000_000)
    assert {scmd.result for _, scmd in scmds} == {0}
    memory = first.machine.memory
    for rig, seed in ((first, 1), (second, 2)):
        want = b"".join(memory.read(DATA + PAGE * (2 * n + seed), PAGE) for n in range(30))
        assert rig.on_disk(0, 30 * PAGE) == want


def test_a_reset_of_one_channel_is_none_of_the_other(channels: tuple[Rig, Rig]) -> None:
    """Chip reset and RST of a function leave the other's commands, slots and targets alone."""
    first, second = channels
    for rig in channels:
        rig.attention()
    victim, other = first.rw(True, 0), second.rw(True, 0)
    first.queue(victim)
    second.queue(other)
    assert first.host_reset() == SUCCESS
    first.machine.run(for_ns=10_000_000)
    assert (host_byte(victim.result), other.result) == (DID_RESET, 0)


def test_a_dump_through_the_second_channel(channels: tuple[Rig, Rig]) -> None:
    """The first one, left as the crash found it, does not disturb it."""
    first, second = channels
    first.attention()
    first.queue(*(first.rw(True, 8 * n) for n in range(40)))
    second.take_over()
    data = second.fill(DATA, PAGE, 5)
    assert second.run(second.rw(True, 64)).result == 0
    assert second.on_disk(64, PAGE) == data
    assert second.hooks.shutdown(second.sdev) == 0
