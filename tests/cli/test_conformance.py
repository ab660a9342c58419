"""`ddsdk conformance`: what it prints and writes, its exit codes, and plugins that are none."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from glob import glob
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft202012Validator

from ddsdk.conformance import load, runner
from ddsdk.conformance.checks import all_checks
from ddsdk.conformance.report import schema

from .conftest import Ddsdk
from .plugins import Workshop, workshop

__all__ = ["workshop"]
ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "plugins" / "mptfusion"
FAST = ("--chip", "53c1030", "-k", "REG-1 or REG-2 or POLL-1")


# -- what it says -------------------------------------------------------------------------------------------


def test_a_driver_that_is_right(ddsdk: Ddsdk) -> None:
    """By name: exit 0, the families, a line a check, nothing on stderr."""
    ended = ddsdk("conformance", "mptfusion", *FAST)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == """\
mptfusion 53c1030 (1000:0030) on the plugin's model, simulated, seed 1

REG        registration: the plugin is found, its hooks bind, the template tells
           the truth (2 checks: 2 passed)
  pass     REG-1      probe brings the adapter up
  pass     REG-2      the disk is found by interrupts

POLL       dump_poll: the interrupt handler by hand, and what it would have
           deferred (1 check: 1 passed)
  pass     POLL-1     completes a command by polling alone

mptfusion 53c1030: 3 checks, 3 items: 3 passed (simulated)
"""


def test_several_drivers(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """One report of all of them, in the order they were named; one JSON object."""
    report = tmp_path / "report.json"
    ide = ROOT / "plugins" / "ide"
    ended = ddsdk("conformance", ide, PLUGIN, "-k", "REG-1", "--json", report)
    assert (ended.code, ended.err, ended.out.splitlines()[-4:]) == (0, "", [
        "ide piix3: 1 check, 1 item: 1 passed (simulated)",
        "ide piix4: 1 check, 1 item: 1 passed (simulated)",
        "mptfusion 53c1030: 1 check, 1 item: 1 passed (simulated)",
        "mptfusion sas1068: 1 check, 1 item: 1 passed (simulated)"])
    said = json.loads(report.read_text())
    assert (said["target"], [chip["chip"] for chip in said["chips"]]) == (
        f"{ide} {PLUGIN}", ["piix3", "piix4", "53c1030", "sas1068"])


def test_every_chip_by_path(ddsdk: Ddsdk) -> None:
    """By path, without --chip: one after the other."""
    ended = ddsdk("conformance", PLUGIN, "-k", "REG-1")
    assert (ended.code, ended.out.splitlines()[-2:]) == (0, [
        "mptfusion 53c1030: 1 check, 1 item: 1 passed (simulated)",
        "mptfusion sas1068: 1 check, 1 item: 1 passed (simulated)"])


def test_on_qemus_adapter(ddsdk: Ddsdk) -> None:
    """Only the chip QEMU has; the word is emulated."""
    ended = ddsdk("conformance", "mptfusion", "--backend", "qemu", "-k", "REG-1 or POLL-1")
    assert (ended.code, ended.out.splitlines()[0], ended.out.splitlines()[-1]) == (
        0, "mptfusion sas1068 (1000:0054) on QEMU's adapter, emulated, seed 1",
        "mptfusion sas1068: 2 checks, 2 items: 2 passed (emulated)")


MDELAY = """
class Hooks:
    def __init__(self, real):
        self._real = real

    @hookimpl
    def dump_sanity_check(self, sdev):
        return self._real.dump_sanity_check(sdev)

    @hookimpl
    def quiesce(self, sdev):
        sdev.host.kernel.mdelay(1)
        return self._real.quiesce(sdev)

    @hookimpl
    def dump_poll(self, sdev):
        self._real.dump_poll(sdev)

    @hookimpl
    def shutdown(self, sdev):
        return self._real.shutdown(sdev)

good_drivers = drivers

def drivers():
    (driver,) = good_drivers()
    return [attrs.evolve(driver, hooks=Hooks(driver.hooks))]
