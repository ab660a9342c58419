"""SANE: dump_sanity_check says no when it must.  What it may not do meanwhile is in sane_quiet.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ddsdk.bus import PCI_COMMAND_IO, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY
from ddsdk.errors import DriverFault
from ddsdk.hookspecs.profile import Role

from .. import ownlocks, states, ways
from ..bench import NS_PER_MS, Bench
from ..check import CheckFailed, Level, Need, SanityRefused, check, not_applicable
from ..plan import Plan

_RESETS: Final = ("reset-begins", "reset-early", "reset-half-way")
#: Error handling under way, which some driver may have reason to be wary of.
_RECOVERY: Final = ("in-error-handler", *_RESETS)
#: What quiesce and host reset are there to mend.
_RECOVERABLE: Final = tuple(state for state in states.STATES if state != "in-error-handler"
                            and not state.startswith("reset-"))


def _after_commands(bench: Bench) -> None:
    bench.goes_on("by interrupt, before the crash,")


def _after_reset(bench: Bench) -> None:
    if bench.lacks(Need.RESET):
        not_applicable(bench.lacks(Need.RESET))
    bench.in_task(bench.call_reset)
    bench.machine.run(for_ns=NS_PER_MS)


#: Case -> what the healthy adapter did before the crash.
_LIVES: Final[Mapping[str, Callable[[Bench], None]]] = MappingProxyType({
    "just-probed": lambda bench: None,
    "after-commands": _after_commands,
    "after-a-reset": _after_reset,
})


def _lives(_plan: Plan) -> Sequence[str]:
    return tuple(_LIVES)


@check("SANE-1", hook="dump_sanity_check", faults=(SanityRefused,), needs=(Need.SANITY,), cases=_lives, fix="""
       def my_sanity_check(sdev):
           ...
           return 0            # nothing speaks against it
       """, source="white paper 4.4 (1): 0 normal return")
def a_healthy_adapter_is_sane(bench: Bench, case: str) -> None:
    """On an idle, healthy adapter dump_sanity_check returns 0 (or None), whatever it has done since probe."""
    _LIVES[case](bench)
    bench.crash()
    answer = bench.ask_sanity()
    bench.expect(not answer, f"the adapter is healthy and idle ({case}), and dump_sanity_check says {answer}; it must"
                             " say 0, or no dump ever goes there")


@check("SANE-2", hook="dump_sanity_check", needs=(Need.SANITY,), fix="""
       hd = sdev.host.hostdata
       if hd is None:
           return -errno.ENXIO
       """, source="white paper 4.4 (1): hd = sdev->host->hostdata; if (!hd) return -ENXIO")
def host_data_missing(bench: Bench) -> None:
    """When the host's data is missing - the crash may have come while the driver was unloaded - the answer is not 0."""
    what = "host.hostdata" if not bench.lacks(Need.SCSI) else "hwif.hwif_data"
    if bench.driver_data is None:
        not_applicable(f"the driver keeps nothing in {what}")
    bench.crash()
    bench.driver_data = None
    answer = bench.ask_sanity()
    bench.expect(answer, f"{what} is None and dump_sanity_check says 0; say -ENXIO before you look anything up")


def _mends(bench: Bench) -> bool:
    """Whether quiesce and host reset bring the adapter back after all."""
    try:
        if bench.device.quiesce() != 0:
            return False
        bench.works()
    except (CheckFailed, DriverFault):
        return False
    return True


@check("SANE-3", hook="dump_sanity_check", needs=(Need.SANITY,), cases=lambda plan: ("not-decoding", "removed"),
       source="white paper 4.4 (1): return an error code if you decide that the device is not active; field.md 4.3, row"
              " HBA: register reads 0xFFFFFFFF (surprise removal)", fix="""
       if kernel.pci_read_config_word(pdev, PCI_VENDOR_ID) == 0xFFFF:
           return -errno.ENODEV                    # pulled out
       if kernel.readl(regs, STATUS) == 0xFFFFFFFF:
           return -errno.ENXIO                     # nobody decodes the address
       """)
def an_adapter_that_does_not_answer(bench: Bench, case: str) -> None:
    """An adapter that does not answer is refused (< 0): decoding switched off, or pulled out.

    What quiesce switches on again may be a "cannot tell".
    """
    bench.crash()
    if case == "removed":
        if bench.plan.backend != "model":
            not_applicable("only a model can be pulled out")
        bench.unplug()
    else:
        bench.pci_command(clear=PCI_COMMAND_IO | PCI_COMMAND_MEMORY)
    answer = bench.ask_sanity()
    bench.expect(answer < 0 or _mends(bench),
                 f"the adapter does not answer ({case}), dump_sanity_check says {answer}, and quiesce and host reset do"
                 " not bring it back; look at one register that is never all ones, and say -ENODEV")


@check("SANE-4", hook="dump_sanity_check", needs=(Need.SANITY, Role.ADAPTER_GONE), fix="""
       if kernel.readl(regs, STATUS) == 0xFFFFFFFF:     # a value the register cannot have
           return -errno.ENODEV
       """, source="white paper 4.4 (1): confirm whether I/O can be issued; field.md 4.3, row HBA: reads of all ones")
