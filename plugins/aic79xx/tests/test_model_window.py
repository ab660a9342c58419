"""The register window: modes as banks, the sequencer's right of way, reset, pause, program RAM."""

from __future__ import annotations

import attrs
import pytest

from ddsdk.errors import HardwareFault, RegisterAccessFault
from ddsdk_aic79xx.model import AIC7902
from ddsdk_aic79xx.regs import CchanRegs, CfgRegs, CommonRegs, DffRegs, HCntrl, Mode, ModeRegs, Scratch, ScsiRegs
from ddsdk_aic79xx.sequencer import odd_parity
from plugins.aic79xx.tests.chip_host import PROGRAM, ChipHost, Make


@pytest.fixture
def paused(chip: ChipHost) -> ChipHost:
    """The chip, stopped in the idle loop."""
    chip.pause()
    return chip


# -- modes -----------------------------------------------------------------------------------------------------


def test_idle_registers_are_those_of_the_printouts(paused: ChipHost) -> None:
    """Mode 22, LASTPHASE 01, BUSFREE, DFFSTAT 33, no selection, queue offsets equal."""
    assert paused.r(CommonRegs.MODE_PTR) == 0x22
    assert paused.r(Scratch.LASTPHASE) == 0x01
    paused.mode(Mode.SCSI)
    assert (paused.r(ScsiRegs.SSTAT0), paused.r(ScsiRegs.SSTAT1), paused.r(ScsiRegs.DFFSTAT)) == (0x00, 0x08, 0x33)
    assert paused.r(ScsiRegs.SCSISIGI) == 0
    for mode in (Mode.DFF0, Mode.DFF1):
        paused.mode(mode)
        assert (paused.r(DffRegs.LONGJMP_ADDR), paused.r(DffRegs.DFSTATUS), paused.r(DffRegs.MDFFSTAT)) == (
            0x80FF, 0x89, 0x05)


def test_scbptr_is_another_one_in_each_mode(paused: ChipHost) -> None:
    """Four pointers; the window on the SCB follows that of the mode."""
    for mode in range(4):
        paused.mode(mode)
        paused.w(ModeRegs.SCBPTR, 0x100 + mode)
        paused.window.write(0x180, 1, 0x10 + mode)
    for mode in range(4):
        paused.mode(mode)
        assert paused.r(ModeRegs.SCBPTR) == 0x100 + mode
        assert paused.window.read(0x180, 1) == 0x10 + mode
    paused.mode(Mode.SCSI)
    paused.w(ModeRegs.SCBPTR, 0x101)
    assert paused.window.read(0x180, 1) == 0x11


def test_source_and_destination_can_differ(paused: ChipHost) -> None:
    """Reads go by bits 2:0, writes by bits 6:4."""
    paused.w(CommonRegs.MODE_PTR, Mode.SCSI << 4 | Mode.CCHAN)
    paused.w(ModeRegs.SCBPTR, 7)
    assert paused.r(ModeRegs.SCBPTR) != 7
    paused.mode(Mode.SCSI)
    assert paused.r(ModeRegs.SCBPTR) == 7


def test_scratch_in_cfg_mode_is_the_pci_header(paused: ChipHost) -> None:
    """A write that means the scratch page reaches the configuration space; the scratch page keeps its value."""
    assert paused.machine.pci.find(0x9005, 0x8000) is not None
    before = paused.r(Scratch.WAITING_TID_HEAD)
    paused.mode(Mode.CFG)
    assert [paused.window.read(0x100 + n, 1) for n in range(4)] == [0x05, 0x90, 0x00, 0x80]
    paused.window.write(0x104, 1, 0x02)                 # COMMAND: bus mastering off
    paused.w(Scratch.WAITING_TID_HEAD, 0x1234)
    assert paused.function.config_read(4, 2) == 0x02
    paused.function.config_write(4, 2, 0x07)
    paused.mode(Mode.SCSI)
    assert paused.r(Scratch.WAITING_TID_HEAD) == before


def test_simode0_and_sstat0_share_an_address(paused: ChipHost) -> None:
    """4B: mask in mode 4, status in mode 3."""
    paused.mode(Mode.CFG)
    paused.w(CfgRegs.SIMODE0, 0x6C)
    paused.mode(Mode.SCSI)
    assert paused.r(ScsiRegs.SSTAT0) == 0
    paused.mode(Mode.CFG)
    assert paused.r(CfgRegs.SIMODE0) == 0x6C


