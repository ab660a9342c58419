"""The README's table of drivers, from what is in plugins/: `make table` writes it, tests/test_docs.py compares.

Lines are counted without blank ones.  "tables" are the modules of a plugin that only declare: they import nothing but
ddsdk.regs, ddsdk.layout, ddsdk.abi, the standard library and each other.  "model" is model*.py, "driver" the rest.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from ddsdk.registry import Registry, discover

ROOT: Final = Path(__file__).parents[1]
BEGIN: Final = "<!-- table of drivers: written by `make table` -->\n"
END: Final = "<!-- end of the table of drivers -->\n"
_DECLARES: Final = ("ddsdk.regs", "ddsdk.layout", "ddsdk.abi")
_HEAD: Final = """\
| driver | bus | chips: simulated | on QEMU: emulated | tables | driver | model | tests |
|---|---|---|---|---:|---:|---:|---:|
"""


def lines(path: Path) -> int:
    """Lines that are not blank."""
    return sum(bool(line.strip()) for line in path.read_text().splitlines())


def _imports(path: Path) -> set[str]:
    """Modules a module imports, its own package's as .NAME."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                found |= {f".{node.module}"} if node.module else {f".{alias.name}" for alias in node.names}
            else:
                found.add(node.module or "")
    return found


def tables(package: Path) -> set[str]:
    """Names of the modules that only declare."""
    imports = {path.stem: _imports(path) for path in package.glob("*.py")
               if path.stem != "__init__" and not path.stem.startswith("model")}
    left = set(imports)
    while True:
        kept = {name for name in left if all(
            one in _DECLARES or one.startswith(tuple(f"{base}." for base in _DECLARES))
            or one.partition(".")[0] in sys.stdlib_module_names or (one.startswith(".") and one[1:] in left)
            for one in imports[name])}
        if kept == left:
            return kept
        left = kept


def counts(plugin: Path) -> Counter[str]:
    """Lines of each kind."""
    (package,) = plugin.glob("ddsdk_*")
    declaring, found = tables(package), Counter[str]()
    for path in package.glob("*.py"):
        kind = "model" if path.stem.startswith("model") else "tables" if path.stem in declaring else "driver"
        found[kind] += lines(path)
    found["tests"] = sum(map(lines, (plugin / "tests").glob("*.py")))
    return found


def table(registry: Registry) -> str:
    """A row a driver."""
    rows = []
    for plugin in sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml")):
        driver, count = registry.driver(plugin.name), counts(plugin)
        models = registry.models_of(driver.name)
        simulated = ", ".join(model.chip.name for model in models)
        emulated = ", ".join(model.chip.name for model in models if model.qemu) or "-"
        numbers = " | ".join(f"{count[kind]:,}" for kind in ("tables", "driver", "model", "tests"))
        rows.append(f"| [{driver.name}](plugins/{driver.name}/README.md) | {driver.bus} | {simulated} | {emulated} |"
                    f" {numbers} |\n")
    return _HEAD + "".join(rows)


def main() -> None:
    """Write it into README.md."""
    path = ROOT / "README.md"
    before, _, rest = path.read_text().partition(BEGIN)
    path.write_text(before + BEGIN + table(discover()) + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
