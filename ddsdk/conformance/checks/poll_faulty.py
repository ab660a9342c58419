"""POLL, continued: completions that are lost, late, doubled or nobody's, and an adapter that is gone."""

from __future__ import annotations

from typing import Final

from ddsdk.block.dump_queue import SCMND_TIMEOUT_NS
from ddsdk.errors import DmaFault
from ddsdk.hookspecs.profile import Role

from .. import dumping
from ..bench import COMMAND_LIMIT_NS, DATA, NS_PER_MS, NS_PER_S, PAGE, SETTLE_MS, Bench, Command
from ..check import Level, Need, check, not_applicable
from ..plan import Plan
from .poll import watched
from .reset import reset

#: The dump layer's bound is 30 s for a command; nobody else ends it before.
_NOT_GIVEN_UP_NS: Final = 25 * NS_PER_S
#: Commands after the one that the fault strikes.
_NEXT: Final = 6
#: Bytes of a command that is still under way at the next polls.
_LONG: Final = 1 << 18


@check("POLL-4", hook="dump_poll", source="field.md 4.3: lost completion", needs=(Role.COMPLETION_LOST, Need.RESET),
       fix="""
       Nothing to do in dump_poll: the dump layer times the command out and resets the host; the reset must work.
       """)
def a_lost_completion_costs_a_reset(bench: Bench) -> None:
    """When a completion never comes nobody but the dump layer gives the command up; the host reset that follows brings
    the device back, and the command succeeds."""
    bench.take_over()
    fault = bench.inject(Role.COMPLETION_LOST)
    early: list[str] = []
    command = watched(bench, True, 500, DATA, PAGE, early, 4)
    bench.expect(bench.start(command), "the driver says busy though nothing is outstanding")
    before_ns = bench.now_ns
    if bench.wait(command, limit_ns=_NOT_GIVEN_UP_NS):      # a driver may find out by itself that all went well
        why = bench.error_of(command) or "".join(early)
        bench.expect(not why, f"a command whose completion never came was ended after"
                              f" {(bench.now_ns - before_ns) / NS_PER_S:.1f} s: {why}; its time is"
                              f" {COMMAND_LIMIT_NS // NS_PER_S} s, and the dump layer looks after it")
    bench.expect_struck(fault)
    reset(bench, " after a lost completion")
    bench.settle()
    bench.write_and_compare(64, PAGE, DATA)
    bench.goes_on("after a lost completion")


@check("POLL-5", hook="dump_poll", source="field.md 4.3: late completion", needs=(Role.COMPLETION_LATE,), fix="""
       Nobody but the dump layer times a command out (30 s): do not give it up before.
       """)
def a_late_completion_is_waited_for(bench: Bench) -> None:
    """A command whose completion comes late, but within its time-out, ends well, without a reset of anybody's."""
    bench.take_over()
    fault = bench.inject(Role.COMPLETION_LATE)
    early: list[str] = []
    command = watched(bench, True, 500, DATA, PAGE, early, 5)
    bench.expect(bench.start(command), "the driver says busy though nothing is outstanding")
    bench.expect(bench.wait(command), f"a late completion did not end its command within {COMMAND_LIMIT_NS // NS_PER_S}"
                                      " s; the model's fault must strike within that, and the driver wait so long")
    bench.expect_struck(fault)
    why = bench.error_of(command)
    bench.expect(not why, f"a command whose completion came late ended with: {why}; it must end well")
    bench.expect(not early, f"the completion was late, and {''.join(early[:1])}")
    bench.goes_on("after a late completion")


@check("POLL-6", hook="dump_poll", source="field.md 4.3: duplicate completion", needs=(Role.COMPLETION_DUPLICATE,),
       fix="""
       request = outstanding.pop(context, None)    # a context is good for one use
       if request is None:
           return                                  # stale, or a duplicate
       """)
def a_duplicate_completion_ends_one_command(bench: Bench) -> None:
    """A completion that comes twice ends its command once, and none of those that follow it."""
    bench.take_over()
    _strike_and_follow(bench, Role.COMPLETION_DUPLICATE, "a duplicate completion")


@check("POLL-7", hook="dump_poll", source="field.md 4.3: foreign completion", needs=(Role.COMPLETION_FOREIGN,), fix="""
       Look the completion's context up in what is outstanding before you believe it, and bound it before you index
       with it; drop what is not there.
       """)
def a_foreign_completion_ends_no_command(bench: Bench) -> None:
    """A completion of no command of this driver's is ignored: every command ends once, by its own, when its bytes are
    there."""
    bench.take_over()
    _strike_and_follow(bench, Role.COMPLETION_FOREIGN, "a foreign completion")


