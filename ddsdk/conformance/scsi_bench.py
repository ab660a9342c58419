"""The bench of a SCSI host adapter driver: queuecommand, scsi_done, the host reset handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ddsdk.bus import Segment
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import (
    DMA_FROM_DEVICE,
    DMA_NONE,
    DMA_TO_DEVICE,
    FAILED,
    SUCCESS,
    ScsiCmnd,
)
from ddsdk.scsi.disposition import Disposition, scsi_decide_disposition
from ddsdk.scsi.host import ErrorHandler, ScsiDevice, ScsiHost, ScsiHostTemplate
from ddsdk.scsi.load import IoLoad, Region
from ddsdk.scsi.midlayer import ScsiRequest
from ddsdk.scsi.scan import scan_host
from ddsdk.scsi.scsi_dump import ScsiDumpDevice
from ddsdk.sim.disk import Disk
from ddsdk.sim.locks import SpinLock
from ddsdk.sim.scsi_target import ScsiTarget

from .bench import Bench, BringUpFailed, Command
from .check import Need
from .ownlocks import queue_locks

#: 32 bits of LBA do not reach beyond.
_WIDE = 1 << 32


class ScsiBench(Bench):
    """`host` is the ScsiHost the driver's probe returned, `dev` the ScsiDevice of the disk."""

    host: ScsiHost
    dev: ScsiDevice
    device: ScsiDumpDevice
    target: ScsiTarget

    # -- bringing it up --------------------------------------------------------------------------------

    def _target(self, disk: Disk) -> Any:
        self.target = ScsiTarget(disk, autosense=self.plan.profile.autosense)
        return self.target

    def probe(self) -> None:
        """See `Bench.probe`."""
        self.host = self.probed(ScsiHost)

    def scan(self) -> None:
        """See `Bench.scan`."""
        wanted = self.plan.profile.disk_at
        only = None if self.setup.whole_scan else self._neighbours(*wanted)
        found = [sdev for sdev in scan_host(self.host, only) if (sdev.channel, sdev.id) == wanted]
        if not found or not found[0].online:
            last = self.kernel.log[-1:] or ["nothing"]
            raise BringUpFailed("scan", f"no disk that is ready answers at bus {wanted[0]}, id {wanted[1]}; the kernel"
                                        f" log ends with: {last[0]}")
        self.dev = found[0]

    def _neighbours(self, channel: int, target: int) -> tuple[tuple[int, int], ...]:
        """The disk's address, and one where nobody is: a scan of all of them is most of what a bench takes."""
        host = self.host
        absent = next((one for one in range(host.max_id) if one not in (target, host.this_id)), target)
        return (channel, target), (channel, absent)

    def make_device(self) -> None:
        """See `Bench.make_device`."""
        self.device = ScsiDumpDevice(self.dev, self.hooks, 0, self.setup.disk_bytes // 512, 4096, self.code_image(),
                                     self.setup.queue_depth, name=self.plan.driver.name)

    # -- what the driver says of itself ----------------------------------------------------------------

    @property
    def template(self) -> ScsiHostTemplate:
        """See `Bench.template`."""
        return self.host.hostt

    @property
    def driver_data(self) -> Any:
        """See `Bench.driver_data`."""
        return self.host.hostdata

    @driver_data.setter
    def driver_data(self, value: Any) -> None:
        self.host.hostdata = value

    @property
    def lock(self) -> SpinLock:
        """See `Bench.lock`."""
        return self.host.host_lock

    @property
    def depth(self) -> int:
        """See `Bench.depth`."""
        return self.host.can_queue

    @property
    def max_bytes(self) -> int:
        """See `Bench.max_bytes`: the template's, and what READ(10) can name."""
        return min(self.host.max_sectors * 512, 0xFFFF * self.setup.sector_size)

    @property
    def max_segments(self) -> int:
        """See `Bench.max_segments`."""
        return self.host.sg_tablesize

    # -- commands --------------------------------------------------------------------------------------

    def scsi_command(self, bytes_: bytes, direction: int = DMA_NONE, sg: Sequence[Segment] = (),
                     sdev: ScsiDevice | None = None) -> Command:
        """Any SCSI command."""
        scmd = ScsiCmnd(sdev or self.dev)
        scmd.set_cdb(bytes_)
        scmd.sc_data_direction, scmd.sg = direction, tuple(sg)
        scmd.request_bufflen = sum(length for _, length in sg)
        scmd.timeout_per_command = 30 * self.kernel.HZ
        return Command(scmd, direction == DMA_TO_DEVICE, 0, scmd.request_bufflen)

    def command(self, write: bool, sector: int, sg: Sequence[Segment]) -> Command:
        """See `Bench.command`."""
        sectors = sum(length for _, length in sg) // self.setup.sector_size
        wide = self.dev.use_16_for_rw or sector + sectors > _WIDE
        command = self.scsi_command(cdb.read_write(write, sector, sectors, wide),
                                    DMA_TO_DEVICE if write else DMA_FROM_DEVICE, sg)
        command.raw.underflow = command.nbytes
        command.sector = sector
        return command

    def probe_command(self) -> Command:
        """See `Bench.probe_command`."""
        return self.scsi_command(cdb.test_unit_ready())

    def command_again(self, command: Command) -> Command:
        """See `Bench.command_again`."""
        old: ScsiCmnd = command.raw
        again = self.scsi_command(bytes(old.cmnd[:old.cmd_len]), old.sc_data_direction, old.sg, old.device)
        again.raw.underflow = old.underflow
        again.sector = command.sector
        return again

    def start(self, command: Command) -> bool:
        """See `Bench.start`."""
        def scsi_done(scmd: ScsiCmnd) -> None:
            command.ended += 1
            scmd.done = True
            if command.on_end is not None:
                command.on_end()

        scmd: ScsiCmnd = command.raw
        scmd.serial_number = self.host.next_serial()
        scmd.done = False
        scmd.result = scmd.resid = 0
        scmd.clear_sense()
        flags = self.kernel.spin_lock_irqsave(self.host.host_lock)
        command.refused = self.host.hostt.queuecommand(scmd, scsi_done)
        self.returned("queuecommand")
        self.kernel.spin_unlock_irqrestore(self.host.host_lock, flags)
        return not command.refused

    def error_of(self, command: Command) -> str:
        """See `Bench.error_of`."""
        outcome = scsi_decide_disposition(command.raw)
        return "" if outcome.disposition is Disposition.SUCCESS else outcome.why

    # -- error handling --------------------------------------------------------------------------------

    @property
    def reset_handler(self) -> ErrorHandler | None:
        """The one the dump layer would call."""
        return self.host.hostt.eh_host_reset_handler or self.host.hostt.eh_bus_reset_handler

    def call_reset(self) -> bool:
        """See `Bench.call_reset`."""
        assert self.reset_handler is not None
        return self.call_handler(self.reset_handler) == SUCCESS

    def call_handler(self, handler: Callable[[ScsiCmnd], int], scmd: ScsiCmnd | None = None) -> int:
        """Any error handler, under host_lock with interrupts off; SUCCESS or FAILED, else a CheckFailed."""
        flags = self.kernel.spin_lock_irqsave(self.host.host_lock)
        result = handler(scmd or ScsiCmnd(self.dev))
        self.returned(getattr(handler, "__name__", "the error handler"))
        self.kernel.spin_unlock_irqrestore(self.host.host_lock, flags)
        self.expect(result in (SUCCESS, FAILED),
                    f"the error handler returned {result!r}; it must return SUCCESS ({SUCCESS:#x}) or FAILED"
                    f" ({FAILED:#x})")
        return result

    def error_handlers(self) -> Mapping[str, Callable[[Command], object]]:
        """See `Bench.error_handlers`."""
        hostt = self.host.hostt
        handlers = {"abort": hostt.eh_abort_handler, "device-reset": hostt.eh_device_reset_handler,
                    "bus-reset": hostt.eh_bus_reset_handler, "host-reset": hostt.eh_host_reset_handler}
        return {name: partial(self._handle, handler) for name, handler in handlers.items() if handler is not None}

    def _handle(self, handler: ErrorHandler, command: Command) -> bool:
        return self.call_handler(handler, command.raw) == SUCCESS

    def request(self) -> ScsiRequest:
        """A mid-layer request, for a task in normal mode."""
        return ScsiRequest(self.dev)

    def load(self, workers: int, reset_every: int = 0) -> IoLoad:
        """See `Bench.load`."""
        half = self.sectors // 2
        return IoLoad(self.dev, Region(half, half, writable=True), self.plan.seed, workers, 16, reset_every)

    # -- needs -----------------------------------------------------------------------------------------

    def lacks(self, need: Need) -> str:
        """See `Bench.lacks`."""
        hostt, hooks = self.host.hostt, self.hooks.implemented
        missing = {
            Need.SCSI: False,
            Need.ATA: True,
            Need.INTERRUPT: self.function.irq_line is None,
            Need.QUEUEING: self.depth < 2,
            Need.SCATTER: self.max_segments < 2,
            Need.HIGH_MEMORY: self.pdev.dma_mask <= 0xFFFF_FFFF,
            Need.BIG_SECTORS: self.plan.backend != "model",
            Need.ODD_SEGMENTS: hostt.dma_alignment >= 511,
            Need.QUIESCE: "quiesce" not in hooks,
            Need.SHUTDOWN: "shutdown" not in hooks,
            Need.SANITY: "dump_sanity_check" not in hooks,
            Need.RESET: self.reset_handler is None,
            Need.ABORT: hostt.eh_abort_handler is None,
            Need.DEVICE_RESET: hostt.eh_device_reset_handler is None,
            Need.BUS_RESET: hostt.eh_bus_reset_handler is None,
            Need.OWN_LOCK: need is Need.OWN_LOCK and not queue_locks(self),
        }
        return f"the driver offers no {need.value}" if missing.get(need) else ""
