"""The checks, a module or a few a family, in the order a port is written."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from ..check import Check, checks_of

#: One a line: families in their order, each with its modules.
MODULES: Final = (
    "reg", "reg_template", "reg_code",
    "sane", "sane_quiet",
    "quiesce", "quiesce_stale",
    "reset", "reset_hard",
    "poll", "poll_faulty",
    "irq",
    "lock", "lock_left",
    "time", "time_bounds",
    "mem",
    "io", "io_memory", "io_commands", "io_ata",
    "err", "err_commands", "err_handlers", "err_ata",
    "e2e",
)


def all_checks() -> tuple[Check, ...]:
    """Every check there is, by family and number."""
    return checks_of([import_module(f"{__name__}.{name}") for name in MODULES])
