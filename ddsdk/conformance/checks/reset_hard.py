"""RESET, continued: half-done handlers, adapters that take their time or never come back, and the lock."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from ddsdk.hookspecs.profile import Role
from ddsdk.sim.machine import Trigger

from .. import dumping
from ..bench import NS_PER_MS, NS_PER_S, Bench
from ..check import Level, Need, check, not_applicable
from ..plan import Plan
from ..states import reset_ns
from .reset import reset

#: The crash comes so many sixteenths of the reset's usual time after its beginning (states.py has other points).
_SIXTEENTHS: Final = (1, 3, 5, 7, 9, 11, 13, 15)
#: The same of a reset that never ends: a driver that tries more than once is in its first try, or in its last.
_SIXTEENTHS_HANGING: Final = (3, 15)
#: Fewer on an emulated adapter, where each takes real time.
_SIXTEENTHS_EMULATED: Final = (3, 9, 15)
#: Others spin for host_lock meanwhile, interrupts off.
_LOCK_HELD_MAX_NS: Final = NS_PER_S
_SAMPLE_NS: Final = 10 * NS_PER_MS


def _half_way(plan: Plan) -> tuple[str, ...]:
    if plan.backend != "model":
        resets = [f"reset-{n}-16ths" for n in _SIXTEENTHS_EMULATED]
    else:
        resets = [f"reset-{n}-16ths" for n in _SIXTEENTHS]
        resets += [f"hanging-reset-{n}-16ths" for n in _SIXTEENTHS_HANGING]
    return (*resets, "abort", "device-reset", "bus-reset")


@check("RESET-6", hook="eh_host_reset_handler", needs=(Need.RESET,), cases=_half_way,
       source="white paper 2.2: in the host reset timers and tasklets may be used, a helper library emulates them",
       fix="""
       What was armed before the crash never fires.  Forget in quiesce what the half-done handler had under way:
       del_timer(&hba->reset_timer);
       hba->reset_state = IDLE;
       hba->reset_tries = 0;
       """)
def an_error_handler_was_under_way(bench: Bench, case: str) -> None:
    """Where the crash stopped an error handler half way its timers, tasklets and work items never fire; the reset in
    crash mode works all the same, and the next one too: also after a handler whose own resets did not end."""
    hanging = case.startswith("hanging-")
    took_ns = _hanging_ns(bench) if hanging else reset_ns(bench) if case.endswith("-16ths") else 0
    stuck = dumping.start(bench, 1)[0]
    if hanging:
        dumping.arm(bench, Role.RESET_HANGS, times=0)
    if took_ns:
        _crash_in(bench, bench.call_reset, max(1, took_ns * int(case.split("-")[-2]) // 16))
    else:
        handler = bench.error_handlers().get(case)
        if handler is None:
            not_applicable(f"the driver offers no {case} handler")
        _crash_in(bench, partial(handler, stuck), 1)
    if bench.lock.is_locked:
        not_applicable("the driver holds host_lock through the handler: after that crash nobody dumps through it")
    if hanging:
        bench.faults.clear()                # the next reset ends
        if bench.device.sanity_check() < 0:
            not_applicable(f"refused before quiesce: {bench.device.why}")
    bench.take_over()
    bench.goes_on("after a crash half way through an error handler")
    reset(bench, " that follows the one of the take-over")
    bench.settle()
    bench.goes_on("after another host reset")


def _hanging_ns(bench: Bench) -> int:
    """Nanoseconds until the handler gives up a reset that never ends, on a machine like this one, in normal mode."""
    with bench.another() as other:
        dumping.arm(other, Role.RESET_HANGS, times=0)
        before_ns = other.now_ns
        with other.within(other.plan.profile.reset_limit_s * NS_PER_S, "a host reset of an adapter that never ends it"):
            other.in_task(other.call_reset)
        return other.now_ns - before_ns


def _crash_in(bench: Bench, handler: Callable[[], object], after_ns: int) -> None:
    bench.machine.spawn(0, handler, "error handler")
    bench.machine.clock.after_ns(after_ns, bench.machine.crash, Trigger.PANIC, None, "in an error handler")
    bench.machine.run(until=lambda: bench.crashed, for_ns=after_ns + NS_PER_S)


@check("RESET-7", hook="eh_host_reset_handler", needs=(Need.RESET, Role.RESET_HANGS),
       source="field.md 4.3: the reset never ends; invariant (iii): every loop ends by virtual time", fix="""
       for (n = 0; n < MY_RESET_MS; n++) {
           if (ready(readl(chip, STATE)))
               return SUCCESS;
           diskdump_mdelay(1);             /* bounded, and it feeds the NMI watchdog */
       }
       return FAILED;
       """)
def a_reset_that_never_ends_fails(bench: Bench) -> None:
    """When the adapter never comes out of its reset the handler says FAILED, within the profile's reset_limit_s and
    with the NMI watchdog fed; polls after that are harmless."""
    bench.take_over()
    fault = dumping.arm(bench, Role.RESET_HANGS, times=0)
    with bench.within(bench.plan.profile.reset_limit_s * NS_PER_S, "a host reset of an adapter that never comes back"):
        worked = bench.call_reset()
    bench.expect_struck(fault)
    bench.expect(not worked, "the host reset said SUCCESS of an adapter that never came out of its reset; look whether"
                             " it is ready, and say FAILED when it is not in time")
    for _ in range(100):
        bench.turn()


@check("RESET-8", hook="eh_host_reset_handler", needs=(Need.RESET, Role.RESET_SLOW),
       source="field.md 4.3: the reset takes 30 s", fix="""
       Wait as long as the data sheet allows, not as long as your adapter happens to take.
       """)
def a_slow_reset_is_waited_for(bench: Bench) -> None:
    """A reset that takes the adapter many seconds ends in SUCCESS, and the adapter works right after it."""
    bench.take_over()
    fault = dumping.arm(bench, Role.RESET_SLOW)
    dumping.in_flight(bench)
    reset(bench, " that takes the adapter long")
    bench.expect_struck(fault)
    bench.goes_on("after a slow host reset")
    bench.works()


def _modes(_plan: Plan) -> tuple[str, ...]:
    return ("normal-mode", "normal-mode-hangs", "crash-mode", "crash-mode-hangs")


@check("RESET-9", hook="eh_host_reset_handler", needs=(Need.RESET,), cases=_modes,
       source="white paper 4.3 (3): HOST_LOCK and HOST_UNLOCK, which the handlers' callers rely on to pair", fix="""
       HOST_UNLOCK(host->host_lock);       /* white paper 4.3 (3): plain spin_unlock() when crashdump_mode() */
       ... wait ...
       HOST_LOCK(host->host_lock);         /* on every way out */
       """)
def leaves_the_lock_as_it_was(bench: Bench, mode: str) -> None:
    """The host reset returns with host_lock held, as its caller did, and with interrupts off: in normal mode and in
    crash mode, whether it works or fails."""
    def look(_function: str) -> None:
        cpu = bench.machine.current_cpu
        bench.expect(bench.lock.owner is cpu, f"the host reset returned with host_lock {_holder(bench)}; its caller"
                                              " held it and will release it")
        bench.expect(not cpu.irq_enabled, "the host reset returned with interrupts on; they were off when it was"
                                          " called")

    if mode.startswith("crash"):
        bench.crash()
        bench.call_quiesce()
    if mode.endswith("hangs"):
        dumping.arm(bench, Role.RESET_HANGS, times=0)
    bench.on_return = look
    with bench.within(bench.plan.profile.reset_limit_s * NS_PER_S, "the host reset"):
        if mode.startswith("crash"):
            bench.call_reset()
        else:
            bench.in_task(bench.call_reset)


def _holder(bench: Bench) -> str:
    return "released" if bench.lock.owner is None else f"held by CPU {bench.lock.owner.id}"


def _ways_to_go(plan: Plan) -> tuple[str, ...]:
    return ("all-ones", "removed") if plan.backend == "model" else ("all-ones",)


@check("RESET-10", hook="eh_host_reset_handler", needs=(Need.RESET,), cases=_ways_to_go,
       source="field.md 4.3: register reads 0xFFFFFFFF (surprise removal)", fix="""
       if (readl(chip, STATE) == 0xFFFFFFFF)
           return FAILED;                  /* all ones is no state: nobody is there */
       """)
def an_adapter_that_is_gone_fails(bench: Bench, how: str) -> None:
    """The host reset of an adapter that does not answer any more says FAILED, in bounded time; polls after that are
    harmless and no command ends well."""
    bench.take_over()
    if how == "removed":
        bench.unplug()
    else:
        dumping.arm(bench, Role.ADAPTER_GONE, times=0)
    with bench.within(bench.plan.profile.reset_limit_s * NS_PER_S, "the host reset of an adapter that is gone"):
        worked = bench.call_reset()
    bench.expect(not worked, "the host reset said SUCCESS of an adapter whose every register reads all ones; it must"
                             " say FAILED")
    command = bench.probe_command()
    taken = bench.start(command)
    for _ in range(100):
        bench.turn()
    bench.expect(not (taken and command.done) or bench.error_of(command),
                 "a command to an adapter that is gone ended well; end it with DID_NO_CONNECT, or say busy")


@check("RESET-11", hook="eh_host_reset_handler", level=Level.ADVISORY, needs=(Need.RESET,),
       source="field.md 4.2: Driver Verifier, stall > 0.1 s; the handlers may drop host_lock while they wait", fix="""
       HOST_UNLOCK(host->host_lock);
       my_wait_for_the_chip(hba);
       HOST_LOCK(host->host_lock);
       """)
def does_not_sit_on_the_lock(bench: Bench) -> None:
    """In normal mode the host reset does not hold host_lock for a second on end: whoever queues a command meanwhile
    spins for it with interrupts off."""
    longest_ns = since_ns = 0
    held_before = False

    def sample() -> None:
        nonlocal longest_ns, since_ns, held_before
        held = bench.lock.is_locked
        if held and not held_before:
            since_ns = bench.now_ns
        if held:
            longest_ns = max(longest_ns, bench.now_ns - since_ns)
        held_before = held
        if not bench.crashed and not task.done:
            bench.machine.clock.after_ns(_SAMPLE_NS, sample)

    task = bench.machine.spawn(0, bench.call_reset, "error handler")
    sample()
    bench.machine.run(until=task, for_ns=bench.plan.profile.reset_limit_s * NS_PER_S)
    bench.expect(longest_ns <= _LOCK_HELD_MAX_NS, f"the host reset held host_lock for {longest_ns / NS_PER_S:.1f} s on"
                                                  " end in normal mode; drop it while you wait")
