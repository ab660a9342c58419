"""What somebody has who never saw this repository: wheels, a clean environment, a directory of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]
LIMIT_S = 300
#: Answers to the template's questions -> a plugin; the first one takes every default.
PLUGINS: Mapping[str, tuple[str, ...]] = {
    "toyhba": (),
    "other": ("name=other", "chip=other9", "device_id=0x0999", "bus=ata"),
    "bare": ("name=bare", "starting_point=skeleton"),
}

pytestmark = pytest.mark.real


def ended(command: list[object], cwd: Path, environment: Mapping[str, str], status: int = 0) -> str:
    """stdout of a command that ends with *status*."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=dict(environment), capture_output=True, text=True, timeout=LIMIT_S,
                          check=False)
    assert done.returncode == status, f"{' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@frozen
class Elsewhere:
    """A virtual environment with wheels in it, and a directory to work in; neither is in the source tree."""

    environment: Path
    work: Path

    def run(self, program: str, *words: object, status: int = 0, **variables: str) -> str:
        """stdout of a program of the environment, which sees nothing of ours."""
        clean = {"PATH": f"{self.environment}/bin:/usr/bin:/bin", "HOME": str(self.work), "LANG": "C.UTF-8"}
        return ended([self.environment / "bin" / program, *words], self.work, {**clean, **variables}, status)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    """ddsdk and the plugins, made by cookiecutter, built as wheels and installed by pip."""
    place = tmp_path_factory.mktemp("third-party")
    (place / "cookiecutter.yaml").write_text(f"replay_dir: {place}/replay\ncookiecutters_dir: {place}/templates\n")
    here = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    here |= {"COOKIECUTTER_CONFIG": f"{place}/cookiecutter.yaml", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for name, answers in PLUGINS.items():
        ended([sys.executable, "-m", "cookiecutter", ROOT / "templates" / "driver", "--no-input", "-o", place / name,
               *answers], place, here)
    for project in (ROOT, *(place / name / f"ddsdk-{name}" for name in PLUGINS)):
        ended([sys.executable, "-m", "build", "--wheel", "--outdir", place / "wheels", project], place, here)
    (ddsdk,) = place.glob("wheels/ddsdk-*.whl")
    venv.create(place / "venv", with_pip=True)
    ended([place / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", f"{ddsdk}[conformance]",
           *sorted(place.glob("wheels/ddsdk_*.whl"))], place, here)
    work = place / "work"
    work.mkdir()
    return Elsewhere(place / "venv", work)


def test_nothing_of_the_source_tree_is_in_use(elsewhere: Elsewhere) -> None:
    """ddsdk, a plugin and the template come from the environment."""
    said = elsewhere.run("python", "-c", "import ddsdk, ddsdk_toyhba, ddsdk.baking as b\n"
                                         "print(ddsdk.__file__, ddsdk_toyhba.__file__, b.template_directory())")
    assert [place.startswith(f"{elsewhere.environment}/lib/") for place in said.split()] == [True] * 3


def test_drivers_lists_the_plugins_side_by_side(elsewhere: Elsewhere) -> None:
    """Each with its chip and its model, none broken."""
    found = json.loads(elsewhere.run("ddsdk", "drivers", "--json"))
    assert sorted(driver["name"] for driver in found["drivers"]) == ["bare", "other", "toyhba"]
    lines = elsewhere.run("ddsdk", "drivers").splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["bare", "(scsi)"], ["toy320", "1234:5c51"], ["other", "(ata)"], ["other9", "1234:0999"],
        ["toyhba", "(scsi)"], ["toy320", "1234:5c51"]]


