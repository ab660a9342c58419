"""Probe: from whatever state, to an adapter that takes commands; what it refuses; the requests it sends for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ddsdk.bus import PCI_COMMAND
from ddsdk.helperlib.kernel import Kernel, PciDev
from ddsdk.scsi.scan import scan_host
from ddsdk_ipr.adapter import FIRST_PORT, LATER, BlockLayout
from ddsdk_ipr.chips import CHIPS, REGISTERS
from ddsdk_ipr.model_core import State
from ddsdk_ipr.regs import IprRegsL1, IprRegsL2
from plugins.ipr.tests.driver_rig import (
    ALL,
    CITRINE,
    GEMSTONE,
    SNIPE,
    ChipProfile,
    Make,
    Rig,
    S,
    chip_named,
    refusal,
)


@ALL
def test_probe_finds_the_disk(make: Make, chip: ChipProfile) -> None:
    """Card, firmware, one disk at 0:0:0; open for commands, interrupts unmasked but TO_OPER, four HCAMs pending."""
    rig = make(chip).probe()
    assert (rig.ioa.type, rig.ioa.firmware) == (int(chip.card, 16), 0x02020B44)
    assert [(sdev.channel, sdev.id, sdev.lun, sdev.vendor, sdev.online) for sdev in scan_host(rig.shost)] == [
        (0, 0, 0, "DDSDK", True)]
    assert (rig.read("MASK"), rig.model.state) == (0xFFFFFFFF & ~0x1C00001A, State.READY)
    assert [block.index for block in rig.ioa.blocks if block.pending] == [100, 101, 102, 103]
    assert rig.log(f"card {chip.card}, firmware 02020B44, 1 devices")


def test_limits(make: Make) -> None:
    """What the host template and the host say."""
    host = make().probe().shost
    assert (host.can_queue, host.cmd_per_lun, host.sg_tablesize, host.max_sectors) == (100, 6, 64, 512)
    assert (host.this_id, host.max_id, host.max_lun, host.max_channel) == (-1, 16, 256, 4)


def test_pci_set_up(make: Make) -> None:
    """Memory and mastering on, 32-bit DMA, cache line 20, PCI-X recovery and reordering on."""
    rig = make().probe()
    function = rig.function
    assert function.config_read(PCI_COMMAND, 2) & 0x6 == 0x6
    assert (function.config_read(0x0C, 1), function.config_read(0x42, 2)) == (0x20, 0x0003)
    assert rig.pdev.dma_mask == 0xFFFFFFFF
    assert len(rig.ioa.pci_cfg_buf) == 64


def sent(rig: Rig) -> list[str]:
    """CDBs of the adapter's own requests, as they are fetched from here on; filled by whoever probes."""
    seen: list[str] = []
    requests = rig.model.requests
    fetch = requests._fetch

    def watched(request: object) -> None:
        fetch(request)  # type: ignore[arg-type]
        kind, cdb = request.type, request.cdb  # type: ignore[attr-defined]
        seen.append(f"{kind:02x} {cdb[0]:02x} {cdb[1]:02x} {cdb[2]:02x} {cdb[7]:02x}{cdb[8]:02x}")
    requests._fetch = watched  # type: ignore[method-assign]
    return seen


def test_start_sequence(make: Make) -> None:
    """hw-ipr.md section 6.2, steps 5 to 14, by type and CDB bytes 0, 1, 2, 7, 8."""
    rig = make()
    seen = sent(rig)
    rig.probe()
    rig.machine.clock.advance(10_000)
    assert seen[0].startswith("01 c4 00")
    assert seen[0].endswith("01cc")
    assert seen[1:] == [
        "00 12 00 00 0000", "00 12 01 03 0000", "01 c5 00 00 3004", "00 1a 00 28 0000", "00 15 11 00 0000",
        "01 fb 00 00 002c", "02 cf 02 00 0800", "02 cf 02 00 0800", "02 cf 01 00 0800", "02 cf 01 00 0800"]


def test_first_request_is_vector_d(make: Make) -> None:
    """ID HRRQ by index 114, handle FFFFFFFF, no data; the address is the queue's."""
    rig = make()
    blocks: list[bytes] = []
    requests = rig.model.requests
    fetch = requests._fetch

    def watched(request: object) -> None:
        if not blocks:
            blocks.append(rig.machine.memory.read(request.address, 128))  # type: ignore[attr-defined]
        fetch(request)  # type: ignore[arg-type]
    requests._fetch = watched  # type: ignore[method-assign]
    rig.probe()
    block, ioa = blocks[0], rig.ioa
    assert block[8:16].hex() == "ffffffff000001c8"
    assert block[0x3E] == 1
    assert block[0x42:0x4B] == bytes((0xC4, 0)) + ioa.hrrq_bus_addr.to_bytes(4) + bytes.fromhex("0001cc")
    assert not any(block[28:36])
    assert (block[40:44], block[48:52]) == (bytes(4), bytes(4))


def test_page_28_refused_is_no_reason(make: Make) -> None:
    """05240000 on MODE SENSE: MODE SELECT is left out."""
    rig = make()
    seen = sent(rig)
    rig.model.faults.inject("page28-refused")
    rig.probe()
    assert "00 15 11 00 0000" not in seen
    assert rig.ioa.allow_cmds


def test_a_runtime_start_says_so(make: Make) -> None:
    """After the first start that worked: C2800000."""
    rig = make(trace=True).probe()
    assert rig.host_reset() == 0x2002
    starts = [record.fields[1] for record in rig.machine.trace if record.kind == "write"
              and record.fields[0] == "UPROC_SET" and int(record.fields[1]) & 0x80000000]   # type: ignore[arg-type]
    assert [int(start) for start in starts] == [0x82800000, 0xC2800000]                     # type: ignore[arg-type]


