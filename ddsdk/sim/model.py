"""The base of hardware models: registers from a table, behaviour attached by name, faults by id.

    class MptIoc(HwModel):
        regs = MptRegs
        FAULTS = {"reply-lost": "a reply descriptor never arrives"}

        def r_REPLY_FIFO(self) -> int: ...
        def w_REQUEST_FIFO(self, frame: Reg32) -> None: ...

A model sees registers, its DMA domain, the clock, its interrupt pin, its disks - never Python callers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from ddsdk.bus import Window
from ddsdk.errors import RegisterAccessFault, UsageError
from ddsdk.regs import Access, Field, Placed, RegBlock

from .clock import Clock
from .dma import DmaDomain
from .irq import IrqPin
from .trace import Trace
from .watchdog import StallDetector

_Reader = Callable[[], int]
_Writer = Callable[[int], object]


class FaultPlan:
    """Faults waiting to strike at a model's decision points.  Ids and meanings are the model's `FAULTS`."""

    __slots__ = ("_armed", "_owner", "known", "struck")

    def __init__(self, owner: str, known: Mapping[str, str]) -> None:
        self._owner = owner
        self.known = known
        self._armed: dict[str, list[_Armed]] = {}
        #: How often each fault has struck.
        self.struck: dict[str, int] = {}

    def inject(self, fault: str, after: int = 0, times: int = 1, **params: Any) -> None:
        """Arm *fault*: let *after* opportunities pass, then strike *times* times (0: for ever) with *params*.

        UsageError for an id the model does not declare.
        """
        if fault not in self.known:
            raise UsageError(f"{self._owner} has no fault {fault!r}; it has: "
                             f"{', '.join(sorted(self.known)) or 'none'}")
        self._armed.setdefault(fault, []).append(_Armed(after, times, params))

    def hit(self, fault: str) -> dict[str, Any] | None:
        """Asked at a decision point: the parameters when *fault* strikes now, else None."""
        if not self._armed:
            return None
        for armed in self._armed.get(fault, ()):
            if armed.strikes():
                self.struck[fault] = self.struck.get(fault, 0) + 1
                if armed.spent:
                    self._disarm(fault, armed)
                return armed.params
        return None

    def clear(self) -> None:
        """Disarm everything."""
        self._armed.clear()

    @property
    def armed(self) -> tuple[str, ...]:
        """Ids of faults that may still strike."""
        return tuple(self._armed)

    def _disarm(self, fault: str, armed: _Armed) -> None:
        self._armed[fault].remove(armed)
        if not self._armed[fault]:
            del self._armed[fault]


class _Armed:
    __slots__ = ("_left", "_wait", "params", "spent")

    def __init__(self, after: int, times: int, params: dict[str, Any]) -> None:
        self._wait = after
        self._left = times
        self.params = params
        self.spent = False

    def strikes(self) -> bool:
        if self._wait:
            self._wait -= 1
            return False
        if self._left:
            self._left -= 1
            self.spent = self._left == 0
        return True


class HwModel:
    """A device behind the PCI bus: a register block, and whatever state its spec says it has.

    * `r_NAME(self) -> int` gives the value of a read, `w_NAME(self, value)` takes a write (as the register's
      type); without them `values[NAME]` is read and written by the access kinds of the register's fields.
    * `store(NAME, value)` inside a `w_NAME` does what the default would have done.
    * `self.windows[name]` holds further windows; "regs" is the register block itself.
    * `clock`, `dma`, `irq`, `trace` are there once the function is plugged in; `plugged()` and `reset()` are
      called then.
    """

    regs: ClassVar[type[RegBlock]]
    FAULTS: ClassVar[Mapping[str, str]] = {}

    clock: Clock
    dma: DmaDomain
    irq: IrqPin
    trace: Trace

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not hasattr(cls, "regs"):
            return
        names = {placed.name for placed in cls.regs.registers}
        for attribute in dir(cls):
            if attribute[:2] in ("r_", "w_") and attribute[2:] not in names:
                raise TypeError(f"{cls.__name__}.{attribute}: {cls.regs.__name__} has no register "
                                f"{attribute[2:]!r}; it has {', '.join(sorted(names))}")

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.faults = FaultPlan(type(self).__name__, self.FAULTS)
        self.windows: dict[str, Window] = {"regs": self}
        self.size = self.regs.size
        self.stall: StallDetector | None = None
        self._stores: dict[str, _Writer] = {}
        self._readers: dict[int, tuple[_Reader, str]] = {}
        self._writers: dict[int, tuple[_Writer, str]] = {}
        self._placed = {placed.name: placed for placed in self.regs.registers}
        for placed in self.regs.registers:
            self._attach(placed)
        self.reset()

    # -- for models ------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Power-on: registers take their reset values.  Override, and call this first."""
        for placed in self.regs.registers:
            self.values[placed.name] = int(placed.reset)

    def plugged(self) -> None:
        """The function is on its bus: clock, dma, irq and trace can be used from here on."""

    def store(self, name: str, value: int) -> None:
        """Write `values[name]` by the access kinds of its fields.  RegisterAccessFault for set mbz bits."""
        self._stores[name](value)

    # -- the bus side ----------------------------------------------------------------------------------

    def connect(self, clock: Clock, dma: DmaDomain, irq: IrqPin, trace: Trace, stall: StallDetector) -> None:
        """The function this model is in was plugged in."""
        self.clock, self.dma, self.irq, self.trace, self.stall = clock, dma, irq, trace, stall
        self.plugged()

    def read(self, offset: int, size: int) -> int:
        """A CPU read of the register file.  RegisterAccessFault where the data sheet has nothing to read."""
        entry = self._readers.get(offset << 4 | size)
        if entry is None:
            entry = self._odd_reader(offset, size)
        if self.stall is not None:
            self.stall.tick(entry[1])
        value = entry[0]()
        if self.trace.on:
            self.trace.add("read", entry[1], value)
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        """A CPU write of the register file.  RegisterAccessFault where the data sheet lets nobody write."""
        entry = self._writers.get(offset << 4 | size)
        if entry is None:
            entry = self._odd_writer(offset, size)
        if self.stall is not None:
            self.stall.tick(entry[1])
        if self.trace.on:
            self.trace.add("write", entry[1], value)
        entry[0](value)

    # -- dispatch --------------------------------------------------------------------------------------

    def _attach(self, placed: Placed[Any]) -> None:
        """Work out, once, what a read and a write of this register do."""
        name, key = placed.name, placed.offset << 4 | placed.size
        default_read, default_write = default_access(self.values, placed)
        self._stores[name] = default_write
        if placed.access is not Access.WO:
            self._readers[key] = (getattr(self, f"r_{name}", default_read), name)
        if placed.access is not Access.RO:
            behaviour = getattr(self, f"w_{name}", None)
            write = default_write if behaviour is None else _typed(behaviour, placed.reg)
            self._writers[key] = (write, name)

    def _odd_reader(self, offset: int, size: int) -> tuple[_Reader, str]:
        raise self._refusal("read", offset, size, self._writers, "written")

    def _odd_writer(self, offset: int, size: int) -> tuple[_Writer, str]:
        raise self._refusal("write", offset, size, self._readers, "read")

    def _refusal(self, verb: str, offset: int, size: int, others: Mapping[int, tuple[Any, str]],
                 only: str) -> RegisterAccessFault:
        where = f"{type(self).__name__}: {size}-byte {verb} at {offset:#x}"
        other = others.get(offset << 4 | size)
        if other is not None:
            return RegisterAccessFault(f"{where}: {other[1]} can only be {only}")
        for placed in self.regs.registers:
            if placed.offset <= offset < placed.offset + placed.size:
                return RegisterAccessFault(f"{where} hits {placed.name}, {placed.size} bytes at "
                                           f"{placed.offset:#x}; access a register whole, at its own offset")
        near = min(self.regs.registers, key=lambda p: abs(p.offset - offset))
        return RegisterAccessFault(f"{where}: no register there; the nearest is {near.name} at "
                                   f"{near.offset:#x}")


