"""What the driver knows of one adapter: its requests, its memory, its state.

Everything is allocated at probe: the dump path never needs memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE

from .frames import ScatterElement
from .regs import Caps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ddsdk.helperlib.kernel import DmaBuffer, Iomem, Kernel, PciDev, TaskletStruct, TimerList
    from ddsdk.scsi.cmnd import ScsiCmnd

#: Requests the driver makes at most, and segments of one.
CAN_QUEUE: Final = 16
SG_TABLESIZE: Final = 32
#: Sense bytes of a request: the size of scmd.sense_buffer.
SENSE_BYTES: Final = 96
ELEMENT_BYTES: Final = ScatterElement.on(WIRE_LE).size


class Request:
    """One request: where its pieces lie in `Adapter.pool` (offsets), and the command it carries.

    `tag` is that of its latest use.  `scmd` is None while the adapter does not hold it.  `mapped` is memory the adapter
    may still reach, as dma_map_sg() returned it.
    """

    __slots__ = ("block", "direction", "list", "mapped", "scmd", "sense", "tag")

    def __init__(self, number: int, block: int, list_: int, sense: int) -> None:
        self.tag = number
        self.block = block
        self.list = list_
        self.sense = sense
        self.scmd: ScsiCmnd | None = None
        self.mapped: Sequence[tuple[int, int]] = ()
        self.direction = 0


class Adapter:
    """struct {{cookiecutter.name}}_adapter: `shost.hostdata`.

    `queue_lock` protects `free`, `done`, the requests and the three flags.  `active`: requests may be submitted.
    `resetting`: a reset is under way.  `dead`: the last one failed.  `done`: tags the interrupt handler took and the
    tasklet has not looked at.  `wait`: who waits for a reset or an abort.
    """

    def __init__(self, pdev: PciDev, chip: Iomem, name: str) -> None:
        kernel = pdev.kernel
        self.kernel: Kernel = kernel
        self.pdev = pdev
        self.chip = chip
        self.name = name
        self.caps = Caps()
        self.segments = 0                   # elements of a request's scatter list
        self.queue_lock = kernel.spin_lock_init("{{cookiecutter.name}}.queue_lock")
        self.free: list[Request] = []
        self.done: list[int] = []
        self.requests: tuple[Request, ...] = ()
        self.active = self.resetting = self.dead = False
        self.reset_tries = 0
        self.reset_error = 0
        self.reset_deadline = 0
        self.wait = kernel.init_waitqueue_head()
        self.stale = 0                      # completions of requests the adapter does not hold
        # made by probe
        self.pool: DmaBuffer
        self.done_tasklet: TaskletStruct
        self.reset_tasklet: TaskletStruct
        self.reset_timer: TimerList

    def printk(self, text: str) -> None:
        """A line of the kernel log."""
        self.kernel.printk(f"{{cookiecutter.name}}: {self.name}: {text}")

    def forget(self) -> list[ScsiCmnd]:
        """The adapter holds no request any more, but may still reach their memory; the commands they carried."""
        scmds = [request.scmd for request in self.requests if request.scmd is not None]
        for request in self.requests:
            request.scmd = None
        self.done = []
        self.free = []
        return scmds

    def reclaim(self) -> None:
        """The adapter was reset and reaches no memory of ours: unmap what is mapped, every request is free."""
        for request in self.requests:
            self.unmap(request)
        self.free = list(reversed(self.requests))

    def unmap(self, request: Request) -> None:
        """End the request's mapping, if it has one; a crash half way does not unmap twice."""
        mapped, request.mapped = request.mapped, ()
        if mapped:
            self.kernel.dma_unmap_sg(self.pdev, mapped, request.direction)


def end_cmds(scmds: list[ScsiCmnd], host_byte: int) -> None:
    """Tell the mid-layer that *scmds* ended with *host_byte* and moved nothing."""
    for scmd in scmds:
        scmd.result = host_byte << 16
        scmd.resid = scmd.request_bufflen
        scmd.scsi_done(scmd)
