"""The sequencer's program, and its download.

Adaptec's program is not ours to ship.  This is a stand-in of the same interface: 31-bit words with odd parity, the
host's seven constants patched in, interrupt vectors, sections in which the sequencer may not be looked at.  On silicon
it would do nothing; a port to hardware puts the real words here and its labels into sequencer.py.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from .chips import Bug
from .regs import CommonRegs, SeqCtl0
from .sequencer import (
    DOWNLOAD_CONSTANTS,
    FIRST_CONSTANT_WORD,
    OVERRUN_UNIT,
    SCB_TRANSFER_1BYTE_LUN,
    SCB_TRANSFER_FULL_LUN,
    odd_parity,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .ahd import AhdSoftc

_WORDS: Final = 36
_WORD: Final = Struct("<I")
#: Of each word of the stand-in: an opcode that does nothing, and its own address, so that no two are alike.
_NOP: Final = 0x01000000
#: Scatter elements that the chip prefetches: what fits 128 bytes of its buffer.
_PREFETCH_BYTES: Final = 128
_LOAD: Final = SeqCtl0.PERRORDIS.mask | SeqCtl0.FAILDIS.mask | SeqCtl0.FASTMODE.mask | SeqCtl0.LOADRAM.mask


def download_constants(ahd: AhdSoftc) -> Mapping[str, int]:
    """The seven bytes that the loader substitutes."""
    count = _PREFETCH_BYTES // ahd.sg_size
    return dict(zip(DOWNLOAD_CONSTANTS, (
        count, count - 1, -_PREFETCH_BYTES & 0xFF, _PREFETCH_BYTES - 1, ahd.sg_size,
        ahd.overrun_offset // OVERRUN_UNIT,
        SCB_TRANSFER_FULL_LUN if ahd.has(Bug.PKT_LUN) else SCB_TRANSFER_1BYTE_LUN), strict=True))


def program(ahd: AhdSoftc) -> bytes:
    """The words, constants in their places, parity bits set."""
    words = [_NOP | address << 8 for address in range(_WORDS)]
    for number, value in enumerate(download_constants(ahd).values(), FIRST_CONSTANT_WORD):
        words[number] |= value
    return b"".join(_WORD.pack(odd_parity(word)) for word in words)


def ahd_loadseq(ahd: AhdSoftc) -> None:
    """int ahd_loadseq(struct ahd_softc *): the chip is paused; leaves load mode, does not start the program."""
    ahd.outb(CommonRegs.SEQCTL0, _LOAD)
    ahd.outw(CommonRegs.PRGMCNT, 0)
    outb_at, port = ahd.outb_at, CommonRegs.SEQRAM.offset
    for byte in program(ahd):
        outb_at(port, byte)
    ahd.outb(CommonRegs.SEQCTL0, _LOAD & ~SeqCtl0.LOADRAM.mask)
