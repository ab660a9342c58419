"""The driver's SCRIPTS: one program for all chips, and the pieces that each command block has of its own.

Only instructions that the 53C810 knows are used.  How a command goes through it:

* The start queue is a ring of JUMPs.  `startpos` jumps to the slot that is next; an empty one jumps to `idle`, a filled
  one to a block's `launch`, which makes the block current (DSA, TEMP) and goes to `select`.  Once the target is
  selected the block's `advance` moves `startpos` on; a reselection that comes first goes to `reselected`, and the
  block's turn comes again.
* `idle` waits to be reselected, or for SIGP, with which the driver says that a slot was filled.
* `reselected` reads the tag, which is bits 15..8 of the block's address; the block's `resume` checks target and LUN.
* TEMP points to the block's `data`, a JUMP to the saved data pointer in one of two long runs of table moves, so that
  RETURN moves data.  TEMP's low byte changes with the current pointer: `over` at the end of the list, `rest0` or
  `rest1` when the driver cut a move in two after a phase mismatch.
* A command that ends with status GOOD has its block's `done` set and INTFLY says so; any other status stops SCRIPTS.

SCRATCHA0: the identify message of a reselection.  SCRATCHA1: the status byte; NO_STATUS until there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import Final

from ddsdk.abi import WIRE_LE

from .assembler import Code, assemble
from .frames import BLOCK_BYTES, BLOCKS, SEGMENTS, TAG_MASK, TAG_STEP, WORD_BYTES, CommandBlock, Message, TableEntry

LAYOUT: Final = CommandBlock.on(WIRE_LE)
#: Slots of the start queue: every block can wait in it, and one slot is always empty.
SLOTS: Final = BLOCKS + 1
NO_STATUS: Final = 0xFF
#: What `all_moved` and `finish` write into a block's `moved` and `done`.
DONE: Final = 1
#: Bytes of the place where data goes that nobody asked for.
BUCKET_BYTES: Final = 512


class Sir(IntEnum):
    """INT codes: what SCRIPTS stop for."""

    STOPPED = 1             # at the gate, nothing is connected
    BAD_STATUS = 2          # bus free; a command ended with another status than GOOD
    SAVE_POINTER = 3        # ACK held; the current data pointer is in the middle of a move
    OVERRUN = 4             # one byte too many came
    DATA_OUT_OVERRUN = 5    # the target wants more than there is
    NO_IDENTIFY = 6         # ACK held; a reselection began with another message
    UNTAGGED = 7            # reselected, no tag follows
    RESELECT_MESSAGE = 8    # ACK held; reselected, and instead of a tag this message came
    BAD_TAG = 9             # ACK held; a tag that no block has
    BAD_NEXUS = 10          # ACK held; the tag's block is not in use, or for another target or LUN
    MESSAGE_REJECTED = 11   # ACK held; the target refuses a message of ours
    BAD_PHASE = 12          # a phase that SCSI-2 does not have
    TM_PHASE = 13           # selected with ATN, and no message out phase
    TM_DONE = 14            # bus free; the task management message was delivered
    ABANDON_PHASE = 15      # the target does not let itself be interrupted


_SOURCE: Final = f"""
signalled:      READ CTEST2                             ; which clears SIGP
start:
gate:           NOP                                     ; INT STOPPED while the driver wants it to stop
startpos:       JUMP slots
idle:           WAIT RESELECT signalled

reselected:     MOVE 1, msgin, WHEN MSG_IN
                MOVE SFBR TO SCRATCHA0
                INT {Sir.NO_IDENTIFY}, IF NOT {Message.IDENTIFY} AND MASK 0x7F
                CLEAR ACK
                JUMP untagged, WHEN NOT MSG_IN
                MOVE 1, msgin, WHEN MSG_IN
                INT {Sir.RESELECT_MESSAGE}, IF NOT {Message.SIMPLE_QUEUE_TAG}
                CLEAR ACK
                MOVE 1, msgin, WHEN MSG_IN
                INT {Sir.BAD_TAG}, IF NOT 0 AND MASK {TAG_MASK}
                MOVE SFBR TO DSA1
                MOVE SFBR TO TEMP1
                MOVE resume TO TEMP0
                RETURN
untagged:       INT {Sir.UNTAGGED}
resume_message: MOVE {NO_STATUS} TO SCRATCHA1           ; the driver found the block; a message waits
                MOVE data TO TEMP0
                JUMP message
resumed:        CLEAR ACK
resume_there:   MOVE {NO_STATUS} TO SCRATCHA1           ; the driver found the block; ACK is clear
                MOVE data TO TEMP0
                JUMP dispatch

