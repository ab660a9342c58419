"""MEM: memory after the crash is what was declared before it, and everything taken or lent comes back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from ddsdk.errors import AllocationFault
from ddsdk.hookspecs.profile import Role
from ddsdk.sim import disk_faults

from .. import routes, states
from ..bench import DATA, NS_PER_MS, PAGE, Bench, Command
from ..check import Level, Need, Setup, check, not_applicable

_ALLOCATES: Final = ("kmalloc", "dma_alloc_coherent")
#: Rounds of some sixty commands and a reset each.
_ROUNDS: Final = 4
_ROUND_COMMANDS: Final = 60


@check("MEM-1", hook="all", source="white paper 2.2: a couple of drivers are not finished completely, because they call"
       " kmalloc() as an extension of queuecommand(); field.md 2, row 3: assert the exact byte budget",
       setup=routes.TRAVELLER, faults=(AllocationFault,), cases=routes.after_the_crash, fix="""
       Allocate in probe(), one of everything for each command:

           for (i = 0; i < shost->can_queue; i++)
               ha->slot[i].sense = ...;

       What cannot be: kernel.declare_crash_budget(bytes) in probe(), and GFP_ATOMIC after the crash.
       """)
def no_allocation_that_sleeps_or_was_not_declared(bench: Bench, route: str) -> None:
    """After the crash nothing is allocated with GFP_KERNEL, nothing over the declared budget, nothing freed twice."""
    routes.travel(bench, route)


@check("MEM-2", hook="probe", source="field.md 2, row 3: publish and assert the exact byte budget; 4.2, dump-mode"
       " rules: <= 32 KiB memory", setup=routes.TRAVELLER, cases=routes.main_roads, fix="""
       Declare no more than the path really takes, and publish it:

           kernel.declare_crash_budget(2048)                       # probe()
           ConformanceProfile(..., crash_budget_bytes=2048)        # the plugin's profile, README too
       """)
def the_budget_is_the_published_one(bench: Bench, route: str) -> None:
    """What the driver declares for crash mode, and takes at most, is no more than its profile's crash_budget_bytes."""
    trip, published = routes.travel(bench, route), bench.plan.profile.crash_budget_bytes
    bench.expect(trip.declared_bytes <= published,
                 f"the driver declares {trip.declared_bytes} bytes for crash mode, its profile publishes {published}"
                 " (crash_budget_bytes)")
    bench.expect(trip.peak_bytes <= published,
                 f"after the crash the driver held {trip.peak_bytes} bytes at once, its profile publishes {published}"
                 " (crash_budget_bytes)")


@check("MEM-3", hook="all", source="field.md 2, row 3: out of memory; the dump writes as many commands as memory has"
       " pages", cases=lambda plan: ("before-the-crash", "after-the-crash"), fix="""
       Give back on every way out what was taken on the way in:

           if (start(ha, scmd)) {
               kfree(priv);
               return SCSI_MLQUEUE_HOST_BUSY;
           }
       """)
def nothing_is_lost(bench: Bench, when: str) -> None:
    """After hundreds of commands, errors and resets, memory and mappings in use are what they were after the first."""
    if when == "after-the-crash":
        bench.take_over()
    _round(bench)
    first = _in_use(bench)
    for _ in range(_ROUNDS - 1):
        _round(bench)
    last = _in_use(bench)
    for what, before in first.items():
        bench.expect(last[what] <= before,
                     f"{what}: {before} after {_ROUND_COMMANDS} commands and some resets, {last[what]} after {_ROUNDS}"
                     " times as many; everything taken must come back")


def _round(bench: Bench) -> None:
    """Reads, writes, errors of the disk; then commands that hang, and the resets they cost."""
    for n in range(_ROUND_COMMANDS):
        if n % 10 == 0 and bench.disk is not None:
            bench.disk.inject(disk_faults.aborted_command() if n % 20 else disk_faults.busy())
        command = bench.probe_command() if n % 15 == 0 else bench.command(n % 2 == 0, 8 * n, [(DATA, PAGE)])
        if bench.start(command):
            bench.wait(command)
    if bench.disk is None and not bench.crashed:
        return                              # an emulated adapter resets in real time before the crash
    if bench.crashed:
        stuck = _stuck(bench)
        routes.poll_for(bench, stuck)
        routes.reset(bench)
        bench.settle()
    else:
        handlers = list(bench.error_handlers().items())
        for first in range(len(handlers)):
            stuck = _stuck(bench)
            bench.machine.run(for_ns=NS_PER_MS)
            for name, handle in handlers[first:]:
                if bench.in_task(partial(handle, stuck), name):
                    break
    for _ in range(2):                      # the first meets the reset's unit attention
        command = routes.page_command(bench)
        if bench.start(command):
            bench.wait(command)


