"""TIME, second half: every wait has a bound, none relies on a timer of before the crash, none stalls the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from ddsdk.bus import PCI_COMMAND_IO, PCI_COMMAND_MEMORY
from ddsdk.errors import SimulationStuckError
from ddsdk.hookspecs.profile import Role
from ddsdk.sim.machine import Trigger

from .. import routes, states
from ..bench import DATA, NS_PER_MS, NS_PER_S, NS_PER_US, PAGE, POLL_US, Bench
from ..check import CheckFailed, Need, NotApplicable, Setup, check, not_applicable
from ..plan import Plan

#: Nobody stalls a machine for longer: field.md 4.2.
_STALL_MS: Final = 100
_DECODING_OFF: Final = "decoding-off"
#: What may be wrong with the adapter while the driver waits for it.
_TROUBLES: Final = (Role.COMMAND_HUNG, Role.COMPLETION_LOST, Role.FIRMWARE_FAULT, Role.RESET_SLOW, Role.RESET_HANGS,
                    Role.ADAPTER_GONE)
_AT_THE_CRASH, _IN_THE_DUMP = "at-the-crash", "in-the-dump"


# -- TIME-5 --------------------------------------------------------------------------------------------------


def _troubles(_plan: Plan) -> Sequence[str]:
    """Every trouble at either time, and none at all."""
    names = [role.value for role in _TROUBLES] + [_DECODING_OFF]
    return ("healthy", *(f"{name}-{when}" for name in names for when in (_AT_THE_CRASH, _IN_THE_DUMP)))


@check("TIME-5", hook="all", source="field.md 4.3, invariant (iii): every poll loop ends by virtual time; row HBA: hung"
       " DMA, firmware fault state, reset takes 30 s / never ends, register reads 0xFFFFFFFF",
       faults=(SimulationStuckError,), cases=_troubles, fix="""
       Count, and let time pass in the loop:

           for (i = 0; i < 60000; i++) {
               if (readl(ioc->chip + STATE) == READY)
                   return 0;
               diskdump_mdelay(1);
           }
           return -EIO;
       """)
def every_wait_is_bounded(bench: Bench, case: str) -> None:
    """However the adapter fails, every call of the driver's comes back: quiesce, reset, commands, polls, shutdown."""
    limit_ns = bench.plan.profile.reset_limit_s * NS_PER_S
    trouble, at_the_crash = case.removesuffix(f"-{_AT_THE_CRASH}"), case.endswith(_AT_THE_CRASH)
    trouble = trouble.removesuffix(f"-{_IN_THE_DUMP}")
    if at_the_crash:
        _strike(bench, trouble)
        bench.start(routes.page_command(bench))
        struck = bench.faults.struck if bench.disk is not None else ()
        bench.machine.run(until=lambda: bool(struck), for_ns=NS_PER_MS)     # before the driver does something about it
    bench.crash()
    routes.adopt(bench)
    with bench.within(limit_ns, "dump_sanity_check"):
        refused = bench.ask_sanity() < 0
    if refused:
        return                  # the dump layer leaves it alone
    with bench.within(limit_ns, "quiesce"):
        bench.call_quiesce()
    routes.reset(bench)
    bench.settle()
    if not at_the_crash:
        _strike(bench, trouble)
    for write in (True, False):
        command = routes.page_command(bench, write)
        with bench.within(limit_ns, "a command with its polls"):
            taken = bench.start(command)
            over = taken and routes.poll_for(bench, command)
        if not over:
            routes.reset(bench)
    routes.reset(bench)
    with bench.within(limit_ns, "shutdown"):
        bench.hooks.shutdown(bench.dev)


def _strike(bench: Bench, trouble: str) -> None:
    if trouble == _DECODING_OFF:
        bench.pci_command(clear=PCI_COMMAND_IO | PCI_COMMAND_MEMORY)
    elif trouble != "healthy":
        bench.play(Role(trouble), times=0 if trouble == Role.RESET_HANGS.value else 1)


# -- TIME-6 --------------------------------------------------------------------------------------------------

#: Calls after which something of the driver's is pending.
_ARMING: Final = ("add_timer", "mod_timer", "tasklet_schedule", "tasklet_hi_schedule", "schedule_work",
                  "schedule_delayed_work")
#: What the running kernel is doing when the crash comes.
_ACTIVITIES: Final = ("idle", "commands", "abort", "device-reset", "bus-reset", "host-reset", "firmware-fault")
#: The crash comes after the first call that arms each timer, tasklet or work, up to so many of an activity.
_ARMINGS: Final = 3


@check("TIME-6", hook="quiesce", source="white paper 2.2: timers and tasklets may be used in the host reset process;"
       " field.md 4.3, row time of crash: inside ISR, timer, tasklet, error handler, host reset",
       setup=Setup(probe=False), cases=lambda plan: _ACTIVITIES, fix="""
       A timer pending at the crash never fires, and still looks pending: del_timer() it in quiesce, forget what it was
       to end, and arm it anew with mod_timer():

           int my_quiesce(Scsi_Device *sdev)
           {
               del_timer(&ha->tm_timer);
               ha->tm_pending = 0;
               ...
       """)
