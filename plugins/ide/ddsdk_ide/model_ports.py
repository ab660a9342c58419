"""A channel's two windows of ports: the command block's eight, the control block's one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.regs import Reg8
from ddsdk.sim.model import HwModel

from .model_drive import PAIRS
from .regs import GONE, CommandBlock, Control, ControlBlock

if TYPE_CHECKING:
    from .model_channel import ChannelModel

#: The registers that are two deep, by offset.
_PUSHED: Final = ("", *PAIRS)
_DEVICE, _COMMAND = CommandBlock.DEVICE.offset, CommandBlock.COMMAND.offset


class CommandWindow(HwModel):
    """The eight ports of the command block."""

    regs = CommandBlock

    def __init__(self, channel: ChannelModel) -> None:
        self.channel = channel
        super().__init__()

    def read(self, offset: int, size: int) -> int:
        """See `HwModel.read`; the data port is 16 or 32 bits wide."""
        channel = self.channel
        if (channel.may_be_silent or channel.piix.faults.armed) and channel.silent():
            return (1 << 8 * size) - 1
        if not offset and size in (2, 4):
            side = channel.selected
            value = side.read_data(size) if side is not None else channel.personality.floating
            if self.trace.on:
                self.trace.add("read", "DATA", value)
            return value
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """See `HwModel.write`."""
        channel = self.channel
        if (channel.may_be_silent or channel.piix.faults.armed) and channel.silent():
            return
        if not offset and size in (2, 4):
            side = channel.selected
            if self.trace.on:
                self.trace.add("write", "DATA", value)
            if side is not None:
                side.write_data(size, value)
        elif 1 <= offset <= 5 and size == 1 and not self.trace.on:
            channel.push(_PUSHED[offset], value)        # what every command does often, and made short
        elif offset == _DEVICE and size == 1 and not self.trace.on:
            channel.select(value)
        elif offset == _COMMAND and size == 1 and not self.trace.on:
            side = channel.sides.get(channel.device >> 4 & 1)
            if side is not None:
                side.take(value)
        else:
            super().write(offset, size, value)

    def r_ERROR(self) -> int:
        """Of the command that ended."""
        side = self.channel.selected
        return side.error if side is not None else self.channel.status()

    def r_STATUS(self) -> int:
        """The interrupt is served."""
        side = self.channel.selected
        if side is not None:
            side.served()
        return self.channel.status()

    def w_COMMAND(self, value: Reg8) -> None:
        """For the selected drive; nobody takes it where there is none."""
        side = self.channel.selected
        if side is not None:
            side.take(int(value))

    def r_DEVICE(self) -> int:
        """Bit 4 says who is selected."""
        return self.channel.device if self.channel.sides else self.channel.personality.floating

    def w_DEVICE(self, value: Reg8) -> None:
        """Selects."""
        self.channel.select(int(value))

    def w_FEATURE(self, value: Reg8) -> None:
        """Two bytes deep."""
        self.channel.push("FEATURE", int(value))

    def w_NSECTOR(self, value: Reg8) -> None:
        """Two bytes deep."""
        self.channel.push("NSECTOR", int(value))

    def w_LBAL(self, value: Reg8) -> None:
        """Two bytes deep."""
        self.channel.push("LBAL", int(value))

    def w_LBAM(self, value: Reg8) -> None:
        """Two bytes deep."""
        self.channel.push("LBAM", int(value))

    def w_LBAH(self, value: Reg8) -> None:
        """Two bytes deep."""
        self.channel.push("LBAH", int(value))

    def r_NSECTOR(self) -> int:
        """The byte HOB chooses."""
        return self.channel.pull("NSECTOR")

    def r_LBAL(self) -> int:
        """The byte HOB chooses."""
        return self.channel.pull("LBAL")

    def r_LBAM(self) -> int:
        """The byte HOB chooses."""
        return self.channel.pull("LBAM")

    def r_LBAH(self) -> int:
        """The byte HOB chooses."""
        return self.channel.pull("LBAH")


class ControlWindow(HwModel):
    """The one port of the control block."""

    regs = ControlBlock

    def __init__(self, channel: ChannelModel) -> None:
        self.channel = channel
        super().__init__()

    def read(self, offset: int, size: int) -> int:
        """See `HwModel.read`; this is what polls do, and made short."""
        channel = self.channel
        if offset or size != 1 or self.trace.on or channel.may_be_silent or channel.piix.faults.armed:
            return super().read(offset, size)
        side = channel.sides.get(channel.device >> 4 & 1)
        return side.status if side is not None else channel.status()

    def r_ALTSTATUS(self) -> int:
        """The status, and nothing happens."""
        channel = self.channel
        return GONE if channel.silent() else channel.status()

    def w_CONTROL(self, value: Control) -> None:
        """Device control."""
        if not self.channel.silent():
            self.channel.set_control(value)
