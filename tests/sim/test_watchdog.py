"""The NMI watchdog and the stall detector."""

from __future__ import annotations

import pytest

from ddsdk.errors import SimulationStuckError, WatchdogFault
from ddsdk.sim.clock import Clock
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.watchdog import StallDetector

S = 1_000_000_000


@pytest.fixture
def machine() -> Machine:
    """One CPU, 1 MiB."""
    return Machine(PhysicalMemory.anonymous(1 << 20))


def test_dump_loop_that_never_touches_it_is_bitten_after_five_seconds(machine: Machine) -> None:
    """In crashdump_mode 5 s of virtual time without a touch is the limit, to the nanosecond."""
    machine.clock.advance(123)
    machine.crash(Trigger.PANIC)
    machine.pass_time(5 * S)
    with pytest.raises(WatchdogFault, match=r"CPU 0 \(crashdump_mode\) took no tick .* for 5000 ms, the limit is "
                                            r"5000 ms"):
        machine.pass_time(1)


def test_touch_starts_the_count_again(machine: Machine) -> None:
    """A loop that touches it every 4 s may go on for ever."""
    machine.crash(Trigger.PANIC)
    for _ in range(10):
        machine.pass_time(4 * S)
        machine.watchdog.touch()
    machine.pass_time(5 * S)


def test_one_long_wait_is_enough(machine: Machine) -> None:
    """A single mdelay(6000) bites as surely as a loop."""
    machine.crash(Trigger.PANIC)
    with pytest.raises(WatchdogFault, match="for 6000 ms"):
        machine.pass_time(6 * S)


def test_normal_mode_feeds_it_by_the_tick(machine: Machine) -> None:
    """With interrupts enabled a CPU may be busy for as long as it likes."""
    machine.pass_time(60 * S)
    machine.irq_disable()
    machine.pass_time(5 * S)
    machine.irq_enable()
    machine.pass_time(60 * S)


def test_normal_mode_with_interrupts_off_is_bitten(machine: Machine) -> None:
    """No tick reaches a CPU with interrupts off; the crash does not have to come first."""
    machine.pass_time(60 * S)
    machine.irq_disable()
    machine.pass_time(3 * S)
    machine.watchdog.touch()
    machine.pass_time(5 * S)
    with pytest.raises(WatchdogFault, match=r"CPU 0 \(normal mode, interrupts off\)"):
        machine.pass_time(1)


def test_other_cpus_ticks_do_not_help() -> None:
    """The watchdog watches each CPU: CPU 1 spins with interrupts off while CPU 0 is fine."""
    machine = Machine(PhysicalMemory.anonymous(1 << 20), ncpus=2)

    def fine() -> None:
        for _ in range(10):
            machine.pass_time(S)

    def deaf() -> None:
        machine.irq_disable()
        for _ in range(10):
            machine.pass_time(S)

    machine.spawn(0, fine)
    machine.spawn(1, deaf)
    with pytest.raises(WatchdogFault, match="CPU 1"):
        machine.run()
    assert machine.clock.now_ns == 6 * S


def test_stall_detector_bites_between_one_and_two_limits_of_calls() -> None:
    """Calls without the clock moving are counted; the error names the last one."""
    clock = Clock()
    stall = StallDetector(clock, limit=100)
    for _ in range(100):
        stall.tick("poll")
    with pytest.raises(SimulationStuckError, match=r"stuck at 0 ns: more than 100 calls \(last one: poll\)"):
        for _ in range(102):
            stall.tick("poll")


def test_stall_detector_is_content_while_time_passes() -> None:
    """However many calls: one nanosecond now and then is progress."""
    clock = Clock()
    stall = StallDetector(clock, limit=10)
    for _ in range(1_000):
        stall.tick()
        if not _ % 10:
            clock.advance(1)


def test_waiting_for_no_time_is_a_stall(machine: Machine) -> None:
    """A loop of udelay(0) never lets time pass, in either mode."""
    machine.stall.limit = 100
    with pytest.raises(SimulationStuckError, match=r"pass_time\(0\)"):
        for _ in range(300):
            machine.pass_time(0)
    machine.crash(Trigger.PANIC)
    with pytest.raises(SimulationStuckError, match=r"pass_time\(0\)"):
        for _ in range(300):
            machine.pass_time(0)
