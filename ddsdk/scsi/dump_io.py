"""One transfer of the dump: what it moves, how far it has come, and the ScsiCmnd that carries it now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cmnd import ScatterList, ScsiCmnd

if TYPE_CHECKING:
    from .host import ScsiDevice

#: States: not in use; waiting for its (next) try; with the driver; waiting for its sense data; over.
IDLE, WAITING, QUEUED, SENSING, FINISHED = range(5)


class DumpIo:
    """`block`, `nblocks` say what it moves; `error` (0 or -errno) and `why` how it ended.

    `scmd` is replaced when a command is given up, because the driver may hold on to the old one.
    """

    __slots__ = ("block", "busy_since_ns", "deadline_ns", "error", "first_ns", "issued_ns", "nblocks",
                 "not_before_ns", "recovered", "scmd", "state", "why")

    def __init__(self, scmd: ScsiCmnd) -> None:
        self.scmd = scmd
        self.block = 0
        self.nblocks = 0
        self.error = 0
        self.why = ""
        self.state = IDLE
        self.first_ns = 0               # first try
        self.issued_ns = 0              # this try
        self.deadline_ns = 0            # and its end
        self.not_before_ns = 0          # next try
        self.busy_since_ns = 0          # queuecommand refuses since then; 0: it does not
        self.recovered = False          # has cost a host reset already

    @classmethod
    def on(cls, sdev: ScsiDevice, allowed: int) -> DumpIo:
        """A new one for *sdev*, with *allowed* retries."""
        scmd = ScsiCmnd(sdev)
        scmd.allowed = allowed
        return cls(scmd)

    def control(self, command: bytes, direction: int, sg: ScatterList, nbytes: int) -> DumpIo:
        """Make this a command other than READ or WRITE; all of its data may be missing."""
        scmd = self.scmd
        scmd.set_cdb(command)
        scmd.sc_data_direction = direction
        scmd.sg = sg
        scmd.request_bufflen = nbytes
        scmd.underflow = 0
        scmd.retries = 0
        return self

    def give_up(self) -> None:
        """Go on with a new ScsiCmnd for the same transfer; whoever holds the old one finds it done."""
        old, new = self.scmd, ScsiCmnd(self.scmd.device)
        old.done = True
        new.cmnd[:] = old.cmnd
        new.cmd_len = old.cmd_len
        new.sc_data_direction = old.sc_data_direction
        new.sg = old.sg
        new.request_bufflen = old.request_bufflen
        new.underflow = old.underflow
        new.retries = old.retries
        new.allowed = old.allowed
        new.timeout_per_command = old.timeout_per_command
        self.scmd = new
