"""SCRIPTS decoded: what the bytes at an address make the processor do, in runs without a break.

The processor fetches the bytes of a run each time it comes to it.  Equal bytes at an equal address decode to the same
`Run`, so that decoding them again can be spared; other bytes, whoever wrote them, decode anew.

Shortcuts are for what reads and writes plain registers, and for what good commands do most (model_quick.py).
Everything else *leaves*: the registers of the current instruction are set and the processor's own methods carry it out
(model_scripts.py, model_moves.py).  A run ends where it might have overwritten what follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ddsdk.regs import Access, Placed

from . import model_quick
from .frames import INSN_BYTES, MEMORY_MOVE_BYTES, WORD_BYTES, Kind, Operator, RegisterMove, Transfer
from .model_fuse import ByData, ByPhase, Hit, Item, Put, Return, fuse
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
    TABLE,
    TRANSFER,
    WAIT,
    Hold,
    Step,
    holding,
    leaving,
    signed24,
)

if TYPE_CHECKING:
    from .model_scripts import ScriptsProcessor

#: Instructions of a run at most, and the bytes they may take.
LONGEST: Final = 16
WINDOW: Final = LONGEST * INSN_BYTES
_NOTHING: Final = memoryview(b"")
_FETCH: Final = tuple(Struct(f"{n}s").unpack_from for n in range(0, WINDOW + 1, WORD_BYTES))
_WORDS2: Final = Struct("<II")
_SFBR: Final = 0x08
_USE_SFBR: Final = 0x0080_0000
_JUMP: Final = 0x8008_0000.to_bytes(4, "little")
_MEMORY_MOVE: Final = 6                 # bits 31 to 29
_CLEAR_ACK, _WAIT_DISCONNECT, _WAIT_RESELECT = 0x6000_0040, 0x4800_0000, 0x5000_0000
#: Registers of the current instruction and of the last move, written late: what leaves sees them.
_CURRENT: Final = frozenset(("DSP", "DBC", "DCMD", "DSPS", "ADDER", "DNAD", "DNAD64", "DFIFO", "IA", "RBC", "UA", "SBC",
                             "CSBC"))
#: Kinds of bits that read as they are stored and take any value.
_SIMPLE: Final = frozenset((Access.RW, Access.W1C))
_FAST_OPERATORS: Final = frozenset((Operator.MOVE, Operator.OR, Operator.AND))


class Run:
    """Instructions that follow each other: `count` of them with `code` as bytes; after the last go on at `end`.

    `jumps`: the last one is a JUMP there.  `fetch(view, offset)` gives the bytes that are there now, as a tuple of one;
    whoever keeps the run says by `view` and `offset` where that is.
    """

    __slots__ = ("code", "count", "end", "fetch", "jumps", "offset", "steps", "view")

    def __init__(self, code: bytes, count: int, steps: tuple[Step, ...], end: int, jumps: bool) -> None:
        self.code = code
        self.fetch = _FETCH[len(code) // WORD_BYTES]
        self.count = count
        self.steps = steps
        self.end = end
        self.jumps = jumps
        self.view, self.offset = _NOTHING, 0

    def turns(self, found: bytes) -> bool:
        """*found* is there now; true if only the JUMP at the end goes somewhere else: so does the run from now on."""
        if self.code[-INSN_BYTES:-WORD_BYTES] != _JUMP or found[:-WORD_BYTES] != self.code[:-WORD_BYTES]:
            return False
        self.code, self.end = found, int.from_bytes(found[-WORD_BYTES:], "little")
        return True


def kind_of(word: int) -> int:
    """Index in `ScriptsProcessor.do` for an instruction with this first word."""
    kind = word >> 30
    if kind == Kind.IO_OR_REGISTER:
        return REGISTER if word >> 27 & 7 >= RegisterMove.FROM_SFBR else IO
    return TRANSFER if kind == Kind.TRANSFER_CONTROL else MEMORY if kind == Kind.MEMORY else BLOCK_MOVE


#: type[HwModel]; mypy does not take a class for hashable.
Model = Any


@lru_cache(maxsize=16)
def plain_bytes(chip: Model) -> Mapping[int, tuple[str, int]]:
    """Offset of each byte that simply stores -> its register's name, how far the byte lies from bit 0."""
    return MappingProxyType({
        one.offset + byte: (one.name, 8 * byte) for one in chip.regs.registers for byte in range(one.size)
        if one.plain and not hasattr(chip, f"r_{one.attr}") and not hasattr(chip, f"w_{one.attr}")})


