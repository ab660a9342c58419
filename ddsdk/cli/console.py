"""stdout is the result, stderr is talk and progress; progress is silent when stderr is no terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Self

import click


def say(text: str) -> None:
    """One line of talk on stderr, prefixed as tools do."""
    click.echo(f"ddsdk: {' '.join(text.split())}", err=True)


def note(text: str) -> None:
    """One line of talk without the prefix."""
    click.echo(text, err=True)


def result(text: str) -> None:
    """One line of the result on stdout."""
    click.echo(text)


def result_json(value: Any) -> None:
    """The result as one JSON object on stdout."""
    click.echo(json.dumps(value, indent=2, sort_keys=False))


#: Columns of a page that is no terminal's; a terminal's own are taken within these bounds.
_PAGE_WIDTH: Final = 80
_PAGE_MIN: Final = 60
_PAGE_MAX: Final = 100


class Page:
    """Lines of styled spans, (style, text) each, on stdout; on stderr when something else has stdout.

    Plain text where no terminal shows it, or where NO_COLOR is set.
    """

    def __init__(self, aside: bool = False) -> None:
        from rich.console import Console

        self._aside = aside
        self._console = Console(stderr=aside, highlight=False, markup=False, emoji=False)
        self._plain = not self._console.is_terminal or bool(os.environ.get("NO_COLOR"))
        self.is_terminal = self._console.is_terminal
        self.width = _PAGE_WIDTH
        if self.is_terminal:
            self.width = max(_PAGE_MIN, min(_PAGE_MAX, self._console.width))

    def print(self, lines: Iterable[Iterable[tuple[str, str]]]) -> None:
        """Each of *lines* as it is: nothing is wrapped here."""
        for line in lines:
            spans = [(style, self._writable(text)) for style, text in line]
            if self._plain:
                click.echo("".join(text for _, text in spans).rstrip(), err=self._aside)
            else:
                from rich.text import Text

                self._console.print(Text.assemble(*((text, style) for style, text in spans)), soft_wrap=True)

    def _writable(self, text: str) -> str:
        encoding = self._console.encoding
        return text.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yields update(done, total) with an ETA on a terminal, a function that does nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
                  console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield update


class PhaseBars:
    """One progress bar after the other: a new phase closes the bar of the one before."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._stack = ExitStack()
        self._phase: str | None = None
        self._update: Callable[[int, int], None] = lambda done, total: None

    def __enter__(self) -> Self:
        return self

    def update(self, phase: str, done: int, total: int, what: str = "") -> None:
        """*done* of *total* in *phase* (of *what*, when there are several)."""
        label = f"{phase} {what or self._what}"
        if label != self._phase:
            self._stack.close()
            self._update = self._stack.enter_context(progress_bar(label))
            self._phase = label
        self._update(done, total)

    def note(self, text: str) -> None:
        """One line of talk; a bar on the terminal makes room for it."""
        self._stack.close()
        self._phase = None
        note(text)

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()
