"""Block moves: bytes between the bus and memory, and what happens when the target changes the phase.

Source: LSI53C895A Technical Manual v2.2, 5.2 (block moves), 2.2.13 (what is left in the FIFOs), chapter 4 (CCNTL0, RBC,
UA, IA, SBC, CSBC).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault

from .model_steps import signed24
from .regs import Ccntl0, Ccntl1, Ctest4, Dstat, Phase, Scntl0, Scntl2, Sist0, Sist1, Sstat0

if TYPE_CHECKING:
    from .model_core import SymChip
    from .model_port import Port
    from .model_scripts import ScriptsProcessor

_DFIFO_MASK: Final = 0x7F
_TABLE_64, _TABLE_40, _DIRECT_64 = Ccntl1.EN64TIBMV.mask, Ccntl1.TIMOD.mask, Ccntl1.EN64DBMV.mask
_OUTBOUND: Final = frozenset((Phase.DATA_OUT, Phase.COMMAND, Phase.MSG_OUT))


class BlockMoves:
    """The move under way: bytes it was to move, moved so far, where."""

    def __init__(self, chip: SymChip, scripts: ScriptsProcessor) -> None:
        self._chip = chip
        self._scripts = scripts
        self.forget()

    def forget(self) -> None:
        """No move is under way."""
        self._going = False
        self._count = self._moved = self._address = self._insn = 0

    def latch_phase(self) -> bool:
        """The phase lines are latched by REQ; false while there is none."""
        bus = self._chip.scsi
        if bus.selecting is not None:
            return False
        phase = bus.phase
        if phase is None:
            return False
        self._chip.values["SSTAT1"] = int(phase)
        return True

    # -- the instruction -------------------------------------------------------------------------------------

    def block_move(self, word: int, operand: int) -> bool:
        """MOVE; False while it is not over."""
        chip = self._chip
        wanted = word >> 24 & 7
        if not self._going:
            if not word & 0x0800_0000 and not chip.profile.wide:
                return self._scripts.illegal()
            if wanted in (Phase.DT_DATA_OUT, Phase.DT_DATA_IN) and not chip.profile.dt:
                return self._scripts.illegal()
            self._set_up(word, operand)
            if not self._count:
                return self._scripts.illegal()
            self._going = True
        while True:
            if not self.latch_phase():
                return False
            if chip.values["SSTAT1"] != wanted:
                self._mismatch(Phase(wanted))
                return True
            if not self._piece(Phase(wanted)):
                return True                         # SCRIPTS stopped in the middle
            if self._moved == self._count:
                self._done()
                return True

    def _set_up(self, word: int, operand: int) -> None:
        chip, scripts, values = self._chip, self._scripts, self._chip.values
        self._insn = values["DSP"] - 8 & 0xFFFF_FFFF
        count, address, upper = word & 0xFF_FFFF, operand, 0
        mode = values.get("CCNTL1", 0)
        if word & 0x1000_0000:
            entry, address = scripts.words2(values["DSA"] + signed24(operand) & 0xFFFF_FFFF)
            count = entry & 0xFF_FFFF
            if mode & _TABLE_64:
                upper = self._upper(entry >> 24, mode)
            elif entry >> 24:
                raise HardwareFault(f"{type(chip).__name__}: a table entry with count {entry:#x}: bits 31..24 are"
                                    " reserved without 64-bit table moves")
        elif word & 0x2000_0000:
            address = scripts.word(operand)
        elif mode & _DIRECT_64:
            upper = scripts.word(values["DSP"])
            values["DSP"] = values["DSP"] + 4 & 0xFFFF_FFFF
        self._count, self._moved, self._address = count, 0, upper << 32 | address
        values["DBC"], values["DNAD"] = count, address
        if "DNAD64" in values:
            values["DNAD64"], values["IA"] = upper, self._insn

    def _upper(self, selector: int, mode: int) -> int:
        """Bits 63..32 of a table entry's address."""
        values = self._chip.values
        if mode & _TABLE_40:
            return selector
        if selector < 0x10:
            return values[f"SCRATCHC[{selector}]"]
        names = ("MMRS", "MMWS", "SFS", "DRS", "SBMS", "DBMS")
        if selector - 0x10 >= len(names):
            raise HardwareFault(f"{type(self._chip).__name__}: table selector {selector:#x} names no register")
        return values[names[selector - 0x10]]

    # -- the bytes -------------------------------------------------------------------------------------------

    def _piece(self, phase: Phase) -> bool:
        """As much as the target moves now; False when that stopped SCRIPTS."""
        port = self._chip.scsi.connected
        assert port is not None
        if phase in (Phase.DATA_OUT, Phase.DATA_IN):
            return self._data(port, phase is Phase.DATA_OUT)
        if phase is Phase.MSG_IN:
            return self._message_in(port)
        if phase is Phase.STATUS:
            return self._status(port)
        return self._to_target(port, phase)

    def _advance(self, n: int) -> None:
        values = self._chip.values
        self._moved += n
        values["DBC"] = self._count - self._moved
        values["DNAD"] = self._address + self._moved & 0xFFFF_FFFF
        if "CSBC" in values:
            values["CSBC"] = values["CSBC"] + n & 0xFFFF_FFFF

    def _data(self, port: Port, out: bool) -> bool:
        chip = self._chip
        if chip.left_in_fifo:
            chip.raise_scsi(Sist0.SGE.mask)
            self._going = False
            return False
        n = min(self._count - self._moved, port.data_ready())
        task = port.task
        if n <= 0 or task is None or bool(task.out) is not out:
            n = min(self._count - self._moved, 1)           # a target that does not know what it does
            self._scripts.memory(self._address + self._moved, n, out)
            self._advance(n)
            port.confused()
            return True
        if chip.faults.armed and self._data_faults(out, n):
            return False
        views = self._scripts.memory(self._address + self._moved, n, out)
        if out:
            task.take(views, n)
        else:
            chip.values["SFBR"] = task.first_byte()
            task.give(views)
        self._advance(n)
        port.data_moved(n)
        return True

    def _data_faults(self, out: bool, n: int) -> bool:
        chip = self._chip
        if chip.strikes("bus-fault-data") is not None:
            chip.bus_fault()
        elif chip.values["CTEST4"] & Ctest4.MPEE.mask and chip.strikes("pci-parity") is not None:
            chip.raise_dma(Dstat.MDPE.mask)
        elif chip.strikes("gross-error") is not None:
            chip.raise_scsi(Sist0.SGE.mask)
        elif chip.profile.istat1 and chip.strikes("mode-change") is not None:
            chip.raise_scsi(0, Sist1.SBMC.mask)
        elif chip.strikes("general-timer") is not None:
            chip.raise_scsi(0, Sist1.GEN.mask)
            return not self._scripts.running
        elif not out and self._checks_parity and chip.strikes("parity-data-in") is not None:
            self._parity_in_data(n)
        else:
            return False
        self._going = False
        return True

    @property
    def _checks_parity(self) -> bool:
        return bool(self._chip.values["SCNTL0"] & Scntl0.EPC.mask)

    def _parity(self) -> None:
        """Bad parity: ATN if SCNTL0 says so; SCRIPTS stop."""
        chip = self._chip
        if chip.values["SCNTL0"] & Scntl0.AAP.mask:
            chip.scsi.atn = True
        chip.raise_scsi(Sist0.PAR.mask)

    def _parity_in_data(self, n: int) -> None:
        port = self._chip.scsi.connected
        assert port is not None
        assert port.task is not None
        n = max(1, n // 2)
        port.task.give(self._scripts.memory(self._address + self._moved, n, False))
        self._advance(n)
        self._parity()
        port.data_moved(n)

    def _to_target(self, port: Port, phase: Phase) -> bool:
        """Message out and command: small, taken whole."""
        left = self._count - self._moved
        data = b"".join(bytes(view) for view in self._scripts.memory(self._address + self._moved, left, True))
        if phase is Phase.COMMAND:
            taken = port.command_bytes(data)
            self._advance(taken)
            port.command(data[:taken])
        else:
            self._chip.scsi.atn = False             # falls with the last byte (manual, 5.2, step 6)
            self._advance(left)
            port.message_out(data)
        return True

    def _message_in(self, port: Port) -> bool:
        chip = self._chip
        data = port.message_in(self._count - self._moved)
        if self._checks_parity and chip.strikes("parity-message-in") is not None:
            port.unsay(data)
            chip.scsi.ack = True
            self._parity()
            self._going = False
            return False
        self._store(data)
        chip.values["SIDL"] = data[-1]
        chip.scsi.ack = True
        if self._moved < self._count:               # the last byte alone keeps ACK
            chip.scsi.clear_ack()
        return True

    def _status(self, port: Port) -> bool:
        chip = self._chip
        if self._checks_parity and chip.strikes("parity-status") is not None:
            self._parity()
            port.status()
            self._going = False
            return False
        self._store(bytes((port.status(),)))
        return True

    def _store(self, data: bytes) -> None:
        if not self._moved:
            self._chip.values["SFBR"] = data[0]
        at = 0
        for view in self._scripts.memory(self._address + self._moved, len(data), False):
            view[:] = data[at:at + len(view)]
            at += len(view)
        self._advance(len(data))

    # -- the end ---------------------------------------------------------------------------------------------

    def _done(self) -> None:
        values = self._chip.values
        self._going = False
        values["DFIFO"] = 0
        if "RBC" in values:
            values["RBC"], values["UA"] = 0, self._address + self._count & 0xFFFF_FFFF

    def _mismatch(self, wanted: Phase) -> None:
        """The target went to another phase before the count was zero: interrupt, or jump."""
        chip, values = self._chip, self._chip.values
        left = self._count - self._moved
        started, self._going = self._moved > 0, False
        if "RBC" in values:
            values["RBC"], values["SBC"] = left, left
            values["UA"] = self._address + self._moved & 0xFFFF_FFFF
        jumps = Ccntl0(values.get("CCNTL0", 0))
        if chip.profile.phase_jumps and jumps.ENPMJ:
            outbound = wanted in _OUTBOUND if jumps.PMJCTL else not values["SCNTL2"] & Scntl2.WSR.mask
            values["DSP"] = values["PMJAD1"] if outbound else values["PMJAD2"]
            return
        self._leave_in_fifo(left if started and wanted is Phase.DATA_OUT else 0, left)
        chip.raise_scsi(Sist0.MA.mask)

    def _leave_in_fifo(self, fetched: int, left: int) -> None:
        """Outbound, the chip has fetched more than it sent: DBC counts what it did not fetch yet."""
        chip, values = self._chip, self._chip.values
        fetched = min(fetched, chip.profile.fifo_bytes)
        latched = min(fetched, 1)
        dbc = left - fetched
        values["DBC"] = dbc
        values["DFIFO"] = dbc + fetched - latched & (_DFIFO_MASK if not chip.profile.dfbc else 0)
        if "DFBC" in values:
            values["DFBC"] = fetched - latched
        if fetched:
            chip.left_in_fifo = 3
            if latched:
                values["SSTAT0"] |= Sstat0.OLF.mask
