"""`ddsdk new`: where a port starts.  Renders the template `driver`, which ships with ddsdk."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from ..baking import bake, questions, rendered_answers, template_directory
from ..errors import UsageError
from .console import result, say

#: The template's questions, in its order.
QUESTIONS: Final = ("name", "chip", "vendor_id", "device_id", "bus", "starting_point", "author")


@click.command("new")
@click.option("--name", default=None, metavar="N", help="The driver's name, as users will type it.")
@click.option("--chip", default=None, metavar="C", help="The chip's name, as users will type it.")
@click.option("--vendor-id", default=None, metavar="HEX", help="Its PCI vendor id.")
@click.option("--device-id", default=None, metavar="HEX", help="Its PCI device id.")
@click.option("--bus", type=click.Choice(["scsi", "ata"]), default=None, help="What it is a host adapter for.")
@click.option("--start", "starting_point", type=click.Choice(["toy", "skeleton"]), default=None,
              help="toy: a small adapter with its complete driver, green from the first day; skeleton: the same"
                   " adapter, every step of its driver yet to be written.")
@click.option("--author", default=None, help="Who holds the copyright.")
@click.option("-o", "--output", default=".", show_default=True, metavar="DIR",
              type=click.Path(file_okay=False, path_type=Path), help="Where the new directory goes.")
def command(output: Path, **given: str | None) -> None:
    """Make a new driver plugin: driver, hardware model, tests, and the C side of the port to be filled in.

    Asks for what is not given when stdin is a terminal, else takes defaults.  Never overwrites.
    """
    folder = template_directory()
    answers = _answers(folder, {key: value for key, value in given.items() if value is not None})
    target = output / answers["__distribution"]
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target} is there already; choose another --name, or another directory with -o")
    bake(folder, answers, target)
    result(f"wrote {target}: driver {answers['name']} for {answers['chip']}, starting point"
           f" {answers['starting_point']}; next:")
    result(f"pip install -e {shlex.quote(str(target))}")
    result(f"ddsdk conformance {shlex.quote(str(target))}")


def _answers(folder: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """Every variable of the template.  UsageError, one line, for an answer it cannot take."""
    complaint = _checker(folder)
    answers = dict(given)
    if sys.stdin.isatty():
        for key in QUESTIONS:
            if key not in answers:
                _ask(folder, answers, key, complaint)
    wrong = _wrong(folder, answers, complaint)
    if wrong:
        raise UsageError(wrong)
    return rendered_answers(folder, answers)


def _wrong(folder: Path, answers: Mapping[str, str], complaint: Callable[[Mapping[str, str]], str]) -> str:
    """What the template cannot take, in one line; "" when it takes everything."""
    for key, value in answers.items():
        if "{" in value:        # cookiecutter renders answers, too
            return f"{key} {value!r}: braces are no part of it"
    return complaint(rendered_answers(folder, answers))


def _ask(folder: Path, answers: dict[str, str], key: str, complaint: Callable[[Mapping[str, str]], str]) -> None:
    """Until the answer is one the template can take."""
    asked, prompts = questions(folder, answers)
    question = prompts[key]
    choices = None
    if isinstance(asked[key], list):
        question, choices = question["__prompt__"], click.Choice(asked[key])
    default = rendered_answers(folder, answers)[key]
    while True:
        answers[key] = click.prompt(question, default=default, type=choices, err=True)
        wrong = _wrong(folder, answers, complaint)
        if not wrong.startswith(f"{key} "):
            return
        say(wrong)


def _checker(folder: Path) -> Callable[[Mapping[str, str]], str]:
    """`complaint()` of the template's own hook."""
    spec = importlib.util.spec_from_file_location("ddsdk_template_hook", folder / "hooks" / "pre_gen_project.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    complaint: Callable[[Mapping[str, str]], str] = hook.complaint
    return complaint
