"""The skeleton, written step by step as its author does: the kit leads all the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.conformance.runner import Verdict
from tests.conformance.test_skeleton import LATER, WALK, first_failure, partly_written, steps_of
from tests.templates.baking import bake

pytestmark = pytest.mark.real


def test_each_first_failure_is_the_next_thing_to_write(tmp_path: Path) -> None:
    """With everything written that was asked for so far, the first failure names the next step, in one sentence.

    Bodies come from the toy; what passed before it had more bodies is not run again.
    """
    toy = bake(tmp_path / "toy", name="step")
    skeleton = bake(tmp_path / "skeleton", name="step", starting_point="skeleton")
    unwritten = steps_of(skeleton)
    walk, place = list[str](), 0
    while unwritten:
        project = partly_written(toy, unwritten, tmp_path / str(len(walk)) / toy.name)
        place, result = first_failure(project, place)
        assert result is not None, f"green, and nobody asked for {sorted(unwritten)}"
        assert result.verdict is Verdict.FAIL
        asked = [name for name, step in unwritten.items() if step.sentence == result.why]
        assert len(asked) == 1, f"{result.id}: {result.why}"
        assert result.line.endswith(f" in {asked[0]}")
        walk += asked
        del unwritten[asked[0]]
    assert (tuple(walk[:len(WALK)]), set(walk[len(WALK):])) == (WALK, LATER)
