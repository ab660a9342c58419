"""A small assembler for SCRIPTS: one table of instructions, labels, nothing else.

    start:  WAIT RESELECT sigp
            MOVE 1, msgin, WHEN MSG_IN
            INT 3, IF NOT 0x80 AND MASK 0x7F
            MOVE SFBR TO DSA1
            JUMP start

One instruction a line, `;` begins a comment, names are labels or symbols the caller gives.  The syntax is that of the
data sheet's chapter 5.  A line that fits no row of the table is an AssemblyError with its number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from attrs import frozen

from .frames import (
    COUNT_MAX,
    BlockMove,
    DirectSelect,
    Io,
    Kind,
    MemoryInsn,
    Operator,
    Phase,
    RegisterInsn,
    RegisterMove,
    TableSelect,
    Transfer,
    TransferInsn,
)
from .regs import Regs895a

#: Operands by name, as they are written.
Operands = Mapping[str, str]
#: What makes words of an instruction: (value of a name or number, operands) -> words.
Encoder = Callable[["Values", Operands], Sequence[int]]


class AssemblyError(Exception):
    """A line of SCRIPTS that cannot be assembled: a defect of the driver, never of its adapter."""


class Values:
    """What names mean: labels, symbols, registers, numbers."""

    def __init__(self, names: Mapping[str, int]) -> None:
        self._names = names

    def number(self, text: str, limit: int = 0xFFFF_FFFF) -> int:
        """A number, or the value of a name, perhaps with `+n`; at most *limit*."""
        name, plus, more = text.partition("+")
        value = self._names.get(name)
        if value is None:
            try:
                value = int(name, 0)
            except ValueError:
                raise AssemblyError(f"{name!r} is no label and no symbol") from None
        value += int(more, 0) if plus else 0
        if not 0 <= value <= limit:
            raise AssemblyError(f"{text} = {value:#x} is more than {limit:#x}")
        return value

    def byte(self, text: str) -> int:
        """A number of 8 bits."""
        return self.number(text, 0xFF)

    def offset(self, text: str) -> int:
        """A table offset from DSA."""
        return self.number(text, 0xFF_FFFF)

    def register(self, text: str) -> dict[str, int]:
        """A byte register by name, of a wider one with the byte's number: the fields that hold its offset."""
        offset = _REGISTERS.get(text)
        if offset is None:
            raise AssemblyError(f"{text!r} is no register of one byte")
        return {"REGISTER": offset & 0x7F, "REGISTER_7": offset >> 7}


def _register_offsets() -> Mapping[str, int]:
    offsets: dict[str, int] = {}
    for one in Regs895a.registers:
        if one.size == 1:
            offsets[one.name] = one.offset
        else:
            offsets.update({f"{one.name}{byte}": one.offset + byte for byte in range(one.size)})
    return MappingProxyType(offsets)


_REGISTERS: Final = _register_offsets()
_OPERATORS: Final[Mapping[str, Operator]] = {"|": Operator.OR, "XOR": Operator.XOR, "&": Operator.AND,
                                             "+": Operator.ADD}
_LINES: Final[Mapping[str, int]] = {
    "ACK": DirectSelect.of(ACK=1), "ATN": DirectSelect.of(SET_ATN=1), "CARRY": DirectSelect.of(CARRY=1),
    "TARGET": DirectSelect.of(TARGET=1),
}


def _phase(text: str) -> Phase:
    try:
        return Phase[text]
    except KeyError:
        raise AssemblyError(f"{text!r} is no phase; there are {', '.join(Phase.__members__)}") from None


# -- encoders ------------------------------------------------------------------------------------------------


def _block(**fields: Any) -> Encoder:
    def encode(values: Values, given: Operands) -> Sequence[int]:
        count = values.number(given["count"], COUNT_MAX) if "count" in given else 0
        word = BlockMove.of(KIND=Kind.BLOCK_MOVE, OPC=1, PHASE=_phase(given["phase"]), COUNT=count, **fields)
        where = values.offset(given["table"]) if "table" in given else values.number(given["address"])
        return word, where
    return encode


def _select(*, atn: bool) -> Encoder:
    def encode(values: Values, given: Operands) -> Sequence[int]:
        head: dict[str, Any] = {"KIND": Kind.IO_OR_REGISTER, "OPCODE": Io.SELECT, "ATN": atn}
        if "table" in given:
            word: int = TableSelect.of(TABLE=1, OFFSET=values.offset(given["table"]), **head)
        else:
            word = DirectSelect.of(ID=values.number(given["id"], 15), **head)
        return word, values.number(given["address"])
    return encode


