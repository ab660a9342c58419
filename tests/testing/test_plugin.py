"""The checks of a plugin, on the template's toy: which hold, and that each can fail."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ddsdk.errors import PluginError
from ddsdk.testing import plugin_checks
from tests.templates.baking import bake, loaded

#: | chip | id |, as the README of a plugin has it.
TABLE = "\n| toy9 (default) | 1234:5c51 |\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy whose README lists its chip."""
    made = bake(tmp_path_factory.mktemp("plugin"), name="checked", chip="toy9")
    with (made / "README.md").open("a") as readme:
        readme.write(TABLE)
    return made


def test_every_check_holds_of_the_toy(project: Path) -> None:
    """Each has a name of its own, which is its id under pytest."""
    checks = plugin_checks("checked", project)
    assert len({str(check) for check in checks}) == len(checks) == len(BROKEN)
    with loaded(project):
        for check in checks:
            check.run()


BROKEN = {
    "readme_lists_the_chips": ("README.md", "| toy9 (default) | 1234:5c51 |", "| toy9 | 1234:5c52 |"),
    "readme_lists_the_files": ("README.md", "`recovery.py`", "recovery"),
    "faults_are_sentences": ("ddsdk_checked/model_faults.py", '"command-hung": "a', '"command_hung": "a'),
    "profile_names_faults_of_the_model": ("ddsdk_checked/conformance.py", '"completion-lost"', '"completion-lots"'),
    "code_check_covers_the_driver": ("ddsdk_checked/__init__.py", '"recovery", ', ""),
    "models_are_of_chips_it_drives": ("ddsdk_checked/model.py", "chip=CHIP, build", "chip=OTHER, build"),
    "is_found_in_its_directory": ("ddsdk_checked/model.py", 'driver="checked"', 'driver="another"'),
    "hooks_fit_their_specs": ("ddsdk_checked/dump.py", "    @hookimpl\n    def shutdown", "    def shutdown"),
}


@pytest.mark.parametrize("check", BROKEN)
def test_each_check_bites(check: str, project: Path, tmp_path: Path) -> None:
    """A plugin that breaks the rule does not pass it."""
    made = Path(shutil.copytree(project, tmp_path / project.name))
    where, good, bad = BROKEN[check]
    path = made / where
    assert good in path.read_text(), f"{path} has changed: {good!r} is not in it"
    text = path.read_text().replace(good, bad)
    if "OTHER" in bad:
        text += "\nimport attrs\nOTHER = attrs.evolve(CHIP, device=1)\n"
    path.write_text(text)
    (rule,) = (one for one in plugin_checks("checked", made) if str(one) == check)
    with pytest.raises((AssertionError, KeyError, PluginError)), loaded(made):
        rule.run()