def an_adapter_that_is_gone(bench: Bench) -> None:
    """An adapter whose every register reads all ones, though its configuration space answers, is refused (< 0)."""
    bench.crash()
    bench.inject(Role.ADAPTER_GONE)
    answer = bench.ask_sanity()
    bench.expect(answer < 0, f"every register of the adapter reads all ones and dump_sanity_check says {answer}; look"
                             " at one that cannot be all ones, and say -ENODEV")


@check("SANE-5", hook="dump_sanity_check", needs=(Need.SANITY, Need.OWN_LOCK), fix="""
       if kernel.spin_is_locked(ioc.queue_lock):
           return -errno.EBUSY
       """, source="white paper 4.4 (1): spin_is_locked(&ioc->FreeQlock), return -EBUSY")
def own_lock_held(bench: Bench) -> None:
    """When a frozen CPU holds a lock of the driver's own that queuecommand takes, the answer is not 0."""
    for lock in ownlocks.queue_locks(bench):
        with bench.another() as other:
            ownlocks.crash_holding(other, ways.QUEUECOMMAND, lock)
            answer = other.ask_sanity()
        bench.expect(answer, f"the crash came in queuecommand, while it held {lock}, and dump_sanity_check says 0; what"
                             " that lock protects is half changed: say -EBUSY when spin_is_locked(), or cannot tell"
                             " (> 0) if quiesce puts it right")


def reset_under_way(bench: Bench) -> bool:
    """Whether the crash stopped the host reset before its end."""
    return any(task.name == "error handler" for task in bench.machine.scheduler.tasks)


@check("SANE-6", hook="dump_sanity_check", needs=(Need.SANITY, Need.RESET), cases=lambda plan: _RESETS, fix="""
       if ioc.reset_pending:
           return 1            # cannot tell: tried when no other device is left
       """, source="hookspecs: > 0 cannot tell; field.md 2, row 2: reset pending")
def a_reset_under_way(bench: Bench, state: str) -> None:
    """A host reset under way at the crash is noticed: the answer is not 0, or host_lock is held, which refuses too."""
    states.enter(bench, state)
    if not reset_under_way(bench):
        not_applicable("the host reset was over before the crash could catch it")
    verdict = bench.device.sanity_check()
    bench.expect(verdict, "a host reset was under way at the crash and dump_sanity_check says 0; keep a flag while the"
                          " reset runs, and say cannot tell (> 0)")


@check("SANE-7", hook="dump_sanity_check", needs=(Need.SANITY,), fix="""
       if not kernel.pci_read_config_word(pdev, PCI_COMMAND) & PCI_COMMAND_MASTER:
           return -errno.ENXIO
       """, source="white paper 4.4 (1): confirm whether I/O can be issued")
def bus_mastering_off(bench: Bench) -> None:
    """When bus mastering is off the answer is not 0, unless I/O works after quiesce and host reset all the same."""
    bench.crash()
    bench.pci_command(clear=PCI_COMMAND_MASTER)
    answer = bench.ask_sanity()
    bench.expect(answer or _mends(bench), "bus mastering is off (COMMAND bit 2), dump_sanity_check says 0, and after"
                                          " quiesce and host reset no I/O works; say -ENXIO, or switch it on there")


@check("SANE-11", hook="dump_sanity_check", needs=(Need.SANITY,), cases=lambda plan: _RECOVERABLE, fix="""
       if doorbell.STATE == FAULT:
           return 0            # no reason to lose the dump: the host reset that follows ends it
       """, source="field.md 2, row 2: quiesce from every reachable device state; white paper 2.2: a host reset first")
def what_can_be_mended_is_not_refused(bench: Bench, state: str) -> None:
    """What quiesce and host reset can mend is no reason to refuse (< 0), unless a lock was held at the crash."""
    states.enter(bench, state)
    _expect_no_refusal(bench, state)


@check("SANE-12", hook="dump_sanity_check", level=Level.ADVISORY, needs=(Need.SANITY, Need.RESET),
       cases=lambda plan: _RECOVERY, source="field.md 2, row 2: quiesce from reset pending", fix="""
       return 1 if ioc.reset_pending else 0        # not -EBUSY: begun again, the reset works
       """)
def recovery_under_way_is_not_refused_for_good(bench: Bench, state: str) -> None:
    """Error handling under way at the crash makes the answer "cannot tell" (> 0) at worst, not "never" (< 0)."""
    states.enter(bench, state)
    _expect_no_refusal(bench, state)


def _expect_no_refusal(bench: Bench, state: str) -> None:
    held = bench.machine.record.locks if bench.machine.record else ()
    if held:
        not_applicable(f"{held[0]} at the crash")
    answer = bench.ask_sanity()
    bench.expect(answer >= 0, f"the adapter was found in state {state}, which a host reset mends, and dump_sanity_check"
                              f" says {answer}: never use; say 0, or cannot tell (> 0)")


@check("SANE-13", hook="dump_sanity_check", level=Level.ADVISORY, fix="""
       @hookimpl
       def dump_sanity_check(self, sdev):
           return -errno.ENXIO if sdev.host.hostdata is None else 0
       """, source="white paper 4.3 (2): add .dump_sanity_check and .dump_poll to the template")
def there_is_a_sanity_check(bench: Bench) -> None:
    """The driver offers dump_sanity_check: without it a dead adapter is found out only when the dump fails there."""
    bench.expect(not bench.lacks(Need.SANITY), "the driver has no dump_sanity_check; with several dump devices the"
                                               " first is taken, dead or alive")
