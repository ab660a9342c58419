"""The interrupt line: what raises it, what gates it, what drops it."""

from __future__ import annotations

from ddsdk.sim.trace import Trace

READ_1 = bytes.fromhex("00000000 0a200000 21000000 00000000 00000000 00000002 28000000 00000000 01000000"
                       "00000000 00020000 00003800 000200d1 00004000").ljust(128, b"\0")


def test_status_shows_replies_whether_masked_or_not(ready):
    """IntMask gates the line only; bit 3 falls with the last descriptor."""
    ready.write("HOST_INTERRUPT_MASK", 0x9)
    ready.post(READ_1)
    ready.advance(200_000)
    assert ready.read("HOST_INTERRUPT_STATUS") == 8
    assert not ready.function.irq_line.level
    ready.write("HOST_INTERRUPT_MASK", 0x1)
    assert ready.function.irq_line.level
    assert ready.read("REPLY_FIFO") == 0x21
    assert ready.read("HOST_INTERRUPT_STATUS") == 0
    assert not ready.function.irq_line.level
    assert ready.read("REPLY_FIFO") == 0xFFFFFFFF


def test_the_doorbell_interrupt_has_its_own_mask(host):
    """Bit 0 of IntMask."""
    host.write("HOST_INTERRUPT_MASK", 0x8)
    host.write("DOORBELL_WRITE", 0x42030000)
    host.advance(10_000)
    assert host.function.irq_line.level
    host.write("HOST_INTERRUPT_STATUS", 0)
    assert not host.function.irq_line.level


def test_the_line_falls_at_a_reset(ready):
    """A reply pending at the hard reset is gone, and with it the interrupt."""
    ready.write("HOST_INTERRUPT_MASK", 0x1)
    ready.post(READ_1)
    ready.advance(200_000)
    assert ready.function.irq_line.level
    ready.hard_reset()
    assert not ready.function.irq_line.level


def test_the_line_falls_when_the_adapter_is_gone(ready):
    """Surprise removal with a reply pending: registers read all ones, and nobody pulls the line any more."""
    ready.write("HOST_INTERRUPT_MASK", 0x1)
    ready.post(READ_1)
    ready.advance(200_000)
    assert ready.function.irq_line.level
    ready.ioc.faults.inject("all-ones")
    assert ready.read("REPLY_FIFO") == 0xFFFFFFFF
    assert not ready.function.irq_line.level
    ready.advance(1_000_000_000)
    assert not ready.function.irq_line.level


def test_the_same_program_gives_the_same_history(make_host):
    """Bring-up, I/O, a reset in the middle of eight requests: equal traces, equal times."""
    digests = []
    for _ in range(2):
        trace = Trace()
        host = make_host(trace=trace)
        host.bring_up()
        host.clear_attention()
        host.poke(0x00200000, READ_1)
        for _ in range(8):
            host.write("REQUEST_FIFO", 0x00200000)
        host.advance(120_000)
        host.hard_reset()
        digests.append((trace.digest(), host.machine.clock.now_ns, trace.count))
    assert digests[0] == digests[1]
    assert digests[0][2] > 300
