"""What the adapter says: the response queue, the interrupt handler, and the poll that stands in for it.

hw-ipr.md sections 5, 11 and 12.  Polling the queue needs no register; a driver that looks at nothing else never
sees a dead adapter, so the poll reads INT every eighth time it finds nothing.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.bus import PCI_COMMAND, PCI_COMMAND_MEMORY, PCI_VENDOR_ID
from ddsdk.helperlib.kernel import IRQ_HANDLED, IRQ_NONE

from .adapter import INDEX_MASK
from .frames import HRRQ_HANDLE_SHIFT, HRRQ_TOGGLE_BIT, NUM_CMD_BLKS, ShutdownType
from .job import ipr_initiate_ioa_reset, ipr_ioa_gone, ipr_oper
from .regs import ALL_ONES, ERROR_INTERRUPTS, HRRQ_UPD, TO_OPER, UNIT_CHECK, Interrupt

if TYPE_CHECKING:
    from .adapter import IprIoaCfg

_HRRQ_UPD: Final = Interrupt(HRRQ_UPD)
#: Times HRRQ_UPD may come back with nothing in the queue (a later upstream driver's bound).
_MAX_CLEARS: Final = 3
#: Entries taken in one go: more than can be there.
_MAX_ENTRIES: Final = 2 * NUM_CMD_BLKS
_LAST: Final = NUM_CMD_BLKS - 1
_WORD_BYTES: Final = 4
#: INT is looked at when so many polls in a row found nothing.
_QUIET_POLLS: Final = 8
_word: Final = Struct(">I").unpack_from


def ipr_drain(ioa_cfg: IprIoaCfg) -> int:
    """Take every new entry of the response queue and end what it is about; how many there were.

    An entry is new when its toggle bit is that of this lap.  A response that belongs to no use of its block under way
    is stale, foreign or a duplicate, and is dropped; one for a block that there is not means a broken adapter.
    """
    word_of, blocks = ioa_cfg.word, ioa_cfg.blocks
    found = 0
    if ioa_cfg.distrusted:
        return found
    word = word_of(ioa_cfg.hrrq_offset + _WORD_BYTES * ioa_cfg.hrrq_curr)
    while word & HRRQ_TOGGLE_BIT == ioa_cfg.toggle_bit:
        if ioa_cfg.hrrq_curr == _LAST:
            ioa_cfg.hrrq_curr = 0
            ioa_cfg.toggle_bit ^= HRRQ_TOGGLE_BIT
        else:
            ioa_cfg.hrrq_curr += 1
        found += 1
        handle = word >> HRRQ_HANDLE_SHIFT
        index = handle & INDEX_MASK
        if index >= NUM_CMD_BLKS or found > _MAX_ENTRIES:
            _broken(ioa_cfg, f"response {word:#010x} is for a block that there is not"
                    if index >= NUM_CMD_BLKS else f"the response queue is not empty after {found} entries")
            return found
        ipr_cmd = blocks[index]
        if handle == ipr_cmd.handle:
            ipr_cmd.held = False
        if handle == ipr_cmd.handle and ipr_cmd.pending:
            ipr_cmd.pending = False
            if ipr_cmd.timed:
                ipr_cmd.timed = False
                ioa_cfg.kernel.del_timer(ipr_cmd.timer)
            ipr_cmd.done(ioa_cfg, ipr_cmd)
        else:
            ioa_cfg.stale_responses += 1
        word = word_of(ioa_cfg.hrrq_offset + _WORD_BYTES * ioa_cfg.hrrq_curr)
    return found


def _broken(ioa_cfg: IprIoaCfg, why: str) -> None:
    """Nothing the adapter says can be trusted any more, until it was reset."""
    ioa_cfg.distrusted = True
    if not ioa_cfg.in_reset_reload:
        ipr_initiate_ioa_reset(ioa_cfg, ShutdownType.NONE, why)


# -- the interrupt -------------------------------------------------------------------------------------------


def ipr_isr(_irq: int, ioa_cfg: IprIoaCfg) -> int:
    """irqreturn_t ipr_isr(int irq, void *devp, ...): take every response, then whatever else INT says."""
    if not ioa_cfg.allow_interrupts:
        return IRQ_NONE
    readl, regs, at = ioa_cfg.readl, ioa_cfg.hdw_dma_regs, ioa_cfg.int_at
    int_reg = readl(regs, at)
    if not int_reg & (ERROR_INTERRUPTS | HRRQ_UPD | (TO_OPER if ioa_cfg.waits_for_oper else 0)):
        return IRQ_NONE
    clears = 0
    while int_reg & HRRQ_UPD and int_reg != ALL_ONES:
        if not ipr_drain(ioa_cfg):
            clears += 1
            if clears > _MAX_CLEARS:
                _broken(ioa_cfg, f"INT {int_reg:08x}: HRRQ_UPD cannot be cleared")
                return IRQ_HANDLED
        ioa_cfg.writel(HRRQ_UPD, regs, ioa_cfg.regs.INT_CLR)
        int_reg = readl(regs, at)
    ipr_drain(ioa_cfg)
    if ioa_cfg.allow_interrupts:
        ipr_handle_other_interrupt(ioa_cfg, int_reg)
    return IRQ_HANDLED


def ipr_handle_other_interrupt(ioa_cfg: IprIoaCfg, int_reg: int) -> None:
    """INT beyond the response queue: the adapter became operational, failed, or is gone."""
    if int_reg == ALL_ONES:
        _all_ones(ioa_cfg)
    elif int_reg & ERROR_INTERRUPTS:
        if int_reg & UNIT_CHECK:
            ioa_cfg.ioa_unit_checked = True
        ipr_initiate_ioa_reset(ioa_cfg, ShutdownType.NONE, f"permanent adapter failure, INT {int_reg:08x}")
    elif int_reg & TO_OPER and ioa_cfg.waits_for_oper:
        ipr_oper(ioa_cfg)


def _all_ones(ioa_cfg: IprIoaCfg) -> None:
    """No register answers: somebody switched decoding off, which a reset mends, or the adapter is gone."""
    kernel, pdev = ioa_cfg.kernel, ioa_cfg.pdev
    present = kernel.pci_read_config_word(pdev, PCI_VENDOR_ID) == pdev.vendor
    if present and not kernel.pci_read_config_word(pdev, PCI_COMMAND) & PCI_COMMAND_MEMORY:
        ipr_initiate_ioa_reset(ioa_cfg, ShutdownType.NONE, "its memory space is switched off")
    else:
        ipr_ioa_gone(ioa_cfg)


# -- the poll ------------------------------------------------------------------------------------------------


def ipr_poll(ioa_cfg: IprIoaCfg) -> None:
    """The interrupt handler by hand: the queue, and now and then INT when there is nothing in it."""
    at = ioa_cfg.hrrq_offset + _WORD_BYTES * ioa_cfg.hrrq_curr
    if _word(ioa_cfg.view, at)[0] & HRRQ_TOGGLE_BIT == ioa_cfg.toggle_bit:
        ioa_cfg.quiet_polls = 0
        ipr_drain(ioa_cfg)
        return
    ioa_cfg.quiet_polls += 1
    if ioa_cfg.waits_for_oper or (ioa_cfg.hrrq_live and not ioa_cfg.quiet_polls % _QUIET_POLLS):
        int_reg = ioa_cfg.readl(ioa_cfg.hdw_dma_regs, ioa_cfg.int_at)
        if int_reg & (ERROR_INTERRUPTS | TO_OPER):
            ipr_handle_other_interrupt(ioa_cfg, int_reg)
