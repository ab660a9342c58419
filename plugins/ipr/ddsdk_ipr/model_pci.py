"""The adapter's configuration space: PCI-X capability, built-in self test, and what the test leaves of the rest.

PCI Local Bus Specification 3.0, 6.2.4 (BIST) and 6.2.5 (BARs); PCI-X addendum, 7.2 (capability).  hw-ipr.md section
13: during BIST configuration space other than the ids is lost.
"""

from __future__ import annotations

from typing import Any, Protocol

from ddsdk.bus import (
    PCI_BASE_ADDRESS_0,
    PCI_CACHE_LINE_SIZE,
    PCI_COMMAND,
    PCI_COMMAND_MASTER,
    PCI_COMMAND_MEMORY,
    PCI_INTERRUPT_LINE,
    PCI_LATENCY_TIMER,
)
from ddsdk.sim.model import HwModel
from ddsdk.sim.pci import SimPciFunction

from .model_chips import ChipProfile
from .regs import PCI_BIST, PCI_BIST_CAPABLE, PCI_BIST_START, PCI_CAP_ID_PCIX, PCI_VENDOR_ID_IBM, PCI_X_CMD

_CAPABILITIES_AT = 0x40
_PCIX_CMD_AT = _CAPABILITIES_AT + PCI_X_CMD
_PCIX_CMD_BITS = 0x007F
#: Id, next (none), command word, status dword.
_PCIX = bytes((PCI_CAP_ID_PCIX, 0, 0, 0, 0, 0, 3, 0))


class SelfTested(Protocol):
    """What the function asks of the adapter behind it."""

    pci: IprFunction

    def begin_bist(self) -> bool:
        """BIST was started: false when nothing comes of it."""


class IprFunction(SimPciFunction):
    """One adapter's PCI function."""

    def __init__(self, ioa: Any, chip: ChipProfile) -> None:
        self._bist = PCI_BIST_CAPABLE
        self._pcix = 0
        self._home = 0
        model: HwModel = ioa
        super().__init__(model, vendor=chip.chip.vendor, device=chip.chip.device, bars={0: chip.bar},
                         class_code=chip.class_code, revision=chip.revision,
                         subsystem=(PCI_VENDOR_ID_IBM, chip.subsystem_id), capabilities=_PCIX)
        self._ioa: SelfTested = ioa
        self._ioa.pci = self

    def attach(self, name: str, *rest: Any) -> None:
        """See `SimPciFunction.attach`; the address firmware gave BAR 0 is where it is mapped."""
        super().attach(name, *rest)
        self._home = super().config_read(PCI_BASE_ADDRESS_0, 4)

    # -- accesses --------------------------------------------------------------------------------------

    def config_read(self, offset: int, size: int) -> int:
        """See `SimPciFunction.config_read`."""
        value = super().config_read(offset, size)
        if self.removed:
            return value
        for at, byte in ((PCI_BIST, self._bist), (_PCIX_CMD_AT, self._pcix & 0xFF), (_PCIX_CMD_AT + 1,
                                                                                    self._pcix >> 8)):
            if offset <= at < offset + size:
                shift = 8 * (at - offset)
                value = value & ~(0xFF << shift) | byte << shift
        return value

    def config_write(self, offset: int, size: int, value: int) -> None:
        """See `SimPciFunction.config_write`.  Lost while BIST runs."""
        self._config.check(self.name, "write", offset, size)
        if self.removed or self._bist & PCI_BIST_START:
            return
        super().config_write(offset, size, value)
        self._where_it_decodes()
        for at in range(offset, offset + size):
            byte = value >> 8 * (at - offset) & 0xFF
            if at == PCI_BIST and byte & PCI_BIST_START:
                self._start()
            elif at == _PCIX_CMD_AT:
                self._pcix = self._pcix & 0xFF00 | byte & _PCIX_CMD_BITS
            elif at == _PCIX_CMD_AT + 1:
                self._pcix = self._pcix & 0x00FF | byte << 8 & _PCIX_CMD_BITS

    def _where_it_decodes(self) -> None:
        """A BAR that was lost, or put elsewhere, does not answer where the driver mapped it."""
        self._apply_command()
        if super().config_read(PCI_BASE_ADDRESS_0, 4) != self._home:
            self.decodes &= ~PCI_COMMAND_MEMORY

    # -- BIST ------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if not self._ioa.begin_bist():
            return
        for at, size in ((PCI_COMMAND, 2), (PCI_CACHE_LINE_SIZE, 1), (PCI_LATENCY_TIMER, 1),
                         (PCI_BASE_ADDRESS_0, 4), (PCI_INTERRUPT_LINE, 1)):
            super().config_write(at, size, 0)
        self._pcix = 0
        self._where_it_decodes()
        self._bist = PCI_BIST_CAPABLE | PCI_BIST_START

    def bist_over(self, code: int) -> None:
        """BIST ended with completion *code*: 0 passed."""
        self._bist = PCI_BIST_CAPABLE | code

    def drop_bus_master(self) -> None:
        """Somebody switched bus mastering off."""
        super().config_write(PCI_COMMAND, 2, super().config_read(PCI_COMMAND, 2) & ~PCI_COMMAND_MASTER)
