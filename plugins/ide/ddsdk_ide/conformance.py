"""What the conformance kit is told of this driver: which of the model's faults plays which part."""

from __future__ import annotations

from typing import Final

from ddsdk.hookspecs import ConformanceProfile, ModelFault, Role

PROFILE: Final = ConformanceProfile(
    driver="ide",
    roles={
        Role.COMPLETION_LOST: ModelFault("completion-lost"),
        Role.COMPLETION_LATE: ModelFault("completion-late"),
        Role.COMPLETION_DUPLICATE: ModelFault("irq-twice"),
        Role.COMPLETION_FOREIGN: ModelFault("irq-spurious"),
        Role.COMPLETION_STALE: ModelFault("irq-stale"),
        Role.FIRMWARE_FAULT: ModelFault("firmware-fault"),
        Role.COMMAND_HUNG: ModelFault("command-hung"),
        Role.ADAPTER_GONE: ModelFault("adapter-gone"),
        Role.RESET_HANGS: ModelFault("reset-hangs"),
        Role.RESET_SLOW: ModelFault("reset-slow"),
    },
    fatal_faults={
        "adapter-gone": "the interface is gone for good",
        "drive-gone": "the drives are gone for good",
        "command-aborted": "a drive that refuses a command is not asked again",
        "device-fault": "a drive that says that it is broken is not asked again",
        "last-block-fails": "a drive that refuses a command is not asked again",
        "flush-fails": "what is not flushed is not saved",
    },
    reset_limit_s=90,
)
