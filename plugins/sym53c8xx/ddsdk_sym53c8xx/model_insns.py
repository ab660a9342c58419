"""SCRIPTS instructions on registers and memory: register moves, MOVE MEMORY, LOAD, STORE.

Source: LSI53C895A Technical Manual v2.2, 5.4, 5.6, 5.7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.model import HwModel

from .frames import Operator, RegisterMove
from .model_decode import Model, plain_bytes
from .model_fetch import ScriptsMemory
from .model_steps import signed24
from .regs import Dcntl, Dstat

if TYPE_CHECKING:
    from .model_core import SymChip

_SFBR: Final = 0x08


class RegisterInsns:
    """What the processor does to registers and memory; each instruction is over at once: true."""

    def __init__(self, chip: SymChip) -> None:
        self.chip = chip
        self.values: dict[str, int] = {}
        self.fetch = ScriptsMemory(chip)
        self.memory, self.word, self.words2 = self.fetch.views, self.fetch.word, self.fetch.words2
        self.kept, self.keep = self.fetch.kept, self.fetch.keep
        model: Model = type(chip)
        self._plain = plain_bytes(model)

    def illegal(self) -> bool:
        """DSTAT.IID."""
        self.chip.raise_dma(Dstat.IID.mask)
        return True

    # -- registers -------------------------------------------------------------------------------------------

    def read_register(self, offset: int) -> int:
        """A byte register as SCRIPTS see it."""
        if offset == _SFBR:
            return self.values["SFBR"]
        self.chip.scripts_access()
        return HwModel.read(self.chip, offset, 1)

    def write_register(self, offset: int, value: int) -> None:
        """The same, written."""
        chip = self.chip
        plain = self._plain.get(offset)
        if plain is not None:
            name, shift = plain
            self.values[name] = self.values[name] & ~(0xFF << shift) | value << shift
        elif offset == _SFBR:
            self.values["SFBR"] = value
        else:
            chip.scripts_access()
            HwModel.write(chip, offset, 1, value)

    def register(self, word: int, _operand: int) -> bool:
        """Register read, write, modify.  HardwareFault with DCNTL.COM 0."""
        chip, values = self.chip, self.values
        opcode = word >> 27 & 7
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

    # -- memory instructions ---------------------------------------------------------------------------------

    def memory_insn(self, word: int, operand: int) -> bool:
        """MOVE MEMORY, LOAD, STORE."""
        if word & 0x2000_0000:
            return self._load_store(word, operand)
        values = self.values
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
        address = self.values["DSA"] + signed24(operand) & 0xFFFF_FFFF if word & 0x1000_0000 else operand
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
