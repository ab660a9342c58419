"""Packing pages in several processes, in order.

A worker is a Python of its own that opens the same file; what goes through the pipes are page frame numbers one way and
packed pages the other.  Processes, because a page is packed in a few microseconds: threads would spend as much on the
interpreter lock.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

import numpy as np

from ddsdk.errors import DeviceError, FormatError

from .codecs import Codec
from .packing import Packed, Packer, Runs, done_with
from .pages import PageSource

#: Jobs a worker has before it: one in work, one waiting.
AHEAD = 2
MAX_JOBS = 256
PROGRAM = "from ddsdk.vmcore.workers import serve; serve()"
_OK, _FAILED = b"\0", b"\1"


class Workers:
    """*count* processes that open *spec* (`open_source`'s words) again.  A context manager: its end is theirs.

    *program*: what they run, a call of `serve` with a way to open other specs.
    """

    def __init__(self, spec: str, codec: Codec, share_zeros: bool, count: int, program: str = PROGRAM) -> None:
        self._program = program
        self._told = json.dumps({"spec": spec, "codec": codec.value, "share_zeros": share_zeros}).encode()
        self._count = count
        self._processes: list[subprocess.Popen[bytes]] = []
        self._pipes: list[Connection] = []

    def __enter__(self) -> Self:
        for _ in range(self._count):
            ours, theirs = socket.socketpair()
            with theirs:
                argv = [sys.executable, "-P", "-c", self._program]
                self._processes.append(subprocess.Popen(argv, stdin=theirs.fileno(), stdout=subprocess.DEVNULL,
                                                        stderr=subprocess.PIPE))
            self._pipes.append(Connection(ours.detach()))
            self._pipes[-1].send_bytes(self._told)
        return self

    def packed(self, jobs: Iterable[Runs]) -> Iterator[Packed]:
        """The jobs by turns; results in order.  FormatError as a worker met it; DeviceError when one dies."""
        waiting: deque[int] = deque()
        turn = 0
        for job in jobs:
            if len(waiting) == AHEAD * self._count:
                yield self._result(waiting.popleft())
            self._send(turn, np.array(job, np.int64).tobytes())
            waiting.append(turn)
            turn = (turn + 1) % self._count
        while waiting:
            yield self._result(waiting.popleft())

    def _send(self, worker: int, message: bytes) -> None:
        try:
            self._pipes[worker].send_bytes(message)
        except OSError:
            raise self._died(worker) from None

    def _result(self, worker: int) -> Packed:
        try:
            message = self._pipes[worker].recv_bytes()
        except (EOFError, OSError):
            raise self._died(worker) from None
        if message[:1] == _FAILED:
            raise FormatError(message[1:].decode())
        return Packed.decode(message[1:])

    def _died(self, worker: int) -> DeviceError:
        process = self._processes[worker]
        said = process.communicate()[1].decode("utf-8", "replace").strip().splitlines()
        return DeviceError(f"a compressing process ended with status {process.returncode} before its work was done"
                           + (f": {said[-1]}" if said else "") + "; try --jobs 1")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            if error is not None:
                process.kill()
            with process:
                process.wait()


def serve(opener: Callable[[str], PageSource] | None = None) -> None:
    """A worker's life: told what to open, then jobs until the pipe is closed."""
    from .source import open_pages

    pipe = Connection(os.dup(sys.stdin.fileno()))
    told = json.loads(pipe.recv_bytes())
    with (opener or open_pages)(told["spec"]) as source:
        packer = Packer(source, Codec(told["codec"]), told["share_zeros"])
        while True:
            try:
                table = np.frombuffer(pipe.recv_bytes(), np.int64).reshape(-1, 2).tolist()
            except EOFError:
                return
            job = [(first, count) for first, count in table]
            try:
                pipe.send_bytes(_OK + packer.pack(job).encode())
            except FormatError as error:
                pipe.send_bytes(_FAILED + str(error).encode())
            except (BrokenPipeError, ConnectionResetError):
                return
            done_with(source, job)
