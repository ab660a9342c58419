"""Faults as the host's registers show them: the rows of the error table."""

from __future__ import annotations

import pytest

from ddsdk.errors import HardwareFault
from ddsdk_aic79xx.model import AIC7902, ChipProfile
from ddsdk_aic79xx.model_faults import FAULTS, HARDWARE_ERRORS, SEQUENCER_INTERRUPTS, STATUS
from ddsdk_aic79xx.regs import CfgRegs, CommonRegs, DffRegs, Mode, ModeRegs, Scratch, ScsiRegs
from plugins.aic79xx.tests import vectors as v
from plugins.aic79xx.tests.chip_host import AIC7901, LISTS, PACKETS, RESERVED, SHARED, ChipHost, Make
from plugins.aic79xx.tests.test_model_bus import post, say
from plugins.aic79xx.tests.test_model_queue import queue

#: What an idle chip shows once the fault has struck: INTSTAT, and registers by (mode, name).
IDLE: dict[str, tuple[int, dict[tuple[int, str], int]]] = {
    **{name: (0x80, {(0, "ERROR"): bits}) for name, bits in HARDWARE_ERRORS.items()},
    **{name: (0x04, {(0, "SEQINTCODE"): code}) for name, code in SEQUENCER_INTERRUPTS.items()},
    "transceiver-change": (0x08, {(3, "SSTAT0"): 0x08}),
    "offset-overrun": (0x08, {(3, "SSTAT0"): 0x04}),
    "foreign-bus-reset": (0x08, {(3, "SSTAT1"): 0x28}),
    "pci-error": (0x10, {(4, "PCISTAT[0]"): 0x01}),
    "scsi-ram-parity": (0x08, {(3, "SSTAT3"): 0x02}),
    "lqo-error": (0x08, {(3, "LQOSTAT0"): 0x01}),
    "lqi-phase-change": (0x08, {(3, "LQISTAT1"): 0x40}),
    "lqi-crc-alone": (0x08, {(3, "LQISTAT1"): 0x08}),
    "spurious-scsiint": (0x08, {(3, "SSTAT0"): 0x00, (3, "SSTAT1"): 0x08}),
}


def register(chip: ChipHost, mode: int, name: str) -> int:
    """A register by its name, as *mode* shows it."""
    chip.mode(mode)
    for block in (CommonRegs, ScsiRegs, CfgRegs):
        for one in block.registers:
            if one.name == name:
                return chip.r(one)
    raise KeyError(name)


def enable_all(chip: ChipHost) -> None:
    """Every cause of SCSIINT interrupts."""
    chip.pause()
    mode = chip.r(CommonRegs.MODE_PTR)
    chip.mode(Mode.CFG)
    for mask in (CfgRegs.LQIMODE1, CfgRegs.LQOMODE0, CfgRegs.SIMODE3):
        chip.w(mask, 0x7F if mask is not CfgRegs.SIMODE3 else 0x03)
    chip.w(CommonRegs.MODE_PTR, mode)
    chip.go()


@pytest.mark.parametrize("fault", IDLE)
def test_in_the_idle_loop(chip: ChipHost, fault: str) -> None:
    """As an SCB waits to be fetched: the interrupt, its cause, a sequencer that stands still, nothing fetched."""
    enable_all(chip)
    intstat, shown = IDLE[fault]
    chip.chip.faults.inject(fault)
    queue(chip, (1, 3))
    assert chip.interrupt() == intstat
    assert chip.r(CommonRegs.HCNTRL) & 0x04
    assert {key: register(chip, *key) for key in shown} == shown
    assert chip.chip.snscb == 0
    assert chip.chip.faults.struck == {fault: 1}


def test_a_split_error_stops_nothing(chip: ChipHost) -> None:
    """SPLTINT; the command completes all the same."""
    chip.chip.faults.inject("split-error")
    queue(chip, (1, 3))
    assert chip.until(lambda: chip.r(CommonRegs.INTSTAT) == 0x03)


def test_a_pause_that_does_not_come(chip: ChipHost) -> None:
    """HCNTRL.PAUSE has no effect while the fault is armed; the next one works."""
    chip.chip.faults.inject("pause-stuck")
    chip.w(CommonRegs.HCNTRL, 0x04)
    chip.advance(10_000)
    assert not chip.r(CommonRegs.HCNTRL) & 0x04
    chip.pause()


