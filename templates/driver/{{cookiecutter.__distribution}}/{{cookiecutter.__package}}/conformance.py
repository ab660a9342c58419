"""What the conformance kit is told of this driver: which of the model's faults plays which part."""

from __future__ import annotations

from typing import Final

from ddsdk.hookspecs import ConformanceProfile, ModelFault, Role

PROFILE: Final = ConformanceProfile(
    driver="{{cookiecutter.name}}",
    roles={
        Role.COMPLETION_LOST: ModelFault("completion-lost"),
        Role.COMPLETION_LATE: ModelFault("completion-late"),
        Role.COMPLETION_DUPLICATE: ModelFault("completion-duplicate"),
        Role.COMPLETION_FOREIGN: ModelFault("completion-foreign"),
        Role.COMPLETION_STALE: ModelFault("completion-stale"),
        Role.FIRMWARE_FAULT: ModelFault("firmware-fault"),
        Role.COMMAND_HUNG: ModelFault("command-hung"),
        Role.ADAPTER_GONE: ModelFault("adapter-gone"),
        Role.RESET_HANGS: ModelFault("reset-hangs"),
        Role.RESET_SLOW: ModelFault("reset-slow"),
    },
    fatal_faults={
        "adapter-gone": "the adapter is gone for good",
        "selection-timeout": "the target does not answer (DID_NO_CONNECT): it is gone, as far as anybody can tell",
        "reservation-conflict": "another initiator holds the disk; a dump must not break its reservation",
    },
    reset_limit_s=30,
)
