"""Functions that do not answer, around one that would."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ddsdk.bus import PCI_BASE_ADDRESS_0, PCI_COMMAND, PCI_COMMAND_MASTER, PCI_VENDOR_ID
from ddsdk.conformance.bench import Bench
from ddsdk.conformance.check import Setup
from ddsdk.conformance.deaf import NotDecoding, Removed
from ddsdk.conformance.load import plans_for
from ddsdk.helperlib.kernel import PciDev


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An adapter that nobody drives."""
    with Bench.build(plans_for("mptfusion", chip="sas1068")[0], Setup(probe=False)) as built:
        yield built


def test_decoding_cannot_be_switched_on(bench: Bench) -> None:
    """Everything else of COMMAND can; registers read all ones, configuration space answers."""
    function = NotDecoding(bench.function)
    pdev = PciDev(bench.kernel, function)
    assert bench.kernel.pci_enable_device(pdev) == 0
    bench.kernel.pci_set_master(pdev)
    assert function.config_read(PCI_COMMAND, 2) == PCI_COMMAND_MASTER
    assert function.config_read(PCI_VENDOR_ID, 2) == bench.plan.model.chip.vendor
    bars = [n for n, bar in enumerate(function.bars) if bar is not None]
    assert [function.window(n).read(0, 4) for n in bars] == [0xFFFFFFFF] * len(bars)
    assert (function.name, function.irq_line) == (bench.function.name, bench.function.irq_line)


def test_other_registers_of_configuration_space_are_written(bench: Bench) -> None:
    """Only COMMAND loses bits."""
    NotDecoding(bench.function).config_write(PCI_BASE_ADDRESS_0, 4, 0xC000)
    assert bench.function.config_read(PCI_BASE_ADDRESS_0, 4) & 0xFFFC == 0xC000


def test_memory_is_lent_as_ever(bench: Bench) -> None:
    """What a driver maps before it finds out."""
    function = NotDecoding(bench.function)
    assert function.dma_map([(0x1000, 512)], True) == [(0x1000, 512)]
    assert bench.lent == ["512 bytes at 0x1000"]
    function.dma_unmap([(0x1000, 512)], True)
    assert function.dma_grant(0x2000, 64) == 0x2000
    function.dma_revoke(0x2000, 64)
    assert bench.lent == []


def test_removed_answers_nothing(bench: Bench) -> None:
    """All ones of every size, and writes are lost."""
    pdev = bench.pdev
    pdev.function = Removed(bench.function)
    assert bench.kernel.pci_enable_device(pdev) == -5
    assert [pdev.function.config_read(0, size) for size in (1, 2, 4)] == [0xFF, 0xFFFF, 0xFFFFFFFF]
    pdev.function.config_write(PCI_COMMAND, 2, 7)
    assert bench.function.config_read(PCI_COMMAND, 2) == 0
