"""Several runs at a time: a process for each part of a chip's items, told what to judge by name.

Each process starts as this one is before anything was judged: a fork of it, which has the plugins imported, or where
threads run, which a fork does not take along, a new interpreter.

What comes back is the same whoever ran it, so a report does not depend on how many ran at once.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from attrs import define, field, frozen

from ddsdk.errors import PluginError

from .checks import all_checks
from .expression import parse
from .load import plans_for
from .runner import Item, Result, Verdict, each, items_of

#: How much of the work is told at a time: (items done) or the end.
_TICK: Final = "tick"
_END: Final = "end"
_BROKE: Final = "broke"


#: A process for so many items; one that judges the whole kit of a chip has four parts.
_PART_ITEMS: Final = 180


@frozen
class Job:
    """One run: *target* as typed, a chip of it, a seed, the `-k` expression; part number *part* of *parts*."""

    target: str
    chip: str
    backend: str
    seed: int
    select: str = ""
    part: int = 0
    parts: int = 1

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Those of *items* that are this job's: neighbours, because they share what is measured once."""
        low, high = (len(items) * number // self.parts for number in (self.part, self.part + 1))
        return items[low:high]


def parts_for(items: int) -> int:
    """In how many parts *items* are judged, however many of them run at a time: reports do not depend on that."""
    return -(-items // _PART_ITEMS)


def default_jobs(backend: str = "model") -> int:
    """One for each CPU this process may use; QEMU's adapters take real time, which several can wait for."""
    return len(os.sched_getaffinity(0)) * (1 if backend == "model" else 4)


def run_jobs(jobs: Sequence[Job], width: int, tell: Callable[[], None] = lambda: None) -> list[list[Result]]:
    """The results of each job, in their order, *width* of them running at a time; *tell* is called once an item.

    PluginError: a process ended without a result.  What else went wrong in one goes through as RuntimeError.
    """
    gc.collect()
    gc.freeze()         # a child's collections would copy all of it
    waiting, running = list(enumerate(jobs)), dict[Connection, _Running]()
    results: dict[int, list[Result]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < width:
                number, job = waiting.pop(0)
                started = _Running.start(number, job)
                running[started.connection] = started
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                done = running[connection].take(tell)
                if done is not None:
                    results[running.pop(connection).number] = done
    finally:
        for one in running.values():
            one.process.kill()
            one.process.join()
        gc.unfreeze()
    return [results[number] for number in range(len(jobs))]


@define(eq=False)
class _Running:
    """A process that runs one job."""

    number: int
    job: Job
    process: Any
    connection: Connection
    items: dict[str, Item] = field(factory=dict)

    @classmethod
    def start(cls, number: int, job: Job) -> _Running:
        context: Any = get_context("fork" if threading.active_count() == 1 else "spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(theirs, job), daemon=True)
        process.start()
        theirs.close()
        return cls(number, job, process, ours)

    def take(self, tell: Callable[[], None]) -> list[Result] | None:
        """One message; the results when it was the last."""
        try:
            kind, what = self.connection.recv()
        except EOFError:
            self.process.join()
            raise PluginError(f"chip {self.job.chip}: the process that judged it ended with status"
                              f" {self.process.exitcode} and no result") from None
        if kind == _TICK:
            tell()
            return None
        self.process.join()
        if kind == _BROKE:
            raise RuntimeError(what)
        return list(_unpacked(self.job, what))


def _work(connection: Connection, job: Job) -> None:
    """In the process: run the job, and say how far it is."""
    try:
        results = run_here(job, lambda: connection.send((_TICK, None)))
        connection.send((_END, [_packed(result) for result in results]))
    except KeyboardInterrupt:
        os._exit(130)
    except Exception as error:
        connection.send((_BROKE, f"{type(error).__name__}: {error}"))


def run_here(job: Job, tell: Callable[[], None] = lambda: None) -> list[Result]:
    """Run *job* in this process; `runner.concluded` has the last word on all parts together."""
    plan, items = _items(job)
    return each(plan, job.of(items), tell=lambda result: tell())


def _items(job: Job) -> tuple[Any, list[Item]]:
    (plan,) = plans_for(job.target, chip=job.chip, backend=job.backend, seed=job.seed)
    wanted = parse(job.select)
    return plan, [item for item in items_of(plan, all_checks()) if wanted(item)]


def _packed(result: Result) -> tuple[Any, ...]:
    """Without the check, which holds functions: those do not travel, its id does."""
    return (result.item.check.id, result.item.case, result.item.number, result.verdict.value, result.why, result.line,
            result.cause, result.blocked_by, result.trace, result.seed, result.seconds)


def _unpacked(job: Job, packed: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
    checks = {check.id: check for check in all_checks()}
    for check, case, number, verdict, *rest in packed:
        yield Result(Item(checks[check], case, number), Verdict(verdict), *rest)
