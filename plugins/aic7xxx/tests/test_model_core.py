"""The chip's state: reset, pause, interrupts, what may be accessed when.  hw-aic7xxx.md 3, 6, 16."""

from __future__ import annotations

import pytest

from ddsdk.errors import HardwareFault, RegisterAccessFault
from ddsdk_aic7xxx.model import AIC7899
from plugins.aic7xxx.tests.model_host import DATA, LISTS, PROGRAM, READ_8, SHARED, Host, Make
from plugins.aic7xxx.tests.model_host import cold as cold
from plugins.aic7xxx.tests.model_host import host as host
from plugins.aic7xxx.tests.model_host import make_host as make_host

# -- reset -----------------------------------------------------------------------------------------------------


def test_as_it_comes_up_it_is_paused_and_nobody_has_touched_it(cold: Host) -> None:
    """HCNTRL reads 05: a chip reset that nobody acknowledged."""
    assert cold.read("HCNTRL") == 0x05
    assert (cold.read("INTSTAT"), cold.read("ERROR")) == (0, 0)


def test_a_reset_takes_its_time_and_ends_with_bit_0(cold: Host) -> None:
    """CHIPRST reads 0 until it is over, then 1, until it is written 0; the bus is known a millisecond later."""
    cold.write("HCNTRL", 0x05)
    assert cold.read("HCNTRL") == 0x04
    cold.advance(499)
    assert cold.read("HCNTRL") == 0x04
    cold.advance(1)
    assert cold.read("HCNTRL") == 0x05
    cold.write("HCNTRL", 0x04)
    assert cold.read("HCNTRL") == 0x04
    assert cold.read("SBLKCTL") == 0x02
    cold.advance(1000)
    assert cold.read("SBLKCTL") == 0x0A


def test_a_reset_keeps_scratch_ram_and_loses_registers(host: Host) -> None:
    """Scratch RAM and SCB RAM are RAM; SIMODE1, the queues and the program are gone."""
    host.pause()
    host.write("ARG_2", 0x77)
    host.reset()
    assert host.read("ARG_2") == 0x77
    assert host.read("SIMODE1") == 0
    host.unpause()
    assert (host.read("INTSTAT"), host.read("ERROR")) == (0x08, 0x04)


def test_idle_registers_are_those_of_the_field(host: Host) -> None:
    """What card states of idle Ultra160 parts show (hw-aic7xxx.md 3.5)."""
    host.advance(2000)
    assert {name: host.read(name) for name in (
        "SCSISEQ", "SBLKCTL", "SCSIRATE", "SEQCTL", "SEQ_FLAGS", "SSTAT0", "SSTAT1", "SSTAT2", "SSTAT3", "SIMODE0",
        "SIMODE1", "DFCNTRL", "DFSTATUS", "LASTPHASE", "SCSISIGI", "SCSIPHASE", "ERROR")} == {
        "SCSISEQ": 0x12, "SBLKCTL": 0x0A, "SCSIRATE": 0, "SEQCTL": 0x10, "SEQ_FLAGS": 0xC0, "SSTAT0": 0,
        "SSTAT1": 0x08, "SSTAT2": 0, "SSTAT3": 0, "SIMODE0": 0x08, "SIMODE1": 0xA4, "DFCNTRL": 0, "DFSTATUS": 0x89,
        "LASTPHASE": 0x01, "SCSISIGI": 0, "SCSIPHASE": 0, "ERROR": 0}


def test_a_free_slot_that_was_used_shows_its_last_command(host: Host) -> None:
    """Tag FF, control E0 or 60 with STATUS_RCVD; one never used: control 00, SCSIID FF, LUN FF, tag FF."""
    host.run()
    assert host.slot(0)[0x18:0x1C].hex() == "e03700ff"
    assert host.slot(5)[0x18:0x1C].hex() == "00ffffff"


# -- pause -----------------------------------------------------------------------------------------------------


