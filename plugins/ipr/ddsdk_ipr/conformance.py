"""What the conformance kit is told of this driver: which of the model's faults plays which part."""

from __future__ import annotations

from typing import Final

from ddsdk.hookspecs import ConformanceProfile, ModelFault, Role

#: A single strike of these ends the dump, with an errno and a reason.
_FATAL: Final = {
    "all-ones": "the adapter is gone for good",
    "ioasc-selection-timeout": "the adapter says that the disk is gone (DID_NO_CONNECT)",
    "ioasc-invalid-handle": "the adapter says that there is no such device (DID_NO_CONNECT)",
    "ioasc-secondary-adapter": "the adapter is not the one that owns the disk; it must not be used",
    "ioasc-start-unit-needed": "the disk wants START UNIT, which is not the dump's to send",
    "stale-handle": "the adapter says that the device it knew is gone (DID_NO_CONNECT)",
}

PROFILE: Final = ConformanceProfile(
    driver="ipr",
    roles={
        Role.COMPLETION_LOST: ModelFault("completion-lost"),
        Role.COMPLETION_LATE: ModelFault("completion-late"),
        Role.COMPLETION_DUPLICATE: ModelFault("completion-duplicate"),
        Role.COMPLETION_FOREIGN: ModelFault("completion-foreign"),
        Role.COMPLETION_STALE: ModelFault("completion-stale"),
        Role.FIRMWARE_FAULT: ModelFault("unit-check"),
        Role.COMMAND_HUNG: ModelFault("command-hung"),
        Role.ADAPTER_GONE: ModelFault("all-ones"),
        Role.RESET_HANGS: ModelFault("never-operational"),
        Role.RESET_SLOW: ModelFault("operational-slow"),
    },
    fatal_faults=_FATAL,
    autosense=False,                    # a disk on a parallel bus keeps its sense data until it is asked
    reset_limit_s=1300,                 # four times 300 s for an adapter that never becomes operational
)