def _io(opcode: Io) -> Encoder:
    def encode(values: Values, given: Operands) -> Sequence[int]:
        word = int(DirectSelect.of(KIND=Kind.IO_OR_REGISTER, OPCODE=opcode))
        for name in given.get("lines", "").split(" AND ") if "lines" in given else ():
            if name not in _LINES:
                raise AssemblyError(f"{name!r} is no line; there are {', '.join(_LINES)}")
            word |= _LINES[name]
        return word, values.number(given["address"]) if "address" in given else 0
    return encode


def _register(opcode: RegisterMove, register: str = "reg") -> Encoder:
    def encode(values: Values, given: Operands) -> Sequence[int]:
        if "into" in given and given["into"] != given["reg"]:
            raise AssemblyError(f"the result goes into {given['reg']} or SFBR, not {given['into']}")
        moved = "value" in given and "op" not in given
        operator = _OPERATORS[given["op"]] if "op" in given else Operator.MOVE if moved else Operator.OR
        return RegisterInsn.of(KIND=Kind.IO_OR_REGISTER, OPCODE=opcode, OPERATOR=operator,
                               DATA=values.byte(given.get("value", "0")), **values.register(given[register])), 0
    return encode


def _transfer(opcode: Transfer, **fields: Any) -> Encoder:
    def encode(values: Values, given: Operands) -> Sequence[int]:
        condition = _condition(values, given.get("condition", ""))
        word = TransferInsn.of(KIND=Kind.TRANSFER_CONTROL, OPCODE=opcode, **fields) | condition
        return word, values.number(given.get("address", "0"))
    return encode


def _condition(values: Values, text: str) -> int:
    """`WHEN [NOT] phase` | `IF [NOT] phase` | `IF [NOT] byte [AND MASK byte]`; nothing: always."""
    if not text:
        return TransferInsn.of(IF_TRUE=1)
    how, _, what = text.partition(" ")
    negated = what.startswith("NOT ")
    what = what.removeprefix("NOT ")
    fields: dict[str, Any] = {"IF_TRUE": not negated, "WAIT": how == "WHEN"}
    if what in Phase.__members__:
        return TransferInsn.of(COMPARE_PHASE=1, PHASE=Phase[what], **fields)
    if how == "WHEN":
        raise AssemblyError(f"{what!r} is no phase; WHEN waits for one")
    data, _, mask = what.partition(" AND MASK ")
    return TransferInsn.of(COMPARE_DATA=1, DATA=values.byte(data), MASK=values.byte(mask or "0"), **fields)


def _memory_move(values: Values, given: Operands) -> Sequence[int]:
    word = Kind.MEMORY << 30 | values.number(given["count"], COUNT_MAX)
    return word, values.number(given["source"]), values.number(given["address"])


def _load_store(*, load: bool) -> Encoder:
    def encode(values: Values, given: Operands) -> Sequence[int]:
        where = values.register(given["reg"])
        length = values.number(given["count"], 4)
        word = MemoryInsn.of(KIND=Kind.MEMORY, LOAD_STORE=1, LOAD=load, LENGTH=length,
                             REGISTER=where["REGISTER"] | where["REGISTER_7"] << 7)
        return word, values.number(given["address"])
    return encode


def _first_word(text: str) -> str:
    found = re.match(r"[A-Z]+", text)
    return found[0] if found is not None else ""


# -- the table -----------------------------------------------------------------------------------------------


@frozen
class Row:
    """One instruction: how it is written, how it is encoded, its words."""

    syntax: str
    encode: Encoder
    words: int = 2

    @property
    def pattern(self) -> re.Pattern[str]:
        """*syntax* with its operands as groups; a [part] may be missing."""
        text = re.escape(self.syntax).replace(r"\ ", " ")
        text = re.sub(r"\\\[(.*?)\\\]", r"(?:\1)?", text)
        text = re.sub(r"\\{(\w+)\\}", lambda found: f"(?P<{found[1]}>{_OPERAND.get(found[1], _NAME)})", text)
        return re.compile(text)


_NAME: Final = r"[\w+]+"
_OPERAND: Final[Mapping[str, str]] = {"op": r"\||&|\+|XOR", "condition": r"(?:WHEN|IF) .+",
                                      "lines": r"\w+(?: AND \w+)*"}
_CONDITION: Final = "[, {condition}]"

