"""The system doorbell: waiting for it, messages by handshake, and handshakes somebody left half done.

Every wait has a bound and goes through the helper library, so that it touches the NMI watchdog in crash mode.
Times and order: Linux 2.6.9 mptbase.c; what QEMU 7.2 mptsas1068 needs beside: never reset it in a handshake.
"""

from __future__ import annotations

from struct import unpack
from typing import TYPE_CHECKING, Final

from ddsdk.errors import DeviceError

from .regs import Doorbell, DoorbellFunction, DoorbellWrite, HostInterruptStatus, MptRegs

if TYPE_CHECKING:
    from .adapter import MptAdapter

ALL_ONES: Final = 0xFFFFFFFF
#: The IOC takes a doorbell write, or answers it, within this (2.6.9: 5 s).
DOORBELL_MS: Final = 5000
#: A word of a reply, or the reply of a short message, follows within this.
SETTLE_MS: Final = 20
#: Filler for dwords of a request that is thrown away: as the first dword it makes an IOCFacts of it.
FILLER: Final = 0x03000000
#: What ending somebody's handshake may take: 255 dwords in, twice 255 words out, an interrupt at either end.
_MAX_FILLERS: Final = 255
_MAX_WORDS: Final = 2 * 255 + 2
#: Dwords of the longest reply there is to read.
MAX_REPLY_DWORDS: Final = 32

_SPINS, _SPIN_US = 100, 10      # the first millisecond of a wait, finer
_PCI_VENDOR_ID = 0x00


class MptError(DeviceError):
    """The IOC did not do what it must; the text says what."""


def MPT_MDELAY(ioc: MptAdapter, ms: int) -> None:
    """MPT_MDELAY(n) of the white paper, 4.3 item 4: diskdump_mdelay() in crash mode, mdelay() otherwise."""
    kernel = ioc.kernel
    if kernel.crashdump_mode():
        kernel.diskdump_mdelay(ms)
    else:
        kernel.mdelay(ms)


def adapter_gone(ioc: MptAdapter) -> bool:
    """Whether the PCI function no longer answers at all."""
    return ioc.kernel.pci_read_config_word(ioc.pdev, _PCI_VENDOR_ID) == 0xFFFF


def read_doorbell(ioc: MptAdapter) -> Doorbell:
    """The doorbell; MptError when nothing answers."""
    doorbell = ioc.kernel.readl(ioc.chip, MptRegs.DOORBELL)
    if doorbell == ALL_ONES:
        raise MptError(f"{ioc.name}: every register reads 0xffffffff; the adapter is gone, or its memory"
                       " window is off")
    return doorbell


def acknowledge(ioc: MptAdapter) -> None:
    """Clear the doorbell interrupt."""
    ioc.kernel.writel(0, ioc.chip, MptRegs.HOST_INTERRUPT_STATUS)


def _wait(ioc: MptAdapter, mask: int, wanted: int, howlong_ms: int) -> bool:
    """Wait until IntStatus & *mask* is *wanted*: often in the first millisecond, then once a millisecond."""
    kernel, chip = ioc.kernel, ioc.chip
    for _ in range(_SPINS):
        if kernel.readl(chip, MptRegs.HOST_INTERRUPT_STATUS) & mask == wanted:
            return True
        kernel.udelay(_SPIN_US)
    for _ in range(howlong_ms):
        if kernel.readl(chip, MptRegs.HOST_INTERRUPT_STATUS) & mask == wanted:
            return True
        kernel.diskdump_msleep(1)
    return False


def WaitForDoorbellInt(ioc: MptAdapter, howlong_ms: int = DOORBELL_MS) -> bool:
    """Wait for the doorbell interrupt; false when it did not come."""
    bit = HostInterruptStatus.DOORBELL.mask
    return _wait(ioc, bit, bit, howlong_ms)


def WaitForDoorbellAck(ioc: MptAdapter, howlong_ms: int = DOORBELL_MS) -> bool:
    """Wait until the IOC has taken the last doorbell write; false when it did not."""
    return _wait(ioc, HostInterruptStatus.IOP_DOORBELL_STATUS.mask, 0, howlong_ms)


# -- messages ------------------------------------------------------------------------------------------------


