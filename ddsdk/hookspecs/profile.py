"""What a plugin tells the conformance kit of its driver: which faults play which part, what it does not offer.

Everything here is optional.  Without a profile the kit takes what the driver registered and finds out the rest; what
it cannot find out - which of the model's faults loses a completion, say - it asks for by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Role(Enum):
    """A part that some fault of every adapter model can play; the value is how users type it.

    Source: field.md 4.3, row "HBA".
    """

    COMPLETION_LOST = "completion-lost"             # carried out, the completion never arrives
    COMPLETION_LATE = "completion-late"             # arrives seconds late, within the command's time-out
    COMPLETION_DUPLICATE = "completion-duplicate"   # the same completion arrives twice
    COMPLETION_FOREIGN = "completion-foreign"       # a completion of no command of this driver arrives first
    COMPLETION_STALE = "completion-stale"           # that of an earlier command arrives once more, others under way
    FIRMWARE_FAULT = "firmware-fault"               # the adapter stops; nothing completes until it is reset
    COMMAND_HUNG = "command-hung"                   # one command is taken and never heard of again
    ADAPTER_GONE = "adapter-gone"                   # every register reads all ones from now on
    RESET_HANGS = "reset-hangs"                     # the reset never ends
    RESET_SLOW = "reset-slow"                       # the reset takes many seconds, and ends well


@frozen
class ModelFault:
    """A fault of a model, by its id in `HwModel.FAULTS`, with the parameters `inject()` takes."""

    fault: str
    params: Mapping[str, Any] = _NOTHING


def _frozen_mapping(value: Mapping[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(dict(value))


@frozen
class ConformanceProfile:
    """How the kit judges one driver.

    `driver`: name of the DriverInfo.
    `roles`: the model's fault that plays each part.
    `fatal_faults`: fault id -> why a single strike of it may end the dump (with an honest error).  Every other fault of
    the model has to be survived.
    `not_offered`: a Role's value or a Need's (see ddsdk.conformance) -> why; checks that need it do not apply.
    `expected_failures`: check id, or id[case], with "@chip" or "@backend" behind it where only that one is meant ->
    reason.  Strict: one that passes fails the run.
    `disk_at`: (bus, id) - for ata (channel, unit) - of the disk.  `autosense` False: a target that keeps its sense data
    for REQUEST SENSE.  `crash_budget_bytes`: memory the driver may hold that it allocated after the crash.
    `reset_limit_s`: the longest a host reset may take, by the machine's clock, however the adapter behaves.
    """

    driver: str
    roles: Mapping[Role, ModelFault] = field(factory=dict, converter=_frozen_mapping)
    fatal_faults: Mapping[str, str] = field(factory=dict, converter=_frozen_mapping)
    not_offered: Mapping[str, str] = field(factory=dict, converter=_frozen_mapping)
    expected_failures: Mapping[str, str] = field(factory=dict, converter=_frozen_mapping)
    disk_at: tuple[int, int] = (0, 0)
    autosense: bool = True
    crash_budget_bytes: int = 0
    reset_limit_s: int = 600

    def __attrs_post_init__(self) -> None:
        for what in ("fatal_faults", "not_offered", "expected_failures"):
            for key, reason in getattr(self, what).items():
                if not isinstance(reason, str) or not reason.strip():
                    raise ValueError(f"conformance profile of {self.driver}: {what}[{key!r}] needs a reason, in words")
        if self.crash_budget_bytes < 0 or self.reset_limit_s < 1:
            raise ValueError(f"conformance profile of {self.driver}: crash_budget_bytes {self.crash_budget_bytes} must"
                             f" be 0 or more, reset_limit_s {self.reset_limit_s} at least 1")
