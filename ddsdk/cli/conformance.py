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
@click.argument("target")
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
              help="Chips and seeds judged at a time.  [default: one a CPU]")
@click.option("--list", "only_list", is_flag=True, help="Say what would run, and run nothing.")
def command(target: str, chip: str | None, backend: str, select: str, junit: str | None, json_file: str | None,
            seed: int, repeat: int, jobs: int | None, only_list: bool) -> int:
    """Judge the driver TARGET: the directory of a plugin (plugins/NAME), or the name of an installed driver.

    Each check gets a fresh machine.  Exit codes: 0 all is well, 1 a required or if-offered check is bad, 2 usage,
    3 the plugin cannot be judged: it cannot be loaded, registers nothing, has no model, or its hooks do not bind.
    `ddsdk explain ID` tells the rule of a check, its source and an example of a fix.
    """
    wanted = parse(select)
    files = {name: path for name, path in (("--json", json_file), ("--junit", junit)) if path is not None}
    _refuse_files(files, only_list)
    plans = plans_for(target, chip=chip, backend=backend, seed=seed)
    checks = all_checks()
    for line in dict.fromkeys(line for plan in plans for line in doubts(plan, checks)):
        say(line)
    matching = [(plan, [item for item in items_of(plan, checks) if wanted(item)]) for plan in plans]
    chosen = [(plan, items) for plan, items in matching if items]
    if not chosen:
        raise UsageError(f"-k {select!r} matches nothing; there are the families {', '.join(FAMILIES)}, and `ddsdk"
                         " explain` lists every check")
    page = Page(aside="-" in files.values())
    if only_list:
        for plan, items in chosen:
            page.print(list_lines(plan, items, page.width if page.is_terminal else None))
        return 0
    chips = _judge(target, chosen, select, repeat, jobs or default_jobs())
    for one in chips:
        page.print(chip_lines(one, page.width))
        page.print([()])
    report = Report(target, backend, seed, repeat, select, tuple(chips))
    page.print(closing_lines(report, page.width))
    for name, path in files.items():
        _write(path, json.dumps(as_json(report), indent=2).encode() + b"\n" if name == "--json" else as_junit(report))
    return VerdictError.exit_code if report.bad else 0


def _judge(target: str, chosen: Sequence[tuple[Plan, Sequence[Item]]], select: str, repeat: int,
           width: int) -> list[ChipReport]:
    """Every chip with each seed, *width* at a time, and a bar on the terminal meanwhile."""
    total = sum(len(items) for _, items in chosen) * repeat
    jobs = [Job(target, plan.model.chip.name, plan.backend, plan.seed + number, select, part, parts)
            for plan, items in chosen for number in range(repeat) for parts in (parts_for(len(items)),)
            for part in range(parts)]
    with progress_bar(chosen[0][0].driver.name) as update, redirect_stdout(sys.stderr):
        tell = _counter(update, total)
        alone = len(jobs) == 1
        found = iter([each(*chosen[0], tell=lambda result: tell())] if alone else run_jobs(jobs, width, tell))
        chips = []
        for plan, items in chosen:
            runs = []
            for number in range(repeat):
                seeded = attrs.evolve(plan, seed=plan.seed + number)
                results = [result for _ in range(parts_for(len(items))) for result in next(found)]
                runs.append((seeded.seed, concluded(seeded, results)))
            chips.append(ChipReport.of(plan, runs))
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
