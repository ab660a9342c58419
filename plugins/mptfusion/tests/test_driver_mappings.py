"""Memory lent to the IOC comes back, wherever between lending and giving back the crash falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import SUCCESS
from ddsdk.sim.machine import Machine, Trigger
from plugins.mptfusion.tests.driver_rig import DATA, Make, Rig


class CrashingDict(dict[int, Any]):
    """The table of outstanding requests; the machine crashes as one is about to enter or leave it."""

    def __init__(self, machine: Machine, leaving: bool) -> None:
        super().__init__()
        self.machine, self.leaving = machine, leaving

    def __setitem__(self, context: int, request: Any) -> None:
        """A request enters."""
        if not self.leaving and not self.machine.crashdump_mode:
            self.machine.crash(Trigger.OOPS)
        super().__setitem__(context, request)

    def pop(self, context: int, *default: Any) -> Any:
        """A request leaves: gone from here when the crash comes."""
        request = super().pop(context, *default)
        if self.leaving and request and not self.machine.crashdump_mode:
            self.machine.crash(Trigger.OOPS)
        return request


def crash_in_a_write(rig: Rig, prepare: Callable[[], None]) -> None:
    """A task writes one page; *prepare* arranged for a crash in the middle of that."""
    assert rig.sdev
    prepare()
    # not under host_lock: the sanity check would refuse, and it is the mapping that is looked at
    scmd = rig.rw(True, 100, [(DATA, 4096)])
    rig.machine.spawn(0, lambda: rig.shost.hostt.queuecommand(scmd, rig.scsi_done), "writer")
    rig.machine.run(for_ns=10_000_000)
    assert rig.machine.crashdump_mode


def grants(rig: Rig) -> int:
    """Pieces of memory the IOC can reach."""
    return len(rig.function.dma.grants)


@pytest.mark.parametrize("leaving", [False, True], ids=["before it is outstanding", "after it was"])
def test_a_mapping_of_no_outstanding_request_is_undone(make: Make, leaving: bool) -> None:
    """Mapped, but (not yet, no longer) in the table: the host reset takes the grant back all the same."""
    rig = make().probe()

    def prepare() -> None:
        table = CrashingDict(rig.machine, leaving)
        dict.update(table, rig.ioc.outstanding)
        rig.ioc.outstanding = table
    crash_in_a_write(rig, prepare)
    assert grants(rig) == 2                     # the frames, and the page of the write
    assert rig.hooks.quiesce(rig.sdev) == 0
    assert rig.host_reset() == SUCCESS
    assert grants(rig) == 1
    assert [request for request in rig.ioc.requests if request.mapped] == []
    assert len(rig.ioc.FreeQ) == len(rig.ioc.requests)


def test_a_mapping_is_not_undone_twice(make: Make) -> None:
    """The crash falls right behind dma_unmap_sg() in the completion: the request's next user does not unmap again."""
    rig = make().probe()
    unmap = rig.ioc.dma_unmap_sg

    def unmap_and_crash(*arguments: Any) -> None:
        unmap(*arguments)
        if not rig.machine.crashdump_mode:
            rig.machine.crash(Trigger.OOPS)

    def prepare() -> None:
        rig.ioc.dma_unmap_sg = unmap_and_crash
    crash_in_a_write(rig, prepare)
    assert grants(rig) == 1
    assert rig.hooks.quiesce(rig.sdev) == 0
    assert rig.host_reset() == SUCCESS
    assert rig.run(rig.command(cdb.test_unit_ready())).result == 0x02       # no data, and no DmaFault
    assert grants(rig) == 1


def test_a_request_is_in_the_table_before_the_ioc_hears_of_it(make: Make) -> None:
    """Its completion may come on another CPU while queuecommand() is still at it; then it must not look stale."""
    rig = make().probe()
    assert rig.sdev
    writel, seen = rig.ioc.writel, []

    def watched(value: int, chip: Any, register: Any) -> None:
        seen.extend(request.bus_addr == value and request.mapped == [(DATA, 4096)]
                    for request in rig.ioc.outstanding.values() if request.scmd is scmd)
        writel(value, chip, register)

    rig.ioc.writel = watched
    scmd = rig.rw(True, 100, [(DATA, 4096)])
    rig.queue(scmd)
    assert seen == [True]
