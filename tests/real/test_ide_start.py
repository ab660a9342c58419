"""The starting points of bus ata, whole: the kit on the toy, and the walk from the skeleton to it.

The fast tier has the first case of each check; this takes minutes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.conformance.checks import all_checks
from ddsdk.conformance.runner import Verdict, items_of, run
from tests.conformance.test_skeleton import first_failure, partly_written, steps_of
from tests.templates.baking import bake, loaded

pytestmark = pytest.mark.real

#: What the kit asks for, in its order.
WALK = (
    "map_registers", "identify", "alloc_table", "step_soft_reset", "write_srst", "wait_ready", "make_hwif",
    "select", "write_taskfile", "step_interrupt", "step", "advance", "advance_pio", "move_block", "end",
    "read_registers",
    "step_sanity_check", "step_quiesce", "STEP_IDE_UNLOCK", "STEP_IDE_LOCK", "step_poll",
    "fill_table", "start_dma", "advance_dma",
)
#: ... and what is left then: the end of the dump, writes by programmed I/O in normal mode.
LATER = {"step_shutdown", "STEP_MDELAY", "step_watch_for_drq", "step_drq_timer"}


def test_the_kit_is_green(tmp_path: Path) -> None:
    """Every case of every check passes, or needs what the driver does not offer and need not."""
    with loaded(bake(tmp_path, name="green_ide", bus="ata")) as plan:
        results = run(plan, items_of(plan, all_checks()))
    assert [f"{result.id}: {result.why} {result.line}" for result in results
            if result.verdict not in (Verdict.PASS, Verdict.NOT_OFFERED)] == []
    assert sum(result.verdict is Verdict.PASS for result in results) > 0.9 * len(results)


def test_each_first_failure_is_the_next_thing_to_write(tmp_path: Path) -> None:
    """With everything written that was asked for so far, the first failure names the next step, in one sentence."""
    toy = bake(tmp_path / "toy", name="step", bus="ata")
    unwritten = steps_of(bake(tmp_path / "skeleton", name="step", bus="ata", starting_point="skeleton"))
    walk, place = list[str](), 0
    while unwritten:
        project = partly_written(toy, unwritten, tmp_path / str(len(walk)) / toy.name)
        place, result = first_failure(project, place)
        assert result is not None, f"green, and nobody asked for {sorted(unwritten)}"
        asked = [name for name, step in unwritten.items() if step.sentence == result.why]
        assert len(asked) == 1, f"{result.id}: {result.why}"
        walk += asked
        del unwritten[asked[0]]
    assert (tuple(walk[:len(WALK)]), set(walk[len(WALK):])) == (WALK, LATER)
