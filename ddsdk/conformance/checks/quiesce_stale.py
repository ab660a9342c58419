"""QUIESCE, the past: what the dead kernel had under way does no harm to the dump."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from attrs import define, frozen

from ddsdk.errors import DmaFault
from ddsdk.hookspecs.profile import Role
from ddsdk.sim.disk_faults import Access, DiskFault, FaultKind

from .. import routes
from ..bench import DATA, NS_PER_MS, NS_PER_S, PAGE, Bench, Command, pattern
from ..check import Need, check, not_applicable
from ..plan import Plan
from .quiesce import meets

#: The dead kernel's commands, each of a page of its own in memory and on disk; the dump's own work is elsewhere.
_COMMANDS: Final = 8
_MEMORY: Final = DATA + 64 * PAGE
_BLOCK: Final = 400
#: The dump's reads that a slow disk holds while something late may come, and their pages.
_HELD_MEMORY: Final = DATA + 128 * PAGE
_HELD_MAX: Final = 64
#: How long something may still come after the take-over: longer than a late completion and a slow disk take.  Real time
#: is what counts for an emulated adapter.
_LINGER_NS, _LINGER_EMULATED_NS = 25 * NS_PER_S, 2 * NS_PER_S
_STEP_US: Final = 5000
_SLOW_DISK_NS: Final = 15 * NS_PER_S
_HELD_NS: Final = 9 * NS_PER_S


@frozen
class _Past:
    """What becomes of commands until the crash: a fault armed first, then *run_ns* with or without interrupts."""

    arm: Callable[[Bench], object] = lambda bench: None
    run_ns: int = 0
    masked: bool = False


def _slow_disk(bench: Bench) -> None:
    if bench.disk is None:
        not_applicable("only a model's disk can be made slow")
    bench.disk.inject(DiskFault(FaultKind.SLOW, Access.MEDIUM, amount=_SLOW_DISK_NS))


_PASTS: Final[Mapping[str, _Past]] = MappingProxyType({
    "in-flight": _Past(),
    "mid-dma": _Past(run_ns=60_000),
    "reply-pending": _Past(run_ns=20 * NS_PER_MS, masked=True),
    "completion-late": _Past(lambda bench: bench.play(Role.COMPLETION_LATE), 20 * NS_PER_MS),
    "command-hung": _Past(lambda bench: bench.play(Role.COMMAND_HUNG), 20 * NS_PER_MS),
    "slow-disk": _Past(_slow_disk, 20 * NS_PER_MS),
})


def _cases(_plan: Plan) -> Sequence[str]:
    return [f"{past}-{kind}" for past in _PASTS for kind in ("reads", "writes")]


@define
class _Old:
    """A command of the dead kernel; `held` is what its page - of memory or disk - held when the driver ended it."""

    command: Command
    paddr: int
    sector: int
    data: bytes
    held: bytes = b""


@check("QUIESCE-4", hook="quiesce", cases=_cases, fix="""
       Let the reset stop the adapter before its commands are forgotten and their memory is taken back.  Give each use
       of a request slot another tag: a completion from before the crash must find no command.
       """, source="field.md 4.3, row HBA: stale tag from before the crash; white paper 2.2: a host reset first")
def the_past_does_no_harm(bench: Bench, case: str) -> None:
    """What was in flight or pending at the crash ends at most once, as a success only if it was one, never as another.

    Once quiesce and host reset are done nothing of it reaches memory or disk any more.
    """
    past, _, kind = case.rpartition("-")
    old = _before_the_crash(bench, _PASTS[past], kind == "writes")
    if bench.device.sanity_check() < 0:
        not_applicable(f"refused before quiesce ({case}): {bench.device.why}")
    routes.adopt(bench)
    answer = bench.call_quiesce()
    bench.expect(answer == 0, f"quiesce returned {answer} ({case}); it must be 0")
    bench.expect(bench.lacks(Need.RESET) or routes.reset(bench), f"after quiesce the host reset says FAILED ({case})")
    kept = [(bench.fill(one.paddr, PAGE, 60 + n), _put_page(bench, one.sector, 80 + n)) for n, one in enumerate(old)]
    try:
        _the_dump_goes_on(bench, past)
    except DmaFault as fault:
        if meets(bench, DmaFault):
            raise                           # some other check's rule: the past has no part in it
        bench.expect(False, "after quiesce and a host reset that worked the adapter went on with commands of the dead"
                            f" kernel ({case}): {fault}; stop it before they are forgotten")
    for one, (memory, disk) in zip(old, kept, strict=True):
        bench.expect(bench.memory.read(one.paddr, PAGE) == memory,
                     f"memory of a command of the dead kernel was written to after quiesce and host reset ({case}); the"
                     " reset must stop the adapter, not only forget its commands")
        bench.expect(bench.on_disk(one.sector, PAGE) == disk,
                     f"a command of the dead kernel changed the disk after quiesce and host reset ({case}); the reset"
                     " must stop the adapter, and the disk with it")
        _expect_honest_end(bench, one, case)


def _put_page(bench: Bench, sector: int, seed: int) -> bytes:
    data = pattern(PAGE, seed)
    bench.put_on_disk(sector, data)
    return data


def _before_the_crash(bench: Bench, past: _Past, write: bool) -> list[_Old]:
    past.arm(bench)
    if past.masked:
        bench.kernel.disable_irq_nosync(bench.pdev)
    old = []
    for n in range(min(_COMMANDS, bench.depth)):
        paddr, sector = _MEMORY + n * PAGE, (_BLOCK + n) * PAGE // bench.setup.sector_size
        data = bench.fill(paddr, PAGE, 20 + n)
        if not write:
            bench.put_on_disk(sector, data)
            bench.memory.write(paddr, bytes(PAGE))
        one = _Old(bench.command(write, sector, [(paddr, PAGE)]), paddr, sector, data)
        one.command.on_end = _note_end(bench, one)
        if bench.start(one.command):
            old.append(one)
    bench.expect(old, "the driver says busy though nothing is outstanding")
    bench.machine.run(for_ns=past.run_ns)
    bench.crash()
    return old


def _note_end(bench: Bench, one: _Old) -> Callable[[], None]:
    def ended() -> None:
        one.held = bench.on_disk(one.sector, PAGE) if one.command.write else bench.memory.read(one.paddr, PAGE)
    return ended


def _the_dump_goes_on(bench: Bench, past: str) -> None:
    """The settling time, the dump's own commands, more time."""
    bench.settle()
    bench.goes_on("after the take-over")
    if past == "completion-late" and bench.disk is not None:
        _with_the_queue_full(bench)
    end_ns = bench.now_ns + (_LINGER_NS if bench.plan.backend == "model" else _LINGER_EMULATED_NS)
    while bench.now_ns < end_ns:
        _let_pass(bench)
    bench.goes_on("some time after the take-over")


