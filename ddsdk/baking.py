"""Where a port starts: the template `driver`, found and rendered.  It ships with ddsdk, in the wheel too."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import DdsdkError, DeviceError


def template_directory() -> Path:
    """Where the template lies: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    for place in (package, package.parent):
        folder = place / "templates" / "driver"
        if (folder / "cookiecutter.json").is_file():
            return folder
    raise DdsdkError(f"the template is missing: there is no templates/driver in {package}; install ddsdk again")


def questions(folder: Path, answers: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The template's variables with *answers* for defaults, not rendered; and how it asks for them."""
    from cookiecutter.generate import generate_context

    context = generate_context(str(folder / "cookiecutter.json"), extra_context=dict(answers))["cookiecutter"]
    return context, context.pop("__prompts__")


def rendered_answers(folder: Path, answers: Mapping[str, str]) -> dict[str, Any]:
    """Every variable of the template, defaults for what *answers* does not say."""
    from cookiecutter.prompt import prompt_for_config

    return dict(prompt_for_config({"cookiecutter": questions(folder, answers)[0]}, no_input=True))


def bake(folder: Path, answers: Mapping[str, Any], target: Path) -> None:
    """Render into a directory beside *target*, then give it its name: whole or not at all.

    *answers*: what `rendered_answers()` returned.  DeviceError, one line, when it cannot be written.
    """
    from cookiecutter.generate import generate_files

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".ddsdk-new-") as directory:
            made = generate_files(str(folder), {"cookiecutter": dict(answers)}, output_dir=directory)
            os.rename(made, target)
    except OSError as error:
        raise DeviceError(f"{target}: {error.strerror or error}; choose another directory") from error