select:         SELECT ATN FROM select_entry, reselected
                MOVE FROM msgout_entry, WHEN MSG_OUT
messages_sent:  MOVE advance TO TEMP0
                RETURN
selected:       MOVE {NO_STATUS} TO SCRATCHA1
                MOVE data TO TEMP0
                JUMP dispatch, WHEN NOT COMMAND
command:        MOVE FROM cdb_entry, WHEN COMMAND
dispatch:       JUMP message_in, WHEN MSG_IN
                RETURN, IF DATA_OUT
                RETURN, IF DATA_IN
                JUMP status, IF STATUS
                JUMP message_out, IF MSG_OUT
                JUMP command, IF COMMAND
                INT {Sir.BAD_PHASE}

status:         MOVE FROM status_entry, WHEN STATUS
                MOVE SFBR TO SCRATCHA1
                JUMP dispatch, WHEN NOT MSG_IN

message_in:     MOVE 1, msgin, WHEN MSG_IN
message:        JUMP complete, IF {Message.COMMAND_COMPLETE}
                JUMP disconnect, IF {Message.DISCONNECT}
                JUMP save, IF {Message.SAVE_DATA_POINTER}
                JUMP restore, IF {Message.RESTORE_POINTERS}
                JUMP clear_ack, IF {Message.NO_OPERATION}
                INT {Sir.MESSAGE_REJECTED}, IF {Message.MESSAGE_REJECT}
                SET ATN                                 ; anything else is refused
                CLEAR ACK
reject_wait:    JUMP reject, WHEN MSG_OUT
                JUMP dispatch, IF NOT MSG_IN
                MOVE 1, msgin, WHEN MSG_IN
                CLEAR ACK
                JUMP reject_wait
reject:         MOVE 1, reject_byte, WHEN MSG_OUT
                JUMP dispatch

save:           READ TEMP0
                JUMP clear_ack, IF data
                INT {Sir.SAVE_POINTER}, IF NOT over
                MOVE save_over TO TEMP0
                RETURN
restore:        MOVE data TO TEMP0
                JUMP clear_ack
saved:          MOVE over TO TEMP0
clear_ack:      CLEAR ACK
                JUMP message_in, WHEN MSG_IN
                JUMP dispatch

disconnect:     MOVE SCNTL2 & 0x7F TO SCNTL2            ; what comes now is no unexpected disconnect
                CLEAR ACK
                WAIT DISCONNECT
                JUMP start

complete:       MOVE SCNTL2 & 0x7F TO SCNTL2
                CLEAR ACK
                WAIT DISCONNECT
                READ SCRATCHA1
                INT {Sir.BAD_STATUS}, IF NOT 0
                MOVE finish TO TEMP0
                RETURN
finished:
intfly:         INTFLY 0                                ; NOP in crash mode: its interrupt cannot be masked
                JUMP start

message_out:    MOVE 1, msgout, WHEN MSG_OUT
                MOVE MEMORY 4, no_operation, msgout
                JUMP dispatch

data_out:
{{out_run}}
                MOVE all_moved TO TEMP0
                RETURN
data_in:
{{in_run}}
                MOVE all_moved TO TEMP0
                RETURN
data_over:      MOVE over TO TEMP0
                JUMP message_in, WHEN MSG_IN
                JUMP dispatch
overrun:        JUMP over_in, WHEN DATA_IN
                INT {Sir.DATA_OUT_OVERRUN}
over_in:        MOVE 1, bucket, WHEN DATA_IN
                INT {Sir.OVERRUN}
over_more:      MOVE {BUCKET_BYTES}, bucket, WHEN DATA_IN
                JUMP over_more, WHEN DATA_IN
                JUMP dispatch

abandon_there:  SET ATN                                 ; ACK is clear: a byte has to move before the target looks
                JUMP abandon_wait, WHEN MSG_OUT
                JUMP abandon_wait, IF MSG_IN
                JUMP abandon_out, IF DATA_OUT
                JUMP abandon_status, IF STATUS
                MOVE 1, bucket, WHEN DATA_IN
                JUMP abandon_wait
abandon_out:    MOVE 1, zero, WHEN DATA_OUT
                JUMP abandon_wait
abandon_status: MOVE 1, bucket, WHEN STATUS
                JUMP abandon_wait
abandon:        SET ATN                                 ; get rid of whoever is connected, by the message in msgout
                CLEAR ACK
abandon_wait:   JUMP abandon_send, WHEN MSG_OUT
                INT {Sir.ABANDON_PHASE}, IF NOT MSG_IN
                MOVE 1, msgin, WHEN MSG_IN
                CLEAR ACK
                JUMP abandon_wait
