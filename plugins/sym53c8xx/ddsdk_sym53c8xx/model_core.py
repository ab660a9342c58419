"""The chip: its window, its interrupt causes, its clock.

The other registers are in model_handlers.py, SCRIPTS in model_scripts.py, the bus in model_bus.py.

Stricter than silicon: while SCRIPTS run only ISTAT and the mailboxes may be touched from outside (the manuals say so;
silicon answers something), SIST0, SIST1 and DSTAT are read 12 clocks apart or by one access, SFBR is not written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ddsdk.bus import PCI_COMMAND_MEMORY
from ddsdk.errors import HardwareFault, RegisterAccessFault
from ddsdk.sim.model import HwModel
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget

from .model_bus import Bus
from .model_chips import LSI53C895A, ChipProfile, Timing
from .model_faults import FAULTS
from .model_scripts import ScriptsProcessor
from .regs import Dcntl, Dstat, Istat0, Istat1, Sist0, Sist1

_DFE: Final = Dstat.DFE.mask
#: SIST1 in the upper byte.  Causes that stop SCRIPTS only where they are enabled; masked they do not even set SIP.
NON_FATAL: Final = Sist0.of(CMP=1, SEL=1, RSL=1) | Sist1.of(GEN=1, HTH=1) << 8
#: What may be touched while SCRIPTS run.
_FREE: Final = frozenset(range(0x14, 0x18))
#: Where an access begins that reads SIST0, SIST1 or DSTAT: alone, or with what lies before it.
_STATUS: Final = frozenset((0x08, 0x0C, 0x40, 0x42, 0x43))
_PCI_STATUS_MASTER_ABORT: Final = 0x2000
_CON, _INTF, _SIP, _DIP = Istat0.CON.mask, Istat0.INTF.mask, Istat0.SIP.mask, Istat0.DIP.mask


class ScriptsRam:
    """On-chip RAM: bytes, from outside and by SCRIPTS."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.bytes = bytearray(size)

    def read(self, offset: int, size: int) -> int:
        """See `bus.Window.read`."""
        return int.from_bytes(self.bytes[offset:offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """See `bus.Window.write`."""
        self.bytes[offset:offset + size] = value.to_bytes(size, "little")


class SymChip(HwModel):
    """One chip with *targets*, keyed by (bus, id), on its bus.  Subclasses name the register block.

    `sist` is SIST0 and SIST1, `dstat` DSTAT without DFE; what comes while a cause is pending waits behind.  `epoch`
    counts resets: what was scheduled before one does not happen.
    """

    FAULTS = FAULTS
    function: SimPciFunction | None = None

    def __init__(self, targets: Mapping[tuple[int, int], ScsiTarget], profile: ChipProfile = LSI53C895A,
                 timing: Timing | None = None) -> None:
        self.profile = profile
        self.timing = timing or Timing()
        self.epoch = 0
        self.gone = False
        self._line = False
        self._status_access = 0                 # counts accesses to SIST0, SIST1, DSTAT
        self._status_last = 0
        self._status_ns = -1 << 60
        self.scripts = ScriptsProcessor(self)
        self.scsi = Bus(self, {number: target for (bus, number), target in targets.items() if bus == 0})
        self.ram = ScriptsRam(0x2000)
        super().__init__()
        self.scripts.wire(self.values, self.scsi)
        self.windows["ram"] = self.ram

    def reset(self) -> None:
        """Power on."""
        super().reset()
        self.clear()

    def clear(self) -> None:
        """What a chip reset forgets, registers apart."""
        self.epoch += 1
        self.in_reset = False
        self.sist = self.dstat = 0
        self.sist_behind = self.dstat_behind = 0
        self.carry = False
        self.left_in_fifo = 0
        self._intf = False
        self._shown = 0                         # INTF, SIP and DIP as ISTAT0 shows them

    def unplugged(self) -> None:
        """Pulled out: nothing moves any more."""
        self.gone = True
        self.halt()

    def halt(self) -> None:
        """The chip does nothing any more, nor do the targets behind it."""
        self.epoch += 1
        self.scripts.stop()
        self.scsi.silence()

    def later(self, delay_ns: int, call: Callable[..., object], *arguments: Any) -> None:
        """Do something in *delay_ns*, unless the chip is reset before."""
        clock = self.clock
        clock.at_ns(clock.now_ns + delay_ns, self._fire, self.epoch, call, arguments)

    def _fire(self, epoch: int, call: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        if epoch == self.epoch:
            call(*arguments)

    def strikes(self, fault: str) -> dict[str, Any] | None:
        """The parameters when *fault* strikes now, else None."""
        return self.faults.hit(fault) if self.faults.armed else None

    # -- the PCI side ----------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        """See `HwModel.read`; the file repeats in a larger window.  All ones when the chip is gone."""
        if self.gone or (self.faults.armed and self._vanishes()):
            return (1 << 8 * size) - 1
        offset &= 0xFF
        if offset in _FREE:                     # what polls read
            return self.r_ISTAT0() if offset == 0x14 and size == 1 and not self.trace.on else super().read(offset, size)
        if self.scripts.moved is not None:
            self.scripts.settle()
        if offset in _STATUS:
            self._status_access += 1
        if self.scripts.running or self.in_reset:
            self._refuse("read", offset, size)
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """See `HwModel.write`; lost when the chip is gone."""
        if self.gone or (self.faults.armed and self._vanishes()):
            return
        offset &= 0xFF
        if offset not in _FREE and (self.scripts.running or self.in_reset):
            self._refuse("write", offset, size)
        if self.scripts.moved is not None:
            self.scripts.settle()
        super().write(offset, size, value)

    def _vanishes(self) -> bool:
        if self.faults.hit("all-ones") is not None:
            self.vanish()
        return self.gone

    def scripts_access(self) -> None:
        """SCRIPTS are about to read or write a register."""
        self._status_access += 1

    def ram_base(self) -> int:
        """Bus address of the on-chip RAM; 0 when there is none, or it does not decode."""
        function = self.function
        if function is None or not function.decodes & PCI_COMMAND_MEMORY:
            return 0
        number = next((n for n, spec in function.bar_specs.items() if spec.window == "ram"), None)
        bar = None if number is None else function.bars[number]
        return 0 if bar is None else bar.bus_addr

    def bus_fault(self) -> None:
        """A master abort."""
        self.config.report(_PCI_STATUS_MASTER_ABORT)
        self.raise_dma(Dstat.BF.mask)

    def vanish(self) -> None:
        """From now on nobody answers; who does not answer does not pull the line either."""
        self.gone = True
        self.halt()
        self._line = False
        self.irq.set(False)

    def _refuse(self, verb: str, offset: int, size: int) -> None:
        why = "ISTAT0.SRST is set" if self.in_reset else "SCRIPTS run"
        raise RegisterAccessFault(f"{type(self).__name__}: {size}-byte {verb} at {offset:#x} while {why}; only ISTAT"
                                  " may be accessed then: stop SCRIPTS first (ISTAT0.ABRT, a reset, an interrupt)")

    # -- causes ----------------------------------------------------------------------------------------------

    @property
    def enabled(self) -> int:
        """SIEN0 and SIEN1, as `sist`."""
        return self.values["SIEN0"] | self.values["SIEN1"] << 8

    @property
    def sip(self) -> bool:
        """ISTAT0.SIP: a masked cause that is not fatal does not show."""
        return bool(self.sist & (~NON_FATAL | self.enabled))

    def raise_scsi(self, sist0: int = 0, sist1: int = 0) -> None:
        """A cause for SIST; SCRIPTS stop if it is fatal or enabled."""
        cause = sist0 | sist1 << 8
        values = self.values
        if not cause & ~NON_FATAL and not (
                cause | self.sist) & (~NON_FATAL | values["SIEN0"] | values["SIEN1"] << 8) and not self.dstat:
            self.sist |= cause                  # masked: it does not even show
            return
        if self.sip or self.dstat:
            self.sist_behind |= cause
        else:
            self.sist |= cause
        if cause & (~NON_FATAL | self.enabled):
            self.scripts.stop()
            self.drive_line()

    def raise_dma(self, cause: int) -> None:
        """A cause for DSTAT, which stops SCRIPTS."""
        if self.sip or self.dstat:
            self.dstat_behind |= cause
        else:
            self.dstat |= cause
        self.scripts.stop()
        self.drive_line()

    def r_ISTAT0(self) -> int:
        """What a poll looks at."""
        value = self.values["ISTAT0"] | self._shown
        return value | _CON if self.scsi.connected is not None else value

    def intfly(self) -> None:
        """The INTFLY instruction."""
        if self.strikes("intfly-lost") is None:
            self._intf = True
            self.drive_line()

    def _next_causes(self) -> None:
        if not self.sip and not self.dstat:
            self.sist, self.sist_behind = self.sist | self.sist_behind, 0
            self.dstat, self.dstat_behind = self.dstat_behind, 0

    def drive_line(self) -> None:
        """Masking a cause that has raised the pin does not lower it; reading the cause does, or DCNTL.IRQD."""
        self._shown = ((_INTF if self._intf else 0) | (_DIP if self.dstat else 0)
                       | (_SIP if self.sist and self.sip else 0))
        pending = bool(self._shown)
        cause = self._intf or bool(self.dstat & self.values["DIEN"]) or bool(self.sist & self.enabled)
        level = (cause and not self._pin_off()) or (pending and self._line)
        if self.values["DCNTL"] & Dcntl.IRQD.mask or self.gone:
            level = False
        if level is self._line:
            return
        if self.faults.armed and self.strikes("irq-lost" if level else "irq-stuck") is not None:
            return
        self._line = level
        self.irq.set(level)

    def _pin_off(self) -> bool:
        return bool(self.values.get("ISTAT1", 0) & Istat1.SIRQD.mask)

    def _status_read(self) -> None:
        """SIST0, SIST1 and DSTAT: in one access, or 12 clocks apart."""
        now_ns = self.clock.now_ns
        if self._status_last != self._status_access and now_ns < self._status_ns + self.timing.status_gap_ns:
            raise HardwareFault(f"{type(self).__name__}: SIST0, SIST1 and DSTAT read within {now_ns - self._status_ns}"
                                " ns of each other; wait 12 clocks, or what comes in between is lost")
        self._status_last, self._status_ns = self._status_access, now_ns

    def r_SIST0(self) -> int:
        """Causes of the SCSI side; gone once read."""
        self._status_read()
        value = self.sist & 0xFF
        self.sist &= 0xFF00
        self._after_read()
        return value

    def r_SIST1(self) -> int:
        """The other half."""
        self._status_read()
        value = self.sist >> 8
        self.sist &= 0xFF
        self._after_read()
        return value

    def r_DSTAT(self) -> int:
        """Causes of the DMA side; gone once read.  DFE: the FIFO is empty."""
        self._status_read()
        value, self.dstat = self.dstat, 0
        self._after_read()
        return value | (0 if self.left_in_fifo else _DFE)

    def _after_read(self) -> None:
        self._next_causes()
        self.drive_line()

    def chip_reset(self) -> None:
        """ISTAT0.SRST: all registers, SCRIPTS, the chip's hold on the bus.  Targets do not notice."""
        if self.scripts.running and self.strikes("reset-while-running") is not None:
            self.vanish()
            return
        self.scripts.stop()
        self.scripts.settle()
        self.scsi.chip_lets_go()
        for placed in self.regs.registers:
            self.values[placed.name] = int(placed.reset)
        self.clear()
        self.in_reset = True
        self._line = False
        self.irq.set(False)
