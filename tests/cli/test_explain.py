"""`ddsdk explain`: rule, source, fix; lists; names that are nearly right."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from ddsdk.conformance import saboteurs
from ddsdk.conformance.check import FAMILIES, Level, Need, check
from ddsdk.conformance.checks import all_checks
from ddsdk.errors import MdelayFault
from ddsdk.hookspecs import Role

from .conftest import Ddsdk


@pytest.fixture(autouse=True)
def _two_saboteurs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that this check catches, one that another does."""
    monkeypatch.setattr(saboteurs, "all_saboteurs", lambda: (
        SimpleNamespace(id="poll-never", catches="POLL-1", summary="dump_poll() does nothing"),
        SimpleNamespace(id="mdelay", catches=("TIME-1",), summary="mdelay() in quiesce()")))


def never_polls(bench: Any) -> None:
    """A write and a read complete through dump_poll() alone; the line is never serviced.

    More of it.
    """


def test_one_check(ddsdk: Ddsdk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything a porter needs to know of it, in 80 columns."""
    check("POLL-1", hook="dump_poll", source="white paper 4.4 (3): poll calls the interrupt service function",
          needs=(Need.QUEUEING, Role.COMPLETION_LOST), level=Level.IF_OFFERED, cases=lambda plan: ["one"],
          faults=(MdelayFault,), fix="""
          def my_poll(sdev):
              if readl(chip, INT_STATUS) & REPLY:
                  my_interrupt(0, ioc)
          """)(never_polls)
    monkeypatch.setattr("ddsdk.cli.explain.all_checks", lambda: (never_polls.__dict__["ddsdk_check"],))
    ended = ddsdk("explain", "POLL-1")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == """\
POLL-1  never polls

rule        A write and a read complete through dump_poll() alone; the line is
            never serviced.
            More of it.
hook        dump_poll
level       if-offered: a failure fails the driver, what it does not offer is
            not judged
source      white paper 4.4 (3): poll calls the interrupt service function
needs       queueing: can_queue above 1
            completion-lost: a fault of the model plays this part
cases       one item each; `ddsdk conformance TARGET --list` names them
faults      MdelayFault: mdelay() in crashdump_mode: WARN_ON(in_irq()) and a
            starved NMI watchdog (white paper 4.3 item 4).
since       0.1

an example of a fix
    def my_poll(sdev):
        if readl(chip, INT_STATUS) & REPLY:
            my_interrupt(0, ioc)

broken on purpose, and caught
    poll-never: dump_poll() does nothing
"""


def test_as_json(ddsdk: Ddsdk) -> None:
    """The same for tools; without an ID all of them."""
    told = json.loads(ddsdk("explain", "time-1", "--json").out)
    one = next(one for one in all_checks() if one.id == "TIME-1")
    assert told == {
        "id": "TIME-1", "family": "TIME", "title": one.title, "rule": one.rule, "hook": one.judges,
        "level": "required", "source": one.source, "since": "0.1", "needs": [need.value for need in one.needs],
        "cases": one.cases is not None, "faults": ["MdelayFault"], "fix": one.fix,
        "saboteurs": [{"id": "mdelay", "summary": "mdelay() in quiesce()"}]}
    everything = json.loads(ddsdk("explain", "--json").out)["checks"]
    assert [told["id"] for told in everything] == [one.id for one in all_checks()]


def test_the_list(ddsdk: Ddsdk) -> None:
    """By family, one line a check."""
    lines = ddsdk("explain").out.splitlines()
    families = {one.family for one in all_checks()}
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [f for f in FAMILIES if f in families]
    checks = [line.split(maxsplit=1) for line in lines if line.startswith(" ")]
    assert checks == [[one.id, one.title] for one in all_checks()]


def test_one_family(ddsdk: Ddsdk) -> None:
    """A family's name lists its checks."""
    lines = ddsdk("explain", "poll").out.splitlines()
    assert lines[0] == f"POLL      {FAMILIES['POLL']}"
    assert {line.split()[0].partition("-")[0] for line in lines[1:]} == {"POLL"}


def test_an_item_is_its_check(ddsdk: Ddsdk) -> None:
    """QUIESCE-1[idle], as the report names it, and in any case."""
    ended = ddsdk("explain", "quiesce-1[idle]")
    assert ended.out.startswith("QUIESCE-1  ")
    assert "cases       one item each; `ddsdk conformance TARGET --list` names them\n" in ended.out


@pytest.mark.parametrize(("typed", "near"), [("POL-1", "POLL-1"), ("POLL-99", "POLL-9"), ("QUIESE-1", "QUIESCE-1")])
def test_nearly_right(ddsdk: Ddsdk, typed: str, near: str) -> None:
    """Exit 2, one line, the near ones."""
    ended = ddsdk("explain", typed)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"ddsdk: error: unknown check {typed!r}: near are ")
    assert near in ended.err
    assert ended.err.endswith("; `ddsdk explain` lists them all\n")
    assert ended.err.count("\n") == 1


def test_nothing_near(ddsdk: Ddsdk) -> None:
    """Then the families."""
    ended = ddsdk("explain", "xyzzy")
    assert (ended.code, ended.err) == (
        2, "ddsdk: error: unknown check 'xyzzy': there are the families REG, SANE, QUIESCE, RESET, POLL, IRQ, LOCK,"
           " TIME, MEM, IO, ERR, E2E; `ddsdk explain` lists them all\n")


def test_every_check_is_explained_in_80_columns(ddsdk: Ddsdk) -> None:
    """Prose is wrapped; only a fix, which is code, may be wider."""
    for one in all_checks():
        told = ddsdk("explain", one.id)
        assert told.code == 0
        prose = told.out.partition("an example of a fix")[0].splitlines()
        assert max(map(len, prose)) <= 80, one.id


def test_needs_are_spelt_as_profiles_do() -> None:
    """A need is found by its value, and has words."""
    assert Need("reset-handler") is Need.RESET
    assert Need.RESET.words == "eh_host_reset_handler, or eh_bus_reset_handler"


def test_before_there_are_saboteurs(ddsdk: Ddsdk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kit without them explains all the same."""
    monkeypatch.delattr(saboteurs, "all_saboteurs")
    ended = ddsdk("explain", "POLL-1")
    assert (ended.code, "broken on purpose" in ended.out) == (0, False)
