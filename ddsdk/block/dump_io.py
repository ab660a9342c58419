"""One transfer of the dump: what it moves, how far it has come, and the command that carries it now."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

#: States: not in use; waiting for its (next) try; with the driver; waiting for its sense data; over.
IDLE, WAITING, QUEUED, SENSING, FINISHED = range(5)


class Command(Protocol):
    """What the queue needs to see of a ScsiCmnd or an IdeTask.

    `done`: the driver said that it ended.  `retries` counts tries after the first, `allowed` bounds them.
    """

    done: bool
    retries: int
    allowed: int


C = TypeVar("C", bound=Command)


class DumpIo(ABC, Generic[C]):
    """`block`, `nblocks` say what it moves; `error` (0 or -errno) and `why` how it ended.

    `command` is replaced when it is given up, because the driver may hold on to the old one.  `timeout_ns`: one
    try's, 0 for the usual.
    """

    __slots__ = ("block", "busy_since_ns", "command", "deadline_ns", "error", "first_ns", "issued_ns", "nblocks",
                 "not_before_ns", "recovered", "state", "timeout_ns", "why")

    def __init__(self, command: C) -> None:
        self.command = command
        self.block = 0
        self.nblocks = 0
        self.error = 0
        self.why = ""
        self.state = IDLE
        self.timeout_ns = 0
        self.first_ns = 0               # first try
        self.issued_ns = 0              # this try
        self.deadline_ns = 0            # and its end
        self.not_before_ns = 0          # next try
        self.busy_since_ns = 0          # the driver refuses since then; 0: it does not
        self.recovered = False          # has cost a reset already

    @abstractmethod
    def give_up(self) -> None:
        """Go on with a new command for the same transfer; whoever holds the old one finds it done."""
