"""The rig of a SCSI host adapter driver."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

from attrs import define, field

from ddsdk.hookspecs import ScsiHookSpecs
from ddsdk.integrity import CodeImage
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, DMA_NONE, DMA_TO_DEVICE, SUCCESS, ScsiCmnd
from ddsdk.scsi.host import ErrorHandler, ScsiDevice, ScsiHost
from ddsdk.scsi.scan import scan_host
from ddsdk.scsi.scsi_dump import ScsiDumpDevice
from ddsdk.sim.locks import SpinLock

from .rig import DATA, PAGE, C, DriverRig, M


@define(eq=False)
class ScsiDriverRig(DriverRig[M, C]):
    """One host adapter.  `done` is what scsi_done was told.

        class Rig(ScsiDriverRig[MyModel, Chip]):
            driver_hooks, default_chip, registers = MyDumpHooks, CHIPS[0], MyRegs

            @classmethod
            def plug(cls, machine, disk, chip, **options):
                return machine.pci.plug(build(machine, {(0, 0): ScsiTarget(disk)}))

            def attach(self):
                return my_probe(self.pdev, self.chip)
    """

    specs = ScsiHookSpecs

    host: ScsiHost | None = field(default=None, init=False)
    disk_device: ScsiDevice | None = field(default=None, init=False)

    @abstractmethod
    def attach(self) -> ScsiHost:
        """The driver's probe."""

    def find_disk(self) -> ScsiDevice:
        """The disk, as the mid-layer finds it."""
        return scan_host(self.shost)[0]

    def probe(self) -> Self:
        """See `DriverRig.probe`."""
        self.host = self.attach()
        return self

    @property
    def shost(self) -> ScsiHost:
        """The host the driver made."""
        assert self.host is not None
        return self.host

    @property
    def sdev(self) -> ScsiDevice:
        """The disk."""
        if self.disk_device is None:
            self.disk_device = self.find_disk()
        return self.disk_device

    @property
    def unit(self) -> ScsiDevice:
        """See `DriverRig.unit`."""
        return self.sdev

    @property
    def lock(self) -> SpinLock:
        """The host lock."""
        return self.shost.host_lock

    # -- commands ------------------------------------------------------------------------------------

    def command(self, command: bytes, direction: int = DMA_NONE, sg: Sequence[tuple[int, int]] = (),
                sdev: ScsiDevice | None = None, underflow: int = 0) -> ScsiCmnd:
        """A command, not queued."""
        scmd = ScsiCmnd(sdev or self.sdev)
        scmd.set_cdb(command)
        scmd.sc_data_direction = direction
        scmd.sg = tuple(sg)
        scmd.request_bufflen = sum(length for _, length in sg)
        scmd.underflow = underflow
        return scmd

    def tur(self, sdev: ScsiDevice | None = None) -> ScsiCmnd:
        """TEST UNIT READY."""
        return self.command(cdb.test_unit_ready(), sdev=sdev)

    def rw(self, write: bool, lba: int, sg: Sequence[tuple[int, int]] = ((DATA, PAGE),)) -> ScsiCmnd:
        """READ(10) or WRITE(10) of everything in *sg*, as the mid-layer issues it."""
        nbytes = sum(length for _, length in sg)
        return self.command(cdb.read_write(write, lba, nbytes // 512, False),
                            DMA_TO_DEVICE if write else DMA_FROM_DEVICE, sg, underflow=nbytes)

    def queue(self, *scmds: ScsiCmnd) -> int:
        """queuecommand of each; what it returned for the last one."""
        refused = 0
        for scmd in scmds:
            scmd.done = False
            refused = self.locked(self.shost.hostt.queuecommand, scmd, self.scsi_done)
        return refused

    def scsi_done(self, scmd: ScsiCmnd) -> None:
        """The completion; AssertionError for a second one."""
        assert not scmd.done, f"{scmd} ended twice"
        scmd.done = True
        self.done.append(scmd)

    def poll_until_done(self, *scmds: ScsiCmnd) -> int:
        """Poll until all have ended; how many ms it took."""
        return self.poll_until(lambda: all(scmd.done for scmd in scmds))

    def run(self, scmd: ScsiCmnd) -> ScsiCmnd:
        """Queue it, and let it end: by polling after the crash, by interrupt before."""
        assert self.queue(scmd) == 0
        self.wait_until(lambda: bool(scmd.done))
        return scmd

    def handle(self, handler: ErrorHandler | None, scmd: ScsiCmnd | None = None) -> int:
        """An error handler, called as the mid-layer does."""
        assert handler is not None
        return self.handled(handler, scmd or self.tur())

    def host_reset(self) -> int:
        """The host reset handler."""
        return self.handle(self.shost.hostt.eh_host_reset_handler)

    def attention(self) -> Self:
        """Use up the unit attention of the last reset: a command that fails, one that does not."""
        for _ in range(2):
            self.run(self.tur())
        self.done.clear()
        return self

    # -- the crash -----------------------------------------------------------------------------------

    def take_over(self) -> Self:
        """Crash, quiesce, host reset, and the unit attention used up: ready to dump."""
        self.crash()
        self.poll_while_waiting()
        assert self.hooks.quiesce(self.sdev) == 0
        assert self.host_reset() == SUCCESS
        return self.attention()

    def dump_device(self, queue_depth: int = 1) -> ScsiDumpDevice:
        """See `DriverRig.dump_device`."""
        return ScsiDumpDevice(self.sdev, self.hooks, 0, self.disk_bytes // 512, PAGE, CodeImage.take([]), queue_depth)
