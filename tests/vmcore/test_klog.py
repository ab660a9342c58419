"""The kernel's log: three generations, written here byte by byte, whole and damaged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsdk.errors import FormatError
from ddsdk.vmcore.klog import kernel_log, log_lines
from ddsdk.vmcore.klog_types import Log
from tests.vmcore.kernel import V2_6_24, V3_10, V4_19, Kernel
from tests.vmcore.klogs import COMMITTED, RESERVED, Ring, flat_buffer, record, record_buffer

SMALL = 10240


def lines(kernel: Kernel, **options: bool) -> list[str]:
    """The log as it is shown, when there is nothing wrong with it."""
    log = kernel_log(kernel.source())
    assert log.warnings == ()
    return list(log_lines(log, **options))


def texts(log: Log) -> list[bytes]:
    """The records' texts."""
    return [one.text for one in log.records]


# -- 5.10 and later ------------------------------------------------------------------------------------------

def test_ring_records_as_dmesg_shows_them() -> None:
    """Time, lines after the first below it, what is not printable as bytes; level and caller when asked for."""
    ring = Ring(Kernel(frames=SMALL))
    ring.add(b"Linux version 6.1", level=5)
    ring.add(b"two\nlines", ts=12_345_678_901, caller=0x8000_0003)
    ring.add(b"caf\xc3\xa9\x1b[1m\ttab", ts=123_456_000_000_000, caller=4711, state=COMMITTED)
    assert lines(ring.kernel) == ["[    0.000000] Linux version 6.1", "[   12.345678] two", "               lines",
                                  "[123456.000000] caf\\xc3\\xa9\\x1b[1m\ttab"]
    assert lines(ring.kernel, levels=True, callers=True) == [
        "<5>[    0.000000] [      T1] Linux version 6.1", "<6>[   12.345678] [      C3] two",
        "                             lines", "<6>[123456.000000] [   T4711] caf\\xc3\\xa9\\x1b[1m\ttab"]


@pytest.mark.parametrize("exact_fit_wraps", [True, False])
def test_the_ring_goes_round(exact_fit_wraps: bool) -> None:
    """Blocks of every length meet the ring's end in every way; the last sixteen records are there."""
    for length in range(1, 40):
        ring = Ring(Kernel(frames=SMALL), exact_fit_wraps=exact_fit_wraps, text_bits=10)
        for number in range(70):
            ring.add(bytes([50 + number]) * length, ts=number * 1_000_000_000)
        assert lines(ring.kernel) == [f"[{n:5}.000000] {chr(50 + n) * length}" for n in range(54, 70)]


def test_an_empty_ring_has_no_lines() -> None:
    """A kernel that has not said a word."""
    log = kernel_log(Ring(Kernel(frames=SMALL)).kernel.source())
    assert (log.records, log.skipped, log.warnings) == ((), 0, ())


def test_records_in_the_making_are_skipped_and_counted() -> None:
    """Reserved, or a descriptor that belongs to another id; a record without text is no line."""
    ring = Ring(Kernel(frames=SMALL))
    ring.add(b"one")
    ring.add(b"in the making", state=RESERVED)
    ring.add(b"")
    other = ring.add(b"taken over")
    ring.kernel.word(ring.descs + 24 * (other % 16), 2 << 62 | (other + 16))
    ring.add(b"five")
    log = kernel_log(ring.kernel.source())
    assert (texts(log), log.skipped) == ([b"one", b"five"], 2)


def test_a_length_stays_inside_its_block() -> None:
    """text_len says more than there is: what was truncated at the crash."""
    ring = Ring(Kernel(frames=SMALL))
    ring.add(b"12345678", text_len=60000)
    ring.add(b"next")
    assert texts(kernel_log(ring.kernel.source())) == [b"12345678", b"next"]


def test_head_and_tail_that_are_too_far_apart_give_the_last_round() -> None:
    """One line says so."""
    ring = Ring(Kernel(frames=SMALL))
    for number in range(20):
        ring.add(b"%d" % number)
    ring.kernel.word(ring.prb + 32, ring.ids[-1] - 1000)
    log = kernel_log(ring.kernel.source())
    assert texts(log) == [b"%d" % number for number in range(4, 20)]
    assert log.warnings[0].endswith("of a ring of 16; the last 16 are shown")