def _stuck(bench: Bench) -> Command:
    """A command that the adapter never ends, where its model can do so."""
    if bench.plays(Role.COMMAND_HUNG):
        bench.inject(Role.COMMAND_HUNG)
    command = routes.page_command(bench)
    bench.start(command)
    return command


def _in_use(bench: Bench) -> Mapping[str, int]:
    reserve = bench.memory.reserve
    return {
        "pieces that kmalloc() gave": bench.kernel.crash_memory.pieces,
        "bytes allocated since the crash": bench.kernel.crash_memory.in_use_bytes,
        "bytes of DMA memory": reserve.extent.size - reserve.free_bytes,
        "mappings lent to the adapter": len(bench.lent),
    }


@check("MEM-4", hook="all", level=Level.ADVISORY, source="white paper 2.2: the dump is executed without depending on"
       " other components of the kernel", setup=routes.TRAVELLER, cases=routes.main_roads, fix="""
       Allocate everything in probe(); a crashed kernel's allocator may hold its own locks.
       """)
def nothing_is_allocated_after_the_crash(bench: Bench, route: str) -> None:
    """After the crash the driver allocates nothing at all."""
    for call in routes.travel(bench, route).since_crash(*_ALLOCATES):
        bench.expect(False, f"{call.site} calls {call.name}({call.amount}) after the crash; allocate it in probe()")


_ENDS: Final = ("good", "disk-error", *(role.value for role in (
    Role.COMPLETION_LOST, Role.COMPLETION_LATE, Role.COMPLETION_DUPLICATE, Role.COMMAND_HUNG, Role.FIRMWARE_FAULT)))


@check("MEM-5", hook="all", source="field.md 4.3, row HBA: hung DMA; include/linux/dma-mapping.h: each map its unmap",
       needs=(Need.MODEL,), cases=lambda plan: _ENDS, fix="""
       One way out for every command, good or bad, and the reset goes it too:

           static void my_end(struct slot *slot, int result)
           {
               pci_unmap_sg(ha->pdev, slot->scmd->request_buffer, slot->use_sg, slot->scmd->sc_data_direction);
               slot->scmd->result = result;
               slot->scmd->scsi_done(slot->scmd);
           }
       """)
