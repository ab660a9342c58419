"""The SCRIPTS processor: fetches instructions from memory and carries them out, one by one.

They go on until an instruction has to wait - for a selection, a phase, a reselection, bus free - or stops SCRIPTS, or
until their share of instructions is used up; then time passes.  Instructions that follow each other are fetched and
decoded together (model_decode.py); block moves are in model_moves.py.

Source: LSI53C895A Technical Manual v2.2, chapter 5; SYM53C810A Data Manual, chapter 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault

from .frames import Io, Transfer
from .model_decode import LONGEST, Run, kind_of
from .model_insns import RegisterInsns
from .model_moves import BlockMoves
from .model_steps import (
    BY_CARRY,
    BY_DATA,
    BY_PHASE,
    COMPARE,
    FLY,
    IF_TRUE,
    LEAVE,
    RELATIVE,
    WAIT,
    State,
    Step,
    signed24,
)
from .regs import Dcntl, Dstat, Istat0, Scntl3

if TYPE_CHECKING:
    from .model_bus import Bus
    from .model_core import SymChip

#: Instructions carried out before time passes.
_SHARE: Final = 256
_SFBR: Final = 0x08
#: Clock divider of a 40 MHz SCLK (SCNTL3.CCF).
_CCF_40_MHZ: Final = 3
_CLOCKS: Final = Scntl3.EWS.mask | Scntl3.CCF.mask
_SSM_COM, _COM = Dcntl.SSM.mask | Dcntl.COM.mask, Dcntl.COM.mask


class ScriptsProcessor(RegisterInsns):
    """`state`, and the instruction that waits.  `dsp` points behind it, as the register does.

    `do`: methods that carry out an instruction, by model_steps's kinds; false: it is not over yet.  `moved`: the last
    move, (its address, its words, address and count), and `moved_bytes` how many all did, while `settle()` has not put
    that into the registers.
    """

    def __init__(self, chip: SymChip) -> None:
        super().__init__(chip)
        self.state = State.STOPPED
        self.bus: Bus
        self.moved: tuple[int, int, int, int, int] | None = None
        self.moved_bytes = 0
        self.moves = BlockMoves(chip, self)
        self.latch_phase = self.moves.latch_phase
        self._waiting: tuple[int, int, int, Step | None] | None = None
        self.alternate = 0
        self._serial = 0
        self.do: tuple[Callable[[int, int], bool], ...] = (
            self.moves.block_move, self._io, self.register, self._transfer, self.memory_insn)

    def wire(self, values: dict[str, int], bus: Bus) -> None:
        """The rest of the chip is there."""
        self.values, self.bus = values, bus

    @property
    def running(self) -> bool:
        """ISTAT1.SRUN."""
        return self.state is not State.STOPPED

    # -- starting and stopping -------------------------------------------------------------------------------

    def start(self) -> None:
        """DSP was written."""
        chip = self.chip
        if self.running:
            raise HardwareFault(f"{type(chip).__name__}: SCRIPTS are started while they run; stop them first")
        self._waiting = None
        self.fetch.started()
        self.moves.forget()
        self._schedule(chip.timing.start_ns)

    def stop(self) -> None:
        """They stop where they are."""
        self.state = State.STOPPED
        self._serial += 1

    def _schedule(self, delay_ns: int) -> None:
        self.state = State.RUNNING
        self._serial += 1
        clock = self.chip.clock
        clock.at_ns(clock.now_ns + delay_ns, self._resume, self._serial)

    def _resume(self, serial: int) -> None:
        if serial == self._serial and self.state is State.RUNNING:
            self.run()

    def kick(self) -> None:
        """Something happened on the bus; an instruction that waits for it looks again."""
        if self.state is State.ON_BUS or (self.state is State.DISCONNECT and self.chip.scsi.left):
            self.state = State.RUNNING
            self.run()

    def reselected(self, lost: bool) -> None:
        """A target reselected the chip.  *lost*: in the middle of an arbitration for SELECT."""
        if lost and self.state is State.ON_BUS:
            self.moves.forget()
            self.values["DSP"] = self.alternate
        elif self.state is not State.RESELECT:
            return
        self._waiting = None
        self.state = State.RUNNING
        self._serial += 1
        self.run()

    def signalled(self) -> None:
        """ISTAT0.SIGP was set."""
        if self.state is State.RESELECT:
            self._waiting = None
            self.chip.values["DSP"] = self.alternate
            self._schedule(self.chip.timing.insn_ns)

    # -- the machine -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Instructions until one waits or stops, or the share is used up."""
        chip, values = self.chip, self.values
        self.fetch.refresh()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            kind, word, operand, again = waiting
            if again is None or chip.faults.armed or values["DCNTL"] & _SSM_COM != _COM:
                self._carry_out(kind, word, operand)
            else:
                target = again(self)
                if target is not None and target != LEAVE:
                    values["DSP"] = values["ADDER"] = target
        left = _SHARE
        while self.state is State.RUNNING:
            if not left:
                self._schedule(_SHARE * chip.timing.insn_ns)
                return
            if left < LONGEST or chip.faults.armed or values["DCNTL"] & _SSM_COM != _COM:
                left -= 1
                self._instruction()
            else:
                left = self._runs(left)

    def _runs(self, left: int) -> int:
        """Runs of instructions until one leaves them, or few are *left* of the share; how many are."""
        values, fetch = self.values, self.fetch
        known = fetch.runs
        dsp = values["DSP"]
        while left >= LONGEST:
            try:
                run: Run | None = known[dsp]
                (code,) = run.fetch(run.view, run.offset)       # type: ignore[union-attr]
                if code != run.code and not run.turns(code):    # type: ignore[union-attr]
                    run = fetch.run_at(dsp)
            except KeyError:
                run = fetch.run_at(dsp)
            if run is None:
                break
            left -= run.count
            for step in run.steps:
                target = step(self)
                if target is not None:
                    break
            else:
                dsp = run.end
                if run.jumps:
                    values["ADDER"] = dsp
                continue
            if target == LEAVE:
                return left
            dsp = values["ADDER"] = target
        else:
            values["DSP"] = dsp
            return left
        values["DSP"] = dsp
        self._instruction()
        return left - 1

    def _instruction(self) -> None:
        """One by itself: a fault may strike, or it lies where nothing is kept."""
        values = self.values
        dsp = values["DSP"]
        if self.chip.faults.armed and self._fetch_faults():
            return
        word, operand = self.words2(dsp)
        values["DSP"] = dsp + 8 & 0xFFFF_FFFF
        values["DCMD"], values["DBC"], values["DSPS"] = word >> 24, word & 0xFF_FFFF, operand
        self._carry_out(kind_of(word), word, operand)

    def _carry_out(self, kind: int, word: int, operand: int) -> None:
        if not self.do[kind](word, operand):
            self.hold(kind, word, operand)
        elif self.values["DCNTL"] & Dcntl.SSM.mask and self.running:
            self.chip.raise_dma(Dstat.SSI.mask)

    def settle(self) -> None:
        """What the last moves leave in the registers: somebody is about to look."""
        moved, self.moved = self.moved, None
        if moved is None:
            return
        insn, word, operand, address, count = moved
        values = self.values
        values["DCMD"], values["DBC"], values["DSPS"] = word >> 24, 0, operand
        values["DNAD"], values["DFIFO"] = address + count & 0xFFFF_FFFF, 0
        if "DNAD64" in values:
            values["DNAD64"], values["IA"], values["RBC"] = address >> 32, insn, 0
            values["UA"] = address + count & 0xFFFF_FFFF
            values["CSBC"] = values["CSBC"] + self.moved_bytes & 0xFFFF_FFFF
        self.moved_bytes = 0

    def hold(self, kind: int, word: int, operand: int, again: Step | None = None) -> None:
        """The instruction is not over: it is looked at again when something happens, by *again* if there is one."""
        self._waiting = kind, word, operand, again
        if self.state is State.RUNNING:
            self.state = State.ON_BUS

    def _fetch_faults(self) -> bool:
        chip = self.chip
        if chip.strikes("bus-fault-fetch") is not None:
            chip.bus_fault()
            return True
        if chip.strikes("illegal-instruction") is not None:
            self.illegal()
            return True
        return False

    def wait(self, state: State) -> bool:
        """The instruction is not over yet."""
        self.state = state
        return False

    # -- I/O -------------------------------------------------------------------------------------------------

    def _io(self, word: int, operand: int) -> bool:
        opcode = word >> 27 & 7
        chip, bus = self.chip, self.chip.scsi
        if opcode == Io.SELECT:
            return self._select(word, operand)
        if opcode == Io.WAIT_DISCONNECT:
            if bus.chip_connected and not bus.left:
                return self.wait(State.DISCONNECT)
            bus.left = False
            return True
        if opcode == Io.WAIT_RESELECT:
            self.alternate = self._target(word, operand, 26)
            chip.values["DNAD"] = self.alternate
            if chip.values["ISTAT0"] & Istat0.SIGP.mask:
                chip.values["DSP"] = self.alternate
                return True
            return True if bus.chip_connected else self.wait(State.RESELECT)
        level = opcode == Io.SET
        if word & 0x400:
            chip.carry = level
        if word & 0x200:
            return self.illegal()               # target mode is not modelled
        if word & 0x08:
            bus.atn = level
        if word & 0x40 and not level:
            bus.clear_ack()
        return True

    def _target(self, word: int, operand: int, relative_bit: int) -> int:
        return self.chip.values["DSP"] + signed24(operand) & 0xFFFF_FFFF if word >> relative_bit & 1 else operand

    def _select(self, word: int, operand: int) -> bool:
        chip, values = self.chip, self.chip.values
        if word & 0x0200_0000:
            entry = self.word(values["DSA"] + signed24(word) & 0xFFFF_FFFF)
            number = entry >> 16 & 0xF          # SelectEntry
            values["SCNTL3"], values["SXFER"] = entry >> 24, entry >> 8 & 0xFF
            if "SCNTL4" in values:
                values["SCNTL4"] = entry & 0xFF
        else:
            number = word >> 16 & 0xF
        self.alternate = values["DNAD"] = self._target(word, operand, 26)
        values["SDID"] = number
        if chip.scsi.chip_connected:            # reselected before
            values["DSP"] = self.alternate
            return True
        self._check_clocks(number)
        chip.scsi.left = False
        chip.scsi.select(number, bool(word & 0x0100_0000))
        return True

    def _check_clocks(self, number: int) -> None:
        """No target here has negotiated anything: 8 bits, asynchronous, with a 40 MHz clock."""
        scntl3, sxfer = self.values["SCNTL3"], self.values["SXFER"]
        if sxfer or scntl3 & _CLOCKS != _CCF_40_MHZ:
            raise HardwareFault(f"{type(self.chip).__name__}: SELECT {number} with SCNTL3 {scntl3:#04x}, SXFER"
                                f" {sxfer:#04x}: nobody negotiated wide or synchronous transfers, and CCF must be"
                                f" {_CCF_40_MHZ} for a 40 MHz SCLK")

    # -- transfer control ------------------------------------------------------------------------------------

    def _transfer(self, word: int, operand: int) -> bool:
        chip, values = self.chip, self.chip.values
        opcode = word >> 27 & 7
        if opcode > Transfer.INT:
            return self.illegal()
        if word & WAIT and not self.latch_phase():
            return False
        wanted = bool(word & IF_TRUE)
        if not word & COMPARE:
            taken = wanted
        else:
            equal = ((not word & BY_CARRY or chip.carry)
                     and (not word & BY_PHASE or values["SSTAT1"] & 7 == word >> 24 & 7)
                     and (not word & BY_DATA or not (values["SFBR"] ^ word) & ~(word >> 8) & 0xFF))
            taken = equal is wanted
        if not taken:
            return True
        if opcode == Transfer.INT:
            if word & FLY:
                chip.intfly()
            else:
                chip.raise_dma(Dstat.SIR.mask)
            return True
        target = values["TEMP"] if opcode == Transfer.RETURN else operand
        if word & RELATIVE and opcode != Transfer.RETURN:
            target = values["DSP"] + signed24(operand) & 0xFFFF_FFFF
        if opcode == Transfer.CALL:
            values["TEMP"] = values["DSP"]
        values["DSP"] = target
        values["ADDER"] = target
        return True