def test_nothing_is_written_while_the_sequencer_runs(host: Host) -> None:
    """But HCNTRL, CLRINT, HNSCB_QOFF and HS_MAILBOX; reads pause it by themselves."""
    with pytest.raises(HardwareFault, match="while the sequencer is running; pause it first"):
        host.write("SCBPTR", 0)
    host.write("CLRINT", 0x02)
    host.write("HS_MAILBOX", 0)
    assert host.read("NEXT_QUEUED_SCB") == 0


def test_nothing_is_written_before_ccscbctl_was_read(host: Host) -> None:
    """Once after every pause."""
    host.write("HCNTRL", 0x04)
    with pytest.raises(HardwareFault, match="before CCSCBCTL was read"):
        host.write("SCBPTR", 0)
    host.read("CCSCBCTL")
    host.write("SCBPTR", 0)


def test_unpausing_with_a_cause_pending_is_noticed(host: Host) -> None:
    """SEQINT, SCSIINT, BRKADRINT stop the sequencer; going on over them would lose them."""
    host.queue(control=0x70)
    host.intstat(0x61)
    assert host.read("HCNTRL") & 0x04
    with pytest.raises(HardwareFault, match="unpaused with INTSTAT 61"):
        host.unpause()


def test_what_is_not_there_cannot_be_accessed(host: Host) -> None:
    """No register at 16h, 32 bits at once, a write of INTSTAT."""
    host.pause()
    for access in (lambda: host.window.read(0x16, 1), lambda: host.window.read(0x87, 4),
                   lambda: host.window.write(0x91, 1, 0)):
        with pytest.raises(RegisterAccessFault):
            access()


@pytest.mark.parametrize(("program", "error"), [(b"", 0x04), (b"\0\0\0\0" + PROGRAM, 0x08)], ids=["none", "parity"])
def test_without_a_program_it_stops(cold: Host, program: bytes, error: int) -> None:
    """BRKADRINT: illegal opcode for an empty program RAM, a parity error for a damaged one."""
    cold.reset()
    cold.init()
    if program:
        cold.load(program)
    else:
        cold.chip.program.clear()
    cold.unpause()
    assert (cold.read("INTSTAT"), cold.read("ERROR")) == (0x08, error)


def test_the_program_is_loaded_with_loadram_and_from_its_beginning(cold: Host) -> None:
    """Anything else is a fault; so is running with LOADRAM set."""
    cold.reset()
    with pytest.raises(HardwareFault, match=r"without SEQCTL\.LOADRAM"):
        cold.write("SEQRAM", 0)
    cold.write("SEQCTL", 0xB1)
    cold.write("SEQADDR0", 5)
    with pytest.raises(HardwareFault, match="from its beginning on"):
        cold.write("SEQRAM", 0)
    with pytest.raises(HardwareFault, match="LOADRAM set"):
        cold.unpause()


# -- queues ----------------------------------------------------------------------------------------------------


def test_reading_snscb_qoff_takes_an_entry(host: Host) -> None:
    """Unless what was read is written back."""
    host.pause()
    host.write("HNSCB_QOFF", 2)
    assert host.read("QOFF_CTLSTA") == 0x46
    assert [host.read("SNSCB_QOFF") for _ in range(2)] == [0, 1]
    assert host.read("QOFF_CTLSTA") == 0x06
    host.write("SNSCB_QOFF", 0)
    assert host.read("QOFF_CTLSTA") == 0x46


def test_the_queues_have_256_entries(host: Host) -> None:
    """The program is made for nothing else."""
    host.pause()
    with pytest.raises(HardwareFault, match="256 entries"):
        host.write("QOFF_CTLSTA", 5)


def test_slots_beyond_the_last_one_repeat(host: Host) -> None:
    """Slot 32 is slot 0."""
    host.pause()
    host.write("SCBPTR", 0)
    host.write("SCB", 0x5A, 0)
    host.write("SCBPTR", 32)
    assert host.read("SCB", 0) == 0x5A


