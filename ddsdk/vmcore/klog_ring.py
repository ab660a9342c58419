"""The lockless printk ring buffer (Linux 5.10 and later): descriptors, their infos, and a ring of text.

A descriptor's `state_var` holds its id and, in the two top bits, its state; id modulo the number of descriptors is
its place.  `text_blk_lpos` are two positions in the text ring, which count up for ever: modulo the ring's size they
are its bytes.  A block starts with the descriptor's id; one that would cross the ring's end starts over at byte 0.
Facts: Documentation of VMCOREINFO (kdump/vmcoreinfo.rst) and kernel/printk/printk_ringbuffer.h, v5.10 to v6.12.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from ddsdk.errors import FormatError

from .kernelinfo import KernelInfo
from .klog_types import KernelReader, Log, Record

GENERATION = "printk ring buffer"
#: States of a descriptor; 0 is being written.
_COMMITTED, _FINALIZED, _REUSABLE = 1, 2, 3
#: No record, and nothing wrong about it.
_NO_TEXT = Record(b"")
#: log_buf_len= takes at most 2 GiB; a log of more than 64 MiB of text, or a million records, is damage.
MAX_TEXT_BITS = 26
MAX_COUNT_BITS = 20

_OFFSETS = ("printk_ringbuffer.desc_ring", "printk_ringbuffer.text_data_ring", "prb_desc_ring.count_bits",
            "prb_desc_ring.descs", "prb_desc_ring.infos", "prb_desc_ring.head_id", "prb_desc_ring.tail_id",
            "prb_desc.state_var", "prb_desc.text_blk_lpos", "prb_data_blk_lpos.begin", "prb_data_blk_lpos.next",
            "printk_info.ts_nsec", "printk_info.text_len", "prb_data_ring.size_bits", "prb_data_ring.data")
_SIZES = ("printk_ringbuffer", "prb_desc", "printk_info")


@frozen
class _Ring:
    """The three arrays, read whole."""

    reader: KernelReader
    at: Mapping[str, int]
    sizes: Mapping[str, int]
    descs: bytes
    infos: bytes
    text: bytes

    @property
    def count(self) -> int:
        """Descriptors."""
        return len(self.descs) // self.sizes["prb_desc"]

    def _integer(self, data: bytes, offset: int, nbytes: int) -> int:
        return int.from_bytes(data[offset:offset + nbytes], self.reader.abi.byteorder)

    def record(self, number: int) -> Record | None:
        """The record with id *number*, which may have no text; None for one that is not complete."""
        word, at = self.reader.abi.word_bytes, self.at
        place = number % self.count
        desc = self.descs[place * self.sizes["prb_desc"]:(place + 1) * self.sizes["prb_desc"]]
        state_var = self._integer(desc, at["prb_desc.state_var"] + at["atomic_long_t.counter"], word)
        id_bits = 8 * word - 2
        state = state_var >> id_bits
        if state == _REUSABLE:
            return _NO_TEXT
        if state_var & (1 << id_bits) - 1 != number or state not in (_COMMITTED, _FINALIZED):
            return None
        lpos = at["prb_desc.text_blk_lpos"]
        begin = self._integer(desc, lpos + at["prb_data_blk_lpos.begin"], word) % len(self.text)
        end = self._integer(desc, lpos + at["prb_data_blk_lpos.next"], word) % len(self.text)
        if begin == end:                        # no text, or no room was left for it
            return _NO_TEXT
        if begin > end:                         # over the ring's end, or just up to it
            begin, end = (0, end) if end else (begin, len(self.text))
        info = self.infos[place * self.sizes["printk_info"]:(place + 1) * self.sizes["printk_info"]]
        length_at = at["printk_info.text_len"]
        length = min(self._integer(info, length_at, 2), max(0, end - begin - word))
        flags = info[length_at + 3] if length_at + 3 < len(info) else 0
        level = flags >> 5 if self.reader.abi.byteorder == "little" else flags & 7
        caller = at.get("printk_info.caller_id")
        return Record(self.text[begin + word:begin + word + length], self._integer(info, at["printk_info.ts_nsec"], 8),
                      level, None if caller is None else self._integer(info, caller, 4))


def ring_records(reader: KernelReader) -> Log:
    """The log of a kernel that exports `prb`."""
    info = reader.info
    at, sizes = _layout(info)
    symbol = info.symbol("prb") or 0
    address = reader.pointer(symbol)
    head = None if address is None else reader.bytes_at(address, sizes["printk_ringbuffer"])
    if head is None:
        return _nothing(f"SYMBOL(prb)={symbol:#x} leads to no ring buffer")
    order, word = reader.abi.byteorder, reader.abi.word_bytes

    def member(name: str, nbytes: int) -> int:
        ring = name.partition(".")[0]
        where = at["printk_ringbuffer." + ("desc_ring" if ring == "prb_desc_ring" else "text_data_ring")] + at[name]
        return int.from_bytes(head[where:where + nbytes], order)

    count_bits, text_bits = member("prb_desc_ring.count_bits", 4), member("prb_data_ring.size_bits", 4)
    if not 0 < count_bits <= MAX_COUNT_BITS or not 3 < text_bits <= MAX_TEXT_BITS:
        return _nothing(f"the ring buffer at {address:#x} says 2**{count_bits} descriptors and 2**{text_bits} bytes of "
                        f"text; at most 2**{MAX_COUNT_BITS} and 2**{MAX_TEXT_BITS} are believed")
    count = 1 << count_bits
    arrays: list[bytes] = []
    for name, length in (("prb_desc_ring.descs", count * sizes["prb_desc"]),
                         ("prb_desc_ring.infos", count * sizes["printk_info"]), ("prb_data_ring.data", 1 << text_bits)):
        array = reader.bytes_at(member(name, word), length)
        if array is None:
            return _nothing(f"the ring buffer's {name.partition('.')[2]} at {member(name, word):#x} are not in memory")
        arrays.append(array)
    counter = at["atomic_long_t.counter"]
    at_head, at_tail = (int.from_bytes(head[where:where + word], order) for where in
                        (at["printk_ringbuffer.desc_ring"] + at[f"prb_desc_ring.{end}"] + counter
                         for end in ("head_id", "tail_id")))
    descs, infos, text = arrays
    return _walk(_Ring(reader, at, sizes, descs, infos, text), at_tail, at_head)


def _walk(ring: _Ring, tail: int, head: int) -> Log:
    """Ids *tail* to *head*, which are at most one ring apart."""
    mask = (1 << 8 * ring.reader.abi.word_bytes - 2) - 1
    tail, head = tail & mask, head & mask
    span = (head - tail & mask) + 1
    warnings: tuple[str, ...] = ()
    if span > ring.count:
        warnings = (f"the log says records {tail:#x} to {head:#x} of a ring of {ring.count}; the last {ring.count} "
                    "are shown",)
        tail, span = head - ring.count + 1 & mask, ring.count
    records, skipped = [], 0
    for step in range(span):
        record = ring.record(tail + step & mask)
        if record is None:
            skipped += 1
        elif record.text:
            records.append(record)
    return Log(GENERATION, tuple(records), skipped, warnings)


def _layout(info: KernelInfo) -> tuple[dict[str, int], dict[str, int]]:
    """Offsets and sizes; FormatError names the first that VMCOREINFO lacks."""
    at = {name: info.offset(name) for name in _OFFSETS}
    sizes = {name: info.size(name) for name in _SIZES}
    missing = [f"OFFSET({name})" for name, value in at.items() if value is None]
    missing += [f"SIZE({name})" for name, value in sizes.items() if value is None or value > 1 << 12]
    if missing:
        raise FormatError(f"VMCOREINFO names a log (SYMBOL(prb)) but not its layout: {missing[0]} is missing or absurd")
    at["atomic_long_t.counter"] = info.offset("atomic_long_t.counter") or 0
    caller = info.offset("printk_info.caller_id")
    if caller is not None:
        at["printk_info.caller_id"] = caller
    return ({name: value for name, value in at.items() if value is not None},
            {name: value for name, value in sizes.items() if value is not None})


def _nothing(warning: str) -> Log:
    return Log(GENERATION, (), 0, (warning,))