@pytest.mark.parametrize("name", ["toyhba", "other"])
def test_the_whole_kit_is_green(name: str, elsewhere: Elsewhere) -> None:
    """Exit code 0, every check among the items; the JSON is what the installed schema says."""
    said = elsewhere.run("ddsdk", "conformance", name, "--json", "report.json")
    assert "FAIL" not in said
    report = json.loads((elsewhere.work / "report.json").read_text())
    (schema,) = elsewhere.environment.glob("lib/python*/site-packages/ddsdk/conformance/report-1.schema.json")
    jsonschema.validate(report, json.loads(schema.read_text()))
    assert len({line.split()[0] for line in elsewhere.run("ddsdk", "explain").splitlines() if line[0] == " "}) >= 70


def test_the_skeleton_says_what_to_write(elsewhere: Elsewhere) -> None:
    """Exit code 1; the first failure, and the last line, name the first step, its file and its line."""
    said = " ".join(elsewhere.run("ddsdk", "conformance", "bare", status=1).split())
    step = "REG-1 map_registers: pci_enable_device(), dma_set_mask() to 64 bits or else 32, pci_set_master()"
    assert said.index("FAIL") == said.index(f"FAIL {step}")
    assert f"start here: {step.replace(' ', ': ', 1)}" in said
    assert "in map_registers); ddsdk explain REG-1" in said


def test_the_kit_as_a_pytest_file(elsewhere: Elsewhere) -> None:
    """`pytest --pyargs ddsdk.conformance.test_driver` judges the driver that the environment variable names."""
    said = elsewhere.run("pytest", "-q", "--pyargs", "ddsdk.conformance.test_driver", "-W", "error", "-p",
                         "no:cacheprovider", DDSDK_CONFORMANCE_TARGET="toyhba")
    assert " passed" in said
    assert " failed" not in said


def test_the_plugins_own_tests(elsewhere: Elsewhere) -> None:
    """Vectors of the generated project, against the installed package."""
    tests = elsewhere.environment.parent / "other" / "ddsdk-other" / "tests"
    said = elsewhere.run("pytest", "-q", "-p", "no:cacheprovider", tests / "test_regs.py", tests / "test_frames.py")
    assert "8 passed" in said


def test_format_dump_savecore(elsewhere: Elsewhere) -> None:
    """A dump through a driver of each bus; the other's disk stays as it was formatted."""
    for name in ("toyhba", "other"):
        image = elsewhere.work / f"{name}.img"
        image.touch()
        os.truncate(image, 16 << 20)
        elsewhere.run("ddsdk", "format", image)
    formatted = (elsewhere.work / "other.img").read_bytes()
    elsewhere.run("ddsdk", "dump", "synthetic:2M", "--to", "toyhba:toyhba.img", "--to", "other:other.img")
    assert (elsewhere.work / "other.img").read_bytes() == formatted
    elsewhere.run("ddsdk", "dump", "synthetic:2M", "--to", "other:other.img")
    for name in ("toyhba", "other"):
        elsewhere.run("ddsdk", "savecore", f"{name}.img", name)
        (vmcore,) = elsewhere.work.glob(f"{name}/*/vmcore")
        assert json.loads(elsewhere.run("ddsdk", "info", vmcore, "--json"))["pages"] == 416


def test_drill(elsewhere: Elsewhere) -> None:
    """The whole story once."""
    said = elsewhere.run("ddsdk", "drill", "--driver", "toyhba", "--memory", "synthetic:8M")
    assert said.endswith(", 0 differ\n")


def test_a_new_plugin_without_the_repository(elsewhere: Elsewhere) -> None:
    """`ddsdk new` renders the template out of the wheel; the result is judged where it lies."""
    elsewhere.run("ddsdk", "new", "--name", "fresh", "-o", "made")
    elsewhere.run("ddsdk", "new", "--name", "drive", "-o", "made", "--bus", "ata", "--start", "skeleton")
    said = elsewhere.run("ddsdk", "conformance", "made/ddsdk-fresh", "-k", "REG or POLL")
    assert said.startswith("fresh toy320 (1234:5c51) on the plugin's model, simulated, seed 1\n")
    assert (elsewhere.work / "made" / "ddsdk-fresh" / "c" / "fresh_dump.c").is_file()
