"""Jiffies: where they start, how they wrap, what moves them in either mode."""

from __future__ import annotations

import pytest

from ddsdk.abi import ABIS, I386, X86_64, Abi
from tests.helperlib.board import World, build


@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_start_five_minutes_before_the_32_bit_wrap(abi: Abi) -> None:
    """INITIAL_JIFFIES is the 32-bit value of -300 * HZ on every machine, 64-bit ones too."""
    assert build(abi).kernel.jiffies == 0xFFFB6C20
    assert build(abi, hz=100).kernel.jiffies == 0xFFFF8AD0


@pytest.mark.parametrize(("abi", "after"), [(I386, 0), (X86_64, 0x1_0000_0000)], ids=["i386", "x86_64"])
def test_wrap_at_the_word_of_the_abi(abi: Abi, after: int) -> None:
    """300 s after boot i386 reads 0, x86_64 goes on past 32 bits."""
    world = build(abi)
    world.machine.clock.advance(300 * 10**9)
    assert world.kernel.jiffies == after
    assert world.kernel.time_after(after, 0xFFFFFFFF)


def test_msecs_to_jiffies_rounds_up() -> None:
    """At HZ 100 one millisecond still is a whole tick."""
    kernel = build(hz=100).kernel
    assert [kernel.msecs_to_jiffies(ms) for ms in (0, 1, 10, 11)] == [0, 1, 1, 2]
    assert [kernel.jiffies_to_msecs(j) for j in (0, 1, 2)] == [0, 10, 20]


def test_stand_still_while_no_cpu_takes_ticks(world: World) -> None:
    """With interrupts off on the only CPU jiffies stop, and catch up when they are on again."""
    kernel = world.kernel
    kernel.udelay(2500)
    start = kernel.jiffies
    kernel.local_irq_disable()
    kernel.udelay(10_000)
    assert kernel.jiffies == start
    kernel.local_irq_enable()
    assert kernel.jiffies == start + 10


def test_move_while_another_cpu_takes_ticks() -> None:
    """With two CPUs the other one keeps time."""
    world = build(ncpus=2)
    start = world.kernel.jiffies
    world.kernel.local_irq_disable()
    world.kernel.udelay(10_000)
    assert world.kernel.jiffies == start + 10


def test_do_not_go_stale_in_a_handler(world: World) -> None:
    """A handler that reads jiffies sees the time it was entered, not that of the last reading."""
    start = world.kernel.jiffies
    world.machine.clock.advance(7_000_000)
    world.in_irq(lambda: world.note(world.kernel.jiffies - start))
    assert world.ran == [7]


def test_first_tick_after_the_crash_is_a_whole_one(world: World) -> None:
    """RHEL 4 takes its time stamp when the dump starts; ticks count from there."""
    world.kernel.udelay(1700)
    world.crash()
    start = world.kernel.jiffies
    seen = []
    for _ in range(25):
        world.kernel.udelay(100)
        world.kernel.diskdump_update()
        seen.append(world.kernel.jiffies - start)
    assert seen == [0] * 9 + [1] * 10 + [2] * 6


def test_update_catches_up_by_whole_ticks(crashed: World) -> None:
    """2.9 ms are two ticks; the rest counts towards the third."""
    start = crashed.kernel.jiffies
    crashed.kernel.udelay(2900)
    crashed.kernel.diskdump_update()
    assert crashed.kernel.jiffies == start + 2
    crashed.kernel.udelay(100)
    crashed.kernel.diskdump_update()
    assert crashed.kernel.jiffies == start + 3