"""


def test_a_driver_that_is_wrong(ddsdk: Ddsdk, workshop: Workshop) -> None:
    """Exit 1; the rule's own check fails, the others are blocked by it, and the last line says where to start."""
    path = workshop.plugin("wrong", MDELAY)
    source = (path / "ddsdk_wrong" / "__init__.py").read_text().splitlines()
    line = source.index("        sdev.host.kernel.mdelay(1)") + 1
    ended = ddsdk("conformance", path, "--chip", "53c1030", "-k", "POLL-1 or TIME-1[dump]")
    assert ended.code == 1
    lines = ended.out.splitlines()
    at = next(n for n, text in enumerate(lines) if text.startswith("  FAIL"))
    assert lines[at:at + 5] == [
        "  FAIL     TIME-1     dump: MdelayFault: mdelay: mdelay(1) in crashdump_mode",
        "                      warns in_irq() and starves the NMI watchdog; use",
        "                      diskdump_mdelay()",
        f"                      at __init__.py:{line} in quiesce",
        "                      the last things that happened:"]
    assert "  blocked  1 check blocked by TIME-1: POLL-1" in lines
    assert lines[-4:] == [
        "wrong 53c1030: 2 checks, 2 items: 1 failed, 1 blocked (simulated)",
        "start here: TIME-1[dump]: MdelayFault: mdelay: mdelay(1) in crashdump_mode warns",
        f"  in_irq() and starves the NMI watchdog; use diskdump_mdelay() (__init__.py:{line}",
        "  in quiesce); ddsdk explain TIME-1"]


def test_list_runs_nothing(ddsdk: Ddsdk) -> None:
    """The ids and titles of each chip."""
    ended = ddsdk("conformance", "mptfusion", "--list", "-k", "REG-1 or QUIESCE-1[idle]")
    assert ended.code == 0
    titles = {check.id: check.title for check in all_checks()}
    assert ended.out.splitlines() == [
        line for chip in ("53c1030", "sas1068") for line in (
            f"mptfusion {chip}: 2 items",
            f"  REG-1            {titles['REG-1']}",
            f"  QUIESCE-1[idle]  {titles['QUIESCE-1']}")]


