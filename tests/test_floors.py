"""The house rules that a reader can check with the eyes, checked by walking the source.

Each rule is a function that takes parsed sources and yields one line a violation: where, what, the rule, what
to do.  `test_the_house_keeps_its_rules` runs them over the tree; the tests below it show that each one bites.

Imports.  A module imports from lower floors and from its own package only (FLOORS).  The lab, which boots and
    breaks real kernels, knows QEMU's process and sockets and nothing above: it lies on a floor of its own over
    qemu, under everything that dumps, because what it makes is what dumps are judged by.
    campaign and testing lie beside each other over the kit, whose line trap they set: both are what a plugin's
    tests start from, and nothing that ships imports them but those tests.  Imports for type
    checkers count, except upward ones inside hookspecs: specs name the types of everything above them.
Driver-agnostic.  diskdump/ imports no simulator, no QEMU backend, no mid-layer and no helper library; ddsdk
    names no driver, not even in prose; a driver that is called like its bus (BUS_WORDS) is the exception.
World.  sim, helperlib, block, scsi, ata and plugins use no wall clock, no threads, no randomness but Random(seed).
Hooks.  `.hook` of a plugin manager appears in one file.
State.  A mutable container bound at module level is declared Final, or with a read-only type (Mapping,
    Sequence, Set, ...), and its module never changes it in place; what is state by nature (count, deque,
    defaultdict, locks, weak maps, context variables) has no place there, nor has the `global` statement.
    `__all__` is exempt.
Plugins.  regs.py, frames.py and what they import ("tables") know ddsdk.regs, layout, abi, the standard
    library and attrs.  What driver.py reaches knows neither the simulator nor QEMU's backend; what model.py
    reaches knows no helper library; the two meet in tables only.
Size.  No file of ddsdk or a plugin has more than 400 lines.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).resolve().parent.parent

#: Lowest first: (floor, what lives there).  Packages of one floor do not know each other.
FLOORS = (
    ("0", ("errors",)),
    ("0b", ("abi", "crc", "sizes")),
    ("1", ("layout", "regs", "bus", "fingerprint")),
    ("1b", ("integrity",)),
    ("2", ("hookspecs", "sim", "vmcore")),
    ("2b", ("qemu",)),
    ("2c", ("lab",)),
    ("3", ("helperlib",)),
    ("3b", ("block",)),
    ("4", ("scsi", "ata")),
    ("5", ("diskdump", "netdump", "registry", "baking")),
    ("6", ("target",)),
    ("6b", ("rig",)),
    ("6c", ("drill",)),
    ("6d", ("guestdrill",)),
    ("7", ("conformance",)),
    ("8", ("campaign", "testing")),
    ("9", ("cli",)),
    ("9b", ("__main__",)),
)
LEVELS = {unit: (level, label) for level, (label, units) in enumerate(FLOORS) for unit in units}
#: What a package may not know although it lies below.
NEVER = {"diskdump": ("sim", "qemu", "scsi", "ata", "block", "helperlib")}
#: What plugins have no business with: everything above the mid-layers.
PLUGIN_CEILING = LEVELS["scsi"][0]
#: Packages without a clock on the wall.
WORLDLESS = ("sim", "helperlib", "block", "scsi", "ata")
#: Drivers of the field and of plugins/, as a word or the start of one.
DRIVERS = ("mptfusion", "mptbase", "mptscsih", "mptspi", "mptsas", "sym53c8xx", "aic7xxx", "aic79xx", "ipr",
           "ide-dma", "megaraid", "megasas")
#: Names of plugins/ that ddsdk needs for something else: the bus.
BUS_WORDS = ("ide",)

WALL = frozenset({"time", "datetime", "threading", "_thread", "asyncio", "multiprocessing", "concurrent",
                  "sched", "secrets", "uuid", "signal", "queue"})
OS_WORLD = frozenset({"urandom", "getrandom", "times", "getpid", "fork"})
DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
BUILDERS = frozenset({"list", "dict", "set"})
STATEFUL = frozenset({"bytearray", "count", "cycle", "iter", "deque", "defaultdict", "Counter", "OrderedDict",
                      "Lock", "RLock", "ContextVar", "WeakKeyDictionary", "WeakValueDictionary", "WeakSet",
                      "local", "Random"})
READ_ONLY = frozenset({"Final", "Mapping", "Sequence", "Collection", "Iterable", "Set", "AbstractSet",
                       "frozenset", "tuple", "MappingProxyType"})
CHANGING = frozenset({"append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "update",
                      "popitem", "setdefault", "add", "discard", "__setitem__", "__delitem__"})
TABLE_IMPORTS = ("ddsdk.regs", "ddsdk.layout", "ddsdk.abi")
MAX_LINES = 400


@attrs.frozen
class Source:
    """One parsed file; `name` is its dotted module name, `unit` its part of ddsdk ("" in a plugin).

    `nodes`: all of `tree`.
    """

    path: str
    name: str
    text: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...]

    @classmethod
    def of(cls, path: str, text: str) -> Source:
        """A file of the tree, or one that a test makes up."""
        parts = path.removesuffix(".py").split("/")
        parts = parts[2:] if parts[0] == "plugins" else parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        parsed = ast.parse(text, path)
        return cls(path, name, text, parsed, tuple(ast.walk(parsed)))

    @property
    def unit(self) -> str:
        """ddsdk.sim.disk -> sim."""
        return self.name.split(".")[1] if self.name.startswith("ddsdk.") else ""

    @property
    def plugin(self) -> str:
        """The plugin's package, "" for ddsdk."""
        top = self.name.split(".")[0]
        return "" if top == "ddsdk" else top

    def at(self, node: ast.AST | int, text: str) -> str:
        """One violation."""
        return f"{self.path}:{node if isinstance(node, int) else getattr(node, 'lineno', 1)}: {text}"

    def imports(self) -> Iterator[tuple[ast.stmt, str]]:
        """(statement, dotted name) of everything imported, names from a package one by one."""
        package = self.name.split(".")
        package = package if self.path.endswith("__init__.py") else package[:-1]
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from ((node, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = package[:len(package) - node.level + 1] if node.level else []
                base = base + (node.module.split(".") if node.module else [])
                yield from ((node, ".".join([*base, alias.name])) for alias in node.names)

    def type_checking(self) -> set[int]:
        """Lines of statements below `if TYPE_CHECKING:`."""
        return {inner.lineno for node in self.nodes
                if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
                for part in node.body for inner in ast.walk(part) if isinstance(inner, ast.stmt)}


Rule = Callable[[Sequence[Source]], Iterable[str]]


def imports_go_down(sources: Sequence[Source]) -> Iterator[str]:
    """Every import of ddsdk by ddsdk goes to a lower floor or stays in its package."""
    for source in sources:
        if not source.unit:
            continue
        if source.unit not in LEVELS:
            yield source.at(1, f"{source.unit} is on no floor; add it to FLOORS in tests/test_floors.py")
            continue
        level, label = LEVELS[source.unit]
        only_types = source.type_checking()
        for node, name in source.imports():
            if re.match(r"ddsdk_\w+", name):
                yield source.at(node, f"imports {name}: ddsdk knows no plugin; discovery finds them")
            unit = name.split(".")[1] if name.startswith("ddsdk.") else ""
            if unit not in LEVELS or unit == source.unit:
                continue
            if LEVELS[unit][0] >= level and not (source.unit == "hookspecs" and node.lineno in only_types):
                yield source.at(node, f"imports {name}: {source.unit} is on floor {label}, {unit} on floor "
                                      f"{LEVELS[unit][1]}, and imports go down; move the shared part lower")
            if unit in NEVER.get(source.unit, ()):
                yield source.at(node, f"imports {name}: {source.unit} never knows {unit}; pass it in as a "
                                      "dump device or a memory source")


def drivers_are_not_named(sources: Sequence[Source]) -> Iterator[str]:
    """No file of ddsdk contains a driver's name, in code, comment or docstring."""
    plugins = [path.name for path in (ROOT / "plugins").iterdir() if path.is_dir()]
    words = "|".join(sorted({*DRIVERS, *plugins} - {*BUS_WORDS}))
    names = re.compile(rf"(?<![A-Za-z0-9_])(?:{words})(?![a-z])", re.IGNORECASE)
    for source in sources:
        if source.plugin:
            continue
        for number, line in enumerate(source.text.splitlines(), 1):
            for found in names.findall(line):
                yield source.at(number, f"names the driver {found!r}: ddsdk serves every driver; say what it "
                                        "means without the name")


def world_is_passed_in(sources: Sequence[Source]) -> Iterator[str]:
    """No wall clock, threads or unseeded randomness where time is virtual."""
    for source in sources:
        if source.unit not in WORLDLESS and not source.plugin:
            continue
        for node, name in source.imports():
            if name.split(".")[0] in WALL:
                yield source.at(node, f"imports {name}: time, threads and entropy come from the machine that "
                                      "is passed in")
            if re.match(r"random\.(?!Random$)|numpy\.random", name):
                yield source.at(node, f"imports {name}: only random.Random(seed) gives the same run twice")
        for used in source.nodes:
            text = ast.unparse(used) if isinstance(used, ast.Attribute | ast.Call) else ""
            if re.fullmatch(r"random\.(?!Random$)\w+|(np|numpy)\.random", text):
                yield source.at(used, f"uses {text}: only random.Random(seed) gives the same run twice")
            elif re.fullmatch(r"(random\.)?Random\(\)", text):
                yield source.at(used, "uses Random() without a seed: pass one, so that a run can be repeated")
            elif isinstance(used, ast.Attribute) and text.startswith("os.") and used.attr in OS_WORLD:
                yield source.at(used, f"uses {text}: the host's world is not the machine's")


def hooks_have_one_caller(sources: Sequence[Source]) -> Iterator[str]:
    """A plugin manager's `.hook` is used in one file: everybody else calls a typed facade."""
    used = [(source, node) for source in sources for node in source.nodes
            if isinstance(node, ast.Attribute) and node.attr == "hook"]
    files = {source.path for source, _ in used}
    if len(files) > 1:
        for source, node in used:
            yield source.at(node, f"uses .hook, as {len(files)} files do: one facade calls hooks, the rest "
                                  "call the facade")


def _module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run at import, those in if, try, with and loops included."""
    queue: list[ast.AST] = list(tree.body)
    while queue:
        node = queue.pop(0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.stmt):
            yield node
        queue += [child for child in ast.iter_child_nodes(node)
                  if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case)]


def _called(value: ast.expr | None) -> str:
    """The last word of what a call calls: collections.deque(...) -> deque."""
    return ast.unparse(value.func).split(".")[-1].split("[")[0] if isinstance(value, ast.Call) else ""


def _bound(tree: ast.Module) -> Iterator[tuple[ast.stmt, str, ast.expr, str]]:
    """(statement, name, value, annotation) of what is assigned at module level."""
    for node in _module_level(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node, node.target.id, node.value, ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield node, target.id, node.value, ""


def _declared_read_only(annotation: str) -> bool:
    inner = re.sub(r"^(\w+\.)*Final\[(.*)\]$", r"\2", annotation)
    return re.split(r"[\[|]", inner)[0].split(".")[-1] in READ_ONLY


def no_module_state(sources: Sequence[Source]) -> Iterator[str]:
    """Nothing at module level changes after import (the rule is in this file's docstring)."""
    for source in sources:
        tables: set[str] = set()
        for node, name, value, annotation in _bound(source.tree):
            container = isinstance(value, DISPLAYS) or _called(value) in BUILDERS
            if _called(value) in STATEFUL:
                yield source.at(node, f"{name} = {_called(value)}(...) at module level is state: keep it in "
                                      "an object that is passed around")
            elif container and name != "__all__":
                tables.add(name)
                if not _declared_read_only(annotation):
                    kind = f" ({annotation})" if annotation else ""
                    yield source.at(node, f"{name} is mutable{kind}: declare it Final or with a read-only "
                                          "type such as Mapping or Sequence")
        for at, name in _changes(source.nodes, tables):
            yield source.at(at, f"changes {name} in place: nothing at module level changes after import")
        for inner in source.nodes:
            if isinstance(inner, ast.Global):
                yield source.at(inner, f"global {', '.join(inner.names)}: nothing at module level changes "
                                       "after import")


def _changes(nodes: Iterable[ast.AST], tables: set[str]) -> Iterator[tuple[ast.AST, str]]:
    """Where one of the module-level *tables* is changed in place."""
    for node in nodes:
        target: ast.expr | None = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            target = node.value
        elif isinstance(node, ast.AugAssign):
            target = node.target
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            target = node.func.value if node.func.attr in CHANGING else None
        if isinstance(target, ast.Name) and target.id in tables:
            yield node, target.id


def _reach(sources: Sequence[Source], start: Iterable[str]) -> set[str]:
    """Names of the modules of one plugin that *start* imports, directly or not, itself included."""
    edges = {source.name: {name for _, found in source.imports()
                           for name in (found, found.rsplit(".", 1)[0])} for source in sources}
    reached, queue = set[str](), [name for name in start if name in edges]
    while queue:
        name = queue.pop()
        if name not in reached:
            reached.add(name)
            # the package itself is imported by everything in it; going through it would reach everything
            queue += [other for other in edges[name] if other in edges and "." in other]
    return reached


def plugins_meet_on_the_bus(sources: Sequence[Source]) -> Iterator[str]:
    """Tables, driver and model of each plugin know what they may, and the driver no model."""
    for package in sorted({source.plugin for source in sources} - {""}):
        mine = [source for source in sources if source.plugin == package]
        tables = _reach(mine, (f"{package}.regs", f"{package}.frames"))
        driver = _reach(mine, (f"{package}.driver",))
        model = _reach(mine, (f"{package}.model",))
        for source in mine:
            for node, name in source.imports():
                if message := _plugin_import(source, name, tables, driver, model):
                    yield source.at(node, f"imports {name}: {message}")
            if source.name in driver & model - tables:
                yield source.at(1, "is reached by driver.py and by model.py: they share nothing but regs.py, "
                                   "frames.py and what these import")


def _plugin_import(source: Source, name: str, tables: set[str], driver: set[str], model: set[str]) -> str:
    """Why a file of a plugin may not import *name*; "" when it may."""
    unit = name.split(".")[1] if name.startswith("ddsdk.") else ""
    if source.name in tables and not _table_import(source, name):
        return f"a table knows {', '.join(TABLE_IMPORTS)}, the standard library and attrs"
    if source.name in driver - model and unit in ("sim", "qemu", "vmcore"):
        return "a driver sees its adapter through helperlib, never the simulator"
    if source.name in driver and re.fullmatch(rf"{source.plugin}\.model(\..*)?", name):
        return "a driver never knows its model"
    if source.name in model - tables and unit == "helperlib":
        return "a model is hardware; it calls no driver's helper"
    if source.name in model - tables and re.fullmatch(rf"{source.plugin}\.driver(\..*)?", name):
        return "a model never knows the driver"
    if unit in LEVELS and LEVELS[unit][0] > PLUGIN_CEILING:
        return "plugins know ddsdk up to the mid-layers"
    return ""


def _table_import(source: Source, name: str) -> bool:
    top = name.split(".")[0]
    return (top in sys.stdlib_module_names or top in ("attrs", "attr", source.plugin)
            or any(name == allowed or name.startswith(f"{allowed}.") for allowed in TABLE_IMPORTS))


def files_are_short(sources: Sequence[Source]) -> Iterator[str]:
    """Nobody has to scroll through more than 400 lines."""
    for source in sources:
        lines = len(source.text.splitlines())
        if lines > MAX_LINES:
            yield source.at(lines, f"has {lines} lines, at most {MAX_LINES}: split it where its parts know "
                                   "least of each other")


RULES: Sequence[Rule] = (imports_go_down, drivers_are_not_named, world_is_passed_in, hooks_have_one_caller,
                         no_module_state, plugins_meet_on_the_bus, files_are_short)


def tree() -> list[Source]:
    """Every file that ships."""
    found = [*sorted((ROOT / "ddsdk").rglob("*.py")), *sorted((ROOT / "plugins").glob("*/ddsdk_*/**/*.py"))]
    return [Source.of(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in found]


def test_the_house_keeps_its_rules() -> None:
    """No shipped file breaks one; the rules look at ddsdk and at every plugin, not at an empty list."""
    sources = tree()
    assert {"ddsdk.errors", "ddsdk.regs.block", "ddsdk_mptfusion.regs"} <= {source.name for source in sources}
    found = [line for rule in RULES for line in rule(sources)]
    assert not found, "\n" + "\n".join(found)


#: rule, {path: source}, the violations it must find, word for word up to the remedy
BITES: Sequence[tuple[Rule, dict[str, str], list[str]]] = (
    (imports_go_down, {"ddsdk/abi.py": "from .sim.disk import Disk"},
     ["ddsdk/abi.py:1: imports ddsdk.sim.disk.Disk: abi is on floor 0b, sim on floor 2"]),
    (imports_go_down, {"ddsdk/sim/pci.py": "from .. import vmcore\nfrom . import irq\nfrom ..bus import Bar"},
     ["ddsdk/sim/pci.py:1: imports ddsdk.vmcore: sim is on floor 2, vmcore on floor 2"]),
    (imports_go_down, {"ddsdk/sim/__init__.py": "from .cpu import Cpu\nfrom ..helperlib import kernel"},
     ["ddsdk/sim/__init__.py:2: imports ddsdk.helperlib.kernel: sim is on floor 2, helperlib on floor 3"]),
    (imports_go_down, {"ddsdk/diskdump/engine.py": "def f():\n    import ddsdk.scsi.host"},
     ["ddsdk/diskdump/engine.py:2: imports ddsdk.scsi.host: diskdump never knows scsi"]),
    (imports_go_down, {"ddsdk/hookspecs/scsi.py": "if TYPE_CHECKING:\n    from ..scsi.host import ScsiHost\n"
                                                  "from ..scsi import cdb"},
     ["ddsdk/hookspecs/scsi.py:3: imports ddsdk.scsi.cdb: hookspecs is on floor 2, scsi on floor 4"]),
    (imports_go_down, {"ddsdk/sim/pci.py": "if TYPE_CHECKING:\n    from ..scsi.host import ScsiHost"},
     ["ddsdk/sim/pci.py:2: imports ddsdk.scsi.host.ScsiHost: sim is on floor 2, scsi on floor 4"]),
    (imports_go_down, {"ddsdk/new.py": ""}, ["ddsdk/new.py:1: new is on no floor"]),
    (imports_go_down, {"ddsdk/rig.py": "import ddsdk_x.driver"},
     ["ddsdk/rig.py:1: imports ddsdk_x.driver: ddsdk knows no plugin"]),
    (drivers_are_not_named, {"ddsdk/rig.py": '"""For MPTFusion."""\nx = "aic7xxx"  # ipr\nrecipr = 1',
                             "plugins/x/ddsdk_x/a.py": "mptfusion = 1"},
     ["ddsdk/rig.py:1: names the driver 'MPTFusion'", "ddsdk/rig.py:2: names the driver 'aic7xxx'",
      "ddsdk/rig.py:2: names the driver 'ipr'"]),
    (world_is_passed_in, {"ddsdk/sim/a.py": "import time\nfrom random import choice, Random\nrng = Random()\n"
                                            "import random\nx = random.random()\ny = random.Random(3)\n"
                                            "import os\nz = os.urandom(3)",
                          "ddsdk/cli/main.py": "import time"},
     ["ddsdk/sim/a.py:1: imports time: ", "ddsdk/sim/a.py:2: imports random.choice: ",
      "ddsdk/sim/a.py:3: uses Random() without a seed", "ddsdk/sim/a.py:5: uses random.random: ",
      "ddsdk/sim/a.py:8: uses os.urandom: "]),
    (world_is_passed_in, {"plugins/x/ddsdk_x/driver.py": "def f():\n    from threading import Lock"},
     ["plugins/x/ddsdk_x/driver.py:2: imports threading.Lock: "]),
    (hooks_have_one_caller, {"ddsdk/hookspecs/device.py": "pm.hook.x()", "ddsdk/rig.py": "manager.hook.y()"},
     ["ddsdk/hookspecs/device.py:1: uses .hook, as 2 files do", "ddsdk/rig.py:1: uses .hook, as 2 files do"]),
    (no_module_state, {"ddsdk/a.py": "X = {}\nif X:\n    Y: list[int] = []\nZ: Final = set()\n"
                                     "__all__ = []\ntry:\n    W = [n for n in Z]\nexcept OSError:\n"
                                     "    V: dict[int, int] = dict()"},
     ["ddsdk/a.py:1: X is mutable: declare", "ddsdk/a.py:3: Y is mutable (list[int]): declare",
      "ddsdk/a.py:7: W is mutable: ", "ddsdk/a.py:9: V is mutable (dict[int, int]): "]),
    (no_module_state, {"ddsdk/a.py": "X: Final[Mapping[int, str]] = {}\nY: Sequence[int] = []\n"
                                     "Q: Final[dict[int, int]] = {}\nclass A:\n    z = {}\n"
                                     "T = MappingProxyType({})"},
     ["ddsdk/a.py:3: Q is mutable (Final[dict[int, int]]): "]),
    (no_module_state, {"ddsdk/a.py": "X: Final = {}\ndef f(k):\n    X[k] = 1\n    del X[k]\n"
                                     "    X.update(k=1)\n    global N\n    N = X.get(k)\n"
                                     "IDS = itertools.count()\nX |= {1: 2}"},
     ["ddsdk/a.py:3: changes X in place", "ddsdk/a.py:4: changes X in place", "ddsdk/a.py:5: changes X",
      "ddsdk/a.py:6: global N: ", "ddsdk/a.py:8: IDS = count(...) at module level is state",
      "ddsdk/a.py:9: changes X in place"]),
    (plugins_meet_on_the_bus, {"plugins/x/ddsdk_x/regs.py": "import enum\nfrom ddsdk.regs import ro\n"
                                                            "from . import mpi",
                               "plugins/x/ddsdk_x/mpi.py": "from ddsdk.errors import DmaFault"},
     ["plugins/x/ddsdk_x/mpi.py:1: imports ddsdk.errors.DmaFault: a table knows ddsdk.regs"]),
    (plugins_meet_on_the_bus, {"plugins/x/ddsdk_x/__init__.py": "from . import driver, model",
                               "plugins/x/ddsdk_x/driver.py": "from .ioc import Ioc\nfrom .regs import R",
                               "plugins/x/ddsdk_x/ioc.py": "from ddsdk.sim.machine import Machine",
                               "plugins/x/ddsdk_x/regs.py": "",
                               "plugins/x/ddsdk_x/model.py": "from .regs import R\nimport ddsdk.sim.model"},
     ["plugins/x/ddsdk_x/ioc.py:1: imports ddsdk.sim.machine.Machine: a driver sees its adapter through"]),
    (plugins_meet_on_the_bus, {"plugins/x/ddsdk_x/driver.py": "from .common import f",
                               "plugins/x/ddsdk_x/model.py": "from . import common\nimport ddsdk.helperlib.x",
                               "plugins/x/ddsdk_x/common.py": "from ddsdk.rig import Rig"},
     ["plugins/x/ddsdk_x/common.py:1: imports ddsdk.rig.Rig: plugins know ddsdk up to the mid-layers",
      "plugins/x/ddsdk_x/common.py:1: is reached by driver.py and by model.py",
      "plugins/x/ddsdk_x/model.py:2: imports ddsdk.helperlib.x: a model is hardware"]),
    (plugins_meet_on_the_bus, {"plugins/x/ddsdk_x/driver.py": "from . import model",
                               "plugins/x/ddsdk_x/model.py": ""},
     ["plugins/x/ddsdk_x/driver.py:1: imports ddsdk_x.model: a driver never knows its model",
      "plugins/x/ddsdk_x/model.py:1: is reached by driver.py and by model.py"]),
    (files_are_short, {"ddsdk/a.py": "\n" * 401, "ddsdk/b.py": "\n" * 400}, ["ddsdk/a.py:401: has 401 "]),
)


@pytest.mark.parametrize(("rule", "files", "expected"), BITES,
                         ids=[f"{rule.__name__}-{n}" for n, (rule, _, _) in enumerate(BITES)])
def test_each_rule_bites(rule: Rule, files: dict[str, str], expected: list[str]) -> None:
    """A file that breaks the rule is found, at its line, and nothing beside it."""
    found = list(rule([Source.of(path, text) for path, text in files.items()]))
    assert len(found) == len(expected), found
    for said, wanted in zip(sorted(found), sorted(expected), strict=True):
        assert said.startswith(wanted)


def test_every_rule_is_shown_to_bite() -> None:
    """No rule is trusted without a file that breaks it."""
    assert {rule for rule, _, _ in BITES} == set(RULES)
