"""Probe: from every state, each revision, each way to the registers; what the chip is told; what is refused."""

from __future__ import annotations

import attrs
import pytest

from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE
from ddsdk.sim.pci import BarSpec
from ddsdk_aic79xx import model, model_control
from ddsdk_aic79xx.ahd import Addressing
from ddsdk_aic79xx.chips import Bug, Feature, bugs_of, features_of
from ddsdk_aic79xx.model import AIC7901, AIC7902, AIC7902A, ChipProfile
from ddsdk_aic79xx.regs import CfgRegs, CommonRegs, Mode, Scratch, ScsiRegs
from plugins.aic79xx.tests.driver_rig import DATA, EACH, HIGH, Make, Rig, refusal


def values(rig: Rig, mode: int, *names: str) -> list[int]:
    """What the host wrote into registers of a bank."""
    return [rig.model.banks[mode].values[name] for name in names]


@EACH
def test_up_and_its_disk_found(make: Make, chip: ChipProfile) -> None:
    """Probe, scan, a sector: the disk answers under its id and nobody else does; the transfer agreement is its best."""
    rig = make(chip).probe()
    assert [sdev.id for sdev in (rig.sdev,)] == [0]
    assert rig.shost.max_id == 16
    rig.take_over()
    data = rig.fill(DATA, 4096)
    assert rig.run(rig.rw(True, 16, [(DATA, 4096)])).result == 0
    assert rig.on_disk(16, 4096) == data
    curr = rig.ahd.targets[0].curr
    disk = chip.disk
    assert (curr.period, curr.offset, curr.width) == (disk.period, disk.offset, 1)
    assert curr.packetized == bool(disk.options & 1)


def test_the_chip_is_told_everything(make: Make) -> None:
    """Registers of chip init, by bank, as the notes have them; coalescing is set up and left off."""
    rig = make().probe()
    assert values(rig, Mode.CFG, "LUNPTR", "CMDLENPTR", "ATTRPTR", "FLAGPTR", "CMDPTR", "QNEXTPTR", "ABRTBITPTR",
                  "ABRTBYTEPTR", "LUNLEN", "CDBLIMIT", "MAXCMD", "SCBAUTOPTR", "MULTARGID") == [
        0x14, 0x16, 0x15, 0x17, 0x00, 0x2C, 0x04, 0x12, 0x0F, 0x7F, 0xFF, 0x90, 0]
    assert values(rig, Mode.CFG, "DFF_THRSH", "SIMODE3", "OPTIONMODE", "SCSCHKN", "LQOSCSCTL", "LQIMODE1", "LQOMODE0",
                  "LQOMODE1") == [0x44, 0x03, 0x52, 0x32, 0x01, 0xFF, 0x07, 0]
    assert values(rig, Mode.CFG, "SIMODE0", "DSPDATACTL") == [0x6C, 0x86]       # nobody was selected yet
    assert values(rig, Mode.SCSI, "IOWNID", "TOWNID", "SXFRCTL0") == [7, 7, 0x80]
    assert (rig.model.scsi.sxfrctl1, rig.model.scsi.simode1, rig.model.scsi.seq1) == (0x27, 0xA4, 0x12)
    for mode in (Mode.DFF0, Mode.DFF1):
        assert values(rig, mode, "SEQIMODE", "SG_STATE") == [0x3F, 0]
    get = rig.model.get
    assert [get(Scratch.INT_COALESCING_TIMER), get(Scratch.INT_COALESCING_MAXCMDS),
            get(Scratch.INT_COALESCING_MINCMDS), get(Scratch.LOCAL_HS_MAILBOX)] == [10, 0xF6, 0xFB, 0]
    assert [get(one) for one in (Scratch.WAITING_TID_HEAD, Scratch.COMPLETE_SCB_HEAD,
                                 Scratch.COMPLETE_DMA_SCB_HEAD)] == [0xFF00] * 3
    assert get(Scratch.NEXT_QUEUED_SCB_ADDR) == rig.ahd.reserved.busaddr
    assert rig.model.constant("SCB_TRANSFER_SIZE") == 48
    assert {rig.model.slot(tag)[0x12] for tag in range(129)} == {0x10}