def mpt_handshake_req_reply_wait(ioc: MptAdapter, request: bytes, reply_ms: int = DOORBELL_MS) -> bytes:
    """Send *request* (whole dwords) by handshake and return its reply; MptError names the step that failed.

    *reply_ms* bounds the wait for the first word.  Afterwards the handshake is over, or it must be ended by
    `mpt_finish_handshake()` and a reset.
    """
    what = f"handshake of function {request[3]:#04x}"
    dwords = unpack(f"<{len(request) // 4}I", request)
    ioc.handshake_left = len(dwords)
    acknowledge(ioc)
    _ring(ioc, DoorbellWrite.of(FUNCTION=DoorbellFunction.HANDSHAKE, ADD_DWORDS=len(dwords)))
    if not WaitForDoorbellInt(ioc) or not read_doorbell(ioc).USED:
        raise MptError(f"{ioc.name}: {what}: the IOC does not start it within {DOORBELL_MS} ms")
    acknowledge(ioc)
    if not WaitForDoorbellAck(ioc):
        raise MptError(f"{ioc.name}: {what}: the doorbell write is not taken within {DOORBELL_MS} ms")
    for dword in dwords:
        _ring(ioc, dword)
        if not WaitForDoorbellAck(ioc):
            raise MptError(f"{ioc.name}: {what}: a dword is not taken within {DOORBELL_MS} ms")
        ioc.handshake_left -= 1
    reply = _read_reply(ioc, what, reply_ms)
    ioc.handshake_left = None
    if reply[3] != request[3]:
        raise MptError(f"{ioc.name}: {what}: the reply is of function {reply[3]:#04x}")
    return reply


def _ring(ioc: MptAdapter, value: int) -> None:
    ioc.kernel.writel(value, ioc.chip, MptRegs.DOORBELL_WRITE)


def _read_reply(ioc: MptAdapter, what: str, reply_ms: int) -> bytes:
    """The reply, word by word; its second word says how long it is."""
    words: list[int] = []
    expected = 2
    while len(words) < expected:
        if not WaitForDoorbellInt(ioc, DOORBELL_MS if words else reply_ms):
            raise MptError(f"{ioc.name}: {what}: no reply word {len(words)} within"
                           f" {DOORBELL_MS if words else reply_ms} ms")
        doorbell = read_doorbell(ioc)
        if not doorbell.USED:
            raise MptError(f"{ioc.name}: {what}: the IOC ended the reply after {len(words)} words")
        words.append(doorbell.DATA)
        acknowledge(ioc)
        if len(words) == 2:
            expected = 2 * (words[1] & 0xFF)
            if not 10 <= expected <= 2 * MAX_REPLY_DWORDS:
                raise MptError(f"{ioc.name}: {what}: the reply claims {expected // 2} dwords; replies have"
                               f" 5 to {MAX_REPLY_DWORDS}")
    if not WaitForDoorbellInt(ioc):
        raise MptError(f"{ioc.name}: {what}: the IOC does not end it within {DOORBELL_MS} ms")
    acknowledge(ioc)
    return b"".join(word.to_bytes(2, "little") for word in words)


# -- handshakes left half done -------------------------------------------------------------------------------


def doorbell_in_use(ioc: MptAdapter) -> bool:
    """Whether somebody's handshake is under way.

    IntStatus first: while a reply word waits, a doorbell read would take it.  MptError when nothing answers.
    """
    status = ioc.kernel.readl(ioc.chip, MptRegs.HOST_INTERRUPT_STATUS)
    if status.DOORBELL and status != ALL_ONES:
        return True
    return bool(read_doorbell(ioc).USED)


def mpt_finish_handshake(ioc: MptAdapter) -> bool:
    """End a handshake that was left half done, by whomever: feed it, read its reply, throw that away.

    Hardware forgets it at the hard reset that follows anyway; QEMU's adapter keeps waiting for the missing
    dwords across it, and aborts when it is reset before its reply was read.  True: the doorbell is free.
    """
    sent = ioc.handshake_left == 0          # ours, and complete: the answer is on its way
    patience_ms = DOORBELL_MS if sent else SETTLE_MS
    ioc.handshake_left = None
    words = fillers = 0
    while words < _MAX_WORDS and fillers < _MAX_FILLERS:
        if WaitForDoorbellInt(ioc, patience_ms):
            words += 1
            in_use = read_doorbell(ioc).USED            # takes the word that was offered
            acknowledge(ioc)
            if in_use:
                continue
        patience_ms = SETTLE_MS
        if not read_doorbell(ioc).USED:
            return True
        if not WaitForDoorbellAck(ioc):
            return False
        fillers += 1
        _ring(ioc, FILLER)
    return False
