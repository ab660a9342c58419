"""A small adapter and a machine around it: the bench the helper library's tests stand on.

The board answers a write to START with DONE and an interrupt, that many microseconds later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field

from ddsdk.abi import X86_64, Abi
from ddsdk.helperlib.kernel import IRQ_HANDLED, IRQ_NONE, Iomem, Kernel, PciDev
from ddsdk.regs import Reg8, Reg16, Reg32, RegBlock, bit, bits, rw, w1c, wo
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.model import HwModel
from ddsdk.sim.pci import BarSpec, SimPciFunction
from ddsdk.sim.trace import Trace


class Status(Reg32):
    """What the board has to say."""

    DONE = bit(0, w1c)


class Mode(Reg32):
    """A register with a field in it."""

    LEVEL = bits(7, 4, int, rw)


class BoardRegs(RegBlock, size=0x20):
    """The board's registers."""

    STATUS = Status.at(0x00)
    START = Reg32.at(0x04, wo)
    MODE = Mode.at(0x08)
    HALF = Reg16.at(0x0C)
    BYTE = Reg8.at(0x0E)


class Board(HwModel):
    """START <- n: after n us DONE is set and the interrupt line rises until DONE is cleared."""

    regs = BoardRegs

    def w_START(self, us: Reg32) -> None:
        """Begin."""
        self.clock.after_ns(int(us) * 1000, self._done)

    def w_STATUS(self, value: Status) -> None:
        """Acknowledge."""
        self.store("STATUS", value)
        if not self.values["STATUS"] & Status.DONE.mask:
            self.irq.lower()

    def _done(self) -> None:
        self.values["STATUS"] |= Status.DONE.mask
        self.irq.raise_()


@define
class World:
    """A running machine, its kernel, and a board whose driver the test plays."""

    machine: Machine
    kernel: Kernel
    board: Board
    pdev: PciDev
    mem: Iomem
    ports: Iomem
    ran: list[object] = field(factory=list)
    things: Any = ()        # what a test wants to find again after the crash

    @property
    def now_us(self) -> int:
        """Virtual time, microseconds."""
        return self.machine.clock.now_ns // 1000

    def crash(self) -> None:
        """Panic, from the boot context."""
        self.machine.crash(Trigger.PANIC)

    def note(self, what: object) -> object:
        """A timer, tasklet or work function that only says that it ran; returns *what*."""
        self.ran.append(what)
        return what

    def poll(self, completion: Callable[[], object]) -> Callable[[], object]:
        """A dump_poll that acknowledges DONE and calls *completion*."""
        def dump_poll() -> None:
            self.interrupt(completion)
        return dump_poll

    def interrupt(self, completion: Callable[[], object]) -> int:
        """The board's interrupt handler."""
        if not self.kernel.readl(self.mem, BoardRegs.STATUS).DONE:
            return IRQ_NONE
        self.kernel.writel(Status.of(DONE=1), self.mem, BoardRegs.STATUS)
        completion()
        return IRQ_HANDLED

    def in_irq(self, call: Callable[[], object]) -> None:
        """Run *call* in a hard interrupt: of the CPU in normal mode, of nobody after the crash."""
        self.machine.run_in_irq(call)
        self.machine.pass_time(0)

    def in_tasklet(self, call: Callable[[], object]) -> None:
        """Run *call* in a tasklet, in either mode."""
        self.kernel.tasklet_schedule(self.kernel.tasklet_init(lambda _data: call()))
        self.settle()

    def settle(self, us: int = 3000) -> None:
        """Let *us* pass, with what may run in it: asleep in normal mode, in the dump loop after the crash."""
        if not self.machine.crashdump_mode:
            self.machine.sleep(us * 1000)
            return
        for _ in range(us // 100):
            self.kernel.udelay(100)
            self.kernel.diskdump_update()


def build(abi: Abi = X86_64, ncpus: int = 1, hz: int = 1000, trace: Trace | None = None) -> World:
    """A fresh world: the board enabled, bus mastering on, both BARs mapped."""
    machine = Machine(PhysicalMemory.anonymous(1 << 20), abi=abi, ncpus=ncpus, hz=hz, trace=trace)
    board = Board()
    function = machine.pci.plug(SimPciFunction(board, vendor=0x1234, device=0x5678, bars={
        0: BarSpec("mem", 0x20), 1: BarSpec("io", 0x20)}))
    kernel = Kernel(machine)
    pdev = PciDev(kernel, function)
    kernel.pci_enable_device(pdev)
    kernel.pci_set_master(pdev)
    return World(machine, kernel, board, pdev, kernel.pci_iomap(pdev, 0), kernel.pci_iomap(pdev, 1))
