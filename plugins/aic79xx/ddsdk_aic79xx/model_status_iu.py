"""The status information unit of a packetized command: into the host's sense buffer.  SPI-4 rev 10, 14.3."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault

from . import model_faulty
from .frames import SIU_SNSVALID
from .model_activity import STOPPED, Activity
from .regs import DfCntrl, Scratch, SeqIntCode
from .sequencer import P_BUSFREE, SG_CACHE_LAST_SEG, SG_CACHE_STATUS_IU, Phase

if TYPE_CHECKING:
    from ddsdk.sim.scsi_target import ScsiResult

    from .model_control import ChipControl

_IU_HEADER: Final = Struct(">2xBBII")
_AIMED: Final = DfCntrl.HDMAEN.mask | DfCntrl.SCSIEN.mask


def status_iu(chip: ChipControl, number: int, tag: int, result: ScsiResult) -> Activity:
    """Code 0F: the host aims the FIFO at its sense buffer; code 10 when the IU is longer than that."""
    bank = chip.fifos[number]
    bank.owner = tag
    chip.scsi.current_fifo = number
    bank.values["DFCNTRL"] = 0
    chip.set_mode(number, tag)
    chip.raise_seqint(SeqIntCode.CFG4ISTAT_INTR)
    yield STOPPED
    iu = _IU_HEADER.pack(SIU_SNSVALID if result.sense else 0, result.status, len(result.sense), 0) + result.sense
    if chip.faults.armed:
        iu = model_faulty.status_iu(chip, iu)
    control, room = bank.values["DFCNTRL"], bank.values["HCNT"]
    if control & _AIMED != _AIMED or control & DfCntrl.DIRECTION.mask:
        raise HardwareFault(f"status IU of SCB {tag:#x}: DFCNTRL is {control:#04x}, the FIFO was not aimed at"
                            " host memory")
    if not bank.values["SG_CACHE_PRE"] & (SG_CACHE_STATUS_IU | SG_CACHE_LAST_SEG):
        raise HardwareFault(f"status IU of SCB {tag:#x}: SG_CACHE_PRE says that another segment follows")
    if len(iu) > room:
        chip.set_mode(number, tag)
        chip.raise_seqint(SeqIntCode.STATUS_OVERRUN)
        yield STOPPED
        iu = iu[:room]
    chip.dma.write(bank.values["HADDR"], iu)
    bank.owner = None
    chip.scsi.current_fifo = 3
    bank.values["DFCNTRL"] = 0
    chip.put(Scratch.LASTPHASE, P_BUSFREE)
    if chip.scsi.phase != P_BUSFREE:
        chip.scsi.phase = Phase.STATUS