def test_both_channels_share_the_scb_ram(make_host: Make) -> None:
    """SCBBADDR chooses the bank: the second function has to say 1, or it writes over the first one's slots."""
    second = make_host(AIC7899, number=1)
    first = second.machine.pci.functions[0].model
    second.reset()
    second.write("SCBPTR", 0)
    second.write("SCB", 0x11, 0)
    assert first.slots[0][0] == 0x11  # type: ignore[attr-defined]
    second.write("SCBBADDR", 1)
    second.write("SCB", 0x22, 0)
    assert first.slots[0][0] == 0x11  # type: ignore[attr-defined]
    assert second.slot(0)[0] == 0x22


def test_output_queue_entries_are_given_back_in_fours(host: Host) -> None:
    """One that is not FF, or others of its group given back too early: a fault."""
    host.run()
    host.machine.memory.write(SHARED, b"\xff")
    host.queue()
    with pytest.raises(HardwareFault, match="four at a time"):
        host.advance(2000)


def test_an_entry_the_host_did_not_give_back_is_not_overwritten(host: Host) -> None:
    """The fifth completion needs the first group no more, the 257th does."""
    host.machine.memory.write(SHARED, b"\x01")
    host.queue()
    with pytest.raises(HardwareFault, match="output queue entry 0"):
        host.advance(2000)


# -- interrupts ------------------------------------------------------------------------------------------------


def test_the_line_is_up_while_there_is_a_cause_and_inten_lets_it(host: Host) -> None:
    """CMDCMPLT; without INTEN the line stays down, INTSTAT shows it all the same."""
    line = host.function.irq_line
    assert line is not None
    host.queue()
    host.intstat(0x02)
    assert not line.level
    host.write("HCNTRL", 0x02)
    assert line.level
    assert host.read("HCNTRL") == 0x02                  # CMDCMPLT stops nobody
    host.write("CLRINT", 0x02)
    assert not line.level


def test_clrint_takes_the_code_along_with_seqint(host: Host) -> None:
    """And leaves the others."""
    host.queue()
    host.intstat(0x02)
    host.queue(control=0x70)
    host.intstat(0x63)
    host.write("CLRINT", 0x01)
    assert host.read("INTSTAT") == 0x02


def test_scsiint_comes_back_while_its_cause_is_there(host: Host) -> None:
    """CLRINT alone does not help: CLRSINT1 has to clear the selection timeout first."""
    host.queue(target=9)
    host.intstat(0x04, 300_000)
    host.read("CCSCBCTL")
    host.write("CLRINT", 0x04)
    assert host.read("INTSTAT") == 0x04
    host.write("CLRSINT1", 0x8C)
    host.write("CLRINT", 0x04)
    assert host.read("INTSTAT") == 0


# -- DMA -------------------------------------------------------------------------------------------------------


def test_above_4_gib_only_with_dual_address_cycles(make_host: Make) -> None:
    """DEVCONFIG.DACEN clear: an element with address bits above 31 is a fault."""
    host = make_host().start(dac=False)
    host.queue(READ_8, ((5 << 30, 4096),))
    with pytest.raises(HardwareFault, match=r"DEVCONFIG\.DACEN"):
        host.advance(2000)


def test_no_element_crosses_4_gib(host: Host) -> None:
    """Its upper address bits do not count on."""
    host.queue(READ_8, (((1 << 32) - 512, 4096),))
    with pytest.raises(HardwareFault, match="cross 4 GiB"):
        host.advance(2000)


def test_list_elements_come_in_aligned_pieces_of_a_cache_line(make_host: Make) -> None:
    """With a cache line of 32 bytes a list of three elements takes one fetch, which begins at the line."""
    host = make_host(trace=True).start()
    host.function.config_write(0x0C, 1, 8)
    assert host.chip.cache_line_bytes == 32
    tag = host.queue(READ_8, ((DATA, 512), (DATA + 4096, 1024), (DATA + 8192, 2560)))
    host.intstat(0x02)
    fetches = [record.fields[2:] for record in host.machine.trace if record.kind == "dma"
               and record.fields[1] == "read" and record.fields[2] & ~0xFFFF == LISTS]
    assert fetches == [(LISTS + 1024 * tag, 32)]
