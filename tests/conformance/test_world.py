"""The machine around the driver: its memory, a second kernel, what the bench makes of odd answers."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from ddsdk.conformance.bench import DATA, PAGE, Bench
from ddsdk.conformance.check import Setup
from ddsdk.conformance.load import plans_for
from ddsdk.conformance.plan import Plan
from ddsdk.errors import PluginError
from ddsdk.hookspecs import hookimpl
from ddsdk.scsi.cmnd import SCSI_MLQUEUE_HOST_BUSY


@pytest.fixture
def plan() -> Plan:
    """The bundled driver on the chip that comes up fastest."""
    return plans_for("mptfusion", chip="sas1068")[0]


def test_memory_is_as_large_as_asked_for(plan: Plan) -> None:
    """The last byte is there, the next is not."""
    with Bench.build(plan, Setup(probe=False, ram_bytes=16 << 20)) as bench:
        bench.memory.write((16 << 20) - 1, b"\1")
        assert [extent.size for extent in bench.memory.extents if extent.paddr == 0] == [16 << 20]


def test_a_second_kernel_finds_the_adapter_running(plan: Plan) -> None:
    """The first one's handler and driver are gone; commands go through the second's."""
    with Bench.build(plan, Setup(record=True)) as bench:
        first, host = bench.kernel, bench.host
        bench.another_kernel()
        assert bench.kernel is not first
        bench.bring_up()
        assert bench.host is not host
        assert bench.host.kernel is bench.kernel
        bench.goes_on("with a second kernel")
        assert len(list(bench.calls)) > 0


def test_a_refused_command_keeps_what_was_said(plan: Plan) -> None:
    """One more than the driver has slots for."""
    with Bench.build(plan) as bench:
        commands = [bench.command(False, n, [(DATA + n * PAGE, 512)]) for n in range(bench.depth + 1)]
        taken = bench.start_all(commands)
        assert (len(taken), commands[0].refused) == (bench.depth, 0)
        assert commands[-1].refused == SCSI_MLQUEUE_HOST_BUSY


class OddHooks:
    """A driver whose hooks answer with words."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    @hookimpl
    def dump_sanity_check(self, sdev: Any) -> Any:
        return self.answer

    @hookimpl
    def quiesce(self, sdev: Any) -> Any:
        return self.answer

    @hookimpl
    def dump_poll(self, sdev: Any) -> None:
        pass


@pytest.mark.parametrize(("answer", "number"), [(None, 0), (0, 0), (-5, -5), (True, 1)])
def test_a_hook_that_is_asked_answers_with_a_number(plan: Plan, answer: Any, number: int) -> None:
    """Nothing counts as 0."""
    odd = attrs.evolve(plan, driver=attrs.evolve(plan.driver, hooks=OddHooks(answer)))
    with Bench.build(odd) as bench:
        assert (bench.ask_sanity(), bench.call_quiesce()) == (number, number)


@pytest.mark.parametrize("answer", ["fine", 0.5, [0]])
def test_any_other_answer_is_the_plugins_mistake(plan: Plan, answer: Any) -> None:
    """Named with the hook and what it must return."""
    odd = attrs.evolve(plan, driver=attrs.evolve(plan.driver, hooks=OddHooks(answer)))
    with Bench.build(odd) as bench:
        for hook, ask in (("dump_sanity_check", bench.ask_sanity), ("quiesce", bench.call_quiesce)):
            with pytest.raises(PluginError) as said:
                ask()
            assert str(said.value) == (f"{hook} of mptfusion returned {answer!r}; a hook that is asked returns 0,"
                                       " -errno, or nothing")


def test_a_module_that_cannot_be_imported_is_left_out(plan: Plan) -> None:
    """Where a failure is shown does not depend on it."""
    modules = (*plan.driver.modules, "ddsdk_mptfusion.not_there")
    odd = Plan(attrs.evolve(plan.driver, modules=modules), plan.model, plan.profile)
    assert odd.files == plan.files
    assert len(odd.files) == len(plan.driver.modules)
