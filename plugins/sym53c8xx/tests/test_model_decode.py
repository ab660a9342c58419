"""Decoded SCRIPTS: whatever lies in memory is carried out, whoever wrote it and whenever, however it was decoded."""

from __future__ import annotations

import pytest

from ddsdk.errors import DmaFault
from ddsdk.sim.trace import Trace
from ddsdk_sym53c8xx.model import LSI53C810, LSI53C895A, LSI53C1010, ChipProfile
from plugins.sym53c8xx.tests.conftest import (
    CLEAR_ACK,
    CMP,
    DATA,
    IDENTIFY,
    INT,
    MESSAGE,
    NO_SDU,
    PROGRAM,
    STATUS,
    TABLE,
    WAIT_DISCONNECT,
    Host,
    MakeHost,
    words,
)

OK = (0, 0, 0x84)
JUMP = 0x8008_0000
#: MOVE 5A TO SCRATCHA0; MOVE SCRATCHA0 & F0 TO SCRATCHA1 by way of SFBR.
REGISTERS = ((0x7834_5A00, 0), (0x7434_F000, 0), (0x6A35_0000, 0))


def dsps(host: Host) -> int:
    """Start again: the INT code SCRIPTS stop with."""
    host.start()
    assert host.stopped() == OK
    return host.read("DSPS")


def test_what_the_host_changes_is_seen(host: Host) -> None:
    """Any word of a run: an operand in front, the target of the JUMP at its end, the instruction there."""
    host.load((0x7834_0100, 0), (JUMP, PROGRAM + 0x40))
    host.load((INT, 1), (INT, 2), at=PROGRAM + 0x40)
    assert (dsps(host), host.read("SCRATCHA")) == (1, 1)
    host.poke(PROGRAM, words((0x7834_0200, 0)))
    assert (dsps(host), host.read("SCRATCHA")) == (1, 2)
    host.poke(PROGRAM + 12, words((PROGRAM + 0x48,)))
    assert (dsps(host), host.read("SCRATCHA")) == (2, 2)
    host.poke(PROGRAM + 8, words((INT, 3)))
    assert (dsps(host), host.read("SCRATCHA")) == (3, 2)
    host.poke(PROGRAM + 8, words((JUMP, PROGRAM + 0x40)))
    assert (dsps(host), host.read("SCRATCHA")) == (1, 2)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_scripts_overwrite_themselves(host: Host, ahead: int) -> None:
    """MOVE MEMORY onto an instruction further on, the next one among them: the new one is carried out."""
    host.poke(TABLE, words((INT, 0x600D)))
    program = [(0xC000_0008, TABLE, PROGRAM + 12 + 8 * ahead), *[(0x8000_0000, 0)] * ahead, (INT, 0xBAD)]
    for _ in range(2):
        assert host.run(*program) == OK
        assert host.read("DSPS") == 0x600D


def test_a_page_that_was_taken_back_is_not_fetched(host: Host) -> None:
    """The program was decoded; its memory is revoked: DmaFault."""
    assert host.run((INT, 1)) == OK
    host.function.dma_revoke(PROGRAM, 0x21_0000)
    host.start()
    with pytest.raises(DmaFault):
        host.advance(1_000_000)


@pytest.mark.parametrize("chip", [LSI53C895A, LSI53C810, LSI53C1010], ids=lambda chip: chip.chip.name)
@pytest.mark.parametrize("how", ["traced", "one by one"])
def test_it_makes_no_difference_how(make_host: MakeHost, chip: ChipProfile, how: str) -> None:
    """A command with direct and table moves and register moves: registers, memory and disk are the same in runs, with a
    trace, and one instruction at a time, as a fault that is armed has it.
    """
    seen = []
    for traced, single in ((False, False), (how == "traced", how == "one by one")):
        host = make_host(chip, Trace() if traced else Trace(enabled=False))
        host.clear_attention()
        if single:
            host.chip.faults.inject("bus-fault-fetch", after=1_000_000)
        host.poke(DATA, bytes(range(256)) * 4)
        host.poke(TABLE, words((1024, DATA), (1, STATUS)))
        host.write("DSA", TABLE)
        program = ((0x1800_0000, 0), *REGISTERS, (0x1B00_0000, 8), (0x0F00_0001, MESSAGE), NO_SDU, CLEAR_ACK,
                   WAIT_DISCONNECT, (0xC000_0004, MESSAGE, TABLE + 0x20), (INT, 0x600D))
        assert host.command("2a000000000900000200", *program, identify=0x80) == (CMP, 0, 0x84)
        registers = {name: value for name, value in host.chip.values.items() if name not in ("ISTAT0", "SIST0")}
        seen.append((registers, host.peek(PROGRAM, 0x100), host.peek(IDENTIFY, 0x40), host.peek(TABLE, 0x40),
                     bytes(host.disk[9 * 512:11 * 512])))
    assert seen[0][4] == bytes(range(256)) * 4
    assert seen[0] == seen[1]
