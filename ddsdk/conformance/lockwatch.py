"""How a driver takes its locks before the crash: from where, with interrupts on or off, in which order.

A deadlock needs bad luck to happen; the habit that makes it possible shows in every run.  Source: field.md 4.2, lockdep
among Linux's run-time nets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import define, field, frozen

from ddsdk.sim.cpu import Cpu
from ddsdk.sim.irq import IrqLine
from ddsdk.sim.locks import SpinLock
from ddsdk.sim.trace import TraceField

from .bench import Bench

#: Where a lock is taken: in the interrupt handler; elsewhere with interrupts on, so that the handler may come.
HANDLER: Final = "the interrupt handler"
OPEN: Final = "with interrupts on"
CLOSED: Final = "with interrupts off"


@frozen
class Nested:
    """`inner` was taken at `site` while `outer` was held; `gates` are the locks held besides."""

    outer: str
    inner: str
    site: str
    gates: frozenset[str]


@define
class LockHabits:
    """What was seen, without the machine it was seen on.  Locks are told apart by name."""

    #: lock -> HANDLER, OPEN, CLOSED -> where it was first taken so.
    taken: dict[str, dict[str, str]] = field(factory=dict)
    #: (outer, inner) -> the first time of each set of gates.
    nested: dict[tuple[str, str], list[Nested]] = field(factory=dict)

    @property
    def unsafe(self) -> list[str]:
        """A line for each lock that the handler takes and others take with interrupts on."""
        return [f"{name} is taken in {HANDLER} (at {sites[HANDLER]}), and elsewhere {OPEN} (at {sites[OPEN]}): an"
                " interrupt in between spins for ever on its own CPU"
                for name, sites in self.taken.items() if HANDLER in sites and OPEN in sites]

    @property
    def crossed(self) -> list[str]:
        """A line for each two locks that are taken in both orders, with no third lock held both times."""
        return [f"{inner} is taken under {outer} (at {one.site}), and {outer} under {inner} (at {other.site}): two CPUs"
                " that do so at once wait for each other for ever"
                for (outer, inner), ways in self.nested.items() if outer < inner
                for one in ways for other in self.nested.get((inner, outer), ()) if not one.gates & other.gates]


@define
class LockWatch:
    """A listener for `World.listening()`.

    A trylock waits for nobody: it proves nothing by being taken, but what is taken under it does.
    """

    bench: Bench
    habits: LockHabits = field(factory=LockHabits)

    def __call__(self, kind: str, fields: Sequence[TraceField]) -> None:
        """A trace record."""
        if kind != "lock":
            return
        machine = self.bench.machine
        cpu = machine.cpus[int(fields[1] or 0)]
        held = machine.locks.held_by(cpu)
        lock = held[-1]
        sites = self.habits.taken.setdefault(lock.name, {})
        where = self.context(cpu)
        if where not in sites:
            sites[where] = lock.taken_in
        for outer in held[:-1]:
            self._nest(outer, lock, frozenset(other.name for other in held) - {outer.name, lock.name})

    def context(self, cpu: Cpu) -> str:
        """Where *cpu* takes a lock now."""
        if cpu.in_irq:
            return HANDLER
        line = self.bench.function.irq_line
        held_back = isinstance(line, IrqLine) and line.masked      # disable_irq(): the handler does not come
        return OPEN if cpu.irq_enabled and not held_back else CLOSED

    def _nest(self, outer: SpinLock, inner: SpinLock, gates: frozenset[str]) -> None:
        known = self.habits.nested.setdefault((outer.name, inner.name), [])
        if outer.name != inner.name and all(one.gates != gates for one in known):
            known.append(Nested(outer.name, inner.name, inner.taken_in, gates))
