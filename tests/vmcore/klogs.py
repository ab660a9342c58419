"""Logs of three generations put into a made-up kernel, record by record, so that a test can bend any of it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from attrs import define, field

from tests.vmcore.kernel import Kernel

#: v5.10 to v6.12, x86_64 (the lab's Debian 6.1 exports these).
RING_INFO = {
    "SIZE(printk_ringbuffer)": 88, "OFFSET(printk_ringbuffer.desc_ring)": 0,
    "OFFSET(printk_ringbuffer.text_data_ring)": 48, "SIZE(prb_desc_ring)": 48, "OFFSET(prb_desc_ring.count_bits)": 0,
    "OFFSET(prb_desc_ring.descs)": 8, "OFFSET(prb_desc_ring.infos)": 16, "OFFSET(prb_desc_ring.head_id)": 24,
    "OFFSET(prb_desc_ring.tail_id)": 32, "SIZE(prb_desc)": 24, "OFFSET(prb_desc.state_var)": 0,
    "OFFSET(prb_desc.text_blk_lpos)": 8, "OFFSET(prb_data_blk_lpos.begin)": 0, "OFFSET(prb_data_blk_lpos.next)": 8,
    "SIZE(printk_info)": 88, "OFFSET(printk_info.ts_nsec)": 8, "OFFSET(printk_info.text_len)": 16,
    "OFFSET(printk_info.caller_id)": 20, "SIZE(prb_data_ring)": 32, "OFFSET(prb_data_ring.size_bits)": 0,
    "OFFSET(prb_data_ring.data)": 8, "OFFSET(atomic_long_t.counter)": 0}
COMMITTED, FINALIZED, REUSABLE, RESERVED = 1, 2, 3, 0


@define(eq=False)
class Ring:
    """A printk_ringbuffer of 2**count_bits descriptors and 2**text_bits bytes, written as the kernel writes it."""

    kernel: Kernel
    count_bits: int = 4
    text_bits: int = 9
    first_id: int = 0xFFFF_FFF0
    exact_fit_wraps: bool = True            # until 6.14 a block that just fills the ring's end starts over
    descs: int = field(init=False)
    infos: int = field(init=False)
    text: int = field(init=False)
    prb: int = field(init=False)
    ids: list[int] = field(factory=list, init=False)
    lpos: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        kernel, count = self.kernel, 1 << self.count_bits
        self.lpos = 5 << self.text_bits
        self.descs, self.infos = kernel.take(24 * count), kernel.take(88 * count)
        self.text, self.prb, pointer = kernel.take(1 << self.text_bits), kernel.take(88), kernel.take(8)
        for place in range(count):
            kernel.word(self.descs + 24 * place, REUSABLE << 62)
        kernel.word(pointer, kernel.image(self.prb))
        kernel.word(self.prb, self.count_bits, 4)
        for at, value in ((8, self.descs), (16, self.infos), (56, self.text)):
            kernel.word(self.prb + at, kernel.image(value))
        kernel.word(self.prb + 48, self.text_bits, 4)
        kernel.info |= {"SYMBOL(prb)": f"{kernel.image(pointer):x}"} | RING_INFO
        self._ends()

    def _ends(self) -> None:
        ids = self.ids or [self.first_id - 1]
        self.kernel.word(self.prb + 24, ids[-1])
        self.kernel.word(self.prb + 32, ids[max(0, len(ids) - (1 << self.count_bits))])

    def add(self, text: bytes, *, ts: int = 0, level: int = 6, caller: int = 1, state: int = FINALIZED,
            text_len: int | None = None) -> int:
        """One record; its id."""
        number = self.first_id + len(self.ids)
        self.ids.append(number)
        place, size = number % (1 << self.count_bits), 1 << self.text_bits
        begin = following = self.lpos | 1
        if text:
            need = 8 + -(-len(text) // 8) * 8
            begin, end = self.lpos, self.lpos + need
            last = end - (0 if self.exact_fit_wraps else 1)
            at = begin % size
            if begin // size != last // size:
                end, at = last // size * size + need, 0
            self.kernel.write(self.text + at, struct.pack("<Q", number) + text)
            self.lpos = following = end
        self.kernel.write(self.descs + 24 * place, struct.pack("<QQQ", state << 62 | number, begin, following))
        self.kernel.write(self.infos + 88 * place, struct.pack(
            "<QQHBBI", number, ts, len(text) if text_len is None else text_len, 0, level << 5, caller))
        self._ends()
        return number


def record(text: bytes, *, ts: int = 0, level: int = 6, flags: int = 6, text_len: int | None = None,
           dictionary: bytes = b"", length: int | None = None) -> bytes:
    """struct printk_log of 3.5 to 5.9 with its text, dictionary and padding."""
    size = -(-(16 + len(text) + len(dictionary)) // 8) * 8
    head = struct.pack("<QHHHBB", ts, size if length is None else length, len(text) if text_len is None else text_len,
                       len(dictionary), 0, level << 5 | flags)
    return (head + text + dictionary).ljust(size, b"\0")


def record_buffer(kernel: Kernel, before: Sequence[bytes], after: Sequence[bytes] = (), size: int = 1024,
                  name: str = "printk_log") -> int:
    """A log_buf with *before* from its start on; *after*, if any, is older and lies at its end, before the mark."""
    buffer = bytearray(size)
    new, old = b"".join(before), b"".join(after)
    buffer[:len(new)] = new
    first = size - len(old) - 16 if old else 0
    buffer[first:first + len(old)] = old
    return _variables(kernel, bytes(buffer), {"log_first_idx": first, "log_next_idx": len(new)}, {
        f"SIZE({name})": 16, f"OFFSET({name}.ts_nsec)": 0, f"OFFSET({name}.len)": 8, f"OFFSET({name}.text_len)": 10,
        f"OFFSET({name}.dict_len)": 12})


def flat_buffer(kernel: Kernel, text: bytes, size: int = 256) -> int:
    """The ring of text before 3.5 after *text* went into it."""
    buffer = bytearray(size)
    for at, byte in enumerate(text):
        buffer[at % size] = byte
    return _variables(kernel, bytes(buffer), {"log_end": len(text), "logged_chars": min(len(text), size)}, {})


def _variables(kernel: Kernel, buffer: bytes, numbers: dict[str, int], info: dict[str, int]) -> int:
    at, pointer = kernel.take(len(buffer)), kernel.take(8)
    kernel.write(at, buffer)
    kernel.word(pointer, kernel.image(at))
    kernel.info |= {"SYMBOL(log_buf)": f"{kernel.image(pointer):x}"} | info
    for name, value in (numbers | {"log_buf_len": len(buffer)}).items():
        where = kernel.take(4)
        kernel.word(where, value, 4)
        kernel.info[f"SYMBOL({name})"] = f"{kernel.image(where):x}"
    return at
