"""Bringing an IOC from any state to OPERATIONAL: resets, facts, init, port enable.

Steps, times and order: Linux 2.6.9 mptbase.c (mpt_do_ioc_recovery and what it calls).  Every wait is bounded.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE

from .adapter import MPT_REPLY_BYTES
from .frames import (
    IOCFACTS_FLAGS_FW_DOWNLOAD_BOOT,
    IOCSTATUS_MASK,
    IOCFacts,
    IOCFactsReply,
    IOCInit,
    MPIDefaultReply,
    PortEnable,
    PortFacts,
    PortFactsReply,
    PortType,
    ProtocolFlags,
)
from .handshake import (
    ALL_ONES,
    MPT_MDELAY,
    MptError,
    WaitForDoorbellAck,
    adapter_gone,
    doorbell_in_use,
    mpt_finish_handshake,
    mpt_handshake_req_reply_wait,
    read_doorbell,
)
from .regs import (
    HIM_MASK_ALL,
    WRITE_SEQUENCE_KEYS,
    Diagnostic,
    DoorbellFunction,
    DoorbellWrite,
    HostInterruptMask,
    IocState,
    MptRegs,
    WhoInit,
)

if TYPE_CHECKING:
    from .adapter import MptAdapter

_PORT: Final = 0
_MSG_RESET_MS: Final = 15_000       # until READY after a message unit or IO unit reset
_HARD_RESET_MS: Final = 60_000      # the same after a hard reset
_OPERATIONAL_MS: Final = 60_000
_BEFORE_HARD_RESET_MS: Final = 1000     # pause after the message unit reset that precedes it
_IOC_INIT_MS: Final = 10_000
_PORT_ENABLE_MS: Final = 300_000
_DRWE_TRIES, _DRWE_MS = 20, 100
_FACTS_TRIES: Final = 5
_READY_STEP_MS: Final = 10
_ANSWER_MS: Final = 1000
#: Recoveries tried in a row; all but the first begin with a hard reset.
_ATTEMPTS: Final = 2

_FACTS_REPLY = IOCFactsReply.on(WIRE_LE)
_PORT_FACTS_REPLY = PortFactsReply.on(WIRE_LE)
_DEFAULT_REPLY = MPIDefaultReply.on(WIRE_LE)


# -- resets --------------------------------------------------------------------------------------------------


def SendIocReset(ioc: MptAdapter, function: DoorbellFunction) -> bool:
    """Message unit or IO unit reset by doorbell; true when the IOC came to READY."""
    ioc.kernel.writel(DoorbellWrite.of(FUNCTION=function), ioc.chip, MptRegs.DOORBELL_WRITE)
    return WaitForDoorbellAck(ioc) and _wait_for_state(ioc, IocState.READY, _MSG_RESET_MS)


def _wait_for_state(ioc: MptAdapter, state: IocState, howlong_ms: int) -> bool:
    """Wait for *state*; while a reset is under way an IOC may not answer at all, so all ones are no news."""
    kernel = ioc.kernel
    for _ in range(howlong_ms // _READY_STEP_MS):
        doorbell = kernel.readl(ioc.chip, MptRegs.DOORBELL)
        if state == doorbell.STATE:
            return True
        if doorbell.STATE == IocState.FAULT or (doorbell == ALL_ONES and adapter_gone(ioc)):
            return False
        kernel.diskdump_msleep(_READY_STEP_MS)
    return False


def _enable_diagnostic_writes(ioc: MptAdapter) -> Diagnostic:
    """Write the keys until DRWE reads 1; MptError when it never does."""
    kernel, chip = ioc.kernel, ioc.chip
    for _ in range(_DRWE_TRIES):
        diagnostic = kernel.readl(chip, MptRegs.DIAGNOSTIC)
        if diagnostic.DRWE:
            return diagnostic
        for key in WRITE_SEQUENCE_KEYS:
            kernel.writel(key, chip, MptRegs.WRITE_SEQUENCE)
        diagnostic = kernel.readl(chip, MptRegs.DIAGNOSTIC)
        if diagnostic.DRWE:
            return diagnostic
        kernel.diskdump_msleep(_DRWE_MS)
    raise MptError(f"{ioc.name}: Diagnostic writes stay disabled after {_DRWE_TRIES} key sequences")


def mpt_diag_reset(ioc: MptAdapter) -> None:
    """Hard reset; MptError when the IOC does not come to READY.  Takes both functions of a dual chip down."""
    kernel, chip = ioc.kernel, ioc.chip
    kernel.writel(0, chip, MptRegs.HOST_INTERRUPT_STATUS)
    diagnostic = _enable_diagnostic_writes(ioc)
    kernel.writel(diagnostic.replace(DISABLE_ARM=1), chip, MptRegs.DIAGNOSTIC)
    MPT_MDELAY(ioc, 1)
    kernel.writel(diagnostic.replace(DISABLE_ARM=1, RESET_ADAPTER=1), chip, MptRegs.DIAGNOSTIC)
    MPT_MDELAY(ioc, 2)                  # nothing may touch the chip in the first millisecond
    if not _wait_for_state(ioc, IocState.READY, _HARD_RESET_MS):
        raise MptError(f"{ioc.name}: not READY {_HARD_RESET_MS // 1000} s after the hard reset"
                       f" ({read_doorbell(ioc)!r})")
    diagnostic = _enable_diagnostic_writes(ioc)
    kernel.writel(diagnostic.replace(RESET_HISTORY=0), chip, MptRegs.DIAGNOSTIC)
    kernel.writel(ALL_ONES, chip, MptRegs.WRITE_SEQUENCE)
    diagnostic = kernel.readl(chip, MptRegs.DIAGNOSTIC)
    if diagnostic.FLASH_BAD_SIG or diagnostic.RESET_ADAPTER or diagnostic.DISABLE_ARM:
        raise MptError(f"{ioc.name}: the hard reset failed ({diagnostic!r})")


def KickStart(ioc: MptAdapter, listens: bool) -> None:
    """Hard reset.  An IOC that *listens* (not in FAULT, doorbell free) gets a message unit reset before."""
    if listens:
        SendIocReset(ioc, DoorbellFunction.IOC_MESSAGE_UNIT_RESET)
        ioc.kernel.diskdump_msleep(_BEFORE_HARD_RESET_MS)
    mpt_diag_reset(ioc)


def _wait_for_answer(ioc: MptAdapter) -> None:
    """Right after a hard reset, perhaps of the chip's other function, registers read all ones for a while."""
    for _ in range(_ANSWER_MS):
        if ioc.kernel.readl(ioc.chip, MptRegs.HOST_INTERRUPT_STATUS) != ALL_ONES or adapter_gone(ioc):
            return
        ioc.kernel.diskdump_msleep(1)


