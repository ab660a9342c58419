"""The bench of an IDE interface driver: do_rw_taskfile, ide_end_drive_cmd, the soft reset.

One command at a time a channel: the bench queues where the mid-layer's own requests queue, so that a load and a check
do not meet inside the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from ddsdk.ata.disposition import ide_decide_disposition
from ddsdk.ata.host import IdeDrive, IdeHwif, IdePortInfo, ide_started, ide_stopped
from ddsdk.ata.ide_dump import SECTORS_28, SECTORS_48, AtaDumpDevice
from ddsdk.ata.load import IoLoad, Region
from ddsdk.ata.midlayer import IdeRequest
from ddsdk.ata.scan import scan_hwif
from ddsdk.ata.taskfile import (
    TASKFILE_NO_DATA,
    WIN_CHECKPOWERMODE1,
    AtaTaskfile,
    IdeTask,
    control,
    rw_taskfile,
)
from ddsdk.block.outcome import Disposition
from ddsdk.bus import Segment
from ddsdk.errors import PluginError
from ddsdk.sim.ata_drive import AtaDrive, AtaIdentity
from ddsdk.sim.disk import Disk
from ddsdk.sim.locks import SpinLock

from .bench import Bench, BringUpFailed, Command
from .check import Need
from .ownlocks import queue_locks

#: A drive that keeps its block size over a soft reset: settings are the mid-layer's to send again, not the driver's.
_IDENTITY: Final = AtaIdentity(power_on_multiple=16)


@frozen(eq=False)
class _Sent:
    """A command that is outstanding; `crash`: it was sent after the crash."""

    command: Command
    crash: bool


class AtaBench(Bench):
    """`host` is the IdeHwif the driver's probe returned, `dev` the IdeDrive of the disk, on `hwif`."""

    host: IdeHwif
    dev: IdeDrive
    device: AtaDumpDevice
    drive: AtaDrive
    _sent: _Sent | None = None

    # -- bringing it up --------------------------------------------------------------------------------

    def _target(self, disk: Disk) -> Any:
        self.drive = AtaDrive(disk, _IDENTITY)
        return self.drive

    def probe(self) -> None:
        """See `Bench.probe`."""
        self._sent = None
        self.host = self.probed(IdeHwif)

    def scan(self) -> None:
        """See `Bench.scan`."""
        wanted = self.plan.profile.disk_at
        found = [drive for drive in scan_hwif(self.host) if (drive.hwif.channel, drive.unit) == wanted]
        if not found or not found[0].online:
            last = self.kernel.log[-1:] or ["nothing"]
            raise BringUpFailed("scan", f"no disk that is ready answers at channel {wanted[0]}, unit {wanted[1]}; the"
                                        f" kernel log ends with: {last[0]}")
        self.dev = found[0]

    def make_device(self) -> None:
        """See `Bench.make_device`."""
        self.device = AtaDumpDevice(self.dev, self.hooks, 0, self.setup.disk_bytes // 512, 4096, self.code_image(),
                                    self.setup.queue_depth, name=self.plan.driver.name)

    # -- what the driver says of itself ----------------------------------------------------------------

    @property
    def hwif(self) -> IdeHwif:
        """The disk's channel."""
        channel = self.plan.profile.disk_at[0]
        return next((one for one in self.host.channels if one.channel == channel), self.host)

    @property
    def template(self) -> IdePortInfo:
        """See `Bench.template`."""
        return self.hwif.port_info

    @property
    def driver_data(self) -> Any:
        """See `Bench.driver_data`."""
        return self.hwif.hwif_data

    @driver_data.setter
    def driver_data(self, value: Any) -> None:
        self.hwif.hwif_data = value

    @property
    def lock(self) -> SpinLock:
        """See `Bench.lock`."""
        return self.hwif.ide_lock

    @property
    def depth(self) -> int:
        """See `Bench.depth`: a channel has one command."""
        return 1

    @property
    def max_bytes(self) -> int:
        """See `Bench.max_bytes`: the port's, and what a count register can name."""
        sectors = SECTORS_48 if self.dev.lba48 else SECTORS_28
        return min(self.hwif.max_sectors * 512, sectors * self.setup.sector_size)

    @property
    def max_segments(self) -> int:
        """See `Bench.max_segments`."""
        return self.hwif.sg_tablesize

    # -- commands --------------------------------------------------------------------------------------

    def task(self, tf: AtaTaskfile, data_phase: int = TASKFILE_NO_DATA, sg: Sequence[Segment] = (),
             drive: IdeDrive | None = None) -> Command:
        """Any taskfile command."""
        task = IdeTask(drive or self.dev)
        task.tf, task.data_phase = tf, data_phase
        task.sg, task.nbytes = tuple(sg), sum(length for _, length in sg)
        task.timeout = 30 * self.kernel.HZ
        return Command(task, task.to_device, 0, task.nbytes)

    def command(self, write: bool, sector: int, sg: Sequence[Segment]) -> Command:
        """See `Bench.command`: by DMA, MULTIPLE or sector by sector, as the drive is set up now."""
        sectors = sum(length for _, length in sg) // self.setup.sector_size
        command = self.task(*rw_taskfile(self.dev, write, sector, sectors), sg)
        command.sector = sector
        return command

    def probe_command(self) -> Command:
        """See `Bench.probe_command`."""
        return self.task(control(self.dev.unit, WIN_CHECKPOWERMODE1))

    def command_again(self, command: Command) -> Command:
        """See `Bench.command_again`."""
        old: IdeTask = command.raw
        again = self.task(old.tf, old.data_phase, old.sg, old.drive)
        again.sector = command.sector
        return again

    @property
    def _busy(self) -> bool:
        """A command is outstanding, by what the mid-layer knows: the dead one's knowledge is none of the dump's."""
        if self.crashed:
            return self._sent is not None and self._sent.crash
        return self._sent is not None or self.hwif.busy

    def start(self, command: Command) -> bool:
        """See `Bench.start`: the driver is not asked while a command is outstanding."""
        if self._busy:
            command.refused = 1
            return False

        def ide_done(task: IdeTask) -> None:
            command.ended += 1
            task.done = True
            self._over(command)
            if command.on_end is not None:
                command.on_end()

        task: IdeTask = command.raw
        hwif = self.hwif
        task.prepare(task.tf, task.data_phase, hwif.next_serial())
        self._sent = _Sent(command, self.crashed)
        if not self.crashed:
            hwif.queue.append(command)
        flags = self.kernel.spin_lock_irqsave(hwif.ide_lock)
        answer = self.template.do_rw_taskfile(task, ide_done)
        self.returned("do_rw_taskfile")
        self.kernel.spin_unlock_irqrestore(hwif.ide_lock, flags)
        if answer not in (ide_started, ide_stopped):
            raise PluginError(f"do_rw_taskfile of {self.plan.driver.name} returned {answer!r}; it must return"
                              " ide_started or ide_stopped")
        command.refused = int(answer == ide_stopped)
        if command.refused:
            self._over(command)
        return not command.refused

    def _over(self, command: Command | None) -> None:
        """*command* is not outstanding any more; None: whatever is."""
        sent = self._sent
        if sent is None or command not in (None, sent.command):
            return
        self._sent = None
        if not self.crashed and sent.command in self.hwif.queue:
            self.hwif.queue.remove(sent.command)
            self.kernel.wake_up(self.hwif.wait)

    def error_of(self, command: Command) -> str:
        """See `Bench.error_of`."""
        outcome = ide_decide_disposition(command.raw)
        return "" if outcome.disposition is Disposition.SUCCESS else outcome.why

    # -- error handling --------------------------------------------------------------------------------

    @property
    def reset_may_forget(self) -> bool:
        """See `Bench.reset_may_forget`: ide_do_reset() leaves that to the time-out."""
        return True

    def call_reset(self) -> bool:
        """See `Bench.call_reset`: the channel's soft reset, as the mid-layer calls it."""
        do_reset, hwif = self.template.do_reset, self.hwif
        assert do_reset is not None
        hwif.resetting = not self.crashed
        flags = self.kernel.spin_lock_irqsave(hwif.ide_lock)
        answer = do_reset(self.dev)
        self.returned("do_reset")
        self.kernel.spin_unlock_irqrestore(hwif.ide_lock, flags)
        if not isinstance(answer, int) or answer > 0:
            raise PluginError(f"do_reset of {self.plan.driver.name} returned {answer!r}; it must return 0 or -errno")
        self._over(None)
        if not self.crashed:
            hwif.resetting = False
            self.kernel.wake_up(hwif.wait)
        return answer == 0

    def error_handlers(self) -> Mapping[str, Callable[[Command], object]]:
        """See `Bench.error_handlers`: there is the reset, and nothing milder."""
        return {} if self.template.do_reset is None else {"host-reset": lambda _command: self.call_reset()}

    def call_quiesce(self) -> int:
        """See `Bench.call_quiesce`; nothing is outstanding afterwards."""
        answer = super().call_quiesce()
        self._over(None)
        return answer

    def request(self) -> IdeRequest:
        """A mid-layer request, for a task in normal mode."""
        return IdeRequest(self.dev)

    def load(self, workers: int, reset_every: int = 0) -> IoLoad:
        """See `Bench.load`."""
        half = self.sectors // 2
        return IoLoad(self.dev, Region(half, half, writable=True), self.plan.seed, workers, 16, reset_every)

    # -- needs -----------------------------------------------------------------------------------------

    def lacks(self, need: Need) -> str:
        """See `Bench.lacks`."""
        info, hooks = self.template, self.hooks.implemented
        missing = {
            Need.SCSI: True,
            Need.ATA: False,
            Need.INTERRUPT: self.function.irq_line is None,
            Need.QUEUEING: True,
            Need.SCATTER: self.max_segments < 2,
            Need.HIGH_MEMORY: self.pdev.dma_mask <= 0xFFFF_FFFF,
            Need.BIG_SECTORS: self.plan.backend != "model",
            Need.ODD_SEGMENTS: info.dma_alignment >= 511,
            Need.QUIESCE: "quiesce" not in hooks,
            Need.SHUTDOWN: "shutdown" not in hooks,
            Need.SANITY: "dump_sanity_check" not in hooks,
            Need.RESET: info.do_reset is None,
            Need.ABORT: True,
            Need.DEVICE_RESET: True,
            Need.BUS_RESET: True,
            Need.OWN_LOCK: need is Need.OWN_LOCK and not queue_locks(self),
        }
        return f"the driver offers no {need.value}" if missing.get(need) else ""