def test_the_readmes_commands(ddsdk: Ddsdk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `ddsdk conformance` and `ddsdk explain` line of the README names what there is."""
    monkeypatch.chdir(ROOT)
    block = re.search(r"## Judge a driver.*?```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    commands = [re.sub(r"\s+#.*", "", line) for line in block[1].splitlines()]
    assert len(commands) == 5
    for line in commands:
        words = [word for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', line)
                 for word in ([quoted] if quoted else sorted(glob(plain)) or [plain])][1:]
        assert ddsdk(*words, *(["--list"] if words[0] == "conformance" else [])).code == 0


# -- files --------------------------------------------------------------------------------------------------


def test_json_and_junit(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """Both files at once; the JSON fits the shipped schema, the XML counts the same."""
    ended = ddsdk("conformance", "mptfusion", *FAST, "--json", tmp_path / "r.json", "--junit", tmp_path / "r.xml",
                  "--seed", "5", "--repeat", "2")
    assert (ended.code, ended.err) == (0, "")
    told = json.loads((tmp_path / "r.json").read_text())
    Draft202012Validator(schema()).validate(told)
    assert (told["target"], told["select"], told["seed"], told["repeat"]) == (
        "mptfusion", "REG-1 or REG-2 or POLL-1", 5, 2)
    assert [(run["seed"], run["summary"]["pass"]) for run in told["chips"][0]["runs"]] == [(5, 3), (6, 3)]
    root = ET.parse(tmp_path / "r.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "0", "0")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "r.json").stat().st_mode) == 0o666 & ~umask
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["r.json", "r.xml"]


def test_json_on_stdout(ddsdk: Ddsdk) -> None:
    """`--json -`: the object alone on stdout, the report on stderr."""
    ended = ddsdk("conformance", "mptfusion", *FAST, "--json", "-")
    assert json.loads(ended.out)["verdict"] == "pass"
    assert ended.err.splitlines()[-1] == "mptfusion 53c1030: 3 checks, 3 items: 3 passed (simulated)"


def test_an_error_is_json_only_where_json_goes(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """An error object on stdout for `--json -`; for a file stdout stays empty and the file is not made."""
    text = "unknown driver 'nosuch': there are mptfusion"
    for args in (("--json", "-"), ("--json=-",)):
        ended = ddsdk("conformance", "nosuch", *args)
        assert (ended.code, json.loads(ended.out)) == (2, {"error": text, "exit_code": 2})
    ended = ddsdk("conformance", "nosuch", "--json", tmp_path / "r.json")
    assert (ended.code, ended.out, ended.err) == (2, "", f"ddsdk: error: {text}\n")
    assert not (tmp_path / "r.json").exists()


def test_the_same_seed_the_same_bytes(tmp_path: Path) -> None:
    """Two processes, two hash seeds: the files differ in `seconds` alone."""
    def told(hash_seed: str) -> str:
        path = tmp_path / f"{hash_seed}.json"
        chosen = "REG-1 or QUIESCE-1[idle] or QUIESCE-1[queue-full] or TIME-1[dump]"
        args = ("conformance", "mptfusion", "--chip", "53c1030", "-k", chosen, "--json", str(path))
        done = subprocess.run([sys.executable, "-m", "ddsdk", *args], capture_output=True, text=True, timeout=120,
                              env={**os.environ, "PYTHONHASHSEED": hash_seed, "DDSDK_LOAD_PLUGINS": "mptfusion"})
        assert done.stderr == ""
        return re.sub(r'"seconds": [0-9.e-]+', '"seconds": 0', path.read_text())

    assert told("1") == told("2")


def test_a_pipe_is_written_to(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """What is no regular file is not replaced: `--json >(jq .)`."""
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        ended = ddsdk("conformance", "mptfusion", *FAST, "--json", tmp_path / "pipe")
        assert reader.stdout is not None
        assert json.loads(reader.stdout.read())["verdict"] == "pass"
    assert ended.code == 0
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(("args", "code", "text"), [
    (("--json", "{tmp}/no/r.json"), 5,
     "--json {tmp}/no/r.json: there is no directory {tmp}/no; name a file to be written"),
    (("--junit", "{tmp}"), 5, "--junit {tmp}: a directory; name a file to be written"),
    (("--json", "x", "--junit", "x"), 2, "--json and --junit are both x; they are two files"),
    (("--json", "-", "--junit", "-"), 2, "--json and --junit are both -; they are two files"),
    (("--list", "--json", "x"), 2, "--list runs nothing: there is nothing for --json to hold"),
])
def test_files_that_cannot_be_written(ddsdk: Ddsdk, tmp_path: Path, args: tuple[str, ...], code: int,
                                      text: str) -> None:
    """Said before anything runs."""
    ended = ddsdk("conformance", "mptfusion", *[arg.format(tmp=tmp_path) for arg in args])
    assert (ended.code, ended.err) == (code, f"ddsdk: error: {text.format(tmp=tmp_path)}\n")


def test_colour_where_a_terminal_shows_it(ddsdk: Ddsdk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours on a terminal, none with NO_COLOR; the text is the same."""
    monkeypatch.setenv("FORCE_COLOR", "1")          # rich's way to say that this is one
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    coloured = ddsdk("conformance", "mptfusion", *FAST).out
    monkeypatch.setenv("NO_COLOR", "1")
    plain = ddsdk("conformance", "mptfusion", *FAST).out
    assert "\x1b[32mpass" in coloured
    assert "\x1b" not in plain
    assert [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines()] == plain.splitlines()


# -- usage --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("args", "text"), [
    (("nosuch",), "unknown driver 'nosuch': there are mptfusion"),
    (("mptfusion", "--chip", "x"), "unknown chip 'x': mptfusion has 53c1030, sas1068"),
    (("mptfusion", "--chip", "53c1030", "--backend", "qemu"),
     "driver mptfusion has chip 53c1030, but not for backend qemu: use --backend model"),
    (("mptfusion", "-k", "nowhere"),
     "-k 'nowhere' matches nothing; there are the families REG, SANE, QUIESCE, RESET, POLL, IRQ, LOCK, TIME, MEM, IO,"
     " ERR, E2E, and `ddsdk explain` lists every check"),
    (("mptfusion", "-k", "REG and"), "-k 'REG and': column 8: the end stands where a word, not, or ( must be"),
    (("mptfusion", "--repeat", "0"), "Invalid value for '--repeat': 0 is not in the range 1<=x<=10000."),
    ((), "Missing argument 'TARGET...'."),
])
def test_usage(ddsdk: Ddsdk, args: tuple[str, ...], text: str) -> None:
    """Exit 2, one line, what there is."""
    ended = ddsdk("conformance", *args)
    assert (ended.code, ended.out, ended.err) == (2, "", f"ddsdk: error: {text}\n")


# -- plugins that are none ----------------------------------------------------------------------------------

