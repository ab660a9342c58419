"""The proof that the checks bite: every saboteur against every check.

`python -m ddsdk.conformance.saboteurs.matrix` prints it; a row a saboteur: which checks failed because of it, how many
were blocked.  Blocked is not caught: a check counts only where it names the fault itself.  With --enough every saboteur
meets the check that must catch it, and all the others only until its check is shown to be needed: a third of the work.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import click
from attrs import frozen

from ..check import Check, Level
from ..checks import all_checks
from ..plan import plans_of
from ..runner import Item, Verdict, items_of, run
from . import Saboteur, all_saboteurs
from .toy import baked_toy
from .workshop import edited_plugin


@frozen
class Row:
    """What one saboteur brought about.  `failed`, `blocked`: ids of checks, each once, in their order."""

    saboteur: Saboteur
    failed: tuple[str, ...]
    blocked: tuple[str, ...]
    why: str = ""

    @property
    def caught(self) -> bool:
        """The check that must catch it does."""
        return self.saboteur.catches in self.failed

    @property
    def alone(self) -> bool:
        """Nothing outside that check's family does."""
        family = self.saboteur.catches.partition("-")[0]
        return self.caught and all(one.partition("-")[0] == family for one in self.failed)


#: Cases of a check that are tried when another one is meant to catch: a case for every fault there is takes minutes.
CASES: Final = 8


def chosen(items: Iterable[Item], saboteur: Saboteur, cases: int = CASES) -> list[Item]:
    """Every item of the check that must catch, or its one case; of others at most *cases*, evenly spread."""
    kept: list[Item] = []
    for check, group in groupby(items, key=lambda item: item.check.id):
        every = list(group)
        if check == saboteur.catches:
            kept += [item for item in every if saboteur.case in ("", item.case)]
        else:
            step = -(-len(every) // cases)
            kept += every[::step]
    return kept


def try_one(root: Path, saboteur: Saboteur, checks: Sequence[Check], cases: int = CASES) -> Row:
    """Run *checks* on the toy at *root* as *saboteur* leaves it."""
    with edited_plugin(root, saboteur.edits) as registry:
        failed: dict[str, str] = {}
        blocked: dict[str, None] = {}
        for plan in plans_of(registry, sorted(registry.drivers)):
            for result in run(plan, chosen(items_of(plan, checks), saboteur, cases), trace=False):
                check = result.item.check.id
                if result.verdict in (Verdict.FAIL, Verdict.ADVICE):
                    failed.setdefault(check, result.why)
                elif result.verdict is Verdict.BLOCKED:
                    blocked.setdefault(check)
    return Row(saboteur, tuple(failed), tuple(one for one in blocked if one not in failed),
               failed.get(saboteur.catches, ""))


def complaints(root: Path) -> list[str]:
    """What the whole kit finds at the toy as it is: nothing, or the matrix proves nothing."""
    with edited_plugin(root, ()) as registry:
        return [f"{result.id}: {result.why}"
                for plan in plans_of(registry, sorted(registry.drivers))
                for result in run(plan, items_of(plan, all_checks()), trace=False)
                if result.verdict.bad or result.verdict is Verdict.ADVICE]


def _rows(roots: Mapping[str, str], ids: Sequence[str], cases: int, enough: bool) -> list[Row]:
    """In a process of its own: records with functions in them do not travel, ids do.

    *enough*: once a saboteur of a required check is shown to be caught by its family alone, and where the check is not
    required, the next ones meet their own check only.
    """
    known = {one.id: one for one in all_saboteurs()}
    checks = {check.id: check for check in all_checks()}
    rows: list[Row] = []
    for saboteur in (known[name] for name in ids):
        own = checks[saboteur.catches]
        shown = enough and (own.level is not Level.REQUIRED or any(row.alone for row in rows))
        rows.append(try_one(Path(roots[saboteur.bus]), saboteur, [own] if shown else all_checks(), cases))
    return rows


def matrix(saboteurs: Sequence[Saboteur], jobs: int = 2, cases: int = CASES, enough: bool = False) -> Iterator[Row]:
    """Every saboteur against every check (*enough*: see `_rows`), *jobs* at a time; rows in their order."""
    with ExitStack() as stack:
        roots = {bus: str(stack.enter_context(baked_toy(bus))) for bus in sorted({one.bus for one in saboteurs})}
        pool = stack.enter_context(ProcessPoolExecutor(jobs, mp_context=get_context("spawn")))
        groups = [list(group) for _, group in groupby(saboteurs, key=lambda one: one.catches if enough else one.id)]
        futures = [pool.submit(_rows, roots, [one.id for one in group], cases, enough) for group in groups]
        for future in futures:
            yield from future.result()


def complaints_of_toys(buses: Iterable[str]) -> list[str]:
    """The same of the toy of each bus."""
    found = []
    for bus in buses:
        with baked_toy(bus) as root:
            found += complaints(root)
    return found


def without_own_saboteur(rows: Sequence[Row], checks: Sequence[Check]) -> list[str]:
    """Ids of checks that nothing is shown to trip, and of required ones that only share their saboteurs."""
    missing = []
    for check in checks:
        mine = [row for row in rows if row.saboteur.catches == check.id]
        if not any(row.caught for row in mine):
            missing.append(f"{check.id}: no saboteur shows that it bites")
        elif check.level is Level.REQUIRED and not any(row.alone for row in mine):
            also = sorted({one for row in mine for one in row.failed} - {check.id})
            missing.append(f"{check.id}: no saboteur that only its family catches (also failing: {', '.join(also)})")
    return missing


@click.command()
@click.option("-j", "--jobs", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option("--cases", default=CASES, show_default=True, type=click.IntRange(1), metavar="N",
              help="Of a check that is not the one to catch, at most N cases.")
@click.option("--enough", is_flag=True, help="Stop where the proof is complete; not every row says what else it trips.")
@click.argument("ids", nargs=-1)
def main(ids: tuple[str, ...], jobs: int, cases: int, enough: bool) -> None:
    """Print the matrix, or the rows of IDS: saboteurs, checks, families.  Exit 1 when a saboteur gets away or a check
    has none of its own.
    """
    wanted = [one for one in all_saboteurs()
              if not ids or {one.id, one.catches, one.catches.partition("-")[0]} & set(ids)]
    innocent = [] if ids else complaints_of_toys(sorted({one.bus for one in wanted}))
    rows = []
    for row in matrix(wanted, jobs, cases, enough):
        rows.append(row)
        also = [one for one in row.failed if one != row.saboteur.catches]
        click.echo(f"{row.saboteur.id:<44} {row.saboteur.catches:<11} {'caught' if row.caught else 'GOT AWAY'}"
                   f"{'; also ' + ' '.join(also) if also else ''}"
                   f"{f'; {len(row.blocked)} blocked' if row.blocked else ''}")
    missing = [] if ids else without_own_saboteur(rows, all_checks())
    for line in missing:
        click.echo(line)
    caught = sum(row.caught for row in rows)
    click.echo(f"{caught} of {len(rows)} saboteurs caught")
    for line in innocent:
        click.echo(f"nothing is wrong with the toy, but {line}")
    sys.exit(0 if caught == len(rows) and not missing and not innocent else 1)


if __name__ == "__main__":
    main()
