"""The bench of IDE drivers, on the toy interface of tests/ata: one command at a time, resets, needs."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest

from ddsdk.ata.taskfile import TASKFILE_OUT_DMA, WIN_WRITEDMA_EXT, IdeDone, IdeTask
from ddsdk.conformance.ata_bench import AtaBench
from ddsdk.conformance.bench import DATA, NS_PER_S, PAGE, Bench, BringUpFailed
from ddsdk.conformance.check import Need, Setup
from ddsdk.conformance.plan import Plan
from ddsdk.errors import PluginError
from ddsdk.hookspecs import ConformanceProfile
from tests.ata.test_rig import DRIVER, MODELS

PLAN = Plan(DRIVER, MODELS[0], ConformanceProfile("toy", reset_limit_s=60))


def fresh(plan: Plan = PLAN) -> Plan:
    """A plan that has measured nothing."""
    return Plan(plan.driver, plan.model, plan.profile)


@pytest.fixture
def bench() -> Iterator[AtaBench]:
    """Probed, not crashed."""
    with Bench.build(fresh()) as built:
        assert isinstance(built, AtaBench)
        yield built


def test_a_command_goes_as_the_drive_is_set_up(bench: AtaBench) -> None:
    """By DMA and 48 bits here; it ends by interrupt, once, and what it wrote is on the disk."""
    data = bench.fill(DATA, PAGE)
    command = bench.command(True, 8, [(DATA, PAGE)])
    assert (command.raw.tf.command, command.raw.data_phase) == (WIN_WRITEDMA_EXT, TASKFILE_OUT_DMA)
    assert bench.finish(command) == ""
    assert (command.ended, command.refused) == (1, 0)
    assert bench.on_disk(8, PAGE) == data


def test_one_command_at_a_time(bench: AtaBench) -> None:
    """Before the crash and after it the bench says busy for the driver while a command is outstanding."""
    for _ in range(2):
        first, second = (bench.command(False, 8 * n, [(DATA, PAGE)]) for n in range(2))
        assert bench.start(first)
        assert not bench.start(second)
        assert second.refused == 1
        assert bench.wait(first)
        assert bench.start(second)
        assert bench.wait(second)
        if not bench.crashed:
            bench.take_over()


def test_a_load_and_a_check_share_the_channel(bench: AtaBench) -> None:
    """The load's requests wait for the bench's command, and go on when it is over."""
    load = bench.load(2)
    command = bench.command(False, 8, [(DATA, PAGE)])
    assert bench.start(command)
    load.start()
    assert bench.wait(command)
    bench.machine.run(until=lambda: load.completed >= 4, for_ns=NS_PER_S)
    assert load.completed >= 4
    assert load.failed == 0


def test_what_the_dead_kernel_had_outstanding_is_none_of_the_dump_s(bench: AtaBench) -> None:
    """A command in flight at the crash keeps nobody busy after the take-over."""
    assert bench.start(bench.command(False, 8, [(DATA, PAGE)]))
    bench.take_over()
    bench.goes_on("after the take-over")


def test_needs(bench: AtaBench) -> None:
    """What an IDE driver has not, and what this one has."""
    lacking = {need for need in Need if bench.lacks(need)}
    assert lacking == {Need.SCSI, Need.QUEUEING, Need.HIGH_MEMORY, Need.ABORT, Need.DEVICE_RESET, Need.BUS_RESET,
                       Need.OWN_LOCK}
    assert (bench.depth, bench.max_bytes, bench.max_segments) == (1, 256 * 512, 64)


def test_sectors_of_4096_bytes() -> None:
    """The count is of the disk's own sectors."""
    with Bench.build(fresh(), Setup(sector_size=4096)) as bench:
        assert bench.command(True, 8, [(DATA, 2 * PAGE)]).raw.tf.nsector == 2


@pytest.mark.parametrize("answer", [None, 2, "started"])
def test_an_answer_that_is_none(answer: object) -> None:
    """do_rw_taskfile returns ide_started or ide_stopped; anything else is the plugin's error."""
    with Bench.build(fresh()) as bench:
        def wrong(task: IdeTask, done: IdeDone) -> object:
            return answer

        bench.host.port_info = attrs.evolve(bench.host.port_info, do_rw_taskfile=wrong)
        with pytest.raises(PluginError, match="it must return ide_started or ide_stopped"):
            bench.start(bench.probe_command())


def test_no_disk_where_the_profile_has_it() -> None:
    """One line says which channel and unit."""
    plan = Plan(DRIVER, MODELS[0], ConformanceProfile("toy", disk_at=(1, 0)))
    with pytest.raises(BringUpFailed, match="no disk that is ready answers at channel 1, unit 0"):
        Bench.build(plan)
