"""`ddsdk new`: asks, writes, says what next, never overwrites."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from ddsdk.registry import load_path
from tests.cli.conftest import Ddsdk

NAME = "users type it: lower-case letters, digits and single _ between them, a letter first, at most 16"


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_defaults_without_a_terminal(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """Where it wrote and the next two commands, one a line; the output loads."""
    ended = ddsdk("new", "--name", "cli_toy", "-o", tmp_path / "out")
    target = tmp_path / "out" / "ddsdk-cli-toy"
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        f"wrote {target}: driver cli_toy for toy320, starting point toy; next:",
        f"pip install -e {target}",
        f"ddsdk conformance {target}",
    ]
    assert list(load_path(target).drivers) == ["cli_toy"]
    assert sorted(os.listdir(tmp_path / "out")) == ["ddsdk-cli-toy"]


def test_everything_given(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """Each option is an answer of the template."""
    ended = ddsdk("new", "--name", "q", "--chip", "53c1030", "--vendor-id", "1000", "--device-id", "0x30",
                  "--bus", "scsi", "--start", "skeleton", "--author", "Jane Doe", "-o", tmp_path)
    assert ended.code == 0
    target = tmp_path / "ddsdk-q"
    assert 'Chip("53c1030", 0x1000, 0x0030' in (target / "ddsdk_q" / "chips.py").read_text()
    assert "raise NotImplementedError" in (target / "ddsdk_q" / "driver.py").read_text()
    assert "Copyright (c) Jane Doe\n" in (target / "LICENSE").read_text()
    assert 'authors = [{ name = "Jane Doe" }]' in (target / "pyproject.toml").read_text()


def test_it_never_overwrites(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """A second time, and a dangling link in its place: exit code 2, one line, nothing touched."""
    assert ddsdk("new", "--name", "q", "-o", tmp_path).code == 0
    (tmp_path / "ddsdk-q" / "README.md").write_text("mine")
    (tmp_path / "ddsdk-r").symlink_to(tmp_path / "nowhere")
    for name in ("q", "r"):
        ended = ddsdk("new", "--name", name, "-o", tmp_path)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == (f"ddsdk: error: {tmp_path}/ddsdk-{name} is there already; choose another --name, or"
                             " another directory with -o\n")
    assert (tmp_path / "ddsdk-q" / "README.md").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["ddsdk-q", "ddsdk-r"]


@pytest.mark.parametrize(("options", "line"), [
    (["--name", "My-HBA"], f"name 'My-HBA': {NAME}"),
    (["--name", "../x"], f"name '../x': {NAME}"),
    (["--name", "{{ 7 * 7 }}"], "name '{{ 7 * 7 }}': braces are no part of it"),
    (["--author", "{%"], "author '{%': braces are no part of it"),
    (["--device-id", "x"], "device_id 'x': it must be a PCI id, one to four hexadecimal digits such as 0x1000"),
])
def test_bad_answers(options: list[str], line: str, ddsdk: Ddsdk, tmp_path: Path) -> None:
    """Exit code 2, one line, nothing is left."""
    ended = ddsdk("new", *options, "-o", tmp_path / "out")
    assert (ended.code, ended.out, ended.err) == (2, "", f"ddsdk: error: {line}\n")
    assert not (tmp_path / "out").exists()


def test_a_directory_that_cannot_be_made(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """A file in the way: exit code 5, one line."""
    (tmp_path / "file").touch()
    ended = ddsdk("new", "--name", "q", "-o", tmp_path / "file" / "deeper")
    assert (ended.code, ended.out) == (5, "")
    assert ended.err.startswith(f"ddsdk: error: {tmp_path}/file/deeper/ddsdk-q: Not a directory; ")
    assert ended.err.count("\n") == 1


def test_it_asks_on_a_terminal(ddsdk: Ddsdk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not given is asked for, a bad answer once more; enter takes the default; questions go to stderr."""
    monkeypatch.setattr(sys, "stdin", Terminal("No!\nasked\n\n0x1000\nata\nskeleton\nJane\n"))
    ended = ddsdk("new", "--chip", "c1", "-o", tmp_path)
    assert ended.code == 0
    target = tmp_path / "ddsdk-asked"
    assert ended.out.splitlines()[0] == f"wrote {target}: driver asked for c1, starting point skeleton; next:"
    assert "ddsdk: name 'No!': users type it" in ended.err
    assert 'bus="ata"' in (target / "ddsdk_asked" / "__init__.py").read_text()
    assert 'Chip("c1", 0x1234, 0x1000' in (target / "ddsdk_asked" / "chips.py").read_text()
    assert "Copyright (c) Jane\n" in (target / "LICENSE").read_text()
