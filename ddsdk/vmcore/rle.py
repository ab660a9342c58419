"""LKCD's run-length code (formats.md 6.4: the kernel's encoder and crash's decoder agree; libkdumpfile's does not).

A zero introduces a run: `0 0` is one zero byte, `0 c v` are c + 1 times v; every other byte is itself.
"""

from __future__ import annotations

import numpy as np

from ddsdk.errors import FormatError

Buffer = bytes | bytearray | memoryview
MAX_RUN = 256


def rle_compress(page: Buffer) -> bytes | None:
    """*page* encoded; None when that is longer."""
    data = np.frombuffer(page, np.uint8)
    starts = np.flatnonzero(np.diff(data, prepend=data[:1] ^ 0xFF))
    lengths = np.diff(starts, append=len(data))
    values = data[starts]
    coded = np.flatnonzero((lengths >= 3) | (values == 0))
    out, at, raw = bytearray(), 0, memoryview(page)
    for index in coded.tolist():
        start, length, value = int(starts[index]), int(lengths[index]), int(values[index])
        out += raw[at:start]
        for _ in range(length // MAX_RUN):
            out += bytes((0, MAX_RUN - 1, value))
        length %= MAX_RUN
        if length >= 3 or (length == 2 and not value):
            out += bytes((0, length - 1, value))
        elif not value:
            out += bytes(2 * length)
        else:
            out += bytes((value,)) * length
        at = start + int(lengths[index])
        if len(out) > len(raw):
            return None
    out += raw[at:]
    return bytes(out) if len(out) <= len(raw) else None


def rle_decompress(data: Buffer, size: int) -> bytes:
    """The *size* bytes that *data* encode; FormatError when they are others."""
    coded, out, at = bytes(data), bytearray(), 0
    while at < len(coded) and len(out) <= size:
        zero = coded.find(0, at)
        if zero < 0:
            zero = len(coded)
        out += coded[at:zero]
        if zero == len(coded):
            break
        if zero + 1 == len(coded) or (coded[zero + 1] and zero + 2 == len(coded)):
            raise FormatError(f"its {len(coded)} bytes end inside a run")
        count = coded[zero + 1]
        if count:
            out += coded[zero + 2:zero + 3] * (count + 1)
            at = zero + 3
        else:
            out.append(0)
            at = zero + 2
    if len(out) != size:
        raise FormatError(f"its {len(coded)} bytes (RLE) are a page of {'more than ' if len(out) > size else ''}"
                          f"{min(len(out), size)} bytes, not of {size}")
    return bytes(out)
