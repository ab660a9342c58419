"""Fixtures of the helper library's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helperlib.board import World, build


@pytest.fixture
def world() -> Iterator[World]:
    """A one-CPU x86_64 machine in normal mode."""
    world = build()
    with world.machine:
        yield world


@pytest.fixture
def crashed(world: World) -> World:
    """The same machine right after a panic in its boot context."""
    world.crash()
    return world
