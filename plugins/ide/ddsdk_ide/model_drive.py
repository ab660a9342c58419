"""One drive as its channel sees it: registers, the command under way, its blocks and its end.

States: hw-ide.md 10.  What the drive does with a command is `ddsdk.sim.ata_drive`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim import ata_taskfile as ata
from ddsdk.sim.ata_command import AtaCommand, Transfer
from ddsdk.sim.ata_drive import AtaDrive, AtaResult, Taskfile
from ddsdk.sim.ata_taskfile import ABRT, BSY, DF, DRQ, ERR, ICRC, Protocol

from .model_personality import READY

if TYPE_CHECKING:
    from .model_channel import ChannelModel

#: These registers hold two bytes: the last one written, and the one before.
PAIRS: Final = ("FEATURE", "NSECTOR", "LBAL", "LBAM", "LBAH")
_FLUSHES: Final = (ata.FLUSH_CACHE, ata.FLUSH_CACHE_EXT)
_DMA: Final = (ata.READ_DMA, ata.READ_DMA_EXT, ata.WRITE_DMA, ata.WRITE_DMA_EXT)
_EXT: Final = (ata.READ_SECTORS_EXT, ata.READ_MULTIPLE_EXT, ata.WRITE_SECTORS_EXT, ata.WRITE_MULTIPLE_EXT)
_ABORTED: Final = (READY | ERR, ABRT)


class Phase(Enum):
    """Where a drive is with its command."""

    IDLE = "nothing under way"
    BUSY = "a command, or a block, is being worked on"
    DATA_IN = "a block waits to be read"
    DATA_OUT = "a block waits to be written"
    DMA = "data moves by the bus master, or waits for it"
    RESET = "SRST, or what follows it"
    DEAD = "it stopped; only a reset helps"


class DriveModel:
    """Unit *unit* of *channel*.  `intrq`: it asks for an interrupt, whether or not nIEN lets it.

    `host_mode`: the transfer mode the host set since the last reset, 0 none.  `epoch` counts resets: what was scheduled
    before is void.
    """

    def __init__(self, channel: ChannelModel, unit: int, drive: AtaDrive) -> None:
        self.channel = channel
        self.personality = channel.personality
        self.unit = unit
        self.drive = drive
        self.epoch = 0
        self.host_mode = 0
        self.ended = 0                          # commands, ever
        self.sent = Taskfile()                  # the last one, as it came
        self.pairs = dict.fromkeys(PAIRS, (0, 0))
        self.phase, self.status, self.intrq = Phase.IDLE, READY, False
        self.error = channel.personality.power_on_error
        self.show(ata.SIGNATURE)
        self._clear()

    def _clear(self) -> None:
        self.command: AtaCommand | None = None
        self._last: AtaResult | None = None     # how a read ends, once its last block is taken
        self._block = bytearray()
        self._at = 0

    def later(self, delay_ns: int, call: Callable[..., object], *arguments: Any) -> None:
        """Do something in *delay_ns*, unless there is a reset before."""
        clock = self.channel.clock
        clock.at_ns(clock.now_ns + delay_ns, self._fire, self.epoch, call, arguments)

    def _fire(self, epoch: int, call: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        if epoch == self.epoch:
            call(*arguments)

    def interrupt(self) -> None:
        """Ask for one."""
        self.intrq = True
        self.channel.drive_line()

    def served(self) -> None:
        """The host read the status, or wrote a command."""
        if self.intrq:
            self.intrq = False
            self.channel.drive_line()

    # -- registers -------------------------------------------------------------------------------------------

    def show(self, tf: Taskfile) -> None:
        """What a command leaves in the registers."""
        self.pairs["NSECTOR"] = (tf.nsector, tf.hob_nsector)
        self.pairs["LBAL"] = (tf.lbal, tf.hob_lbal)
        self.pairs["LBAM"] = (tf.lbam, tf.hob_lbam)
        self.pairs["LBAH"] = (tf.lbah, tf.hob_lbah)

    # -- reset -----------------------------------------------------------------------------------------------

    def reset_begins(self) -> None:
        """SRST was set: whatever was under way is forgotten."""
        self.epoch += 1
        self._clear()
        self.phase, self.status, self.intrq, self.host_mode = Phase.RESET, self.personality.busy, False, 0

    def reset_ends(self, code: int) -> None:
        """Ready again, with diagnostic *code*."""
        result = self.drive.reset()
        self.phase, self.status, self.error = Phase.IDLE, result.status, code
        self.show(result.taskfile)

    # -- a command begins ------------------------------------------------------------------------------------

    def take(self, code: int) -> None:
        """COMMAND was written; BSY shows in a moment."""
        if self.status & (BSY | DRQ):
            if self.personality.strict:
                raise HardwareFault(f"COMMAND <- {code:#04x} while STATUS of drive {self.unit} is {self.status:#04x}:"
                                    " wait until BSY and DRQ are clear")
            return
        self.served()
        self._clear()
        (feature, hob_feature), *rest = [self.pairs[name] for name in PAIRS]
        (count, hob_count), (lbal, hob_lbal), (lbam, hob_lbam), (lbah, hob_lbah) = rest
        self.sent = Taskfile(code, feature, count, lbal, lbam, lbah, self.channel.device, hob_feature, hob_count,
                             hob_lbal, hob_lbam, hob_lbah)
        self.command = command = self.drive.begin(self.sent)
        self.phase = Phase.BUSY
        self.later(self.channel.timing.busy_ns, self._busy, command)

    def _busy(self, command: AtaCommand) -> None:
        self.status = self.personality.busy
        if not self.channel.piix.faults.armed or self._goes_on():
            self.later(command.service_ns, self._ready, command)

    def _goes_on(self) -> bool:
        """Whether it does after what faults make of it."""
        strikes = self.channel.strikes
        if strikes("firmware-fault") is not None:
            self.phase = Phase.DEAD
            return False
        if strikes("command-hung") is not None:
            return False
        if strikes("irq-spurious") is not None:
            self.interrupt()
        if self.ended and strikes("irq-stale") is not None:
            self.interrupt()
        return True

    def _ready(self, command: AtaCommand) -> None:
        """BSY falls: over, or time for data."""
        if command.result is not None and command.result.hang:
            return
        refused = self._refused(command) if self.channel.piix.faults.armed else None
        if refused is not None:
            self.end(refused)
        elif command.result is not None or command.protocol is Protocol.NON_DATA:
            self.end(command.result or command.move())
        elif command.protocol is Protocol.PIO_IN:
            self._next_block(command)
        elif command.protocol is Protocol.PIO_OUT:
            self._offer(command)
        else:
            self.phase, self.status = Phase.DMA, self.personality.dma_waiting
            self.channel.engine.drive_ready(self)

    def _refused(self, command: AtaCommand) -> AtaResult | None:
        """What a fault makes of it instead."""
        strikes, taskfile = self.channel.strikes, command.taskfile
        if (strikes("command-aborted") is not None
                or (taskfile.command in _FLUSHES and strikes("flush-fails") is not None)
                or (taskfile.command == ata.SET_MULTIPLE_MODE and strikes("multiple-refused") is not None)):
            return AtaResult(*_ABORTED, taskfile)
        if strikes("device-fault") is not None:
            return AtaResult(READY | DF, 0, taskfile)
        if command.protocol is not Protocol.NON_DATA and strikes("drq-missing") is not None:
            return AtaResult(READY, 0, taskfile)
        return None

    # -- its end ---------------------------------------------------------------------------------------------

    def end(self, result: AtaResult | None, interrupt: bool = True) -> None:
        """The command is over: its result shows, and the host is told; or not, where a fault is in the way."""
        assert result is not None
        armed, strikes, command = self.channel.piix.faults.armed, self.channel.strikes, self.command
        if command is not None and command.taskfile.command in _DMA:
            if armed and strikes("icrc") is not None:
                result = AtaResult(READY | ERR, ICRC | ABRT, command.taskfile)
            if result.status & (ERR | DF):
                self.channel.engine.drive_failed()
        if not armed:
            self._ends(result, interrupt)
            return
        if strikes("completion-lost") is not None:
            self.status = self.personality.busy
            return
        struck = strikes("completion-late")
        if struck is None:
            self._ends(result, interrupt)
        else:
            self.status = self.personality.busy
            self.later(struck.get("ns", self.channel.timing.late_ns), self._ends, result, True)

    def _ends(self, result: AtaResult, interrupt: bool) -> None:
        strikes, command = self.channel.strikes, self.command
        if command is not None:
            sent = self.sent
            result = self.personality.ended(result, sent)
            if (sent.command, sent.feature, result.status) == (ata.SET_FEATURES, ata.SET_TRANSFER_MODE, READY):
                self.host_mode = self.drive.dma_mode
        stuck = DRQ if strikes("drq-stuck") is not None else 0
        self.phase, self.status, self.error, self.command = Phase.IDLE, result.status | stuck, result.error, None
        self.show(result.taskfile)
        self.channel.device = self.channel.device & 0xF0 | result.taskfile.device & 0x0F
        self.ended += 1
        if interrupt and strikes("irq-lost") is None:
            self.interrupt()
        if strikes("irq-twice") is not None:
            self.later(self.channel.timing.again_ns, self.interrupt)

    # -- programmed I/O --------------------------------------------------------------------------------------

    def _new_block(self, command: AtaCommand) -> None:
        self._block, self._at = bytearray(min(command.block_bytes, command.nbytes - command.moved)), 0

    def _next_block(self, command: AtaCommand) -> None:
        """Of a read."""
        self._new_block(command)
        self._last = command.move([memoryview(self._block)])
        if self._last is not None and self._last.status & (ERR | DF):
            self.end(self._last)
            return
        self.phase, self.status = Phase.DATA_IN, READY | DRQ
        self._progress(command)
        self.interrupt()

    def _offer(self, command: AtaCommand, interrupt: bool = False) -> None:
        """Room for a block of a write; of the first one no interrupt tells."""
        self._new_block(command)
        self.phase, self.status = Phase.DATA_OUT, READY | DRQ
        self._progress(command)
        if interrupt:
            self.interrupt()

    def _progress(self, command: AtaCommand) -> None:
        """Count and LBA registers follow the blocks."""
        if not isinstance(command, Transfer):
            return
        sent, done = self.sent, command.moved // self.drive.disk.sector_size
        ext = sent.command in _EXT
        self.show(sent.at(sent.sector(ext) + done, sent.sectors(ext) - done, ext))

    def read_data(self, size: int) -> int:
        """*size* bytes of the block at the data port."""
        if self.phase is not Phase.DATA_IN:
            return self._no_data("read")
        at = self._at
        value = int.from_bytes(self._block[at:at + size], "little")
        self._at = at = at + size
        if at >= len(self._block):
            if self._last is not None:
                self.end(self._last, interrupt=False)
            else:
                self._over_the_cable(self._next_block)
        return value

    def write_data(self, size: int, value: int) -> None:
        """*size* bytes of the block at the data port."""
        if self.phase is not Phase.DATA_OUT:
            self._no_data("written")
            return
        at = self._at
        self._block[at:at + size] = value.to_bytes(size, "little")
        self._at = at = at + size
        if at >= len(self._block):
            self._over_the_cable(self._taken)

    def _no_data(self, how: str) -> int:
        if self.personality.strict:
            raise HardwareFault(f"the data port is {how} while STATUS of drive {self.unit} is {self.status:#04x}: there"
                                " is a block to move only with DRQ")
        return 0

    def _over_the_cable(self, then: Callable[[AtaCommand], None]) -> None:
        command = self.command
        assert command is not None
        self.phase, self.status = Phase.BUSY, self.personality.busy
        self.later(self.drive.timing.data_ns(len(self._block)), then, command)

    def _taken(self, command: AtaCommand) -> None:
        last = command.moved + len(self._block) >= command.nbytes
        if last and self.channel.strikes("last-block-fails") is not None:
            self.end(AtaResult(*_ABORTED, command.taskfile))
            return
        result = command.move([memoryview(self._block)])
        if result is None:
            self._offer(command, interrupt=True)
        else:
            self.end(result)
