"""I/Os per second and MB/s through every adapter there is, models and QEMU's: `python -m bench adapters`.

Polled writes to one disk after a crash, one outstanding, of 16 KiB and of 1 MiB, in this process: what a driver and its
model cost.  An I/O that is larger than a command of the adapter may be goes in several.  The peer is mptfusion's first
chip on the same backend, whose turns alternate with ours in the same run.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from ddsdk.registry import Registry, discover
from ddsdk.rig import Rig
from ddsdk.sim.machine import Trigger
from ddsdk.target import Target
from ddsdk.vmcore.source import open_source

PEER: Final = "mptfusion"
MEMORY: Final = "synthetic:16M"
DISK_BYTES: Final = 64 << 20
SIZES: Final = (16 << 10, 1 << 20)
#: No adapter may be slower than this part of the peer.
AIM: Final = 1 / 3


@frozen
class Player:
    """An adapter: driver, chip, backend."""

    driver: str
    chip: str
    backend: str

    def __str__(self) -> str:
        return f"{self.driver} {self.chip}, {self.backend}"


def players(registry: Registry) -> Iterator[Player]:
    """Every chip with a model, and those QEMU has; the peer's come first."""
    for name in sorted(registry.drivers, key=lambda name: (name != PEER, name)):
        for model in registry.models_of(name):
            for backend in ("model", *(["qemu"] if model.qemu else [])):
                yield Player(name, model.chip.name, backend)


def taken_over(player: Player, registry: Registry, work: Path, stack: ExitStack) -> Any:
    """Its dump device after a crash, ready for polled I/O."""
    disk = work / f"{player.driver}-{player.chip}-{player.backend}.img"
    disk.touch()
    os.truncate(disk, DISK_BYTES)
    source = stack.enter_context(open_source(MEMORY))
    target = Target(player.driver, str(disk), player.chip, player.backend)
    rig = stack.enter_context(Rig.build(source, [target], registry))
    if rig.refused:
        raise SystemExit(f"bench: {rig.refused[0]}")
    rig.machine.crash(Trigger.PANIC)
    (adapter,) = rig.adapters
    device = adapter.device
    if device.sanity_check() or device.quiesce():
        raise SystemExit(f"bench: {player}: {device.why}")
    return device


def turn(device: Any, nbytes: int, seconds: float) -> float:
    """I/Os of *nbytes* a second, measured for about *seconds*."""
    blocks = nbytes // 4096
    room = device.blocks - blocks
    done = block = 0
    began = time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        for _ in range(8):
            error = device.rw_block(True, block, [(0x10_0000 + (block * 4096) % (8 << 20), nbytes)])
            if error:
                raise SystemExit(f"bench: {device.name}: {device.why}")
            block = (block + blocks) % room
        done += 8
    return done / spent


def adapters(work: Path, runs: int, seconds: float = 1.0) -> Iterator[str]:
    """One row an adapter and size: medians of *runs* alternating turns after a warm-up."""
    registry = discover()
    everybody = list(players(registry))
    for backend in ("model", "qemu"):
        of_backend = [player for player in everybody if player.backend == backend]
        with ExitStack() as stack:
            peer = taken_over(of_backend[0], registry, work, stack)
            for player in of_backend:
                with ExitStack() as own:
                    ours = peer if player == of_backend[0] else taken_over(player, registry, work, own)
                    for nbytes in SIZES:
                        pairs = [(turn(peer, nbytes, seconds), turn(ours, nbytes, seconds)) for _ in range(runs + 1)]
                        mine = statistics.median(own_rate for _, own_rate in pairs[1:])
                        ratio = statistics.median(own_rate / peer_rate for peer_rate, own_rate in pairs[1:])
                        yield (f"{player!s:<32} {nbytes >> 10:>5} KiB {mine:9.0f} I/O/s {mine * nbytes / 1e6:8.1f} MB/s"
                               f"   {ratio:5.2f} of {of_backend[0]}  (aim {AIM:.2f})")