def MakeIocReady(ioc: MptAdapter, force: bool, again: bool) -> None:
    """Bring the IOC to READY, its FIFOs empty, from whatever state it is in.

    *force*: a hard reset when it is OPERATIONAL, where else a message unit reset will do.  *again*: a hard
    reset in any case, nothing else helped.  MptError: it does not come, or it belongs to a PCI peer.
    """
    _wait_for_answer(ioc)
    if doorbell_in_use(ioc):
        ioc.printk("a handshake was left half done; finishing it, then hard reset")
        mpt_finish_handshake(ioc)
        KickStart(ioc, listens=False)
        return
    doorbell = read_doorbell(ioc)
    state = doorbell.STATE
    if state == IocState.OPERATIONAL and doorbell.WHO_INIT == WhoInit.PCI_PEER:
        raise MptError(f"{ioc.name}: OPERATIONAL and owned by a PCI peer (WhoInit 3); it must not be reset"
                       " from here")
    if state == IocState.FAULT:
        ioc.printk(f"is in FAULT, code {doorbell.DATA:04x}h; hard reset")
    if again or not _by_doorbell(ioc, state, force):
        KickStart(ioc, listens=force and not again and state == IocState.OPERATIONAL)


def _by_doorbell(ioc: MptAdapter, state: int, force: bool) -> bool:
    """Try what does without a hard reset; false when there is nothing, or it did not help."""
    if state == IocState.READY:
        # a bring-up that stopped half way left reply frames on the free list
        return not force or SendIocReset(ioc, DoorbellFunction.IOC_MESSAGE_UNIT_RESET)
    if state == IocState.OPERATIONAL:
        return not force and SendIocReset(ioc, DoorbellFunction.IOC_MESSAGE_UNIT_RESET)
    if state == IocState.RESET:
        return (_wait_for_state(ioc, IocState.READY, _MSG_RESET_MS)
                or SendIocReset(ioc, DoorbellFunction.IO_UNIT_RESET))
    return False


# -- messages ------------------------------------------------------------------------------------------------


def _ask(ioc: MptAdapter, request: bytes, reply_ms: int = 5000) -> bytes:
    """A message by handshake that must succeed."""
    reply = mpt_handshake_req_reply_wait(ioc, request, reply_ms)
    status = _DEFAULT_REPLY.unpack(reply).IOCStatus & IOCSTATUS_MASK
    if status:
        raise MptError(f"{ioc.name}: function {request[3]:#04x} failed with IOCStatus {status:#06x}")
    return reply