#: Every instruction the assembler knows.  The first row that fits is taken.
INSTRUCTIONS: Final[Sequence[Row]] = (
    Row("MOVE FROM {table}, WHEN {phase}", _block(TABLE=1)),
    Row("MOVE MEMORY {count}, {source}, {address}", _memory_move, 3),
    Row("MOVE {count}, PTR {address}, WHEN {phase}", _block(INDIRECT=1)),
    Row("MOVE {count}, {address}, WHEN {phase}", _block()),
    Row("SELECT ATN FROM {table}, {address}", _select(atn=True)),
    Row("SELECT FROM {table}, {address}", _select(atn=False)),
    Row("SELECT ATN {id}, {address}", _select(atn=True)),
    Row("SELECT {id}, {address}", _select(atn=False)),
    Row("WAIT DISCONNECT", _io(Io.WAIT_DISCONNECT)),
    Row("WAIT RESELECT {address}", _io(Io.WAIT_RESELECT)),
    Row("SET {lines}", _io(Io.SET)),
    Row("CLEAR {lines}", _io(Io.CLEAR)),
    Row("MOVE SFBR TO {reg}", _register(RegisterMove.FROM_SFBR)),
    Row("MOVE SFBR {op} {value} TO {reg}", _register(RegisterMove.FROM_SFBR)),
    Row("MOVE {reg} {op} {value} TO SFBR", _register(RegisterMove.TO_SFBR)),
    Row("MOVE {reg} {op} {value} TO {into}", _register(RegisterMove.MODIFY)),
    Row("READ {reg}", _register(RegisterMove.TO_SFBR)),
    Row("MOVE {value} TO {reg}", _register(RegisterMove.MODIFY)),
    Row("NOP", lambda values, given: (Kind.TRANSFER_CONTROL << 30, 0)),
    Row("JUMP {address}" + _CONDITION, _transfer(Transfer.JUMP)),
    Row("CALL {address}" + _CONDITION, _transfer(Transfer.CALL)),
    Row("RETURN" + _CONDITION, _transfer(Transfer.RETURN)),
    Row("INTFLY {address}" + _CONDITION, _transfer(Transfer.INT, ON_THE_FLY=1)),
    Row("INT {address}" + _CONDITION, _transfer(Transfer.INT)),
    Row("LOAD {reg}, {count}, {address}", _load_store(load=True)),
    Row("STORE {reg}, {count}, {address}", _load_store(load=False)),
    Row("DATA {address}", lambda values, given: (values.number(given["address"]),), 1),
)
#: By the first word of a line.
_PATTERNS: Final[Mapping[str, Sequence[tuple[Row, re.Pattern[str]]]]] = MappingProxyType({
    word: tuple((row, row.pattern) for row in INSTRUCTIONS if _first_word(row.syntax) == word)
    for word in {_first_word(row.syntax) for row in INSTRUCTIONS}})


@frozen
class Code:
    """What came out: words in order from *origin* on, and where the labels are."""

    origin: int
    words: tuple[int, ...]
    labels: Mapping[str, int]

    @property
    def size(self) -> int:
        """Bytes."""
        return 4 * len(self.words)

    def __bytes__(self) -> bytes:
        return b"".join(word.to_bytes(4, "little") for word in self.words)


def assemble(text: str, origin: int, symbols: Mapping[str, int] = MappingProxyType({})) -> Code:
    """Assemble *text* for bus address *origin*; *symbols* are names it may use besides its own labels."""
    lines: list[tuple[int, Row, Operands]] = []
    labels: dict[str, int] = {}
    at = origin
    for number, line in enumerate(text.splitlines(), 1):
        body = " ".join(line.partition(";")[0].split())
        while (found := re.match(r"(\w+): ?", body)) is not None:
            if found[1] in labels or found[1] in symbols:
                raise AssemblyError(f"line {number}: {found[1]} is there already")
            labels[found[1]] = at
            body = body[found.end():]
        if body:
            row, given = _parse(number, body)
            lines.append((number, row, given))
            at += 4 * row.words
    values = Values({**symbols, **labels})
    words: list[int] = []
    for number, row, given in lines:
        try:
            words += (int(word) for word in row.encode(values, given))
        except (AssemblyError, ValueError) as error:
            raise AssemblyError(f"line {number}: {error}") from None
    return Code(origin, tuple(words), MappingProxyType(labels))


def _parse(number: int, body: str) -> tuple[Row, Operands]:
    for row, pattern in _PATTERNS.get(_first_word(body), ()):
        found = pattern.fullmatch(body)
        if found is not None:
            return row, {name: text for name, text in found.groupdict().items() if text is not None}
    raise AssemblyError(f"line {number}: {body!r} is no instruction; see INSTRUCTIONS")