@pytest.mark.parametrize("mode", [5, 6, 7])
def test_there_are_five_modes(paused: ChipHost, mode: int) -> None:
    """Another one is the host's error."""
    with pytest.raises(HardwareFault, match="modes 0 to 4"):
        paused.mode(mode)


def test_negotiation_table_is_indexed(paused: ChipHost) -> None:
    """NEGOADDR picks one of sixteen entries."""
    paused.mode(Mode.SCSI)
    for target in (2, 9):
        paused.w(ScsiRegs.NEGOADDR, target)
        paused.w(ScsiRegs.NEGPERIOD, target + 8)
    paused.w(ScsiRegs.NEGOADDR, 2)
    assert paused.r(ScsiRegs.NEGPERIOD) == 10
    paused.w(ScsiRegs.NEGOADDR, 9)
    assert paused.r(ScsiRegs.NEGPERIOD) == 17


@pytest.mark.parametrize(("written", "current"), [(1, 1), (2, 0), (3, 3)])
def test_current_fifo_0_is_written_as_2_on_rev_b(paused: ChipHost, written: int, current: int) -> None:
    """DFFSTAT; 0 is the host's error."""
    paused.mode(Mode.SCSI)
    paused.w(ScsiRegs.DFFSTAT, written)
    assert paused.r(ScsiRegs.DFFSTAT) & 3 == current
    with pytest.raises(HardwareFault, match="CURRFIFO 0"):
        paused.w(ScsiRegs.DFFSTAT, 0)


# -- accesses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0x00, 0x3A, 0x4C, 0xA8, 0x120, 0x180])
def test_a_running_sequencer_is_not_to_be_disturbed(chip: ChipHost, offset: int) -> None:
    """MODE_PTR, banks, scratch, SCBs: neither read nor written while it runs."""
    with pytest.raises(RegisterAccessFault, match="while the sequencer runs"):
        chip.window.read(offset, 1)
    with pytest.raises(RegisterAccessFault, match="while the sequencer runs"):
        chip.window.write(offset, 1, 0)


def test_queue_and_interrupt_registers_answer_always(chip: ChipHost) -> None:
    """INTSTAT, HCNTRL, HNSCB_QOFF, HS_MAILBOX need no pause."""
    assert chip.r(CommonRegs.INTSTAT) == 0
    assert chip.r(CommonRegs.HCNTRL) == 0
    chip.w(CommonRegs.HS_MAILBOX, 0x40)
    assert chip.window.read(CommonRegs.HNSCB_QOFF.offset, 2) == 0


@pytest.mark.parametrize(("offset", "size"), [(0x01, 2), (0x00, 4), (0x120, 2), (0x06, 4), (0x07, 2)])
def test_single_bytes_only(paused: ChipHost, offset: int, size: int) -> None:
    """But HNSCB_QOFF, which is one access of 16 bits."""
    with pytest.raises(RegisterAccessFault, match="single bytes"):
        paused.window.read(offset, size)
    with pytest.raises(RegisterAccessFault, match="single bytes"):
        paused.window.write(offset, size, 0)


@pytest.mark.parametrize("offset", [CommonRegs.CLRINT.offset, ScsiRegs.SCSISIGO.offset], ids=["CLRINT", "SCSISIGO"])
def test_write_only_registers_are_not_read(paused: ChipHost, offset: int) -> None:
    """What the data sheet gives no value for has none."""
    paused.mode(Mode.SCSI)
    with pytest.raises(RegisterAccessFault, match="can only be written"):
        paused.window.read(offset, 1)


def test_read_only_registers_are_not_written(paused: ChipHost) -> None:
    """SCSISIGI, for one."""
    paused.mode(Mode.SCSI)
    with pytest.raises(RegisterAccessFault, match="can only be read"):
        paused.w(ScsiRegs.SCSISIGI, 0)


def test_the_register_file_ends(paused: ChipHost) -> None:
    """1C0 and above are nothing; a hole of a bank neither."""
    with pytest.raises(RegisterAccessFault, match="ends at"):
        paused.window.read(0x1C0, 1)
    paused.mode(Mode.CCHAN)
    with pytest.raises(RegisterAccessFault, match="no register there"):
        paused.window.read(0x3A, 1)


def test_io_windows_show_the_halves(make_chip: Make) -> None:
    """BAR 0 is 000 to 0FF, BAR 3 is 100 to 1FF."""
    chip = make_chip()
    chip.pause()
    assert chip.function.window(0).read(CommonRegs.HCNTRL.offset, 1) == 0x04
    assert chip.function.window(3).read(0x20, 2 - 1) == chip.r(Scratch.WAITING_TID_HEAD) & 0xFF


