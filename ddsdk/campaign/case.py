"""What a seed of a campaign stands for: chip, load, moment of the crash, faults."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from ddsdk.sim import disk_faults
from ddsdk.sim.disk_faults import DiskFault
from ddsdk.sim.machine import Trigger

from .profile import CampaignProfile

S = 1_000_000_000
#: When faults are armed: with the load, at the crash, behind the take-over.
WHEN = ("load", "crash", "dump")

Draw = Callable[[random.Random], DiskFault]

_ANY_DISK: Sequence[Draw] = (
    lambda r: disk_faults.medium_error(r.randrange(4096), after=r.randrange(3)),
    lambda r: disk_faults.medium_error(0, 4096, after=r.randrange(20), times=r.choice((1, 3, None))),
    lambda r: disk_faults.recovered_error(r.choice((1, None)), r.randrange(20)),
    lambda r: disk_faults.aborted_command(r.choice((1, 3, 10)), r.randrange(20)),
    lambda r: disk_faults.hardware_error(r.choice((1, 5)), r.randrange(3)),
    lambda r: disk_faults.sync_fails(r.choice((1, None))),
    lambda r: disk_faults.busy(r.choice((1, 20)), r.randrange(3)),
    lambda r: disk_faults.hang(r.choice((1, 2, 5)), r.randrange(20)),
    lambda r: disk_faults.wrong_length(r.choice((1, 7)), r.choice((1, 3, 8)), r.randrange(20)),
    lambda r: disk_faults.slow(r.choice((1, 29, 31)) * S, r.choice((1, 2)), r.randrange(5)),
    lambda r: disk_faults.lost_write(1, r.randrange(20)),
    lambda r: disk_faults.torn_write(r.randrange(1, 8), 1, r.randrange(20)),
    lambda r: disk_faults.misdirected_write(r.choice((1, 8)), 1, r.randrange(20)),
)
_SCSI_DISK: Sequence[Draw] = (
    *_ANY_DISK,
    lambda r: disk_faults.becoming_ready(r.choice((1, 20)), r.randrange(3)),
    lambda r: disk_faults.not_started(r.choice((1, None)), r.randrange(3)),
    lambda r: disk_faults.unit_attention(0x29, 0x00, r.choice((1, 3)), r.randrange(3)),
    lambda r: disk_faults.unit_attention(0x28, 0x00, 1, r.randrange(3)),
    lambda r: disk_faults.unit_attention(0x2A, 0x01, 2, r.randrange(3)),
    lambda r: disk_faults.write_protected(r.randrange(20), r.choice((1, None))),
    lambda r: disk_faults.queue_full(r.choice((1, 20)), r.randrange(3)),
    lambda r: disk_faults.reservation_conflict(r.choice((1, None)), r.randrange(3)),
)
DISK_FAULTS: Mapping[str, Sequence[Draw]] = {"ata": _ANY_DISK, "scsi": _SCSI_DISK}


@frozen
class Injection:
    """One fault: an id of the model's with `after` and `times` (0: for ever), or one of the disk's.  `when`: WHEN."""

    when: str
    fault: str | DiskFault
    after: int = 0
    times: int = 1

    @classmethod
    def draw(cls, r: random.Random, profile: CampaignProfile) -> Injection:
        """Any fault that *profile* allows, at any moment that it allows it at."""
        when = r.choice(WHEN)
        if r.random() < 0.3:
            return cls(when, r.choice(DISK_FAULTS[profile.bus])(r))
        fault = r.choice(sorted(set(profile.faults) - set(profile.left_out)))
        times, enough = r.choice((1, 1, 1, 2, 5, 0)), profile.enough.get(fault)
        if enough is not None:
            times = min(times or enough, enough)
        if fault in profile.after_crash:
            when = r.choice(WHEN[1:])
        return cls(when, fault, r.choice((0, 0, 1, 3, 10, 40)), times)


@frozen
class Case:
    """What one seed stands for.

    `how`: the crash comes at a "time", in a clock "event", at the `at`-th "line" of the driver, or at that line of its
    "recovery" code, with the load stuck.  `heals`: what made the load stuck is gone at the crash.  `volatile`: the disk
    has a write cache, and the power fails at the end.  `code_check`: code is fingerprinted, which takes half of the
    time of a small dump.
    """

    seed: int
    chip: str
    variant: str = "as registered"
    cpus: int = 2
    queue_depth: int = 1
    block_order: int = 3
    trigger: Trigger = Trigger.PANIC
    workers: int = 3
    reset_every: int = 0
    how: str = "time"
    at: int = 1_000_000
    heals: bool = False
    volatile: bool = True
    code_check: bool = False
    injections: tuple[Injection, ...] = ()

    @classmethod
    def draw(cls, seed: int, profile: CampaignProfile) -> Case:
        """The case of *seed*."""
        r = random.Random(f"{profile.driver} campaign {seed}")
        how = r.choice(profile.moments)
        if how in ("line", "recovery"):
            longest = profile.lines if how == "line" else profile.recovery_lines
        else:
            longest = min(r.choice((200_000, 3_000_000, 3 * S)), profile.longest_ns)
        resets = r.choice((0, 0, 2, 10)) if longest < S // 10 else 1    # most of the longer runs is spent resetting
        faults = [Injection.draw(r, profile) for _ in range(r.choice((0, 1, 1, 2)))]
        if how == "recovery":
            faults.insert(0, Injection("load", r.choice(profile.stuck), r.randrange(6), 0))
        long = how == "recovery" or longest >= S // 10
        variants = [variant for variant in profile.variants if not (variant.slow and long)]
        return cls(
            seed, r.choice(profile.chips), r.choice(variants).name, cpus=r.choice((1, 2)),
            queue_depth=r.choice(profile.queue_depths), block_order=r.randrange(9), trigger=r.choice(tuple(Trigger)),
            workers=r.choice((1, 3, 6)), reset_every=resets, how=how, at=r.randrange(1, longest),
            heals=r.random() < 0.5, volatile=r.random() < 0.5, code_check=r.random() < 0.2, injections=tuple(faults))


def plain(profile: CampaignProfile, seed: int = 1, **changes: Any) -> Case:
    """A machine that crashes under load, nothing else wrong; *changes* are fields of `Case`."""
    return attrs.evolve(Case(seed, profile.chips[0], profile.variants[0].name,
                             queue_depth=profile.queue_depths[len(profile.queue_depths) // 2]), **changes)


def not_covered(profile: CampaignProfile, seeds: Iterable[int]) -> list[str]:
    """What no case of *seeds* has: chips, variants, moments, queue depths, triggers, runs with and without faults."""
    cases = [Case.draw(seed, profile) for seed in seeds]
    wanted: Mapping[str, Iterable[Any]] = {
        "chip": profile.chips, "variant": [variant.name for variant in profile.variants], "how": profile.moments,
        "queue_depth": profile.queue_depths, "trigger": tuple(Trigger), "cpus": (1, 2), "volatile": (False, True)}
    missing = [f"{what} {value}" for what, values in wanted.items() for value in values
               if value not in {getattr(case, what) for case in cases}]
    whens = {one.when for case in cases for one in case.injections if case.how != "recovery"}
    missing += [f"a fault at {when}" for when in WHEN if when not in whens]
    kinds = {type(one.fault) for case in cases for one in case.injections}
    missing += [f"a fault of the {what}" for what, kind in (("model", str), ("disk", DiskFault)) if kind not in kinds]
    return missing + ["a run without faults"] * all(case.injections for case in cases)