def test_a_reset_that_hangs(chip: ChipHost) -> None:
    """CHIPRSTACK never comes; another reset works."""
    chip.chip.faults.inject("reset-hangs")
    chip.w(CommonRegs.HCNTRL, 0x01)
    chip.advance(2_000_000)
    assert not chip.r(CommonRegs.HCNTRL) & 0x01
    chip.bring_up()


def test_a_chip_that_is_gone(chip: ChipHost) -> None:
    """All ones from every window, whatever the size; writes are lost."""
    chip.chip.faults.inject("adapter-gone")
    assert chip.r(CommonRegs.INTSTAT) == 0xFF
    assert chip.window.read(CommonRegs.HNSCB_QOFF.offset, 2) == 0xFFFF
    chip.w(CommonRegs.HCNTRL, 0x01)
    chip.advance(10_000)
    assert chip.r(CommonRegs.HCNTRL) == 0xFF


def test_a_program_that_hangs_is_woken_by_a_restart(chip: ChipHost) -> None:
    """No turn of the idle loop; SEQRESET lets it run again."""
    chip.chip.faults.inject("sequencer-hung")
    queue(chip, (1, 3))
    chip.advance(10_000)
    assert (chip.r(CommonRegs.INTSTAT), chip.chip.snscb) == (0, 0)
    chip.pause()
    chip.restart()
    assert chip.interrupt() == 0x02


def test_a_critical_section_stops_where_it_says(chip: ChipHost) -> None:
    """CURADDR at the pause."""
    chip.chip.faults.inject("critical-section", address=30)
    queue(chip, (1, 3))
    chip.pause()
    chip.mode(Mode.SCSI)
    assert chip.r(ScsiRegs.CURADDR) == 30


# -- completions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "entries", "intstat"), [
    ("completion-lost", b"\0\0", 0x00), ("completion-duplicate", b"\x01\x80\x01\x80", 0x02),
    ("completion-foreign", b"\xff\x81\x01\x80", 0x02), ("cmdcmplt-lost", b"\x01\x80", 0x00)])
def test_entries_of_the_output_queue(chip: ChipHost, fault: str, entries: bytes, intstat: int) -> None:
    """Lost, twice, somebody else's, without its interrupt."""
    chip.chip.faults.inject(fault)
    queue(chip, (1, 3))
    chip.advance(10_000)
    assert chip.peek(SHARED, len(entries)) == entries
    assert chip.r(CommonRegs.INTSTAT) == intstat


def test_an_entry_that_comes_late(chip: ChipHost) -> None:
    """Held on COMPLETE_SCB for so long."""
    chip.chip.faults.inject("completion-late", ns=50_000_000)
    queue(chip, (1, 3))
    chip.advance(40_000)
    assert chip.peek(SHARED, 2) == bytes(2)
    chip.advance(20_000)
    assert chip.peek(SHARED, 2) == b"\x01\x80"


def test_an_entry_that_comes_again(chip: ChipHost) -> None:
    """The last one once more, as the next SCB waits to be fetched."""
    queue(chip, (1, 3))
    chip.interrupt()
    chip.chip.faults.inject("completion-stale")
    queue(chip, (2, 3))
    assert chip.until(lambda: chip.peek(SHARED, 6) == b"\x01\x80\x01\x80\x02\x80")


@pytest.mark.parametrize("fault", ["completion-lost", "completion-duplicate"])
def test_code_1a_lost_or_twice(chip: ChipHost, fault: str) -> None:
    """A bad status whose report does not come, or comes twice; frozen in either case."""
    chip.target.reset()
    chip.chip.faults.inject(fault)
    queue(chip, (1, 3))
    if fault == "completion-lost":
        chip.advance(10_000)
        assert chip.r(CommonRegs.INTSTAT) == 0
    else:
        for _ in range(2):
            assert chip.seqint() == 0x1A
            chip.go(Mode.CCHAN)
    assert chip.chip.get(Scratch.QFREEZE_COUNT) == 1