@lru_cache(maxsize=16)
def _current_bytes(chip: Model) -> frozenset[int]:
    return frozenset(one.offset + byte for one in chip.regs.registers if one.attr in _CURRENT
                     for byte in range(one.size))


def decode(chip: Model, address: int, window: bytes) -> Run | None:
    """The run at *address*, whose bytes *window* begins with; None when it holds no whole instruction."""
    items: list[Item] = []
    at = count = 0
    last, end, jumps = False, 0, False
    written: list[tuple[int, int]] = []
    while not last and count < LONGEST and at + INSN_BYTES <= len(window):
        word, operand = _WORDS2.unpack_from(window, at)
        after = at + (INSN_BYTES if word >> 29 != _MEMORY_MOVE else MEMORY_MOVE_BYTES)
        if after > len(window) or any(address + at < stop and start < address + after for start, stop in written):
            break
        third = int.from_bytes(window[at + INSN_BYTES:after], "little")
        item, last, end, jumps = _item(chip, word, operand, third, address + at + INSN_BYTES & 0xFFFF_FFFF)
        if item is not None:
            items.append(item)
        if not last and word >> 29 == _MEMORY_MOVE:
            written.append((third, third + (word & 0xFF_FFFF)))
        elif not last and kind_of(word) == BLOCK_MOVE:
            written.append((operand, operand + (word & 0xFF_FFFF)))
        at, count = after, count + 1
    return Run(window[:at], count, fuse(tuple(items)), end, jumps) if count else None


@lru_cache(maxsize=1 << 14)
def _item(chip: Model, word: int, operand: int, third: int, dsp: int) -> tuple[Item | None, bool, int, bool]:
    """(what an instruction does, None: nothing; whether a run ends with it; where to go on; whether it jumps there).

    What writes memory at an address that only shows then ends a run: the next instruction may be another one.
    """
    kind = kind_of(word)
    leave = leaving(kind, word, operand, dsp)
    shortcut: Item | None = None
    if kind == TRANSFER:
        return _transfer(word, operand, dsp, leave)
    if kind == REGISTER:
        shortcut = _register(chip, word)
    elif kind == BLOCK_MOVE:
        shortcut = model_quick.block_move(word, operand, dsp, leave, modes=hasattr(chip.regs, "CCNTL1"))
        if shortcut is not None:
            return shortcut, bool(word & TABLE) and word >> 24 & 7 in model_quick.WRITES, dsp, False
    elif word == _CLEAR_ACK:
        shortcut = model_quick.clear_ack(word, operand, dsp, leave)
    elif word == _WAIT_RESELECT:
        shortcut = model_quick.wait_reselect(word, operand, dsp)
        return shortcut, True, dsp, False
    elif word == _WAIT_DISCONNECT:
        shortcut = model_quick.wait_disconnect(leave)
    elif word >> 29 == _MEMORY_MOVE:
        shortcut, dsp = model_quick.memory_move(word, operand, third, leave), dsp + WORD_BYTES & 0xFFFF_FFFF
    return (leave, True, dsp, False) if shortcut is None else (shortcut, False, dsp, False)


# -- transfer control ------------------------------------------------------------------------------------------


def _transfer(word: int, operand: int, dsp: int, leave: Step) -> tuple[Item | None, bool, int, bool]:
    opcode, compare = word >> 27 & 7, word & COMPARE
    by_leaving = leave, True, dsp, False
    if opcode not in (Transfer.JUMP, Transfer.RETURN, Transfer.INT) or word & FLY:
        return by_leaving
    target = dsp + signed24(operand) & 0xFFFF_FFFF if word & RELATIVE else operand
    wanted = bool(word & IF_TRUE)
    if not compare and not word & WAIT:
        if not wanted:
            return None, False, dsp, False
        return ((None, True, target, True) if opcode == Transfer.JUMP
                else (Return() if opcode == Transfer.RETURN else leave, True, dsp, False))
    hit = target if opcode == Transfer.JUMP else _return if opcode == Transfer.RETURN else leave
    data, care, phase = word & 0xFF, ~(word >> 8) & 0xFF, word >> 24 & 7
    item: Item
    if compare == BY_DATA and not word & WAIT:
        item = ByData(data, hit) if wanted and care == 0xFF else _by_data(data, care, wanted, hit)
    elif compare == BY_PHASE:
        hold = holding(TRANSFER, word, operand, dsp)
        item = ByPhase(phase, hit, bool(word & WAIT), hold) if wanted else _unless_phase(phase, hit, word, hold)
    else:
        return by_leaving
    return item, False, dsp, False