def everything_mapped_is_unmapped(bench: Bench, end: str) -> None:
    """When no command is outstanding nothing is mapped that was not before, also after errors and resets."""
    bench.take_over()
    before = bench.lent
    for write in (True, False):
        if end == "disk-error":
            assert bench.disk is not None
            bench.disk.inject(disk_faults.hardware_error())
        elif end != "good":
            if bench.lacks(Need.RESET):
                not_applicable(bench.lacks(Need.RESET))
            bench.play(Role(end))
        pages = [(DATA + 2 * PAGE * n, PAGE) for n in range(min(8, bench.max_segments, bench.max_bytes // PAGE))]
        command = bench.command(write, 64, pages)
        bench.expect(bench.start(command), "the driver says busy though nothing is outstanding")
        if not routes.poll_for(bench, command) or end == Role.FIRMWARE_FAULT.value:
            bench.expect(routes.reset(bench), f"the host reset after {end} failed")
            bench.settle()
    bench.expect(not bench.finish(routes.page_command(bench)), f"no command works after {end}")
    left = [one for one in bench.lent if one not in before]
    bench.expect(not left, f"nothing is outstanding, and {len(left)} mappings are left, {', '.join(left[:1])} the"
                           " first; dma_unmap_sg() whatever ends a command, a reset too")


@check("MEM-6", hook="queuecommand", source="white paper 2.2: drivers that call kmalloc() as an extension of"
       " queuecommand() are not finished completely", setup=Setup(record=True), fix="""
       A slot for every command is made in probe(); queuecommand() takes a free one and returns SCSI_MLQUEUE_HOST_BUSY
       when there is none.
       """)
def the_command_path_allocates_nothing(bench: Bench) -> None:
    """After the crash neither queuecommand() nor dump_poll() allocates memory, declared or not."""
    bench.take_over()
    before = len(bench.calls.since_crash(*_ALLOCATES))
    sizes = (PAGE, min(64 * PAGE, bench.max_bytes))
    pages = [(DATA + 2 * PAGE * n, PAGE) for n in range(min(bench.max_segments, bench.max_bytes // PAGE, 256))]
    commands = [bench.probe_command(), *(bench.command(write, 64, sg) for write in (True, False)
                                         for sg in (*([(DATA, size)] for size in sizes), pages))]
    for command in commands:
        bench.expect(bench.start(command), "the driver says busy though nothing is outstanding")
        bench.wait(command)
    many = [bench.command(True, 8 * n, [(DATA + n % 64 * PAGE, PAGE)]) for n in range(min(bench.depth, 64) + 1)]
    bench.wait(*bench.start_all(many))
    if bench.disk is not None:
        bench.disk.inject(disk_faults.hardware_error())
        bench.disk.inject(disk_faults.busy())
    for _ in range(2):
        command = routes.page_command(bench)
        bench.start(command)
        bench.wait(command)
    for call in bench.calls.since_crash(*_ALLOCATES)[before:]:
        bench.expect(False, f"{call.site} calls {call.name}({call.amount}) while a command is carried out; allocate it"
                            " in probe()")


@check("MEM-7", hook="queuecommand", source="field.md 4.3, row HBA: firmware fault state, reply queue full, lost,"
       " duplicate, foreign completion", needs=(Need.QUEUEING,), fix="""
       Whatever ends a command - its completion, an error, a reset - puts its slot back on the free list, once.
       """)
def no_slot_is_lost(bench: Bench) -> None:
    """After errors and resets the driver takes as many commands at a time as before: none of its slots is lost."""
    bench.take_over()
    before = _slots(bench)
    for n in range(9):
        if bench.disk is not None:
            bench.disk.inject((disk_faults.hardware_error, disk_faults.busy, disk_faults.wrong_length)[n % 3]())
        command = routes.page_command(bench, write=n % 2 == 0)
        if bench.start(command):
            bench.wait(command)
        if bench.disk is not None:
            bench.disk.faults.clear()
    _none_lost(bench, before, "errors of the disk")
    if bench.lacks(Need.RESET):
        return
    for role in (Role.COMPLETION_LOST, Role.COMMAND_HUNG, Role.COMPLETION_DUPLICATE, Role.COMPLETION_FOREIGN,
                 Role.FIRMWARE_FAULT):
        for _ in range(2):
            if bench.plays(role):
                bench.inject(role)
            command = routes.page_command(bench)
            bench.start(command)
            routes.poll_for(bench, command)
        if bench.plays(role):
            bench.faults.clear()            # what was refused during a reset of the driver's own met no fault
        routes.reset(bench)
        bench.settle()
        _none_lost(bench, before, f"{role.value}, and the reset it costs")      # the next reset may bring it back


def _none_lost(bench: Bench, before: int, what: str) -> None:
    after = _slots(bench)
    bench.expect(after >= before, f"the driver took {before} commands at a time, after {what} it takes {after}; a slot"
                                  " must come back whatever ended its command")


def _slots(bench: Bench) -> int:
    """How many commands the driver takes at once, up to can_queue."""
    bench.finish(bench.probe_command())
    commands: list[Command] = [bench.command(False, 8 * n, [(DATA + n % 64 * PAGE, PAGE)])
                               for n in range(min(bench.depth, 256))]
    taken = bench.start_all(commands)
    bench.wait(*taken)
    return len(taken)


@check("MEM-8", hook="quiesce", level=Level.ADVISORY, source="field.md 2, row 2: mid-DMA, queue full, reset pending;"
       " include/linux/dma-mapping.h", needs=(Need.MODEL,),
       cases=lambda plan: ("in-flight", "mid-dma", "queue-full", "reset-early"), fix="""
       Forget in quiesce which commands there were, not what is mapped for them; unmap that once the reset has stopped
       the adapter, not before.
       """)
def the_dead_kernels_mappings_go(bench: Bench, state: str) -> None:
    """What was mapped for commands of before the crash is unmapped by the end of the take-over."""
    before = bench.lent
    states.enter(bench, state)
    bench.take_over()
    left = [one for one in bench.lent if one not in before]
    bench.expect(not left, f"after the host reset {len(left)} mappings of commands of before the crash are left,"
                           f" {', '.join(left[:1])} the first; unmap them when the reset is through")