HOOK = "from ddsdk.hookspecs import hookimpl\n@hookimpl\ndef ddsdk_register_drivers(): return "
#: name -> (source of the plugin, what is said behind its path)
UNLOADABLE = {
    "empty": ("", "ddsdk_empty implements no hook; mark ddsdk_register_drivers() with @hookimpl (from"
                  " ddsdk.hookspecs)"),
    "nothing": (HOOK + "[]", "it registers neither a driver nor a hardware model"),
    "raises": ("raise RuntimeError('no\\nluck')", "RuntimeError: no luck"),
    "leaves": ("import sys\nsys.exit(0)", "SystemExit: 0"),
    "odd": ("class Odd(BaseException): pass\nraise Odd('x')", "Odd: x at __init__.py:2"),
    "syntax": ("def f(:", "SyntaxError: invalid syntax (__init__.py, line 1)"),
    "lacks": ("import nosuch_module", "ModuleNotFoundError: No module named 'nosuch_module'"),
    "misspelt": (HOOK.replace("drivers", "driver") + "[]",
                 "unknown hook 'ddsdk_register_driver' of ddsdk_misspelt.ddsdk_register_driver; did you mean"
                 " ddsdk_register_drivers()?"),
    "greedy": (HOOK.replace("()", "(kernel)") + "[]",
               "hook ddsdk_register_drivers(kernel) of ddsdk_greedy.ddsdk_register_drivers takes kernel, which the spec"
               " ddsdk_register_drivers() does not give"),
    "wrong": (HOOK + "['mydriver']",
              "ddsdk_register_drivers() returned ['mydriver']; it must be a sequence of DriverInfo"),
}


@pytest.mark.parametrize("name", UNLOADABLE)
def test_a_plugin_that_cannot_be_loaded(ddsdk: Ddsdk, workshop: Workshop, name: str) -> None:
    """Exit 3, one line: the path and what is wrong."""
    source, reason = UNLOADABLE[name]
    path = workshop.raw(name, source)
    ended = ddsdk("conformance", path)
    assert (ended.code, ended.out, ended.err) == (3, "", f"ddsdk: error: {path}: {reason}\n")