def test_rev_a_is_told_something_else(make: Make) -> None:
    """LUNs of eight bytes, no new I/O cell, the bit bucket behind the output queue, 56 bytes of an SCB."""
    rig = make(AIC7902A).probe()
    assert values(rig, Mode.CFG, "LUNPTR", "LUNLEN", "OPTIONMODE", "LQOSCSCTL", "SIMODE0") == [0x30, 7, 0x42, 0, 0x0C]
    assert rig.model.scsi.sxfrctl1 & 0x18 == 0x08
    assert rig.model.constant("SCB_TRANSFER_SIZE") == 56
    assert rig.model.constant("PKT_OVERRUN_BUFOFFSET") == 4


def test_rev_a_is_reset_again_after_rst(make: Make) -> None:
    """Its own RST spoils it: reset, RST, reset; Rev B needs one."""
    def resets(chip: ChipProfile) -> int:
        rig = make(chip, trace=True).probe()
        return [record.fields for record in rig.machine.trace if record.kind == "write"].count(("HCNTRL", 5))
    assert resets(AIC7902A) == resets(AIC7902) + 1


def test_the_first_selection_stops_once(make: Make) -> None:
    """New I/O cell: SELDO interrupts; then the bypass is switched off and the mask goes back."""
    rig = make().probe()
    assert rig.ahd.iocell_due
    assert rig.sdev
    assert not rig.ahd.iocell_due
    assert values(rig, Mode.CFG, "SIMODE0", "DSPDATACTL") == [0x0C, 0x06]


# -- states ----------------------------------------------------------------------------------------------------


def running(rig: Rig) -> None:
    """Another driver's program runs, and holds a command."""
    rig.probe()
    rig.queue(rig.command(cdb.inquiry(36), DMA_FROM_DEVICE, [(DATA, 36)], rig.known_disk()))
    rig.kernel.free_irq(rig.pdev, rig.ahd)
    rig.kernel.del_timer(rig.ahd.reset_timer)


def in_reset(rig: Rig) -> None:
    """Somebody wrote CHIPRST and went away."""
    rig.kernel.pci_enable_device(rig.pdev)
    rig.function.window(1).write(CommonRegs.HCNTRL.offset, 1, 0x01)


def unacknowledged(rig: Rig) -> None:
    """The same, and the acknowledge will take its time."""
    in_reset(rig)
    rig.machine.clock.advance(1_000_000)


def hardware_error(rig: Rig) -> None:
    """The program lost its way."""
    running(rig)
    rig.model.hardware_error(0x08)


def frozen(rig: Rig) -> None:
    """A bad status that nobody fetched."""
    running(rig)
    rig.model.sequencer.freeze()


@EACH
@pytest.mark.parametrize("state", [running, in_reset, unacknowledged, hardware_error, frozen],
                         ids=lambda state: state.__name__)
def test_from_any_state(make: Make, chip: ChipProfile, state: object) -> None:
    """A probe makes of whatever it finds a chip that works."""
    rig = make(chip)
    state(rig)                                          # type: ignore[operator]
    rig.probe()
    rig.known_disk()
    rig.done.clear()
    rig.run(rig.tur())
    assert rig.run(rig.tur()).result == 0


