"""The facade a driver holds: every kernel call it may make, by the kernel's name.

A driver reaches it as `pdev.kernel`.  What each call does in normal mode and in crash mode is the table in
README.md beside this file; a test reads that table and asserts every row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from .alloc import GFP_ATOMIC, GFP_KERNEL, Allocator, Kmem
from .delay import NSEC_PER_MSEC, Delays, PollBoth
from .dma import DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_TO_DEVICE, DmaBuffer, DmaCalls, store_le32
from .guard import Guard
from .highmem import Highmem
from .io import IoCalls, Iomem
from .irq import IRQ_HANDLED, IRQ_NONE, Irqs
from .locks import Locks
from .pci import DMA_32BIT_MASK, DMA_64BIT_MASK, PciCalls, PciDev
from .softirq import Softirqs
from .tasklet import Tasklets, TaskletStruct
from .timer import Jiffies, TimerList, Timers
from .wait import Completion, WaitQueueHead, Waits
from .workqueue import WorkQueue, WorkStruct

if TYPE_CHECKING:
    from ddsdk.sim.machine import Machine

__all__ = [
    "DMA_32BIT_MASK", "DMA_64BIT_MASK", "DMA_BIDIRECTIONAL", "DMA_FROM_DEVICE", "DMA_TO_DEVICE", "GFP_ATOMIC",
    "GFP_KERNEL", "IRQ_HANDLED", "IRQ_NONE", "Completion", "DmaBuffer", "Iomem", "Kernel", "Kmem", "PciDev",
    "SetAside", "TaskletStruct", "TimerList", "WaitQueueHead", "WorkStruct", "store_le32",
]


@frozen
class SetAside:
    """What was pending at the crash and will not run by itself any more."""

    timers: tuple[TimerList, ...] = ()
    tasklets: tuple[TaskletStruct, ...] = ()
    works: tuple[WorkStruct, ...] = ()


class Kernel(IoCalls, PciCalls):
    """One running kernel on *machine*.

    `poll` is the dumping device's dump_poll, set by the dump layer; sleeping calls run it in crash mode.
    `log` is what printk() was given.  `set_aside` is filled at the crash.  `crash_memory`: the bytes declared for crash
    mode, in use, and at most in use.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.log: list[str] = []
        self.set_aside = SetAside()
        self._guard = guard = Guard(machine)
        self._ticks = jiffies = Jiffies(machine)
        self._timers = timers = Timers(guard, jiffies)
        self._delays = delays = Delays(guard, jiffies, self.diskdump_update)
        self._tasklets = tasklets = Tasklets(guard, delays)
        self._works = works = WorkQueue(guard, timers, jiffies, delays)
        self._waits = waits = Waits(delays)
        self._locks = locks = Locks(guard)
        self.crash_memory = allocator = Allocator(guard)
        self._dma = dma = DmaCalls(guard, allocator)
        self._irqs = irqs = Irqs(guard)
        self._highmem = highmem = Highmem(guard)
        Softirqs(machine, jiffies, timers, tasklets, works)
        machine.on_crash.append(self._at_crash)
        self._watchdog = machine.watchdog
        self._clock = machine.clock

        self.crashdump_mode = guard.crashdump_mode
        self.in_irq = guard.in_irq
        self.in_interrupt = guard.in_interrupt

        self.HZ = jiffies.hz
        self.time_after = jiffies.after
        self.time_before = jiffies.before
        self.msecs_to_jiffies = jiffies.from_msecs
        self.jiffies_to_msecs = jiffies.to_msecs
        self.init_timer = timers.init_timer
        self.setup_timer = timers.setup_timer
        self.add_timer = timers.add_timer
        self.mod_timer = timers.mod_timer
        self.del_timer = timers.del_timer
        self.del_timer_sync = timers.del_timer_sync
        self.timer_pending = timers.timer_pending

        self.tasklet_init = tasklets.tasklet_init
        self.tasklet_schedule = tasklets.tasklet_schedule
        self.tasklet_hi_schedule = tasklets.tasklet_hi_schedule
        self.tasklet_disable = tasklets.tasklet_disable
        self.tasklet_enable = tasklets.tasklet_enable
        self.tasklet_kill = tasklets.tasklet_kill

        self.INIT_WORK = works.INIT_WORK
        self.schedule_work = works.schedule_work
        self.schedule_delayed_work = works.schedule_delayed_work
        self.cancel_delayed_work = works.cancel_delayed_work
        self.flush_scheduled_work = works.flush_scheduled_work

        self.poll_once = delays.poll_once
        self.udelay = delays.udelay
        self.mdelay = delays.mdelay
        self.diskdump_mdelay = delays.diskdump_mdelay
        self.msleep = delays.msleep
        self.diskdump_msleep = delays.diskdump_msleep
        self.schedule_timeout = delays.schedule_timeout
        self.schedule = delays.schedule
        self.touch_nmi_watchdog = delays.touch_nmi_watchdog

        self.init_waitqueue_head = waits.init_waitqueue_head
        self.wake_up = waits.wake_up
        self.wait_event = waits.wait_event
        self.wait_event_timeout = waits.wait_event_timeout
        self.init_completion = waits.init_completion
        self.complete = waits.complete
        self.wait_for_completion = waits.wait_for_completion
        self.wait_for_completion_timeout = waits.wait_for_completion_timeout

        self.spin_lock_init = locks.spin_lock_init
        self.spin_lock = locks.spin_lock
        self.spin_unlock = locks.spin_unlock
        self.spin_trylock = locks.spin_trylock
        self.spin_is_locked = locks.spin_is_locked
        self.spin_lock_irq = locks.spin_lock_irq
        self.spin_unlock_irq = locks.spin_unlock_irq
        self.spin_lock_irqsave = locks.spin_lock_irqsave
        self.spin_unlock_irqrestore = locks.spin_unlock_irqrestore
        self.spin_lock_bh = locks.spin_lock_bh
        self.spin_unlock_bh = locks.spin_unlock_bh
        self.local_irq_disable = locks.local_irq_disable
        self.local_irq_enable = locks.local_irq_enable
        self.local_irq_save = locks.local_irq_save
        self.local_irq_restore = locks.local_irq_restore

        self.kmalloc = allocator.kmalloc
        self.kfree = allocator.kfree
        self.declare_crash_budget = allocator.declare_crash_budget
        self.kmap_atomic = highmem.kmap_atomic
        self.kunmap_atomic = highmem.kunmap_atomic
        self.dma_alloc_coherent = dma.dma_alloc_coherent
        self.dma_free_coherent = dma.dma_free_coherent
        self.dma_map_single = dma.dma_map_single
        self.dma_unmap_single = dma.dma_unmap_single
        self.dma_map_sg = dma.dma_map_sg
        self.dma_unmap_sg = dma.dma_unmap_sg
        self.dma_set_mask = dma.dma_set_mask

        self.request_irq = irqs.request_irq
        self.free_irq = irqs.free_irq
        self.enable_irq = irqs.enable_irq
        self.disable_irq = irqs.disable_irq
        self.disable_irq_nosync = irqs.disable_irq_nosync

    @property
    def jiffies(self) -> int:
        """unsigned long jiffies: ticks since five minutes before its 32-bit wrap-around."""
        return self._ticks.read()

    @property
    def poll(self) -> Callable[[], object] | None:
        """The dumping device's dump_poll, or None while none is dumped to.

        Taking it away in crash mode ends that device's part: what its driver left pending is set aside, locks
        it left held no longer keep the next device's driver from sleeping.  A PollBoth of it and another takes
        nothing away.
        """
        return self._delays.poll

    @poll.setter
    def poll(self, poll: Callable[[], object] | None) -> None:
        before = self._delays.poll
        joined = isinstance(poll, PollBoth) and poll.first is before
        if before is not None and poll != before and not joined and self.machine.crashdump_mode:
            self._empty()
            self._guard.held.clear()
        self._delays.poll = poll

    def _empty(self) -> SetAside:
        timers, works = self._timers.set_aside(), self._works.set_aside()
        of_works = [work.timer for work in works]
        return SetAside(tuple(timer for timer in timers if timer not in of_works),
                        tuple(self._tasklets.set_aside()), tuple(works))

    def diskdump_update(self) -> None:
        """void diskdump_update(void): touch the NMI watchdog; in crash mode also move the emulated world.

        Jiffies catch up with the clock, then due timers run in expiry order, tasklets that are scheduled and
        enabled, and work items first in first out.  Each runs at most once: what re-queues itself waits for
        the next call.  Inside a timer function or tasklet only the watchdog and jiffies move.
        """
        watchdog = self._watchdog
        watchdog.touched_ns = now_ns = self._clock.now_ns       # touch_nmi_watchdog(), without the call
        watchdog.deadline_ns = now_ns + watchdog.limit_ns
        if not self.machine.crashdump_mode:
            return
        jiffies = self._ticks
        if now_ns >= jiffies.next_tick_ns:
            jiffies.advance(now_ns)
        if ((self._timers.armed or self._tasklets.queue or self._works.queue)
                and not self._guard.in_crash_softirq):
            self._timers.run_due()
            self._tasklets.run()
            self._works.run()

    def diskdump_pause(self, ms: int) -> None:
        """*ms* times {diskdump_update(), 1000 us}: how the dump layer gives disks time after a reset.

        Where updates would find nothing to do and no adapter has anything to say, time passes in one step.
        """
        while ms > 0:
            self.diskdump_update()
            quiet_ms = min(ms - 1, self._quiet_ms())
            if quiet_ms > 0:
                self._clock.now_ns += quiet_ms * NSEC_PER_MSEC
                self.diskdump_update()
                ms -= quiet_ms
            self.udelay(1000)
            ms -= 1

    def _quiet_ms(self) -> int:
        """Crash mode: whole milliseconds before anything can happen."""
        if not self.machine.crashdump_mode or self._tasklets.queue or self._works.queue:
            return 0
        due, until_ns = self._timers.next_due, self._clock.horizon_ns
        if due is not None:
            until_ns = min(until_ns, self._ticks.ns_of(due))
        return (until_ns - 1 - self._clock.now_ns) // NSEC_PER_MSEC

    def printk(self, text: str) -> None:
        """int printk(const char *): a line of the kernel's log."""
        self.log.append(text)
        if self.machine.trace.on:
            self.machine.trace.add("printk", text)

    def halt(self) -> None:
        """This kernel runs no more, the machine and its adapters do: another one boots (kexec, warm reboot).

        Timers, tasklets and work are set aside, handlers removed.  For a machine that has not crashed.
        """
        self.set_aside = self._empty()
        self._irqs.remove_all()

    def _at_crash(self, _record: object) -> None:
        self._ticks.at_crash()
        self.set_aside = self._empty()
