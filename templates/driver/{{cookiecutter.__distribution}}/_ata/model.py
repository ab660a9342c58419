"""The {{cookiecutter.chip}} as the PCI host sees it: command block, control register, bus master, interrupt line.

Written from the data sheet in README.md; stricter than silicon: what it forbids is a HardwareFault here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ddsdk.errors import HardwareFault
from ddsdk.hookspecs import HardwareModelInfo
from ddsdk.regs import Reg8, Reg16, Reg32
from ddsdk.sim.ata_drive import AtaDrive, Taskfile
from ddsdk.sim.ata_taskfile import BSY, DRDY, DRQ, DSC
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import BarSpec, SimPciFunction

from .chips import CHIP
from .model_chip import PAIRS, CommandBlock, Timing
from .model_faults import FAULTS
from .model_requests import Commands
from .regs import BmCommand, BmStatus, Control, Regs

_READY: Final = DRDY | DSC


class {{cookiecutter.__Name}}Model(CommandBlock):
    """One channel with *drives*, by unit, on its cable.  `epoch` counts resets: what was scheduled before is void.

    `status`, `error`: of the selected drive.  `intrq`: it asks for an interrupt, whether or not NIEN lets it.
    """

    regs = Regs
    FAULTS = FAULTS

    def __init__(self, drives: Mapping[int, AtaDrive], timing: Timing | None = None) -> None:
        self.timing = timing or Timing()
        self.epoch = 0
        self.commands = Commands(self)
        super().__init__(drives)

    def reset(self) -> None:
        """Power on, long ago."""
        super().reset()
        self.status, self.error = _READY, 0x01
        self.intrq = self.gone = False
        self._srst_since_ns = 0

    def unplugged(self) -> None:
        """Pulled out: it does nothing any more."""
        self.gone = True
        self.epoch += 1
        self.commands.forget()
        self.irq.lower()

    def later(self, delay_ns: int, call: Callable[..., object], *arguments: Any) -> None:
        """Do something in *delay_ns*, unless there is a reset before."""
        def fire(epoch: int) -> None:
            if epoch == self.epoch:
                call(*arguments)
        self.clock.after_ns(delay_ns, fire, self.epoch)

    def strikes(self, fault: str) -> dict[str, Any] | None:
        """The parameters when *fault* strikes now, else None."""
        return self.faults.hit(fault) if self.faults.armed else None

    # -- the bus ---------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        """See `HwModel.read`; all ones once it is gone."""
        if self.gone or (self.faults.armed and self._vanishes()):
            return (1 << 8 * size) - 1
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """See `HwModel.write`; lost once it is gone."""
        if not self.gone and not (self.faults.armed and self._vanishes()):
            super().write(offset, size, value)

    def _vanishes(self) -> bool:
        if self.strikes("adapter-gone") is not None:
            self.unplugged()
        return self.gone

    # -- the command block -----------------------------------------------------------------------------------

    def r_ERROR(self) -> int:
        """Of the command that ended."""
        return self.error

    def r_ALTSTATUS(self) -> int:
        """Zero where there is no drive."""
        return self.status if self.drive is not None else 0

    def r_STATUS(self) -> int:
        """The interrupt is served."""
        self.intrq = False
        self.drive_line()
        return self.r_ALTSTATUS()

    def w_COMMAND(self, value: Reg8) -> None:
        """Hand the taskfile to the selected drive; nobody takes it where there is none."""
        if self.drive is None:
            return
        if self.status & (BSY | DRQ):
            raise HardwareFault(f"COMMAND <- {int(value):#04x} while STATUS is {self.status:#04x}: wait until BSY and"
                                " DRQ are clear")
        low = [self.pairs[name][0] for name in PAIRS]
        high = [self.pairs[name][1] for name in PAIRS]
        self.intrq = False
        self.drive_line()
        self.commands.take(self.drive, Taskfile._make([int(value), *low, self.device, *high]))

    def r_DATA(self) -> int:
        """The next word of a block."""
        return self.commands.read_word()

    def w_DATA(self, value: Reg16) -> None:
        """The next word of a block."""
        self.commands.write_word(int(value))

    # -- control ---------------------------------------------------------------------------------------------

    def w_CONTROL(self, value: Control) -> None:
        """SRST begins and ends a reset, NIEN holds the line down, HOB chooses a byte."""
        before, self.control = self.control, value
        if value.SRST and not before.SRST:
            self.epoch += 1
            self.commands.forget()
            self.status, self.intrq = BSY, False
            self._srst_since_ns = self.clock.now_ns
        elif before.SRST and not value.SRST:
            self._srst_ends()
        self.drive_line()

    def _srst_ends(self) -> None:
        held_ns = self.clock.now_ns - self._srst_since_ns
        if held_ns < self.timing.srst_ns:
            raise HardwareFault(f"CONTROL: SRST was set for {held_ns} ns; the drives want {self.timing.srst_ns}")
        if self.strikes("reset-hangs") is not None:
            return
        struck = self.strikes("reset-slow")
        took_ns = max((drive.timing.reset_ns for drive in self.drives.values()), default=0)
        if struck is not None:
            took_ns = struck.get("ns", self.timing.reset_slow_ns)
        self.later(took_ns, self._reset_done)

    def _reset_done(self) -> None:
        self.status, self.device = _READY, 0
        for unit, drive in sorted(self.drives.items()):
            result = drive.reset()
            if not unit:
                self.status, self.error = result.status, result.error
                self.show(result.taskfile)

    def interrupt(self) -> None:
        """The drive asks for one."""
        self.intrq = True
        self.drive_line()

    def drive_line(self) -> None:
        """The line is up while INTRQ is and NIEN lets it; its rise is remembered in BM_STATUS."""
        up = self.intrq and not self.control.NIEN and not self.gone
        if up and not self.irq.level:
            self.values["BM_STATUS"] |= BmStatus.INTR.mask
        self.irq.set(up)

    # -- the bus master --------------------------------------------------------------------------------------

    def w_BM_COMMAND(self, value: BmCommand) -> None:
        """START from 0 to 1 begins, 0 stops it at once."""
        was = BmCommand(self.values["BM_COMMAND"]).START
        self.store("BM_COMMAND", int(value))
        if value.START and not was:
            self.values["BM_STATUS"] |= BmStatus.ACTIVE.mask
            self.commands.run_dma()
        elif not value.START:
            self.values["BM_STATUS"] &= ~BmStatus.ACTIVE.mask
            self.commands.stop_dma()

    def w_PRD_TABLE(self, value: Reg32) -> None:
        """Where the table is."""
        if int(value) & 3:
            raise HardwareFault(f"PRD_TABLE <- {int(value):#x}: it must be a multiple of 4")
        self.values["PRD_TABLE"] = int(value)


def build(_machine: Machine, targets: Mapping[tuple[int, int], AtaDrive]) -> SimPciFunction:
    """One interface with *targets*, keyed by (channel, unit), ready for a PCI slot."""
    model = {{cookiecutter.__Name}}Model({unit: drive for (channel, unit), drive in targets.items() if not channel})
    return SimPciFunction(model, vendor=CHIP.vendor, device=CHIP.device, bars={0: BarSpec("io", Regs.size)},
                          class_code=0x010180)


def hardware_models() -> tuple[HardwareModelInfo, ...]:
    """Every chip of this plugin as ddsdk's registry wants it."""
    return (HardwareModelInfo(driver="{{cookiecutter.name}}", chip=CHIP, build=build, documents=("README.md: data sheet",)),)