# -- states it is found in -------------------------------------------------------------------------------------


def started(rig: Rig) -> None:
    """Firmware or BIOS started it: TO_OPER waits."""
    rig.kernel.pci_enable_device(rig.pdev)
    rig.write("UPROC_SET", 0x82800000)
    rig.machine.clock.advance(S)


def alerted(rig: Rig) -> None:
    """Somebody announced a reset that never came."""
    rig.kernel.pci_enable_device(rig.pdev)
    rig.write("UPROC_SET", 0x01000000)


def failed(rig: Rig) -> None:
    """An error bit is up."""
    rig.kernel.pci_enable_device(rig.pdev)
    rig.write("IOARRIN", 0)


def unit_checked(rig: Rig) -> None:
    """The firmware failed before."""
    started(rig)
    rig.model.enter_unit_check()


@pytest.mark.parametrize(("bring", "bists"), [(lambda rig: None, 0), (started, 0), (alerted, 1), (failed, 1),
                                              (unit_checked, 2)],
                         ids=["power on", "started", "alerted", "failed", "unit check"])
def test_from_any_state(make: Make, bring: Callable[[Rig], None], bists: int) -> None:
    """As many resets as it takes: none when nobody used it; two after a unit check, whose buffer is read between."""
    rig = make(trace=True)
    bring(rig)
    rig.probe()
    assert rig.ioa.allow_cmds
    assert sum(record.kind == "reset" for record in rig.machine.trace) == bists
    assert rig.log("PRC 12345678") == (bring is unit_checked)


def test_from_another_kernels_hands(make: Make) -> None:
    """A kernel that used it is gone: HRRQ_UPD is unmasked, and it is reset."""
    rig = make(trace=True).probe()
    rig.kernel.halt()
    rig.kernel = Kernel(rig.machine)
    rig.pdev = PciDev(rig.kernel, rig.function)
    rig.probe()
    assert sum(record.kind == "reset" for record in rig.machine.trace) == 1
    assert rig.log("somebody used it before; resetting")
    assert rig.sdev.online


# -- faults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["start-step-fails", "start-step-hung", "never-operational", "operational-slow",
                                   "unit-check", "xfer-fail", "mmio-err"])
def test_one_strike_at_probe(make: Make, fault: str) -> None:
    """The reset job is begun again, and ends well."""
    rig = make()
    rig.model.faults.inject(fault)
    rig.probe()
    assert (rig.ioa.allow_cmds, rig.ioa.reset_retries) == (True, 0)
    assert fault in rig.model.faults.struck


@pytest.mark.parametrize(("fault", "tries", "seconds"), [("never-operational", 4, 1200), ("start-step-fails", 4, 0),
                                                         ("bist-fails", 3, 0), ("start-step-hung", 4, 120)])
def test_for_ever_at_probe(make: Make, fault: str, tries: int, seconds: int) -> None:
    """Three retries, then the adapter is given up: a DeviceError, in bounded time."""
    rig = make(trace=True)
    rig.kernel.pci_enable_device(rig.pdev)
    if fault == "bist-fails":
        alerted(rig)
    rig.model.faults.inject(fault, times=0)
    assert refusal(rig).endswith("give up on this adapter")
    assert rig.model.faults.struck[fault] >= tries
    assert seconds <= rig.machine.clock.now_ns / S < seconds + 20
    assert rig.log("given up after 4 resets that failed")


def test_an_adapter_that_is_gone(make: Make) -> None:
    """All ones."""
    rig = make()
    rig.model.faults.inject("all-ones")
    assert refusal(rig)


@pytest.mark.parametrize("name", ["citrine", "snipe"])
def test_another_chip_than_named(make: Make, name: str) -> None:
    """The ids are compared first."""
    rig = make(GEMSTONE)
    rig.chip = {"citrine": CITRINE, "snipe": SNIPE}[name]
    assert "PCI ids 1069:b166 are not those of" in refusal(rig)


def test_removed_before_probe(make: Make) -> None:
    """Configuration space does not answer."""
    rig = make()
    rig.function.remove()
    assert "does not answer configuration cycles" in refusal(rig)


@pytest.mark.parametrize("layout", [FIRST_PORT, LATER], ids=["2.0.11", "2.0.11.6"])
@ALL
def test_both_layouts_of_a_block(make: Make, chip: ChipProfile, layout: BlockLayout) -> None:
    """The first port's blocks do as well: without autosense, with every descriptor outside."""
    rig = make(chip).probe(layout)
    data = rig.fill(0x100000, 4096)
    assert rig.run(rig.rw(True, 8)).result == 0
    assert rig.on_disk(8, 4096) == data


def test_a_volume_set_is_found(make: Make) -> None:
    """On channel 4; its member disk is nobody's."""
    rig = make(SNIPE, at=(0xFF, 2)).probe()
    assert [(sdev.channel, sdev.id) for sdev in scan_host(rig.shost)] == [(4, 2)]
    assert sorted(rig.ioa.resources) == [(1, 2, 0), (4, 2, 0)]


def test_register_layouts() -> None:
    """By chip, as hw-ipr.md section 1 has them."""
    assert {name: 2 if regs is IprRegsL2 else 1 for name, regs in REGISTERS.items()} == {
        "gemstone": 1, "citrine": 1, "snipe": 2, "scamp": 2, "obsidian": 1, "obsidian-adaptec": 1, "obsidian-e": 1,
        "scamp-e": 2}
    assert REGISTERS["gemstone"] is IprRegsL1
    assert chip_named(CHIPS[0].name).vendor == 0x1069
