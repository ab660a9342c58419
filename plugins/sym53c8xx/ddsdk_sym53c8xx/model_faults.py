"""Everything that can be made to go wrong with the chip, its bus and its targets: fault id -> what happens.

The rows follow hw notes 8 (registers of each error) and 6 (what a driver has to tell apart), the manuals' interrupt
chapters, and what Linux 2.6.9's driver defends itself against.  Parameters in brackets, with their defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: The chip as the PCI host sees it.
CHIP_SIDE: Final[Mapping[str, str]] = MappingProxyType({
    "all-ones": "from now on every register reads all ones and writes are lost",
    "bus-fault-fetch": "a PCI master abort while an instruction is fetched: DSTAT.BF, PCI status bits",
    "bus-fault-data": "a PCI master abort in a data phase: DSTAT.BF, PCI status bits",
    "pci-parity": "bad parity on PCI in a data phase: DSTAT.MDPE if CTEST4.MPEE is set",
    "illegal-instruction": "an instruction is fetched wrong: DSTAT.IID",
    "gross-error": "SIST0.SGE in a data phase",
    "mode-change": "the bus changes between LVD and single-ended: SIST1.SBMC (not on the 53C810)",
    "general-timer": "the general purpose timer runs out: SIST1.GEN",
    "irq-lost": "the interrupt pin does not rise though a cause is enabled",
    "irq-stuck": "the interrupt pin stays up although no cause is left",
    "intfly-lost": "an INTFLY does not set ISTAT0.INTF",
    "sigp-lost": "a SIGP written while SCRIPTS wait does not wake them; it stays set",
    "abort-ignored": "ISTAT0.ABRT does not stop SCRIPTS",
    "reset-while-running": "ISTAT0.SRST written while SCRIPTS run hangs the chip: registers read all ones",
})

#: The bus's own lines, and resets.
BUS_SIDE: Final[Mapping[str, str]] = MappingProxyType({
    "reset-by-other": "somebody else resets the bus as a command is selected: SIST0.RST",
    "rst-stuck": "after our reset somebody else holds RST until the next one",
    "rst-slow": "after our reset RST stays asserted long [ns=4 s]",
    "busy-stuck": "after our reset a target holds BSY until the next reset",
    "arbitration-lost": "a reselection that is due wins the arbitration for which SELECT asked",
})

#: Targets that do not keep to the protocol, or keep to rare parts of it.
TARGET_SIDE: Final[Mapping[str, str]] = MappingProxyType({
    "selection-unanswered": "the target does not answer one selection",
    "unexpected-disconnect": "the target leaves the bus in the middle of data: SIST0.UDC",
    "target-hangs": "the target stays connected and asserts REQ no more; no cause at all",
    "command-hung": "the target disconnects and is never heard of again; nothing was carried out",
    "command-slow": "the command takes long [ns=10 s]",
    "parity-data-in": "bad parity in the middle of data in: SIST0.PAR, ATN",
    "parity-status": "bad parity on the status byte",
    "parity-message-in": "bad parity on a message byte; sent again after MESSAGE PARITY ERROR",
    "parity-data-out": "the target sees bad parity: CHECK CONDITION, 0B/47/00",
    "wrong-direction": "the target asks for data in the direction the command does not have",
    "bad-phase": "the target asserts a reserved phase",
    "data-overrun": "the target has more data than the command asks for [bytes=64]",
    "early-disconnect": "the target disconnects in the middle of data at an odd byte, and comes back",
    "no-save-pointers": "the same without SAVE DATA POINTER: it begins the transfer anew",
    "restore-pointers": "in the middle of data the target says RESTORE POINTERS and begins anew",
    "message-unknown": "a vendor message comes before the status",
    "message-negotiate": "the target wants to negotiate synchronous transfers (extended message, 5 bytes)",
    "message-noop": "a NO OPERATION comes before the status",
    "message-out-again": "the target asks for a message that nobody announced",
    "tag-refused": "the target answers the queue tag with MESSAGE REJECT, and the command goes on untagged",
    "abort-refused": "the target answers an abort message with MESSAGE REJECT and does nothing",
    "status-missing": "COMMAND COMPLETE comes without a status",
    "status-unknown": "a status byte that SCSI-2 does not have [status=0x3E]",
    "sense-refused": "REQUEST SENSE itself ends in CHECK CONDITION",
    "sense-empty": "REQUEST SENSE brings no byte",
})

#: Reselections that come wrong.
RESELECT_SIDE: Final[Mapping[str, str]] = MappingProxyType({
    "reselect-lost": "the command is carried out, the target never reselects to say so",
    "reselect-late": "it reselects late [ns=10 s]",
    "reselect-duplicate": "a command that has completed reselects once more, with a good status",
    "reselect-stale": "the command that completed last reselects once more as another is selected",
    "reselect-foreign": "a tag that no command has reselects first [tag=0xF0]",
    "reselect-bad-tag": "a tag that no block has reselects first [tag=0x03]",
    "reselect-wrong-target": "a target that was asked nothing reselects first [id=5]",
    "reselect-no-tag": "a tagged command reselects without its tag",
    "reselect-no-identify": "a reselection begins with another message than IDENTIFY",
})

#: Every fault id with its meaning; `SymChip.FAULTS`.
FAULTS: Final[Mapping[str, str]] = MappingProxyType({**CHIP_SIDE, **BUS_SIDE, **TARGET_SIDE, **RESELECT_SIDE})
