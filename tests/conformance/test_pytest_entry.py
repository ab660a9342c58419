"""The kit under pytest: parameters, what `run()` does, and the shipped test file."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import attrs
import pytest

from ddsdk.conformance import conformance_checks
from ddsdk.conformance.check import Check, Level, NotApplicable, check
from ddsdk.conformance.load import plans_for
from ddsdk.conformance.pytest_entry import ConformanceCheck
from ddsdk.conformance.runner import Item
from ddsdk.errors import MdelayFault, UsageError


@pytest.fixture(autouse=True)
def _only_the_bundled_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDSDK_LOAD_PLUGINS", "mptfusion")


def made(function: Any, id: str = "POLL-99", **options: Any) -> Check:
    """A check on the spot."""
    check(id, hook="all", source="x", fix="x", **options)(function)
    found = function.__dict__["ddsdk_check"]
    assert isinstance(found, Check)
    return found


def runnable(function: Any, expected: dict[str, str] | None = None, **options: Any) -> ConformanceCheck:
    """It, on the bundled driver."""
    (plan,) = plans_for("mptfusion", chip="53c1030")
    plan = attrs.evolve(plan, profile=attrs.evolve(plan.profile, expected_failures=expected or {}))
    return ConformanceCheck(plan, Item(made(function, **options)), {"MdelayFault": "TIME-1"})


# -- parameters -----------------------------------------------------------------------------------------------


def test_a_parameter_for_each_item() -> None:
    """Ids name chip, check and case; every chip the backend can play."""
    found = conformance_checks("mptfusion", select="REG-1 or QUIESCE-1[idle]")
    assert [param.id for param in found] == [
        "53c1030-REG-1", "53c1030-QUIESCE-1[idle]", "sas1068-REG-1", "sas1068-QUIESCE-1[idle]"]
    found = conformance_checks("mptfusion", chip="sas1068", select="POLL-1", seed=7)
    assert [(param.id, param.values[0].plan.seed) for param in found] == [("sas1068-POLL-1", 7)]
    assert repr(found[0].values[0]) == "<mptfusion sas1068 POLL-1>"
    assert len(conformance_checks(None, select="REG-1")) == 2
    found[0].values[0].run()


def test_nothing_matches() -> None:
    """A selection of nothing is an error, not a test run of nothing."""
    with pytest.raises(UsageError) as error:
        conformance_checks("mptfusion", select="nowhere")
    assert str(error.value) == "select='nowhere' matches nothing; `ddsdk explain` lists every check"


def test_importing_the_package_is_cheap() -> None:
    """Neither pytest nor the bench comes with it."""
    source = ("import sys, ddsdk.conformance\n"
              "print([m for m in sys.modules if m.startswith(('pytest', 'ddsdk.sim', 'ddsdk.conformance.'))])")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# -- run() ------------------------------------------------------------------------------------------------------


def test_what_fails_says_what_led_to_it() -> None:
    """The sentence, the trace, where to read on."""
    def rule(bench: Any) -> None:
        """Never."""
        bench.crash()
        bench.expect(False, "seen this; that was wanted")

    with pytest.raises(AssertionError) as error:
        runnable(rule).run()
    lines = str(error.value).splitlines()
    assert lines[:2] == ["POLL-99: seen this; that was wanted", "the last things that happened:"]
    assert len(lines) > 3
    assert "crash" in lines[-2]
    assert lines[-1] == "`ddsdk explain POLL-99` tells the rule and an example of a fix"


def test_the_rule_of_another_check_is_named() -> None:
    """A fault that some check stands for."""
    def rule(bench: Any) -> None:
        """Never."""
        raise MdelayFault("mdelay(1)")

    with pytest.raises(AssertionError) as error:
        runnable(rule).run()
    lines = str(error.value).splitlines()
    assert lines[:2] == ["POLL-99: MdelayFault: mdelay(1)", "this is the rule of TIME-1, see there first"]
    assert lines[-1].startswith("`ddsdk explain TIME-1`")


def test_skip_xfail_and_advice(capsys: pytest.CaptureFixture[str]) -> None:
    """Not offered skips, an expected failure xfails, an unexpected pass fails, advice is printed."""
    def none(bench: Any) -> None:
        """None."""
        raise NotApplicable("the driver has none")

    def bad(bench: Any) -> None:
        """Bad."""
        bench.expect(False, "it is bad")

    def good(bench: Any) -> None:
        """Good."""

    with pytest.raises(pytest.skip.Exception, match=r"^the driver has none$"):
        runnable(none).run()
    with pytest.raises(pytest.xfail.Exception, match=r"^errata 7 \(it is bad\)$"):
        runnable(bad, {"POLL-99": "errata 7"}).run()
    with pytest.raises(AssertionError, match=r"^POLL-99: passes, though expected to fail \(errata 7\)"):
        runnable(good, {"POLL-99": "errata 7"}).run()
    runnable(bad, level=Level.ADVISORY).run()
    assert capsys.readouterr().out.startswith("POLL-99: it is bad\n")
    runnable(good).run()


# -- the shipped file -------------------------------------------------------------------------------------------


def shipped(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`pytest --pyargs ddsdk.conformance.test_driver ARGS`, outside the source tree's configuration."""
    return subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs", "--rootdir=/", "-c",
                           os.devnull, "-W", "error", "--pyargs", "ddsdk.conformance.test_driver", *args],
                          capture_output=True, text=True, timeout=120, cwd="/",
                          env={**os.environ, "DDSDK_LOAD_PLUGINS": "mptfusion", **environment})


def test_the_shipped_file_judges_what_is_installed() -> None:
    """Without a target every installed driver; pytest's own -k chooses."""
    done = shipped("-k", "REG-1] or POLL-1]")
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_the_shipped_file_obeys_the_environment() -> None:
    """Target, chip, backend and seed; a target that is none is one line in the error."""
    done = shipped("--collect-only", "-k", "REG-1] or POLL-1]", DDSDK_CONFORMANCE_TARGET="mptfusion",
                   DDSDK_CONFORMANCE_BACKEND="qemu", DDSDK_CONFORMANCE_SEED="3")
    assert done.returncode == 0, done.stdout
    assert "test_conformance[sas1068-REG-1]" in done.stdout
    assert "53c1030" not in done.stdout
    done = shipped(DDSDK_CONFORMANCE_TARGET="nosuch")
    assert done.returncode == 2
    assert "ddsdk.errors.UsageError: unknown driver 'nosuch': there are mptfusion" in done.stdout
