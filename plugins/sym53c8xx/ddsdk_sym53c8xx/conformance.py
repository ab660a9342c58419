"""What the conformance kit is told of this driver: which of the model's faults plays which part."""

from __future__ import annotations

from typing import Final

from ddsdk.hookspecs import ConformanceProfile, ModelFault, Role

#: A single strike of these ends the dump, with an errno and a reason.
_FATAL: Final = {
    "all-ones": "the adapter is gone for good",
}

PROFILE: Final = ConformanceProfile(
    driver="sym53c8xx",
    roles={
        Role.COMPLETION_LOST: ModelFault("reselect-lost"),
        Role.COMPLETION_LATE: ModelFault("reselect-late"),
        Role.COMPLETION_DUPLICATE: ModelFault("reselect-duplicate"),
        Role.COMPLETION_FOREIGN: ModelFault("reselect-foreign"),
        Role.COMPLETION_STALE: ModelFault("reselect-stale"),
        Role.FIRMWARE_FAULT: ModelFault("illegal-instruction"),
        Role.COMMAND_HUNG: ModelFault("command-hung"),
        Role.ADAPTER_GONE: ModelFault("all-ones"),
        Role.RESET_HANGS: ModelFault("rst-stuck"),
        Role.RESET_SLOW: ModelFault("rst-slow"),
    },
    fatal_faults=_FATAL,
    autosense=False,
    reset_limit_s=30,
)