def nothing_pending_at_the_crash_is_relied_on(bench: Bench, activity: str) -> None:
    """Timers, tasklets and work that were pending at the crash never run; take-over and dump work without them.

    The crash comes right after the first call that armed one, in each of the driver's activities that does.
    """
    _crash_when_armed(bench, activity, 0)
    _work_without_them(bench, activity)
    if activity == "idle":
        return
    for number in range(1, _ARMINGS):
        with bench.another() as other:
            try:
                _crash_when_armed(other, activity, number)
            except NotArmed:
                return
            except NotApplicable:
                continue                # a lock is held there
            _work_without_them(other, activity)


class NotArmed(Exception):
    """An activity ended without so many things armed."""


def _crash_when_armed(bench: Bench, activity: str, number: int) -> None:
    """Carry *activity* out and crash when the *number*th timer, tasklet or work of it is armed first."""
    trap = _Trap(bench, number)
    bench.bring_up()
    if activity == "idle":
        bench.machine.run(for_ns=10 * NS_PER_MS)
        bench.crash()
    else:
        trap.set = True
        bench.machine.run(until=bench.machine.spawn(0, _act(bench, activity), activity), for_ns=30 * NS_PER_S)
    aside, record = bench.kernel.set_aside, bench.machine.record
    if record is not None and record.locks:
        not_applicable("a lock is held whenever something is pending: after such a crash the device may be refused")
    if not bench.crashed or not (aside.timers or aside.tasklets or aside.works):
        if number:
            raise NotArmed
        not_applicable("the driver has no timer, tasklet or work pending then")


def _act(bench: Bench, activity: str) -> Callable[[], object]:
    """What a task does."""
    commands = [bench.command(n % 2 == 0, 8 * n, [(DATA + n * PAGE, PAGE)]) for n in range(4)]
    if activity == "commands":
        return lambda: (bench.start_all(commands), bench.kernel.msleep(20))
    if activity == Role.FIRMWARE_FAULT.value:
        if not bench.plays(Role.FIRMWARE_FAULT):
            not_applicable(f"no model's fault plays {activity} here")
        bench.inject(Role.FIRMWARE_FAULT)
        return lambda: (bench.start_all(commands), bench.kernel.msleep(20))
    handler = bench.error_handlers().get(activity)
    if handler is None:
        not_applicable(f"the driver has no {activity} handler")
    if bench.plays(Role.COMMAND_HUNG):
        bench.inject(Role.COMMAND_HUNG)
    # a moment, so that the adapter has the command (and the fault has struck) before the handler is called
    return lambda: (bench.start(commands[1]), bench.kernel.msleep(1), handler(commands[1]))


class _Trap:
    """Crashes the machine after a call that arms something for the first time: at once, or a little later where a lock
    is held.
    """

    def __init__(self, bench: Bench, number: int) -> None:
        self.set = False
        self._bench = bench
        self._left = number
        self._armed: list[object] = []
        for name in _ARMING:
            setattr(bench.kernel, name, partial(self._called, getattr(bench.kernel, name)))

    def _called(self, call: Callable[..., Any], *arguments: Any) -> Any:
        result = call(*arguments)
        machine = self._bench.machine
        if self.set and not machine.crashdump_mode and not any(one is arguments[0] for one in self._armed):
            self._armed.append(arguments[0])
            self._left -= 1
            if self._left < 0:
                self.set = False
                if machine.locks.held():
                    machine.clock.after_ns(NS_PER_US, self._crash)
                else:
                    self._crash()
        return result

    def _crash(self) -> None:
        self._bench.machine.crash(Trigger.NMI_SWITCH, reason="something is pending")


def _work_without_them(bench: Bench, activity: str) -> None:
    aside = bench.kernel.set_aside
    pending = ", ".join(map(str, (*aside.timers, *aside.tasklets, *aside.works)))
    resets = not bench.lacks(Need.RESET)
    # besides the reset: the first command times out, and once more after another one
    limit_ns = 90 * NS_PER_S + (10 * states.reset_ns(bench) if resets else 0)
    try:
        with bench.within(min((bench.plan.profile.reset_limit_s + 90) * NS_PER_S, limit_ns), "the take-over"):
            bench.take_over()
        bench.works()
        bench.expect(not resets or routes.reset(bench), "a second host reset failed")
    except CheckFailed as failure:
        raise CheckFailed(f"{pending} was pending at the crash ({activity}) and never runs; a driver must do without:"
                          f" {failure}") from failure


# -- TIME-7 --------------------------------------------------------------------------------------------------


class _Stalled(CheckFailed):
    """TIME-7's own finding."""


