"""The tutorial does what it says: every command is run, every piece of code put where it belongs.

Commands that install or take long are run in the real tier (tests/real/test_tutorial.py); here something stands in for
them, and this file says what.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path

import pytest

from tests.conformance.test_skeleton import bodies, steps_of
from tests.templates.baking import ROOT, WRITTEN, bake, package_of
from tests.templates.tutorial import TUTORIAL, Code, Commands, evolve, printed, run, steps, write

TEXT = TUTORIAL.read_text()
STEPS = steps(TEXT)

#: Instead of commands that are left to the real tier, by a word of theirs: what is run here.
STAND_INS = {
    "python3 -m venv": "",
    "pip install -e": "",
    "--junit report.xml": "ddsdk conformance acme --json report.json --junit report.xml -k E2E-1\n",
    "--backend qemu -k": "",
    "ddsdk-acme/.ci/run": "",
}


def stand_in(commands: Commands) -> Commands | None:
    """What is run here in their place; None: nothing."""
    if not commands.remarks:
        return commands
    (script,) = [instead for word, instead in STAND_INS.items() if word in commands.script]
    return evolve(commands, script=script, prints=None) if script else None


def install(project: Path, site: Path) -> None:
    """What `pip install -e` leaves: a distribution with its entry point, its sources elsewhere."""
    info = site / f"{package_of(project).name}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project.name}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[ddsdk]\nacme = ddsdk_acme\n")


def test_every_command(tmp_path: Path) -> None:
    """From the first line to the last one; afterwards nothing is left to be written, and the driver is the toy's."""
    work, site = tmp_path / "work", tmp_path / "site"
    work.mkdir()
    (work / "ddsdk").symlink_to(ROOT)
    acme = work / "ddsdk-acme"
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path / "home"),
                   "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": f"{site}:{acme}",
                   "DDSDK_LOAD_PLUGINS": "acme"}
    for step in STEPS:
        if isinstance(step, Code):
            write(step, package_of(acme))
            continue
        commands = stand_in(step)
        if commands is not None:
            run(commands, work, environment)
        if acme.exists() and not site.exists():
            install(acme, site)
    assert not steps_of(acme)
    toy = package_of(bake(tmp_path / "toy", name="acme", chip="acme320"))
    for file in WRITTEN:
        assert imported(package_of(acme) / file) == imported(toy / file)


def imported(path: Path) -> set[str]:
    """The names a module imports, at the top or for its annotations."""
    return {alias.name for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}


def test_its_code_is_the_toys(tmp_path: Path) -> None:
    """Each step of the skeleton is written once, with the toy's lines: what test_toy.py finds green."""
    toy = package_of(bake(tmp_path / "toy", name="acme"))
    skeleton = bake(tmp_path / "skeleton", name="acme", starting_point="skeleton")
    written = []
    for code in STEPS:
        if isinstance(code, Code):
            lines, there = code.source.splitlines(), bodies(toy / code.file)
            for node in ast.parse(code.source).body:
                if isinstance(node, ast.FunctionDef):
                    written.append(node.name)
                    shown = "\n".join(lines[node.body[1].lineno - 1:node.end_lineno])
                    assert shown == there[node.name][1], f"{code.file}: {node.name}()"
    assert sorted(written) == sorted(steps_of(skeleton))
    assert len(written) == 29
    assert "twenty-nine times" in TEXT


def test_what_is_left_to_the_real_tier() -> None:
    """A block with a remark has one stand-in, and no stand-in is left over."""
    left = [step for step in STEPS if isinstance(step, Commands) and step.remarks]
    assert [next(word for word in STAND_INS if word in step.script) for step in left] == list(STAND_INS)
    assert {remark for step in left for remark in step.remarks} == {"installs", "long", "needs qemu-system-x86_64"}


def test_every_file_and_chapter_it_names_is_there(tmp_path: Path) -> None:
    """Links to chapters lead to headings; paths under ddsdk/ and ddsdk-acme/ exist."""
    headings = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-")
                for line in re.findall(r"^##+ (.+)$", TEXT, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= headings
    bake(tmp_path, name="acme", starting_point="skeleton")
    (tmp_path / "ddsdk").symlink_to(ROOT)
    for path in re.findall(r"`(ddsdk(?:-acme)?/[^` ]*)`", TEXT):
        assert os.path.lexists(tmp_path / path), path


@pytest.mark.parametrize(("expected", "output", "same"), [
    ("a b\n", "a\n  b\n", True),
    ("a b\n", "a c\n", False),
    ("a ... d\n", "a b c d\n", True),
    ("...\nb\n", "a\nb\n", True),
    ("a\n", "a\nb\n", False),
    ("b\n", "a\nb\n", False),
    ("a ... c\n", "a b\n", False),
    ("(1 of ...)\n", "(1 of 2)\n", True),
])
def test_what_counts_as_printed(expected: str, output: str, same: bool) -> None:
    """Space is space, `...` is anything, everything else is itself."""
    assert printed(expected, output) is same
