"""What the conformance kit is told of this driver: which of the model's faults plays which part."""

from __future__ import annotations

from typing import Final

from ddsdk.hookspecs import ConformanceProfile, ModelFault, Role

#: A single strike of these ends the dump, with an errno and a reason.
_FATAL: Final = {
    "adapter-gone": "the adapter is gone for good",
    "selection-timeout": "the target does not answer (DID_NO_CONNECT): it is gone, as far as anybody can tell",
    "status-reservation-conflict": "another initiator holds the disk; a dump must not break its reservation",
}

PROFILE: Final = ConformanceProfile(
    driver="aic79xx",
    roles={
        Role.COMPLETION_LOST: ModelFault("completion-lost"),
        Role.COMPLETION_LATE: ModelFault("completion-late"),
        Role.COMPLETION_DUPLICATE: ModelFault("completion-duplicate"),
        Role.COMPLETION_FOREIGN: ModelFault("completion-foreign"),
        Role.COMPLETION_STALE: ModelFault("completion-stale"),
        Role.FIRMWARE_FAULT: ModelFault("sequencer-parity"),
        Role.COMMAND_HUNG: ModelFault("command-hung"),
        Role.ADAPTER_GONE: ModelFault("adapter-gone"),
        Role.RESET_HANGS: ModelFault("reset-hangs"),
        Role.RESET_SLOW: ModelFault("rst-stays-low"),
    },
    fatal_faults=_FATAL,
    reset_limit_s=90,
)
