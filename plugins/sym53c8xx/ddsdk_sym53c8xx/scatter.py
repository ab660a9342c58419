"""The data of a command: its table entries, and what is left of one when the target changed the phase.

Segments lie at the end of a block's list, so that the last move of a run is always the last segment's.  A move that was
cut in two goes on in one of two remainders; the other one may hold the saved data pointer.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from .adapter import WORD
from .frames import INSN_BYTES, SEGMENTS, WORD_BYTES, BlockMove, Phase, Transfer, TransferInsn
from .program import RUNS, offset

if TYPE_CHECKING:
    from .adapter import Ccb, Hcb

ENTRY: Final = Struct("<II")
_ENTRY_BYTES: Final = 8
_LIST, _DATA, _MOVED = offset("segments"), offset("data"), offset("moved")
_REST, _REST_CODE = (offset("rest0"), offset("rest1")), (offset("rest0_code"), offset("rest1_code"))
_JUMP: Final = int(TransferInsn.of(KIND=2, OPCODE=Transfer.JUMP, IF_TRUE=1))
#: To the device? -> first word of a move from the table.
_MOVE: Final = {out: int(BlockMove.of(TABLE=1, OPC=1, PHASE=phase))
                for out, phase in ((True, Phase.DATA_OUT), (False, Phase.DATA_IN))}
_LOW: Final = (1 << 32) - 1


def entry(address: int, length: int) -> tuple[int, int]:
    """The two words of a table entry: bits 39..32 of the address above the count."""
    return length | address >> 32 << 24, address & _LOW


def put_segments(np: Hcb, ccb: Ccb) -> None:
    """Write the list of `ccb.segments`, and where its data begins."""
    segments = ccb.segments
    at = ccb.offset + _LIST + (SEGMENTS - len(segments)) * _ENTRY_BYTES
    view, pack = np.view, ENTRY.pack_into
    for address, length in segments:
        pack(view, at, length | address >> 32 << 24, address & _LOW)
        at += _ENTRY_BYTES
    WORD.pack_into(view, ccb.offset + _DATA + WORD_BYTES, run_address(np, ccb, 0))


def run_address(np: Hcb, ccb: Ccb, segment: int) -> int:
    """Where SCRIPTS move segment number *segment* and what follows; past the list: nothing is left."""
    segments = len(ccb.segments)
    if not segments:
        return np.labels["overrun"]
    return np.labels[RUNS[ccb.to_device]] + (SEGMENTS - segments + segment) * INSN_BYTES


def interrupted(np: Hcb, ccb: Ccb, insn: int, left: int) -> bool:
    """The move at address *insn* stopped with *left* bytes to go: make that the current data pointer.

    Returns false when no data move is there.  The program's TEMP then has to point to `rest_code(ccb)`.
    """
    where = locate(np, ccb, insn)
    if where is None:
        return False
    (address, length), after = where
    left = min(left, length)
    slot = 1 if ccb.saved == 0 else 0
    moved = length - left
    ccb.remainders[slot] = (address + moved, left)
    ccb.after[slot] = after
    ccb.left = left + sum([size for _, size in ccb.segments[after:]])
    view, base = np.view, ccb.offset
    ENTRY.pack_into(view, base + _REST[slot], *entry(address + moved, left))
    ENTRY.pack_into(view, base + _REST_CODE[slot], _MOVE[ccb.to_device], _REST[slot])
    ENTRY.pack_into(view, base + _REST_CODE[slot] + INSN_BYTES, _JUMP, run_address(np, ccb, after))
    WORD.pack_into(view, base + _MOVED, 0)
    return True


def locate(np: Hcb, ccb: Ccb, insn: int) -> tuple[tuple[int, int], int] | None:
    """(address, length) of the piece that the move at *insn* moves, and the segment after it; None: no move of data."""
    for slot in (0, 1):
        if insn == ccb.address + _REST_CODE[slot]:
            return ccb.remainders[slot], ccb.after[slot]
    segment, odd = divmod(insn - np.labels[RUNS[ccb.to_device]], INSN_BYTES)
    segment -= SEGMENTS - len(ccb.segments)
    if odd or not 0 <= segment < len(ccb.segments):
        return None
    return ccb.segments[segment], segment + 1


def current_rest(ccb: Ccb) -> int:
    """The low byte of TEMP for the remainder that `interrupted()` made."""
    return _REST_CODE[1 if ccb.saved == 0 else 0]


def save_pointer(np: Hcb, ccb: Ccb, temp0: int) -> None:
    """SAVE DATA POINTER while TEMP's low byte is *temp0*: the next connection begins there."""
    if temp0 in _REST_CODE:
        ccb.saved = _REST_CODE.index(temp0)
        WORD.pack_into(np.view, ccb.offset + _DATA + WORD_BYTES, ccb.address + temp0)
