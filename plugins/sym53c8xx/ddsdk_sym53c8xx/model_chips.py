"""What differs from chip to chip in the models: PCI face, instructions, FIFO; and how long things take.

Sources: SYM53C810A Data Manual, LSI53C895A Technical Manual v2.2, LSI53C1010 User Manual; windows as QEMU 7.2's
lsi53c895a has them, observed.  A 53C1010 has two functions with a bus each; one is modelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen
from attrs.validators import gt

from ddsdk.hookspecs.discovery import Chip
from ddsdk.sim.pci import BarSpec

from .regs import PCI_VENDOR_ID_LSI_LOGIC, PciDeviceId

US = 1_000
MS = 1_000_000
S = 1_000_000_000

_SMALL_BARS: Final = {0: BarSpec("io", 0x100), 1: BarSpec("mem", 0x100)}
_BARS: Final = {0: BarSpec("io", 0x100), 1: BarSpec("mem", 0x400), 2: BarSpec("mem", 0x2000, "ram")}
_WIDE_BARS: Final = {0: BarSpec("io", 0x100), 1: BarSpec("mem", 0x400, is_64=True),
                     3: BarSpec("mem", 0x2000, "ram", is_64=True)}


@frozen
class ChipProfile:
    """One chip.

    `istat1`: it has SRUN and the mailboxes.  `load_store`, `phase_jumps`, `wide_addresses`: instructions and modes of
    the 896 family.  `dfbc`: the register that counts the DMA FIFO; without it DFIFO and DBC have to be compared.
    `wide`: chained moves exist.  `dt`: phases 4 and 5 exist.  `fifo_bytes`: what the DMA FIFO holds of a move to the
    bus that stops half way.
    """

    chip: Chip
    bars: Mapping[int, BarSpec]
    istat1: bool = True
    load_store: bool = True
    phase_jumps: bool = True
    wide_addresses: bool = True
    dfbc: bool = False
    wide: bool = True
    dt: bool = False
    fifo_bytes: int = 112


LSI53C810 = ChipProfile(
    chip=Chip("53c810", PCI_VENDOR_ID_LSI_LOGIC, PciDeviceId.LSI_53C810, "LSI 53C810 Fast SCSI-2, 8 bits wide"),
    bars=_SMALL_BARS, istat1=False, load_store=False, phase_jumps=False, wide_addresses=False, wide=False,
    fifo_bytes=80)
LSI53C895A = ChipProfile(
    chip=Chip("53c895a", PCI_VENDOR_ID_LSI_LOGIC, PciDeviceId.LSI_53C895A, "LSI 53C895A Ultra2 SCSI, LVD"), bars=_BARS)
LSI53C1010 = ChipProfile(
    chip=Chip("53c1010", PCI_VENDOR_ID_LSI_LOGIC, PciDeviceId.LSI_53C1010_33,
              "LSI 53C1010-33 Ultra160 SCSI, one of its two channels"),
    bars=_WIDE_BARS, dfbc=True, dt=True)


def _positive(default: int) -> int:
    return field(default=default, validator=gt(0))


@frozen
class Timing:
    """Virtual nanoseconds: orders of magnitude, not measurements.  Moving bytes over the bus takes none."""

    insn_ns: int = _positive(500)               # one instruction
    start_ns: int = _positive(US)               # from a start to the first one
    arbitration_ns: int = _positive(3 * US)
    selection_ns: int = _positive(2 * US)
    req_ns: int = 1 * US                        # until the target asserts REQ for another phase
    patience_ns: int = 40_500                   # a target that needs longer than this disconnects: for every sector
    pause_ns: int = 50 * US                     # between a disconnect in mid data and the reselection
    burst_bytes: int = 512 << 10                # a target disconnects after so much data
    reset_hold_ns: int = 25 * US                # RST shorter than this is no reset (SCSI-2, 5.6.1)
    reset_to_selection_ns: int = 200 * MS       # targets do not answer after a reset
    status_gap_ns: int = 300                    # 12 clocks between reads of SIST0, SIST1, DSTAT
    # with a fault
    late_ns: int = 10 * S
    line_slow_ns: int = 4 * S
