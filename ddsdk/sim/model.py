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
from ddsdk.errors import RegisterAccessFault
from ddsdk.regs import Access, Placed, RegBlock, RegSlice

from .clock import Clock
from .dma import DmaDomain
from .faults import FaultPlan
from .irq import IrqPin
from .pci_config import ConfigSpace
from .trace import Trace

#: `HwModel.lanes` while a write carries the whole register.
ALL_LANES = -1

_Reader = Callable[[], int]
_Writer = Callable[[int], object]


class HwModel:
    """A device behind the PCI bus: a register block, and whatever state its spec says it has.

    * `r_NAME(self) -> int` gives the value of a read; `w_NAME(self, value)` takes a write, as the register's
      type.  For a register array they take the index first.  Without them `values[name]` is read and written
      by the access kinds of the register's fields.
    * A write that reaches only some bytes of a register (`byte_access` blocks) arrives as the whole value it
      makes; `lanes` then masks the bits the access really carried.
    * `store(name, value)` inside a `w_NAME` does what would have happened without it.
    * `windows[name]` holds further windows; "regs" is the register block itself.
    * `clock`, `dma`, `irq`, `trace`, `config` (what configuration space holds) are there once the function is plugged
      in; `plugged()` is called then.

    `__init__` ends with `reset()`: a subclass sets what its own `reset` needs before `super().__init__()`.
    """

    regs: ClassVar[type[RegBlock]]
    FAULTS: ClassVar[Mapping[str, str]] = {}

    clock: Clock
    dma: DmaDomain
    irq: IrqPin
    trace: Trace
    config: ConfigSpace

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if hasattr(cls, "regs"):
            _check_names(cls)

    def __init__(self) -> None:
        self.size = self.regs.size
        self.values: dict[str, int] = {}
        self.lanes = ALL_LANES
        self.faults = FaultPlan(type(self).__name__, self.FAULTS)
        self.windows: dict[str, Window] = {"regs": self}
        self.trace = Trace(enabled=False)
        self._stores: dict[str, _Writer] = {}
        self._readers: dict[int, tuple[_Reader, str]] = {}      # offset << 4 | size -> what to do, name
        self._writers: dict[int, tuple[_Writer, str]] = {}
        self.reset()

    # -- for models ------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Power on: registers take their reset values.  Override, and call this first."""
        self.values.update(self.regs.resets)

    def plugged(self) -> None:
        """The function is on its bus: clock, dma, irq and trace can be used from here on."""

    def config_written(self, offset: int, size: int) -> None:
        """Configuration space was written: `config` has what came of it.  For registers of the device's own."""

    def unplugged(self) -> None:
        """Surprise removal: stop.  What the clock still holds may fire; DMA raises DmaFault from here on."""

    def bist_started(self, over: Callable[[int], None]) -> bool:
        """Configuration space was told to start the built-in self test: PCI 3.0, 6.2.4.

        False: nothing comes of it.  True: it runs, and the model calls *over* with the completion code, 0 passed.
        """
        return False

    def store(self, name: str, value: int) -> None:
        """Write `values[name]` by the access kinds of its fields.  RegisterAccessFault for set mbz bits."""
        (self._stores.get(name) or self._store_of(self.regs.named[name]))(value)

    # -- the bus side ----------------------------------------------------------------------------------

    def connect(self, clock: Clock, dma: DmaDomain, irq: IrqPin, trace: Trace) -> None:
        """The function this model is in was plugged in."""
        self.clock, self.dma, self.irq, self.trace = clock, dma, irq, trace
        self.plugged()

    def read(self, offset: int, size: int) -> int:
        """A CPU read of the register file.  RegisterAccessFault where the data sheet has nothing to read."""
        entry = self._readers.get(offset << 4 | size)
        if entry is None:
            entry = self._reader_of(offset, size)
        value = entry[0]()
        if self.trace.on:
            self.trace.add("read", entry[1], int(value))
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        """A CPU write of the register file.  RegisterAccessFault where the data sheet lets nobody write."""
        entry = self._writers.get(offset << 4 | size)
        if entry is None:
            entry = self._writer_of(offset, size)
        if self.trace.on:
            self.trace.add("write", entry[1], int(value))
        entry[0](value)

    # -- dispatch: what an access does is worked out when it is first made ------------------------------

    def _store_of(self, placed: Placed[Any]) -> _Writer:
        store = self._stores[placed.name] = _default_write(self.values, placed)
        return store

    def _reader_of(self, offset: int, size: int) -> tuple[_Reader, str]:
        placed = self.regs.at_offset(offset, size, False)
        if placed is None:
            return self._sliced_reader(offset, size)
        read = self._behaviour("r_", placed) or _default_read(self.values, placed)
        entry = self._readers[offset << 4 | size] = (read, placed.name)
        return entry

    def _writer_of(self, offset: int, size: int) -> tuple[_Writer, str]:
        placed = self.regs.at_offset(offset, size, True)
        if placed is None:
            return self._sliced_writer(offset, size)
        behaviour = self._behaviour("w_", placed)
        write = _typed(behaviour, placed) if behaviour else _default_write(self.values, placed)
        entry = self._writers[offset << 4 | size] = (write, placed.name)
        return entry

    def _behaviour(self, prefix: str, placed: Placed[Any]) -> Callable[..., Any] | None:
        method = getattr(self, prefix + placed.attr, None)
        return method if method is None or placed.index is None else partial(method, placed.index)

    def _sliced_reader(self, offset: int, size: int) -> tuple[_Reader, str]:
        """An access that reaches part of a register, or several."""
        slices = self.regs.slices(offset, size, False)
        if not slices:
            raise self._refusal("read", offset, size, True, "written")
        parts = [(self._slice_read(part), part) for part in slices]

        def read() -> int:
            value = 0
            for part_read, part in parts:
                value |= part.to_bus(part_read())
            return value

        entry = self._readers[offset << 4 | size] = (read, _slice_name(slices))
        return entry

    def _sliced_writer(self, offset: int, size: int) -> tuple[_Writer, str]:
        slices = self.regs.slices(offset, size, True)
        if not slices:
            raise self._refusal("write", offset, size, False, "read")
        parts = [(self._slice_write(part), part) for part in slices]

        def write(value: int) -> None:
            for part_write, part in parts:
                part_write(part.to_register(value))

        entry = self._writers[offset << 4 | size] = (write, _slice_name(slices))
        return entry

    def _slice_read(self, part: RegSlice) -> _Reader:
        behaviour = self._behaviour("r_", part.register)
        return behaviour or _default_read(self.values, part.register, part.lanes)

    def _slice_write(self, part: RegSlice) -> _Writer:
        placed, lanes, values = part.register, part.lanes, self.values
        behaviour = self._behaviour("w_", placed)
        if behaviour is None:
            return _default_write(values, placed, lanes)
        typed = _typed(behaviour, placed)
        kept = ~lanes & (placed.masks.get(Access.RW, 0) | placed.masks.get(Access.WO, 0))

        def write(value: int) -> None:
            self.lanes = lanes
            typed(values[placed.name] & kept | value)
            self.lanes = ALL_LANES

        return write if not part.whole else typed

    def _refusal(self, verb: str, offset: int, size: int, other_way: bool, only: str) -> RegisterAccessFault:
        where = f"{type(self).__name__}: {size}-byte {verb} at {offset:#x}"
        other = self.regs.at_offset(offset, size, other_way)
        if other is not None:
            return RegisterAccessFault(f"{where}: {other.name} can only be {only}")
        for placed in self.regs.registers:
            if placed.offset < offset + size and offset < placed.offset + placed.size:
                return RegisterAccessFault(f"{where} hits {placed.name}, {placed.size} bytes at "
                                           f"{placed.offset:#x}; access a register whole, at its own offset")
        near = min(self.regs.registers, key=lambda p: abs(p.offset - offset))
        return RegisterAccessFault(f"{where}: no register there; the nearest is {near.name} at "
                                   f"{near.offset:#x}")


