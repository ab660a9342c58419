"""The chip's registers: SCSI block, SCB window, queue offsets, program RAM.  hw-aic7xxx.md 3.

Pausing, interrupts and resets are model_core.py's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ddsdk.errors import HardwareFault

from .model_core import LOADRAM, AhcCore, Run
from .model_messages import Messages
from .regs import (
    HADDLDSEL0,
    INSTRUCTION_BYTES,
    SCB_QSIZE_256,
    SEQRAM_INSTRUCTIONS,
    SLOTS,
    QOffCtlSta,
    ScsiSeq,
    SStat0,
    SStat1,
)

#: SCSISIGI's phase -> SCSIPHASE.
_PHASE_BITS: Final[Mapping[int, int]] = {0xC0: 0x20, 0x80: 0x10, 0xE0: 0x08, 0xA0: 0x04, 0x40: 0x02, 0x60: 0x02}


class AhcRegisters(AhcCore):
    """What a function's registers do beyond that."""

    messages: Messages

    # -- SCSI block --------------------------------------------------------------------------------

    def r_SSTAT0(self) -> int:
        """Selection, transceivers."""
        return self.sstat0

    def w_CLRSINT0(self, value: SStat0) -> None:
        """A 1 clears."""
        self.sstat0 &= ~(value & 0x78)

    def r_SSTAT1(self) -> int:
        """Timeout, reset, bus free, parity."""
        return self.sstat1

    def w_CLRSINT1(self, value: SStat1) -> None:
        """A 1 clears; bit 6 drops our ATN."""
        self.sstat1 &= ~(value & 0xAF)
        if value & SStat1.SCSIPERR.mask:
            self.sstat2 = 0
        if value & 0x40:
            self.atn = False

    def r_SSTAT2(self) -> int:
        """CRC errors."""
        return self.sstat2

    def w_SIMODE1(self, value: SStat1) -> None:
        """Which of SSTAT1 interrupt."""
        self.values["SIMODE1"] = int(value)
        self.look_at_bus()

    def w_SCSISEQ(self, value: ScsiSeq) -> None:
        """Selections wanted, reselections allowed, RST."""
        before, self.values["SCSISEQ"] = self.values["SCSISEQ"], int(value)
        self.seq.scsiseq_written(before, int(value))

    def r_SCSISIGI(self) -> int:
        """The bus's control lines."""
        return self.messages.lines()

    def w_SCSISIGO(self, value: int) -> None:
        """ATN."""
        if value & 0x10:
            self.atn = True
            self.seq.atn_raised()

    def r_SCSIPHASE(self) -> int:
        """The phase, one bit each."""
        phase = self.messages.lines() & 0xE0
        return _PHASE_BITS.get(phase, 0x01 if self.seq.connected else 0)

    def r_SCSIBUSL(self) -> int:
        """The byte on the bus."""
        return self.messages.byte_on_bus()

    def r_SCSIDATL(self) -> int:
        """The same, taken."""
        return self.messages.take_byte()

    def w_SCSIDATL(self, value: int) -> None:
        """A byte for the target."""
        self.messages.give_byte(int(value))

    def r_DFSTATUS(self) -> int:
        """Data FIFO: empty."""
        return 0x89

    # -- slots, queues -----------------------------------------------------------------------------

    def w_SCBPTR(self, value: int) -> None:
        """Which slot the window shows; beyond the last one they repeat."""
        self.values["SCBPTR"] = int(value)
        self.slot = self.slots[value % SLOTS]

    def w_SCBBADDR(self, value: int) -> None:
        """The bank of SCB RAM."""
        self.values["SCBBADDR"] = int(value)
        self.slots = self.ram.banks[value % len(self.ram.banks)]
        self.slot = self.slots[self.values["SCBPTR"] % SLOTS]

    def r_SCB(self, index: int) -> int:
        """A byte of the slot."""
        return self.slot[index]

    def w_SCB(self, index: int, value: int) -> None:
        """The same."""
        self.slot[index] = value

    def point_at(self, slot: int) -> bytearray:
        """The sequencer looks at *slot*."""
        self.values["SCBPTR"] = slot
        self.slot = self.slots[slot % SLOTS]
        return self.slot

    def w_HSCB_ADDR(self, index: int, value: int) -> None:
        """A byte of the SCB array's address."""
        self.values[f"HSCB_ADDR[{index}]"] = int(value)
        self.hscb_address = self.scratch32("HSCB_ADDR")

    def w_SHARED_DATA_ADDR(self, index: int, value: int) -> None:
        """A byte of the output queue's address."""
        self.values[f"SHARED_DATA_ADDR[{index}]"] = int(value)
        self.queue_address = self.scratch32("SHARED_DATA_ADDR")

    def w_HNSCB_QOFF(self, value: int) -> None:
        """There is more in the input queue."""
        self.values["HNSCB_QOFF"] = int(value)
        if self.run is Run.RUN:
            self.seq.kick()

    def r_SNSCB_QOFF(self) -> int:
        """Reading takes an entry: whoever only wants to know writes it back."""
        value = self.values["SNSCB_QOFF"]
        self.values["SNSCB_QOFF"] = (value + 1) & 0xFF
        return value

    @property
    def scb_avail(self) -> bool:
        """Whether the input queue has an entry for the sequencer."""
        return self.values["HNSCB_QOFF"] != self.values["SNSCB_QOFF"]

    def r_QOFF_CTLSTA(self) -> int:
        """Size of the queues, and whether there is an SCB."""
        return self.values["QOFF_CTLSTA"] | (QOffCtlSta.SCB_AVAIL.mask if self.scb_avail else 0)

    def w_QOFF_CTLSTA(self, value: int) -> None:
        """256 entries is what the program is made for."""
        if value & 0x07 != SCB_QSIZE_256:
            raise HardwareFault(f"QOFF_CTLSTA <- {value:#x}: the queues have 256 entries ({SCB_QSIZE_256})")
        self.values["QOFF_CTLSTA"] = int(value) & 0x07

    def w_HADDR(self, index: int, value: int) -> None:
        """A byte of the host address: with HADDLDSEL0 its fifth one."""
        if self.values["DSCOMMAND1"] & HADDLDSEL0:
            self.high_address = int(value)
        else:
            self.values[f"HADDR[{index}]"] = int(value)

    # -- the program -------------------------------------------------------------------------------

    def w_SEQADDR0(self, value: int) -> None:
        """Where the program goes on, or is loaded."""
        self.values["SEQADDR0"] = int(value)
        self._set_address()

    def w_SEQADDR1(self, value: int) -> None:
        """Its high bits."""
        self.values["SEQADDR1"] = int(value)
        self._set_address()

    def _set_address(self) -> None:
        address = self.values["SEQADDR1"] << 8 | self.values["SEQADDR0"]
        self.restart_due = address == 0
        self._loading_at = address * INSTRUCTION_BYTES

    def w_SEQRAM(self, value: int) -> None:
        """A byte of an instruction; only with LOADRAM."""
        if not self.values["SEQCTL"] & LOADRAM:
            raise HardwareFault(f"SEQRAM <- {value:#x} without SEQCTL.LOADRAM")
        if self._loading_at == 0:
            self.program.clear()
            self.program_bad = False
        if self._loading_at != len(self.program) or self._loading_at >= SEQRAM_INSTRUCTIONS * INSTRUCTION_BYTES:
            raise HardwareFault(f"SEQRAM <- {value:#x} at byte {self._loading_at}: the program is loaded from its"
                                f" beginning on, at most {SEQRAM_INSTRUCTIONS} instructions")
        self.program.append(value)
        self._loading_at += 1
        if self._loading_at % INSTRUCTION_BYTES == 0:
            word = int.from_bytes(self.program[-INSTRUCTION_BYTES:], "little")
            self.program_bad |= not word.bit_count() & 1
