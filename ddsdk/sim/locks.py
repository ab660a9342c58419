"""Spin locks with an owner.

Taking a lock this CPU holds is a DeadlockFault in both modes.  In crashdump_mode every held lock is one: its
holder is frozen and will never release it.  In normal mode a lock held elsewhere is waited for, in virtual
time.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import TYPE_CHECKING

from attrs import frozen

from ddsdk.errors import DeadlockFault, LockFault, SimulationStuckError

from .clock import NS_PER_S
from .cpu import Cpu

if TYPE_CHECKING:       # machine.py builds on this file
    from .machine import Machine

#: Longest contended wait in normal mode, virtual time.
SPIN_LIMIT_NS = 10 * NS_PER_S


@frozen
class HeldLock:
    """A lock that was held: which, by which CPU, taken where ("file.py:12 in function")."""

    name: str
    cpu_id: int
    taken_in: str

    def __str__(self) -> str:
        return f"{self.name} held by CPU {self.cpu_id}, taken at {self.taken_in}"


class SpinLock:
    """One spinlock_t.  `owner` is the Cpu that holds it, or None."""

    __slots__ = ("_code", "_lasti", "name", "owner")

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner: Cpu | None = None
        self._code: CodeType | None = None
        self._lasti = 0

    @property
    def is_locked(self) -> bool:
        """spin_is_locked()."""
        return self.owner is not None

    @property
    def taken_in(self) -> str:
        """Where the present owner took it: "driver.py:120 in queuecommand"; "" while it is free."""
        if self.owner is None or self._code is None:
            return ""
        line: int | None = self._code.co_firstlineno
        for index, position in enumerate(self._code.co_positions()):
            if index * 2 == self._lasti:
                line = position[0]
                break
        file_name = self._code.co_filename.rpartition("/")[2]
        return f"{file_name}:{line} in {self._code.co_name}"

    def __repr__(self) -> str:
        return f"<SpinLock {self.name} {'held' if self.owner else 'free'}>"


class Locks:
    """The lock operations of one machine.  Interrupt flags are the machine's `irq_*` calls, not these.

    `depth` says how many frames up the caller worth naming is: 1 the direct caller, 2 (default) its caller,
    because the direct one is normally the helper library.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._held: dict[SpinLock, None] = {}       # in the order they were taken
        self._frozen: dict[SpinLock, None] = {}     # held since before the crash

    def acquire(self, lock: SpinLock, depth: int = 2) -> None:
        """spin_lock().  DeadlockFault, or SimulationStuckError when a contended wait passes its bound."""
        machine = self._machine
        cpu = machine.scheduler.current_cpu
        if lock.owner is not None:
            self._contend(lock, cpu)
        lock.owner = cpu                        # what _take() does for a trylock, without the call
        frame = sys._getframe(depth)
        lock._code, lock._lasti = frame.f_code, frame.f_lasti
        cpu.preempt_count += 1
        self._held[lock] = None
        if machine.trace.on:
            machine.trace.add("lock", lock.name, cpu.id)

    def try_acquire(self, lock: SpinLock, depth: int = 2) -> bool:
        """spin_trylock(): false when anybody holds it."""
        if lock.owner is not None:
            return False
        self._take(lock, self._machine.current_cpu, depth)
        return True

    def release(self, lock: SpinLock) -> None:
        """spin_unlock().  LockFault when this CPU does not hold it.

        In crashdump_mode a lock held since before the crash may be released whoever holds it: that is what
        quiesce is for (white paper 4.4 item 2).
        """
        cpu = self._machine.scheduler.current_cpu
        if lock.owner is not cpu:
            if lock.owner is None or lock not in self._frozen:
                raise self._not_held(lock, cpu)
            cpu = lock.owner
        lock.owner = None
        cpu.preempt_count -= 1
        del self._held[lock]
        if self._frozen:
            self._frozen.pop(lock, None)
        if self._machine.trace.on:
            self._machine.trace.add("unlock", lock.name, cpu.id)

    def reinit(self, lock: SpinLock) -> None:
        """spin_lock_init() on a lock that may be held: it is free afterwards, whoever held it."""
        if lock.owner is not None:
            lock.owner.preempt_count -= 1
            lock.owner = None
            del self._held[lock]
            self._frozen.pop(lock, None)
        if self._machine.trace.on:
            self._machine.trace.add("lockinit", lock.name)

    def held(self) -> tuple[HeldLock, ...]:
        """Every lock held now, in the order they were taken."""
        return tuple(HeldLock(lock.name, lock.owner.id, lock.taken_in)
                     for lock in self._held if lock.owner is not None)

    def held_by(self, cpu: Cpu) -> list[SpinLock]:
        """The locks *cpu* holds now, in the order it took them."""
        return [lock for lock in self._held if lock.owner is cpu]

    def freeze(self) -> None:
        """The crash: nobody will release what is held now."""
        self._frozen = dict(self._held)

    def _take(self, lock: SpinLock, cpu: Cpu, depth: int) -> None:
        lock.owner = cpu
        frame = sys._getframe(depth + 1)
        lock._code, lock._lasti = frame.f_code, frame.f_lasti
        cpu.preempt_count += 1
        self._held[lock] = None
        if self._machine.trace.on:
            self._machine.trace.add("trylock", lock.name, cpu.id)

    def _contend(self, lock: SpinLock, cpu: Cpu) -> None:
        owner = lock.owner
        assert owner is not None
        machine = self._machine
        if lock in self._frozen:
            raise DeadlockFault(
                f"CPU {cpu.id} takes {lock.name}, held by CPU {owner.id} since before the crash (taken at "
                f"{lock.taken_in}): nobody will ever release it; refuse in dump_sanity_check when "
                "spin_is_locked(), or release driver locks in quiesce")
        if owner is cpu:
            raise DeadlockFault(f"CPU {cpu.id} takes {lock.name}, which it already holds (taken at "
                                f"{lock.taken_in}): it would spin forever; release it first, or keep "
                                "interrupts off while it is held")
        if machine.trace.on:
            machine.trace.add("spin", lock.name, cpu.id)
        machine.scheduler.busy(machine.clock.now_ns + SPIN_LIMIT_NS, lambda: lock.owner is None)
        if lock.owner is not None:
            raise SimulationStuckError(f"CPU {cpu.id} waited {SPIN_LIMIT_NS // NS_PER_S} s for {lock.name}, "
                                       f"held by CPU {lock.owner.id} (taken at {lock.taken_in}); a spin lock "
                                       "must be held briefly")

    def _not_held(self, lock: SpinLock, cpu: Cpu) -> LockFault:
        if lock.owner is None:
            return LockFault(f"CPU {cpu.id} releases {lock.name}, which is not held; each unlock needs its "
                             "own lock")
        return LockFault(f"CPU {cpu.id} releases {lock.name}, which CPU {lock.owner.id} holds (taken at "
                         f"{lock.taken_in}); only the owner may release it")
