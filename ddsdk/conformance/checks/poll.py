"""POLL: the interrupt handler by hand, and whatever it would have deferred.

Completions that are lost, late, doubled or nobody's are in poll_faulty.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from attrs import define

from ddsdk.sim.irq import IrqLine

from .. import dumping, states
from ..bench import DATA, NS_PER_MS, NS_PER_S, NS_PER_US, PAGE, POLL_US, Bench, Command
from ..check import Need, NothingCompletes, check, not_applicable
from ..plan import Plan

#: What lies between two accesses to a chip that wants it is no wait.
_BREATH_NS: Final = 100 * NS_PER_US
_IDLE_POLLS: Final = 1000
#: Enough for any command on a healthy disk, and less than the NMI watchdog allows without a touch.
_SOON_NS: Final = 2 * NS_PER_S
#: Completions that are pending together, and polls that may go by for each: some chips want a hand in between.
_MANY: Final = 16
_POLLS_EACH: Final = 10
#: The mixed load of POLL-12: so many commands, so many of them at a time, of up to so many pages.
_LOAD, _AT_A_TIME, _PAGES = 60, 6, 8


@check("POLL-1", hook="dump_poll", faults=(NothingCompletes,),
       source="white paper 4.4 (3): poll calls the interrupt service function", fix="""
       def my_poll(sdev):
           if readl(chip, INT_STATUS) & REPLY:
               my_interrupt(0, ioc)
       """)
def completes_a_command_by_polling_alone(bench: Bench) -> None:
    """A write and a read complete through dump_poll() alone; the interrupt line is never serviced."""
    bench.crash()
    _take_over_by_hand(bench)
    why = bench.finish(bench.probe_command())
    bench.expect(not why, f"with dump_poll() called every {POLL_US} us, the first command after the crash: {why}")
    bench.goes_on(f"by dump_poll() every {POLL_US} us")


def _take_over_by_hand(bench: Bench, between: int = 0) -> None:
    """Quiesce and host reset, called directly, with *between* turns of the dump loop after each."""
    bench.kernel.poll = partial(bench.hooks.dump_poll, bench.dev)
    error = bench.call_quiesce()
    bench.expect(error == 0, f"quiesce answers {error}; it must answer 0")
    for _ in range(between):
        bench.turn()
    if not bench.lacks(Need.RESET):
        bench.expect(bench.call_reset(), "the host reset after the crash ended in FAILED; it must say SUCCESS")
        for _ in range(between):
            bench.turn()
        bench.settle()


@check("POLL-2", hook="dump_poll", source="white paper 4.4 (3): the example looks at the interrupt status first",
       fix="""
       status = readl(chip, INT_STATUS);
       if (!(status & REPLY))              /* nothing to do: come back at once, and leave no trace */
           return;
       """)
def is_harmless_when_nothing_is_pending(bench: Bench) -> None:
    """A thousand polls of an idle adapter end no command, raise nothing and leave no lock, and the adapter works."""
    bench.take_over()
    commands = [bench.command(write, 800 + 8 * n, [(DATA, PAGE)]) for n, write in enumerate((True, False, True))]
    for command in commands:
        why = bench.finish(command)
        bench.expect(not why, f"a command before the idle polls: {why}")
    before = bench.held_locks
    for _ in range(_IDLE_POLLS):
        bench.turn()
    bench.expect([command.ended for command in commands] == [1, 1, 1],
                 "idle polls said of a command that had ended long ago that it ended; forget a command when it has")
    bench.expect(bench.held_locks == before, f"idle polls left a lock: {', '.join(bench.held_locks)}")
    bench.goes_on(f"after {_IDLE_POLLS} idle polls")


@check("POLL-3", hook="dump_poll", source="white paper 4.4 (3): the same processing with interrupt service;"
       " DESIGN.md 4: plus whatever it would have deferred", fix="""
       def my_poll(sdev):
           my_interrupt(0, hba)
           my_bottom_half(hba)             # what the handler leaves to a tasklet or a work item: here, at once
       """)
def runs_what_the_handler_would_defer(bench: Bench) -> None:
    """Commands end by dump_poll() and udelay() alone, without a diskdump_update() that would run tasklets and work."""
    bench.take_over()
    for write in (True, False, True):
        command = bench.command(write, 800, [(DATA, PAGE)])
        bench.expect(bench.start(command), "the driver says busy though nothing is outstanding")
        end_ns = bench.now_ns + _SOON_NS
        while not command.done and bench.now_ns < end_ns:
            bench.poll()
            bench.kernel.udelay(POLL_US)
        bench.expect(command.done, f"a {'write' if write else 'read'} did not end within {_SOON_NS // NS_PER_S} s of"
                                   " polls alone; do in dump_poll what the handler defers")


@check("POLL-9", hook="dump_poll", cases=states.every_state,
       source="field.md 4.3, time of crash: inside ISR, host reset; hookspecs dump_poll: called from waits in resets",
       fix="""
       On a shared line the handler is called at any time, reset or not: what the chip says while it is being reset is
       no completion.
       if (hba->in_reset)
           return IRQ_NONE;
       """)
def is_harmless_at_any_time(bench: Bench, state: str) -> None:
    """From the crash on, whatever it interrupted, polls do no harm: before quiesce, between it and the host reset, and
    right after that.

    Where the crash left a lock of the driver's held the first polls are left out: quiesce releases it."""
    states.enter(bench, state)
    record = bench.machine.record
    assert record is not None
    if bench.ask_sanity() < 0:
        not_applicable(f"dump_sanity_check refuses the adapter in state {state}: nobody will poll it")
    if not record.locks:
        for _ in range(5):
            bench.poll()
            bench.kernel.udelay(POLL_US)
    _take_over_by_hand(bench, between=5)
    bench.goes_on("after polls before, in and after the take-over")


