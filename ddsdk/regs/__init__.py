"""Register tables that read like the data sheet's page, and register values that are immutable integers.

    class Doorbell(Reg32):
        STATE = bits(31, 28, IocState, ro)
        DATA = bits(15, 0)

    class MptRegs(RegBlock, size=0x80):
        DOORBELL = Doorbell.at(0x00, ro)
        DOORBELL_W = DoorbellWrite.at(0x00, wo)     # same address, other direction

    Doorbell(0x10000000).STATE is IocState.READY    Doorbell.of(DATA=7)    Doorbell.STATE.mask == 0xF0000000

Overlaps, misalignment, fields outside their register and access kinds that contradict each other are
TypeErrors when the class is created.  Registers are little-endian groups of bytes, as PCI adapters have them.
"""

from __future__ import annotations

from .block import RegBlock, RegSlice
from .field import Access, Field, bit, bits, mbz, rc, ro, rw, w1c, w1s, wac, wo
from .placed import Placed, PlacedArray
from .value import Reg, Reg8, Reg16, Reg24, Reg32, Reg64

__all__ = [
    "Access",
    "Field",
    "Placed",
    "PlacedArray",
    "Reg",
    "Reg8",
    "Reg16",
    "Reg24",
    "Reg32",
    "Reg64",
    "RegBlock",
    "RegSlice",
    "bit",
    "bits",
    "mbz",
    "rc",
    "ro",
    "rw",
    "w1c",
    "w1s",
    "wac",
    "wo",
]
