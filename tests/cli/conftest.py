"""Running verbs in this process: exit code, stdout, stderr."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from ddsdk.cli.main import run


@frozen
class Ended:
    """How one command ended."""

    code: int
    out: str
    err: str


Ddsdk = Callable[..., Ended]


@pytest.fixture
def ddsdk(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ddsdk:
    """`ddsdk("check", image)`."""
    monkeypatch.setenv("DDSDK_LOAD_PLUGINS", "mptfusion")
    monkeypatch.delenv("DDSDK_DEBUG", raising=False)

    def call(*args: object) -> Ended:
        code = run([str(arg) for arg in args])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An empty 16 MiB file."""
    path = tmp_path / "d.img"
    path.touch()
    with path.open("r+b") as file:
        file.truncate(16 << 20)
    return path
