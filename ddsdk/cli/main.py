"""`ddsdk`: the group, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from contextlib import suppress
from itertools import pairwise
from typing import Any

import click

from .. import __version__
from ..errors import DdsdkError, DeviceError
from .console import result_json, say

#: verb -> module of this package that holds its click command under the same name
VERBS = ("drivers", "estimate", "format", "check", "dump", "savecore", "info", "convert", "log", "drill", "new",
         "conformance", "explain", "completion")
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_NO_READER = 141        # what a shell says of a program that SIGPIPE ended
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

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; Abort for an interrupt (click's own handling of it prints an empty line first)."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
def cli() -> None:
    """Write, run and prove the panic-time I/O path of a storage driver; save and read crash dumps.

    Exit codes: 0 ok, 1 the verdict is no, 2 usage, 3 plugin, 4 format, 5 device, 70 our bug.
    """


def run(args: list[str] | None = None) -> int:
    """The exit code of `ddsdk ARGS`; every error is one line on stderr, and with --json an object on stdout."""
    args = sys.argv[1:] if args is None else args
    try:
        result: Any = cli.main(args, prog_name="ddsdk", standalone_mode=False)
    except DdsdkError as error:
        return failed(args, str(error), error.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        say("interrupted")
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        return failed(args, error.format_message(), error.exit_code)
    except SystemExit:          # only from click, which answers EPIPE with it: `ddsdk ... | head -1`
        return EXIT_NO_READER
    except OSError as error:    # one that no layer below expected: a full disk under stdout, for instance
        if os.environ.get("DDSDK_DEBUG"):
            raise
        say(f"error: {error.filename or 'output'}: {error.strerror or error}")
        return DeviceError.exit_code
    except Exception as error:
        if os.environ.get("DDSDK_DEBUG"):
            raise
        say(f"internal error: {type(error).__name__}: {error} (please report it; DDSDK_DEBUG=1 shows where)")
        return EXIT_BUG
    return result if isinstance(result, int) else 0


def failed(args: list[str], text: str, exit_code: int) -> int:
    """Say *text*; with --json among *args* a script gets it on stdout too.  *exit_code*."""
    say(f"error: {text}")
    if _json_on_stdout(args):
        with suppress(OSError):
            result_json({"error": text, "exit_code": exit_code})
    return exit_code


def _json_on_stdout(args: list[str]) -> bool:
    """Whether *args* ask for JSON on stdout; `conformance` writes it to a file, which - names stdout."""
    if args[:1] == ["conformance"]:
        return "--json=-" in args or ("--json", "-") in pairwise(args)
    return "--json" in args


def open_standard_files() -> None:
    """Give descriptors 0, 1 and 2 a file when the caller closed them.

    Otherwise the next file opened, perhaps the dump device, would be what others take for stdout or stderr.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)      # takes the lowest free number, which is fd
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def main() -> None:
    """Console entry point.

    Start-up counts for a tool of one short command: no thread for each CPU by a linear algebra library that numpy
    brings and nobody here uses, no garbage collector looking through what an import made or what the exit throws
    away whole.
    """
    open_standard_files()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(_GC_THRESHOLD)
    code = run()
    gc.freeze()
    sys.exit(code)
