"""SCRIPTS decoded: what the bytes at an address make the processor do, in runs without a break.

The processor fetches the bytes of a run each time it comes to it.  Equal bytes at an equal address decode to the same
`Run`, so that decoding them again can be spared; other bytes, whoever wrote them, decode anew.

Shortcuts are only for what reads and writes plain registers.  Everything else *leaves*: the registers of the current
instruction are set and the processor's own methods carry it out (model_scripts.py, model_moves.py).  Nothing else in
a run can write memory, so no run overwrites itself unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from ddsdk.sim.model import HwModel

from .frames import INSN_BYTES, MEMORY_MOVE_BYTES, Kind, Operator, RegisterMove, Transfer, signed24

if TYPE_CHECKING:
    from .model_scripts import ScriptsProcessor

#: What a step gives: the address to go on at, None for the next instruction, or LEAVE: the registers say it.
Step = Callable[["ScriptsProcessor"], "int | None"]
LEAVE: Final = -1
#: Instructions of a run at most, and the bytes they may take.
LONGEST: Final = 16
WINDOW: Final = LONGEST * INSN_BYTES
# bits of the first word, as insn.py has them
COMPARE: Final = 0x0026_0000
IF_TRUE, WAIT, BY_PHASE, BY_DATA, BY_CARRY, FLY, RELATIVE = (
    0x0008_0000, 0x0001_0000, 0x0002_0000, 0x0004_0000, 0x0020_0000, 0x0010_0000, 0x0080_0000)
#: Which of the processor's methods carries an instruction out: index in `ScriptsProcessor.do`.
BLOCK_MOVE, IO, REGISTER, TRANSFER, MEMORY = range(5)

_WORDS2: Final = Struct("<II")
_SFBR: Final = 0x08
_USE_SFBR: Final = 0x0080_0000
#: Registers of the current instruction: only what leaves sets them.
_CURRENT: Final = frozenset(("DSP", "DBC", "DCMD", "DSPS", "ADDER"))
_FAST_OPERATORS: Final = frozenset((Operator.MOVE, Operator.OR, Operator.AND))


@frozen(eq=False)
class Run:
    """Instructions that follow each other: `count` of them with `code` as bytes; after the last go on at `end`.

    `jumps`: the last one is a JUMP there.  `fetch(view, offset)` gives the bytes that are there now, as a tuple of one.
    """

    code: bytes
    fetch: Callable[[memoryview, int], tuple[bytes]]
    count: int
    steps: tuple[Step, ...]
    end: int
    jumps: bool


def kind_of(word: int) -> int:
    """Index in `ScriptsProcessor.do` for an instruction with this first word."""
    kind = word >> 30
    if kind == Kind.IO_OR_REGISTER:
        return REGISTER if word >> 27 & 7 >= RegisterMove.FROM_SFBR else IO
    return TRANSFER if kind == Kind.TRANSFER_CONTROL else MEMORY if kind == Kind.MEMORY else BLOCK_MOVE


@lru_cache(maxsize=16)
def plain_bytes(chip: type[HwModel]) -> Mapping[int, tuple[str, int]]:
    """Offset of each byte that simply stores -> its register's name, how far the byte lies from bit 0."""
    return MappingProxyType({
        one.offset + byte: (one.name, 8 * byte) for one in chip.regs.registers for byte in range(one.size)
        if one.plain and not hasattr(chip, f"r_{one.attr}") and not hasattr(chip, f"w_{one.attr}")})


@lru_cache(maxsize=16)
def _current_bytes(chip: type[HwModel]) -> frozenset[int]:
    return frozenset(one.offset + byte for one in chip.regs.registers if one.attr in _CURRENT
                     for byte in range(one.size))


@lru_cache(maxsize=8192)
def decode(chip: type[HwModel], address: int, window: bytes) -> Run | None:
    """The run at *address*, whose bytes *window* begins with; None when it holds no whole instruction."""
    steps: list[Step] = []
    at = count = 0
    end = None
    while end is None and count < LONGEST and at + INSN_BYTES <= len(window):
        word, operand = _WORDS2.unpack_from(window, at)
        after = at + (INSN_BYTES if word >> 29 != 6 else MEMORY_MOVE_BYTES)
        if after > len(window):
            break
        step, end = _step(chip, word, operand, address + at + INSN_BYTES & 0xFFFF_FFFF)
        if step is not None:
            steps.append(step)
        at, count = after, count + 1
    if not count:
        return None
    code = window[:at]
    return Run(code, Struct(f"{at}s").unpack_from, count, tuple(steps),
               address + at & 0xFFFF_FFFF if end is None else end, end is not None)


