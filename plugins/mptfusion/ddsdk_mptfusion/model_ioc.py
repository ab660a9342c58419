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

from collections.abc import Callable

from ddsdk.errors import DmaFault, HardwareFault

from . import model_faulty
from .model_core import HIM_BITS, HIS_BUSY, HIS_REPLY, IocCore
from .model_faults import FAULTS
from .model_handshake import Phase
from .mpi import SCSIIO_SGL_OFFSET, MsgFunction
from .regs import (
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
#: What is fetched of a frame at first: header, and room for two elements.  Frames are powers of two, so every
#: frame that can hold a SCSI request has it.
_FETCH_BYTES = 64
_HEADER_BYTES = 12
_SMALLEST_SCSI_BYTES = SCSIIO_SGL_OFFSET + 8


class MptIoc(IocCore):
    """One IOC (one PCI function): the registers.  Its targets are keyed by (bus, id)."""

    regs = MptRegs
    FAULTS = FAULTS

    # -- diagnostic ------------------------------------------------------------------------------------

    def r_DIAGNOSTIC(self) -> int:
        """See `ResetUnit.read`."""
        return _ALL_ONES if self.silent() else self.resets.read()

    def w_DIAGNOSTIC(self, value: Diagnostic) -> None:
        """See `ResetUnit.write`."""
        if not self.silent():
            self.resets.write(value)

    def w_WRITE_SEQUENCE(self, value: WriteSequence) -> None:
        """See `ResetUnit.key`."""
        if not self.silent():
            self.resets.key(value.KEY)

    # -- doorbell --------------------------------------------------------------------------------------

    def r_DOORBELL(self) -> int:
        """State, handshake flag, who initialised, fault code or handshake word."""
        if self.silent():
            return _ALL_ONES
        if self.faults.armed and self.faults.hit("pci-peer-owner") is not None:
            return int(Doorbell.of(STATE=IocState.OPERATIONAL, WHO_INIT=WhoInit.PCI_PEER))
        used = self.handshake.phase is not Phase.IDLE
        data = self.fault_code if self.state is IocState.FAULT else self.handshake.data
        return self.state << 28 | used << 27 | self.who_init << 24 | data

    def w_DOORBELL_WRITE(self, value: DoorbellWrite) -> None:
        """The IOC takes it a little later; a write before that replaces the one not taken."""
        if self.silent():
            return
        self._doorbell_word = int(value)
        if self._taking_doorbell:
            self.note("doorbell", "a write was overwritten before the IOC took it")
            return
        self._doorbell_busy = True
        if not self._listens(value) or self.faults.hit("doorbell-never-taken") is not None:
            return
        struck = self.faults.hit("doorbell-slow")
        took_ns = self.timing.doorbell_take_ns if struck is None else struck.get("ns", 4 * _S)
        self._taking_doorbell = True
        self.later(took_ns, self._take_doorbell)

    def _listens(self, value: DoorbellWrite) -> bool:
        """Whether the firmware is in a state to take the doorbell: not in FAULT, not stopped, not booting."""
        if self.state is IocState.FAULT or self.resets.stopped:
            return False
        return self.state is not IocState.RESET or value.FUNCTION == DoorbellFunction.IO_UNIT_RESET

    def _take_doorbell(self) -> None:
        self._doorbell_busy = self._taking_doorbell = False
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

    # -- interrupt -------------------------------------------------------------------------------------

    def r_HOST_INTERRUPT_STATUS(self) -> int:
        """Events, whether masked or not."""
        if (self.faults.armed or self._gone or self.resets.quiet_until_ns > self.clock.now_ns) and self.silent():
            return _ALL_ONES
        reply = HIS_REPLY if self.posted or self._lingering else 0
        return (HIS_BUSY if self._doorbell_busy else 0) | reply | self._doorbell_irq

    def w_HOST_INTERRUPT_STATUS(self, _value: HostInterruptStatus) -> None:
        """Any write acknowledges the doorbell interrupt."""
        if self._doorbell_irq and not self.silent():
            self._doorbell_irq = 0
            self._drive_line()
            self.handshake.acknowledge()

    def r_HOST_INTERRUPT_MASK(self) -> int:
        """What was written."""
        return _ALL_ONES if self.silent() else self._him

    def w_HOST_INTERRUPT_MASK(self, value: HostInterruptMask) -> None:
        """1 keeps the event off the line."""
        if not self.silent():
            self._him = value & HIM_BITS
            self._drive_line()

    # -- FIFOs -----------------------------------------------------------------------------------------

    def w_REQUEST_FIFO(self, value: int) -> None:
        """A request frame is posted; it is fetched after this write has returned."""
        if value & REQ_MF_DESCRIPTOR_F_BIT:
            raise HardwareFault(f"MptIoc: RequestFifo <- {value:#010x}: bit 2 marks another frame type; a "
                                "request frame is aligned to 8 bytes, only bits 1:0 may be set besides")
        if self.state is not IocState.OPERATIONAL:
            self._posted_too_early(value)
            return
        self._accept(value)

    def w_HI_PRI_REQUEST_FIFO(self, value: int) -> None:
        """A second way in, on a chip that has it (IOCFacts.IOCCapabilities bit 0)."""
        if not self.chip.HighPriorityQueueDepth:
            raise HardwareFault(f"MptIoc: high-priority RequestFifo <- {value:#010x}: {self.chip.chip.name} "
                                "has none (IOCFacts.IOCCapabilities bit 0 is 0); use RequestFifo")
        self.w_REQUEST_FIFO(value)

    def _posted_too_early(self, value: int) -> None:
        if self.silent() or self.state is IocState.RESET:
            self.note("request", f"{value:#010x} lost: the IOC is being reset")
        elif self.state is IocState.READY:
            self.enter_fault(FaultCode.INVALID_STATE)

    def _accept(self, value: int) -> None:
        if self.credits_used >= self.chip.GlobalCredits:
            self.enter_fault(FaultCode.INSUFFICIENT_RESOURCES)
            return
        self.credits_used += 1
        mfa = value & REQ_MF_DESCRIPTOR_ADDRESS_MASK
        clock = self.clock
        clock.at_ns(clock.now_ns + self.timing.fetch_ns, self._fetch, mfa, self.epoch)

    def r_REPLY_FIFO(self) -> int:
        """Pop a reply descriptor."""
        posted = self.posted
        if (self.faults.armed or self._gone or self.resets.quiet_until_ns > self.clock.now_ns) and self.silent():
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
        if self.silent() or self.state in (IocState.RESET, IocState.FAULT):
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