# -- reset -----------------------------------------------------------------------------------------------------


def test_reset_takes_its_time_and_then_wants_to_be_taken_back(chip: ChipHost) -> None:
    """CHIPRSTACK after 1.5 ms; only HCNTRL answers; afterwards paused in mode 33, memories hold anything."""
    chip.w(CommonRegs.HCNTRL, 0x01)
    assert not chip.r(CommonRegs.HCNTRL) & 0x01
    with pytest.raises(RegisterAccessFault, match="in reset"):
        chip.r(CommonRegs.INTSTAT)
    chip.w(CommonRegs.HCNTRL, 0x04)                     # not heard yet
    chip.advance(1400)
    assert not chip.r(CommonRegs.HCNTRL) & 0x01
    chip.advance(200)
    assert chip.r(CommonRegs.HCNTRL) & 0x01
    chip.w(CommonRegs.HCNTRL, 0x04)
    assert (chip.r(CommonRegs.HCNTRL), chip.r(CommonRegs.MODE_PTR)) == (0x04, 0x33)
    assert chip.r(Scratch.WAITING_TID_HEAD) == 0xA5A5
    assert chip.slot(3)[0x12] == 0xA5


def test_power_on_is_in_reset(make_chip: Make) -> None:
    """Acknowledged; nothing else answers."""
    chip = make_chip(up=False)
    assert chip.r(CommonRegs.HCNTRL) & 0x05 == 0x05
    with pytest.raises(RegisterAccessFault, match="in reset"):
        chip.r(CommonRegs.INTSTAT)


# -- pause -----------------------------------------------------------------------------------------------------


def test_a_pause_comes_at_the_end_of_a_step(chip: ChipHost) -> None:
    """While an SCB is being fetched PAUSE does not read back; then nothing moves any more."""
    chip.queue(bytes(0x10) + b"\x03" + bytes(0x2F), 0x01200400)
    chip.w(CommonRegs.HCNTRL, 0x04)
    assert not chip.r(CommonRegs.HCNTRL) & 0x04
    chip.advance(1)
    assert chip.r(CommonRegs.HCNTRL) & 0x04
    before = chip.chip.snscb
    chip.queue(bytes(0x10) + b"\x04" + bytes(0x2F), 0x01200400)
    chip.advance(1000)
    assert chip.chip.snscb == before


def test_wrong_mode_on_resume_is_noticed(paused: ChipHost) -> None:
    """The mode the sequencer had has to be back, or it finds itself elsewhere: code 0E."""
    paused.mode(Mode.SCSI)
    paused.go()
    assert paused.seqint() == 0x0E


def test_a_restart_does_not_care_for_the_mode(paused: ChipHost) -> None:
    """SEQRESET: it begins anew, in its own mode."""
    paused.mode(Mode.SCSI)
    paused.restart()
    paused.advance(10)
    paused.pause()
    assert paused.r(CommonRegs.MODE_PTR) == 0x22
    assert paused.r(CommonRegs.INTSTAT) == 0


def test_it_stays_paused_while_there_is_a_cause(make_chip: Make) -> None:
    """HCNTRL without PAUSE lets nothing run while INTSTAT has SEQINT."""
    chip = make_chip()
    chip.chip.faults.inject("seqint-tracepoint")
    chip.queue(bytes(64), 0x01200400)
    assert chip.interrupt() == 0x04
    chip.go()
    assert chip.r(CommonRegs.HCNTRL) & 0x04
    chip.w(CommonRegs.CLRINT, 0x04)
    chip.go()
    assert not chip.r(CommonRegs.HCNTRL) & 0x04


def test_inten_gates_the_line_alone(make_chip: Make) -> None:
    """INTSTAT tells all the same."""
    chip = make_chip()
    chip.chip.faults.inject("seqint-tracepoint")
    chip.queue(bytes(64), 0x01200400)
    assert chip.interrupt() == 0x04
    assert not chip.chip.irq.level
    chip.w(CommonRegs.HCNTRL, HCntrl.PAUSE.mask | HCntrl.INTEN.mask)
    assert chip.chip.irq.level
    chip.w(CommonRegs.CLRINT, 0x04)
    assert not chip.chip.irq.level


