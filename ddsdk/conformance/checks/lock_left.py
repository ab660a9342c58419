"""LOCK, continued: no lock left held, and the mid-layer's lock as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from ddsdk.errors import DeadlockFault
from ddsdk.hookspecs.profile import Role

from .. import dumping, routes
from ..bench import DATA, NS_PER_S, PAGE, Bench, Command
from ..check import CheckFailed, Level, check, not_applicable

# -- what each function leaves ---------------------------------------------------------------------------------


def _none_left(bench: Bench, function: str, when: str) -> None:
    bench.expect(not bench.held_locks, f"{function}, {when}, leaves a lock held: {', '.join(bench.held_locks)}; nobody"
                                       " will release it")


def _after_sanity_check(bench: Bench) -> None:
    dumping.queue_full(bench)
    bench.crash()
    bench.ask_sanity()
    _none_left(bench, "dump_sanity_check", "the queue full")
    bench.pci_command(clear=0x7)
    bench.ask_sanity()
    _none_left(bench, "dump_sanity_check", "decoding and bus mastering off")


def _after_quiesce(bench: Bench) -> None:
    dumping.queue_full(bench)
    bench.crash()
    bench.call_quiesce()
    _none_left(bench, "quiesce", "the queue full")


def _after_poll(bench: Bench) -> None:
    bench.take_over()
    for enter in (dumping.idle, dumping.in_flight, dumping.pending):
        commands = enter(bench)
        for _ in range(4):
            bench.poll()
            _none_left(bench, "dump_poll", "called by the dump loop")
            bench.kernel.udelay(1000)
        bench.wait(*commands)
        _none_left(bench, "dump_poll", "called by the dump loop until all commands have ended")
    for role in (Role.COMPLETION_DUPLICATE, Role.COMPLETION_FOREIGN, Role.FIRMWARE_FAULT, Role.ADAPTER_GONE):
        if not bench.plays(role):
            continue
        bench.inject(role)
        bench.start(routes.page_command(bench))
        for _ in range(30):
            bench.turn()
            _none_left(bench, "dump_poll", f"with a fault of the adapter ({role.value})")


def _after_shutdown(bench: Bench) -> None:
    bench.take_over()
    dumping.in_flight(bench)
    bench.hooks.shutdown(bench.dev)
    _none_left(bench, "shutdown", "a command outstanding")


def _after_queuecommand(bench: Bench) -> None:
    bench.take_over()
    for n in range(bench.depth + 2):        # the last are refused
        command = bench.command(True, 8 * n, [(DATA, PAGE)])
        bench.start(command)
        _none_left(bench, "queuecommand", f"which says busy ({n} commands outstanding)" if command.refused else "which"
                                                                                     " took the command")
    if bench.plays(Role.ADAPTER_GONE):
        bench.inject(Role.ADAPTER_GONE, times=0)
        for _ in range(100):
            bench.turn()
        bench.start(bench.probe_command())
        _none_left(bench, "queuecommand", "the adapter gone")


def _after_handler(name: str) -> Callable[[Bench], None]:
    def scenario(bench: Bench) -> None:
        handle = bench.error_handlers().get(name)
        if handle is None:
            not_applicable(f"the driver offers no {name} handler")
        bench.take_over()
        for role in (None, Role.COMMAND_HUNG, Role.ADAPTER_GONE):
            if role is not None and bench.plays(role):
                bench.inject(role)
            stuck = routes.page_command(bench, write=False)
            bench.start(stuck)
            handle(stuck)
            _none_left(bench, f"the {name} handler", role.value if role else "a command in flight")
    return scenario


#: Function -> what is done with it.
_FUNCTIONS: Final[Mapping[str, Callable[[Bench], None]]] = {
    "dump_sanity_check": _after_sanity_check,
    "quiesce": _after_quiesce,
    "dump_poll": _after_poll,
    "shutdown": _after_shutdown,
    "queuecommand": _after_queuecommand,
    "abort": _after_handler("abort"),
    "device-reset": _after_handler("device-reset"),
    "bus-reset": _after_handler("bus-reset"),
    "host-reset": _after_handler("host-reset"),
}


@check("LOCK-3", hook="all", cases=lambda _plan: tuple(_FUNCTIONS),
       source="white paper 4.4 (1): a lock that is held means -EBUSY; 4.4 (2): release any driver lock", fix="""
       Unlock on every way out, also where the function gives up:
       spin_unlock_irqrestore(&hba->lock, flags);
       return SCSI_MLQUEUE_HOST_BUSY;
       """)
def no_lock_is_left_held(bench: Bench, function: str) -> None:
    """No function of the driver leaves a lock held after the crash, whether it succeeds, refuses or fails."""
    _FUNCTIONS[function](bench)


# -- the mid-layer's lock --------------------------------------------------------------------------------------


@check("LOCK-4", hook="queuecommand", cases=lambda _plan: ("normal-mode", "crash-mode"),
       source="white paper 4.3 (3): HOST_LOCK; hookspecs dump_poll: host_lock is not held", fix="""
       Take host_lock again before you return, if you dropped it; in dump_poll release it, if you took it.
       """)
def host_lock_stays_as_it_was(bench: Bench, mode: str) -> None:
    """queuecommand and the error handlers return with host_lock held and interrupts off, as they were called; dump_poll
    is called without host_lock and leaves it free."""
    def look(function: str) -> None:
        cpu = bench.machine.current_cpu
        bench.expect(bench.lock.owner is cpu, f"{function} released host_lock; its caller holds it and will release it")
        bench.expect(not cpu.irq_enabled, f"{function} returned with interrupts on; they were off when it was called")

    call: Callable[[Callable[[], object], str], object] = bench.in_task
    if mode == "crash-mode":
        bench.crash()
        bench.call_quiesce()
        call = _at_once
    bench.on_return = look
    for name, handle in reversed(list(bench.error_handlers().items())):     # host reset first, as after a crash
        stuck = routes.page_command(bench, write=False)
        bench.start(stuck)
        call(partial(handle, stuck), name)
    commands = bench.start_all([routes.page_command(bench) for _ in range(bench.depth + 1)])     # the last is refused
    if mode == "crash-mode":
        for _ in range(1000):
            bench.poll()
            bench.expect(not bench.lock.is_locked, "dump_poll returned with host_lock held")
            bench.kernel.udelay(100)
    else:
        bench.wait(*commands, limit_ns=NS_PER_S)


def _at_once(call: Callable[[], object], _name: str) -> object:
    return call()


@check("LOCK-5", hook="scsi_done", level=Level.ADVISORY, cases=lambda _plan: ("normal-mode", "crash-mode"),
       source="field.md 4.2: run-time nets; scsi_done() may queue the next command at once", fix="""
       list_add_tail(&cmd->list, &done);   /* under the lock */
       spin_unlock_irqrestore(&hba->lock, flags);
       my_end_commands(&done);             /* without it */
       """)
def scsi_done_is_called_without_locks(bench: Bench, mode: str) -> None:
    """The driver calls scsi_done() without a lock that queuecommand needs: the next command may be queued from within.

    Neither mid-layer here does that, and the kernels of the time defer it; a driver that holds host_lock meanwhile
    works with them."""
    if mode == "crash-mode":
        bench.take_over()
    second = bench.command(False, 800, [(DATA + PAGE, PAGE)])
    first = bench.command(True, 808, [(DATA, PAGE)])
    first.on_end = partial(_start_from_within, bench, second)
    bench.expect(bench.start(first), "the driver says busy though nothing is outstanding")
    bench.wait(first, limit_ns=NS_PER_S)
    bench.expect(first.done, "a command did not end within a second")
    bench.wait(second, limit_ns=NS_PER_S)
    bench.expect(second.done, "a command that was queued from scsi_done() did not end within a second")


def _start_from_within(bench: Bench, second: Command) -> None:
    try:
        bench.start(second)
    except DeadlockFault as fault:
        raise CheckFailed(f"scsi_done() is called under a lock that the next command needs: {fault}") from None
