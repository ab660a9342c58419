"""QUIESCE: from every state the crash can find the adapter in, into one from which the dump works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from ddsdk.bus import PCI_COMMAND_IO, PCI_COMMAND_MEMORY
from ddsdk.errors import DeadlockFault, DriverFault, PluginError
from ddsdk.hookspecs.profile import Role

from .. import linecrash, ownlocks, states, ways
from ..bench import NS_PER_S, Bench
from ..check import CheckFailed, Need, QuiesceFailed, check, not_applicable


def take_over(bench: Bench, where: str) -> None:
    """Sanity check, quiesce and host reset as the dump layer does them.  A device that is refused is not judged here.

    SANE-11 judges refusals.
    """
    if bench.device.sanity_check() < 0:
        not_applicable(f"refused before quiesce ({where}): {bench.device.why}")
    _quiesce(bench, where)


def _quiesce(bench: Bench, where: str) -> None:
    """Quiesce and host reset must bring the device to where it works."""
    with bench.within(_limit_ns(bench), f"the take-over ({where})"):
        error = bench.device.quiesce()
    bench.expect(error == 0, f"the device could not be taken over ({where}): {bench.device.why}")


def _limit_ns(bench: Bench) -> int:
    """A host reset, and the commands after it with their tries."""
    return (bench.plan.profile.reset_limit_s + 300) * NS_PER_S


@check("QUIESCE-1", hook="quiesce", faults=(QuiesceFailed,),
       source="field.md 2, row 2: quiesce from every reachable device state",
       cases=states.every_state, fix="""
       Forget what was in flight, mask the chip, and let the host reset do the rest; wait for nothing that only the
       dead kernel would have brought about.
       """)
def works_from_every_state(bench: Bench, state: str) -> None:
    """Whatever the adapter was doing at the crash, quiesce and host reset bring it to where it writes and reads."""
    states.enter(bench, state)
    take_over(bench, state)
    bench.works()


@check("QUIESCE-2", hook="quiesce", needs=(Need.QUIESCE,), cases=lambda plan: ways.WAYS, fix="""
       def my_quiesce(sdev):
           ioc = sdev.host.hostdata.ioc
           ioc.kernel.spin_lock_init(ioc.queue_lock)       # whoever held it is frozen
           ioc.kernel.spin_lock_init(ioc.reset_lock)
           return 0
       """, source="white paper 4.4 (2): you have to release any driver lock")
def releases_the_drivers_own_locks(bench: Bench, way: str) -> None:
    """Each lock of the driver's own that a frozen CPU holds is released: host reset and I/O do not meet it.

    The crash comes as the lock is taken - in queuecommand, the interrupt handler, an error handler - and quiesce is
    called although the sanity check may refuse there; host_lock, which is not the driver's, is released for it.
    """
    locks = ownlocks.taken_in(bench, way)
    if not locks:
        not_applicable(f"in {way} the driver takes no lock of its own")
    for lock in locks:
        with bench.another() as other:
            ownlocks.crash_holding(other, way, lock)
            if other.lock.is_locked:
                other.kernel.spin_lock_init(other.lock)
            try:
                _quiesce(other, f"{lock} held since before the crash, taken in {way}")
                other.works()
            except DeadlockFault as fault:
                other.expect(False, f"quiesce did not release {lock}, held since before the crash (taken in {way}):"
                                    f" {fault}")


@check("QUIESCE-3", hook="quiesce", needs=(Need.QUIESCE,), fix="""
       Set everything to a known state, whatever it was; undo nothing that may have been undone already:
       del_timer() may be called for a timer that is not armed, free lists are filled anew, not added to.
       """, cases=lambda plan: ("idle", "in-flight", "reply-pending", "reset-half-way", "firmware-fault"),
       source="field.md 1.1: quiesce runs once per device, and one adapter may have several devices")
def may_be_called_again(bench: Bench, state: str) -> None:
    """Called twice in a row, and again after a take-over that worked, quiesce returns 0 and what follows works."""
    states.enter(bench, state)
    if bench.device.sanity_check() < 0:
        not_applicable(f"refused before quiesce: {bench.device.why}")
    for call in ("first", "second"):
        answer = bench.call_quiesce()
        bench.expect(answer == 0, f"the {call} call of quiesce in a row returned {answer} ({state}); it must be 0")
    _quiesce(bench, f"{state}, third call of quiesce")
    bench.works()
    _quiesce(bench, f"{state}, again after a take-over that worked")
    bench.works()


def _not_decoding(bench: Bench) -> None:
    bench.crash()
    bench.pci_command(clear=PCI_COMMAND_IO | PCI_COMMAND_MEMORY)


def _all_ones(bench: Bench) -> None:
    bench.crash()
    bench.play(Role.ADAPTER_GONE)


def _removed(bench: Bench) -> None:
    bench.crash()
    if bench.plan.backend != "model":
        not_applicable("only a model can be pulled out")
    bench.unplug()


#: Case -> how the adapter is lost, after the crash.
_LOST: Final[Mapping[str, Callable[[Bench], None]]] = MappingProxyType({
    "not-decoding": _not_decoding,
    "all-ones": _all_ones,
    "removed": _removed,
})


@check("QUIESCE-5", hook="quiesce", cases=lambda plan: tuple(_LOST), fix="""
       for _ in range(500):                                # a bound on every wait
           state = kernel.readl(regs, STATE)
           if state == 0xFFFFFFFF:
               return FAILED                               # gone: no use in waiting
           ...
       """, source="field.md 4.3, row HBA: reads of 0xFFFFFFFF, reset never ends; DESIGN.md 9: no wait without a bound")
def a_lost_adapter_fails_honestly(bench: Bench, case: str) -> None:
    """On an adapter that does not answer quiesce and host reset end in bounded time with an error, never an exception.

    What they bring back to life is as good.
    """
    _LOST[case](bench)
    what = f"the take-over of an adapter that does not answer ({case})"
    try:
        with bench.within(_limit_ns(bench), what):
            error = bench.device.quiesce()
    except CheckFailed:
        raise
    except Exception as raised:
        if isinstance(raised, PluginError) and type(raised) is not DriverFault:
            raise                           # some other check's rule
        raise CheckFailed(f"{what} ended in an exception ({' '.join(str(raised).split()) or type(raised).__name__}); it"
                          " must end with -errno or FAILED").with_traceback(raised.__traceback__) from raised
    if error == 0:
        bench.works()
    else:
        bench.expect(bench.device.why, f"{what} ended with {error} and no reason")


#: How often the driver is stopped on each way: in the handler nearly everywhere; an emulated adapter takes its time.
_STOPS_HANDLER, _STOPS, _STOPS_EMULATED = 32, 4, 1
#: Not in queuecommand: host_lock is held there, which refuses the device.
_STOPPED: Final = ways.WAYS[1:]


@check("QUIESCE-6", hook="quiesce", cases=lambda plan: _STOPPED, fix="""
       Change a list and what counts it in an order in which every step may be the last; in quiesce and reset build both
       anew from what never changes (the table of all requests), not from what the dead kernel left of them.
       """, source="field.md 4.3, time of crash: every step of a workload, inside ISR, queuecommand, error handler")
def works_wherever_the_driver_stopped(bench: Bench, way: str) -> None:
    """Stopped at a random line of interrupt handler, error handler or host reset, the driver is refused or works."""
    lines = linecrash.lines_of(bench, way)
    if not lines:
        not_applicable(f"no line of the driver's modules runs in {way}")
    stops = _STOPS_HANDLER if way == ways.HANDLER else _STOPS
    stops = min(len(lines), stops if bench.plan.backend == "model" else _STOPS_EMULATED)
    for number in sorted(bench.plan.random("QUIESCE-6", way).sample(lines, stops)):
        with bench.another() as other:
            where = linecrash.crash_at(other, way, number)
            if other.device.sanity_check() < 0:
                continue
            try:
                _quiesce(other, f"the crash came at {where}")
                other.works()
            except DriverFault as fault:
                if meets(bench, type(fault)):
                    raise                   # some other check's rule: the crash has no part in it
                raise CheckFailed(f"the crash came at {where}, and what follows ends in {type(fault).__name__}: {fault}"
                                  ).with_traceback(fault.__traceback__) from fault


def meets(bench: Bench, kind: type[DriverFault]) -> bool:
    """Whether a take-over after a crash on an idle machine meets a fault of that *kind* as well."""
    with bench.another() as other:
        other.crash()
        try:
            other.device.quiesce()
            other.works()
        except kind:
            return True
        except CheckFailed:
            return False
    return False
