"""The SCSI bus: who has it, its lines, arbitration, selection, reselection, reset.

One chip and its targets (model_port.py).  Target ports ask for the bus when a disconnected command wants to go on; the
chip asks by SELECT.  Whoever comes first gets it, with one exception that real buses have too: a reselection that is
due while the chip arbitrates wins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.scsi_target import ScsiTarget

from .model_connection import Connection
from .model_port import Port, Reselection
from .model_steps import State
from .model_task import Task
from .regs import Phase, Scid, Scntl2, Sist0, Sist1, Ssid, Sstat0

if TYPE_CHECKING:
    from .model_core import SymChip

_STIME_UNIT_NS: Final = 125_000
_SDU, _WOA, _LOA, _RRE, _VAL = (
    Scntl2.SDU.mask, Sstat0.WOA.mask, Sstat0.LOA.mask, Scid.RRE.mask, Ssid.VAL.mask)
_CMP, _RSL = Sist0.CMP.mask, Sist0.RSL.mask


class Bus:
    """The lines, and what is under way.

    `connected`: the port that talks to the chip.  `orphan`: one whose initiator was reset; it holds the bus until RST.
    `selecting`: the id the chip arbitrates for or selects.
    """

    def __init__(self, chip: SymChip, targets: Mapping[int, ScsiTarget]) -> None:
        self.chip = chip
        self.ports = {number: Port(self, number, target) for number, target in targets.items()}
        self.connected: Port | None = None
        self.orphan: Port | None = None
        self.selecting: int | None = None
        self.waiting: deque[Reselection] = deque()
        self.ack = self.atn = False
        self.rst = False
        self._stuck = False                 # somebody else holds RST, until the next reset
        self._busy_stuck = False
        self._rst_since_ns = 0
        self._pulse = 0
        self._deaf_until_ns = 0
        self.left = False                   # somebody has disconnected, and SCRIPTS have not asked
        self._attempt = 0
        self._wanted: tuple[int, bool] | None = None

    # -- lines -----------------------------------------------------------------------------------------------

    @property
    def chip_connected(self) -> bool:
        """SCNTL1.CON."""
        return self.connected is not None

    @property
    def phase(self) -> Phase | None:
        """The phase of the REQ that is asserted now; None while the target has nothing to say."""
        port = self.connected
        return None if port is None or self.ack else port.phase

    @property
    def req(self) -> bool:
        """The line."""
        return self.phase is not None

    @property
    def lines(self) -> Phase:
        """MSG, C/D and I/O as they are driven."""
        port = self.connected or self.orphan
        return Phase.DATA_OUT if port is None or port.phase is None else port.phase

    @property
    def busy(self) -> bool:
        """BSY."""
        return self.connected is not None or self.orphan is not None or self._busy_stuck

    @property
    def free(self) -> bool:
        """Whether somebody may arbitrate."""
        return self.connected is None and self.orphan is None and not self._busy_stuck and not self.rst

    # -- selection -------------------------------------------------------------------------------------------

    def select(self, number: int, atn: bool) -> None:
        """SELECT: arbitration begins; the chip goes on and finds out later."""
        chip = self.chip
        self.selecting = number
        self._attempt += 1
        chip.values["SSTAT0"] &= ~(_WOA | _LOA)
        if chip.faults.armed:
            self._disturb()
        self._arbitrate(number, atn)

    def _arbitrate(self, number: int, atn: bool) -> None:
        """Arbitration, selection, and the first REQ if all goes well."""
        clock, timing = self.chip.clock, self.chip.timing
        clock.at_ns(clock.now_ns + timing.arbitration_ns + timing.selection_ns + timing.req_ns, self._arbitrated,
                    self._attempt, number, atn)

    def _disturb(self) -> None:
        """Faults: a target that waits becomes ready just now, one that was done comes once more."""
        chip = self.chip
        if chip.strikes("arbitration-lost") is not None:
            for port in self.ports.values():
                port.hurry()
        last = next((port.last_done for port in self.ports.values() if port.last_done is not None), None)
        if last is not None and chip.strikes("reselect-stale") is not None:
            self.ask(last)

    def _arbitrated(self, attempt: int, number: int, atn: bool) -> None:
        if attempt != self._attempt or self.selecting is None or self.connected is not None:
            return
        if not self.free:
            self._wanted = (number, atn)        # the selection timer does not run before arbitration is won
            return
        if self.waiting and self._may_reselect():
            self._reselect()
            return
        chip = self.chip
        chip.values["SSTAT0"] |= _WOA
        port = self.ports.get(number)
        if (port is not None and port.target.present and chip.clock.now_ns >= self._deaf_until_ns
                and (not chip.faults.armed or chip.strikes("selection-unanswered") is None)):
            self._selected(port, atn)
        elif chip.values["STIME0"] & 0xF:
            self._select_times_out(attempt)

    def _select_times_out(self, attempt: int) -> None:
        wait_ns = _STIME_UNIT_NS << (self.chip.values["STIME0"] & 0xF) - 1
        self.chip.later(wait_ns, self._no_answer, attempt)

    def _no_answer(self, attempt: int) -> None:
        if attempt == self._attempt and self.selecting is not None:
            self.selecting = None
            self.chip.raise_scsi(0, Sist1.STO.mask)
            self._bus_free()

    def _selected(self, port: Port, atn: bool) -> None:
        chip = self.chip
        self.selecting = None
        if chip.faults.armed and chip.strikes("reset-by-other") is not None:
            self.reset_targets()
            chip.raise_scsi(Sist0.RST.mask)
            return
        self._connect(port)
        chip.raise_scsi(_CMP)
        self.atn = atn
        port.selected(atn)
        chip.scripts.kick()

    def _connect(self, port: Port) -> None:
        self.connected = port
        self.ack = False
        self.chip.values["SCNTL2"] |= _SDU

    # -- reselection -----------------------------------------------------------------------------------------

    def ask(self, reselection: Reselection) -> None:
        """A target wants to reselect the chip as soon as the bus is free."""
        self.waiting.append(reselection)
        if not self.free or self.selecting is not None:
            return
        if self.chip.scripts.state is State.RESELECT:
            self._try_reselect()
        else:
            self.chip.clock.after_ns(self.chip.timing.arbitration_ns, self._after_bus_free)

    def withdraw(self, task: Task) -> None:
        """*task* was aborted: nobody asks for the bus any more because of it."""
        self.waiting = deque(one for one in self.waiting if one.task is not task)

    def _may_reselect(self) -> bool:
        values = self.chip.values
        own = values["SCID"] & 0x0F
        answered = values["RESPID0"] | values.get("RESPID1", 0) << 8
        return bool(values["SCID"] & _RRE) and bool(answered >> own & 1)

    def _try_reselect(self) -> None:
        if self.waiting and self.free and self.connected is None and self._may_reselect() and not self.chip.gone:
            self._reselect()

    def _reselect(self) -> None:
        chip, reselection = self.chip, self.waiting.popleft()
        lost, self.selecting = self.selecting is not None, None
        if lost:
            chip.values["SSTAT0"] |= _LOA
        self._connect(reselection.port)
        chip.values["SSID"] = _VAL | reselection.number
        chip.raise_scsi(_RSL)
        reselection.port.reselected(reselection)
        chip.scripts.reselected(lost)

    # -- the end of a connection -----------------------------------------------------------------------------

    def disconnect(self, port: Connection) -> None:
        """The target lets go of the bus.  Unexpected if SCNTL2.SDU is still set."""
        if self.orphan is port:
            self.orphan = None
            self._bus_free()
            return
        if self.connected is not port:
            return
        chip = self.chip
        self.connected = None
        self.left = True
        self.ack = self.atn = False
        unexpected = chip.values["SCNTL2"] & _SDU
        chip.values["SCNTL2"] &= ~_SDU
        if unexpected:
            chip.raise_scsi(Sist0.UDC.mask)
        else:
            chip.scripts.kick()
        self._bus_free()

    def _bus_free(self) -> None:
        """Bus free phase: whoever waits to select or reselect may, after a moment."""
        if self.selecting is not None and self._wanted is not None:
            (number, atn), self._wanted = self._wanted, None
            self._arbitrate(number, atn)
        elif self.waiting:
            self.chip.clock.after_ns(self.chip.timing.arbitration_ns, self._after_bus_free)

    def _after_bus_free(self) -> None:
        if self.selecting is None:
            self._try_reselect()

    def listening(self) -> None:
        """SCID or RESPID may have changed: the chip may answer soon."""
        if self.waiting:
            self.chip.clock.after_ns(self.chip.timing.arbitration_ns, self._after_bus_free)

    def chip_lets_go(self) -> None:
        """The chip was reset: it drives no line any more.  A target it talked to does not know."""
        self.selecting = None
        self._attempt += 1
        if self.connected is not None:
            self.orphan, self.connected = self.connected, None
            self.orphan.abandoned()
        self.ack = self.atn = False
        self.drive_rst(False, quietly=True)

    def clear_ack(self) -> None:
        """The initiator has taken the message byte."""
        port = self.connected
        if port is not None and self.ack:
            self.ack = False
            port.acknowledged()

    # -- reset -----------------------------------------------------------------------------------------------

    def drive_rst(self, level: bool, *, quietly: bool = False) -> None:
        """SCNTL1.RST changes."""
        chip = self.chip
        if (level is self.rst and not self._stuck) or (self._stuck and not level):
            return
        if level:
            self.rst, self._stuck, self._rst_since_ns = True, False, chip.clock.now_ns
            self._pulse += 1
            self.reset_targets()
            chip.raise_scsi(Sist0.RST.mask)
            return
        held_ns = chip.clock.now_ns - self._rst_since_ns
        if held_ns < chip.timing.reset_hold_ns and not quietly:
            raise HardwareFault(f"{type(chip).__name__}: RST asserted for {held_ns} ns; SCSI needs"
                                f" {chip.timing.reset_hold_ns} ns (SCSI-2, 5.6.1)")
        if chip.strikes("rst-stuck") is not None:
            self._stuck = True
            return
        struck = chip.strikes("rst-slow")
        if struck is not None:
            self._stuck = True
            chip.clock.after_ns(struck.get("ns", chip.timing.line_slow_ns), self._released, self._pulse)
            return
        self._released(self._pulse)

    def _released(self, pulse: int) -> None:
        if pulse != self._pulse:
            return
        self._stuck = self.rst = False
        self._deaf_until_ns = self.chip.clock.now_ns + self.chip.timing.reset_to_selection_ns

    def reset_targets(self) -> None:
        """RST is asserted: everybody lets go and forgets."""
        chip = self.chip
        self.silence()
        self._busy_stuck = chip.strikes("busy-stuck") is not None
        self._deaf_until_ns = chip.clock.now_ns + chip.timing.reset_to_selection_ns
        for port in self.ports.values():
            port.target.reset("bus")

    def silence(self) -> None:
        """Nobody is connected, nothing is under way."""
        self.connected = self.orphan = self.selecting = None
        self._attempt += 1
        self.ack = self.atn = False
        self.waiting.clear()
        self.chip.values["SCNTL2"] = self.chip.values.get("SCNTL2", 0) & ~_SDU
        for port in self.ports.values():
            port.forget()