@pytest.mark.parametrize(("offset", "value", "says"), [
    (0, 60, "says 2**60 descriptors"), (0, 0, "says 2**0 descriptors"), (48, 40, "2**40 bytes of text"),
    (8, 0x1234, "ring buffer's descs at 0x1234 are not in memory"), (16, 0, "ring buffer's infos at 0x0"),
    (56, 0xFFFF_FFFF_FFFF_FFF0, "ring buffer's data at 0xfffffffffffffff0")])
def test_a_pointer_that_leads_nowhere_is_one_line(offset: int, value: int, says: str) -> None:
    """Nothing is read, nothing is made up."""
    ring = Ring(Kernel(frames=SMALL))
    ring.add(b"one")
    ring.kernel.word(ring.prb + offset, value, 4 if offset in (0, 48) else 8)
    log = kernel_log(ring.kernel.source())
    assert log.records == ()
    assert len(log.warnings) == 1
    assert says in log.warnings[0]


@pytest.mark.parametrize("key", ["SIZE(prb_desc)", "OFFSET(printk_info.text_len)", "OFFSET(prb_desc.text_blk_lpos)"])
def test_a_ring_whose_layout_is_not_told(key: str) -> None:
    """The line names the key."""
    ring = Ring(Kernel(frames=SMALL))
    del ring.kernel.info[key]
    with pytest.raises(FormatError) as caught:
        kernel_log(ring.kernel.source())
    assert key in str(caught.value)


# -- 3.5 to 5.9 ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["printk_log", "log"])
def test_a_record_buffer_that_went_round(name: str) -> None:
    """Old records at the end, a mark, new ones at the start; `struct log` until 3.10; dictionaries are no text."""
    kernel = Kernel(V4_19, frames=SMALL)
    record_buffer(kernel, [record(b"three", ts=3_000_000_000, level=4), record(b"f\nour", ts=4_000_000)],
                  [record(b"one", ts=1000, dictionary=b"DEVICE=+pci"), record(b"two", ts=2_000_000_999)], name=name)
    assert lines(kernel, levels=True) == ["<6>[    0.000001] one", "<6>[    2.000000] two", "<4>[    3.000000] three",
                                          "<6>[    0.004000] f", " " * 18 + "our"]


def test_a_buffer_that_has_not_gone_round() -> None:
    """From its start to log_next_idx."""
    kernel = Kernel(V3_10, frames=SMALL)
    record_buffer(kernel, [record(b"one"), record(b"two")])
    assert lines(kernel) == ["[    0.000000] one", "[    0.000000] two"]
    record_buffer(kernel, [])
    assert lines(kernel) == []


def test_continuation_records_are_one_line() -> None:
    """Pieces of a line (LOG_CONT, 3.5 to 4.8) follow each other; one that begins a line does not."""
    kernel = Kernel(frames=SMALL)
    record_buffer(kernel, [record(b"calling... ", flags=4 | 8), record(b"and ", flags=8), record(b"done", flags=8 | 2),
                           record(b"new", flags=4 | 2)])
    assert lines(kernel) == ["[    0.000000] calling... and done", "[    0.000000] new"]


@pytest.mark.parametrize(("bad", "says"), [
    (record(b"bad", length=8), "has a length of 8"), (record(b"bad", length=60000), "has a length of 60000"),
    (record(b"bad", length=0), "has a length of 0")])
def test_a_bad_record_ends_the_log(bad: bytes, says: str) -> None:
    """What comes before is shown."""
    kernel = Kernel(frames=SMALL)
    record_buffer(kernel, [record(b"one"), bad, record(b"three")])
    log = kernel_log(kernel.source())
    assert texts(log) == [b"one"]
    assert says in log.warnings[0]
    assert log.warnings[0].endswith("; what comes before is shown")


