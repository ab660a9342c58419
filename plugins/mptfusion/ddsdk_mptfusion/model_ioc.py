"""The IOC as the PCI host sees it: doorbell, diagnostic reset, request FIFO, reply FIFO, interrupt.

    READY --IOCInit--> OPERATIONAL        any state --hard reset--> RESET --boot--> READY
    READY, OPERATIONAL --message unit reset--> RESET --> READY        any trouble --> FAULT

Written from MPI 1.x (LSI mpi*.h as FreeBSD's sys/dev/mpt/mpilib carries them), from the order in which Linux
2.6.9's mptbase.c and FreeBSD's mpt.c use the chip, and from what QEMU 7.2's mptsas1068 answers.  Where QEMU
takes short cuts this follows the hardware: resets take time and set reset history, IntStatus bit 31 stays 1
until the IOC took the doorbell, a message unit reset is not honoured in FAULT or during a handshake, a 1030's
two functions reset together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ddsdk.errors import DmaFault, HardwareFault
from ddsdk.sim.model import HwModel
from ddsdk.sim.scsi_target import ScsiTarget

from . import model_faulty
from .model_chips import SAS1068, ChipProfile, Timing
from .model_faults import FAULTS
from .model_handshake import Handshake, Phase
from .model_messages import Messages
from .model_reset import DiagAperture, ResetUnit
from .model_scsi import ScsiIo
from .model_taskmgmt import TaskMgmt
from .mpi import SCSIIO_SGL_OFFSET, MsgFunction
from .mpi_ioc import IOCInit
from .regs import (
    ADDRESS_REPLY_A_BIT,
    REPLY_FIFO_EMPTY,
    REQ_MF_DESCRIPTOR_ADDRESS_MASK,
    REQ_MF_DESCRIPTOR_F_BIT,
    Diagnostic,
    Doorbell,
    DoorbellFunction,
    DoorbellWrite,
    FaultCode,
    HostInterruptMask,
    HostInterruptStatus,
    IocState,
    MptRegs,
    WhoInit,
    WriteSequence,
)

_ALL_ONES = 0xFFFFFFFF
_S = 1_000_000_000
_PRODUCT_FAULT = 0x0004
#: What is fetched of a frame at first: header, and room for two elements.  Frames are powers of two, so every
#: frame that can hold a SCSI request has it.
_FETCH_BYTES = 64
_HIS_BUSY = HostInterruptStatus.IOP_DOORBELL_STATUS.mask
_HIS_REPLY = HostInterruptStatus.REPLY_MESSAGE.mask
_HIS_DOORBELL = HostInterruptStatus.DOORBELL.mask
_HIM_BITS = HostInterruptMask.RIM.mask | HostInterruptMask.DIM.mask
_HEADER_BYTES = 12
_SMALLEST_SCSI_BYTES = SCSIIO_SGL_OFFSET + 8


class MptIoc(HwModel):
    """One IOC (one PCI function) with its targets, keyed by (bus, id)."""

    regs = MptRegs
    FAULTS = FAULTS

    def __init__(self, chip: ChipProfile = SAS1068, targets: Mapping[tuple[int, int], ScsiTarget] | None = None,
                 timing: Timing | None = None, number: int = 0) -> None:
        self.chip = chip
        self.timing = timing or chip.timing
        self.number = number
        #: Counts resets and faults: what was scheduled in an earlier life does not happen.
        self.epoch = 0
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

    def forget(self, *, keep_mask: bool = False) -> None:
        """What no reset leaves behind: requests, replies, handshake, everything IOCInit set up."""
        self.epoch += 1
        self.fault_code = 0
        self.who_init: int = WhoInit.NO_ONE
        self.credits_used = 0
        self.free: deque[int] = deque()
        self.posted: deque[int] = deque()
        self._mfa_high = 0
        self._sense_high = 0
        self._reply_frame_bytes = 0
        self._doorbell_busy = False
        self._doorbell_word = 0
        self._doorbell_irq = 0
        self._lingering = False
        self._line = False
        if not keep_mask:
            self._him = _HIM_BITS
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
        self.state = IocState.FAULT
        self.fault_code = code
        self.scsi.reset()
        self.handshake.reset()
        self.note("fault", f"{code:#06x}")

    def stop(self) -> None:
        """The ARM is stopped: state and FIFOs stay as they are, nothing moves any more."""
        self.epoch += 1
        self.scsi.reset()

    def boot(self) -> None:
        """The firmware is up."""
        self._doorbell_busy = False
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
            self._doorbell_irq = _HIS_DOORBELL
            self._drive_line()

    def _drive_line(self) -> None:
        pending = (_HIS_REPLY if self.posted else 0) | self._doorbell_irq
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

    # -- registers: presence ---------------------------------------------------------------------------

    def _silent(self) -> bool:
        """True while a read gives all ones and a write is lost: in the reset's blackout, or when gone."""
        if self.resets.quiet_until_ns > self.clock.now_ns:
            return True
        if self.faults.armed and self.faults.hit("all-ones") is not None:
            self._gone = True
            self.enter_fault(_PRODUCT_FAULT)
        return self._gone

    def r_DIAGNOSTIC(self) -> int:
        """See `ResetUnit.read`."""
        return _ALL_ONES if self._silent() else self.resets.read()

    def w_DIAGNOSTIC(self, value: Diagnostic) -> None:
        """See `ResetUnit.write`."""
        if not self._silent():
            self.resets.write(value)

    def w_WRITE_SEQUENCE(self, value: WriteSequence) -> None:
        """See `ResetUnit.key`."""
        if not self._silent():
            self.resets.key(value.KEY)

    # -- registers: doorbell ---------------------------------------------------------------------------

    def r_DOORBELL(self) -> int:
        """State, handshake flag, who initialised, fault code or handshake word."""
        if self._silent():
            return _ALL_ONES
        if self.faults.armed and self.faults.hit("pci-peer-owner") is not None:
            return int(Doorbell.of(STATE=IocState.OPERATIONAL, WHO_INIT=WhoInit.PCI_PEER))
        used = self.handshake.phase is not Phase.IDLE
        data = self.fault_code if self.state is IocState.FAULT else self.handshake.data
        return self.state << 28 | used << 27 | self.who_init << 24 | data

    def w_DOORBELL_WRITE(self, value: DoorbellWrite) -> None:
        """The IOC takes it a little later; a write before that replaces the one not taken."""
        if self._silent():
            return
        self._doorbell_word = int(value)
        if self._doorbell_busy:
            self.note("doorbell", "a write was overwritten before the IOC took it")
            return
        self._doorbell_busy = True
        if not self._listens(value) or self.faults.hit("doorbell-never-taken") is not None:
            return
        struck = self.faults.hit("doorbell-slow")
        self.later(self.timing.doorbell_take_ns if struck is None else struck.get("ns", 4 * _S), self._take_doorbell)

    def _listens(self, value: DoorbellWrite) -> bool:
        """Whether the firmware is in a state to take the doorbell: not in FAULT, not stopped, not booting."""
        if self.state is IocState.FAULT or self.resets.stopped:
            return False
        return self.state is not IocState.RESET or value.FUNCTION == DoorbellFunction.IO_UNIT_RESET

    def _take_doorbell(self) -> None:
        self._doorbell_busy = False
        word = DoorbellWrite(self._doorbell_word)
        if self.handshake.phase is Phase.REQUEST:
            self.handshake.dword(int(word))
        elif self.handshake.phase is not Phase.IDLE:
            self.note("doorbell", f"{int(word):#010x} ignored: a handshake reply is not finished")
        elif word.FUNCTION == DoorbellFunction.HANDSHAKE:
            self.handshake.start(word.ADD_DWORDS)
        elif word.FUNCTION == DoorbellFunction.IOC_MESSAGE_UNIT_RESET:
            self.resets.message_unit_reset()
        elif word.FUNCTION == DoorbellFunction.IO_UNIT_RESET:
            self.resets.io_unit_reset()
        else:
            self.enter_fault(FaultCode.INVALID_FUNCTION)

    # -- registers: interrupt --------------------------------------------------------------------------

    def r_HOST_INTERRUPT_STATUS(self) -> int:
        """Events, whether masked or not."""
        if self._silent():
            return _ALL_ONES
        reply = _HIS_REPLY if self.posted or self._lingering else 0
        return (_HIS_BUSY if self._doorbell_busy else 0) | reply | self._doorbell_irq

    def w_HOST_INTERRUPT_STATUS(self, _value: HostInterruptStatus) -> None:
        """Any write acknowledges the doorbell interrupt."""
        if self._doorbell_irq and not self._silent():
            self._doorbell_irq = 0
            self._drive_line()
            self.handshake.acknowledge()

    def r_HOST_INTERRUPT_MASK(self) -> int:
        """What was written."""
        return _ALL_ONES if self._silent() else self._him

    def w_HOST_INTERRUPT_MASK(self, value: HostInterruptMask) -> None:
        """1 keeps the event off the line."""
        if not self._silent():
            self._him = value & _HIM_BITS
            self._drive_line()

    # -- registers: FIFOs ------------------------------------------------------------------------------

    def w_REQUEST_FIFO(self, value: int) -> None:
        """A request frame is posted; it is fetched after this write has returned."""
        if value & REQ_MF_DESCRIPTOR_F_BIT:
            raise HardwareFault(f"MptIoc: RequestFifo <- {value:#010x}: bit 2 marks another frame type; a request "
                                f"frame is aligned to 8 bytes and only bits 1:0 may be set besides its address")
        if self.state is not IocState.OPERATIONAL:
            self._posted_too_early(value)
            return
        self._accept(value)

    def w_HI_PRI_REQUEST_FIFO(self, value: int) -> None:
        """The same, on a chip that has the queue: task management overtakes what is queued there."""
        if not self.chip.HighPriorityQueueDepth:
            raise HardwareFault(f"MptIoc: high-priority RequestFifo <- {value:#010x}: {self.chip.chip.name} has none "
                                f"(IOCFacts.IOCCapabilities bit 0 is 0); use RequestFifo")
        self.w_REQUEST_FIFO(value)

    def _posted_too_early(self, value: int) -> None:
        if self._silent() or self.state is IocState.RESET:
            self.note("request", f"{value:#010x} lost: the IOC is being reset")
        elif self.state is IocState.READY:
            self.enter_fault(FaultCode.INVALID_STATE)

    def _accept(self, value: int) -> None:
        if self.credits_used >= self.chip.GlobalCredits:
            self.enter_fault(FaultCode.INSUFFICIENT_RESOURCES)
            return
        self.credits_used += 1
        self.clock.after_ns(self.timing.fetch_ns, self._fetch, value & REQ_MF_DESCRIPTOR_ADDRESS_MASK, self.epoch)

    def r_REPLY_FIFO(self) -> int:
        """Pop a reply descriptor."""
        posted = self.posted
        if self._silent():
            return _ALL_ONES
        if not posted:
            self._lingering = False
            return REPLY_FIFO_EMPTY
        value = posted.popleft()
        if not posted:
            if self.faults.armed and self.faults.hit("his-lingers") is not None:
                self._lingering = True
            self._drive_line()
        return value

    def w_REPLY_FREE_FIFO(self, value: int) -> None:
        """Push a reply frame on the free list; one too many is a FAULT."""
        if self._silent() or self.state in (IocState.RESET, IocState.FAULT):
            return
        if self.faults.armed and self.faults.hit("free-list-leak") is not None:
            return
        if len(self.free) >= self.chip.ReplyQueueDepth:
            self.enter_fault(FaultCode.INSUFFICIENT_RESOURCES)
            return
        self.free.append(value & ~1)

    def _fetch(self, mfa: int, epoch: int) -> None:
        """Read a posted frame and act on it."""
        if epoch != self.epoch:
            return
        if self.faults.armed and model_faulty.at_fetch(self):
            return
        mfa |= self._mfa_high
        frame = self._read_frame(mfa)
        if frame[3] == MsgFunction.SCSI_IO_REQUEST:
            self.scsi.start(mfa, frame)
            return
        outcome = self.messages.handle(frame, by_handshake=False)
        if outcome is not None:
            delay_ns, finish = outcome
            self.later(delay_ns, self._answer, finish)

    def _read_frame(self, mfa: int) -> bytes:
        """The frame's beginning; only what its message needs when the host did not grant more."""
        try:
            return self.dma.read(mfa, _FETCH_BYTES)
        except DmaFault:
            function = self.dma.read(mfa, _HEADER_BYTES)[3]
            if function == MsgFunction.SCSI_IO_REQUEST:
                return self.dma.read(mfa, _SMALLEST_SCSI_BYTES)
            return self.dma.read(mfa, self.messages.size_of(function) or _HEADER_BYTES)

    def _answer(self, finish: Callable[[], bytes]) -> None:
        self.post_reply(finish())