def test_single_step_leaves_a_critical_section(make_chip: Make) -> None:
    """SEQCTL0.STEP: one instruction, and it stands still again; CURADDR moves on until it is the idle loop's."""
    chip = make_chip()
    chip.chip.faults.inject("critical-section", address=17)
    chip.queue(bytes(0x10) + b"\x03" + bytes(0x2F), 0x01200400)
    chip.pause()
    chip.mode(Mode.SCSI)
    places = [chip.r(ScsiRegs.CURADDR)]
    chip.w(CommonRegs.SEQCTL0, 0x14)
    for _ in range(4):
        chip.w(CommonRegs.HCNTRL, 0)
        assert chip.until(lambda: chip.r(CommonRegs.HCNTRL) & 0x04)
        places.append(chip.r(ScsiRegs.CURADDR))
    assert places == [17, 18, 19, 20, 8]


# -- program ---------------------------------------------------------------------------------------------------


def test_no_program_no_run(make_chip: Make) -> None:
    """Letting it go without a download: ILLOPCODE, HWERRINT."""
    chip = make_chip(up=False)
    chip.reset()
    chip.go()
    assert chip.r(CommonRegs.INTSTAT) == 0x80
    assert chip.r(CommonRegs.ERROR) == 0x04
    assert chip.r(CommonRegs.HCNTRL) & 0x04


def test_even_parity_is_noticed(make_chip: Make) -> None:
    """A word with an even number of ones: SQPARERR."""
    chip = make_chip(up=False)
    chip.reset()
    chip.download([*PROGRAM[:-1], odd_parity(1) ^ 0x80000000])
    assert (chip.r(CommonRegs.INTSTAT), chip.r(CommonRegs.ERROR)) == (0x80, 0x08)
    chip.w(CommonRegs.CLRERR, 0x08)
    chip.w(CommonRegs.CLRINT, 0x80)
    assert (chip.r(CommonRegs.INTSTAT), chip.r(CommonRegs.ERROR)) == (0, 0)


@pytest.mark.parametrize("words", [0, 2049])
def test_a_program_has_a_size(make_chip: Make, words: int) -> None:
    """1 to 2048 words."""
    chip = make_chip(up=False)
    chip.reset()
    with pytest.raises(HardwareFault, match="a program of"):
        chip.download([odd_parity(0)] * words)


def test_seqram_wants_load_mode(paused: ChipHost) -> None:
    """A byte of program written without LOADRAM."""
    with pytest.raises(HardwareFault, match="LOADRAM"):
        paused.w(CommonRegs.SEQRAM, 0)


# -- queue offsets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SNSCB_QOFF", "SDSCB_QOFF"])
def test_reading_a_chip_offset_moves_it_on(paused: ChipHost, name: str) -> None:
    """Written back by the host that reads it, or an SCB is skipped."""
    reg = getattr(CchanRegs, name)
    paused.mode(Mode.CCHAN)
    paused.w(reg, 0x1234)
    assert [paused.r(reg) for _ in range(3)] == [0x1234, 0x1235, 0x1236]
    paused.w(reg, 0x00FF)
    assert paused.r(reg) == 0x00FF


def test_new_scb_avail(paused: ChipHost) -> None:
    """QOFF_CTLSTA.40 while the host is ahead."""
    paused.mode(Mode.CCHAN)
    assert paused.r(CchanRegs.QOFF_CTLSTA) == 0x07
    paused.window.write(CommonRegs.HNSCB_QOFF.offset, 2, 1)
    assert paused.r(CchanRegs.QOFF_CTLSTA) == 0x47


def test_two_byte_writes_of_hnscb_are_torn(chip: ChipHost) -> None:
    """00FF to 0100 byte by byte is 0000 in between: the chip believes that it is behind."""
    chip.pause()
    chip.mode(Mode.CCHAN)
    chip.window.write(CommonRegs.HNSCB_QOFF.offset, 2, 0x00FF)
    chip.w(CchanRegs.SNSCB_QOFF, 0x00FF)
    chip.window.write(CommonRegs.HNSCB_QOFF.offset, 1, 0x00)
    assert chip.chip.hnscb == 0x0000
    chip.window.write(CommonRegs.HNSCB_QOFF.offset + 1, 1, 0x01)
    assert chip.chip.hnscb == 0x0100


def test_two_functions_share_nothing(make_chip: Make) -> None:
    """The second channel of a 7902 is a function of the same slot, untouched by what happens to the first."""
    chip = make_chip(attrs.evolve(AIC7902))
    others = [one for one in chip.machine.pci.functions if one is not chip.function]
    assert [one.name for one in others] == [chip.function.name[:-1] + "1"]
    other = others[0]
    other.config_write(4, 2, 0x7)
    assert other.window(1).read(CommonRegs.HCNTRL.offset, 1) & 0x05 == 0x05
    chip.reset()
    assert other.model is not chip.chip
