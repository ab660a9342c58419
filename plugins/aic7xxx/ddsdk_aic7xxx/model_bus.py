"""The SCSI bus of one function: who is connected, who wants to reselect, resets.  Time passes here though the
sequencer is paused."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ddsdk.sim.scsi_target import ScsiTarget

from .model_chip import Port
from .model_port import Connection, TargetPort, Task
from .regs import SStat1

if TYPE_CHECKING:
    from .model_core import AhcCore

_BUSFREE = SStat1.BUSFREE.mask
_SCSIRSTI = SStat1.SCSIRSTI.mask


class Bus:
    """Targets by id; at most one of them is connected."""

    def __init__(self, chip: AhcCore, targets: Mapping[int, ScsiTarget]) -> None:
        self._chip = chip
        self.ports = {number: TargetPort(number, target, Port()) for number, target in targets.items()}
        self.conn: Connection | None = None
        #: Tasks that want to go on, in the order in which they were ready.
        self.ready: deque[Task] = deque()

    def port(self, number: int) -> TargetPort | None:
        """Whoever answers at an id."""
        port = self.ports.get(number)
        return port if port is not None and port.present else None

    # -- commands at targets -----------------------------------------------------------------------

    def start(self, task: Task, extra_ns: int = 0) -> None:
        """The target begins to work on a task, once it is through with those before."""
        port, clock = task.port, self._chip.clock
        now_ns = clock.now_ns
        # what the wire adds is counted where the data moves
        took_ns = port.target.service_ns(task.cdb, 0)
        end_ns = max(now_ns, port.free_at_ns) + took_ns + extra_ns
        port.free_at_ns = end_ns
        task.event = clock.at_ns(end_ns, self._worked, task)

    def _worked(self, task: Task) -> None:
        task.event = None
        if not task.dead:
            task.ready = True
            self.offer(task, last=True)

    def offer(self, task: Task, *, last: bool = False) -> None:
        """A task may go on, unless sense data is in its way: at once where it is connected, else by reselection.

        *last*: as the last act of an event.
        """
        if not task.port.may_go_on(task):
            return
        if self.conn is not None and self.conn.task is task:
            self._chip.seq.kick(last=last)
        elif task not in self.ready:
            self.ready.append(task)
            self._chip.seq.kick(last=last)

    def allegiance_over(self, port: TargetPort) -> None:
        """Tasks that waited for sense data to be fetched may go on."""
        for task in list(port.tasks):
            if task.ready and (self.conn is None or self.conn.task is not task):
                self.offer(task)

    def next_ready(self) -> Task | None:
        """The task that reselects next."""
        while self.ready:
            task = self.ready.popleft()
            if not task.dead and task.port.may_go_on(task):
                return task
        return None

    # -- the bus goes free -------------------------------------------------------------------------

    def release(self) -> None:
        """The target leaves as it should: nobody is told."""
        self.conn = None
        chip = self._chip
        chip.values["SIMODE1"] &= ~_BUSFREE
        chip.sstat1 |= _BUSFREE
        chip.atn = False

    def drop(self) -> None:
        """The target leaves in the middle of things: BUSFREE, which SIMODE1 makes a SCSIINT."""
        if self.conn is None:
            return
        self.conn = None
        chip = self._chip
        chip.atn = False
        chip.sstat1 |= _BUSFREE
        chip.look_at_bus()

    def reset(self) -> None:
        """RST, whoever drives it: everybody lets go and forgets."""
        chip = self._chip
        self.conn = None
        self.ready.clear()
        until_ns = chip.clock.now_ns + chip.timing.recovery_ns
        for port in self.ports.values():
            port.reset(bus=True, until_ns=until_ns)
        chip.atn = False
        chip.values["SCSISEQ"] &= ~0x40
        chip.seq.bus_was_reset()
        chip.sstat1 |= _SCSIRSTI | _BUSFREE
        if chip.trace.on:
            chip.trace.add("bus", "reset")
        chip.look_at_bus()
