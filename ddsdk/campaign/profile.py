"""What a driver tells the crash campaign: what can be drawn, when its chip is masked, what it must not lose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from attrs import field, frozen

from ddsdk.registry import Registry
from ddsdk.rig import Adapter

_S = 1_000_000_000


def _frozen_mapping(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


def _as_found(registry: Registry) -> Registry:
    return registry


def _as_it_is(_adapter: Adapter) -> None:
    pass


@frozen
class Variant:
    """One of several ways to set the hardware or the disk up, where a driver has more than its chips.

    `models` puts other hardware models in; `prepare` is called with the adapter before the load.  `slow`: not for runs
    that are long already.  `max_sectors`: of the load's commands.
    """

    name: str
    models: Callable[[Registry], Registry] = _as_found
    prepare: Callable[[Adapter], None] = _as_it_is
    slow: bool = False
    max_sectors: int = 64


@frozen
class CampaignProfile:
    """One driver, as the campaign sees it.  The first three are needed, the rest have defaults that work.

    `driver`, `chips`: names; a run is on one of the chips.  `faults`: ids of the model's faults, `HwModel.FAULTS`.
    `masked(model)`: what of the chip still reaches the interrupt line, None: nothing; a chip that is gone is masked.
    `leaks(host, model)`: what -> (how many now, how many there have to be) once every command has ended.

    `left_out`: fault -> why it is never drawn.  `after_crash`: fault -> why it strikes in the dump only.
    `enough`: fault -> how often at most, where for ever would make every page slow.
    `stuck`: faults that make commands of the load time out, so that error handlers are at work at the crash;
    `recovery_modules`: the code of these handlers; without the two no crash falls into it on purpose.
    `exercised`: fault -> how often, armed for the commands of (vi): what a healthy adapter may do, too.
    `lines`, `recovery_lines`: the last line, of the driver and of the recovery, that a crash may come at.
    `recovery_s`: how long it takes till the recovery begins.  `longest_ns`: of the runs that crash at a time.
    `limit_s`: a dump on a machine where everything that may go wrong twice does.
    """

    driver: str
    chips: tuple[str, ...]
    faults: Mapping[str, str]
    masked: Callable[[Any], str | None]
    leaks: Callable[[Any, Any], Mapping[str, tuple[int, int]]]
    bus: Literal["scsi", "ata"] = "scsi"
    left_out: Mapping[str, str] = field(factory=dict, converter=_frozen_mapping)
    after_crash: Mapping[str, str] = field(factory=dict, converter=_frozen_mapping)
    enough: Mapping[str, int] = field(factory=dict, converter=_frozen_mapping)
    stuck: tuple[str, ...] = ()
    recovery_modules: tuple[str, ...] = ()
    exercised: Mapping[str, int] = field(factory=dict, converter=_frozen_mapping)
    variants: tuple[Variant, ...] = (Variant("as registered"),)
    queue_depths: tuple[int, ...] = (1, 4, 16)
    lines: int = 2000
    recovery_lines: int = 2000
    recovery_s: int = 40
    longest_ns: int = 3 * _S
    limit_s: int = 1200

    def __attrs_post_init__(self) -> None:
        for what in ("left_out", "after_crash", "enough", "exercised"):
            for fault, value in getattr(self, what).items():
                self._known(what, fault)
                if not value or (isinstance(value, str) and not value.strip()):
                    raise ValueError(f"campaign of {self.driver}: {what}[{fault!r}] is {value!r}; say why, or how"
                                     " often")
        for fault in self.stuck:
            self._known("stuck", fault)
        if bool(self.stuck) != bool(self.recovery_modules):
            raise ValueError(f"campaign of {self.driver}: stuck and recovery_modules belong together; give both")
        if not self.chips or not self.variants or not self.queue_depths:
            raise ValueError(f"campaign of {self.driver}: chips, variants and queue_depths must not be empty")

    def _known(self, what: str, fault: str) -> None:
        if fault not in self.faults:
            raise ValueError(f"campaign of {self.driver}: {what} names {fault!r}, which is no fault of the model;"
                             f" it has: {', '.join(sorted(self.faults))}")

    def variant(self, name: str) -> Variant:
        """The variant called *name*."""
        return next(variant for variant in self.variants if variant.name == name)

    @property
    def moments(self) -> tuple[str, ...]:
        """How a crash can come."""
        return ("time", "event", "line", "recovery") if self.stuck else ("time", "event", "line")
