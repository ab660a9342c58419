"""Interrupt lines: level triggered, shared, delivered in normal mode only.

A line says which CPUs *may* be interrupted; when and where a handler runs is the scheduler's business.
"""

from __future__ import annotations

from collections.abc import Callable

from ddsdk.errors import InterruptFault, SimulationStuckError

from .trace import Trace

#: A handler returns true when the interrupt was its device's (IRQ_HANDLED).
Handler = Callable[[], object]

#: 2.6.9 kernel/irq: a line that stays up through 100,000 interrupts is nobody's.
STORM_LIMIT = 100_000


class IrqPin:
    """One device's connection to a line: the device drives the pin, the line is up while any pin is."""

    __slots__ = ("_asserted", "_enabled", "line", "name")

    def __init__(self, line: IrqLine, name: str) -> None:
        self.line = line
        self.name = name
        self._asserted = False
        self._enabled = True

    @property
    def level(self) -> bool:
        """What the device drives, whether or not the pin is connected."""
        return self._asserted

    def raise_(self) -> None:
        """Assert the pin (idempotent)."""
        if not self._asserted:
            self._asserted = True
            if self._enabled:
                self.line._change(1, self.name)

    def lower(self) -> None:
        """Deassert the pin (idempotent)."""
        if self._asserted:
            self._asserted = False
            if self._enabled:
                self.line._change(-1, self.name)

    def set(self, level: bool) -> None:
        """Drive the pin to *level*."""
        if level:
            self.raise_()
        else:
            self.lower()

    def connect(self, enabled: bool) -> None:
        """PCI COMMAND bit 10 (interrupt disable) cuts the pin off the line; the device does not notice."""
        if enabled != self._enabled:
            self._enabled = enabled
            if self._asserted:
                self.line._change(1 if enabled else -1, self.name)


class IrqLine:
    """A line of the interrupt controller: level, mask depth, handlers."""

    __slots__ = ("_asserted", "_controller", "_own", "_storm", "disable_depth", "handlers", "in_progress",
                 "name", "number")

    def __init__(self, controller: IrqController, number: int, name: str) -> None:
        self._controller = controller
        self.number = number
        self.name = name
        self.handlers: list[Handler] = []
        self.disable_depth = 0
        self.in_progress = False
        self._asserted = 0          # pins that assert it
        self._storm = 0             # deliveries since it was last low
        self._own = IrqPin(self, name)

    @property
    def level(self) -> bool:
        """True while some pin asserts the line, masked or not."""
        return self._asserted > 0

    @property
    def masked(self) -> bool:
        """True while the controller holds it back (disable_irq)."""
        return self.disable_depth > 0

    def pin(self, name: str) -> IrqPin:
        """Another device's pin on this line."""
        return IrqPin(self, name)

    def raise_(self) -> None:
        """Assert the line by its own pin (tests, on-board devices)."""
        self._own.raise_()

    def lower(self) -> None:
        """Release the line's own pin."""
        self._own.lower()

    def mask(self) -> None:
        """disable_irq(): nests."""
        self.disable_depth += 1
        self._controller._note(self)

    def unmask(self) -> None:
        """enable_irq(): undoes one mask().  InterruptFault when it was not masked."""
        if not self.disable_depth:
            raise InterruptFault(f"irq {self.number} ({self.name}): enable_irq() without disable_irq(); they "
                                 "must pair")
        self.disable_depth -= 1
        self._controller._note(self)

    def add_handler(self, handler: Handler) -> None:
        """request_irq(): handlers of a shared line are called in this order."""
        self.handlers.append(handler)
        self._controller._note(self)

    def remove_handler(self, handler: Handler) -> None:
        """free_irq(): ValueError when it is not there."""
        self.handlers.remove(handler)
        self._controller._note(self)

    def run_handlers(self) -> bool:
        """Call every handler once; true when one claimed the interrupt.

        SimulationStuckError when the line stays up however often its handlers run.
        """
        self._storm += 1
        if self._storm > STORM_LIMIT:
            raise SimulationStuckError(
                f"irq {self.number} ({self.name}): nobody cared: still up after {STORM_LIMIT} interrupts; "
                "the handler must make the device lower its line")
        self.in_progress = True
        try:
            claimed = False
            for handler in tuple(self.handlers):
                if handler():
                    claimed = True
            return claimed
        finally:
            self.in_progress = False

    def _change(self, by: int, source: str) -> None:
        before = self._asserted
        self._asserted = now = before + by
        if (before == 0) == (now == 0):
            return
        if now == 0:
            self._storm = 0
        controller = self._controller
        if controller.trace.on:
            controller.trace.add("irq", self.number, "up" if now else "down", source)
        if controller.live:
            controller._note(self)


class IrqController:
    """The lines, and which of them want a CPU.  `live` goes false at the crash and stays so."""

    __slots__ = ("_lines", "live", "ready", "trace")

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.live = True
        self._lines: dict[int, IrqLine] = {}
        #: Lines that are up, unmasked and handled by somebody.
        self.ready: list[IrqLine] = []

    def line(self, number: int, name: str = "") -> IrqLine:
        """The line *number*; made when it is first asked for."""
        line = self._lines.get(number)
        if line is None:
            line = self._lines[number] = IrqLine(self, number, name or f"irq{number}")
        return line

    @property
    def lines(self) -> tuple[IrqLine, ...]:
        """All lines by number."""
        return tuple(self._lines[n] for n in sorted(self._lines))

    def next_deliverable(self) -> IrqLine | None:
        """The lowest-numbered line that wants a CPU and whose handler is not already running."""
        best: IrqLine | None = None
        for line in self.ready:
            if not line.in_progress and (best is None or line.number < best.number):
                best = line
        return best

    def stop(self) -> None:
        """The crash: from now on lines rise and stay risen, and no handler runs."""
        self.live = False
        self.ready.clear()

    def _note(self, line: IrqLine) -> None:
        wanted = self.live and line._asserted > 0 and not line.disable_depth and bool(line.handlers)
        if wanted != (line in self.ready):
            if wanted:
                self.ready.append(line)
            else:
                self.ready.remove(line)