def GetIocFacts(ioc: MptAdapter) -> None:
    """IOCFacts into `ioc.facts`; MptError when what it says cannot be driven."""
    for left in reversed(range(_FACTS_TRIES)):
        try:
            reply = _ask(ioc, IOCFacts.on(WIRE_LE).pack(IOCFacts()))
        except MptError:
            if not left or doorbell_in_use(ioc):
                raise
            continue
        ioc.facts = facts = _FACTS_REPLY.unpack(reply.ljust(_FACTS_REPLY.size, b"\0"))
        if facts.RequestFrameSize and facts.GlobalCredits and facts.ReplyQueueDepth:
            break
    else:
        raise MptError(f"{ioc.name}: IOCFacts says {facts.GlobalCredits} credits, {facts.ReplyQueueDepth}"
                       f" reply frames, request frames of {facts.RequestFrameSize} dwords; none may be 0")
    if facts.Flags & IOCFACTS_FLAGS_FW_DOWNLOAD_BOOT:
        raise MptError(f"{ioc.name}: the IOC has no firmware and wants it from the host; that is not"
                       " supported")


def GetPortFacts(ioc: MptAdapter) -> None:
    """PortFacts of port 0 into `ioc.pfacts`; MptError unless it can be a SCSI initiator."""
    reply = _ask(ioc, PortFacts.on(WIRE_LE).pack(PortFacts(PortNumber=_PORT)))
    ioc.pfacts = pfacts = _PORT_FACTS_REPLY.unpack(reply.ljust(_PORT_FACTS_REPLY.size, b"\0"))
    if pfacts.PortType == PortType.INACTIVE or not pfacts.ProtocolFlags & ProtocolFlags.INITIATOR:
        raise MptError(f"{ioc.name}: port {_PORT} has type {pfacts.PortType:#x}, protocols"
                       f" {pfacts.ProtocolFlags:#x}; no SCSI initiator there")


def PrimeIocFifos(ioc: MptAdapter) -> None:
    """Give the IOC every reply frame; it has forgotten those from before the reset."""
    for index in range(ioc.reply_depth):
        ioc.kernel.writel(ioc.reply_bus_addr + index * MPT_REPLY_BYTES, ioc.chip, MptRegs.REPLY_FREE_FIFO)


def SendIocInit(ioc: MptAdapter) -> None:
    """IOCInit: READY becomes OPERATIONAL.  The frames are below 4 GiB, so both high halves are 0."""
    facts = ioc.facts
    _ask(ioc, IOCInit.on(WIRE_LE).pack(IOCInit(
        WhoInit=WhoInit.HOST_DRIVER, MaxDevices=facts.MaxDevices, MaxBuses=facts.MaxBuses,
        ReplyFrameSize=MPT_REPLY_BYTES)), _IOC_INIT_MS)


def SendPortEnable(ioc: MptAdapter) -> None:
    """PortEnable of port 0: discovery, on SPI a bus reset; may take minutes."""
    _ask(ioc, PortEnable.on(WIRE_LE).pack(PortEnable(PortNumber=_PORT)), _PORT_ENABLE_MS)


# -- recovery ------------------------------------------------------------------------------------------------


def mpt_do_ioc_recovery(ioc: MptAdapter, force: bool) -> int:
    """Bring the IOC up: 0, or -EIO with the reason in the kernel log.

    Interrupts are masked and stay so; nothing is posted while it runs.  At probe `ioc.pool` is allocated
    here, as soon as the IOC has said how much it takes.
    """
    ioc.active = False
    for attempt in range(_ATTEMPTS):
        try:
            _bring_up(ioc, force, again=attempt > 0)
        except MptError as error:
            ioc.printk(str(error).removeprefix(f"{ioc.name}: "))      # which printk() puts there itself
        else:
            ioc.dead = False
            ioc.reset_count += 1
            return 0
    ioc.dead = True
    return -errno.EIO


def _bring_up(ioc: MptAdapter, force: bool, again: bool) -> None:
    ioc.kernel.writel(HIM_MASK_ALL, ioc.chip, MptRegs.HOST_INTERRUPT_MASK)
    MakeIocReady(ioc, force, again)
    GetIocFacts(ioc)
    if ioc.pool is None:
        GetPortFacts(ioc)
        ioc.alloc_frames()
    shrank = ioc.facts_shrank()
    if shrank:
        raise MptError(f"{ioc.name}: {shrank}")
    PrimeIocFifos(ioc)
    SendIocInit(ioc)
    SendPortEnable(ioc)
    if not _wait_for_state(ioc, IocState.OPERATIONAL, _OPERATIONAL_MS):
        raise MptError(f"{ioc.name}: not OPERATIONAL {_OPERATIONAL_MS // 1000} s after IOCInit"
                       f" ({read_doorbell(ioc)!r})")


def enable_interrupts(ioc: MptAdapter) -> None:
    """Let reply interrupts through, the doorbell's never.  In crash mode none: dump_poll stands in for them."""
    if not ioc.kernel.crashdump_mode():
        ioc.kernel.writel(HostInterruptMask.of(DIM=1), ioc.chip, MptRegs.HOST_INTERRUPT_MASK)