@check("POLL-10", hook="dump_poll", cases=dumping.every_state,
       source="white paper 4.4 (3): void (*poll)(Scsi_Device *), interrupt service; hookspecs dump_poll: never waits",
       fix="""
       Leave what takes time to schedule_work(): diskdump_update() runs it between polls.
       """)
def returns_at_once_with_nothing(bench: Bench, state: str) -> None:
    """dump_poll() returns None, and the clock stands still in it - but for microseconds between two accesses."""
    bench.take_over()
    dumping.enter(bench, state)
    poll: Callable[[Any], object] = bench.hooks.dump_poll
    for _ in range(50):
        before_ns = bench.now_ns
        answer = poll(bench.dev)
        took_ns = bench.now_ns - before_ns
        bench.expect(answer is None, f"dump_poll returned {answer!r}; it is void, and the dump loop asks nothing of it")
        bench.expect(took_ns < _BREATH_NS, f"dump_poll took {took_ns / NS_PER_MS:g} ms (state: {state}); it must"
                                           " return at once, what takes time belongs into a work item")
        bench.kernel.diskdump_update()
        bench.kernel.udelay(POLL_US)


@check("POLL-11", hook="dump_poll", needs=(Need.QUEUEING,),
       source="white paper 4.4 (3): the same processing with interrupt service, which takes all there is", fix="""
       while ((descriptor = readl(chip, REPLY_FIFO)) != EMPTY)     /* bounded by the queue's depth */
           my_complete(hba, descriptor);
       """)
def takes_all_that_is_there(bench: Bench) -> None:
    """Several completions pending are all taken, within a few polls each."""
    bench.take_over()
    commands = dumping.start(bench, min(_MANY, bench.depth))
    bench.let_pass(50)
    polls = _POLLS_EACH * len(commands)
    for _ in range(polls):
        if all(command.done for command in commands):
            break
        bench.poll()
        bench.kernel.udelay(POLL_US)        # a chip may hand them out one by one
    done = sum(command.done for command in commands)
    bench.expect(done == len(commands), f"{len(commands)} completions were pending, {polls} polls took {done} of them;"
                                        " take all there are in one poll")


@define
class _Slot:
    """A place for one command of the mixed load: its own memory, its own piece of the disk."""

    number: int
    command: Command | None = None

    @property
    def paddr(self) -> int:
        return DATA + self.number * _PAGES * PAGE

    @property
    def block(self) -> int:
        return 400 + self.number * _PAGES


@check("POLL-12", hook="dump_poll", source="field.md 4.3 invariant (ii): never complete with a wrong page", fix="""
       Call scsi_done() when the completion of this very command is there, not when the chip took it.
       """)
