"""Probe: what is accessed and set, what is refused, what happens when the chip does not play along."""

from __future__ import annotations

import attrs
import pytest

from ddsdk.errors import DeviceError, RegisterAccessFault
from ddsdk.helperlib.kernel import Kernel, PciDev
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.trace import TraceRecord
from ddsdk_aic7xxx.agreement import ASYNC_NARROW
from ddsdk_aic7xxx.chips import CHIPS
from ddsdk_aic7xxx.driver import ahc_linux_pci_dev_probe
from ddsdk_aic7xxx.model import AIC7892, AIC7899, ChipProfile
from plugins.aic7xxx.tests.driver_rig import BOTH, DISK_ID, Make, Rig, refusal


@BOTH
def test_the_chip_is_set_up_as_the_document_says(make: Make, chip: ChipProfile) -> None:
    """Registers and scratch RAM after the bring-up, the sequencer running."""
    rig = make(chip).probe_only()
    ahc, values = rig.ahc, rig.model.values
    assert {name: values[name] for name in (
        "SXFRCTL1", "SIMODE0", "SCSIID_ULTRA2", "SCSISEQ", "SCSISEQ_TEMPLATE", "SEQCTL", "QOFF_CTLSTA", "HNSCB_QOFF",
        "SNSCB_QOFF", "SDSCB_QOFF", "WAITING_SCBH", "DISCONNECTED_SCBH", "FREE_SCBH", "MSG_OUT", "DFF_THRSH",
        "CRCCONTROL1", "OPTIONMODE", "SFUNCT", "SCBBADDR", "NEXT_QUEUED_SCB", "HS_MAILBOX")} == {
        "SXFRCTL1": 0x27, "SIMODE0": 0x08, "SCSIID_ULTRA2": 7, "SCSISEQ": 0x12, "SCSISEQ_TEMPLATE": 0x5A,
        "SEQCTL": 0x10, "QOFF_CTLSTA": 6, "HNSCB_QOFF": 0, "SNSCB_QOFF": 0, "SDSCB_QOFF": 0, "WAITING_SCBH": 0xFF,
        "DISCONNECTED_SCBH": 0xFF, "FREE_SCBH": 0, "MSG_OUT": 0x08, "DFF_THRSH": 0x77, "CRCCONTROL1": 0x78,
        "OPTIONMODE": 0x5B, "SFUNCT": 0, "SCBBADDR": 0, "NEXT_QUEUED_SCB": 64, "HS_MAILBOX": 0}
    assert [values[f"BUSY_TARGETS[{n}]"] for n in range(16)] == [0xFF] * 16
    assert [values[f"CMDSIZE_TABLE[{n}]"] for n in range(8)] == [5, 9, 9, 0, 15, 11, 0, 0]
    assert rig.model.scratch32("HSCB_ADDR") == ahc.memory.hscbs.bus_addr
    assert rig.model.scratch32("SHARED_DATA_ADDR") == ahc.memory.shared.bus_addr
    assert bytes(ahc.memory.shared.view) == b"\xff" * 512
    assert ahc.scb_count == 32
    assert rig.read("HCNTRL") == 0x02                       # running, interrupts enabled


def test_configuration_space(make: Make) -> None:
    """Bus mastering, dual address cycles, no parity errors of ours; 39 bits of address."""
    rig = make().probe_only()
    assert rig.function.config_read(0x40, 4) == 0x80000004
    assert rig.function.config_read(0x04, 2) & 0x7 == 0x7
    assert rig.pdev.dma_mask == (1 << 39) - 1


def test_the_host_has_the_limits_of_the_chip(make: Make) -> None:
    """Wide bus, our id 7, 64 commands, lists of 127 segments, sixteen-byte commands."""
    shost = make().probe_only().shost
    assert (shost.max_id, shost.max_lun, shost.this_id, shost.can_queue, shost.sg_tablesize, shost.max_sectors,
            shost.max_cmd_len) == (16, 8, 7, 64, 127, 8192, 16)


def test_the_program_is_loaded_with_the_chip_paused(make: Make) -> None:
    """LOADRAM on, fifteen instructions of four bytes, LOADRAM off, then the restart at 0."""
    rig = make(trace=True).probe_only()

    def name(record: TraceRecord) -> object:
        return record.fields[0]

    writes = [record for record in rig.machine.trace if record.kind == "write"]
    bytes_ = [record for record in writes if name(record) == "SEQRAM"]
    assert len(bytes_) == 60
    seqctl = [record.fields[1] for record in writes if name(record) == "SEQCTL"]
    assert seqctl == [0x80, 0xA0, 0xB1, 0xB0, 0x10]
    assert not rig.model.program_bad


def test_commands_wait_until_the_bus_has_settled(make: Make) -> None:
    """Five seconds after the attach's bus reset, by a timer; before that the adapter is frozen."""
    rig = make().probe_only()
    scmd = rig.tur()
    assert rig.queue(scmd) == 0
    rig.machine.run(for_ns=4_900_000_000)
    assert (scmd.done, rig.ahc.qfrozen, rig.value("HNSCB_QOFF")) == (False, 1, 0)
    rig.machine.run(for_ns=300_000_000)
    assert (scmd.done, rig.ahc.qfrozen) == (True, 0)


def test_nobody_has_an_agreement_at_first(make: Make) -> None:
    """The bring-up resets the bus: asynchronous and narrow, to be negotiated."""
    rig = make().probe_only()
    assert all(target.curr == ASYNC_NARROW and target.negotiate for target in rig.ahc.targets)
    assert rig.model.bus.ports[DISK_ID].target.units[0]._attention


