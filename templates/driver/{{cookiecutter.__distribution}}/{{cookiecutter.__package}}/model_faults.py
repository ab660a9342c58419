"""Everything that can be made to go wrong with the {{cookiecutter.chip}}: fault id -> what happens.

Parameters in brackets, with their defaults; they are what `inject(id, after=, times=, **params)` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .frames import Outcome
from .regs import FaultCode

#: As a request is fetched the firmware stops with this code.
FETCH_FAULTS: Final[Mapping[str, FaultCode]] = MappingProxyType({
    "firmware-fault": FaultCode.FIRMWARE,
    "fetch-parity": FaultCode.PCI_PARITY,
    "firmware-restarts": FaultCode.RESTARTED,
})

#: A request ends with this (OUTCOME, SCSI_STATUS) instead of being carried out.
ENDINGS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType({
    "selection-timeout": (Outcome.NO_TARGET, 0x00),
    "overrun": (Outcome.OVERRUN, 0x00),
    "dma-error": (Outcome.DMA_ERROR, 0x00),
    "bus-parity": (Outcome.PARITY, 0x00),
    "sense-missing": (Outcome.SENSE_FAILED, 0x02),
    "outcome-unknown": (0x7F, 0x00),
    "target-busy": (Outcome.ENDED, 0x08),
    "target-queue-full": (Outcome.ENDED, 0x28),
    "reservation-conflict": (Outcome.ENDED, 0x18),
})

#: Every fault id with its meaning.
FAULTS: Final[Mapping[str, str]] = MappingProxyType({
    "adapter-gone": "from now on every register reads all ones and writes are lost",
    "reset-ignored": "the write of CONTROL.RESET has no effect",
    "reset-hangs": "STATE stays RESETTING until the next reset",
    "reset-slow": "the reset takes long [ns=4 s]",
    "reset-faults": "the reset ends in FAULT, code SELF_TEST",
    "fault-silent": "the firmware stops and INTERRUPT_STATUS does not show it",
    "command-hung": "a request is taken and never heard of again",
    "command-slow": "a request takes long [ns=10 s]",
    "bus-reset": "somebody resets the SCSI bus: every request ends with OUTCOME RESET",
    "underrun": "MOVED says that only half of the data moved",
    "abort-ignored": "the write of ABORT has no effect",
    "target-reset-ignored": "the write of RESET_TARGET has no effect",
    "completion-lost": "a request is carried out, its tag never appears in DONE",
    "completion-late": "its tag appears late [ns=5 s]",
    "completion-duplicate": "its tag appears twice",
    "completion-foreign": "a tag of no request appears first [tag=0x00FFFF]",
    "completion-stale": "the tag that appeared last appears once more, as another request is handed over",
    "done-runaway": "DONE gives the same tag over and over until the next reset",
    "irq-lost": "the interrupt line does not rise for one completion",
    **{name: f"the firmware stops as a request is fetched, code {code.name}" for name, code in FETCH_FAULTS.items()},
    **{name: f"a request is not carried out, it ends with OUTCOME {outcome:#04x}, SCSI_STATUS {status:#04x}"
       for name, (outcome, status) in ENDINGS.items()},
})