def _strike_and_follow(bench: Bench, role: Role, what: str) -> None:
    """The fault strikes commands alone and together with others; each ends once, well, and not early."""
    early: list[str] = []
    commands: list[Command] = []
    for together in (1, min(4, bench.depth)):
        fault = bench.inject(role)
        batch = [watched(bench, write, 500 + 8 * n, DATA + 2 * n * PAGE, PAGE, early, 10 + n)
                 for n, write in zip(range(together), (True, False) * 2, strict=False)]
        _all(bench, batch, what)
        for n in range(_NEXT):
            _all(bench, [watched(bench, n % 2 == 0, 600 + 8 * n, DATA + 0x10000, PAGE, early, 20 + n)], what)
        bench.expect_struck(fault)
        commands += batch
    for _ in range(20):
        bench.turn()
    bench.expect(not early, f"{what}: {''.join(early[:1])}")
    most = max(command.ended for command in commands)
    bench.expect(most == 1, f"{what} ended a command {most} times; scsi_done() is called once for each")
    bench.goes_on(f"after {what}")


def _all(bench: Bench, commands: list[Command], what: str) -> None:
    taken = bench.start_all(commands)
    bench.expect(len(taken) == len(commands), f"{what}: the driver says busy with fewer commands than can_queue")
    bench.expect(bench.wait(*commands), f"{what}: a command did not end within {COMMAND_LIMIT_NS // NS_PER_S} s")
    for command in commands:
        why = bench.error_of(command)
        bench.expect(not why, f"{what}: a command ended with: {why}; it must end well")


def _ways_to_go(plan: Plan) -> tuple[str, ...]:
    return ("all-ones", "removed") if plan.backend == "model" else ("all-ones",)


@check("POLL-8", hook="dump_poll", cases=_ways_to_go,
       source="field.md 4.3: register reads 0xFFFFFFFF (surprise removal)", fix="""
       if (status == 0xFFFFFFFF) {             /* nobody answers: all ones is no completion */
           my_adapter_is_gone(hba);            /* end everything with DID_NO_CONNECT */
           return;
       }
       """)
def an_adapter_gone_in_mid_command_is_survived(bench: Bench, how: str) -> None:
    """When the adapter vanishes with commands under way polls raise nothing and end, no command ends well that did not
    reach the disk, and the dump device reports an errno within bounded time."""
    bench.take_over()
    early: list[str] = []
    commands = [watched(bench, True, 500 + n, DATA + n * PAGE, PAGE, early, n) for n in range(min(8, bench.depth))]
    bench.start_all(commands)
    fault = ""
    if how == "removed":
        bench.unplug()
    else:
        fault = dumping.arm(bench, Role.ADAPTER_GONE, times=0)
    try:
        for _ in range(1000):
            bench.turn()
    except DmaFault as fault_after:
        bench.expect(how != "removed", f"the model goes on after it was pulled out ({fault_after}); let its unplugged()"
                                       " stop everything")
        raise
    limit_ns = SCMND_TIMEOUT_NS + 2 * (bench.plan.profile.reset_limit_s * NS_PER_S + SETTLE_MS * NS_PER_MS)
    with bench.within(limit_ns + NS_PER_S, "a command to an adapter that is gone"):
        error = bench.device.rw_block(True, 64, [(DATA, PAGE)])
    if fault and fault not in bench.faults.struck:
        not_applicable(f"the model's fault {fault!r} did not strike: nothing read a register")
    bench.expect(not early, f"the adapter was gone, and {''.join(early[:1])}")
    bench.expect(error < 0, f"a write to an adapter that is gone returned {error}; it must be -errno")
    bench.expect(bench.device.why, "a write to an adapter that is gone failed without a word why")


@check("POLL-14", hook="dump_poll", level=Level.IF_OFFERED, needs=(Role.COMPLETION_STALE,),
       source="field.md 4.3, row HBA: stale completion; stale tag", fix="""
       #define CONTEXT(use, index) ((use) << 10 | (index))     /* count the uses of each request slot */
       if (request->context != context)                        /* that of an earlier use: not this command's */
           return;
       """)
def a_stale_completion_ends_no_later_command(bench: Bench) -> None:
    """The completion of an earlier command that arrives once more, while later ones are under way, ends none of them:
    not even the one that has its request slot now."""
    bench.take_over()
    early: list[str] = []
    nbytes = min(_LONG, bench.max_bytes)
    for together in (1, min(4, bench.depth)):
        _all(bench, [watched(bench, True, 500, DATA, PAGE, early, 9)], "before a stale completion")
        fault = bench.inject(Role.COMPLETION_STALE)
        batch = [watched(bench, write, 100 * (n + 1), DATA + n * _LONG, nbytes, early, 30 + n)
                 for n, write in zip(range(together), (False, True) * 2, strict=False)]
        _all(bench, batch, "a stale completion")
        bench.expect(not early, f"a stale completion: {''.join(early[:1])}")
        bench.expect_struck(fault)
    bench.goes_on("after a stale completion")
