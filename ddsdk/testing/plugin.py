"""What a plugin registers, and that its README says the same: checks that any plugin passes.

    @pytest.mark.parametrize("check", plugin_checks("mydriver", Path(__file__).parents[1]), ids=str)
    def test_plugin(check): check.run()
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from ddsdk.hookspecs import DriverInfo, HardwareModelInfo, bind
from ddsdk.registry import Registry, load_path
from ddsdk.rig import midlayer
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory

HOOKS = frozenset({"dump_sanity_check", "quiesce", "dump_poll", "shutdown"})
#: Modules whose code does not run after a crash: discovery, the chip table (it may), the kit's profile; and models.
_ELSEWHERE = frozenset({"__init__", "chips", "conformance"})


@frozen
class Plugin:
    """One driver of the plugin whose sources are in `root`."""

    name: str
    root: Path
    hooks: frozenset[str]

    @property
    def registry(self) -> Registry:
        """The plugin by itself."""
        return load_path(self.root)

    @property
    def info(self) -> DriverInfo:
        """The driver."""
        return self.registry.driver(self.name)

    @property
    def models(self) -> tuple[HardwareModelInfo, ...]:
        """Its models."""
        return self.registry.models_of(self.name)

    @property
    def readme(self) -> str:
        """What is read first."""
        return (self.root / "README.md").read_text(encoding="utf-8")

    @property
    def package(self) -> Path:
        """Where its modules are."""
        module = importlib.import_module(self.info.modules[0].rpartition(".")[0])
        return Path(str(module.__file__)).parent

    def faults(self) -> Mapping[str, str]:
        """Ids of the models' faults, and what they mean."""
        known: dict[str, str] = {}
        for model in self.models:
            with Machine(PhysicalMemory.anonymous(1 << 20)) as machine:
                known |= machine.pci.plug(model.build(machine, {})).model.faults.known
        return known


@frozen
class PluginCheck:
    """One rule; `run()` raises AssertionError where it does not hold."""

    plugin: Plugin
    rule: Callable[[Plugin], None]

    def run(self) -> None:
        """Judge."""
        self.rule(self.plugin)

    def __str__(self) -> str:
        return self.rule.__name__


def plugin_checks(name: str, root: Path, hooks: frozenset[str] = HOOKS) -> list[PluginCheck]:
    """Every rule, for driver *name* of the plugin in *root*; *hooks* it implements, where it has not all four."""
    return [PluginCheck(Plugin(name, root, hooks), rule) for rule in (
        is_found_in_its_directory, models_are_of_chips_it_drives, code_check_covers_the_driver, hooks_fit_their_specs,
        profile_names_faults_of_the_model, faults_are_sentences, readme_lists_the_chips, readme_lists_the_files)]


def is_found_in_its_directory(plugin: Plugin) -> None:
    """The entry point of the distribution registers the driver, and a model at least."""
    registry = plugin.registry
    assert list(registry.drivers) == [plugin.name]
    assert not registry.broken
    assert plugin.models, f"no hardware model serves {plugin.name}"


def models_are_of_chips_it_drives(plugin: Plugin) -> None:
    """A model's chip is in the driver's table, under the same PCI ids; the default chip is modelled."""
    chips = {chip.name: (chip.vendor, chip.device) for chip in plugin.info.chips}
    for model in plugin.models:
        assert chips.get(model.chip.name) == (model.chip.vendor, model.chip.device), model.chip
    assert plugin.info.chips[0].name in {model.chip.name for model in plugin.models}


def code_check_covers_the_driver(plugin: Plugin) -> None:
    """Every module of the driver is under the code CRC; models, discovery and the profile are not."""
    modules = {path.stem for path in plugin.package.glob("*.py") if not path.stem.startswith("model")}
    covered = {name.rpartition(".")[2] for name in plugin.info.modules}
    assert covered - {"chips"} == modules - _ELSEWHERE
    for name in plugin.info.modules:
        importlib.import_module(name)


def hooks_fit_their_specs(plugin: Plugin) -> None:
    """The hooks are implemented, with the arguments the specs give."""
    info = plugin.info
    assert bind(info.hooks, midlayer(info.bus).specs).implemented == plugin.hooks


def profile_names_faults_of_the_model(plugin: Plugin) -> None:
    """What the conformance kit is told to inject exists."""
    profile = plugin.registry.profile_of(plugin.name)
    named = {fault.fault for fault in profile.roles.values()} | set(profile.fatal_faults)
    assert named <= set(plugin.faults()), named - set(plugin.faults())


def faults_are_sentences(plugin: Plugin) -> None:
    """An id is a few words, hyphens between them; a meaning is a sentence without its full stop."""
    for fault, meaning in plugin.faults().items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", fault), fault
        assert meaning.strip(), fault
        assert not meaning.endswith("."), meaning


def readme_lists_the_chips(plugin: Plugin) -> None:
    """Its table `| name (default) | 1234:5678 |` is the driver's: names and PCI ids, the default first."""
    rows = re.findall(r"^\| (\S+?)(?: \(default\))? \| ([0-9a-f]{4}):([0-9a-f]{4}) \|", plugin.readme, re.MULTILINE)
    chips = [(chip.name, f"{chip.vendor:04x}", f"{chip.device:04x}") for chip in plugin.info.chips]
    assert sorted(rows) == sorted(chips)
    assert rows[0] == chips[0]


def readme_lists_the_files(plugin: Plugin) -> None:
    """Every module of the driver has its line."""
    for name in plugin.info.modules:
        assert f"`{name.rpartition('.')[2]}.py`" in plugin.readme, name