def _let_pass(bench: Bench) -> None:
    bench.poll()
    bench.kernel.diskdump_update()
    bench.kernel.udelay(_STEP_US)


def _with_the_queue_full(bench: Bench) -> None:
    """Every request slot is in use when the late completion would come: reads that the disk holds for a while."""
    assert bench.disk is not None
    bench.disk.inject(DiskFault(FaultKind.SLOW, Access.READ, amount=_HELD_NS))
    reads = []
    for n in range(min(_HELD_MAX, bench.depth)):
        sector = n * PAGE // bench.setup.sector_size
        bench.memory.write(_HELD_MEMORY + n * PAGE, bytes(PAGE))
        reads.append(bench.command(False, sector, [(_HELD_MEMORY + n * PAGE, PAGE)]))
        reads[-1].on_end = _expect_read(bench, reads[-1], _HELD_MEMORY + n * PAGE)
        bench.put_on_disk(sector, bytes([n + 1]) * PAGE)
    taken = bench.start_all(reads)
    end_ns = bench.now_ns + 2 * _HELD_NS
    while bench.now_ns < end_ns and not all(one.done for one in taken):
        _let_pass(bench)
    ends = [one.ended for one in taken]
    bench.expect(set(ends) == {1}, f"{len(ends)} reads of the dump's, queued while a completion from before the crash"
                                   f" was due, ended {min(ends)} to {max(ends)} times; each must end once")


def _expect_read(bench: Bench, command: Command, paddr: int) -> Callable[[], None]:
    def ended() -> None:
        bench.expect(bench.error_of(command) or bench.memory.read(paddr, PAGE) == bench.on_disk(command.sector, PAGE),
                     "a read of the dump's was reported as done before its data was there; a completion from before the"
                     " crash was taken for its own")
    return ended


def _expect_honest_end(bench: Bench, one: _Old, case: str) -> None:
    command = one.command
    bench.expect(command.ended < 2,
                 f"a command of the dead kernel ended {command.ended} times ({case}); once is enough")
    if command.done and not bench.error_of(command):
        bench.expect(one.held == one.data, f"a command of the dead kernel was reported as a success ({case}), and its"
                                           " data had not moved; end it with DID_RESET, or not at all")
