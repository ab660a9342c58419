"""The toy that saboteurs are made of: the template's, rendered once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ddsdk.baking import bake, rendered_answers, template_directory


@contextmanager
def baked_toy(bus: str) -> Iterator[Path]:
    """The toy's plugin distribution for *bus*, in a temporary directory.

    Its driver is called `toy`, its package ddsdk_toy: that is how edits of saboteurs spell names.
    """
    folder = template_directory()
    answers = rendered_answers(folder, {"name": "toy", "chip": "toy", "bus": bus, "starting_point": "toy"})
    with tempfile.TemporaryDirectory(prefix="ddsdk-toy-") as directory:
        target = Path(directory) / "ddsdk-toy"
        bake(folder, answers, target)
        yield target
