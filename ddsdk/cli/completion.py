"""`ddsdk completion`: the shell's completion script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .console import result


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for SHELL: `eval "$(ddsdk completion bash)"`."""
    from .main import cli

    found = get_completion_class(shell)
    assert found is not None
    result(found(cli, {}, "ddsdk", "_DDSDK_COMPLETE").source())
