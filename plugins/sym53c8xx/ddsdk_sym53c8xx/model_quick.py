"""Shortcuts for what a good command does most: whole moves, CLEAR ACK, WAIT DISCONNECT, small memory moves.

Each looks whether things are as they usually are - the phase is the one the move is for, all of it moves at once,
nothing stops SCRIPTS - and does then what the processor's own methods would do; otherwise it *leaves* to them.  The
registers of a move are noted (`ScriptsProcessor.moved`) and written before somebody looks at them.  No fault is armed
here: one that is has instructions carried out one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from .frames import INSN_BYTES, Message, Phase
from .model_steps import BLOCK_MOVE, INDIRECT, IO, LEAVE, MOVE, TABLE, Hold, State, Step, holding, signed24
from .regs import Ccntl1, Istat0

if TYPE_CHECKING:
    from .model_port import Port
    from .model_scripts import ScriptsProcessor

#: Moves *count* bytes at *address* and returns true, or does nothing and returns false.
_Body = Callable[["ScriptsProcessor", "Port", int, int], bool]
_DIRECT_64: Final = Ccntl1.EN64DBMV.mask
_TABLE_64: Final = Ccntl1.EN64TIBMV.mask
_WIDE: Final = _TABLE_64 | Ccntl1.TIMOD.mask
_IDENTIFY, _SIMPLE_TAG = int(Message.IDENTIFY), int(Message.SIMPLE_QUEUE_TAG)
_MSG_IN: Final = Phase.MSG_IN
_WORDS2: Final = Struct("<II").unpack
_RUNNING, _RESELECT = State.RUNNING, State.RESELECT
_SIGP: Final = Istat0.SIGP.mask
#: What a shortcut for memory moves moves at most.
_FEW: Final = 64


# -- block moves -----------------------------------------------------------------------------------------------


def block_move(word: int, operand: int, dsp: int, leave: Step, *, modes: bool) -> Step | None:
    """MOVE, direct or from a table; None: there is no shortcut.  *modes*: the chip has CCNTL1."""
    wanted = Phase(word >> 24 & 7)
    body = _BODIES.get(wanted, _nothing)
    if (body is _nothing and (wanted is not _MSG_IN or word & TABLE)) or not word & MOVE or word & INDIRECT:
        return None
    if not word & TABLE:
        return _direct(word, operand, dsp, leave, body, modes=modes)
    hold = holding(BLOCK_MOVE, word, operand, dsp)
    insn, offset = dsp - INSN_BYTES & 0xFFFF_FFFF, signed24(operand)

    def table_move(scripts: ScriptsProcessor) -> int | None:
        bus, values = scripts.bus, scripts.values
        port = bus.connected
        if port is None or port.phase is None or bus.ack or bus.selecting is not None:
            return hold(scripts, table_move)
        if port.phase is not wanted:
            return leave(scripts)
        at = values["DSA"] + offset & 0xFFFF_FFFF
        try:
            view: memoryview | None = scripts.kept[at << 8 | 8]
        except KeyError:
            view = scripts.keep(at, 8, True)
        if view is None or at & 3:
            return leave(scripts)
        entry, address = _WORDS2(view)
        mode = values["CCNTL1"] & _WIDE if modes else 0
        if mode == _WIDE:
            address |= entry >> 24 << 32
        elif mode & _TABLE_64 or entry >> 24:
            return leave(scripts)
        count = entry & 0xFF_FFFF
        if not count or not body(scripts, port, address, count):
            return leave(scripts)
        values["SSTAT1"] = wanted
        scripts.moved = insn, word, operand, address, count
        scripts.moved_bytes += count
        return None
    return table_move


def _direct(word: int, operand: int, dsp: int, leave: Step, body: _Body, *, modes: bool) -> Step | None:
    insn, count, wanted = dsp - INSN_BYTES & 0xFFFF_FFFF, word & 0xFF_FFFF, Phase(word >> 24 & 7)
    hold = holding(BLOCK_MOVE, word, operand, dsp)
    moved = insn, word, operand, operand, count
    if not count:
        return None
    if wanted is Phase.MSG_IN:
        return _message_byte(moved, leave, hold, modes=modes) if count == 1 else None

    def direct_move(scripts: ScriptsProcessor) -> int | None:
        bus, values = scripts.bus, scripts.values
        port = bus.connected
        if modes and values["CCNTL1"] & _DIRECT_64:
            return leave(scripts)
        if port is None or port.phase is None or bus.ack or bus.selecting is not None:
            return hold(scripts, direct_move)
        if port.phase is not wanted or not body(scripts, port, operand, count):
            return leave(scripts)
        values["SSTAT1"] = wanted
        scripts.moved = moved
        scripts.moved_bytes += count
        return None
    return direct_move


def _message_byte(moved: tuple[int, int, int, int, int], leave: Step, hold: Hold, *, modes: bool) -> Step:
    """One byte of a message in, whose ACK stays."""
    address = moved[3]
    key = address << 8 | 1

    def message_byte(scripts: ScriptsProcessor) -> int | None:
        bus, values = scripts.bus, scripts.values
        port = bus.connected
        if modes and values["CCNTL1"] & _DIRECT_64:
            return leave(scripts)
        if port is None or port.phase is None or bus.ack or bus.selecting is not None:
            return hold(scripts, message_byte)
        if port.phase is not _MSG_IN:
            return leave(scripts)
        try:
            view: memoryview | None = scripts.kept[key]
        except KeyError:
            view = scripts.keep(address, 1, False)
        assert view is not None
        said = port.saying
        view[0] = values["SFBR"] = values["SIDL"] = said[0]
        port.saying = said[1:]
        values["SSTAT1"] = _MSG_IN
        bus.ack = True
        scripts.moved = moved
        scripts.moved_bytes += 1
        return None
    return message_byte


def _nothing(_scripts: ScriptsProcessor, _port: Port, _address: int, _count: int) -> bool:
    return False


def _fetched(scripts: ScriptsProcessor, address: int, count: int) -> bytes:
    view: memoryview | None = None
    if count <= _FEW:
        try:
            view = scripts.kept[address << 8 | count]
        except KeyError:
            view = scripts.keep(address, count, True)
    return b"".join(scripts.memory(address, count, True)) if view is None else bytes(view)


def _data_out(scripts: ScriptsProcessor, port: Port, address: int, count: int) -> bool:
    task = port.task
    if task is None or not task.out or port.data_ready() != count or scripts.chip.left_in_fifo:
        return False
    task.take(scripts.memory(address, count, True), count)
    port.data_moved(count)
    return True


def _data_in(scripts: ScriptsProcessor, port: Port, address: int, count: int) -> bool:
    task = port.task
    if task is None or task.out is not False or port.data_ready() != count or scripts.chip.left_in_fifo:
        return False
    views = scripts.memory(address, count, False)
    scripts.values["SFBR"] = task.first_byte()
    task.give(views)
    port.data_moved(count)
    return True


def _command(scripts: ScriptsProcessor, port: Port, address: int, count: int) -> bool:
    cdb = _fetched(scripts, address, count)
    if port.command_bytes(cdb) != count:
        return False
    port.command(cdb)
    return True


def _message_out(scripts: ScriptsProcessor, port: Port, address: int, count: int) -> bool:
    """IDENTIFY, with a simple queue tag or without."""
    if count not in (1, 3) or port.identified:
        return False
    messages = _fetched(scripts, address, count)
    if not messages[0] & _IDENTIFY or (count == 3 and messages[1] != _SIMPLE_TAG):
        return False
    scripts.bus.atn = False                     # falls with the last byte
    port.message_out(messages)
    return True


def _status(scripts: ScriptsProcessor, port: Port, address: int, count: int) -> bool:
    if count != 1:
        return False
    view = scripts.kept.get(address << 8 | 1) or scripts.keep(address, 1, False)
    assert view is not None
    view[0] = scripts.values["SFBR"] = port.status()
    return True


_BODIES: Final[Mapping[Phase, _Body]] = MappingProxyType({
    Phase.DATA_OUT: _data_out, Phase.DATA_IN: _data_in, Phase.COMMAND: _command, Phase.STATUS: _status,
    Phase.MSG_OUT: _message_out})
#: Moves that write memory.
WRITES: Final = frozenset((Phase.DATA_IN, Phase.STATUS, Phase.MSG_IN))


# -- the bus ---------------------------------------------------------------------------------------------------


def clear_ack(word: int, operand: int, dsp: int, leave: Step) -> Step:
    """CLEAR ACK and nothing else: mostly the next message byte follows."""
    dcmd, dbc = word >> 24, word & 0xFF_FFFF

    def clear(scripts: ScriptsProcessor) -> int | None:
        bus = scripts.bus
        port = bus.connected
        if port is None or not bus.ack:
            return None
        if bus.atn:
            return leave(scripts)
        bus.ack = False
        if port.saying:                         # the next byte
            port.step += 1
            port.phase = _MSG_IN
            return None
        if scripts.moved is not None:
            scripts.settle()
        values = scripts.values
        values["DSP"] = dsp
        values["DCMD"] = dcmd
        values["DBC"] = dbc
        values["DSPS"] = operand
        port.heard()
        return None if scripts.state is _RUNNING else LEAVE
    return clear


def wait_disconnect(leave: Step) -> Step:
    """WAIT DISCONNECT: mostly bus free is there already."""
    def wait(scripts: ScriptsProcessor) -> int | None:
        bus = scripts.bus
        if bus.connected is not None and not bus.left:
            return leave(scripts)
        bus.left = False
        return None
    return wait


def wait_reselect(word: int, alternate: int, dsp: int) -> Step:
    """WAIT RESELECT, its alternate address not relative."""
    dcmd, dbc = word >> 24, word & 0xFF_FFFF

    def wait(scripts: ScriptsProcessor) -> int | None:
        if scripts.moved is not None:
            scripts.settle()
        values = scripts.values
        values["DSP"] = dsp
        values["DCMD"] = dcmd
        values["DBC"] = dbc
        values["DSPS"] = values["DNAD"] = scripts.alternate = alternate
        if values["ISTAT0"] & _SIGP:
            values["DSP"] = alternate
        elif scripts.bus.connected is None:
            scripts.hold(IO, word, alternate)
            scripts.state = _RESELECT
        return LEAVE
    return wait


# -- memory ----------------------------------------------------------------------------------------------------


def memory_move(word: int, source: int, destination: int, leave: Step) -> Step | None:
    """MOVE MEMORY of a few bytes."""
    count = word & 0xFF_FFFF
    if not 0 < count <= _FEW or (source ^ destination) & 3:
        return None
    source_key, destination_key = source << 8 | count, destination << 8 | count

    def move(scripts: ScriptsProcessor) -> int | None:
        kept = scripts.kept
        try:
            read: memoryview | None = kept[source_key]
            write: memoryview | None = kept[destination_key]
        except KeyError:
            read, write = scripts.keep(source, count, True), scripts.keep(destination, count, False)
        if read is None or write is None:
            return leave(scripts)
        write[:] = read
        return None
    return move
