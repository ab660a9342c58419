"""RESET: the host reset handler - the bus reset handler where there is no other - from every state.

The error handlers are called with host_lock held and interrupts off; they may drop the lock while they wait.  What a
reset does to timers, to the lock and to an adapter that does not play along is in reset_hard.py.
"""

from __future__ import annotations

from typing import Final

from ddsdk.errors import DmaFault
from ddsdk.sim.disk_faults import Access, DiskFault, FaultKind

from .. import dumping
from ..bench import DATA, NS_PER_MS, NS_PER_S, PAGE, Bench
from ..check import Need, ResetFailed, check
from ..plan import Plan

#: How long a command that a slow disk holds takes, and how long after a reset somebody looks whether it still does.
_SLOW_DISK_NS: Final = 10 * NS_PER_S
_QUIET_MS: Final = 20_000
#: The same on an emulated adapter, which has no slow disk and takes real time.
_QUIET_EMULATED_MS: Final = 100


def reset(bench: Bench, when: str = "") -> None:
    """A host reset that must work, within the profile's limit."""
    with bench.within(bench.plan.profile.reset_limit_s * NS_PER_S, f"the host reset{when}"):
        worked = bench.call_reset()
    bench.expect(worked, f"the host reset{when} ended in FAILED; it must bring the adapter back and say SUCCESS")


@check("RESET-1", hook="eh_host_reset_handler", faults=(ResetFailed,), needs=(Need.RESET,), cases=dumping.every_state,
       source="field.md 2, row 2 (the adapter cannot be recovered after the crash) and 4.3 (hung DMA, firmware fault"
              " state)", fix="""
       def my_host_reset(scmd):
           # from any state: stop the chip, forget what it held, start it, give every request slot back
           my_chip_stop(hba)
           my_forget_outstanding(hba)
           return SUCCESS if my_chip_start(hba) else FAILED
       """)
def works_in_the_middle_of_the_dump(bench: Bench, state: str) -> None:
    """Whatever the taken-over adapter is doing, the host reset says SUCCESS and the next command works."""
    bench.take_over()
    dumping.enter(bench, state)
    reset(bench, f" (state: {state})")
    bench.settle()
    bench.goes_on(f"after a host reset (state: {state})")
    bench.works()


@check("RESET-2", hook="eh_host_reset_handler", needs=(Need.RESET,),
       source="field.md 4.3: time of crash, inside the host reset; the handler is the same in both modes, and"
              " scsi_done() is called once for each command that ended", fix="""
       After the reset, with none of your own locks held:
       for each scmd the chip held:
           scmd->result = DID_RESET << 16;
           scmd->scsi_done(scmd);
       """)
def in_normal_mode_commands_end_once(bench: Bench) -> None:
    """In normal mode a host reset with commands in flight says SUCCESS, and each of them ends exactly once."""
    commands = dumping.start(bench, min(4, bench.depth))
    bench.expect(bench.in_task(bench.call_reset), "in normal mode, with commands in flight, the host reset handler says"
                                                  " FAILED; it must say SUCCESS")
    bench.machine.run(for_ns=200 * NS_PER_MS)
    ended = [command.ended for command in commands]
    bench.expect(0 not in ended or bench.reset_may_forget,
                 f"{ended.count(0)} of {len(ended)} commands that were in flight at a host reset in normal mode never"
                 " ended, and whoever waits for them waits for ever; end them with DID_RESET")
    bench.expect(max(ended) == 1, f"a command that was in flight at a host reset in normal mode ended {max(ended)}"
                                  " times; each must end once")
    bench.goes_on("after a host reset in normal mode")


def _loads(plan: Plan) -> tuple[str, ...]:
    return ("queue-full", "slow-disk") if plan.backend == "model" else ("queue-full",)


@check("RESET-3", hook="eh_host_reset_handler", needs=(Need.RESET,), cases=_loads,
       source="field.md 4.3: hung DMA, stale tag; invariant (vi): the dump is memory as it was at the freeze", fix="""
       Stop the chip before you forget its commands.  A reset that only empties the driver's lists leaves the chip
       writing to memory that belongs to somebody else by then.
       """)
