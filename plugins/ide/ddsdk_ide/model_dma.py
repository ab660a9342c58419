"""The bus master of one channel: it walks its table and moves data while the drive has some, or asks for some.

82371AB data sheet, 5.2 and 9.4; hw-ide.md 2 and 6.  Two of them: one piece by piece, as the documents have it, and one
that does it in one piece, as QEMU's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE
from ddsdk.errors import HardwareFault
from ddsdk.sim.ata_command import AtaCommand, first_bytes
from ddsdk.sim.ata_taskfile import DF, ERR, READ_DMA_EXT, WRITE_DMA_EXT, AtaResult

from .frames import EOT, REGION_BYTES, Prd
from .model_drive import Phase
from .model_personality import READY
from .regs import BmCommand, BmStatus

if TYPE_CHECKING:
    from .model_channel import ChannelModel
    from .model_drive import DriveModel

_UNPACK: Final = Prd.on(WIRE_LE).struct.unpack_from        # ADDRESS, COUNT, FLAGS
_PRD_BYTES: Final = Prd.on(WIRE_LE).size
_EXT: Final = (READ_DMA_EXT, WRITE_DMA_EXT)
_ACTIVE: Final = BmStatus.BMIDEA.mask
_RWCON: Final = BmCommand.RWCON.mask
#: What moves at a time.  A stop in between leaves the rest where it was: see `Engine._catch_up`.
_CHUNK_BYTES: Final = 4 * REGION_BYTES
#: QEMU looks at so much of a table.
_TABLE_BYTES: Final = 4096
_SECTOR: Final = 512


class Table:
    """The table from *at* on, entry by entry as it is reached.  `over`: its end was reached."""

    def __init__(self, channel: ChannelModel, at: int) -> None:
        self._channel = channel
        self._at = self._start = at
        self._address = self._left = 0
        self._last = self.over = False

    def views(self, nbytes: int, to_device: bool) -> tuple[list[memoryview], int]:
        """Memory for the next *nbytes*, as much as there is: (views, bytes)."""
        found, got = list[memoryview](), 0
        while got < nbytes:
            if not self._left and not self._fetch():
                break
            take = min(self._left, nbytes - got)
            found += self._channel.dma.view(self._address, take, to_device)
            self._address, self._left, got = self._address + take, self._left - take, got + take
        self.over = self._last and not self._left
        return found, got

    def _fetch(self) -> bool:
        """The next entry, checked; false when the last one was the last."""
        if self._last:
            return False
        at, strict = self._at, self._channel.personality.strict
        if not strict and at - self._start >= _TABLE_BYTES:
            return False
        if strict and at // REGION_BYTES != self._start // REGION_BYTES:
            raise HardwareFault(f"PRD table at {self._start:#x}: it crosses a multiple of 64 KiB")
        address, count, flags = _UNPACK(self._channel.dma.read(at, _PRD_BYTES))
        count = count or REGION_BYTES
        if strict and ((address | count) & 1 or address % REGION_BYTES + count > REGION_BYTES):
            raise HardwareFault(f"PRD at {at:#x}: {count} bytes at {address:#x}; both must be even, and no region"
                                " crosses a multiple of 64 KiB")
        if strict and flags & ~EOT:
            raise HardwareFault(f"PRD at {at:#x}: FLAGS {flags:#06x}, only bit 15 may be set")
        self._at, self._address, self._left = at + _PRD_BYTES, address, count
        self._last = bool(flags & EOT)
        return True


class Engine:
    """Data piece by piece.  `run` counts starts and stops: what was scheduled in an earlier one is void."""

    def __init__(self, channel: ChannelModel) -> None:
        self._channel = channel
        self.forget()

    def forget(self) -> None:
        """Power on."""
        self.run = 0
        self._side: DriveModel | None = None    # the drive that has data, or wants some
        self._table: Table | None = None        # None: not started
        self._under_way = 0                     # bytes that move at a time, from _since_ns on
        self._since_ns = 0

    # -- what host and drive do ------------------------------------------------------------------------------

    def start(self, table: int) -> None:
        """SSBM went from 0 to 1."""
        self._table = Table(self._channel, table)
        self._channel.bm_status(_ACTIVE, 0)
        self._go()

    def stop(self) -> None:
        """SSBM is 0: all it knew is lost; a drive in the middle of its data waits for ever."""
        self._catch_up()
        self.run += 1
        if self._side is not None and self._table is not None and self._side.phase is Phase.DMA:
            self._side.status = self._channel.personality.dma_waiting
        self._table = None
        self._channel.bm_status(0, _ACTIVE)

    def drive_ready(self, side: DriveModel) -> None:
        """A drive has taken a command by DMA and asks for the bus master."""
        self._side = side
        self._go()

    def drives_reset(self) -> None:
        """SRST: nobody asks any more; that is all the bus master notices."""
        self._catch_up()
        self.run += 1
        self._side = None

    def drive_failed(self) -> None:
        """A command by DMA ended in an error: it is active still, unless it came to the end of its table."""
        self._side = None

    # -- data ------------------------------------------------------------------------------------------------

    def _go(self) -> None:
        side, channel = self._side, self._channel
        if side is None or self._table is None or side.command is None:
            return
        if not channel.dma.bus_master:
            return                              # it never gets the bus
        struck = channel.strikes("dma-error") if channel.piix.faults.armed else None
        if struck is not None:
            self._table = None
            channel.bm_status(BmStatus.ERROR.mask, _ACTIVE)
            if struck.get("interrupt", False):
                side.interrupt()
            return
        self._check(side, side.command)
        side.status = channel.personality.dma_moving
        self._schedule(side, side.command)

    def _check(self, side: DriveModel, command: AtaCommand) -> None:
        channel = self._channel
        if bool(channel.piix.values[channel.BM_COMMAND] & _RWCON) is command.protocol.to_device:
            raise HardwareFault(f"BMICX.RWCON does not go with command {command.taskfile.command:#04x}")
        if channel.personality.strict:
            channel.check_timing(side.unit, side.host_mode)

    def _schedule(self, side: DriveModel, command: AtaCommand) -> None:
        self._under_way = nbytes = min(_CHUNK_BYTES, command.nbytes - command.moved)
        self._since_ns = self._channel.clock.now_ns
        clock = self._channel.clock
        clock.at_ns(self._since_ns + side.drive.timing.data_ns(nbytes), self._move, side, command, nbytes, self.run)

    def _move(self, side: DriveModel, command: AtaCommand, nbytes: int, run: int) -> None:
        table, channel = self._table, self._channel
        if run != self.run or table is None or command is not side.command:
            return
        views, got = table.views(nbytes, command.protocol.to_device)
        if channel.strikes("table-short") is not None:
            got = nbytes // 2
        if got < nbytes:                        # the drive has more, or wants more
            self._table_is_short(side, command, views, got)
            return
        before, self._under_way = command.moved, 0
        result = self._transfer(command, views)
        if table.over and command.moved - before == got and (result is None or channel.strikes("table-long") is None):
            channel.bm_status(0, _ACTIVE)
        if result is not None:
            self._side = None
            side.end(result)
        else:
            self._schedule(side, command)

    def _catch_up(self) -> None:
        """It is stopped in the middle of what moves at a time: whole regions that had their time by now have moved."""
        side, table, channel = self._side, self._table, self._channel
        nbytes, self._under_way = self._under_way, 0
        if not nbytes or side is None or table is None or side.command is None or not channel.dma.bus_master:
            return
        command = side.command
        region_ns = side.drive.timing.data_ns(REGION_BYTES)
        whole = min(nbytes, (channel.clock.now_ns - self._since_ns) // region_ns * REGION_BYTES)
        views, _ = table.views(whole, command.protocol.to_device)
        result = command.move(views) if views else None
        if result is not None:
            self._side = None
            side.end(result)

    def _transfer(self, command: AtaCommand, views: list[memoryview]) -> AtaResult | None:
        return command.move(views)

    def _table_is_short(self, side: DriveModel, command: AtaCommand, views: list[memoryview], got: int) -> None:
        size = side.drive.disk.sector_size
        whole = first_bytes(views, got // size * size)
        if whole:
            command.move(whole)
        self._table = None
        side.status = self._channel.personality.dma_waiting
        self._channel.bm_status(0, _ACTIVE)


class AtomicEngine(Engine):
    """Data in one piece, and what that entails (Personality.atomic)."""

    def stop(self) -> None:
        """The port write does not return before the transfer is over."""
        self._drain()
        super().stop()

    def drives_reset(self) -> None:
        """After the transfer, which it waits for; then the bus master's status is cleared as well."""
        if self._drain():
            self._channel.bm_status(0, 0xFF)
        super().drives_reset()

    def drive_failed(self) -> None:
        """It stops by itself."""
        super().drive_failed()
        self._channel.bm_status(0, _ACTIVE)

    def _drain(self) -> bool:
        side = self._side
        if side is None or self._table is None or side.command is None:
            return False
        self._move(side, side.command, side.command.nbytes, self.run)
        return True

    def _go(self) -> None:
        side, channel = self._side, self._channel
        if side is not None and self._table is not None and side.command is not None and not channel.dma.bus_master:
            self._side = None
            sent, ext = side.command.taskfile, side.command.taskfile.command in _EXT
            side.end(AtaResult(READY, 0, sent.at(sent.sector(ext) + sent.sectors(ext), 0, ext)))
            return
        super()._go()

    def _schedule(self, side: DriveModel, command: AtaCommand) -> None:
        nbytes = command.nbytes
        self._channel.clock.after_ns(side.drive.timing.data_ns(nbytes), self._move, side, command, nbytes, self.run)

    def _transfer(self, command: AtaCommand, views: list[memoryview]) -> AtaResult | None:
        """A read that fails delivers nothing."""
        if command.protocol.to_device:
            return command.move(views)
        data = memoryview(bytearray(command.nbytes))
        result = command.move([data])
        if result is not None and not result.status & (ERR | DF):
            at = 0
            for view in views:
                view[:] = data[at:at + len(view)]
                at += len(view)
        return result

    def _table_is_short(self, side: DriveModel, command: AtaCommand, views: list[memoryview], got: int) -> None:
        """Nothing moves, and it looks like success, but for the interrupt."""
        self._table, self._side = None, None
        self._channel.bm_status(0, _ACTIVE)
        side.phase, side.status, side.error, side.command = Phase.IDLE, READY, 0, None
        side.show(command.taskfile)