def test_a_record_without_end_mark_ends_at_the_buffers_end() -> None:
    """No second round."""
    kernel = Kernel(frames=SMALL)
    at = record_buffer(kernel, [], [record(b"one"), record(b"two")], size=256)
    kernel.word(at + 256 - 16 + 8, 0xFFF0, 2)
    log = kernel_log(kernel.source())
    assert texts(log) == [b"one", b"two"]
    assert len(log.warnings) == 1


def test_text_stays_inside_its_record() -> None:
    """text_len is not believed."""
    kernel = Kernel(frames=SMALL)
    record_buffer(kernel, [record(b"12345678", text_len=500), record(b"two")])
    assert texts(kernel_log(kernel.source())) == [b"12345678", b"two"]


# -- before 3.5 ----------------------------------------------------------------------------------------------

def test_a_flat_buffer() -> None:
    """Levels are taken off, and shown when asked for; the time is in the text."""
    kernel = Kernel(V2_6_24, frames=SMALL)
    flat_buffer(kernel, b"<5>Linux version 2.6.24\n<6>[    1.5] up\n<4>no newline yet")
    assert lines(kernel) == ["Linux version 2.6.24", "[    1.5] up", "no newline yet"]
    assert lines(kernel, levels=True) == ["<5>Linux version 2.6.24", "<6>[    1.5] up", "<4>no newline yet"]


def test_a_flat_buffer_that_went_round() -> None:
    """The oldest line is cut."""
    kernel = Kernel(V2_6_24, frames=SMALL)
    text = b"".join(b"<6>line %03d\n" % n for n in range(100))
    flat_buffer(kernel, text)
    shown = lines(kernel)
    assert shown[-20:] == [f"line {n:03}" for n in range(80, 100)]
    assert len(shown) == 22
    assert shown[0] in text.decode()


@pytest.mark.parametrize("generation", [flat_buffer, record_buffer])
def test_a_buffer_that_is_not_there_is_one_line(generation: object) -> None:
    """log_buf or log_buf_len is damaged."""
    for key, says in (("SYMBOL(log_buf)", "is not in memory"), ("SYMBOL(log_buf_len)", "is no length of a log")):
        kernel = Kernel(frames=SMALL)
        if generation is flat_buffer:
            flat_buffer(kernel, b"text")
        else:
            record_buffer(kernel, [record(b"text")])
        kernel.info[key] = f"{kernel.image(kernel.take(8)):x}"
        log = kernel_log(kernel.source())
        assert (log.records, len(log.warnings)) == ((), 1)
        assert says in log.warnings[0]


def test_no_log_at_all() -> None:
    """One line names what was looked for."""
    with pytest.raises(FormatError, match=r"none of SYMBOL\(prb\)"):
        kernel_log(Kernel(frames=SMALL).source())


# -- damage --------------------------------------------------------------------------------------------------

def ring_kernel() -> tuple[Kernel, int]:
    """A ring that went round."""
    ring = Ring(Kernel(frames=SMALL))
    for number in range(30):
        ring.add(b"record %d" % number * (number % 4))
    return ring.kernel, ring.descs


def records_kernel() -> tuple[Kernel, int]:
    """A record buffer that went round."""
    kernel = Kernel(frames=SMALL)
    return kernel, record_buffer(kernel, [record(b"a" * n) for n in range(20)], [record(b"b" * n) for n in range(9)])


def flat_kernel() -> tuple[Kernel, int]:
    """A flat buffer that went round."""
    kernel = Kernel(frames=SMALL)
    return kernel, flat_buffer(kernel, b"<6>some text\n" * 40)


@pytest.mark.parametrize("made", [ring_kernel, records_kernel, flat_kernel])
@given(spots=st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=16)), min_size=1, max_size=8))
def test_damage_gives_some_lines_and_no_exception(made: object, spots: list[tuple[int, bytes]]) -> None:
    """Whatever is in the buffers and variables: bounded, and each warning is one line."""
    kernel, at = made()     # type: ignore[operator]
    for offset, data in spots:
        kernel.write(at + offset, data)
    log = kernel_log(kernel.source())
    assert len(list(log_lines(log))) <= 4096
    assert all("\n" not in warning for warning in log.warnings)
