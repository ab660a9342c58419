"""The IOC's state, and what its parts need of each other: lives, faults, replies, the interrupt line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ddsdk.sim.model import HwModel
from ddsdk.sim.scsi_target import ScsiTarget

from . import model_faulty
from .model_chips import SAS1068, ChipProfile, Timing
from .model_handshake import Handshake
from .model_messages import Messages
from .model_reset import DiagAperture, ResetUnit
from .model_scsi import ScsiIo
from .model_taskmgmt import TaskMgmt
from .mpi_ioc import IOCInit
from .regs import (
    ADDRESS_REPLY_A_BIT,
    FaultCode,
    HostInterruptMask,
    HostInterruptStatus,
    IocState,
    WhoInit,
)

HIS_BUSY = HostInterruptStatus.IOP_DOORBELL_STATUS.mask
HIS_REPLY = HostInterruptStatus.REPLY_MESSAGE.mask
HIS_DOORBELL = HostInterruptStatus.DOORBELL.mask
HIM_BITS = HostInterruptMask.RIM.mask | HostInterruptMask.DIM.mask
_PRODUCT_FAULT = 0x0004


class IocCore(HwModel):
    """State of one IOC and what its parts do to each other; `MptIoc` adds the registers."""

    def __init__(self, chip: ChipProfile = SAS1068,
                 targets: Mapping[tuple[int, int], ScsiTarget] | None = None, timing: Timing | None = None,
                 number: int = 0) -> None:
        self.chip = chip
        self.timing = timing or chip.timing
        self.number = number
        #: Counts resets and faults: what was scheduled in an earlier life does not happen.
        self.epoch = 0
        self._line = False
        self.task_mgmt = TaskMgmt(self)
        self.messages = Messages(self)
        self.scsi = ScsiIo(self, targets or {})
        self.handshake = Handshake(self)
        self.resets = ResetUnit(self)
        super().__init__()
        self.windows["diag"] = DiagAperture(chip.bars[3].size)

    def reset(self) -> None:
        """Power on, long ago: the firmware has booted, nobody has initialised it."""
        super().reset()
        self.resets.power_on()
        self.forget()
        self.state = IocState.READY
        self._gone = False

    def plugged(self) -> None:
        """The bus is there: the hot path keeps what it needs of it."""
        self.scsi.dma_view = self.dma.view

    def unplugged(self) -> None:
        """Nothing moves any more: what was under way reaches neither memory nor disk."""
        self.stop()

    def forget(self, *, soft: bool = False) -> None:
        """What no reset leaves behind: requests, replies, handshake, everything IOCInit set up.

        A *soft* reset leaves IntMask and WhoInit alone.
        """
        self.epoch += 1
        self.fault_code = 0
        self.credits_used = 0
        self.last_context: int | None = None
        self.free: deque[int] = deque()
        self.posted: deque[int] = deque()
        self._mfa_high = 0
        self._sense_high = 0
        self._reply_frame_bytes = 0
        self._doorbell_busy = False
        self._taking_doorbell = False
        self._doorbell_word = 0
        self._doorbell_irq = 0
        self._lingering = False
        if not soft:
            self._him = HIM_BITS
            self.who_init: int = WhoInit.NO_ONE
        self._drive_line()
        self.task_mgmt.reset()
        self.messages.reset()
        self.scsi.reset()
        self.handshake.reset()

    # -- for the parts ---------------------------------------------------------------------------------

    def later(self, delay_ns: int, fn: Callable[..., object], *args: Any) -> None:
        """Call `fn(*args)` in *delay_ns*, unless a reset or a FAULT comes first."""
        self.clock.after_ns(delay_ns, self._if_alive, self.epoch, fn, args)

    def _if_alive(self, epoch: int, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        if epoch == self.epoch:
            fn(*args)

    def note(self, kind: str, text: str) -> None:
        """Leave a line in the trace."""
        if self.trace.on:
            self.trace.add(kind, text)

    def enter_fault(self, code: int) -> None:
        """The firmware stops: nothing completes any more until a hard reset.  What was posted can be read."""
        self.epoch += 1
        self._taking_doorbell = False
        self.state = IocState.FAULT
        self.fault_code = code
        self.scsi.reset()
        self.handshake.reset()
        self.note("fault", f"{code:#06x}")

    def stop(self) -> None:
        """The ARM is stopped: state and FIFOs stay as they are, nothing moves any more."""
        self.epoch += 1
        self._taking_doorbell = False
        self.scsi.reset()

    def boot(self) -> None:
        """The firmware is up."""
        self._doorbell_busy = self._taking_doorbell = False
        self.state = IocState.READY

    def initialised(self, init: IOCInit) -> None:
        """IOCInit was accepted."""
        self._mfa_high = init.HostMfaHighAddr << 32
        self._sense_high = init.SenseBufferHighAddr << 32
        self._reply_frame_bytes = init.ReplyFrameSize
        self.who_init = init.WhoInit
        self.state = IocState.OPERATIONAL

    def write_sense(self, address: int, sense: bytes) -> None:
        """Autosense data goes to the host."""
        self.dma.write(self._sense_high | address, sense)

    # -- replies ---------------------------------------------------------------------------------------

    def post_context(self, context: int) -> None:
        """A request ends well."""
        self.credits_used -= 1
        self.last_context = context
        if self.faults.armed:
            model_faulty.post(self, context)
            return
        self.posted.append(context)
        if not self._line:
            self._drive_line()

    def post_reply(self, frame: bytes) -> None:
        """A request ends with an address reply."""
        self.credits_used -= 1
        self.post_frame(frame)

    def post_frame(self, frame: bytes) -> None:
        """Fill the next free reply frame and post it; FAULT when there is none."""
        if not self.free:
            self.enter_fault(FaultCode.INSUFFICIENT_RESOURCES)
            return
        armed = bool(self.faults.armed)
        written = model_faulty.reply_frame(self, frame) if armed else frame
        if written is None:
            return
        address = self.free.popleft()
        self.dma.write(self._mfa_high | address, written[:self._reply_frame_bytes])
        descriptor = ADDRESS_REPLY_A_BIT | address >> 1
        if armed:
            model_faulty.post(self, descriptor)
        else:
            self.append_reply(descriptor)

    def append_reply(self, descriptor: int) -> None:
        """The descriptor is on the reply post FIFO."""
        self.posted.append(descriptor)
        self._drive_line()

    # -- interrupt -------------------------------------------------------------------------------------

    def raise_doorbell(self) -> None:
        """The firmware wants the host to look at the doorbell."""
        if self.faults.hit("doorbell-interrupt-lost") is None:
            self._doorbell_irq = HIS_DOORBELL
            self._drive_line()

    def _drive_line(self) -> None:
        pending = (HIS_REPLY if self.posted else 0) | self._doorbell_irq
        level = bool(pending & ~self._him)
        if level is self._line:
            return
        if self.faults.armed:
            if level and self.faults.hit("irq-lost") is not None:
                return
            if not level and self.faults.hit("irq-stuck") is not None:
                return
        self._line = level
        self.irq.set(level)

    # -- presence --------------------------------------------------------------------------------------

    def silent(self) -> bool:
        """True while a read gives all ones and a write is lost: in the reset's blackout, or when gone.

        What a poll reads looks at the three reasons itself before it asks.
        """
        if self.resets.quiet_until_ns > self.clock.now_ns:
            return True
        if self.faults.armed and self.faults.hit("all-ones") is not None:
            self._gone = True
            self.enter_fault(_PRODUCT_FAULT)
            if self._line:              # who does not answer does not pull the line either
                self._line = False
                self.irq.set(False)
        return self._gone
