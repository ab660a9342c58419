"""The log before 5.10: records one after the other (Linux 3.5 to 5.9), and a plain ring of text (before 3.5).

A record is a header (`struct printk_log`; `struct log` until 3.10), its text, a dictionary, padding; `len` is all of
it.  A header whose `len` is 0 says that the next record is at the buffer's start.  After the three lengths come
`facility` (a byte) and five bits of flags and three of level (kernel/printk/printk.c, v3.5 to v5.9).
"""

from __future__ import annotations

import re

from ddsdk.errors import FormatError

from .klog_types import KernelReader, Log, Record

RECORDS = "record buffer"
FLAT = "flat buffer"
#: CONFIG_LOG_BUF_SHIFT is at most 25, log_buf_len= more; a log of more than 64 MiB is damage.
MAX_LOG_BYTES = 64 << 20
#: Flags of a record: it ends its line; it begins one; it is a piece of one.
LOG_NEWLINE, LOG_PREFIX, LOG_CONT = 2, 4, 8

_LEVEL = re.compile(rb"<(\d)>")


def _log_buffer(reader: KernelReader) -> tuple[bytes, str]:
    """The buffer; empty, with a line about it, when it cannot be read."""
    info = reader.info
    buf_symbol, len_symbol = info.symbol("log_buf"), info.symbol("log_buf_len")
    if buf_symbol is None or len_symbol is None:
        raise FormatError("VMCOREINFO names a log but not its place: SYMBOL(log_buf) or SYMBOL(log_buf_len) is missing")
    address, length = reader.pointer(buf_symbol), reader.integer(len_symbol, 4)
    if address is None or length is None or not 0 < length <= MAX_LOG_BYTES:
        return b"", f"log_buf_len={length} at {len_symbol:#x} is no length of a log, 1 to {MAX_LOG_BYTES} bytes"
    buffer = reader.bytes_at(address, length)
    return (b"", f"log_buf={address:#x}, {length} bytes, is not in memory") if buffer is None else (buffer, "")


def record_buffer(reader: KernelReader) -> Log:
    """The log of a kernel that exports `log_first_idx`."""
    info = reader.info
    name = "printk_log" if info.size("printk_log") is not None else "log"
    header = info.size(name)
    offsets = [info.offset(f"{name}.{member}") for member in ("ts_nsec", "len", "text_len", "dict_len")]
    ts_at, len_at, text_at, dict_at = offsets
    if header is None or header > 256 or ts_at is None or len_at is None or text_at is None:
        raise FormatError("VMCOREINFO names a log (SYMBOL(log_first_idx)) but not its layout: SIZE(printk_log), "
                          "OFFSET(printk_log.ts_nsec), .len, .text_len")
    buffer, warning = _log_buffer(reader)
    first = reader.integer(info.symbol("log_first_idx") or 0, 4)
    end = reader.integer(info.symbol("log_next_idx") or 0, 4)
    if warning or first is None or end is None or max(first, end) > len(buffer):
        return Log(RECORDS, (), 0, (warning or f"log_first_idx={first} and log_next_idx={end} are not inside the "
                                               f"{len(buffer)} bytes of the log",))
    caller_at = info.offset(f"{name}.caller_id")
    little = reader.abi.byteorder == "little"

    def value(at: int, nbytes: int) -> int:
        return int.from_bytes(buffer[at:at + nbytes], reader.abi.byteorder)

    records: list[Record] = []
    at, ahead, open_line = first, first > end, False        # ahead: the buffer's end, before `end`
    while at != end or ahead:
        length = value(at + len_at, 2) if at + header <= len(buffer) else 0
        if ahead and not length:
            at, ahead = 0, False
            continue
        if length < header or at + length > (len(buffer) if ahead else end):
            return _cut(records, f"the log's record at byte {at} has a length of {length}; {len(buffer)} bytes of log "
                                 f"go from byte {first} to byte {end}")
        text = buffer[at + header:at + header + min(value(at + text_at, 2), length - header)]
        flags = level = None
        if dict_at is not None and dict_at + 4 <= header:
            byte = buffer[at + dict_at + 3]
            flags, level = (byte & 31, byte >> 5) if little else (byte >> 3, byte & 7)
        if open_line and flags is not None and flags & LOG_CONT and not flags & LOG_PREFIX:
            last = records[-1]
            records[-1] = Record(last.text + text, last.ts_nsec, last.level, last.caller_id)
        else:
            records.append(Record(text, value(at + ts_at, 8), level,
                                  None if caller_at is None else value(at + caller_at, 4)))
        open_line = flags is not None and bool(flags & LOG_CONT) and not flags & LOG_NEWLINE
        at += length
    return Log(RECORDS, tuple(records))


def _cut(records: list[Record], warning: str) -> Log:
    return Log(RECORDS, tuple(records), 0, (f"{warning}; what comes before is shown",))


def flat_text(reader: KernelReader) -> Log:
    """The log of a kernel that exports `log_buf` alone: a ring of text that `log_end` bytes went into."""
    info = reader.info
    buffer, warning = _log_buffer(reader)
    symbol = info.symbol("log_end")
    end = None if symbol is None else reader.integer(symbol, 4)
    if warning or end is None:
        return Log(FLAT, (), 0, (warning or "SYMBOL(log_end) is missing or leads nowhere",))
    begin = end % len(buffer)
    text = buffer[:end] if end < len(buffer) else buffer[begin:] + buffer[:begin]
    lines = text.strip(b"\0").removesuffix(b"\n").split(b"\n") if text.strip(b"\0") else []
    return Log(FLAT, tuple(_flat_record(line) for line in lines))


def _flat_record(line: bytes) -> Record:
    """`<6>text`: the level apart; the time, where printk.time was set, stays in the text."""
    level = _LEVEL.match(line)
    return Record(line[level.end():] if level else line, None, int(level[1]) if level else None)
