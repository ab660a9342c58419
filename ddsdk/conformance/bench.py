"""A fresh machine with one adapter, one disk and the driver probed: what every check is given.

The bench plays everybody the driver meets: the mid-layer that queues commands, the dump loop that polls, the crash.
`Bench` is what SCSI and ATA have in common; scsi_bench.py and ata_bench.py speak to the driver.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from ddsdk.block.load import BlockLoad
from ddsdk.bus import Segment
from ddsdk.errors import DdsdkError, LockFault, PluginError
from ddsdk.helperlib.delay import poll_interval_us
from ddsdk.hookspecs.device import BoundHooks, bind
from ddsdk.hookspecs.profile import Role
from ddsdk.integrity import CodeImage
from ddsdk.sim.locks import SpinLock

from .check import CheckFailed, Need, NothingCompletes, QuiesceFailed, ResetFailed, SanityRefused, Setup, not_applicable
from .command import BringUpFailed, Command
from .plan import Plan
from .world import DATA, HIGH, World, pattern

__all__ = ["COMMAND_LIMIT_NS", "DATA", "HIGH", "NS_PER_MS", "NS_PER_S", "NS_PER_US", "PAGE", "POLL_US", "Bench",
           "BringUpFailed", "Command", "pattern"]

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000

PAGE: Final = 4096
#: The dump loop polls this often, and gives a command up after so long (scsi_dump.c: 30 s); after a host reset it
#: leaves disks alone for 5 s.
POLL_US: Final = 100
COMMAND_LIMIT_NS: Final = 30 * NS_PER_S
SETTLE_MS: Final = 5000
#: What error handling before the crash may take.
TASK_LIMIT_NS: Final = 3600 * NS_PER_S


H = TypeVar("H")


class Bench(World):
    """A World with the driver in it.

    `dev` is the disk as the mid-layer found it, `device` the whole disk as a dump device, `hooks` the driver's dump
    hooks.
    """

    host: Any
    dev: Any
    hooks: BoundHooks
    device: Any
    #: Told of each function that was called under the lock, as it returns and before the lock is released.
    on_return: Callable[[str], object] | None = None

    # -- putting it together ---------------------------------------------------------------------------

    @classmethod
    def build(cls, plan: Plan, setup: Setup | None = None, *, trace: bool = False) -> Bench:
        """A bench of the driver's bus, brought up as *setup* says.  BringUpFailed, or what the driver raised."""
        from .ata_bench import AtaBench
        from .scsi_bench import ScsiBench

        setup = setup or Setup()
        kind: type[Bench] = AtaBench if plan.driver.bus == "ata" else ScsiBench
        bench = kind(plan, setup, trace=trace)
        try:
            if setup.probe:
                bench.bring_up()
        except BaseException:
            bench.close()
            raise
        return bench

    def another(self, setup: Setup | None = None) -> Bench:
        """A second machine like this one, for a check that needs a measurement first."""
        return Bench.build(self.plan, setup or self.setup)

    def bring_up(self) -> None:
        """Probe the driver, find the disk, make it a dump device."""
        self.probe()
        self.scan()
        self.make_device()

    def probed(self, kind: type[H]) -> H:
        """What the driver's probe returns, which must be a *kind*; its hooks are bound."""
        driver, chip = self.plan.driver, self.plan.model.chip
        try:
            host: object = driver.probe(self.pdev, chip)
        except DdsdkError as error:
            if type(error).__module__ == DdsdkError.__module__ and error.exit_code == 3:
                raise                       # a DriverFault or another rule broken: it speaks for itself
            raise BringUpFailed("probe", f"probe refuses the {chip.name}: {error}") from error
        if not isinstance(host, kind):
            raise BringUpFailed("probe", f"probe returned {host!r}; it must return the {kind.__name__} it made")
        self.hooks = bind(driver.hooks, self.plan.specs, plugin=driver.name)
        return host

    def code_image(self) -> CodeImage:
        """No module at all: checks replace parts of drivers on purpose."""
        return CodeImage.take([])

    # -- what SCSI and ATA each do their way -----------------------------------------------------------

    @abstractmethod
    def probe(self) -> None:
        """Call the driver's probe and bind its hooks."""

    @abstractmethod
    def scan(self) -> None:
        """Find the disk as the mid-layer does, by interrupts."""

    @abstractmethod
    def make_device(self) -> None:
        """The whole disk becomes `device`."""

    @property
    @abstractmethod
    def template(self) -> Any:
        """What the driver says of itself once: its host template, its port info.  `dma_alignment` is there."""

    @property
    @abstractmethod
    def driver_data(self) -> Any:
        """What the driver keeps with its host: hostdata, hwif_data.  May be set."""

    @driver_data.setter
    @abstractmethod
    def driver_data(self, value: Any) -> None: ...

    @property
    @abstractmethod
    def lock(self) -> SpinLock:
        """The lock the mid-layer holds around the driver: host_lock."""

    @property
    @abstractmethod
    def depth(self) -> int:
        """Commands the driver takes at a time."""

    @property
    @abstractmethod
    def max_bytes(self) -> int:
        """Bytes one command may move."""

    @property
    @abstractmethod
    def max_segments(self) -> int:
        """Segments one command may have."""

    @abstractmethod
    def command(self, write: bool, sector: int, sg: Sequence[Segment]) -> Command:
        """A read or write of everything in *sg*, not queued yet."""

    @abstractmethod
    def probe_command(self) -> Command:
        """A command that moves nothing and changes nothing: TEST UNIT READY, CHECK POWER MODE."""

    @abstractmethod
    def start(self, command: Command) -> bool:
        """Hand *command* to the driver, under the lock; False when it says busy."""

    @abstractmethod
    def error_of(self, command: Command) -> str:
        """Why an ended command is not good, in one line; "" when it is and everything moved."""

    @property
    def reset_may_forget(self) -> bool:
        """Whether a reset may leave the commands it took along to their time-out."""
        return False

    @abstractmethod
    def call_reset(self) -> bool:
        """Call the reset handler as the error handler does; true when it says SUCCESS."""

    @abstractmethod
    def error_handlers(self) -> Mapping[str, Callable[[Command], object]]:
        """The driver's error handlers by name, mildest first, each called with the command that does not end."""

    @abstractmethod
    def load(self, workers: int, reset_every: int = 0) -> BlockLoad[Any]:
        """An I/O load in normal mode, not started yet, over the second half of the disk."""

    @abstractmethod
    def lacks(self, need: Need) -> str:
        """Why *need* is not met, "" when it is.  Asked once the driver is probed."""

    # -- verdicts --------------------------------------------------------------------------------------

    def expect(self, condition: object, why: str) -> None:
        """The rule holds only if *condition* does; *why* says what was seen and what should have been."""
        if not condition:
            raise CheckFailed(why)

    def expect_struck(self, fault: str) -> None:
        """What `inject()` returned has done its work; a fault that never strikes proves nothing."""
        self.expect(fault in self.faults.struck,
                    f"the model's fault {fault!r} was armed and never struck, so nothing is proved; ask for it with"
                    " faults.hit() where commands pass, or name another one in ConformanceProfile.roles")

    @contextmanager
    def within(self, limit_ns: int, what: str) -> Iterator[None]:
        """*what* must be over in *limit_ns* of the machine's time: when that is up the check fails, wherever it is."""
        def ring() -> None:
            raise CheckFailed(f"{what} is not over after {limit_ns / NS_PER_S:g} s; every wait of a driver needs a"
                              " bound, whatever the adapter does")

        event = self.machine.clock.after_ns(limit_ns, ring)
        try:
            yield
        finally:
            event.cancel()

    def plays(self, role: Role) -> bool:
        """Whether a fault of the model plays *role* here."""
        return self.plan.backend == "model" and self.plan.role(role) is not None

    def play(self, role: Role, times: int = 1) -> None:
        """Arm the fault that plays *role*, to strike *times* times (0: for ever).

        Without one the check does not apply, or fails when nobody says why.
        """
        if self.plan.backend != "model":
            not_applicable(f"needs {role.value}; a foreign adapter takes no faults")
        excuse = self.plan.profile.not_offered.get(role.value, "")
        if excuse:
            not_applicable(excuse)
        self.expect(self.plays(role), f"the profile names no fault of the model for {role.value}: add it to"
                                      " ConformanceProfile.roles, or say in not_offered why the model has none")
        self.inject(role, times=times)

    def returned(self, function: str) -> None:
        """The driver's *function*, called under the lock, has returned.  LockFault: it let the lock go."""
        if self.on_return is not None:
            self.on_return(function)
        elif self.lock.owner is not self.machine.current_cpu:
            raise LockFault(f"{function} of {self.plan.driver.name} returned with {self.lock.name} released; its caller"
                            " holds it and will release it: take it again on every way out")

    # -- time and polling ------------------------------------------------------------------------------

    def in_task(self, call: Callable[[], object], name: str = "error handler") -> Any:
        """Before the crash: run *call* where it may sleep, and return what it returned."""
        task = self.machine.spawn(0, call, name)
        self.machine.run(until=task, for_ns=TASK_LIMIT_NS)
        self.expect(task.done or self.crashed, f"the {name} is not over after {TASK_LIMIT_NS // NS_PER_S} s")
        return task.result

    def poll(self) -> None:
        """The driver's dump_poll, once."""
        self.hooks.dump_poll(self.dev)

    def turn(self) -> None:
        """One turn of the dump loop: poll, update, 100 us."""
        self.poll()
        self.kernel.diskdump_update()
        self.kernel.udelay(POLL_US)

    def wait(self, *commands: Command, limit_ns: int = COMMAND_LIMIT_NS) -> bool:
        """Let *commands* end: by polling after the crash, by interrupts before; false when one did not in time."""
        def over() -> bool:
            return all(command.done for command in commands)

        end_ns = self.now_ns + limit_ns
        if not self.crashed:
            while not over() and self.now_ns < end_ns:
                self.machine.run(until=lambda: over() or self.crashed, for_ns=min(NS_PER_S, end_ns - self.now_ns))
                if self.crashed:
                    break
            return over()
        began_ns = self.now_ns
        while not over() and self.now_ns < end_ns:
            self.poll()
            self.kernel.diskdump_update()
            self.kernel.udelay(poll_interval_us(self.now_ns - began_ns))
        return over()

    def let_pass(self, ms: int) -> None:
        """After the crash: *ms* milliseconds in which nobody polls, while the adapter goes on working."""
        for _ in range(ms):
            self.kernel.diskdump_update()
            self.kernel.udelay(1000)
            self.pin_is_up()                # an emulated adapter needs real time, which a look at it gives

    def settle(self) -> None:
        """The dump layer's pause after a host reset: 5 s, without a poll."""
        self.kernel.diskdump_pause(SETTLE_MS)

    def start_all(self, commands: Sequence[Command]) -> list[Command]:
        """Hand them over until the driver says busy; those it took."""
        taken = []
        for command in commands:
            if not self.start(command):
                break
            taken.append(command)
        return taken

    def finish(self, command: Command, limit_ns: int = COMMAND_LIMIT_NS) -> str:
        """Start *command* and wait for it: why it is not good, "" when it is.  A unit attention is tried again once.

        Nobody resets anything when it does not end.
        """
        for _ in range(3):
            if not self.start(command):
                return "the driver says busy though nothing is outstanding"
            if not self.wait(command, limit_ns=limit_ns):
                return f"it did not end within {limit_ns // NS_PER_S} s"
            error = self.error_of(command)
            if "UNIT ATTENTION" not in error and "reset ended the command" not in error:
                return error
            command = self.command_again(command)
        return error

    @abstractmethod
    def command_again(self, command: Command) -> Command:
        """The same command, new."""

    # -- the crash -------------------------------------------------------------------------------------

    def take_over(self) -> None:
        """After the crash: sanity check, quiesce and host reset as the dump layer does them; the device must work.

        TakeOverFailed from idle, where it is another check's rule; CheckFailed from a state the check brought about,
        where a refusal ends the check: SANE-11 and SANE-12 say what may be refused.
        """
        idle = not self.crashed
        if idle:
            self.crash()
        if self.device.sanity_check() < 0:
            if not idle:
                not_applicable(f"refused before quiesce: {self.device.why}")
            raise SanityRefused(f"the device was refused: {self.device.why}")
        if self.device.quiesce():
            why = str(self.device.why)
            step = (QuiesceFailed if why.startswith("quiesce of ") else
                    ResetFailed if "reset handler failed" in why else NothingCompletes)
            raise (step if idle else CheckFailed)(f"the device could not be taken over: {why}")

    def ask_sanity(self) -> int:
        """The driver's own dump_sanity_check; None counts as 0."""
        return self._number(self.hooks.dump_sanity_check(self.dev), "dump_sanity_check")

    def call_quiesce(self) -> int:
        """The driver's own quiesce; None counts as 0."""
        return self._number(self.hooks.quiesce(self.dev), "quiesce")

    def _number(self, answer: object, hook: str) -> int:
        if answer is None:
            return 0
        if not isinstance(answer, int):
            raise PluginError(f"{hook} of {self.plan.driver.name} returned {answer!r}; a hook that is asked returns 0,"
                              " -errno, or nothing")
        return answer

    # -- works? ----------------------------------------------------------------------------------------

    def write_and_compare(self, sector: int, nbytes: int = PAGE, paddr: int = DATA, seed: int = 1) -> None:
        """A write through `device` puts exactly these bytes on the disk, a read brings them back."""
        data = self.fill(paddr, nbytes, seed)
        block = sector * self.setup.sector_size // PAGE
        error = self.device.rw_block(True, block, [(paddr, nbytes)])
        self.expect(error == 0, f"the write of {nbytes} bytes at sector {sector} failed: {self.device.why}")
        self.expect(self.on_disk(sector, nbytes) == data,
                    f"the write of {nbytes} bytes at sector {sector} ended well, but the disk holds something else")
        self.memory.write(paddr, bytes(nbytes))
        error = self.device.rw_block(False, block, [(paddr, nbytes)])
        self.expect(error == 0, f"the read of {nbytes} bytes at sector {sector} failed: {self.device.why}")
        self.expect(self.memory.read(paddr, nbytes) == data,
                    f"the read of {nbytes} bytes at sector {sector} ended well, but memory holds something else")

    def goes_on(self, after: str, block: int = 100) -> None:
        """A write and a read end well, and nobody resets anything in between; *after* names what came before."""
        sector = block * PAGE // self.setup.sector_size
        data = self.fill(DATA, PAGE, block & 0x7F)
        why = self.finish(self.command(True, sector, [(DATA, PAGE)]))
        self.expect(not why, f"the first write {after}: {why}")
        self.expect(self.on_disk(sector, PAGE) == data,
                    f"the first write {after} ended well, but the disk holds something else")
        self.memory.write(DATA, bytes(PAGE))
        why = self.finish(self.command(False, sector, [(DATA, PAGE)]))
        self.expect(not why, f"the first read {after}: {why}")
        self.expect(self.memory.read(DATA, PAGE) == data,
                    f"the first read {after} ended well, but memory holds something else")

    def works(self) -> None:
        """The taken-over device writes and reads here and there."""
        for n, block in enumerate((0, 9, 200)):
            self.write_and_compare(block * PAGE // self.setup.sector_size, PAGE, seed=n + 1)
