"""The machine: normal mode, the crash, and crashdump_mode.

THE ASYMMETRY IS THE PRODUCT.

* **Normal mode.**  A raised, unmasked interrupt line runs its handler on a CPU that has interrupts enabled;
  clock ticks run timers, tasklets and work; a lock held elsewhere is waited for; a task may sleep.
* **crashdump_mode.**  Lines rise and stay risen: no handler runs.  There is no tick: nothing that was pending
  fires, and what is new moves only when the dump loop says so (`diskdump_update()`, in the helper library).
  Other CPUs are frozen where they were, their locks stay held, and nobody feeds the NMI watchdog but the dump
  loop.  Enabling interrupts, sleeping, or taking a held lock is a fault with a name.

`Machine.crash()` is the only way from one to the other, and there is no way back.  The hardware does not
notice: controllers and disks go on working on what they were told before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Self

from attrs import frozen

from ddsdk.abi import X86_64, Abi
from ddsdk.errors import InterruptFault, SimulationStuckError, SleepFault, UsageError

from .clock import NS_PER_S, Clock
from .cpu import IRQ_FLAG_ENABLED, Cpu, Task, TaskState, getcurrent
from .irq import IrqController
from .locks import HeldLock, Locks
from .memory import PhysicalMemory
from .pci import PciBus
from .scheduler import Scheduler
from .trace import Trace
from .watchdog import NmiWatchdog, StallDetector

#: `run()` without `for_ns` gives up after this much virtual time.
RUN_LIMIT_NS = 3600 * NS_PER_S


class Trigger(Enum):
    """What starts a dump.  White paper 1.1, 3.3 and 3.6; OS_INIT is ia64's NMI."""

    PANIC = "panic"
    OOPS = "oops"
    SYSRQ_C = "sysrq-c"
    NMI_SWITCH = "NMI switch"
    NMI_WATCHDOG = "nmi_watchdog"
    OS_INIT = "OS_INIT"


@frozen
class CrashRecord:
    """How the machine stood at the crash.

    `regs`: one elf_gregset_t per CPU.  `answered`: the other CPUs whose interrupts were enabled, so that the
    freeze interrupt reached them; the rest stopped too, but say nothing.  `locks`: held then, and forever.
    """

    trigger: Trigger
    cpu_id: int
    reason: str
    now_ns: int
    regs: tuple[bytes, ...]
    answered: tuple[int, ...]
    locks: tuple[HeldLock, ...]


