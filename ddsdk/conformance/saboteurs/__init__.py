"""Drivers and models broken on purpose: each is the template's toy with a few words changed.

Every check has at least one that it must catch; every required check one that nothing outside its family catches.
`matrix.py` proves both.  A saboteur is what a porter in a hurry could write, never what no one would.
"""

from __future__ import annotations

from attrs import frozen

from .workshop import Edit

__all__ = ["Edit", "Saboteur", "all_saboteurs"]


@frozen
class Saboteur:
    """One broken toy.

    `catches`: id of the check that must fail.  `summary`: what is wrong with it, in a sentence.  `edits`: how it came
    to be.  `case`: the case of that check that shows it, when not all do.  `bus`: which toy.
    """

    id: str
    catches: str
    summary: str
    edits: tuple[Edit, ...]
    case: str = ""
    bus: str = "scsi"


def all_saboteurs() -> tuple[Saboteur, ...]:
    """Every saboteur there is, by the family it attacks; TypeError for an id that is there twice."""
    from . import ata, e2e, err, io, irq, lock, mem, poll, quiesce, reg, reset, sane, time

    found: dict[str, Saboteur] = {}
    for module in (reg, sane, quiesce, reset, poll, irq, lock, time, mem, io, err, e2e, ata):
        for one in module.SABOTEURS:
            if one.id in found:
                raise TypeError(f"saboteur {one.id} is defined twice")
            found[one.id] = one
    return tuple(found.values())
