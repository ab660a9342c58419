"""`ddsdk conformance`: does a driver survive the panic path?"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import attrs
import click
from attrs import frozen

from ..conformance.check import FAMILIES
from ..conformance.checks import all_checks
from ..conformance.expression import parse
from ..conformance.junit import as_junit
from ..conformance.load import doubts, plans_for
from ..conformance.plan import Plan
from ..conformance.processes import Job, default_jobs, parts_for, run_jobs
from ..conformance.report import ChipReport, Report, as_json
from ..conformance.runner import Item, concluded, each, items_of
from ..conformance.terminal import chip_lines, closing_lines, list_lines
from ..errors import DeviceError, UsageError, VerdictError
from ..target import BACKENDS
from .console import Page, progress_bar, say

REPEAT_MAX = 10_000


@click.command("conformance")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option("--chip", default=None, metavar="C", help="Only this chip.  [default: each one the backend can play]")
@click.option("--backend", type=click.Choice(BACKENDS), default="model", show_default=True,
              help="model: the plugin's own (simulated); qemu: QEMU's adapter (emulated).")
@click.option("-k", "select", default="", metavar="EXPR",
              help="Only what matches: words of ids, cases, families, titles; and, or, not, ().")
@click.option("--junit", default=None, metavar="F", help="JUnit XML into file F.")
@click.option("--json", "json_file", default=None, metavar="F",
              help="One JSON object into file F; - is stdout, and the report goes to stderr.")
@click.option("--seed", type=int, default=1, show_default=True, metavar="N",
              help="Of everything random: the same seed, the same report.")
@click.option("--repeat", type=click.IntRange(1, REPEAT_MAX), default=1, show_default=True, metavar="N",
              help="N runs with seeds that count up; bad once is bad.")
@click.option("-j", "--jobs", type=click.IntRange(1, 64), default=None, metavar="N",
              help="Parts of the work done at a time.  [default: one a CPU; on qemu, which waits a lot, four]")
@click.option("--list", "only_list", is_flag=True, help="Say what would run, and run nothing.")
def command(targets: tuple[str, ...], chip: str | None, backend: str, select: str, junit: str | None,
            json_file: str | None, seed: int, repeat: int, jobs: int | None, only_list: bool) -> int:
    """Judge each driver TARGET: the directory of a plugin (plugins/NAME), or the name of an installed driver.

    Each check gets a fresh machine.  Exit codes: 0 all is well, 1 a required or if-offered check is bad, 2 usage,
    3 the plugin cannot be judged: it cannot be loaded, registers nothing, has no model, or its hooks do not bind.
    `ddsdk explain ID` tells the rule of a check, its source and an example of a fix.
    """
    wanted = parse(select)
    files = {name: path for name, path in (("--json", json_file), ("--junit", junit)) if path is not None}
    _refuse_files(files, only_list)
    _refuse_twice(targets)
    checks = all_checks()
    work = [Work(target, plan, [item for item in items_of(plan, checks) if wanted(item)])
            for target in targets for plan in plans_for(target, chip=chip, backend=backend, seed=seed)]
    for line in dict.fromkeys(line for one in work for line in doubts(one.plan, checks)):
        say(line)
    chosen = [one for one in work if one.items]
    if not chosen:
        raise UsageError(f"-k {select!r} matches nothing; there are the families {', '.join(FAMILIES)}, and `ddsdk"
                         " explain` lists every check")
    page = Page(aside="-" in files.values())
    if only_list:
        for one in chosen:
            page.print(list_lines(one.plan, one.items, page.width if page.is_terminal else None))
        return 0
    reports = _judge(chosen, select, repeat, jobs or default_jobs(backend))
    for chip_report in reports:
        page.print(chip_lines(chip_report, page.width))
        page.print([()])
    report = Report(" ".join(targets), backend, seed, repeat, select, tuple(reports))
    page.print(closing_lines(report, page.width))
    for name, path in files.items():
        _write(path, json.dumps(as_json(report), indent=2).encode() + b"\n" if name == "--json" else as_junit(report))
    return VerdictError.exit_code if report.bad else 0


@frozen
class Work:
    """One chip of one target, and what it is judged by."""

    target: str
    plan: Plan
    items: Sequence[Item]

    def jobs(self, select: str, seed: int) -> list[Job]:
        """The parts of one run."""
        parts = parts_for(len(self.items))
        return [Job(self.target, self.plan.model.chip.name, self.plan.backend, seed, select, part, parts)
                for part in range(parts)]


def _refuse_twice(targets: Sequence[str]) -> None:
    twice = [target for number, target in enumerate(targets) if target in targets[:number]]
    if twice:
        raise UsageError(f"{twice[0]}: named twice; once is enough, and --repeat N makes N runs")


def _judge(chosen: Sequence[Work], select: str, repeat: int, width: int) -> list[ChipReport]:
    """Every chip with each seed, *width* parts at a time, and a bar on the terminal meanwhile."""
    total = sum(len(one.items) for one in chosen) * repeat
    jobs = [job for one in chosen for number in range(repeat) for job in one.jobs(select, one.plan.seed + number)]
    drivers = list(dict.fromkeys(one.plan.driver.name for one in chosen))
    with progress_bar(", ".join(drivers)) as update, redirect_stdout(sys.stderr):
        tell = _counter(update, total)
        if len(jobs) == 1:
            found = iter([each(chosen[0].plan, chosen[0].items, tell=lambda result: tell())])
        else:
            found = iter(run_jobs(jobs, width, tell))
        chips = []
        for one in chosen:
            judged = []
            for seed in range(one.plan.seed, one.plan.seed + repeat):
                results = [result for _ in range(parts_for(len(one.items))) for result in next(found)]
                judged.append((seed, concluded(attrs.evolve(one.plan, seed=seed), results)))
            chips.append(ChipReport.of(one.plan, judged))
    return chips


def _counter(update: Callable[[int, int], None], total: int) -> Callable[[], None]:
    """Moves the bar by one at each call."""
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        update(done, total)

    update(done, total)
    return tell


# -- files ------------------------------------------------------------------------------------------------


def _refuse_files(files: dict[str, str], only_list: bool) -> None:
    """Say now, not after a minute, what cannot be written."""
    if files and only_list:
        raise UsageError(f"--list runs nothing: there is nothing for {' or '.join(files)} to hold")
    if len({"-" if path == "-" else os.path.realpath(path) for path in files.values()}) < len(files):
        raise UsageError(f"--json and --junit are both {files['--json']}; they are two files")
    for name, path in files.items():
        folder = os.path.dirname(path) or "."
        if path != "-" and (not os.path.isdir(folder) or os.path.isdir(path)):
            what = "a directory" if os.path.isdir(path) else f"there is no directory {folder}"
            raise DeviceError(f"{name} {path}: {what}; name a file to be written")


def _write(path: str, data: bytes) -> None:
    """Whole or not at all: a file appears under its name when everything is in it."""
    if path == "-":
        click.echo(data, nl=False)
        return
    try:
        if os.path.exists(path) and not os.path.isfile(path):      # a pipe, /dev/fd/3
            Path(path).write_bytes(data)
            return
        handle, name = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".ddsdk-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(name, 0o666 & ~umask)
            os.replace(name, os.path.realpath(path))
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror or error}") from error