class Machine:
    """CPUs, memory, bus, clock.

    The greenlet that makes it is its *home*: the boot context of CPU 0, and after the crash the dump.
    """

    def __init__(self, memory: PhysicalMemory, abi: Abi = X86_64, ncpus: int = 1, hz: int = 1000,
                 trace: Trace | None = None) -> None:
        if ncpus < 1 or hz < 1:
            raise UsageError(f"Machine: ncpus {ncpus} and hz {hz} must be at least 1")
        self.memory = memory
        self.abi = abi
        self.hz = hz
        self.tick_ns = NS_PER_S // hz
        self.clock = Clock()
        self.trace = trace if trace is not None else Trace(enabled=False)
        self.trace.clock = self.clock
        self.watchdog = NmiWatchdog(self.clock)
        self.stall = StallDetector(self.clock)
        self.cpus = tuple(Cpu(n, abi.gregset_bytes) for n in range(ncpus))
        self.irqs = IrqController(self.trace)
        self.scheduler = Scheduler(self.clock, self.cpus, self.irqs, self.watchdog, self.stall)
        self.locks = Locks(self)
        self.pci = PciBus(memory, self.clock, self.irqs, self.trace, self.stall)
        self.crashdump_mode = False
        self.record: CrashRecord | None = None
        self._crash_error: BaseException | None = None
        #: Called with the CrashRecord once everything has stopped.
        self.on_crash: list[Callable[[CrashRecord], object]] = []
        #: Called when the power goes: disks lose what they have not synchronised.
        self.on_power_off: list[Callable[[], object]] = []

    # -- who runs --------------------------------------------------------------------------------------

    @property
    def current_cpu(self) -> Cpu:
        """The CPU the caller runs on (smp_processor_id)."""
        return self.scheduler.current_cpu

    @property
    def current_task(self) -> Task:
        """The task the caller is; the boot task in the home greenlet."""
        return self.scheduler.current

    def spawn(self, cpu_id: int, fn: Callable[[], object], name: str = "") -> Task:
        """Queue *fn* as a task on CPU *cpu_id*; it starts in `run()`, or when the boot context waits."""
        if self.crashdump_mode:
            raise UsageError(f"spawn {name or fn!r}: the machine has crashed, no task runs any more")
        if not 0 <= cpu_id < len(self.cpus):
            raise UsageError(f"spawn {name or fn!r}: no CPU {cpu_id}, this machine has "
                             f"0..{len(self.cpus) - 1}")
        return self.scheduler.spawn(self.cpus[cpu_id], fn, name or getattr(fn, "__name__", "task"))

    def run(self, until: Callable[[], bool] | Task | None = None,
            for_ns: int | None = None) -> CrashRecord | None:
        """Let tasks run, from the home greenlet, in normal mode.

        Stops when *until* holds (a Task: when it is done), after *for_ns*, when every task is done (neither
        given), or at the crash, whose record it returns.  What a task raises comes out here.
        SimulationStuckError when *until* cannot come true any more, or an hour of virtual time was not
        enough.
        """
        if self.record is not None:
            return self.record
        scheduler = self.scheduler
        if getcurrent() is not scheduler.home:
            raise UsageError("run() was called inside a task; only the greenlet that made the machine runs "
                             "it")
        start_ns = self.clock.now_ns
        done = self._until(until, for_ns)
        end_ns = start_ns + (RUN_LIMIT_NS if for_ns is None else for_ns)
        alive = scheduler.run(done, end_ns, idle=for_ns is not None)
        if self._crash_error is not None:
            raise self._crash_error
        if self.record is None and for_ns is None and (until is not None or alive) and not done():
            raise SimulationStuckError(
                f"run(): {'nothing is left to happen' if not alive else 'an hour of virtual time passed'} at "
                f"{self.clock.now_ns} ns and the condition does not hold; tasks: "
                f"{self.scheduler.tasks or 'none'}")
        return self.record

    def _until(self, until: Callable[[], bool] | Task | None, for_ns: int | None) -> Callable[[], bool]:
        if isinstance(until, Task):
            return lambda: until.state is TaskState.DONE
        if until is not None:
            return until
        if for_ns is not None:
            return lambda: False
        return lambda: not self.scheduler.tasks

    # -- time ------------------------------------------------------------------------------------------

    def pass_time(self, ns: int) -> None:
        """Keep the calling CPU busy for *ns*: udelay(), in either mode.

        Clock events fire; in normal mode interrupts are taken and other CPUs run.  WatchdogFault when this
        CPU took no tick for too long.
        """
        clock = self.clock
        if ns <= 0:
            self._pass_no_time(ns)
        if not self.crashdump_mode:
            self.scheduler.busy(clock.now_ns + ns)
            return
        now_ns = clock.now_ns + ns
        if now_ns < clock.horizon_ns:       # what Clock.advance does first, without the call
            clock.now_ns = now_ns
        else:
            clock.advance(ns)
        if clock.now_ns > self.watchdog.deadline_ns:
            self.watchdog.bite(self.scheduler.current_cpu.id, "crashdump_mode")

    def _pass_no_time(self, ns: int) -> None:
        if ns < 0:
            raise UsageError(f"pass_time({ns}): time only goes forward")
        self.stall.tick("pass_time(0)")

    def sleep(self, ns: int | None) -> bool:
        """Give the CPU up for *ns* (None: until woken); true when `wake()` ended it.

        SleepFault in crashdump_mode, in an interrupt, under a spin lock, with interrupts disabled.
        """
        if self.crashdump_mode:
            raise SleepFault("sleep in crashdump_mode: there is no other task and no tick to wake this one; "
                             "poll with udelay() and diskdump_update(), or use diskdump_mdelay()")
        return self.scheduler.sleep(None if ns is None else self.clock.now_ns + ns)

    def wake(self, task: Task) -> None:
        """End a task's sleep."""
        self.scheduler.wake(task)

    def run_in_irq(self, call: Callable[[], object]) -> None:
        """Normal mode: have *call* run as a hard interrupt on a CPU that can take one; lost in a crash."""
        if not self.crashdump_mode:
            self.scheduler.deferred.append((True, call))

    def run_in_softirq(self, call: Callable[[], object]) -> None:
        """Normal mode: have *call* run as a soft interrupt (timers, tasklets); lost in a crash."""
        if not self.crashdump_mode:
            self.scheduler.deferred.append((False, call))

    # -- interrupts of the calling CPU -----------------------------------------------------------------

    def irq_disable(self) -> None:
        """local_irq_disable()."""
        cpu = self.scheduler.current_cpu
        if cpu.irq_enabled:
            cpu.irq_enabled = False
            cpu.irqs_off_since_ns = self.clock.now_ns

    def irq_enable(self) -> None:
        """local_irq_enable(): waiting interrupts are taken at once.  InterruptFault in crashdump_mode."""
        if self.crashdump_mode:
            raise InterruptFault("interrupts enabled on the CPU in crashdump_mode: handlers must not run "
                                 "during a dump (white paper 4.3 item 3); use spin_lock/spin_unlock or the "
                                 "irqsave forms there")
        scheduler = self.scheduler
        scheduler.current_cpu.irq_enabled = True
        if self.irqs.ready or scheduler.deferred:
            scheduler.deliver()

    def irq_save(self) -> int:
        """local_irq_save(): disables, returns the flags for `irq_restore`."""
        cpu = self.scheduler.current_cpu
        if cpu.irq_enabled:
            cpu.irq_enabled = False
            cpu.irqs_off_since_ns = self.clock.now_ns
            return IRQ_FLAG_ENABLED
        return 0

    def irq_restore(self, flags: int) -> None:
        """local_irq_restore(): may enable, which is an InterruptFault in crashdump_mode."""
        if flags & IRQ_FLAG_ENABLED:
            self.irq_enable()

    # -- the crash -------------------------------------------------------------------------------------

    def crash(self, trigger: Trigger, cpu: int | None = None, reason: str = "") -> CrashRecord:
        """Stop the world on *cpu* (default: the one running) and enter crashdump_mode.

        May be called from a task, a clock event, a trace function or the home greenlet.  A task that calls it
        never resumes: `run()` returns the record.  In the home greenlet it returns the record itself.
        """
        if self.record is not None:
            raise UsageError(f"crash({trigger.value}): the machine has crashed already "
                             f"({self.record.trigger.value} on CPU {self.record.cpu_id}); a second panic "
                             "does not return")
        if cpu is not None and not 0 <= cpu < len(self.cpus):
            raise UsageError(f"crash({trigger.value}): no CPU {cpu}, this machine has "
                             f"0..{len(self.cpus) - 1}")
        scheduler = self.scheduler
        crash_cpu = scheduler.current_cpu if cpu is None else self.cpus[cpu]
        self.record = record = CrashRecord(
            trigger, crash_cpu.id, reason, self.clock.now_ns, tuple(c.regs for c in self.cpus),
            tuple(c.id for c in self.cpus if c is not crash_cpu and c.irq_enabled), self.locks.held())
        self.crashdump_mode = True
        self.clock.abandon()
        self.locks.freeze()
        self.irqs.stop()
        scheduler.stop(crash_cpu)
        self.watchdog.touch()
        if self.trace.on:
            self.trace.add("crash", trigger.value, crash_cpu.id, reason)
        try:
            for callback in self.on_crash:
                callback(record)
        except BaseException as error:
            # a frozen task's stack is no place for it: run() raises it
            self._crash_error = error
            scheduler.leave_frozen()
            raise
        scheduler.leave_frozen()
        return record

    def power_off(self) -> None:
        """Cut the power: disks lose what they have not synchronised, nothing in flight completes.

        Only what disks hold afterwards is of further use.
        """
        self.pci.unplug_all()
        self.clock.clear()
        for callback in self.on_power_off:
            callback()

    # -- the end ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of stopped tasks and of hardware.  Without it a crashed machine's memory is never freed.

        Stopped tasks are unwound here and only here; the hardware is unplugged first, so that nothing they do
        in a `finally` block reaches a disk.
        """
        self.pci.unplug_all()
        self.clock.clear()
        tracer = sys.gettrace()
        self.scheduler.discard()
        if sys.gettrace() is not tracer:        # a task stopped by a trace function took that one with it
            sys.settrace(tracer)
        self.clock.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()
