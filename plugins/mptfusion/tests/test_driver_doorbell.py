"""The doorbell against an adapter that must never be reset in a handshake, as QEMU's: it aborts, or waits for ever."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import define, field

from ddsdk.helperlib.kernel import Kernel, PciDev
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk_mptfusion.adapter import MptAdapter
from ddsdk_mptfusion.handshake import doorbell_in_use, mpt_finish_handshake
from ddsdk_mptfusion.ioc import MakeIocReady

READY, OPERATIONAL, FAULT = 0x10000000, 0x20000000, 0x40000000
USED = 0x08000000
IOC_FACTS, IOC_INIT = 0x03, 0x02
REPLY_WORDS = {IOC_FACTS: 40, IOC_INIT: 10}


class Aborted(Exception):
    """What an assertion in the emulator is to the driver: the end."""


@define(eq=False)
class Stubborn:
    """Doorbell, IntStatus, Diagnostic as QEMU 7.2 mptsas1068 treats them, observed: the state machine only.

    Reading the doorbell in a reply takes a word, and aborts when a reset cleared the interrupt before; resets do not
    touch a handshake; a doorbell write in a request is its next dword, whatever it says.
    """

    size: int = 0x4000
    state: int = READY
    phase: str = "none"
    interrupt: int = 0
    missing: int = 0
    words: int = 0
    function: int = -1
    diagnostic: int = 0
    resets: list[str] = field(factory=list)

    def read(self, offset: int, size: int) -> int:
        if offset == 0x00:
            if self.phase == "reply":
                if not self.interrupt:
                    raise Aborted("doorbell read in a reply after a reset")
                self.words = max(0, self.words - 1)
            return self.state | (0 if self.phase == "none" else USED)
        return {0x30: self.interrupt, 0x08: self.diagnostic}[offset]

    def write(self, offset: int, size: int, value: int) -> None:
        if offset == 0x00:
            self._doorbell(value)
        elif offset == 0x04:
            self.diagnostic = 0x80 if value & 0xF == 0xD else 0
        elif offset == 0x08 and value & 4:
            self._reset("hard")
        elif offset == 0x30:
            self._acknowledge()

    def _doorbell(self, value: int) -> None:
        if self.phase == "request":
            self._dword(value)
        elif value >> 24 == 0x42:
            self.phase, self.missing, self.interrupt, self.function = "request", value >> 16 & 0xFF, 1, -1
        elif value >> 24 == 0x40:
            self._reset("message unit")

    def _dword(self, value: int) -> None:
        if not self.missing:
            return
        self.function = value >> 24 if self.function < 0 else self.function
        self.missing -= 1
        if not self.missing:
            if self.function not in REPLY_WORDS:
                self.state = FAULT          # and the handshake never ends
                return
            self.phase, self.words, self.interrupt = "reply", REPLY_WORDS[self.function], 1

    def _acknowledge(self) -> None:
        if self.phase == "reply":
            if not self.interrupt:
                raise Aborted("IntStatus written in a reply after a reset")
            if not self.words:
                self.phase = "none"
        else:
            self.interrupt = 0

    def _reset(self, kind: str) -> None:
        self.resets.append(kind)
        self.interrupt = 0
        self.state = READY


class Function:
    """A PCI function with nothing but that window."""

    name = "0000:00:04.0"
    irq_line = None
    bars = ()

    def config_read(self, offset: int, size: int) -> int:
        return 0x1000

    def config_write(self, offset: int, size: int, value: int) -> None:
        """Nothing to configure."""


def adapter(chip: Stubborn) -> MptAdapter:
    """The driver's side of it."""
    kernel = Kernel(Machine(PhysicalMemory.anonymous(1 << 20)))
    pdev = PciDev(kernel, Function())       # type: ignore[arg-type]  # no DMA, no BARs: the doorbell needs none
    from ddsdk.helperlib.io import Iomem
    return MptAdapter(pdev, Iomem(chip, "mem", "doorbell"), "ioc0", lambda ioc: None)


def announced(chip: Stubborn) -> None:
    """A request of six dwords, none of them sent."""
    chip.write(0x00, 4, 0x42060000)


def half_sent(chip: Stubborn) -> None:
    """Four of the six dwords of an IOCInit."""
    announced(chip)
    chip.write(0x30, 4, 0)
    for dword in (0x02000004, 0, 0x02000000, 0x80):
        chip.write(0x00, 4, dword)


def replying(words_taken: int, acknowledged: bool = True) -> Callable[[Stubborn], None]:
    """The reply to an IOCInit, so many words taken."""
    def prepare(chip: Stubborn) -> None:
        half_sent(chip)
        chip.write(0x00, 4, 0)
        chip.write(0x00, 4, 0)
        for left in reversed(range(words_taken)):
            chip.read(0x00, 4)
            if left or acknowledged:
                chip.write(0x30, 4, 0)
    return prepare


LEFT: dict[str, Callable[[Stubborn], None]] = {
    "announced": announced,
    "half sent": half_sent,
    "reply waiting": replying(0),
    "reply half read": replying(5),
    "reply half read, a word not acknowledged": replying(5, acknowledged=False),
    "reply read, the last word not acknowledged": replying(10, acknowledged=False),
    "reply read, the end not acknowledged": replying(10),
}


@pytest.mark.parametrize("left", LEFT)
def test_handshake_is_ended_before_the_reset(left: str) -> None:
    """Wherever a handshake stopped, it is fed and read to its end first; then the hard reset; nothing aborts."""
    chip = Stubborn()
    LEFT[left](chip)
    MakeIocReady(adapter(chip), force=True, again=False)
    assert (chip.phase, chip.state, chip.resets) == ("none", READY, ["hard"])


@pytest.mark.parametrize("left", LEFT)
def test_handshake_is_ended_whoever_began_it(left: str) -> None:
    """The same when the driver remembers its own handshake, rightly or one step off."""
    for remembered in (0, 1, 6):
        chip = Stubborn()
        LEFT[left](chip)
        ioc = adapter(chip)
        ioc.handshake_left = remembered
        assert mpt_finish_handshake(ioc)
        assert chip.phase == "none"
        assert not doorbell_in_use(ioc) or chip.interrupt == 0
        assert ioc.handshake_left is None


def test_announced_request_is_made_harmless() -> None:
    """Where the function is still open, the filler makes it IOCFacts: anything else might be FAULT."""
    chip = Stubborn()
    announced(chip)
    assert mpt_finish_handshake(adapter(chip))
    assert (chip.function, chip.state) == (IOC_FACTS, READY)


def test_handshake_without_end_is_given_up() -> None:
    """A doorbell that stays in use whatever is written costs seconds, not for ever, and is reported."""
    chip = Stubborn()
    chip.write(0x00, 4, 0x42000000)         # a request of no dwords: it never completes
    ioc = adapter(chip)
    before_ns = ioc.kernel.machine.clock.now_ns
    assert not mpt_finish_handshake(ioc)
    assert ioc.kernel.machine.clock.now_ns - before_ns < 20_000_000_000


def test_doorbell_is_not_read_while_a_word_waits() -> None:
    """Asking whether the doorbell is in use does not take a word of somebody's reply."""
    chip = Stubborn()
    replying(3)(chip)
    words = chip.words
    assert doorbell_in_use(adapter(chip))
    assert chip.words == words
