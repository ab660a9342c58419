"""IRQ: interrupts stay off after the crash, on the CPU and on the chip.

The crash finds interrupts off on the CPU that dumps; whoever enables them lets handlers run that wait for locks nobody
will release.  On the chip quiesce masks them (hookspecs/scsi.py), and nothing unmasks them again: dump_poll stands in
for the handler.
"""

from __future__ import annotations

from typing import Final

from ddsdk.errors import InterruptFault
from ddsdk.hookspecs.profile import Role

from .. import dumping, routes, states
from ..bench import Bench
from ..check import Need, check, not_applicable
from ..plan import Plan

#: The adapter's time to ask for an interrupt, if it can.
_LOOK_MS: Final = 20
#: A late completion has come by then.
_LATE_MS: Final = 30_000
_ROUNDS: Final = 8
_HANDLERS: Final = "error-handlers"


def everywhere(_plan: Plan) -> tuple[str, ...]:
    """Every route, and the error handlers that the dump layer does not call but a driver's own recovery may."""
    return (*routes.every_route(_plan), _HANDLERS)


def go(bench: Bench, case: str) -> None:
    """The way that *case* names; whether things go well on it is for others to judge."""
    if case != _HANDLERS:
        routes.travel(bench, case)
        return
    bench.bring_up()
    bench.crash()
    bench.device.quiesce()
    for handle in bench.error_handlers().values():
        for role in (None, Role.COMMAND_HUNG):
            if role is not None and bench.plays(role):
                bench.inject(role)
            stuck = routes.page_command(bench, write=False)
            bench.start(stuck)
            handle(stuck)
            routes.poll_for(bench, stuck)
    bench.device.shutdown()


@check("IRQ-1", hook="all", setup=routes.TRAVELLER, faults=(InterruptFault,), cases=everywhere,
       source="white paper 4.1 (3), 4.3 (3): don't enable the interrupt in the diskdump functions", fix="""
       #define MY_UNLOCK(lock)             \\
           if (crashdump_mode())           \\
               spin_unlock(lock);          \\
           else                            \\
               spin_unlock_irq(lock);
       """)
def the_cpu_s_interrupts_stay_off(bench: Bench, case: str) -> None:
    """After the crash nothing enables the CPU's interrupts: no quiesce, reset, poll, shutdown, no error handler, from
    whatever state and on whatever error path."""
    go(bench, case)
    record = bench.machine.record
    bench.expect(record is None or not bench.machine.current_cpu.irq_enabled,
                 "interrupts are enabled on the CPU after the dump; the crash found them off")


def _down(bench: Bench, when: str, remedy: str) -> None:
    bench.expect(not bench.pin_is_up(), f"{when} the adapter pulls its interrupt line; {remedy}")


def _before(_plan: Plan) -> tuple[str, ...]:
    return ("reply-pending", "in-flight", "queue-full")


@check("IRQ-2", hook="quiesce", needs=(Need.QUIESCE, Need.INTERRUPT), cases=_before,
       source="white paper 4.3 (3): don't enable the interrupt; hookspecs quiesce: mask the chip", fix="""
       writel(MASK_ALL, chip, INT_MASK);   /* in quiesce */
       """)
def quiesce_masks_the_chip(bench: Bench, state: str) -> None:
    """After quiesce the adapter does not pull its interrupt line, though completions from before the crash are pending
    or still come."""
    states.enter(bench, state)
    bench.expect(bench.call_quiesce() == 0, "quiesce does not answer 0")
    for _ in range(_LOOK_MS):
        _down(bench, "after quiesce, a completion from before the crash pending,", "quiesce must mask the chip's"
                                                                                   " interrupt")
        bench.let_pass(1)


@check("IRQ-3", hook="eh_host_reset_handler", needs=(Need.RESET, Need.INTERRUPT), cases=dumping.every_state,
       source="white paper 4.3 (3): functions that enable the interrupt while the diskdump is running must be modified",
       fix="""
       if (!crashdump_mode())              /* at the end of the bring-up */
           writel(MASK_NONE, chip, INT_MASK);
       """)
def the_host_reset_leaves_the_chip_masked(bench: Bench, state: str) -> None:
    """After a host reset in crash mode the adapter does not pull its interrupt line, whatever is pending that nobody
    polled for."""
    remedy = "in crash mode neither the reset nor queuecommand may unmask the chip"
    bench.crash()
    routes.adopt(bench)
    bench.call_quiesce()
    _reset(bench)
    _down(bench, "after the host reset", remedy)
    bench.settle()
    dumping.enter(bench, state)
    bench.let_pass(_LOOK_MS)
    _down(bench, f"after the host reset, in state {state},", remedy)
    _reset(bench)
    bench.settle()
    for _ in range(4):
        bench.start(routes.page_command(bench))
    bench.let_pass(_LOOK_MS)
    _down(bench, "after another host reset, with completions pending that nobody polled for,", remedy)


def _reset(bench: Bench) -> None:
    if not bench.call_reset():
        not_applicable("the host reset ended in FAILED, which RESET-1 judges")


@check("IRQ-4", hook="dump_poll", needs=(Need.INTERRUPT,),
       source="white paper 4.3 (3): don't enable the interrupt; hookspecs dump_poll: never unmasks the chip", fix="""
       irqreturn_t my_interrupt(...) {
           ...
           if (!crashdump_mode())          /* the handler that ends by enabling the chip's interrupt again */
               writel(MASK_NONE, chip, INT_MASK);
       """)
def polling_leaves_the_chip_masked(bench: Bench) -> None:
    """Polling and ending commands never unmasks the chip: with the next completion pending the line stays down."""
    bench.take_over()
    for n in range(_ROUNDS):
        commands = dumping.start(bench, min(n + 1, bench.depth), write=n % 2 == 0)
        _down(bench, "with commands just queued", "queuecommand must not unmask the chip in crash mode")
        bench.let_pass(_LOOK_MS)
        _down(bench, "with completions pending that nobody polled for", "dump_poll must not unmask the chip")
        bench.poll()
        _down(bench, "after a poll", "dump_poll must not unmask the chip")
        bench.expect(bench.wait(*commands), "commands did not end within 30 s")
        _down(bench, "after polls that ended commands", "dump_poll must not unmask the chip")


def _loads(_plan: Plan) -> tuple[str, ...]:
    return ("idle", "outstanding", "late")


@check("IRQ-5", hook="shutdown", needs=(Need.SHUTDOWN, Need.INTERRUPT), cases=_loads,
       source="white paper 4.3 (3): don't enable the interrupt; hookspecs shutdown: leave the adapter quiet", fix="""
       writel(MASK_ALL, chip, INT_MASK);   /* in shutdown, before anything else and after the last reset */
       """)
def shutdown_leaves_the_line_down(bench: Bench, case: str) -> None:
    """After shutdown the adapter does not pull its interrupt line, then or later, though a command that the dump gave
    up is still with it."""
    bench.take_over()
    bench.goes_on("after the take-over")
    if case == "late":
        dumping.arm(bench, Role.COMPLETION_LATE)
    if case != "idle":
        dumping.start(bench, min(4, bench.depth))
    bench.hooks.shutdown(bench.dev)
    remedy = "shutdown must leave the adapter quiet: mask it, and take back what it holds"
    for ms in (1, _LOOK_MS, _LATE_MS if case == "late" else 1):
        _down(bench, "after shutdown", remedy)
        bench.let_pass(ms)
    _down(bench, "some time after shutdown", remedy)
