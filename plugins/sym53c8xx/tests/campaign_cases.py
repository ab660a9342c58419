"""What a seed of the campaign stands for."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import frozen

from ddsdk.sim import disk_faults
from ddsdk.sim.disk_faults import DiskFault
from ddsdk.sim.machine import Trigger
from ddsdk_sym53c8xx.model_faults import FAULTS

S = 1_000_000_000
#: What makes commands of the load hang, so that the error handlers are at work at the crash.
STUCK = ("command-hung", "reselect-lost", "target-hangs")
#: Once is enough: each costs a command its time-out.
ONCE = {"command-hung", "reselect-lost", "target-hangs", "command-slow", "reselect-late", "sigp-lost", "irq-lost"}
_DISK_FAULTS: tuple[Callable[[random.Random], DiskFault], ...] = (
    lambda r: disk_faults.medium_error(r.randrange(4000)),
    lambda r: disk_faults.becoming_ready(3),
    lambda r: disk_faults.unit_attention(times=r.choice((1, 2)), after=r.randrange(9)),
    lambda r: disk_faults.recovered_error(2, r.randrange(9)),
    lambda r: disk_faults.aborted_command(r.choice((1, 2, 4)), r.randrange(9)),
    lambda r: disk_faults.hardware_error(1, r.randrange(9)),
    lambda r: disk_faults.busy(r.choice((1, 3)), r.randrange(9)),
    lambda r: disk_faults.queue_full(r.choice((1, 3)), r.randrange(9)),
    lambda r: disk_faults.hang(1, r.randrange(9)),
    lambda r: disk_faults.wrong_length(1, 1, r.randrange(9)),
    lambda r: disk_faults.slow(r.choice((1, 29, 31)) * S, 1, r.randrange(5)),
    lambda r: disk_faults.lost_write(1, r.randrange(20)),
    lambda r: disk_faults.misdirected_write(r.choice((1, 8)), 1, r.randrange(20)),
)


@frozen
class Injection:
    """One fault: an id of the model's with after, times, or one of the disk's."""

    moment: str                                     # "load", "crash" or "dump"
    fault: str | DiskFault
    after: int = 0
    times: int = 1

    @classmethod
    def draw(cls, r: random.Random) -> Injection:
        """Any fault at any moment."""
        moment = r.choice(("load", "crash", "dump"))
        if r.random() < 0.25:
            return cls(moment, r.choice(_DISK_FAULTS)(r))
        fault, times = r.choice(sorted(FAULTS)), r.choice((1, 1, 1, 2, 5))
        if fault == "irq-stuck":            # before the crash a storm, and the machine says so
            moment = "crash"
        return cls(moment, fault, r.choice((0, 0, 1, 3, 10, 40)), 1 if fault in ONCE else times)


@frozen
class Case:
    """What one seed stands for.

    `how`: the crash comes at a "time", at the `at`-th "line" of the driver, or at that line of its "recovery" code,
    with the load stuck.
    """

    seed: int
    chip: str
    cpus: int
    queue_depth: int
    trigger: Trigger
    workers: int
    reset_every: int
    how: str
    at: int
    injections: tuple[Injection, ...]

    @classmethod
    def draw(cls, seed: int) -> Case:
        """The case of *seed*."""
        r = random.Random(f"sym53c8xx campaign {seed}")
        how = r.choice(("time", "line", "recovery"))
        longest = {"line": 4000, "recovery": 1500}.get(how, r.choice((200_000, 3_000_000, 400_000_000)))
        resets = r.choice((0, 0, 2, 10)) if longest < S // 10 else 1
        faults = [Injection.draw(r) for _ in range(r.choice((0, 1, 1, 2)))]
        if how == "recovery":
            faults.insert(0, Injection("load", r.choice(STUCK), r.randrange(6), 0))
        return cls(seed, r.choice(("53c810", "53c895a", "53c1010")), r.choice((1, 2)), r.choice((1, 4, 16)),
                   r.choice(tuple(Trigger)), r.choice((1, 3, 6)), resets, how, r.randrange(1, longest), tuple(faults))
