"""Answers that would make no plugin: one line, exit code, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ddsdk.baking import template_directory
from tests.templates.baking import TEMPLATE

GOOD = {"name": "toyhba", "chip": "toy320", "vendor_id": "0x1234", "device_id": "5C51", "bus": "scsi",
        "starting_point": "toy", "author": "Jane O'Hara <jane@example.org>"}
NAME = ("users type it: lower-case letters, digits and single _ between them, a letter first, at most 16")
CHIP = "users type it: lower-case letters, digits, _ . and -, at most 16"
ID = "it must be a PCI id, one to four hexadecimal digits such as 0x1000"
AUTHOR = "it goes into pyproject.toml and LICENSE: one line, without quotes and backslashes"


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """hooks/pre_gen_project.py, before it is rendered."""
    module = ModuleType("hook")
    exec((TEMPLATE / "hooks" / "pre_gen_project.py").read_text(), module.__dict__)
    return module


@pytest.mark.parametrize(("key", "value", "rule"), [
    *(("name", bad, NAME) for bad in ("", "MyHBA", "my-hba", "9hba", "_hba", "hba_", "my__hba", "../x", "a b", "\u00e9",
                                      "abcdefghijklmnopq", "hba\n")),
    *(("chip", bad, CHIP) for bad in ("", "LSI1030", "a,b", "-x", "a b", "x1234567890123456")),
    *(("vendor_id", bad, ID) for bad in ("", "0x", "12345", "lsi", "-1", "0x1000 ")),
    ("device_id", "0xg", ID),
    ("bus", "usb", "it must be scsi or ata"),
    ("starting_point", "whole", "it must be toy or skeleton"),
    *(("author", bad, AUTHOR) for bad in ("", "  ", 'Jane "J" O', "a\nb", "a\\b", "\t")),
])
def test_what_is_refused(hook: ModuleType, key: str, value: str, rule: str) -> None:
    """One line: which answer, the value, the rule."""
    assert hook.complaint({**GOOD, key: value}) == f"{key} {value!r}: {rule}"


def test_what_is_taken(hook: ModuleType) -> None:
    """Names with parts, ids with and without 0x, authors with addresses."""
    assert hook.complaint(GOOD) == ""
    assert hook.complaint({**GOOD, "name": "a1_b2", "chip": "53c1030", "vendor_id": "1"}) == ""


@pytest.mark.parametrize(("answer", "line"), [
    ("name=My-HBA", f"error: name 'My-HBA': {NAME}\n"),
    ('author=say "hi"', f"error: author 'say \"hi\"': {AUTHOR}\n"),
    ("vendor_id=nope", f"error: vendor_id 'nope': {ID}\n"),
])
def test_cookiecutter_itself_refuses(answer: str, line: str, tmp_path: Path) -> None:
    """The hook's line is on stderr, the exit code is not 0, no project is there."""
    ended = subprocess.run(
        [sys.executable, "-m", "cookiecutter", str(TEMPLATE), "--no-input", "-o", str(tmp_path / "out"), answer],
        capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)})
    assert ended.returncode != 0
    assert line in ended.stderr.replace("\r", "")
    assert list((tmp_path / "out").iterdir()) == []


def test_ddsdk_new_renders_the_same_template() -> None:
    """In a checkout it is the one beside the package."""
    assert template_directory() == TEMPLATE
