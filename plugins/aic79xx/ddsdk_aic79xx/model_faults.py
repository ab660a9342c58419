"""Everything that can be made to go wrong with the chip: fault id -> what happens.

The rows are the error table of the hardware notes, and what its drivers defend themselves against besides.
Parameters in brackets, with their defaults; they are what `inject(id, after=, times=, **params)` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .regs import ErrorBits, LqiStat1, SeqIntCode, SStat0

#: As the idle loop finds a new SCB: the sequencer stops with this in ERROR, HWERRINT.
HARDWARE_ERRORS: Final[Mapping[str, int]] = MappingProxyType({
    "sequencer-parity": ErrorBits.SQPARERR.mask,
    "illegal-opcode": ErrorBits.ILLOPCODE.mask,
    "memory-parity": ErrorBits.MPARERR.mask,
    "data-parity": ErrorBits.DPARERR.mask,
    "access-parity": ErrorBits.CIOPARERR.mask,
})

#: As the idle loop finds a new SCB: a sequencer interrupt out of nowhere, with this code.
SEQUENCER_INTERRUPTS: Final[Mapping[str, SeqIntCode]] = MappingProxyType({
    "seqint-spurious": SeqIntCode.NO_SEQINT,
    "seqint-bad-phase": SeqIntCode.BAD_PHASE,
    "seqint-send-reject": SeqIntCode.SEND_REJECT,
    "seqint-bad-status": SeqIntCode.BAD_STATUS,
    "seqint-dump-state": SeqIntCode.DUMP_CARD_STATE,
    "seqint-invalid": SeqIntCode.INVALID_SEQINT,
    "seqint-tracepoint": SeqIntCode.TRACEPOINT0,
    "missed-busfree": SeqIntCode.MISSED_BUSFREE,
    "saw-hwerr": SeqIntCode.SAW_HWERR,
})

#: As the idle loop finds a new SCB: this in SSTAT0.
TRANSCEIVER: Final[Mapping[str, int]] = MappingProxyType({
    "transceiver-change": SStat0.IOERR.mask,
    "offset-overrun": SStat0.OVERRUN.mask,
})

#: As a packet comes in: SCSIPERR with this in LQISTAT1; nothing of the connection is left.
BROKEN_LQ: Final[Mapping[str, int]] = MappingProxyType({
    "lq-overrun": LqiStat1.LQIOVERI_LQ.mask,
    "packet-overrun": LqiStat1.LQIOVERI_NLQ.mask,
    "bad-lq": LqiStat1.LQIBADLQI.mask,
})

#: A command is not carried out, it ends with this status.
STATUS: Final[Mapping[str, int]] = MappingProxyType({
    "status-busy": 0x08,
    "status-queue-full": 0x28,
    "status-reservation-conflict": 0x18,
    "status-terminated": 0x22,
    "status-task-aborted": 0x40,
})

#: A negotiation message that the target answers with MESSAGE REJECT: its code.
REJECTED: Final[Mapping[str, int]] = MappingProxyType({
    "ppr-rejected": 0x04, "wdtr-rejected": 0x03, "sdtr-rejected": 0x01,
})

#: Every fault id with its meaning.
FAULTS: Final[Mapping[str, str]] = MappingProxyType({
    "adapter-gone": "from now on every register reads all ones, and writes are lost",
    "pause-stuck": "a write of HCNTRL.PAUSE has no effect",
    "sequencer-hung": "the program takes no more turns until it is restarted",
    "reset-hangs": "CHIPRSTACK never comes",
    "rst-stays-low": "after the host let go of RST somebody else holds it [ns=4 s]",
    "coalescing-left-on": "completions are held back for 250 us: HS_MAILBOX.40 as a dead kernel's timer left it",
    "critical-section": "the sequencer is paused in a section where it may not be looked at [address=17]",
    "command-hung": "the SCB that is announced next is fetched and never heard of again",
    "foreign-bus-reset": "somebody else pulls RST as an SCB waits to be fetched",
    "pci-error": "PCIINT, with error bits of the data FIFO's bus client",
    "split-error": "SPLTINT, which stops nothing",
    "scsi-ram-parity": "SSTAT3: parity of the negotiation table's memory",
    "lqo-error": "LQOSTAT0: the output manager complains",
    "lqi-phase-change": "LQISTAT1: an unexpected phase in a packet",
    "lqi-crc-alone": "LQISTAT1: CRC in a packet, without SCSIPERR",
    "spurious-scsiint": "SCSIINT without a cause",
    "selection-timeout": "nobody answers a selection",
    "lqo-busfree": "the bus goes free while the packet with the command is sent",
    "agreement-lost": "the target has forgotten that information units were agreed on: a command phase",
    "busfree-in-data": "the bus goes free in the data phase of a packetized command",
    "busfree-glitch": "parity at the last REQ looks like a bus free",
    "busfree-at-identify": "a non-packetized target goes bus free instead of taking IDENTIFY",
    "busfree-at-command": "a non-packetized target goes bus free in command phase",
    "busfree-at-data": "a non-packetized target goes bus free in data phase",
    "crc-in-lq": "CRC error in an L_Q: it is sent again",
    "crc-in-data": "CRC error in packetized data",
    "parity-in-data": "parity error in non-packetized data",
    "overrun": "the target wants to move more than the host has room for",
    "short-transfer": "GOOD status, half of the data",
    "status-iu-too-long": "a status information unit of 300 bytes",
    "protocol-violation": "a non-packetized target does what no target does",
    "reselect-no-match": "a target reselects for a command that nobody knows",
    "mkmsg-failed": "a command completes with its message unsent",
    "pdata-reinit": "the target comes back to a data phase in mid list",
    "ignore-wide-residue": "the last byte of a wide transfer was padding",
    "message-again": "the target wants a message from its beginning",
    "command-slow": "the target takes long [ns=10 s]",
    "tmf-ignored": "a task management function is never answered",
    "tmf-beaten": "the command completes before the function that was to abort it",
    "completion-lost": "the entry of a completion never appears in the output queue, nor its code 1A",
    "completion-late": "it appears late [ns=5 s]",
    "completion-duplicate": "it appears twice",
    "completion-foreign": "the entry of no command appears first [tag=0x1FF]",
    "completion-stale": "the entry that appeared last appears once more, as another SCB is fetched",
    "cmdcmplt-lost": "the entry is there, INTSTAT does not say so",
    **{name: f"the sequencer stops as an SCB waits to be fetched, ERROR = {bits:#04x}"
       for name, bits in HARDWARE_ERRORS.items()},
    **{name: f"a sequencer interrupt of code {code:#04x} as an SCB waits to be fetched"
       for name, code in SEQUENCER_INTERRUPTS.items()},
    **{name: f"SSTAT0 = {bits:#04x} as an SCB waits to be fetched" for name, bits in TRANSCEIVER.items()},
    **{name: f"SCSIPERR with LQISTAT1 = {bits:#04x} as a packet comes in" for name, bits in BROKEN_LQ.items()},
    **{name: f"a command is not carried out, it ends with status {status:#04x}" for name, status in STATUS.items()},
    **{name: f"the target rejects extended message {code:#04x}" for name, code in REJECTED.items()},
})