def _check_names(cls: type[HwModel]) -> None:
    """TypeError for behaviour of a register there is not, or that no access can reach."""
    readable = {placed.attr for placed in cls.regs.registers if placed.access.readable}
    writable = {placed.attr for placed in cls.regs.registers if placed.access.writable}
    for attribute in dir(cls):
        prefix, name = attribute[:2], attribute[2:]
        if prefix not in ("r_", "w_"):
            continue
        if name not in readable | writable:
            raise TypeError(f"{cls.__name__}.{attribute}: {cls.regs.__name__} has no register {name!r}; it "
                            f"has {', '.join(sorted(readable | writable))}")
        if name not in (readable if prefix == "r_" else writable):
            raise TypeError(f"{cls.__name__}.{attribute}: {cls.regs.__name__}.{name} can only be "
                            f"{'written' if prefix == 'r_' else 'read'}; no access would ever get here")


def _typed(behaviour: Callable[[Any], object], placed: Placed[Any]) -> _Writer:
    from_bus = placed.from_bus

    def write(value: int) -> None:
        behaviour(from_bus(value))
    return write


def _default_read(values: dict[str, int], placed: Placed[Any], lanes: int | None = None) -> _Reader:
    name = placed.name
    if placed.plain:
        return partial(values.__getitem__, name)

    def read() -> int:
        stored = values[name]
        values[name] = placed.after_read(stored, lanes)
        return placed.visible(stored)
    return read


def _default_write(values: dict[str, int], placed: Placed[Any], lanes: int | None = None) -> _Writer:
    name = placed.name
    if placed.plain and lanes is None:
        return partial(values.__setitem__, name)

    def write(value: int) -> None:
        wrong = placed.must_be_zero(value)
        if wrong:
            raise RegisterAccessFault(f"{name}: the write of {value:#x} sets bits {wrong:#x}, which must be "
                                      f"written as zero")
        values[name] = placed.after_write(values[name], value, lanes)
    return write


def _slice_name(slices: tuple[RegSlice, ...]) -> str:
    return "+".join(part.register.name for part in slices)
