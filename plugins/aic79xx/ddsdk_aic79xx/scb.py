"""struct scb: one command as the driver holds it, and the elements that the chip reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ddsdk.scsi.cmnd import ScsiCmnd


class ScbFlag:
    """Scb.flags, as plain numbers."""

    NONE: Final = 0
    SENSE: Final = 0x01                # it carries REQUEST SENSE for its command
    PACKETIZED: Final = 0x02           # sent under an agreement on information units
    TRANSMISSION_ERROR: Final = 0x04
    NEGOTIATE: Final = 0x08            # with MK_MESSAGE: a negotiation
    DEVICE_RESET: Final = 0x10         # with MK_MESSAGE: BUS DEVICE RESET
    ABORT: Final = 0x20                # with MK_MESSAGE: ABORT TASK
    GONE_OVER: Final = 0x40            # with ABORT: the target lost the agreement, the command is to be sent again


@frozen(eq=False)
class Element:
    """A HardwareScb in host memory: as the host sees it, and where the chip does."""

    view: memoryview
    busaddr: int


NO_ELEMENT: Final = Element(memoryview(b""), 0)


class Scb:
    """struct scb: one command.  `tag` names it to the chip; `element` is the memory it would be put into next but one.

    `host_byte`: DID_* that the driver has decided on, None while nothing speaks against success.
    """

    __slots__ = ("cdb", "direction", "element", "flags", "host_byte", "lqo_retries", "lun", "mapped", "requeues",
                 "resid", "scmd", "sense_busaddr", "sense_offset", "sg_busaddr", "sg_offset", "status", "tag",
                 "tagged", "target", "task_management")

    def __init__(self, tag: int, element: Element) -> None:
        self.tag = tag
        self.element = element
        self.sg_offset = self.sg_busaddr = 0
        self.sense_offset = self.sense_busaddr = 0
        self.mapped: Sequence[tuple[int, int]] = ()         # what dma_map_sg() returned
        self.direction = 0
        self.scmd: ScsiCmnd | None = None
        self.clear()

    def clear(self) -> None:
        """As before a command."""
        self.flags = 0                      # ScbFlag
        self.target = self.lun = 0
        self.cdb = b""
        self.tagged = False
        self.task_management = 0
        self.host_byte: int | None = None
        self.status = self.resid = 0
        self.requeues = self.lqo_retries = 0

    def __repr__(self) -> str:
        return f"<scb {self.tag} {self.target}:{self.lun} flags {self.flags:#x}>"
