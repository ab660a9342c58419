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

from ddsdk.regs import Access
from ddsdk.sim.model import HwModel

from . import model_quick
from .frames import INSN_BYTES, MEMORY_MOVE_BYTES, WORD_BYTES, Kind, Operator, RegisterMove, Transfer, signed24
from .model_steps import (
    BLOCK_MOVE,
    BY_DATA,
    BY_PHASE,
    COMPARE,
    FLY,
    IF_TRUE,
    IO,
    MEMORY,
    REGISTER,
    RELATIVE,
    TRANSFER,
    WAIT,
    Step,
    leaving,
)

if TYPE_CHECKING:
    from .model_scripts import ScriptsProcessor

#: Instructions of a run at most, and the bytes they may take.
LONGEST: Final = 16
WINDOW: Final = LONGEST * INSN_BYTES
_FETCH: Final = tuple(Struct(f"{n}s").unpack_from for n in range(0, WINDOW + 1, WORD_BYTES))
_WORDS2: Final = Struct("<II")
_SFBR: Final = 0x08
_USE_SFBR: Final = 0x0080_0000
_MEMORY_MOVE: Final = 6                 # bits 31 to 29
_CLEAR_ACK, _WAIT_DISCONNECT = 0x6000_0040, 0x4800_0000
#: Registers of the current instruction and of the last move, written late: what leaves sees them.
_CURRENT: Final = frozenset(("DSP", "DBC", "DCMD", "DSPS", "ADDER", "DNAD", "DNAD64", "DFIFO", "IA", "RBC", "UA", "SBC",
                             "CSBC"))
#: Kinds of bits that read as they are stored and take any value.
_SIMPLE: Final = frozenset((Access.RW, Access.W1C))
_FAST_OPERATORS: Final = frozenset((Operator.MOVE, Operator.OR, Operator.AND))


class Run:
    """Instructions that follow each other: `count` of them with `code` as bytes; after the last go on at `end`.

    `jumps`: the last one is a JUMP there.  `fetch(view, offset)` gives the bytes that are there now, as a tuple of one.
    """

    __slots__ = ("code", "count", "end", "fetch", "jumps", "steps")

    def __init__(self, code: bytes, count: int, steps: tuple[Step, ...], end: int, jumps: bool) -> None:
        self.code = code
        self.fetch = _FETCH[len(code) // WORD_BYTES]
        self.count = count
        self.steps = steps
        self.end = end
        self.jumps = jumps


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


def decode(chip: type[HwModel], address: int, window: bytes) -> Run | None:
    """The run at *address*, whose bytes *window* begins with; None when it holds no whole instruction."""
    steps: list[Step] = []
    at = count = 0
    last, end, jumps = False, 0, False
    while not last and count < LONGEST and at + INSN_BYTES <= len(window):
        word, operand = _WORDS2.unpack_from(window, at)
        after = at + (INSN_BYTES if word >> 29 != _MEMORY_MOVE else MEMORY_MOVE_BYTES)
        if after > len(window):
            break
        third = int.from_bytes(window[at + INSN_BYTES:after], "little")
        step, last, end, jumps = _step(chip, word, operand, third, address + at + INSN_BYTES & 0xFFFF_FFFF)
        if step is not None:
            steps.append(step)
        at, count = after, count + 1
    return Run(window[:at], count, tuple(steps), end, jumps) if count else None


@lru_cache(maxsize=1 << 14)
def _step(chip: type[HwModel], word: int, operand: int, third: int, dsp: int) -> tuple[Step | None, bool, int, bool]:
    """(what an instruction does, None: nothing; whether a run ends with it; where to go on, and whether it jumps there).

    What writes memory ends a run: the next instruction may be another one then.
    """
    kind = kind_of(word)
    leave = leaving(kind, word, operand, dsp)
    shortcut: Step | None = None
    if kind == TRANSFER:
        return _transfer(word, operand, dsp, leave)
    if kind == REGISTER:
        shortcut = _register(chip, word)
    elif kind == BLOCK_MOVE:
        shortcut = model_quick.block_move(word, operand, dsp, leave)
        if shortcut is not None:
            return shortcut, word >> 24 & 7 in model_quick.WRITES, dsp, False
    elif word == _CLEAR_ACK:
        shortcut = model_quick.clear_ack(word, operand, dsp, leave)
    elif word == _WAIT_DISCONNECT:
        shortcut = model_quick.wait_disconnect(leave)
    elif word >> 29 == _MEMORY_MOVE:
        shortcut = model_quick.memory_move(word, operand, third, leave)
        if shortcut is not None:
            return shortcut, True, dsp + WORD_BYTES & 0xFFFF_FFFF, False
    return (leave, True, dsp, False) if shortcut is None else (shortcut, False, dsp, False)


# -- transfer control ------------------------------------------------------------------------------------------


def _transfer(word: int, operand: int, dsp: int, leave: Step) -> tuple[Step | None, bool, int, bool]:
    opcode, compare = word >> 27 & 7, word & COMPARE
    by_leaving = leave, True, dsp, False
    if opcode not in (Transfer.JUMP, Transfer.RETURN, Transfer.INT) or word & FLY:
        return by_leaving
    target = dsp + signed24(operand) & 0xFFFF_FFFF if word & RELATIVE else operand
    wanted = bool(word & IF_TRUE)
    act = None if opcode == Transfer.JUMP else _return if opcode == Transfer.RETURN else leave
    if not compare and not word & WAIT:
        return (act, wanted, target, wanted) if wanted else (None, False, dsp, False)
    if compare == BY_DATA and not word & WAIT:
        return _by_data(word & 0xFF, ~(word >> 8) & 0xFF, wanted, target, act), False, dsp, False
    if compare == BY_PHASE:
        wait = leave if word & WAIT else None
        return _by_phase(word >> 24 & 7, wanted, target, act, wait), False, dsp, False
    return by_leaving


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
    if register in current:
        return None
    if plain is None:
        return _modify(chip, register, keep, add) if opcode == RegisterMove.MODIFY else None
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


def _modify(chip: type[HwModel], register: int, keep: int, add: int) -> Step | None:
    """A byte register without behaviour whose bits store by their kinds."""
    placed = next((one for one in chip.regs.registers if one.offset == register and one.size == 1), None)
    if (placed is None or hasattr(chip, f"r_{placed.attr}") or hasattr(chip, f"w_{placed.attr}")
            or not _SIMPLE.issuperset(placed.masks)):
        return None
    name, after_write = placed.name, placed.after_write

    def modify(scripts: ScriptsProcessor) -> None:
        values = scripts.values
        old = values[name]
        values[name] = after_write(old, old & keep | add)
    return modify