def test_a_path_that_is_no_plugin(ddsdk: Ddsdk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such directory, a file, a directory without pyproject.toml, one called like no driver: exit 3."""
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    hint = "; give the directory of a plugin distribution, such as plugins/NAME"
    for target, at, why in (("no/such", "no/such/pyproject.toml", "No such file or directory"),
                            ("./file", "file/pyproject.toml", "Not a directory"),
                            (".", "pyproject.toml", "No such file or directory"),
                            ("file", "file/pyproject.toml", "Not a directory")):
        ended = ddsdk("conformance", target)
        assert (ended.code, ended.err) == (3, f"ddsdk: error: {at}: {why}{hint}\n")


@pytest.mark.parametrize("pyproject", ["project = 3", "[project]\nentry-points = []",
                                       "[project.entry-points]\nddsdk = 1"])
def test_a_pyproject_that_is_odd(ddsdk: Ddsdk, workshop: Workshop, pyproject: str) -> None:
    """Tables that are none: exit 3."""
    path = workshop.raw("odd", "", pyproject)
    ended = ddsdk("conformance", path)
    assert (ended.code, ended.err) == (3, f"ddsdk: error: {path}/pyproject.toml: no [project.entry-points.ddsdk]; a"
                                          " plugin names its module there\n")


def test_an_import_that_never_ends(ddsdk: Ddsdk, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3 after the bound, and the line."""
    monkeypatch.setattr(load, "LOAD_LIMIT_S", 0.5)
    path = workshop.raw("slow", "x = 1\nwhile True:\n    x += 1\n")
    ended = ddsdk("conformance", path)
    assert ended.code == 3
    assert re.fullmatch(rf"ddsdk: error: {path}: not over after 0 s, at __init__.py:[23]; registering a driver and"
                        " building its model must not wait\n", ended.err)


def test_an_installed_plugin_that_is_broken(ddsdk: Ddsdk, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name: exit 3 and its own reason."""
    monkeypatch.syspath_prepend(workshop.site("broken", "raise OSError('no chip')"))
    monkeypatch.setenv("DDSDK_LOAD_PLUGINS", "broken")
    ended = ddsdk("conformance", "broken")
    assert (ended.code, ended.err) == (
        3, "ddsdk: error: driver broken: its plugin cannot be used: OSError: no chip\n")


#: name -> (changes to a good plugin, the line)
UNUSABLE = {
    "modelless": ("def models(): return []", "driver modelless comes without a hardware model; register one with"
                  " ddsdk_register_hardware_models(), the kit has nothing else to run it on"),
    "driverless": ("def drivers(): return []\ndef profiles(): return []",
                   "{path}: it registers no driver, there is nothing to judge; mark ddsdk_register_drivers() with"
                   " @hookimpl (from ddsdk.hookspecs)"),
    "unbuilt": ("good = models\ndef build(machine, targets): raise ValueError('no silicon')\n"
                "def models(): return [attrs.evolve(model, build=build) for model in good()]",
                "driver unbuilt: chip 53c1030 on backend model: ValueError: no silicon at __init__.py:{line}"),
    "unbuildable": ("good = models\ndef models(): return [attrs.evolve(model, build=None) for model in good()]",
                    "driver unbuildable: its model's build is NoneType, not a function"),
    "nowhere": ("good = models\ndef models():\n"
                "    return [attrs.evolve(model, build=lambda machine, targets: None) for model in good()]",
                "driver nowhere: chip 53c1030 on backend model: AttributeError: "),
    "probeless": ("good = drivers\ndef drivers(): return [attrs.evolve(good()[0], probe=None)]",
                  "driver probeless: probe is NoneType, not a function"),
    "hookless": ("good = drivers\ndef drivers(): return [attrs.evolve(good()[0], hooks=object())]",
                 "hookless: object has no hook dump_poll(sdev); a driver that cannot be polled cannot be dumped"
                 " through"),
    "mishooked": ("good = drivers\nclass Hooks:\n    @hookimpl\n    def dump_pol(self, sdev): pass\n"
                  "def drivers(): return [attrs.evolve(good()[0], hooks=Hooks())]",
                  "mishooked: unknown hook 'dump_pol' of ddsdk_mishooked.Hooks.dump_pol; did you mean"
                  " dump_poll(sdev)?"),
    "misfit": ("good = drivers\nclass Hooks:\n    @hookimpl\n    def dump_poll(self, host): pass\n"
               "def drivers(): return [attrs.evolve(good()[0], hooks=Hooks())]",
               "misfit: hook dump_poll(host) of ddsdk_misfit.Hooks.dump_poll takes host, which the spec dump_poll(sdev)"
               " does not give"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_plugin_that_cannot_be_judged(ddsdk: Ddsdk, workshop: Workshop, name: str) -> None:
    """Exit 3, one line, before any check runs."""
    changes, reason = UNUSABLE[name]
    path = workshop.plugin(name, changes)
    source = (path / f"ddsdk_{name}" / "__init__.py").read_text().splitlines()
    line = next((n for n, text in enumerate(source, 1) if "no silicon" in text), 0)
    ended = ddsdk("conformance", path)
    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert ended.err.startswith(f"ddsdk: error: {reason.format(path=path, line=line)}")


# -- drivers that are beyond ----------------------------------------------------------------------------------

SPIN = MDELAY.replace("        self._real.dump_poll(sdev)\n", "        while True:\n            pass\n").replace(
    "        sdev.host.kernel.mdelay(1)\n", "")
LEAVE = MDELAY.replace("sdev.host.kernel.mdelay(1)", "raise SystemExit(0)")
PRINT = MDELAY.replace("sdev.host.kernel.mdelay(1)", "print('a greeting nobody asked for')")
FEW_ARGUMENTS = """
good_drivers = drivers

def probe(pdev):
    return None

def drivers():
    (driver,) = good_drivers()
    return [attrs.evolve(driver, probe=probe)]
"""
IN_RESET = """
from ddsdk.sim.pci import SimPciFunction
from ddsdk_mptfusion.model import LSI53C1030, MptIoc

class InReset(MptIoc):
    def r_DOORBELL(self):
        return 0

def build(machine, targets):
    chip = LSI53C1030
    return SimPciFunction(InReset(chip, targets), vendor=chip.chip.vendor, device=chip.chip.device, bars=chip.bars,
                          class_code=chip.class_code)

good_models = models

def models():
    return [attrs.evolve(good_models()[0], build=build)]
"""


def test_a_model_that_never_answers(ddsdk: Ddsdk, workshop: Workshop) -> None:
    """An adapter in RESET for ever: REG-1 fails in bounded time, the others are blocked by it."""
    ended = ddsdk("conformance", workshop.plugin("deaf", IN_RESET), "-k", "REG-1 or REG-2 or POLL-1")
    assert (ended.code, ended.err) == (1, "")
    assert "  FAIL     REG-1      " in ended.out
    assert "  blocked  2 checks blocked by REG-1: REG-2, POLL-1" in ended.out
    assert "deaf 53c1030: 3 checks, 3 items: 1 failed, 2 blocked (simulated)" in ended.out


def test_a_driver_that_never_comes_back(ddsdk: Ddsdk, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """`while True: pass` in dump_poll: bounded, told with its line; after four of them the rest is not run."""
    monkeypatch.setattr(runner, "HANG_LIMIT_S", 0.6)
    monkeypatch.setattr(runner, "HANG_AGAIN_S", 0.3)
    path = workshop.plugin("spins", SPIN)
    began = time.monotonic()
    ended = ddsdk("conformance", path, "--chip", "53c1030", "-k", "QUIESCE-1")
    assert time.monotonic() - began < 30
    assert (ended.code, ended.err) == (1, "")
    flat = " ".join(ended.out.split())
    assert ("FAIL QUIESCE-1 idle: not over after 1 s of processor time or 2 s in all: a loop that lets no time pass, or"
            " a wait without a bound at __init__.py:") in flat
    assert "in dump_poll the last things that happened:" in flat
    assert "blocked 1 check blocked by QUIESCE-1: QUIESCE-1" in flat


def test_a_driver_that_leaves(ddsdk: Ddsdk, workshop: Workshop) -> None:
    """SystemExit out of a hook is a finding; it ends nothing."""
    ended = ddsdk("conformance", workshop.plugin("leaver", LEAVE), "--chip", "53c1030", "-k", "POLL-1")
    assert ended.code == 1
    assert "FAIL POLL-1 leaver: SystemExit: 0 at __init__.py:" in " ".join(ended.out.split())


def test_a_driver_that_prints(ddsdk: Ddsdk, workshop: Workshop) -> None:
    """What it prints goes to stderr, and spoils no JSON."""
    ended = ddsdk("conformance", workshop.plugin("talker", PRINT), "--chip", "53c1030", "-k", "POLL-1", "--json", "-")
    assert json.loads(ended.out)["chips"][0]["summary"]["pass"] == 1
    assert "a greeting nobody asked for" in ended.err


def test_a_probe_with_the_wrong_arguments(ddsdk: Ddsdk, workshop: Workshop) -> None:
    """It is the plugin's fault, not ours, though no line of the plugin ran."""
    ended = ddsdk("conformance", workshop.plugin("few", FEW_ARGUMENTS), "--chip", "53c1030", "-k", "REG-1 or POLL-1")
    assert ended.code == 1
    assert ("FAIL REG-1 it takes the wrong arguments: probe() takes 1 positional argument but 2 were given"
            in " ".join(ended.out.split()))


def test_a_profile_that_names_nothing(ddsdk: Ddsdk, workshop: Workshop) -> None:
    """A misspelt expectation has no effect; that is said, with what may be meant."""
    changes = """
good_profiles = profiles
def profiles():
    (profile,) = good_profiles()
    return [attrs.evolve(profile, expected_failures={"POLL-1@qemu": "errata", "POL-1": "errata"},
                         not_offered={"quiesce-hok": "none"})]
"""
    ended = ddsdk("conformance", workshop.plugin("typo", changes), "--chip", "53c1030", "-k", "REG-1")
    assert (ended.code, ended.err.splitlines()) == (0, [
        "ddsdk: conformance profile of typo: expected_failures['POL-1'] names nothing there is; did you mean POLL-1?",
        "ddsdk: conformance profile of typo: not_offered['quiesce-hok'] names nothing there is; did you mean"
        " quiesce-hook?"])


def test_expected_failures(ddsdk: Ddsdk, workshop: Workshop) -> None:
    """A failure the profile gives a reason for fails nobody; one that passes does."""
    changes = """
good_profiles = profiles
def profiles():
    (profile,) = good_profiles()
    return [attrs.evolve(profile, expected_failures={"POLL-1": "errata 7"})]
"""
    ended = ddsdk("conformance", workshop.plugin("known", LEAVE + changes), "--chip", "53c1030", "-k", "POLL-1")
    assert ended.code == 0
    assert "expected POLL-1 errata 7 (known: SystemExit: 0" in " ".join(ended.out.split())
    ended = ddsdk("conformance", workshop.plugin("mended", changes), "--chip", "53c1030", "-k", "POLL-1")
    assert ended.code == 1
    assert ("FAIL POLL-1 passes, though expected to fail (errata 7); take it off expected_failures"
            in " ".join(ended.out.split()))


def test_no_qemu(ddsdk: Ddsdk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The backend is not there: exit 5 and what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = ddsdk("conformance", "mptfusion", "--backend", "qemu")
    assert ended.code == 5
    assert ended.err.startswith("ddsdk: error: qemu-system-x86_64 not found")
