"""Same seed, same history: in one process, in another, whatever the hash seed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from ddsdk.regs import Reg32, RegBlock, ro, wo
from ddsdk.sim.locks import SpinLock
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.model import HwModel
from ddsdk.sim.pci import BarSpec, SimPciFunction
from ddsdk.sim.trace import Trace


class Regs(RegBlock, size=0x10):
    """A controller that copies memory."""

    SOURCE = Reg32.at(0x00, wo)
    STATUS = Reg32.at(0x04, ro)
    ACK = Reg32.at(0x08, wo)


class Copier(HwModel):
    """Reads 64 bytes by DMA after a while, then raises its line."""

    regs = Regs

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.done: list[int] = []
        super().__init__()

    def w_SOURCE(self, value: Reg32) -> None:
        self.clock.after_ns(self.rng.randrange(500, 5_000), self.finish, int(value))

    def finish(self, source: int) -> None:
        self.done.append(sum(self.dma.read(source, 64)))
        self.irq.raise_()

    def r_STATUS(self) -> int:
        return len(self.done)

    def w_ACK(self, value: Reg32) -> None:
        self.done.clear()
        self.irq.lower()


def little_world(seed: int) -> tuple[str, int]:
    """Three CPUs, a controller, locks, sleeps and interrupts until a random crash, then a polled end."""
    rng = random.Random(seed)
    trace = Trace()
    machine = Machine(PhysicalMemory.anonymous(1 << 20), ncpus=3, trace=trace)
    machine.memory.write(0, bytes(rng.randbytes(1 << 16)))
    copier = Copier(rng)
    function = machine.pci.plug(SimPciFunction(copier, vendor=1, device=2, bars={0: BarSpec("mem", 0x10)}))
    function.config_write(4, 2, 6)
    window, locks = function.window(0), {name: SpinLock(name) for name in ("queue", "host", "reply")}
    function.dma_grant(0, 1 << 16)
    assert function.irq_line is not None
    function.irq_line.add_handler(lambda: window.write(8, 4, window.read(4, 4)))

    def load(name: str) -> None:
        while True:
            lock = locks[name]
            flags = machine.irq_save()
            machine.locks.acquire(lock, depth=1)
            window.write(0, 4, rng.randrange(0, 1 << 15))
            machine.pass_time(rng.randrange(100, 900))
            machine.locks.release(lock)
            machine.irq_restore(flags)
            machine.sleep(rng.randrange(1_000, 3_000))

    for number, name in enumerate(sorted({"queue", "host", "reply"})):
        for _ in range(2):
            machine.spawn(number, partial(load, name), name)
    machine.clock.after_ns(rng.randrange(100_000, 200_000), machine.crash, Trigger.NMI_SWITCH)
    with machine:
        assert machine.run() is not None
        for _ in range(20):
            machine.pass_time(100_000)
            machine.watchdog.touch()
            window.read(4, 4)
        return trace.digest(), trace.count


def test_same_seed_same_trace() -> None:
    """Ten runs of one seed have one digest; another seed has another."""
    digests = {little_world(1) for _ in range(10)}
    assert len(digests) == 1
    [(digest, count)] = digests
    assert count > 300
    assert little_world(2)[0] != digest


@pytest.mark.parametrize("hash_seed", ["0", "1", "31337"])
def test_hash_seed_does_not_matter(hash_seed: str) -> None:
    """A fresh process with any PYTHONHASHSEED has the same history as this one."""
    here = Path(__file__)
    root = here.parents[2]
    program = f"import runpy; print(runpy.run_path({str(here)!r})['little_world'](7)[0])"
    found = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=root, capture_output=True, text=True,
                           check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed})
    assert found.stdout.strip() == little_world(7)[0]
