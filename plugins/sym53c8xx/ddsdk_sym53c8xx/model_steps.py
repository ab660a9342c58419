"""What decoded SCRIPTS are made of (model_decode.py, model_quick.py), and what their processor is doing."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .model_scripts import ScriptsProcessor


class State(Enum):
    """What SCRIPTS do."""

    STOPPED = "stopped"
    RUNNING = "running"                 # scheduled, or in the middle of an instruction
    ON_BUS = "waits for the bus"        # selection, REQ
    RESELECT = "waits to be reselected"
    DISCONNECT = "waits for bus free"


#: What a step gives: the address to go on at, None for the next instruction, or LEAVE: state and registers say it.
Step = Callable[["ScriptsProcessor"], "int | None"]
LEAVE: Final = -1
#: Which of the processor's methods carries an instruction out: index in `ScriptsProcessor.do`.
BLOCK_MOVE, IO, REGISTER, TRANSFER, MEMORY = range(5)
# bits of the first word, as insn.py has them
COMPARE: Final = 0x0026_0000
IF_TRUE, WAIT, BY_PHASE, BY_DATA, BY_CARRY, FLY, RELATIVE = (
    0x0008_0000, 0x0001_0000, 0x0002_0000, 0x0004_0000, 0x0020_0000, 0x0010_0000, 0x0080_0000)
#: Of block moves.
INDIRECT, TABLE, MOVE = 0x2000_0000, 0x1000_0000, 0x0800_0000


def signed24(offset: int) -> int:
    """A 24-bit offset with its sign.

    Not insn.py's, whose lines count as the driver's where a campaign counts them: what is decoded once and kept must
    not make a second run differ from the first.
    """
    return (offset & 0x7F_FFFF) - (offset & 0x80_0000)


#: Set the registers of the current instruction and wait with it; the step is what to try again.
Hold = Callable[["ScriptsProcessor", Step], int]


def holding(kind: int, word: int, operand: int, dsp: int) -> Hold:
    """For an instruction that finds the bus not ready."""
    dcmd, dbc = word >> 24, word & 0xFF_FFFF

    def hold(scripts: ScriptsProcessor, again: Step) -> int:
        if scripts.moved is not None:
            scripts.settle()
        values = scripts.values
        values["DSP"] = dsp
        values["DCMD"] = dcmd
        values["DBC"] = dbc
        values["DSPS"] = operand
        scripts.hold(kind, word, operand, again)
        return LEAVE
    return hold


def leaving(kind: int, word: int, operand: int, dsp: int) -> Step:
    """Set the registers of the current instruction and have the processor carry it out."""
    dcmd, dbc = word >> 24, word & 0xFF_FFFF

    def leave(scripts: ScriptsProcessor) -> int:
        if scripts.moved is not None:
            scripts.settle()
        values = scripts.values
        values["DSP"] = dsp
        values["DCMD"] = dcmd
        values["DBC"] = dbc
        values["DSPS"] = operand
        if not scripts.do[kind](word, operand):
            scripts.hold(kind, word, operand)
        return LEAVE
    return leave