def ends_no_command_early(bench: Bench) -> None:
    """When scsi_done() is called for a write its bytes are on the disk, for a read in memory: each command of a mixed
    load."""
    bench.take_over()
    random = bench.plan.random("POLL-12")
    slots = [_Slot(number) for number in range(min(_AT_A_TIME, bench.depth))]
    early: list[str] = []
    left, end_ns = _LOAD, bench.now_ns + 30 * NS_PER_S
    while bench.now_ns < end_ns:
        for slot in slots:
            if slot.command is not None and slot.command.done:
                slot.command = None
            if slot.command is None and left:
                nbytes = PAGE * random.randint(1, min(_PAGES, bench.max_bytes // PAGE))
                slot.command = watched(bench, random.random() < 0.5, slot.block, slot.paddr, nbytes, early, left)
                bench.expect(bench.start(slot.command), f"the driver says busy with fewer than {bench.depth} commands")
                left -= 1
        if not left and all(slot.command is None for slot in slots):
            break
        bench.turn()
    bench.expect(not early, f"{len(early)} commands were ended early, for one: {''.join(early[:1])}")
    bench.expect(not left and all(slot.command is None for slot in slots), "the load was not over after 30 s")


def watched(bench: Bench, write: bool, block: int, paddr: int, nbytes: int, early: list[str], seed: int) -> Command:
    """A command that adds a sentence to *early* if it ends well before its bytes are where they belong."""
    sector = block * PAGE // bench.setup.sector_size
    if write:
        data = bench.fill(paddr, nbytes, seed)
        bench.put_on_disk(sector, bytes(nbytes))
    else:
        data = bench.fill(paddr, nbytes, seed)
        bench.put_on_disk(sector, data)
        bench.memory.write(paddr, bytes(nbytes))
    command = bench.command(write, sector, [(paddr, nbytes)])

    def look() -> None:
        there = bench.on_disk(sector, nbytes) if write else bench.memory.read(paddr, nbytes)
        if there != data and not bench.error_of(command):
            early.append(f"a {'write' if write else 'read'} of {nbytes} bytes ended well when its bytes were not"
                         f" {'on the disk' if write else 'in memory'} yet")

    command.on_end = look
    return command


def _when(_plan: Plan) -> tuple[str, ...]:
    return ("idle", "in-flight", "in-reset", "crash-mode")


@check("POLL-13", hook="request_irq handler", needs=(Need.INTERRUPT,), cases=_when,
       source="white paper 4.4 (3): poll is the interrupt service function, installed with SA_SHIRQ; linux/interrupt.h:"
              " IRQ_NONE, not mine", fix="""
       status = readl(chip, INT_STATUS);
       if (!(status & MINE) || status == 0xFFFFFFFF)
           return IRQ_NONE;                /* another device's: touch nothing */
       """)
def leaves_another_device_s_interrupt_alone(bench: Bench, when: str) -> None:
    """An interrupt of another device on the shared line ends no command, whenever it comes; the handler says IRQ_NONE
    when nothing of its own is pending."""
    line = bench.function.irq_line
    assert isinstance(line, IrqLine)
    handlers = tuple(line.handlers)
    if not handlers:
        not_applicable("the driver installs no interrupt handler")
    pin = line.pin("another device")
    answers: list[object] = []

    def another() -> int:
        answers.extend(handler() for handler in handlers)
        pin.lower()
        return 1

    if when == "crash-mode":
        bench.take_over()
        pin.raise_()
        for _ in range(20):
            bench.turn()
        bench.goes_on("with another device's interrupt pending")
        return
    line.add_handler(another)
    commands = dumping.start(bench, 1) if when == "in-flight" else []
    if when == "in-reset":
        if bench.lacks(Need.RESET):
            not_applicable(bench.lacks(Need.RESET))
        took_ns = states.reset_ns(bench)
        every_ns = took_ns // 12 if bench.disk is None else max(NS_PER_MS, took_ns // 5000)
        _interrupts(bench, pin.raise_, every_ns, took_ns)
        bench.expect(bench.in_task(bench.call_reset), "a host reset in normal mode failed while another device on the"
                                                      " line interrupted")
    for _ in range(10):
        pin.raise_()
        bench.machine.run(for_ns=1)
    bench.expect(answers, "the line was up and no handler was called")
    if when == "idle" or (when == "in-flight" and bench.disk is not None):     # QEMU may be done with it by now
        bench.expect(not any(answers), f"with nothing of its own pending the handler claimed another device's interrupt"
                                       f" ({answers.count(1)} of {len(answers)} times); it must return IRQ_NONE")
        bench.expect(not any(command.done for command in commands), "another device's interrupt ended a command")
    bench.wait(*commands)
    bench.expect([command.ended for command in commands] == [1] * len(commands), "after another device's interrupts a"
                                                                                 " command did not end once")
    bench.goes_on("after another device's interrupts")


def _interrupts(bench: Bench, call: Callable[[], object], every_ns: int, for_ns: int) -> None:
    """Have *call* called every *every_ns* for *for_ns*."""
    end_ns = bench.now_ns + for_ns

    def ring() -> None:
        call()
        if bench.now_ns < end_ns:
            bench.machine.clock.after_ns(every_ns, ring)
    bench.machine.clock.after_ns(every_ns, ring)
