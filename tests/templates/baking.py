"""The template `driver`, rendered as cookiecutter renders it; nothing is written outside the directory given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cookiecutter.main import cookiecutter

from ddsdk.conformance.plan import Plan, plans_of
from ddsdk.registry import load_path

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "templates" / "driver"
#: What differs between the starting points.
WRITTEN = ("driver.py", "dump.py", "interrupt.py", "recovery.py")


def bake(out: Path, template: Path = TEMPLATE, **answers: str) -> Path:
    """The distribution that *answers*, and defaults for the rest, make in *out*."""
    out.mkdir(parents=True, exist_ok=True)
    config = out / ".cookiecutter.yaml"
    config.write_text(f"replay_dir: {out}/.replay\ncookiecutters_dir: {out}/.templates\n")
    return Path(cookiecutter(str(template), no_input=True, extra_context=answers, output_dir=str(out),
                             config_file=str(config)))


def package_of(project: Path) -> Path:
    """ddsdk-my-hba -> its directory ddsdk_my_hba."""
    return project / project.name.replace("-", "_")


@contextmanager
def loaded(project: Path) -> Iterator[Plan]:
    """The plugin in directory *project*, ready to be judged; its modules are forgotten afterwards."""
    package = package_of(project).name
    wrote, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        registry = load_path(project)
        (plan,) = plans_of(registry, list(registry.drivers))
        yield plan
    finally:
        sys.dont_write_bytecode = wrote
        for module in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[module]