def test_a_hung_command_is_the_one_that_was_announced(chip: ChipHost) -> None:
    """Its SCB is fetched and goes nowhere; taken back before, it takes its fate along."""
    chip.chip.faults.inject("command-hung")
    queue(chip, (1, 3), (2, 3))
    assert chip.until(lambda: chip.peek(SHARED, 2) == b"\x02\x80")
    assert chip.chip.snscb == 2
    chip.chip.faults.inject("command-hung")
    chip.pause()
    queue(chip, (3, 3))
    chip.hnscb -= 1
    chip.window.write(CommonRegs.HNSCB_QOFF.offset, 2, chip.hnscb)
    chip.go(chip.r(CommonRegs.MODE_PTR) & 7)
    queue(chip, (4, 3))
    assert chip.until(lambda: chip.peek(SHARED + 2, 2) == b"\x04\x80")


# -- on the bus ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", STATUS)
def test_a_status(chip: ChipHost, fault: str) -> None:
    """The command is not carried out; its status comes with code 1A."""
    chip.chip.faults.inject(fault)
    queue(chip, (1, 3))
    assert chip.seqint() == 0x1A
    assert chip.slot(1)[0x08] == STATUS[fault]


def test_selection_timeout_of_a_disk_that_is_there(chip: ChipHost) -> None:
    """SELTO, once."""
    chip.chip.faults.inject("selection-timeout")
    queue(chip, (1, 3))
    assert chip.interrupt() == 0x08
    assert register(chip, Mode.SCSI, "SSTAT1") & 0x80


@pytest.mark.parametrize(("fault", "agreement", "lastphase", "sstat2"), [
    ("busfree-at-identify", None, 0xA0, 0x00), ("busfree-at-command", None, 0x80, 0x00),
    ("busfree-at-data", None, 0x40, 0x00), ("lqo-busfree", PACKETS, 0x01, 0x40),
    ("busfree-in-data", PACKETS, 0x01, 0x80)])
def test_the_bus_goes_free(chip: ChipHost, fault: str, agreement: object, lastphase: int, sstat2: int) -> None:
    """SSTAT1.08 interrupts; LASTPHASE and BUSFREETIME say where; LQOBUSFREE for a packet on its way out."""
    enable_all(chip)
    if agreement is not None:
        chip.agree(PACKETS)
    chip.chip.faults.inject(fault)
    chip.poke(LISTS + 0xC00, v.V0)
    chip.queue(v.V1, RESERVED)
    assert chip.interrupt() == 0x08
    assert register(chip, Mode.SCSI, "SSTAT1") & 0x08
    assert chip.r(Scratch.LASTPHASE) == lastphase
    assert chip.r(ScsiRegs.SSTAT2) & 0xC0 == sstat2
    assert chip.r(ScsiRegs.LQOSTAT1) & 0x02 == (0x02 if fault == "lqo-busfree" else 0)


@pytest.mark.parametrize(("fault", "lqistat1"), [
    ("crc-in-lq", 0x10), ("lq-overrun", 0x02), ("packet-overrun", 0x01), ("bad-lq", 0x04), ("crc-in-data", 0x08)])
def test_a_packet_is_broken(chip: ChipHost, fault: str, lqistat1: int) -> None:
    """SCSIPERR and the input manager's opinion, in a data FIFO's mode with the command's SCBPTR."""
    chip.agree(PACKETS)
    chip.chip.faults.inject(fault)
    chip.poke(LISTS + 0xC00, v.V0)
    chip.queue(v.V1, RESERVED)
    assert chip.interrupt() == 0x08
    assert chip.r(CommonRegs.MODE_PTR) in (0x00, 0x11)
    assert chip.r(ModeRegs.SCBPTR) == 3
    assert register(chip, Mode.SCSI, "LQISTAT1") == lqistat1
    assert chip.r(ScsiRegs.SSTAT1) & 0x04


@pytest.mark.parametrize("fault", ["crc-in-lq", "crc-in-data"])
def test_a_broken_packet_wants_its_treatment(chip: ChipHost, fault: str) -> None:
    """LQIRETRY, or MSG_OUT = FF with ATN: letting it go without is the host's error."""
    chip.agree(PACKETS)
    chip.chip.faults.inject(fault)
    chip.poke(LISTS + 0xC00, v.V0)
    chip.queue(v.V1, RESERVED)
    chip.interrupt()
    mode = chip.r(CommonRegs.MODE_PTR)
    chip.mode(Mode.SCSI)
    chip.w(ScsiRegs.CLRSINT1, 0x04)
    chip.w(ScsiRegs.CLRLQIINT1, 0xFF)
    chip.w(CommonRegs.CLRINT, 0x08)
    chip.w(CommonRegs.MODE_PTR, mode)
    with pytest.raises(HardwareFault, match="CRC error"):
        chip.go()


