"""What the conformance kit is told of this driver: which of the model's faults plays which part."""

from __future__ import annotations

from typing import Final

from ddsdk.hookspecs import ConformanceProfile, ModelFault, Role

#: A single strike of these ends the dump, with an errno and a reason.
_FATAL: Final = {
    "all-ones": "the adapter is gone for good",
    "pci-peer-owner": "another PCI device owns the IOC; it must not be reset from here",
    "iocstatus-invalid-bus": "the IOC says that there is no such bus: no retry changes that",
    "iocstatus-invalid-targetid": "the IOC says that there is no such target: no retry changes that",
    "iocstatus-device-not-there": "the IOC says that the disk is gone (DID_NO_CONNECT)",
    "scsi-reservation-conflict": "another initiator holds the disk; a dump must not break its reservation",
}

PROFILE: Final = ConformanceProfile(
    driver="mptfusion",
    roles={
        Role.COMPLETION_LOST: ModelFault("reply-lost"),
        Role.COMPLETION_LATE: ModelFault("reply-late"),
        Role.COMPLETION_DUPLICATE: ModelFault("reply-duplicate"),
        Role.COMPLETION_FOREIGN: ModelFault("reply-stale"),
        Role.COMPLETION_STALE: ModelFault("reply-echo"),
        Role.FIRMWARE_FAULT: ModelFault("spontaneous-fault"),
        Role.COMMAND_HUNG: ModelFault("command-hung"),
        Role.ADAPTER_GONE: ModelFault("all-ones"),
        Role.RESET_HANGS: ModelFault("hard-reset-hangs"),
        Role.RESET_SLOW: ModelFault("hard-reset-slow"),
    },
    fatal_faults=_FATAL,
)
