"""Bulk work in a few threads: while one waits for the disk, another computes.

Reading, writing, numpy and CRCs all release the interpreter lock, so two threads keep both the disk and a
processor busy.  Nothing here knows what the work is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

from .target import aligned_buffer

J = TypeVar("J")
R = TypeVar("R")

#: One I/O.  Large enough for a disk, small enough to stay near the processor.
JOB_BYTES = 4 << 20
WORKERS = 3
#: Where nothing waits for a disk, a third thread only disturbs the others.
CPU_WORKERS = 2
#: Below this many bytes of work, threads cost more than they give.
SERIAL_BYTES = 8 << 20


class _Worked(Generic[R]):
    """What one thread reports: a result, an error, or its end."""

    __slots__ = ("error", "result")

    def __init__(self, result: R | None = None, error: BaseException | None = None) -> None:
        self.result, self.error = result, error


def run_jobs(jobs: Iterable[J], work: Callable[[J, memoryview], R], done: Callable[[R], None], *,
             total_bytes: int, buffer_bytes: int = JOB_BYTES, workers: int = WORKERS) -> None:
    """Call `work(job, buffer)` for every job, each thread with a page-aligned buffer of its own.

    `done(result)` runs in the calling thread, in order of completion.  The first error of any of them stops
    the rest and is raised once every thread has ended.  *total_bytes* decides whether threads are worth it.
    """
    if total_bytes <= SERIAL_BYTES:
        buffer = aligned_buffer(buffer_bytes)
        for job in jobs:
            done(work(job, buffer))
        return
    results: SimpleQueue[_Worked[R] | None] = SimpleQueue()
    pool = _Pool(iter(jobs), work, results, buffer_bytes)
    threads = [threading.Thread(target=pool.run, name=f"ddsdk-io-{n}", daemon=True) for n in range(workers)]
    for thread in threads:
        thread.start()
    failure: BaseException | None = None
    try:
        running = workers
        while running:
            worked = results.get()
            if worked is None:
                running -= 1
            elif worked.error is not None:
                failure = failure or worked.error
                pool.stop = True
            elif failure is None:
                done(worked.result)             # type: ignore[arg-type]    # a result: there was no error
    finally:
        pool.stop = True
        for thread in threads:
            thread.join()
    if failure is not None:
        raise failure


class _Pool(Generic[J, R]):
    """The threads' common state: the jobs left, and whether to stop."""

    def __init__(self, jobs: Iterator[J], work: Callable[[J, memoryview], R],
                 results: SimpleQueue[_Worked[R] | None], buffer_bytes: int) -> None:
        self.stop = False
        self._jobs, self._work, self._results, self._buffer_bytes = jobs, work, results, buffer_bytes
        self._lock = threading.Lock()

    def run(self) -> None:
        """One thread's life."""
        try:
            buffer = aligned_buffer(self._buffer_bytes)
            while not self.stop:
                with self._lock:
                    job = next(self._jobs, self)
                if job is self:
                    break
                self._results.put(_Worked(self._work(job, buffer)))   # type: ignore[arg-type]
        except BaseException as error:
            self.stop = True
            self._results.put(_Worked(error=error))
        finally:
            self._results.put(None)


def pieces(first_block: int, end_block: int, most: int) -> Iterator[tuple[int, int]]:
    """[first_block, end_block) as runs (start, length) of at most *most* blocks."""
    for start in range(first_block, end_block, most):
        yield start, min(most, end_block - start)
