"""What a seed of the campaign stands for: chip, personality, load, moment of the crash, faults."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import frozen

from ddsdk.sim import disk_faults
from ddsdk.sim.disk_faults import DiskFault
from ddsdk.sim.machine import Trigger
from ddsdk_ide.model_faults import FAULTS

S = 1_000_000_000
#: What makes commands of the load time out, so that resets are at work at the crash.
STUCK = ("command-hung", "firmware-fault", "irq-lost", "completion-lost", "dma-error")
#: How often instead of for ever: a slow drive makes every page slow.
ENOUGH = {"completion-late": 5}

_DISK_FAULTS: tuple[Callable[[random.Random], DiskFault], ...] = (
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
        if r.random() < 0.3:
            return cls(moment, r.choice(_DISK_FAULTS)(r))
        fault, times = r.choice(sorted(FAULTS)), r.choice((1, 1, 1, 2, 5, 0))
        if fault in ("adapter-gone", "drive-gone"):     # a load without a drive is no load
            moment = r.choice(("crash", "dump"))
        return cls(moment, fault, r.choice((0, 0, 1, 3, 10, 40)), times or ENOUGH.get(fault, 0))


@frozen
class Case:
    """What one seed stands for.

    `how`: the crash comes at a "time", in a clock "event", at the `at`-th "line" of the driver, or at that line of its
    "recovery" code, with the load stuck.  `pio`: data moves by programmed I/O, before the crash and after it.
    """

    seed: int
    chip: str
    personality: str
    cpus: int
    block_order: int
    trigger: Trigger
    workers: int
    reset_every: int
    how: str
    at: int
    pio: bool
    volatile: bool
    injections: tuple[Injection, ...]

    @classmethod
    def draw(cls, seed: int) -> Case:
        """The case of *seed*."""
        r = random.Random(f"ide campaign {seed}")
        how = r.choice(("time", "event", "line", "recovery"))
        longest = {"line": 2000, "recovery": 150}.get(how, r.choice((200_000, 3_000_000, 3_000_000_000)))
        resets = r.choice((0, 0, 2, 10)) if longest < S else 1      # most of the longer runs is spent resetting
        faults = [Injection.draw(r) for _ in range(r.choice((0, 1, 1, 2)))]
        if how == "recovery":
            faults.insert(0, Injection("load", r.choice(STUCK), r.randrange(6), 0))
        return cls(seed, r.choice(("piix3", "piix4")), r.choice(("real", "real", "qemu")), r.choice((1, 2)),
                   r.randrange(2, 9), r.choice(tuple(Trigger)), r.choice((1, 3, 6)), resets, how,
                   r.randrange(1, longest), r.random() < 0.15 and how != "recovery" and longest < S, r.random() < 0.5,
                   tuple(faults))
