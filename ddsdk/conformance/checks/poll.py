"""POLL: the interrupt handler by hand, and whatever it would have deferred."""

from __future__ import annotations

from ddsdk.hookspecs.profile import Role

from ..bench import DATA, NS_PER_S, PAGE, Bench
from ..check import check


@check("POLL-1", hook="dump_poll", source="white paper 4.4 (3): poll calls the interrupt service function", fix="""
       def my_poll(sdev):
           if readl(chip, INT_STATUS) & REPLY:
               my_interrupt(0, ioc)
       """)
def completes_a_command_by_polling_alone(bench: Bench) -> None:
    """A write and a read complete through dump_poll() alone; the interrupt line is never serviced."""
    bench.take_over()
    bench.works()


@check("POLL-4", hook="dump_poll", source="field.md 4.3: lost completion", needs=(Role.COMPLETION_LOST,), fix="""
       Nothing to do in dump_poll: the dump layer times the command out and resets the host; the reset must work.
       """)
def a_lost_completion_costs_a_reset(bench: Bench) -> None:
    """When a completion never comes, the host reset that follows brings the device back and the command succeeds."""
    bench.take_over()
    bench.inject(Role.COMPLETION_LOST)
    before_ns = bench.now_ns
    bench.write_and_compare(64, PAGE, DATA)
    bench.expect(bench.now_ns - before_ns < 100 * NS_PER_S, "it took more than 100 s")
