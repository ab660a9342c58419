"""The tutorial's code, chapters and files.  Its commands are run in the real tier (tests/real/test_tutorial.py)."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

from tests.conformance.test_skeleton import bodies, steps_of
from tests.templates.baking import ROOT, bake, package_of
from tests.templates.tutorial import TUTORIAL, Code, printed, steps

TEXT = TUTORIAL.read_text()
STEPS = steps(TEXT)


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
