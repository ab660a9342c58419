"""The SCRIPTS processor: fetches instructions from memory and carries them out, one by one.

A run goes on until an instruction has to wait - for a selection, a phase, a reselection, bus free - or stops SCRIPTS,
or until its share of instructions is used up; then time passes.  Block moves are in model_moves.py.

Source: LSI53C895A Technical Manual v2.2, chapter 5; SYM53C810A Data Manual, chapter 6.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.errors import DmaFault, HardwareFault
from ddsdk.sim.model import HwModel

from .frames import Io, Operator, RegisterMove, SelectEntry, Transfer, signed24
from .model_moves import BlockMoves
from .regs import Dcntl, Dstat, Istat0, Scntl3

if TYPE_CHECKING:
    from .model_core import SymChip

_WORDS2: Final = Struct("<II")
_WORD: Final = Struct("<I")
_PAGE: Final = 4096
#: Instructions carried out before time passes.
_SHARE: Final = 256
_SFBR: Final = 0x08
#: Clock divider of a 40 MHz SCLK (SCNTL3.CCF).
_CCF_40_MHZ: Final = 3
# bits of the first word, as insn.py has them
_COMPARE: Final = 0x0026_0000
_IF_TRUE, _WAIT, _BY_PHASE, _BY_DATA, _BY_CARRY, _FLY, _RELATIVE = (
    0x0008_0000, 0x0001_0000, 0x0002_0000, 0x0004_0000, 0x0020_0000, 0x0010_0000, 0x0080_0000)


class State(Enum):
    """What SCRIPTS do."""

    STOPPED = "stopped"
    RUNNING = "running"                 # scheduled, or in the middle of an instruction
    ON_BUS = "waits for the bus"        # selection, REQ
    RESELECT = "waits to be reselected"
    DISCONNECT = "waits for bus free"


class ScriptsProcessor:
    """`state`, and the instruction that waits.  `dsp` points behind it, as the register does."""

    def __init__(self, chip: SymChip) -> None:
        self.chip = chip
        self.state = State.STOPPED
        self.moves = BlockMoves(chip, self)
        self._pages: dict[int, memoryview] = {}
        self._waiting: tuple[int, int] | None = None
        self._alternate = 0
        self._serial = 0
        self._ram = 0                           # bus address of the on-chip RAM
        self._do: tuple[Callable[[int, int], bool], ...] = (
            self.moves.block_move, self._io_or_register, self._transfer, self._memory)

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
        self._ram = chip.ram_base()
        self.moves.forget()
        self._schedule(chip.timing.start_ns)

    def stop(self) -> None:
        """They stop where they are."""
        self.state = State.STOPPED
        self._serial += 1

    def _schedule(self, delay_ns: int) -> None:
        self.state = State.RUNNING
        self._serial += 1
        self.chip.later(delay_ns, self._resume, self._serial)

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
        if self.state is State.RESELECT:
            self._waiting = None
            self._schedule(self.chip.timing.insn_ns)
        elif lost and self.state is State.ON_BUS:
            self._waiting = None
            self.moves.forget()
            self.chip.values["DSP"] = self._alternate
            self._schedule(self.chip.timing.insn_ns)

    def signalled(self) -> None:
        """ISTAT0.SIGP was set."""
        if self.state is State.RESELECT:
            self._waiting = None
            self.chip.values["DSP"] = self._alternate
            self._schedule(self.chip.timing.insn_ns)

    # -- the machine -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Instructions until one waits or stops, or the share is used up."""
        chip, values = self.chip, self.chip.values
        self._pages.clear()
        left = _SHARE
        while self.state is State.RUNNING:
            if self._waiting is not None:
                word, operand = self._waiting
                self._waiting = None
            else:
                if not left:
                    self._schedule(_SHARE * chip.timing.insn_ns)
                    return
                left -= 1
                dsp = values["DSP"]
                if chip.faults.armed and self._fetch_faults():
                    return
                word, operand = self.words2(dsp)
                values["DSP"] = dsp + 8 & 0xFFFF_FFFF
                values["DCMD"], values["DBC"], values["DSPS"] = word >> 24, word & 0xFF_FFFF, operand
            if not self._do[word >> 30](word, operand):
                self._waiting = (word, operand)
                if self.state is State.RUNNING:
                    self.state = State.ON_BUS
                return
            if values["DCNTL"] & Dcntl.SSM.mask and self.running:
                chip.raise_dma(Dstat.SSI.mask)

    def _fetch_faults(self) -> bool:
        chip = self.chip
        if chip.strikes("bus-fault-fetch") is not None:
            chip.bus_fault()
            return True
        if chip.strikes("illegal-instruction") is not None:
            self.illegal()
            return True
        return False

    def illegal(self) -> bool:
        """DSTAT.IID."""
        self.chip.raise_dma(Dstat.IID.mask)
        return True

    def wait(self, state: State) -> bool:
        """The instruction is not over yet."""
        self.state = state
        return False

    # -- memory ----------------------------------------------------------------------------------------------

    def _page(self, address: int) -> memoryview:
        """The page around *address*, for the rest of this run; the CPU does not run meanwhile."""
        page = address & -_PAGE
        view = self._pages.get(page)
        if view is None:
            try:
                (view,) = self.memory(page, _PAGE, True)
            except (DmaFault, ValueError):
                (view,) = self.memory(address, 8, True)
                return view
            self._pages[page] = view
        return view

    def words2(self, address: int) -> tuple[int, int]:
        """Two words at *address*."""
        offset = address & _PAGE - 1
        if address & 3:
            raise HardwareFault(f"{type(self.chip).__name__}: SCRIPTS fetch at {address:#x}, not a multiple of 4")
        if offset > _PAGE - 8:
            return _WORDS2.unpack(b"".join(bytes(one) for one in self.memory(address, 8, True)))
        view = self._page(address)
        return _WORDS2.unpack_from(view, offset if len(view) == _PAGE else 0)

    def word(self, address: int) -> int:
        """One word at *address*."""
        (value,) = _WORD.unpack(b"".join(bytes(one) for one in self.memory(address, 4, True)))
        return int(value)

    def memory(self, address: int, length: int, to_device: bool) -> list[memoryview]:
        """Host memory, or the chip's own RAM."""
        chip, base = self.chip, self._ram
        if base and base <= address and address + length <= base + chip.ram.size:
            return [memoryview(chip.ram.bytes)[address - base:address - base + length]]
        return chip.dma.view(address, length, to_device)

    # -- I/O -------------------------------------------------------------------------------------------------

    def _io_or_register(self, word: int, operand: int) -> bool:
        opcode = word >> 27 & 7
        if opcode >= RegisterMove.FROM_SFBR:
            return self._register(word, opcode)
        chip, bus = self.chip, self.chip.scsi
        if opcode == Io.SELECT:
            return self._select(word, operand)
        if opcode == Io.WAIT_DISCONNECT:
            if bus.chip_connected and not bus.left:
                return self.wait(State.DISCONNECT)
            bus.left = False
            return True
        if opcode == Io.WAIT_RESELECT:
            self._alternate = self._target(word, operand, 26)
            chip.values["DNAD"] = self._alternate
            if chip.values["ISTAT0"] & Istat0.SIGP.mask:
                chip.values["DSP"] = self._alternate
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
            entry = SelectEntry(self.word(values["DSA"] + signed24(word) & 0xFFFF_FFFF))
            number = entry.ID
            values["SCNTL3"], values["SXFER"] = entry.SCNTL3, entry.SXFER
            if "SCNTL4" in values:
                values["SCNTL4"] = entry.SCNTL4
        else:
            number = word >> 16 & 0xF
        self._alternate = values["DNAD"] = self._target(word, operand, 26)
        values["SDID"] = number
        if chip.scsi.chip_connected:            # reselected before
            values["DSP"] = self._alternate
            return True
        self._check_clocks(number)
        chip.scsi.left = False
        chip.scsi.select(number, bool(word & 0x0100_0000))
        return True

    def _check_clocks(self, number: int) -> None:
        """No target here has negotiated anything: 8 bits, asynchronous, with a 40 MHz clock."""
        scntl3, sxfer = Scntl3(self.chip.values["SCNTL3"]), self.chip.values["SXFER"]
        if scntl3.EWS or sxfer or scntl3.CCF != _CCF_40_MHZ:
            raise HardwareFault(f"{type(self.chip).__name__}: SELECT {number} with SCNTL3 {int(scntl3):#04x}, SXFER"
                                f" {sxfer:#04x}: nobody negotiated wide or synchronous transfers, and CCF must be"
                                f" {_CCF_40_MHZ} for a 40 MHz SCLK")

    # -- registers -------------------------------------------------------------------------------------------

    def read_register(self, offset: int) -> int:
        """A byte register as SCRIPTS see it."""
        if offset == _SFBR:
            return self.chip.values["SFBR"]
        self.chip.scripts_access()
        return HwModel.read(self.chip, offset, 1)

    def write_register(self, offset: int, value: int) -> None:
        """The same, written."""
        chip = self.chip
        plain = chip.plain_bytes.get(offset)
        if plain is not None:
            name, shift = plain
            chip.values[name] = chip.values[name] & ~(0xFF << shift) | value << shift
        elif offset == _SFBR:
            chip.values["SFBR"] = value
        else:
            chip.scripts_access()
            HwModel.write(chip, offset, 1, value)

    def _register(self, word: int, opcode: int) -> bool:
        chip, values = self.chip, self.chip.values
        if not values["DCNTL"] & Dcntl.COM.mask:
            raise HardwareFault(f"{type(chip).__name__}: a register instruction with DCNTL.COM 0, which the manual"
                                " forbids")
        register = word >> 16 & 0x7F | word & 0x80
        operator, data = word >> 24 & 7, word >> 8 & 0xFF
        if opcode == RegisterMove.MODIFY and word & 0x0080_0000:
            data = values["SFBR"]
        if operator == Operator.MOVE:
            result = data
        else:
            old = values["SFBR"] if opcode == RegisterMove.FROM_SFBR else self.read_register(register)
            result = self._operate(operator, old, data)
        if opcode == RegisterMove.TO_SFBR:
            values["SFBR"] = result
        else:
            self.write_register(register, result)
        return True

    def _operate(self, operator: int, old: int, data: int) -> int:
        chip = self.chip
        if operator == Operator.OR:
            return old | data
        if operator == Operator.AND:
            return old & data
        if operator == Operator.XOR:
            return old ^ data
        if operator == Operator.SHL:
            chip.carry, result = bool(old & 0x80), old << 1 & 0xFF | chip.carry
        elif operator == Operator.SHR:
            chip.carry, result = bool(old & 1), old >> 1 | chip.carry << 7
        else:
            total = old + data + (chip.carry if operator == Operator.ADC else 0)
            chip.carry, result = total > 0xFF, total & 0xFF
        return result

    # -- transfer control ------------------------------------------------------------------------------------

    def _transfer(self, word: int, operand: int) -> bool:
        chip, values = self.chip, self.chip.values
        opcode = word >> 27 & 7
        if opcode > Transfer.INT:
            return self.illegal()
        if word & _WAIT and not self.moves.latch_phase():
            return False
        wanted = bool(word & _IF_TRUE)
        if not word & _COMPARE:
            taken = wanted
        else:
            equal = ((not word & _BY_CARRY or chip.carry)
                     and (not word & _BY_PHASE or values["SSTAT1"] & 7 == word >> 24 & 7)
                     and (not word & _BY_DATA or not (values["SFBR"] ^ word) & ~(word >> 8) & 0xFF))
            taken = equal is wanted
        if not taken:
            return True
        if opcode == Transfer.INT:
            if word & _FLY:
                chip.intfly()
            else:
                chip.raise_dma(Dstat.SIR.mask)
            return True
        target = values["TEMP"] if opcode == Transfer.RETURN else operand
        if word & _RELATIVE and opcode != Transfer.RETURN:
            target = values["DSP"] + signed24(operand) & 0xFFFF_FFFF
        if opcode == Transfer.CALL:
            values["TEMP"] = values["DSP"]
        values["DSP"] = target
        values["ADDER"] = target
        return True

    # -- memory instructions ---------------------------------------------------------------------------------

    def _memory(self, word: int, operand: int) -> bool:
        if word & 0x2000_0000:
            return self._load_store(word, operand)
        values = self.chip.values
        dsp = values["DSP"]
        destination = self.word(dsp)
        values["DSP"] = dsp + 4 & 0xFFFF_FFFF
        count = word & 0xFF_FFFF
        if not count or (operand ^ destination) & 3:
            return self.illegal()
        data = b"".join(bytes(view) for view in self.memory(operand, count, True))
        at = 0
        for view in self.memory(destination, count, False):
            view[:] = data[at:at + len(view)]
            at += len(view)
        return True

    def _load_store(self, word: int, operand: int) -> bool:
        chip = self.chip
        count, register = word & 7, word >> 16 & 0xFF
        address = chip.values["DSA"] + signed24(operand) & 0xFFFF_FFFF if word & 0x1000_0000 else operand
        if (not chip.profile.load_store or not 1 <= count <= 4 or (address ^ register) & 3
                or (register & 3) + count > 4):
            return self.illegal()
        if word & 0x0100_0000:
            data = b"".join(bytes(view) for view in self.memory(address, count, True))
            for n, byte in enumerate(data):
                self.write_register(register + n, byte)
            return True
        data = bytes(self.read_register(register + n) for n in range(count))
        (view,) = self.memory(address, count, False)
        view[:] = data
        return True
