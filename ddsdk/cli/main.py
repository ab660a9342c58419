"""`ddsdk`: the group, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Any

import click

from .. import __version__
from ..errors import DdsdkError
from .console import say

#: verb -> module of this package that holds its click command under the same name
VERBS = ("drivers", "estimate", "format", "check", "dump", "savecore", "info", "drill", "completion")
EXIT_BUG = 70
#: Allocations between two rounds of garbage collection.  Imports make lasting objects by the ten thousand, which
#: Python's own 700 would have it walk again and again.
_GC_THRESHOLD = 50_000


class LazyGroup(click.Group):
    """Imports a verb's module when it is asked for: `ddsdk --help` stays quick, savecore needs no simulator."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order a user meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's click command, or None."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f".{cmd_name}", __package__).command
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
def cli() -> None:
    """Write, run and prove the panic-time I/O path of a storage driver; save and read crash dumps.

    Exit codes: 0 ok, 1 the verdict is no, 2 usage, 3 plugin, 4 format, 5 device, 70 our bug.
    """


def run(args: list[str] | None = None) -> int:
    """The exit code of `ddsdk ARGS`; every error is one line on stderr."""
    try:
        result: Any = cli.main(args, prog_name="ddsdk", standalone_mode=False)
    except DdsdkError as error:
        say(f"error: {error}")
        return error.exit_code
    except click.exceptions.Abort:
        say("interrupted")
        return 130
    except click.ClickException as error:
        say(f"error: {error.format_message()}")
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("DDSDK_DEBUG"):
            raise
        say(f"internal error: {type(error).__name__}: {error} (please report it; DDSDK_DEBUG=1 shows where)")
        return EXIT_BUG
    return result if isinstance(result, int) else 0


def main() -> None:
    """Console entry point.

    Start-up counts for a tool of one short command: no thread for each CPU by a linear algebra library that numpy
    brings and nobody here uses, no garbage collector looking through what an import made or what the exit throws
    away whole.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(_GC_THRESHOLD)
    code = run()
    gc.freeze()
    sys.exit(code)