@BOTH
def test_the_disk_is_found(make: Make, chip: ChipProfile) -> None:
    """By interrupts; fourteen ids answer no selection, 256 ms each."""
    rig = make(chip).probe().scan()
    assert (rig.sdev.id, rig.sdev.nr_sectors, rig.sdev.tagged_supported) == (DISK_ID, 16384, True)
    assert 14 * 0.256 < (rig.machine.clock.now_ns - 5_100_000_000) / 1e9 < 14 * 0.256 + 0.2


# -- another chip, another board -------------------------------------------------------------------------------


def test_other_ids_are_refused(make: Make) -> None:
    """Told that it is an AIC-7899, the probe looks."""
    rig = make(AIC7892)
    with pytest.raises(DeviceError, match="9005:0080 are not those of aic7899"):
        ahc_linux_pci_dev_probe(rig.pdev, AIC7899.chip)


def test_a_part_behind_a_raid_controller_is_refused(make: Make) -> None:
    """Low nibble 5 of the device id."""
    raid = attrs.evolve(AIC7892, chip=attrs.evolve(CHIPS[0], device=0x0085))
    assert "belongs to a RAID controller" in refusal(make(raid))


@pytest.mark.parametrize(("subdevice", "refused"), [
    (0xF620, False), (0xE620, True), (0xE62F, False), (0x00C0, False)])
def test_a_second_function_that_leads_nowhere_is_refused(make: Make, subdevice: int, refused: bool) -> None:
    """A card without the multi-function bit in its subsystem id; motherboards and untold ones are believed."""
    rig = make(attrs.evolve(AIC7899, subsystem=(0x9005, subdevice)), channel=1)
    if refused:
        assert "has one channel, this is the chip's second" in refusal(rig)
    else:
        rig.probe_only()


# -- a chip that does not play along ---------------------------------------------------------------------------


class Deaf:
    """A window nobody answers behind."""

    size = 0x1000

    def read(self, offset: int, size: int) -> int:
        return (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        pass


def test_where_memory_does_not_work_io_does(make: Make) -> None:
    """BAR 1 gives all ones: the registers are reached through BAR 0."""
    rig = make()
    window = type(rig.function).window

    class HalfDeaf:
        def __getattr__(self, name: str) -> object:
            return getattr(rig.function, name)

        def window(self, bar: int) -> object:
            return Deaf() if bar == 1 else window(rig.function, bar)

    rig.pdev.function = HalfDeaf()  # type: ignore[assignment]
    rig.probe()
    assert rig.ahc.chip.kind == "io"
    assert rig.run(rig.tur()).done
    with pytest.raises(RegisterAccessFault):
        rig.kernel.readb(rig.ahc.chip, 0x87)


def test_nobody_answers(make: Make) -> None:
    """Neither way: one line."""
    rig = make()
    rig.inject("adapter-gone")
    assert "registers do not read back" in refusal(rig)


@pytest.mark.parametrize("aborts", [False, True])
def test_a_target_abort_in_the_access_test(make: Make, aborts: bool) -> None:
    """STATUS says that an access was aborted: not believed, though the bytes were right."""
    rig = make()
    assert isinstance(rig.function, SimPciFunction)
    read = rig.function.config_read
    if aborts:
        rig.function.config_read = (  # type: ignore[method-assign]
            lambda offset, size: 0x08 if offset == 0x07 and size == 1 else read(offset, size))
        assert "registers do not read back" in refusal(rig)
    else:
        rig.probe_only()


def test_a_reset_without_an_end_is_given_up(make: Make) -> None:
    """Three tries of five seconds; the memory goes back."""
    rig = make()
    rig.inject("reset-hangs", times=0)
    began_ns = rig.machine.clock.now_ns
    assert "does not come out of its reset, 3 times tried" in refusal(rig)
    assert rig.machine.clock.now_ns - began_ns == 15_000_000_000
    assert rig.function.dma is not None
    assert rig.function.dma.grants == []


def test_a_reset_that_hangs_once_is_tried_again(make: Make) -> None:
    """And a slow one is waited for."""
    rig = make()
    rig.inject("reset-hangs")
    rig.inject("reset-slow", after=1)
    rig.probe()
    assert rig.run(rig.tur()).done
    assert sum("the chip reset is not over after 5000 ms" in line for line in rig.kernel.log) == 1


def test_a_bus_that_does_not_settle_is_no_error(make: Make) -> None:
    """SBLKCTL never says which: half a second, then on."""
    rig = make()
    rig.inject("transceiver-unsettled")
    began_ns = rig.machine.clock.now_ns
    rig.probe_only()
    assert (rig.machine.clock.now_ns - began_ns) // 1_000_000 == 501


def test_a_chip_somebody_left_running_is_taken_over(make: Make) -> None:
    """Interrupts pending, a command under way: paused, tested, reset."""
    rig = make().probe()
    rig.queue(rig.tur())
    rig.machine.clock.advance(1_000_000)
    assert rig.model.intstat == 0x61
    rig.kernel.halt()
    kernel = Kernel(rig.machine)
    second = Rig(rig.machine, kernel, rig.function, PciDev(kernel, rig.function), rig.chip, rig.disk, rig.image)
    second.probe()
    assert second.attention().run(second.rw(True, 8)).result == 0
