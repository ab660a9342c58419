"""The starting point "skeleton": the kit says what to write next, one step after the other, until all is written."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest
from attrs import frozen

from ddsdk.cli.main import run as ddsdk
from ddsdk.conformance.checks import all_checks
from ddsdk.conformance.runner import Result, items_of, judge
from tests.templates.baking import WRITTEN, bake, loaded, package_of

#: What the kit asks for, in its order: the walk of a port from probe to the first command that ends by polling ...
WALK = (
    "map_registers", "identify", "alloc_requests",
    "step_reset", "step_start_reset", "write_reset", "step_reset_poll", "step_reset_end", "run",
    "make_host",
    "take_request", "map_data", "fill_block", "submit",
    "step_interrupt", "take_tags", "step_finish", "finish_request", "fill_result",
    "step_sanity_check", "step_quiesce", "STEP_HOST_UNLOCK", "step_poll", "STEP_HOST_LOCK",
)
#: ... and what is left then: error handlers, an adapter that is gone, the end of the dump.
LATER = {"STEP_MDELAY", "ask", "refuse", "step_gone", "step_shutdown"}


@frozen
class Step:
    """A function of the skeleton that is to be written: its file, its body, the sentence it raises."""

    file: str
    body: str
    sentence: str


def bodies(path: Path) -> dict[str, tuple[ast.FunctionDef, str]]:
    """Name -> function and source of its body, docstring apart, of every function of a module."""
    text = path.read_text()
    lines = text.splitlines()
    return {node.name: (node, "\n".join(lines[node.body[1].lineno - 1:node.end_lineno]))
            for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


def steps_of(skeleton: Path) -> dict[str, Step]:
    """What is to be written."""
    steps = {}
    for file in WRITTEN:
        for name, (node, body) in bodies(package_of(skeleton) / file).items():
            raised = node.body[1]
            if isinstance(raised, ast.Raise) and isinstance(raised.exc, ast.Call):
                steps[name] = Step(file, body, ast.literal_eval(raised.exc.args[0]))
    return steps


def partly_written(toy: Path, unwritten: dict[str, Step], target: Path) -> Path:
    """The toy at *target* with the functions in *unwritten* as they are in the skeleton."""
    shutil.copytree(toy, target)
    for file in WRITTEN:
        path = package_of(target) / file
        lines = path.read_text().splitlines()
        for name, (node, _) in reversed(bodies(path).items()):
            if name in unwritten:
                lines[node.body[1].lineno - 1:node.end_lineno] = unwritten[name].body.splitlines()
        path.write_text("\n".join(lines) + "\n")
    return target


def first_failure(project: Path, start: int) -> tuple[int, Result | None]:
    """The first bad result from item *start* on, and its place."""
    with loaded(project) as plan:
        items = items_of(plan, all_checks())
        for place in range(start, len(items)):
            result = judge(plan, items[place], trace=False)
            if result.verdict.bad:
                return place, result
    return len(items), None


def test_all_written_is_the_toy(tmp_path: Path) -> None:
    """The last body filled in leaves the toy, byte by byte, which is green."""
    toy = bake(tmp_path / "toy", name="step")
    project = partly_written(toy, {}, tmp_path / "filled" / toy.name)
    for file in WRITTEN:
        assert (package_of(project) / file).read_bytes() == (package_of(toy) / file).read_bytes()


@pytest.mark.parametrize(("bus", "said"), [
    ("scsi", "pci_enable_device(), dma_set_mask() to 64 bits or else 32"),
    ("ata", "pci_enable_device(), pci_set_master(), then pci_iomap()"),
])
def test_the_skeleton_itself_says_where_to_begin(bus: str, said: str, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    """`ddsdk conformance` of a fresh skeleton: exit code 1, and the first failure is the sentence of the first step."""
    skeleton = bake(tmp_path, name="first_step", bus=bus, starting_point="skeleton")
    place, result = first_failure(skeleton, 0)
    assert place == 0
    assert result is not None
    assert result.why == steps_of(skeleton)["map_registers"].sentence
    assert result.line.endswith(" in map_registers")
    with loaded(skeleton):
        assert ddsdk(["conformance", str(skeleton), "-k", "REG"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert out.index("REG-1") < out.index(said)
