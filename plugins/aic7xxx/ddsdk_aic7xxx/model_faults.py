"""Everything that can be made to go wrong with the chip, the bus and a target's port: fault id -> what happens.

The rows of hw-aic7xxx.md 17, and what 7 to 12 say besides.  Parameters in brackets, with their defaults; they are what
`inject(id, after=, times=, **params)` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .regs import Error, SeqInt

#: As an SCB is fetched the chip stops: BRKADRINT, and this in ERROR.
BREAKS: Final[Mapping[str, int]] = MappingProxyType({
    "sequencer-parity": Error.SQPARERR.mask,
    "memory-parity": Error.MPARERR.mask,
    "data-path-parity": Error.DPARERR.mask,
    "cio-parity": Error.CIOPARERR.mask,
    "illegal-opcode": Error.ILLOPCODE.mask,
    "illegal-sequencer-address": Error.ILLSADDR.mask,
    "illegal-host-address": Error.ILLHADDR.mask,
})

#: As an SCB is fetched the sequencer stops with this code and is at its wits' end.
DEAD_ENDS: Final[Mapping[str, SeqInt]] = MappingProxyType({
    "no-free-scb": SeqInt.NO_FREE_SCB,
    "scb-mismatch": SeqInt.SCB_MISMATCH,
    "tag-out-of-range": SeqInt.OUT_OF_RANGE,
})

#: A command is not carried out; its target answers with this status.
STATUSES: Final[Mapping[str, int]] = MappingProxyType({
    "target-busy": 0x08,
    "target-reservation-conflict": 0x18,
    "target-command-terminated": 0x22,
    "target-queue-full": 0x28,
})

_CHIP: Final[Mapping[str, str]] = MappingProxyType({
    "adapter-gone": "from now on every register reads all ones and writes are lost",
    "pause-stuck": "HCNTRL.PAUSE is written and never reads 1",
    "reset-hangs": "HCNTRL.CHIPRST is written and the reset has no end",
    "reset-slow": "the chip reset takes long [ns=4 s]",
    "critical-section": "the sequencer is caught where a list is half linked, by PAUSE or SCSIINT [steps=5]",
    "transceiver-unsettled": "after a chip reset SBLKCTL never says what bus it is",
    "pci-error": "an SCB's fetch fails on the PCI bus: ERROR 40, no interrupt, and the sequencer waits [status=0x80]",
    "irq-lost": "the interrupt line does not rise for one completion",
    "cmdcmplt-lost": "a tag is posted and INTSTAT.CMDCMPLT is not set",
    "scsiint-spurious": "SCSIINT is set without a cause",
    "transceiver-change": "the bus is single ended from now on: SSTAT0.IOERR",
    "foreign-bus-reset": "somebody resets the bus",
})

_BUS: Final[Mapping[str, str]] = MappingProxyType({
    "selection-timeout": "a target does not answer its selection",
    "unexpected-busfree": "the target leaves the bus when it has the command block",
    "protocol-violation": "code 21 once the command block is sent [phase=0xC0, in LASTPHASE]",
    "bad-phase": "code 01 once the command block is sent; the command goes on",
    "send-reject": "code 11 once the command block is sent; the command goes on [message=0x1F]",
    "reselect-no-match": "a target reselects with a tag that no SCB has [tag=0xFD]",
    "missed-busfree": "after COMMAND COMPLETE the target does not leave the bus: code B1",
    "atn-ignored": "the selected target does not ask for messages but goes for the command block",
    "ppr-rejected": "PPR is answered with MESSAGE REJECT",
    "wdtr-rejected": "PPR and WDTR are answered with MESSAGE REJECT",
    "sdtr-rejected": "PPR, WDTR and SDTR are answered with MESSAGE REJECT",
    "negotiation-ignored": "a negotiation message is taken and not answered",
    "negotiation-busfree": "at a negotiation message the target leaves the bus",
    "negotiation-greedy": "a negotiation message is answered with more than was asked for",
    "message-retry": "the target wants a message once more",
    "message-unknown": "the target sends a message nobody knows before it takes the command block [message=0x1F]",
    "target-negotiates": "before it takes the command block the target asks for an agreement [code=1, offset=31]",
    "abort-ignored": "ABORT, ABORT TAG or BUS DEVICE RESET has no effect: the target keeps the bus and does nothing",
    "data-parity": "a byte of data in arrives damaged: SCSIPERR",
    "data-parity-code": "the same, and code 81 as well",
    "data-parity-code-alone": "the same, code 81 without SCSIINT, and the data phase goes on [ns=20 us]",
    "status-parity": "the status byte arrives damaged: SCSIPERR",
    "message-parity": "COMMAND COMPLETE arrives damaged: SCSIPERR",
    "data-overrun": "the target wants more data than the list has room for: code 91, nothing is carried out",
    "data-phase-split": "the data phase stops half way and begins again: code 51",
    "ignore-wide-residue": "the last byte of data in was padding: code 41",
    "disconnect-before-status": "the target disconnects after the data, with SAVE DATA POINTER",
    "residual-garbled": "an uploaded residual S/G pointer is garbage",
    "command-hung": "a command is taken and never heard of again",
    "command-slow": "a command takes long [ns=10 s]",
    "sense-fails": "CHECK CONDITION, and REQUEST SENSE gets CHECK CONDITION too",
})

_COMPLETIONS: Final[Mapping[str, str]] = MappingProxyType({
    "completion-lost": "a command is carried out, its tag never posted",
    "completion-late": "its tag is posted late [ns=5 s]",
    "completion-duplicate": "its tag is posted twice",
    "completion-foreign": "a tag of no SCB is posted first [tag=0xFC]",
    "completion-stale": "the tag that was posted last is posted once more, as another SCB is fetched",
})

#: Every fault id with its meaning.
FAULTS: Final[Mapping[str, str]] = MappingProxyType({
    **_CHIP,
    **_BUS,
    **_COMPLETIONS,
    **{name: f"the chip stops as it fetches an SCB: BRKADRINT, ERROR {error:02x}" for name, error in BREAKS.items()},
    **{name: f"the sequencer stops as it fetches an SCB, code {code:02X} ({code.name})"
       for name, code in DEAD_ENDS.items()},
    **{name: f"a command is not carried out, its status is {status:#04x}" for name, status in STATUSES.items()},
})