def the_adapter_lets_go_of_memory(bench: Bench, case: str) -> None:
    """Commands in flight at a host reset in crash mode end at most once; once it has returned the adapter never
    touches their memory again."""
    bench.take_over()
    if case == "slow-disk" and bench.disk is not None:
        bench.disk.inject(DiskFault(FaultKind.SLOW, Access.READ, amount=_SLOW_DISK_NS))
    commands = dumping.start(bench, bench.depth, write=False)
    reset(bench, " with reads in flight")
    pages = range(DATA, DATA + 64 * PAGE, PAGE)
    kept = {paddr: bench.fill(paddr, PAGE, 7) for paddr in pages}
    try:
        for _ in range((_QUIET_EMULATED_MS if bench.disk is None else _QUIET_MS) // 2):
            bench.poll()
            bench.kernel.diskdump_update()
            bench.kernel.udelay(2000)
    except DmaFault as fault:
        bench.expect(False, "the host reset said SUCCESS, but the adapter went on with what it had before: "
                            f"{fault}; stop the chip first")
    changed = sum(bench.memory.read(paddr, PAGE) != kept[paddr] for paddr in pages)
    bench.expect(not changed, f"{changed} pages of reads that a host reset had ended were written to afterwards; the"
                              " reset must stop the adapter, not only forget its commands")
    bench.expect(max(command.ended for command in commands) < 2,
                 "a command that was in flight at the host reset ended more than once")


@check("RESET-4", hook="eh_host_reset_handler", needs=(Need.RESET,),
       source="field.md 4.2: dump-mode rules, the device is usable before initialisation returns", fix="""
       Wait for the chip's ready state inside the handler, with a bound:
       for (n = 0; n < 6000 && !ready(readl(chip, STATE)); n++)
           MY_MDELAY(10);
       """)
def is_ready_when_it_returns(bench: Bench) -> None:
    """Right after SUCCESS, without a pause, queuecommand takes as many commands as ever, and they end well - but for
    the unit attention that is due."""
    before = _takes(bench)
    bench.take_over()
    reset(bench)
    first = bench.probe_command()
    bench.expect(bench.start(first), "the host reset said SUCCESS, and queuecommand says busy right after it; wait for"
                                     " the adapter inside the handler")
    bench.expect(bench.wait(first), "the host reset said SUCCESS, and the first command after it did not end within"
                                    " 30 s")
    bench.goes_on("right after a host reset, without a pause,")
    commands = dumping.queue_full(bench)
    bench.expect(len(commands) >= before,
                 f"right after a host reset queuecommand takes {len(commands)} commands and then says busy; before the"
                 f" crash it took {before}")
    bench.expect(bench.wait(*commands), f"{len(commands)} commands right after a host reset did not all end within"
                                        " 30 s")


@check("RESET-5", hook="eh_host_reset_handler", needs=(Need.RESET,),
       source="field.md 4.3: reset pending; the dump layer resets at take-over and again after time-outs", fix="""
       Clear the flag that says "a reset is under way" on every way out, the failing ones too, and put every request
       slot back on the free list.
       """)
def works_again_and_again(bench: Bench) -> None:
    """Host resets in a row all work, and none costs a request slot: with the queue full each time, the driver takes
    as many commands afterwards as before."""
    before = _takes(bench)
    bench.take_over()
    reset(bench, ", right after the one of the take-over")
    reset(bench, ", for the third time")
    for _ in range(2):
        dumping.queue_full(bench)
        reset(bench, " with the queue full, after others")
        bench.settle()
        bench.goes_on("after host resets in a row")
    commands = dumping.queue_full(bench)
    bench.expect(len(commands) >= before,
                 f"after host resets with the queue full the driver takes {len(commands)} commands and then says busy;"
                 f" before the crash it took {before}: each reset loses request slots")
    bench.expect(bench.wait(*commands), f"{len(commands)} commands after host resets in a row did not all end within"
                                        " 30 s")


def _takes(bench: Bench) -> int:
    """How many commands the driver takes at a time in normal mode.  That it is can_queue is for REG-4 to say."""
    commands = dumping.queue_full(bench)
    bench.wait(*commands)
    return len(commands)
