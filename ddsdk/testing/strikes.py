"""One strike of one fault of the model, before the take-over or in the middle of a dump."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from .rig import DATA, PAGE, DriverRig

#: However often a fault has a command time out and the adapter reset.
LIMIT_S = 400


def one_strike(rig: DriverRig[Any, Any], fault: str, when: str, fatal: Collection[str], *, after: int = 2,
               pages: int = 6) -> None:
    """Crash, take over and dump *pages* pages on the probed *rig*, with *fault* striking once.

    *when*: "take-over", or "dump" (*after* opportunities).  AssertionError unless it is survived with every page right,
    or - a fault of *fatal* that struck - refused, with a reason.
    """
    device = rig.dump_device()
    rig.crash()
    if when == "take-over":
        rig.inject(fault)
    error = device.sanity_check()
    error = error if error < 0 else device.quiesce()
    if when == "dump":
        assert error == 0, device.why
        rig.inject(fault, after=after)
    for page in range(pages):
        data = rig.fill(DATA, PAGE, page)
        error = error or device.rw_block(True, 3 * page, [(DATA, PAGE)])
        assert error or rig.on_disk(24 * page, PAGE) == data, f"page {page} is wrong on the disk"
    struck = rig.model.faults.struck
    assert bool(error) == (fault in fatal and fault in struck), f"{fault}: error {error}, {device.why or 'no reason'}"
    assert bool(error) == bool(device.why)
    assert rig.machine.clock.now_ns < LIMIT_S * 1_000_000_000