@pytest.mark.parametrize(("fault", "packets", "code"), [
    ("overrun", True, 0x11), ("overrun", False, 0x09), ("pdata-reinit", False, 0x06),
    ("ignore-wide-residue", False, 0x05), ("mkmsg-failed", False, 0x0A), ("protocol-violation", False, 0x03),
    ("reselect-no-match", False, 0x04), ("agreement-lost", True, 0x0D)])
def test_sequencer_interrupts_of_a_command(chip: ChipHost, fault: str, packets: bool, code: int) -> None:
    """The code; the SCB in question is the mode's."""
    if packets:
        chip.agree(PACKETS)
    chip.chip.faults.inject(fault)
    chip.poke(LISTS + 0xC00, v.V0)
    chip.queue(v.V1, RESERVED)
    assert chip.seqint() == code
    if fault != "reselect-no-match":
        assert chip.r(ModeRegs.SCBPTR) == 3


def test_a_status_iu_that_is_too_long(chip: ChipHost) -> None:
    """Code 10 once the buffer is full."""
    chip.agree(PACKETS)
    chip.target.reset()
    chip.chip.faults.inject("status-iu-too-long")
    queue(chip, (1, 3))
    assert chip.seqint() == 0x0F
    for name, value in (("HADDR", 0x01300300), ("HCNT", 256), ("SG_CACHE_PRE", 0x80), ("DFCNTRL", 0xA8)):
        chip.w(getattr(DffRegs, name), value)
    chip.go()
    assert chip.seqint() == 0x10


@pytest.mark.parametrize(("fault", "code"), [("tmf-beaten", 0x14), ("tmf-ignored", None)])
def test_task_management(chip: ChipHost, fault: str, code: int | None) -> None:
    """Overtaken by the command's end, or never answered."""
    chip.agree(PACKETS)
    chip.chip.faults.inject(fault)
    post(chip, control=0x60, tmf=0x01)
    if code is None:
        chip.advance(1_000_000)
        assert chip.r(CommonRegs.INTSTAT) == 0
    else:
        assert chip.seqint() == code


@pytest.mark.parametrize(("fault", "message"), [("ppr-rejected", "010604080 03f01ff"), ("wdtr-rejected", "01020301"),
                                                ("sdtr-rejected", "0103010a7f")])
def test_a_message_that_is_rejected(chip: ChipHost, fault: str, message: str) -> None:
    """MESSAGE REJECT, and nothing is agreed."""
    chip.chip.faults.inject(fault)
    post(chip)
    assert say(chip, b"\xc0\x20\x03" + bytes.fromhex(message.replace(" ", ""))) == [0x07]
    assert chip.chip.bus.targets[3].agreement.offset == 0


def test_a_message_that_is_wanted_again(chip: ChipHost) -> None:
    """After its last byte message-out goes on: all of it from the beginning, ATN up again until the last byte."""
    chip.chip.faults.inject("message-again")
    post(chip)
    for _ in range(2):
        for byte in b"\xc0\x20\x03\x0d":
            assert chip.seqint() == 0x07
            chip.mode(Mode.SCSI)
            chip.w(ScsiRegs.SCSISIGO, 0xB0)
            chip.w(ScsiRegs.CLRSINT1, 0x40 if byte == 0x0D else 0)
            chip.w(Scratch.RETURN_2, byte)
            chip.w(Scratch.RETURN_1, 0x04)
            chip.go(Mode.SCSI)
    assert chip.interrupt() == 0x08


def test_every_fault_has_a_meaning() -> None:
    """And the table of those that strike in the idle loop names none that there is not."""
    assert all(FAULTS.values())
    assert set(IDLE) < set(FAULTS)


@pytest.mark.parametrize("profile", [AIC7901, AIC7902], ids=["alone", "colliding"])
def test_without_faults_nothing_strikes(make_chip: Make, profile: ChipProfile) -> None:
    """A hundred commands, one after the other."""
    chip = make_chip(profile)
    for number in range(100):
        queue(chip, (number, 3))
        assert chip.interrupt() == 0x02
        chip.w(CommonRegs.CLRINT, 0x02)
    assert not chip.chip.faults.struck