@contextmanager
def _no_stall(bench: Bench, call: str) -> Iterator[None]:
    """_Stalled out of whatever the driver is waiting in once nobody has touched the watchdog for too long.

    What has no end at all is TIME-5's business; here it is only ended.
    """
    clock, watchdog = bench.machine.clock, bench.machine.watchdog
    watchdog.touch()

    def look() -> None:
        if clock.now_ns - watchdog.touched_ns > _STALL_MS * NS_PER_MS:
            raise _Stalled(f"{call} stalls the machine: for more than {_STALL_MS} ms it neither touched the NMI"
                              " watchdog nor let the world move; wait by diskdump_mdelay() or a sleeping call")
        pending[0] = clock.at_ns(watchdog.touched_ns + _STALL_MS * NS_PER_MS + 1, look)

    pending = [clock.after_ns(0, look)]
    try:
        with bench.within(bench.plan.profile.reset_limit_s * NS_PER_S, call):
            yield
    finally:
        pending[0].cancel()


_STALLS: Final = ("idle", "queue-full", "reset-half-way", "firmware-fault", "reset-slow", "reset-hangs", "adapter-gone")


@check("TIME-7", hook="all", source="field.md 4.2, Storport Verification: stall > 0.1 s; white paper 4.3 (4): when the"
       " waiting time in mdelay() is long, dumping may fail by nmi_watchdog", cases=lambda plan: _STALLS, fix="""
       for (i = 0; i < 20000; i++)       /* 200 ms without a touch */
           udelay(10);

       becomes diskdump_mdelay(200), or diskdump_msleep(200) where the driver may sleep before the crash.
       """)
def no_stall_above_100_ms(bench: Bench, case: str) -> None:
    """After the crash no call of the driver goes on for 100 ms without a touch of the watchdog or a sleeping wait."""
    try:
        _dump_watched(bench, case)
    except _Stalled:
        raise
    except CheckFailed:
        return                  # what else goes wrong is for others to say


def _dump_watched(bench: Bench, case: str) -> None:
    if case in states.STATES:
        states.enter(bench, case)
    else:
        bench.crash()
    routes.adopt(bench)
    with _no_stall(bench, "dump_sanity_check"):
        refused = bench.ask_sanity() < 0
    if refused:
        return
    with _no_stall(bench, "quiesce"):
        bench.call_quiesce()
    if case not in states.STATES:
        bench.play(Role(case), times=0 if case == Role.RESET_HANGS.value else 1)
    for _ in range(2):
        with _no_stall(bench, "the host reset"):
            _ = bench.lacks(Need.RESET) or bench.call_reset()
        bench.settle()
        command = routes.page_command(bench)
        with _no_stall(bench, "queuecommand"):
            taken = bench.start(command)
        with _no_stall(bench, "dump_poll"):
            _ = taken and routes.poll_for(bench, command)
    with _no_stall(bench, "shutdown"):
        bench.hooks.shutdown(bench.dev)


# -- TIME-9 --------------------------------------------------------------------------------------------------


@check("TIME-9", hook="queuecommand", source="white paper 2.2: I/O is executed by calling queuecommand() and by polling"
       " the interrupt handler directly; before the crash too both run with interrupts off", setup=Setup(probe=False),
       fix="""
       queuecommand() hands the command over and returns; without a free slot it returns SCSI_MLQUEUE_HOST_BUSY instead
       of waiting for one.  The handler takes what is there and returns; what takes long goes into schedule_work().
       """)
def queuecommand_and_handler_do_not_wait(bench: Bench) -> None:
    """queuecommand(), busy or not, in either mode, and the interrupt handler do not wait: 100 us are the most."""
    handler_ns = _timed_handlers(bench)
    bench.bring_up()
    for when in ("before the crash", "after it"):
        if when == "after it":
            bench.take_over()
        nbytes = min(16 * PAGE, bench.max_bytes)
        commands = [bench.probe_command(), bench.command(True, 64, [(DATA, nbytes)]),
                    bench.command(False, 64, [(DATA, nbytes)]),
                    *(bench.command(True, 8 * n + 256, [(DATA + n % 16 * PAGE, PAGE)]) for n in range(bench.depth))]
        for command in commands:
            began_ns = bench.now_ns
            taken = bench.start(command)
            took_us = (bench.now_ns - began_ns) // NS_PER_US
            bench.expect(took_us <= POLL_US,
                         f"queuecommand, {when}, takes {took_us} us to {'take a command' if taken else 'say busy'}; it"
                         " must not wait")
        bench.wait(*(command for command in commands if not command.refused))
    longest_us = max(handler_ns, default=0) // NS_PER_US
    bench.expect(longest_us <= POLL_US, f"the interrupt handler kept its CPU for {longest_us} us; it must not wait")


def _timed_handlers(bench: Bench) -> list[int]:
    """Nanoseconds each interrupt handler took that the driver installs from here on."""
    took_ns: list[int] = []
    request_irq = bench.kernel.request_irq

    def timed(pdev: Any, handler: Callable[[int, Any], int], dev: Any) -> int:
        def call(irq: int, data: Any) -> int:
            began_ns = bench.now_ns
            try:
                return handler(irq, data)
            finally:
                took_ns.append(bench.now_ns - began_ns)
        return request_irq(pdev, call, dev)

    bench.kernel.request_irq = timed
    return took_ns