abandon_send:   MOVE SCNTL2 & 0x7F TO SCNTL2
                MOVE 1, msgout, WHEN MSG_OUT
                MOVE MEMORY 4, no_operation, msgout
                WAIT DISCONNECT
                JUMP start

tm_select:      SELECT ATN FROM select_entry, reselected
                JUMP tm_send, WHEN MSG_OUT
                INT {Sir.TM_PHASE}
tm_send:        MOVE SCNTL2 & 0x7F TO SCNTL2
                MOVE FROM msgout_entry, WHEN MSG_OUT
                WAIT DISCONNECT
                INT {Sir.TM_DONE}

slots:
{{slots}}
msgin:          DATA 0
msgout:         DATA {Message.NO_OPERATION}
no_operation:   DATA {Message.NO_OPERATION}
reject_byte:    DATA {Message.MESSAGE_REJECT}
done_word:      DATA {DONE}
overrun_word:   DATA overrun
zero:           DATA 0
"""

#: What a block has of its own.  The two conditions in `resume` are written with each command.
_BLOCK_SOURCE: Final = f"""
launch:         MOVE tag TO DSA1
                MOVE tag TO TEMP1
                JUMP select
advance:        MOVE MEMORY 4, next_slot, start_target
                JUMP selected
resume:         READ SSID
                INT {Sir.BAD_NEXUS}
                READ SCRATCHA0
                INT {Sir.BAD_NEXUS}
                JUMP resumed
data:           JUMP overrun
over:           JUMP overrun
rest0_code:     NOP
                NOP
rest1_code:     NOP
                NOP
all_moved:      MOVE MEMORY 4, done_word, moved
                JUMP data_over
save_over:      MOVE MEMORY 4, overrun_word, data_target
                JUMP saved
finish:         MOVE MEMORY 4, done_word, done
                JUMP finished
"""


def offset(member: str) -> int:
    """Byte offset of a member of the command block."""
    return LAYOUT.offsetof(member)


#: Block members as the common program knows them: code by the low byte of its address, entries by their offset.
_MEMBERS: Final[Mapping[str, int]] = MappingProxyType({
    **{name: offset(name) for name in ("resume", "advance", "data", "over", "all_moved", "save_over", "finish")},
    **{f"{name}_entry": offset(name) for name in ("select", "msgout", "cdb", "status")},
})
#: Labels of the common program that a block's code jumps to.
_SHARED: Final = ("select", "selected", "resumed", "overrun", "data_over", "overrun_word", "saved", "done_word",
                  "finished")
#: To the device? -> the label of the run of moves; its last move is that of the block's last segment.
RUNS: Final[Mapping[bool, str]] = MappingProxyType({True: "data_out", False: "data_in"})


def _run(phase: str) -> str:
    first, each = offset("segments"), TableEntry.on(WIRE_LE).size
    return "\n".join(f"MOVE FROM {first + n * each}, WHEN {phase}" for n in range(SEGMENTS))


@lru_cache(maxsize=8)
def common_program(origin: int, bucket: int) -> Code:
    """The program for bus address *origin*; *bucket*: address of BUCKET_BYTES for data that nobody wants."""
    source = _SOURCE.format(out_run=_run("DATA_OUT"), in_run=_run("DATA_IN"), slots="JUMP idle\n" * SLOTS)
    return assemble(source, origin, {**_MEMBERS, "bucket": bucket})


def block_codes(address: int, labels: Mapping[str, int]) -> tuple[bytes, ...]:
    """The code of each block from bus address *address* on: its members from `launch` to `finish`.

    A block's words are those of the first, plus its number times what two neighbours differ by: addresses and tags.
    """
    return _block_codes(address, tuple(labels[name] for name in (*_SHARED, "startpos")))


@lru_cache(maxsize=8)
def _block_codes(address: int, places: tuple[int, ...]) -> tuple[bytes, ...]:
    labels = dict(zip((*_SHARED, "startpos"), places, strict=True))
    first, second = (_block_words(address + n * BLOCK_BYTES, n * TAG_STEP, labels) for n in (0, 1))
    words = Struct(f"<{len(first)}I")
    return tuple(words.pack(*(a + n * (b - a) for a, b in zip(first, second, strict=True))) for n in range(BLOCKS))


def _block_words(address: int, tag: int, labels: Mapping[str, int]) -> tuple[int, ...]:
    return assemble(_BLOCK_SOURCE, address + offset("launch"), {
        **{name: labels[name] for name in _SHARED}, "tag": tag, "start_target": labels["startpos"] + WORD_BYTES,
        "next_slot": address + offset("next"), "done": address + offset("done"),
        "moved": address + offset("moved"), "data_target": address + offset("data") + WORD_BYTES}).words