def _return(scripts: ScriptsProcessor) -> int:
    return scripts.values["TEMP"]


def _by_data(data: int, care: int, wanted: bool, hit: Hit) -> Step:
    """IF [NOT] byte AND MASK byte."""
    def by_data(scripts: ScriptsProcessor) -> int | None:
        if (not (scripts.values["SFBR"] ^ data) & care) is not wanted:
            return None
        return hit if isinstance(hit, int) else hit(scripts)
    return by_data


def _unless_phase(phase: int, hit: Hit, word: int, hold: Hold) -> Step:
    """IF NOT phase; WHEN NOT phase: SCRIPTS are held up while there is none."""
    wait = bool(word & WAIT)

    def unless_phase(scripts: ScriptsProcessor) -> int | None:
        if wait and not scripts.latch_phase():
            return hold(scripts, unless_phase)
        if scripts.values["SSTAT1"] == phase:
            return None
        return hit if isinstance(hit, int) else hit(scripts)
    return unless_phase


# -- registers -------------------------------------------------------------------------------------------------


def _register(chip: Model, word: int) -> Item | None:
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
        return _to_sfbr(chip, register, keep, add)
    if register in current:
        return None
    if plain is None:
        return _modify(chip, register, keep, add) if opcode == RegisterMove.MODIFY else None
    source = ("SFBR", 0) if opcode == RegisterMove.FROM_SFBR else plain
    return _store(plain, source, keep, add)


def _to_sfbr(chip: Model, register: int, keep: int, add: int) -> Step:
    plain = ("SFBR", 0) if register == _SFBR else plain_bytes(chip).get(register) or _read_only(chip, register)
    if plain is None:
        def by_reading(scripts: ScriptsProcessor) -> None:
            scripts.values["SFBR"] = scripts.read_register(register) & keep | add
        return by_reading
    name, shift = plain

    def to_sfbr(scripts: ScriptsProcessor) -> None:
        values = scripts.values
        values["SFBR"] = values[name] >> shift & keep | add
    return to_sfbr


def _read_only(chip: Model, register: int) -> tuple[str, int] | None:
    """A byte register that shows what is stored."""
    placed = _byte(chip, register)
    return None if placed is None or placed.masks.keys() != {Access.RO} else (placed.name, 0)


def _byte(chip: Model, register: int) -> Placed[Any] | None:
    """The byte register there, if it has no behaviour."""
    return next((one for one in chip.regs.registers if one.offset == register and one.size == 1
                 and not hasattr(chip, f"r_{one.attr}") and not hasattr(chip, f"w_{one.attr}")), None)


def _store(plain: tuple[str, int], source: tuple[str, int], keep: int, add: int) -> Item:
    (name, shift), (source_name, source_shift) = plain, source
    others = ~(0xFF << shift)
    if not keep:
        return Put(name, others, add << shift)

    def store(scripts: ScriptsProcessor) -> None:
        values: Any = scripts.values
        values[name] = values[name] & others | (values[source_name] >> source_shift & keep | add) << shift
    return store


def _modify(chip: Model, register: int, keep: int, add: int) -> Step | None:
    """A byte register without behaviour whose bits store by their kinds."""
    placed = _byte(chip, register)
    if placed is None or not _SIMPLE.issuperset(placed.masks):
        return None
    name, stores, clears = placed.name, placed.masks.get(Access.RW, 0), placed.masks.get(Access.W1C, 0)

    def modify(scripts: ScriptsProcessor) -> None:
        values = scripts.values
        old = values[name]
        new = old & keep | add
        values[name] = (old & ~stores | new & stores) & ~(new & clears)
    return modify