def _step(chip: type[HwModel], word: int, operand: int, dsp: int) -> tuple[Step | None, int | None]:
    """(what the instruction does, None: nothing; where the run ends with it, None: it goes on)."""
    kind = kind_of(word)
    leave = _leave(kind, word, operand, dsp)
    if kind == TRANSFER:
        return _transfer(word, operand, dsp, leave)
    if kind == REGISTER:
        shortcut = _register(chip, word)
        if shortcut is not None:
            return shortcut, None
    return leave, LEAVE


def _leave(kind: int, word: int, operand: int, dsp: int) -> Step:
    """Set the registers of the current instruction and have the processor carry it out."""
    dcmd, dbc = word >> 24, word & 0xFF_FFFF

    def leave(scripts: ScriptsProcessor) -> int:
        values = scripts.values
        values["DSP"] = dsp
        values["DCMD"] = dcmd
        values["DBC"] = dbc
        values["DSPS"] = operand
        if not scripts.do[kind](word, operand):
            scripts.hold(kind, word, operand)
        return LEAVE
    return leave


# -- transfer control ------------------------------------------------------------------------------------------


def _transfer(word: int, operand: int, dsp: int, leave: Step) -> tuple[Step | None, int | None]:
    opcode, compare = word >> 27 & 7, word & COMPARE
    if opcode not in (Transfer.JUMP, Transfer.RETURN, Transfer.INT) or word & FLY:
        return leave, LEAVE
    target = dsp + signed24(operand) & 0xFFFF_FFFF if word & RELATIVE else operand
    wanted = bool(word & IF_TRUE)
    act = None if opcode == Transfer.JUMP else _return if opcode == Transfer.RETURN else leave
    if not compare and not word & WAIT:
        if not wanted:
            return None, None
        return (None, target) if act is None else (act, LEAVE)
    if compare == BY_DATA and not word & WAIT:
        return _by_data(word & 0xFF, ~(word >> 8) & 0xFF, wanted, target, act), None
    if compare == BY_PHASE:
        return _by_phase(word >> 24 & 7, wanted, target, act, leave if word & WAIT else None), None
    return leave, LEAVE


def _return(scripts: ScriptsProcessor) -> int:
    return scripts.values["TEMP"]


def _by_data(data: int, care: int, wanted: bool, target: int, act: Step | None) -> Step:
    """IF byte: SFBR against the instruction's."""
    def by_data(scripts: ScriptsProcessor) -> int | None:
        if (not (scripts.values["SFBR"] ^ data) & care) is wanted:
            return target if act is None else act(scripts)
        return None
    return by_data


def _by_phase(phase: int, wanted: bool, target: int, act: Step | None, wait: Step | None) -> Step:
    """IF phase; WHEN phase: *wait* holds the instruction up while there is none."""
    def by_phase(scripts: ScriptsProcessor) -> int | None:
        if wait is not None and not scripts.latch_phase():
            return wait(scripts)
        if (scripts.values["SSTAT1"] == phase) is wanted:
            return target if act is None else act(scripts)
        return None
    return by_phase


# -- registers -------------------------------------------------------------------------------------------------


def _register(chip: type[HwModel], word: int) -> Step | None:
    """MOVE, OR and AND between SFBR, a byte of the instruction and a register that simply stores."""
    opcode, operator, data = word >> 27 & 7, word >> 24 & 7, word >> 8 & 0xFF
    register = word >> 16 & 0x7F | word & 0x80
    if operator not in _FAST_OPERATORS or (opcode == RegisterMove.MODIFY and word & _USE_SFBR):
        return None
    if operator == Operator.AND:
        keep, add = data, 0
    else:
        keep, add = (0, data) if operator == Operator.MOVE else (0xFF, data)
    current, plain = _current_bytes(chip), plain_bytes(chip).get(register)
    if opcode == RegisterMove.TO_SFBR and register not in current:
        return _to_sfbr(register, plain, keep, add)
    if plain is None or register in current:
        return None
    source = ("SFBR", 0) if opcode == RegisterMove.FROM_SFBR else plain
    return _store(plain, source, keep, add)


def _to_sfbr(register: int, plain: tuple[str, int] | None, keep: int, add: int) -> Step:
    name, shift = plain if plain is not None else ("SFBR", 0) if register == _SFBR else ("", 0)

    def to_sfbr(scripts: ScriptsProcessor) -> None:
        values = scripts.values
        old = values[name] >> shift if name else scripts.read_register(register)
        values["SFBR"] = old & keep | add
    return to_sfbr


def _store(plain: tuple[str, int], source: tuple[str, int], keep: int, add: int) -> Step:
    (name, shift), (source_name, source_shift) = plain, source
    others = ~(0xFF << shift)
    if not keep:
        constant = add << shift

        def put(scripts: ScriptsProcessor) -> None:
            values = scripts.values
            values[name] = values[name] & others | constant
        return put

    def store(scripts: ScriptsProcessor) -> None:
        values: Any = scripts.values
        values[name] = values[name] & others | (values[source_name] >> source_shift & keep | add) << shift
    return store