# -- ways to the registers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("chip", [AIC7901, AIC7902A], ids=["rev B", "rev A"])
def test_by_io_where_memory_does_not_work(make: Make, chip: ChipProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory window: both I/O windows; HNSCB_QOFF is one access of 16 bits there, too."""
    monkeypatch.setattr(model, "BARS", {0: BarSpec("io", 0x100, "low"), 3: BarSpec("io", 0x100, "high")})
    rig = make(chip).probe()
    assert not rig.ahd.by_memory
    rig.known_disk()
    rig.run(rig.tur())
    assert rig.run(rig.tur()).result == 0


def test_rev_a_on_pci_x_uses_io(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory window does not work there; Rev B's does."""
    monkeypatch.setattr(model, "_DEVCONFIG", (0x00002004).to_bytes(4, "little") + bytes(4))
    assert not make(AIC7902A).probe().ahd.by_memory
    rig = make(AIC7902).probe()
    assert rig.ahd.by_memory
    assert values(rig, Mode.CFG, "PCIXCTL") == [0x08]


def test_no_window_at_all(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, with what is missing."""
    monkeypatch.setattr(model, "BARS", {0: BarSpec("io", 0x100, "low")})
    assert "neither a memory window nor two I/O windows" in refusal(make())


@pytest.mark.parametrize("addressing", [Addressing.BITS_39, Addressing.BITS_64])
def test_data_above_4_gib(make: Make, addressing: Addressing) -> None:
    """Elements of 8 and of 16 bytes."""
    rig = make(high=True).probe(addressing)
    rig.known_disk()
    rig.run(rig.tur())
    data = rig.fill(HIGH + 0x1000, 8192)
    sg = [(HIGH + 0x1000, 4096), (HIGH + 0x2000, 4096)]
    assert rig.run(rig.rw(True, 0, sg)).result == 0
    assert rig.on_disk(0, 8192) == data
    assert rig.model.constant("SG_SIZEOF") == (8 if addressing is Addressing.BITS_39 else 16)


def test_a_board_without_dual_address_cycles(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """DEVCONFIG.DACEN clear: 32 bits, and the mask says so."""
    monkeypatch.setattr(model, "_DEVCONFIG", (0x0000E000).to_bytes(4, "little") + bytes(4))
    rig = make().probe()
    assert rig.ahd.addressing is Addressing.BITS_32
    assert rig.pdev.dma_mask == 0xFFFFFFFF


# -- refusals ----------------------------------------------------------------------------------------------------


def test_revisions_before_3_are_refused(make: Make) -> None:
    """And switched off."""
    rig = make(attrs.evolve(AIC7902A, revision=2))
    assert "revision 2 of the chip; this driver knows 3 and later" in refusal(rig)
    assert rig.function.config_read(4, 2) == 0


def test_another_chip_is_refused(make: Make) -> None:
    """The PCI ids are not those of the chip that was named."""
    rig = make(attrs.evolve(AIC7901, chip=attrs.evolve(AIC7901.chip, device=0x8017)))
    assert "9005:8017 are not those of aic7901 (9005:8000)" in refusal(rig)


def test_the_hostraid_strap_does_not_matter(make: Make) -> None:
    """Bit 0080 of the device id."""
    rig = make(attrs.evolve(AIC7901, chip=attrs.evolve(AIC7901.chip, device=0x8080))).probe()
    assert rig.ahd.active
    assert bugs_of(0x8080, 0x10) == bugs_of(0x8000, 0x10)


def test_a_chip_that_does_not_come_out_of_reset(make: Make) -> None:
    """Two tries of a second each, then a reason."""
    rig = make()
    rig.model.faults.inject("reset-hangs", times=0)
    assert "CHIPRSTACK" in refusal(rig)
    assert 2_000_000_000 <= rig.machine.clock.now_ns < 4_000_000_000


def test_a_chip_that_is_not_there(make: Make) -> None:
    """All ones: no wait."""
    rig = make()
    rig.model.faults.inject("adapter-gone")
    assert "give up on this adapter" in refusal(rig)
    assert rig.machine.clock.now_ns < 2_000_000_000


def test_fewer_scbs_than_512(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots that are mirrors of others are found by the probe of the SCB memory."""
    scbptr = model_control.ChipControl.scbptr
    monkeypatch.setattr(model_control.ChipControl, "scbptr", lambda core, mode: scbptr(core, mode) & 0x7F)
    assert "fewer than 512 on-chip SCBs" in refusal(make())


# -- tables ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("device", "bugs"), [
    (0x8000, Bug.LQO_OVERRUN), (0x801E, Bug.LQO_OVERRUN), (0x801D, Bug.LQO_OVERRUN | Bug.INTCOLLISION),
    (0x8010, Bug.LQO_OVERRUN | Bug.INTCOLLISION), (0x8014, Bug.LQO_OVERRUN), (0x8017, Bug.LQO_OVERRUN)])
def test_bugs_of_rev_b(device: int, bugs: Bug) -> None:
    """The 7902 alone has colliding interrupts; 8014 and 8017 are a 7901A and a 7901 by their boards."""
    assert bugs_of(device, 0x10) == bugs


def test_bugs_and_features_of_rev_a() -> None:
    """Revisions 3 to F."""
    for revision in (0x03, 0x0F):
        assert bugs_of(0x801F, revision) & Bug.SENT_RST
        assert not features_of(revision) & Feature.NEW_IOCELL
    assert features_of(0x10) & Feature.NEW_IOCELL


def test_registers_read_back_after_the_probe(make: Make) -> None:
    """The chip runs, in its own mode, nothing pending, INTEN on in normal mode."""
    rig = make().probe()
    assert rig.function.window(1).read(CommonRegs.HCNTRL.offset, 1) == 0x02
    assert rig.model.mode == 0x22
    assert rig.model.intstat == 0
    assert CfgRegs.SIMODE0.offset == ScsiRegs.SSTAT0.offset
