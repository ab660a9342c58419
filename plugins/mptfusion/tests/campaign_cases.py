"""What a seed of the campaign stands for: chip, load, moment of the crash, faults."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import frozen

from ddsdk.sim import disk_faults
from ddsdk.sim.disk_faults import DiskFault
from ddsdk.sim.machine import Trigger
from ddsdk_mptfusion.model_faults import FAULTS

S = 1_000_000_000
#: What makes every command of the load time out, so that the error handlers are at work at the crash.
STUCK = ("command-hung", "reply-lost", "spontaneous-fault")
#: How often instead of for ever: a busy target is asked a hundred times a second, a slow one makes every page slow.
ENOUGH = {"iocstatus-busy": 50, "scsi-busy": 50, "scsi-task-set-full": 50, "command-slow": 5, "reply-late": 5}

_DISK_FAULTS: tuple[Callable[[random.Random], DiskFault], ...] = (
    lambda r: disk_faults.medium_error(r.randrange(4096), after=r.randrange(3)),
    lambda r: disk_faults.medium_error(0, 4096, after=r.randrange(20), times=r.choice((1, 3, None))),
    lambda r: disk_faults.becoming_ready(r.choice((1, 20)), r.randrange(3)),
    lambda r: disk_faults.not_started(r.choice((1, None)), r.randrange(3)),
    lambda r: disk_faults.unit_attention(0x29, 0x00, r.choice((1, 3)), r.randrange(3)),
    lambda r: disk_faults.unit_attention(0x28, 0x00, 1, r.randrange(3)),
    lambda r: disk_faults.unit_attention(0x2A, 0x01, 2, r.randrange(3)),
    lambda r: disk_faults.recovered_error(r.choice((1, None)), r.randrange(20)),
    lambda r: disk_faults.aborted_command(r.choice((1, 3, 10)), r.randrange(20)),
    lambda r: disk_faults.hardware_error(r.choice((1, 5)), r.randrange(3)),
    lambda r: disk_faults.write_protected(r.randrange(20), r.choice((1, None))),
    lambda r: disk_faults.sync_fails(r.choice((1, None))),
    lambda r: disk_faults.busy(r.choice((1, 20)), r.randrange(3)),
    lambda r: disk_faults.queue_full(r.choice((1, 20)), r.randrange(3)),
    lambda r: disk_faults.reservation_conflict(r.choice((1, None)), r.randrange(3)),
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
        if fault == "irq-stuck":            # before the crash a storm, and the machine says so
            moment = "crash"
        return cls(moment, fault, r.choice((0, 0, 1, 3, 10, 40)), times or ENOUGH.get(fault, 0))


@frozen
class Case:
    """What one seed stands for.

    `how`: the crash comes at a "time", in a clock "event", at the `at`-th "line" of the driver, or at that line of
    its "recovery" code, with the load stuck.
    """

    seed: int
    chip: str
    cpus: int
    queue_depth: int
    block_order: int
    trigger: Trigger
    workers: int
    reset_every: int
    how: str
    at: int
    volatile: bool
    injections: tuple[Injection, ...]

    @classmethod
    def draw(cls, seed: int) -> Case:
        """The case of *seed*."""
        r = random.Random(f"mptfusion campaign {seed}")
        how = r.choice(("time", "event", "line", "recovery"))
        longest = {"line": 2000, "recovery": 3000}.get(how, r.choice((200_000, 3_000_000, 3_000_000_000)))
        resets = r.choice((0, 0, 2, 10)) if longest < S else 1      # most of the longer runs is spent resetting
        faults = [Injection.draw(r) for _ in range(r.choice((0, 1, 1, 2)))]
        if how == "recovery":
            faults.insert(0, Injection("load", r.choice(STUCK), r.randrange(6), 0))
        return cls(seed, r.choice(("53c1030", "sas1068")), r.choice((1, 2)), r.choice((1, 4, 16)), r.randrange(9),
                   r.choice(tuple(Trigger)), r.choice((1, 3, 6)), resets, how, r.randrange(1, longest),
                   r.random() < 0.5, tuple(faults))
