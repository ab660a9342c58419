"""A trap that springs at a line of the driver: whatever the tasks of a machine run, counted line by line.

Tasks are greenlets, and each has a trace function of its own; one set outside is not seen inside.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ddsdk.sim.cpu import Task
from ddsdk.sim.machine import Machine


def source_files(modules: Iterable[str]) -> set[str]:
    """Where the code of *modules*, dotted names, says that it is from."""
    return {str(importlib.import_module(name).__file__) for name in modules}


class LineTrap:
    """Counts the lines of *files* that run on *machine*, handlers included, and calls *spring* before number *at*.

    *files*: as in `code.co_filename`.  *at* 0: it never springs, and asks *kind* of every line instead.  `lines`: how
    many there were; `kinds`: what *kind* said -> the numbers of those lines; `where`: "function:line" it sprang at.
    """

    def __init__(self, machine: Machine, files: Collection[str], at: int = 0,
                 spring: Callable[[], object] = lambda: None, kind: Callable[[], str] = lambda: "") -> None:
        self.lines = 0
        self.kinds: dict[str, list[int]] = {}
        self.where = ""
        self._machine = machine
        self._files = frozenset(files)
        self._at = at
        self._spring = spring
        self._kind = kind

    @contextmanager
    def set(self) -> Iterator[None]:
        """The trap is set in the calling greenlet, and in every task spawned meanwhile."""
        machine, spawn, before = self._machine, self._machine.spawn, sys.gettrace()

        def traced(cpu_id: int, fn: Callable[[], object], name: str = "") -> Task:
            def run() -> object:
                sys.settrace(self._call)
                return fn()
            return spawn(cpu_id, run, name)

        machine.spawn = traced              # type: ignore[method-assign]
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(before)
            machine.spawn = spawn           # type: ignore[method-assign]

    def _call(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, _arg: Any) -> Any:
        if event != "line":
            return self._line
        self.lines += 1
        if not self._at:
            self.kinds.setdefault(self._kind(), []).append(self.lines)
        if self.lines == self._at:
            self.where = f"{frame.f_code.co_name}:{frame.f_lineno}"
            sys.settrace(None)
            self._spring()
        return self._line
