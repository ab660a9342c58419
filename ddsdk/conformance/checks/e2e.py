"""E2E: a whole dump and savecore, every page compared, and every byte of the disk beside the partition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.trace import Trace, TraceRecord

from .. import states
from ..bench import NS_PER_MS, NS_PER_US, Bench
from ..check import Need, check
from ..line_trap import LineTrap
from ..plan import Plan
from ..story import Story

#: When a crash under load comes, at the latest.
_LOAD_NS: Final = 3 * NS_PER_MS
#: Lines of the driver tried in one item, by what is held there: nothing, a lock of the driver's own, the mid-layer's.
_SAMPLES: Final[Mapping[str, int]] = MappingProxyType({"nothing": 4, "own lock": 2, "mid-layer's lock": 1})
#: An emulated adapter has to be started for each of them.
_EMULATED: Final[Mapping[str, int]] = MappingProxyType({"nothing": 2, "own lock": 1, "mid-layer's lock": 0})
_DEEP: Final = 16
_FIX: Final = """
    The family's checks say what a dump needs piece by piece; look at those first.  One that fails here alone is about
    what lies between them: `ddsdk drill` shows the story step by step.
    """


@check("E2E-1", hook="dump_poll", fix=_FIX,
       source="white paper 1.2: how it works, both stages; 2.1: CRC of the code; field.md 4.3 invariants (i), (vi)")
def a_dump_of_an_idle_machine(bench: Bench) -> None:
    """A machine with nothing to do crashes: the dump is complete, every page of the vmcore is what memory held, and
    nothing outside the partition changed.
    """
    with Story(bench, code_check=True) as story:
        story.crash()
        story.dump()
        story.must_be_complete()


def _moments(plan: Plan) -> Sequence[str]:
    return ("1", "2", "3", "4") if plan.backend == "model" else ("1", "2")


@check("E2E-2", hook="quiesce", cases=_moments, fix=_FIX,
       source="white paper 3.6: trigger crash dump with random timing while putting high I/O load on disks")
def a_crash_under_load(bench: Bench, case: str) -> None:
    """A crash at a random moment of I/O on either side of the partition: complete with every page right, or refused for
    the lock that was held.
    """
    r = bench.plan.random("E2E-2", case)
    with Story(bench, seed=r.randrange(1, 1000)) as story:
        story.load(workers=r.choice((1, 2, 4)))
        story.crash_after(r.randrange(_LOAD_NS))
        story.dump()
        story.must_be_complete_unless_locked()


# -- at any line ---------------------------------------------------------------------------------------------


#: What the machine does meanwhile: microseconds of load, host reset after so many commands.
_SCENES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType({"io": (1000, 0), "io-and-host-reset": (1000, 3)})


def _scenes(plan: Plan) -> Sequence[str]:
    """An emulated adapter takes real time for its resets; E2E-8 shows them there."""
    return tuple(_SCENES) if plan.backend == "model" else ("io",)


@check("E2E-3", hook="quiesce", cases=_scenes,
       source="field.md 4.3, row time of crash: every step of a workload trace; inside ISR, queuecommand, host reset",
       fix="""
       A line after which the driver's lists are half changed needs a lock around it that dump_sanity_check() looks at,
       or lists that quiesce() builds anew.
       """)
def a_crash_at_any_line_of_the_driver(bench: Bench, scene: str) -> None:
    """A crash at random lines of the driver: complete with every page right, or refused with a reason and nothing on
    the disk changed; and not refused each time where no lock was held.
    """
    r = bench.plan.random("E2E-3", scene)
    seed, reset_every = r.randrange(1, 1000), _SCENES[scene][1]
    load_ns = _SCENES[scene][0] * NS_PER_US + (states.reset_ns(bench) if reset_every and _resets(bench) else 0)
    there = _crash_at(bench, seed, load_ns, reset_every, 0, [])
    bench.expect(there, "under I/O load no line of the modules that DriverInfo.modules names ran; name those with the"
                        " interrupt handler and queuecommand")
    samples = _SAMPLES if bench.plan.backend == "model" else _EMULATED
    chosen = {held: r.sample(there.get(held, []), min(count, len(there.get(held, []))))
              for held, count in samples.items()}
    refused: list[str] = []
    for at in chosen["nothing"]:
        _crash_at(bench, seed, load_ns, reset_every, at, refused)
    bench.expect(not chosen["nothing"] or len(refused) < len(chosen["nothing"]),
                 f"of {len(refused)} crashes inside the driver, with no lock held, every one was refused:"
                 f" {'; '.join(sorted(set(refused))[:2])}")
    for at in (*chosen["own lock"], *chosen["mid-layer's lock"]):
        _crash_at(bench, seed, load_ns, reset_every, at, refused)


def _resets(bench: Bench) -> bool:
    return not bench.lacks(Need.RESET)


def _crash_at(bench: Bench, seed: int, load_ns: int, reset_every: int, at: int,
              refused: list[str]) -> Mapping[str, list[int]]:
    """Crash before line *at* of the driver and dump, or only count them (0): which there are, by what is held there."""
    with Story(bench, seed=seed) as story:
        machine, lock = story.machine, story.rig.adapters[0].device.lock

        def held() -> str:
            if lock.is_locked:
                return "mid-layer's lock"
            return "own lock" if any(cpu.preempt_count for cpu in machine.cpus) else "nothing"

        trap = LineTrap(machine, bench.plan.files, at,
                        lambda: machine.crash(Trigger.OOPS, reason="at a line of the driver"), held)
        with trap.set():
            story.load(reset_every=reset_every)
            machine.run(for_ns=load_ns)
        if at:
            story.crash()           # an emulated adapter takes its own time, and the line may not have come again
            story.dump()
            if not story.complete_or_refused():
                refused.append(story.report.rejections[-1].reason)
    return trap.kinds


# -- how the dump is made ------------------------------------------------------------------------------------


@check("E2E-4", hook="queuecommand", needs=(Need.QUEUEING,),
       source="DESIGN.md 10, commands in flight: queue depth above 1 where the driver says it may", fix=_FIX)
def a_dump_with_several_commands_in_flight(bench: Bench) -> None:
    """A dump with as many commands in flight as the driver takes, at most 16, is complete with every page right."""
    with Story(bench, queue_depth=min(_DEEP, bench.depth), block_order=0) as story:
        story.crash()
        story.dump()
        story.must_be_complete()


@check("E2E-9", hook="queuecommand", cases=lambda plan: ("0", "8"),
       source="white paper 5.4: block_order, I/O of pagesize << block_order", fix=_FIX)
def a_dump_in_small_or_large_pieces(bench: Bench, case: str) -> None:
    """A dump in I/Os of one page, or of a megabyte or as much as the driver takes, is complete with every page right.
    """
    with Story(bench, block_order=int(case), memory_mib=3 if case == "8" else 1) as story:
        story.crash()
        story.dump()
        story.must_be_complete()


# -- how the crash comes -------------------------------------------------------------------------------------


def _by_panic(machine: Machine, trigger: Trigger, at_ns: int) -> None:
    """In a task."""
    def victim() -> None:
        machine.sleep(at_ns)
        machine.crash(trigger, reason="in a task")

    machine.spawn(1, victim, "victim")


def _in_interrupt(machine: Machine, trigger: Trigger, at_ns: int) -> None:
    """In an interrupt handler: a key was pressed."""
    machine.clock.after_ns(at_ns, lambda: machine.run_in_irq(lambda: machine.crash(trigger, reason="in an interrupt")))


def _from_outside(machine: Machine, trigger: Trigger, at_ns: int) -> None:
    """An NMI finds the CPUs wherever they are."""
    machine.clock.after_ns(at_ns, lambda: machine.crash(trigger, 0, reason="by NMI"))


def _stuck(machine: Machine, trigger: Trigger, at_ns: int) -> None:
    """A CPU spins with its interrupts off, until the watchdog bites: it is where the dump runs."""
    def spinning() -> None:
        machine.irq_disable()
        while True:
            machine.pass_time(NS_PER_US)

    machine.spawn(1, spinning, "spinning")
    machine.clock.after_ns(at_ns, lambda: machine.crash(trigger, 1, reason="a CPU took no tick"))


_TRIGGERS: Final[Mapping[str, tuple[Trigger, Callable[[Machine, Trigger, int], None]]]] = MappingProxyType({
    "panic": (Trigger.PANIC, _by_panic),
    "oops": (Trigger.OOPS, _by_panic),
    "sysrq-c": (Trigger.SYSRQ_C, _in_interrupt),
    "nmi-switch": (Trigger.NMI_SWITCH, _from_outside),
    "nmi-watchdog": (Trigger.NMI_WATCHDOG, _stuck),
    "os-init": (Trigger.OS_INIT, _from_outside),
})


@check("E2E-5", hook="dump_poll", cases=lambda plan: tuple(_TRIGGERS),
       source="white paper 3.6: it can be triggered by NMI switch, nmi_watchdog, IPF OS_INIT; 5.3: SysRq-C", fix="""
       Take the CPU as it is: in an interrupt, with interrupts off, on any processor.  Nothing of the driver's may ask
       where it was called from, but for crashdump_mode().
       """)
def a_dump_after_every_trigger(bench: Bench, case: str) -> None:
    """Whatever triggers the dump - in a task, in an interrupt, by NMI, on a CPU that is stuck - it is complete with
    every page right, or refused for the lock that was held.
    """
    trigger, come = _TRIGGERS[case]
    r = bench.plan.random("E2E-5", case)
    with Story(bench, seed=r.randrange(1, 1000)) as story:
        story.load()
        come(story.machine, trigger, r.randrange(_LOAD_NS // 3, _LOAD_NS))
        story.machine.run(for_ns=2 * _LOAD_NS)
        story.crash(trigger)
        story.dump()
        story.must_be_complete_unless_locked()


@check("E2E-8", hook="quiesce", needs=(Need.RESET,), cases=_moments,
       source="field.md 2, row 2: reset pending; 4.3, row time of crash: inside the host reset", fix="""
       Whatever the reset had done so far is unknown: quiesce() forgets that one was under way, and the host reset that
       follows begins at the beginning.
       """)
def a_crash_among_host_resets(bench: Bench, case: str) -> None:
    """A crash at a random moment of a load that resets the host again and again: complete with every page right, or
    refused with a reason.
    """
    r = bench.plan.random("E2E-8", case)
    with Story(bench, seed=r.randrange(1, 1000)) as story:
        story.load(reset_every=2)
        story.crash_after(r.randrange(2 * states.reset_ns(bench)))
        story.dump()
        story.complete_or_refused()


# -- around it -----------------------------------------------------------------------------------------------


@check("E2E-6", hook="probe", needs=(Need.MODEL,), source="field.md 4.3 invariant (vii): re-run gives the same trace",
       fix="""
       No wall clock, no random numbers, no order that depends on addresses or on a set: a failure must be repeatable.
       """)
def the_same_seed_gives_the_same_trace(bench: Bench) -> None:
    """The same machine with the same load, crashed at the same moment, does the same register accesses, DMA and locking
    twice.
    """
    r = bench.plan.random("E2E-6")
    seed, at_ns = r.randrange(1, 1000), r.randrange(_LOAD_NS // 3, _LOAD_NS)
    first, second = _traced(bench, seed, at_ns), _traced(bench, seed, at_ns)
    if first.digest() != second.digest():
        bench.expect(False, f"two runs of seed {seed} differ; {_difference(first, second)}")


def _traced(bench: Bench, seed: int, at_ns: int) -> Trace:
    trace = Trace(capacity=200_000)
    with Story(bench, seed=seed, trace=trace) as story:
        story.load(reset_every=20)
        story.crash_after(at_ns)
        story.dump()
    return trace


def _difference(first: Trace, second: Trace) -> str:
    def shown(record: TraceRecord | None) -> str:
        return "nothing" if record is None else " ".join(str(record).split())

    for one, other in zip(first, second, strict=False):
        if one != other:
            return f"first where the one has {shown(one)!r} and the other {shown(other)!r}"
    return f"the one has {first.count} records, the other {second.count}"


@check("E2E-7", hook="shutdown", needs=(Need.MODEL,),
       source="DESIGN.md 6: header (complete), SYNCHRONIZE CACHE; field.md 4.3, row power cycle", fix="""
       SYNCHRONIZE CACHE goes to the disk like any other command, and ends when the disk says so.
       """)
def nothing_is_lost_with_the_power(bench: Bench) -> None:
    """After a complete dump and shutdown() the power may go: a disk with a volatile cache has lost nothing of it."""
    with Story(bench) as story:
        disk = story.rig.adapters[0].disk
        assert disk is not None
        disk.volatile_cache = True
        story.crash()
        report = story.dump()
        bench.expect(not report.complete or not disk.unsynced,
                     f"{disk.unsynced} writes were still in the disk's volatile cache when shutdown() had returned")
        story.power_off()
        story.must_be_complete()


@check("E2E-10", hook="probe", source="white paper 2.2: multiple dump devices can be registered; the first sane one is"
       " selected", fix="""
       What belongs to one adapter lives in its host's hostdata, never in a variable of the module.
       """)
def two_adapters_do_not_meet(bench: Bench) -> None:
    """Of two adapters of this driver the first has a disk that is not ours: that one is left alone, the dump goes to
    the second.
    """
    r = bench.plan.random("E2E-10")
    with Story(bench, seed=r.randrange(1, 1000), disks=2) as story:
        story.load(workers=1)
        story.crash_after(r.randrange(_LOAD_NS))
        story.dump()
        story.must_be_complete_unless_locked()