def _typed(behaviour: Callable[[Any], object], reg: Callable[[int], int]) -> _Writer:
    def write(value: int) -> None:
        behaviour(reg(value))
    return write


def default_access(values: dict[str, int], placed: Placed[Any]) -> tuple[_Reader, _Writer]:
    """How a register without behaviour reads and writes `values[name]`, by the access kinds of its bits."""
    name = placed.name
    masks = _masks(placed)
    hidden, cleared_by_read, must_be_zero = masks[Access.WO], masks[Access.RC], masks[Access.MBZ]
    written = masks[Access.RW] | masks[Access.WO]
    ones_clear, ones_set, any_clears = masks[Access.W1C], masks[Access.W1S], masks[Access.WAC]

    def read() -> int:
        value = values[name]
        if cleared_by_read:
            values[name] = value & ~cleared_by_read
        return value & ~hidden

    def write(value: int) -> None:
        if value & must_be_zero:
            raise RegisterAccessFault(f"{name}: write of {value:#x} sets bits {value & must_be_zero:#x}, "
                                      "which must be zero")
        old = values[name]
        kept = old & ~(written | any_clears | value & ones_clear)
        values[name] = kept | value & (written | ones_set)

    plain_read = not (hidden or cleared_by_read)
    return partial(values.__getitem__, name) if plain_read else read, write


def _masks(placed: Placed[Any]) -> dict[Access, int]:
    """Bits of each access kind.  Bits of no field are reserved: read as they are, writes ignored."""
    masks = dict.fromkeys(Access, 0)
    fields = [f for kind in placed.reg.__mro__ for f in vars(kind).values() if isinstance(f, Field)]
    for field in fields:
        masks[placed.access if field.access is Access.RW else field.access] |= field.mask
    if not fields:
        masks[placed.access] = (1 << 8 * placed.size) - 1
    return masks
