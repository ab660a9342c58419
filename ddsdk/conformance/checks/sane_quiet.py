"""SANE, the manners: dump_sanity_check looks, leaves no trace, takes no time, and says the same when asked again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ddsdk.bus import PCI_COMMAND_IO, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY

from .. import states, statewalk
from ..bench import Bench
from ..calls import Call
from ..check import Need, Setup, check
from ..plan import Plan

_RECORDING: Final = Setup(record=True)
#: Calls that let time pass, or wait for what only time brings.
_WAITS: Final = frozenset({
    "udelay", "mdelay", "diskdump_mdelay", "msleep", "diskdump_msleep", "schedule_timeout", "schedule", "wait_event",
    "wait_event_timeout", "wait_for_completion", "wait_for_completion_timeout", "flush_scheduled_work",
})
#: What a sanity check may be tempted by; the rest of the states look alike to it.
_SEVERAL: Final = ("idle", "in-flight", "queue-full", "reply-pending", "in-handler", "reset-half-way", "firmware-fault",
                   "command-hung", "not-decoding", "bus-mastering-off")
#: Trace records of what only looks, or of the adapter's own doing.
_NO_TRACE: Final = frozenset({"printk", "dma", "irq", "hook"})
#: Shown of what a call changed.
_SHOWN: Final = 3


def _not_decoding(bench: Bench) -> None:
    bench.crash()
    bench.pci_command(clear=PCI_COMMAND_IO | PCI_COMMAND_MEMORY)


def _no_mastering(bench: Bench) -> None:
    bench.crash()
    bench.pci_command(clear=PCI_COMMAND_MASTER)


#: Beyond the states of states.py: what makes a sanity check say no.
_SICK: Final[Mapping[str, Callable[[Bench], None]]] = MappingProxyType({
    "not-decoding": _not_decoding,
    "bus-mastering-off": _no_mastering,
})


def _everywhere(_plan: Plan) -> Sequence[str]:
    return (*states.STATES, *_SICK)


def _enter(bench: Bench, state: str) -> None:
    if state in _SICK:
        _SICK[state](bench)
    else:
        states.enter(bench, state)


def _made(bench: Bench, before: int) -> list[Call]:
    """The driver's kernel calls since there were *before* of them."""
    return list(bench.calls)[before:]


@check("SANE-8", hook="dump_sanity_check", needs=(Need.SANITY,), setup=_RECORDING, cases=lambda plan: _SEVERAL,
       source="hookspecs, dump_sanity_check: it looks and leaves no trace: takes no lock, writes no register", fix="""
       kernel.spin_is_locked(lock)             # looks; spin_trylock() takes it
       kernel.readl(regs, STATUS)              # a register that reading does not change
       """)
def looks_and_leaves_no_trace(bench: Bench, state: str) -> None:
    """In whatever state, dump_sanity_check leaves driver and adapter as they were.

    No register and no configuration is written or changed by reading, no lock, timer, tasklet or work item is touched,
    no memory allocated or mapped, no interrupt masked or unmasked.  A line in the kernel log is no trace.
    """
    _enter(bench, state)
    if bench.disk is None:              # what an emulated adapter had under way goes on while we look
        before = statewalk.still(lambda: statewalk.state_of(bench), lambda: [bench.pin_is_up() for _ in range(8)])
    else:
        before = statewalk.state_of(bench)
    made_before = len(list(bench.calls))
    held, now_ns = bench.machine.locks.held(), bench.now_ns
    with bench.tracing() as seen:
        bench.ask_sanity()
    did = [what for what in seen if what.partition(" ")[0] not in _NO_TRACE]
    did += [f"{call.name}() at {call.site}" for call in _made(bench, made_before) if call.name not in _WAITS]
    bench.expect(not did, f"dump_sanity_check did {_list(did)} ({state}); it may look, and change nothing: it may be"
                          " asked again, or another device be chosen")
    if bench.now_ns != now_ns:
        return                      # SANE-10's: what the adapter did meanwhile cannot be told from what was done to it
    changed = statewalk.changes(before, statewalk.state_of(bench))
    bench.expect(not changed, f"after dump_sanity_check {_list(changed)} ({state}); it may look, and change nothing")
    bench.expect(bench.machine.locks.held() == held,
                 f"dump_sanity_check changed which locks are held ({state}); spin_is_locked() looks at one")


def _list(items: Sequence[str]) -> str:
    more = len(items) - _SHOWN
    return "; ".join(items[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


@check("SANE-9", hook="dump_sanity_check", needs=(Need.SANITY,), cases=_everywhere, fix="""
       Decide by what is there - locks, flags, registers that reading does not change - not by what the last call left.
       """, source="hookspecs, dump_sanity_check: possibly called twice; field.md 1.1: > 0 is tried in a second pass")
def asked_twice_says_the_same(bench: Bench, state: str) -> None:
    """In every state the second answer is the first."""
    _enter(bench, state)
    first = bench.ask_sanity()
    second = bench.ask_sanity()
    bench.expect(first == second, f"asked once dump_sanity_check says {first}, asked again {second} ({state}); nothing"
                                  " happened in between")


@check("SANE-10", hook="dump_sanity_check", needs=(Need.SANITY,), setup=_RECORDING,
       cases=lambda plan: _SEVERAL, fix="""
       One look.  What may be different in a second belongs into quiesce; here it is a "cannot tell" (> 0).
       """, source="hookspecs, dump_sanity_check: waits for nothing; white paper 2.2: the first sane device is chosen")
def takes_no_time(bench: Bench, state: str) -> None:
    """In whatever state, the clock stands still during dump_sanity_check, and no waiting call is made."""
    _enter(bench, state)
    before_ns, made_before = bench.now_ns, len(list(bench.calls))
    bench.ask_sanity()
    waited = [call for call in _made(bench, made_before) if call.name in _WAITS]
    bench.expect(not waited, f"dump_sanity_check waits, by {waited and waited[0].name}() at {waited and waited[0].site}"
                             f" ({state}); it must answer at once")
    bench.expect(bench.now_ns == before_ns,
                 f"dump_sanity_check took {bench.now_ns - before_ns} ns ({state}); it must answer at once")
