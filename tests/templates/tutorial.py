"""The tutorial `templates/README.md` as a list of steps, and somebody who follows it.

A fenced block is a step.  `sh`: commands, run by one shell after the other in one directory, which keep what a login
shell keeps, the exported variables.  `text`: what the commands before it print.  `python`: goes into the file named in
the line before it.  A comment before a block says what a reader sees anyway: `exit code 1`, `installs`, `long`.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import evolve, frozen

from tests.templates.baking import ROOT

TUTORIAL = ROOT / "templates" / "README.md"
LIMIT_S = 300


@frozen
class Commands:
    """Lines for a shell: where they stand, how they end, what they print, and what is said of them."""

    line: int
    script: str
    status: int = 0
    prints: str | None = None
    remarks: frozenset[str] = frozenset()


@frozen
class Code:
    """Python for a module of the plugin."""

    line: int
    file: str
    source: str


def steps(text: str) -> list[Commands | Code]:
    """Every block of the tutorial, in its order."""
    found: list[Commands | Code] = []
    for line, language, body, before in _blocks(text.splitlines()):
        if language == "sh":
            remarks = re.fullmatch(r"<!-- (.+) -->", before)
            found.append(_commands(line, body, remarks[1].split(", ") if remarks else []))
        elif language == "text" and isinstance(found[-1], Commands) and found[-1].prints is None:
            found[-1] = evolve(found[-1], prints=body)
        else:
            file = re.fullmatch(r"`(\w+\.py)`:", before)
            assert language == "python", f"line {line}: a block of {language or 'no language'}"
            assert file, f"line {line}: no file is named before it"
            found.append(Code(line, file[1], body))
    return found


def _blocks(lines: list[str]) -> Iterator[tuple[int, str, str, str]]:
    """(line, language, body, the line of text before it) of every block."""
    start, before = 0, ""
    for number, line in enumerate(lines, 1):
        if start:
            if line == "```":
                yield start, lines[start - 1][3:], "\n".join(lines[start:number - 1]) + "\n", before
                start, before = 0, ""
        elif line.startswith("```"):
            start = number
        elif line:
            before = line
    assert not start, f"line {start}: the block has no end"


def _commands(line: int, script: str, remarks: list[str]) -> Commands:
    status = 0
    for remark in list(remarks):
        if remark.startswith("exit code "):
            remarks.remove(remark)
            status = int(remark.removeprefix("exit code "))
    return Commands(line, script, status, None, frozenset(remarks))


def write(code: Code, package: Path) -> None:
    """Do with the module what the tutorial tells its reader: replace functions by name, add imports at the top."""
    path = package / code.file
    new, lines = code.source.splitlines(), path.read_text().splitlines()
    there = ast.parse("\n".join(lines)).body
    functions = {node.name: node for node in there if isinstance(node, ast.FunctionDef)}
    top = max(node.end_lineno or 0 for node in there if isinstance(node, ast.Import | ast.ImportFrom))
    edits = []
    for node in ast.parse(code.source).body:
        assert isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef), f"{code.file}: line {node.lineno}"
        start, end = top, top
        if isinstance(node, ast.FunctionDef):
            assert node.name in functions, f"{code.file} has no {node.name}() to be replaced"
            start, end = functions[node.name].lineno - 1, functions[node.name].end_lineno or 0
        edits.append((start, end, new[node.lineno - 1:node.end_lineno]))
    for start, end, text in sorted(edits, key=lambda edit: edit[0], reverse=True):
        lines[start:end] = text
    path.write_text("\n".join(lines) + "\n")


def run(commands: Commands, work: Path, environment: Mapping[str, str]) -> None:
    """Run them in *work*; they must end and print as the tutorial says.

    The variables they export are in *work*/../session, which the next commands read.
    """
    session = work.parent / "session"
    session.touch()
    script = f"set -e\n. {session}\n{commands.script}export -p > {session}\n"
    done = subprocess.run(["bash", "-c", script], cwd=work, env={**environment, "PYTHONUNBUFFERED": "1"}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False)
    where = f"line {commands.line}:\n{commands.script}"
    assert done.returncode == commands.status, f"{where}ends with {done.returncode}:\n{done.stdout}"
    if commands.prints is not None:
        assert printed(commands.prints, done.stdout), f"{where}prints\n{done.stdout}instead of\n{commands.prints}"


def printed(expected: str, output: str) -> bool:
    """Whether *output* is what the tutorial shows: `...` stands for anything, and how lines are broken is no matter."""
    parts = [r"\s+".join(map(re.escape, part.split())) for part in expected.split("...")]
    return re.fullmatch(r"\s*" + r"\s*.*?\s*".join(parts) + r"\s*", output, re.DOTALL) is not None
