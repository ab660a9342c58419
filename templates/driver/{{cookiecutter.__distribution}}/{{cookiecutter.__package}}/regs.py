"""The registers of the {{cookiecutter.chip}}: BAR 0, 256 bytes, 32 bits each.  Data sheet: README.md, "Registers"."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ddsdk.regs import Reg32, RegBlock, bit, bits, ro, wo

#: What a read gives that nobody answers: the adapter is gone, or does not decode memory.
ALL_ONES: Final = 0xFFFFFFFF
#: ID.SIGNATURE.
SIGNATURE: Final = 0x5C51
#: What DONE gives when no completion waits.
DONE_EMPTY: Final = 0xFFFFFFFF
#: RESET_TARGET: all targets.
WHOLE_BUS: Final = 0xFF
#: INTERRUPT_MASK with everything masked, as after a reset.
MASK_ALL: Final = 0x3


class State(IntEnum):
    """STATUS.STATE."""

    RESETTING = 0       # CONTROL.RESET was written; everything but another reset is ignored
    READY = 1           # waits for CONTROL.RUN
    RUNNING = 2         # takes requests
    FAULT = 3           # the firmware stopped; only a reset helps
    GONE = 15           # no state: what all ones decode to


class FaultCode(IntEnum):
    """STATUS.CODE while STATE is FAULT."""

    FIRMWARE = 0x01     # an assertion of the firmware's
    PCI_PARITY = 0x02   # a request could not be fetched
    SELF_TEST = 0x03    # after a reset
    RESTARTED = 0x04    # the firmware restarted by itself and has forgotten its requests


class Id(Reg32):
    """0x00: who is there."""

    SIGNATURE = bits(31, 16, ro)
    REVISION = bits(7, 0, ro)


class Caps(Reg32):
    """0x04: what the adapter can do."""

    OWN_ID = bits(23, 20, ro)           # its own id on the SCSI bus
    TARGETS = bits(19, 16, ro)          # ids 0..TARGETS-1 are served
    SEGMENTS = bits(15, 8, ro)          # elements of a scatter list
    QUEUE = bits(7, 0, ro)              # requests it holds at a time


class Control(Reg32):
    """0x08: RESET clears the other two."""

    INTERRUPT = bit(2)                  # the interrupt line may rise
    RUN = bit(1)                        # READY becomes RUNNING
    RESET = bit(0)                      # STATE is RESETTING from this write on


class Status(Reg32):
    """0x0C: the state; reading it has no effect."""

    CODE = bits(15, 8, ro)
    STATE = bits(3, 0, State, ro)


class Interrupt(Reg32):
    """0x10 what there is to report, masked or not; 0x14 the mask: 1 keeps it off the line."""

    FAULT = bit(1)                      # STATE is FAULT
    DONE = bit(0)                       # DONE is not empty


class Regs(RegBlock, size=0x100):
    """The register file."""

    ID = Id.at(0x00)
    CAPS = Caps.at(0x04)
    CONTROL = Control.at(0x08)
    STATUS = Status.at(0x0C)
    INTERRUPT_STATUS = Interrupt.at(0x10, ro)
    INTERRUPT_MASK = Interrupt.at(0x14, reset=MASK_ALL)
    SUBMIT_LOW = Reg32.at(0x18, wo)     # bus address of a request block, bits 31:0
    SUBMIT_HIGH = Reg32.at(0x1C, wo)    # bits 63:32; this write hands the block over
    DONE = Reg32.at(0x20, ro)           # pops the tag of a request that ended
    ABORT = Reg32.at(0x24, wo)          # the tag of a request that shall end now
    RESET_TARGET = Reg32.at(0x28, wo)   # the id of a target to be reset, or WHOLE_BUS
