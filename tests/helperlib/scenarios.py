"""The register of scenarios: one small use of every kernel call in each mode, one of every way to a fault.

The scenarios are in the `uses_*.py` modules beside this file; `test_readme.py` matches them with the table in
ddsdk/helperlib/README.md, both ways.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.helperlib.board import World

NORMAL, CRASH = "normal", "crash"
BOTH = (NORMAL, CRASH)

Scenario = Callable[[World], None]
#: (call, mode) -> a use that works
WORKS: dict[tuple[str, str], Scenario] = {}
#: (call, mode, fault) -> uses that raise exactly this
FAULTS: dict[tuple[str, str, type[Exception]], list[Scenario]] = {}


def works(*calls: str, modes: tuple[str, ...] = BOTH) -> Callable[[Scenario], Scenario]:
    """This scenario uses each of *calls* and fails if one does not do what the table says."""
    def register(scenario: Scenario) -> Scenario:
        for call in calls:
            for mode in modes:
                assert (call, mode) not in WORKS
                WORKS[call, mode] = scenario
        return scenario
    return register


def faults(call: str, fault: type[Exception],
           modes: tuple[str, ...] = BOTH) -> Callable[[Scenario], Scenario]:
    """This scenario must end in *fault*."""
    def register(scenario: Scenario) -> Scenario:
        for mode in modes:
            FAULTS.setdefault((call, mode, fault), []).append(scenario)
        return scenario
    return register
