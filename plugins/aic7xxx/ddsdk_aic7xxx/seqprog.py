"""The program that is loaded into the sequencer: a stand-in that keeps the format, and how it is made ready.

What runs on a real chip is the kernel's aic7xxx.seq, assembled with the driver; it is not part of this plugin, and no
sequencer instruction is executed here.  The stand-in is loaded as that one is: four bytes an instruction, low byte
first, odd parity in bit 31, seven byte constants patched in (hw-aic7xxx.md 6, item 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .regs import INSTRUCTION_BYTES

_PARITY: Final = 1 << 31
#: Move a constant to a scratch register; jump to address 0.  hw-aic7xxx.md gives no encoding: these words are ours.
_MOVE_CONSTANT: Final = 0x08006A00
_JUMP_TO_START: Final = 0x10000000
_CONSTANTS: Final = 7
_PADDING: Final = 8


def constants(cache_line_bytes: int) -> tuple[int, ...]:
    """The seven bytes the program is patched with: queue pages, cache line masks, S/G prefetch size and masks.

    S/G elements are fetched in aligned pieces of a cache line, at least 16 bytes, at most 64.
    """
    prefetch = min(64, max(16, cache_line_bytes))
    line_mask = max(0, cache_line_bytes - 1) & 0xFF
    return (0, 1, line_mask, ~line_mask & 0xFF, prefetch, ~(prefetch - 1) & 0xFF, prefetch - 1)


def program(cache_line_bytes: int) -> Sequence[int]:
    """The instructions, patched, each with its parity bit."""
    words = [_MOVE_CONSTANT | value for value in constants(cache_line_bytes)]
    words += [_JUMP_TO_START] * _PADDING
    return tuple(with_parity(word) for word in words)


def with_parity(word: int) -> int:
    """*word* with bit 31 such that the number of ones is odd."""
    word &= ~_PARITY
    return word if word.bit_count() & 1 else word | _PARITY


def image(cache_line_bytes: int) -> bytes:
    """The program as bytes for SEQRAM."""
    return b"".join(word.to_bytes(INSTRUCTION_BYTES, "little") for word in program(cache_line_bytes))
