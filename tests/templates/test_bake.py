"""What the template makes: which files, and that they keep the house's rules."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest

from tests.templates.baking import ROOT, TEMPLATE, WRITTEN, bake, package_of

BUSES = ("scsi", "ata")
STARTS = ("toy", "skeleton")
#: The shortest, one with parts, and the longest name there may be, each with a chip.
NAMES = (("a", "7"), ("zz_9", "toy320"), ("abcdefgh_ijklmno", "x12345678.90-_ab"))
PACKAGE = ("__init__", "adapter", "chips", "conformance", "driver", "dump", "frames", "interrupt", "model",
           "model_chip", "model_faults", "model_requests", "recovery", "regs")
MAX_LINES = 250
#: Enough of a kernel for `gcc -fsyntax-only`.
STUB = """
#ifndef STUB_H
#define STUB_H
#define NULL ((void *)0)
#define ENXIO 6
#define EBUSY 16
#define ENODEV 19
typedef struct { int locked; } spinlock_t;
struct pt_regs;
struct Scsi_Host { spinlock_t *host_lock; unsigned long hostdata[1]; };
struct scsi_device { struct Scsi_Host *host; };
struct scsi_host_template {
	int (*dump_sanity_check)(struct scsi_device *);
	int (*dump_quiesce)(struct scsi_device *);
	int (*dump_shutdown)(struct scsi_device *);
	void (*dump_poll)(struct scsi_device *);
};
int crashdump_mode(void);
void diskdump_mdelay(unsigned long n);
void mdelay(unsigned long n);
void spin_lock_init(spinlock_t *lock);
int spin_is_locked(spinlock_t *lock);
void spin_lock(spinlock_t *lock);
void spin_unlock(spinlock_t *lock);
void spin_lock_irq(spinlock_t *lock);
void spin_unlock_irq(spinlock_t *lock);
typedef struct { void *hwif_data; } ide_hwif_t;
typedef struct { ide_hwif_t *hwif; } ide_drive_t;
struct NAME_adapter { spinlock_t queue_lock; };
void NAME_step(struct NAME_adapter *adapter);
void NAME_write_srst(struct NAME_adapter *adapter);
int NAME_interrupt(int irq, void *dev_id, struct pt_regs *regs);
int NAME_sanity_check(UNIT);
int NAME_quiesce(UNIT);
void NAME_poll(UNIT);
int NAME_shutdown(UNIT);
#endif
"""
#: The same, as a reset would.
IDE_USES = """
#include "NAME_dump.c"
void use(ide_drive_t *drive, spinlock_t *lock);
void use(ide_drive_t *drive, spinlock_t *lock)
{
	if (drive)
		UPPER_IDE_UNLOCK(lock);
	else
		UPPER_MDELAY(10);
	UPPER_IDE_LOCK(lock);
}
"""
#: One use of each macro, as an error handler would.
USES = """
#include "NAME_dump.c"
void use(struct Scsi_Host *shost);
void use(struct Scsi_Host *shost)
{
	if (shost)
		UPPER_HOST_UNLOCK(shost->host_lock);
	else
		UPPER_MDELAY(10);
	UPPER_HOST_LOCK(shost->host_lock);
}
"""


#: Every name for one bus; for the other the longest, where lines break, and one that sorts last.
PROJECTS = [("scsi", start, *name) for start in STARTS for name in NAMES] + [
    ("ata", start, *name) for start, name in (("toy", NAMES[2]), ("skeleton", NAMES[2]), ("toy", NAMES[1]))]


#: The others: tests/real/test_templates.py, which also asks ruff and mypy.
@pytest.fixture(scope="module", params=PROJECTS[::3], ids=lambda param: "-".join(param[:3]))
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distribution for each bus, starting point and name; tests leave it as it is."""
    bus, start, name, chip = request.param
    return bake(tmp_path_factory.mktemp(start), name=name, chip=chip, bus=bus, starting_point=start)


def name_of(project: Path) -> str:
    """The driver's name."""
    return package_of(project).name.removeprefix("ddsdk_")


def files_of(project: Path) -> set[str]:
    """Every file, relative."""
    return {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}


def house_rules() -> ModuleType:
    """tests/test_floors.py."""
    spec = importlib.util.spec_from_file_location("house_rules", ROOT / "tests" / "test_floors.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["house_rules"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_standard_file_list(project: Path) -> None:
    """These files and no others, whatever the starting point."""
    name, package = name_of(project), package_of(project).name
    assert files_of(project) == {
        ".ci/run", ".github/workflows/ci.yml", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml",
        f"c/{name}_dump.c", "tests/test_conformance.py", "tests/test_frames.py", "tests/test_regs.py",
        f"{package}/py.typed", *(f"{package}/{module}.py" for module in PACKAGE)}
    assert os.access(project / ".ci" / "run", os.X_OK)


def test_nothing_is_left_of_the_template(project: Path) -> None:
    """No Jinja, no name of a variable."""
    for path in files_of(project):
        text = (project / path).read_text("ascii")
        assert not re.search(r"\{\{|\{%|\{#|cookiecutter\.", text), path
        assert text.endswith("\n") or not text, path


def test_files_are_short(project: Path) -> None:
    """No Python file has more than 250 lines."""
    long = {path: lines for path in files_of(project) if path.endswith(".py")
            if (lines := len((project / path).read_text().splitlines())) > MAX_LINES}
    assert not long


def test_the_house_keeps_its_rules(project: Path) -> None:
    """Floors, no module state, no wall clock: what tests/test_floors.py asks of plugins, asked of this one."""
    rules = house_rules()
    package = package_of(project)
    sources = [rules.Source.of(f"plugins/{name_of(project)}/{package.name}/{path.name}", path.read_text())
               for path in sorted(package.glob("*.py"))]
    assert [line for rule in rules.RULES for line in rule(sources)] == []


def test_the_c_side_compiles(project: Path, tmp_path: Path) -> None:
    """gcc takes it without a warning, and each macro as one statement."""
    gcc = shutil.which("gcc")
    if gcc is None:
        assert not os.environ.get("CI"), "gcc must be installed in CI"
        pytest.skip("gcc is not installed")
    name, stub = name_of(project), tmp_path / "stub"
    source = (project / "c" / f"{name}_dump.c").read_text()
    headers = re.findall(r'^#include [<"]([^>"]+)[>"]', source, re.MULTILINE)
    ide = "linux/ide.h" in headers
    assert len(headers) == 8
    for header in headers:
        (stub / header).parent.mkdir(parents=True, exist_ok=True)
        (stub / header).write_text('#include "stub.h"\n')
    unit = "ide_drive_t *drive" if ide else "struct scsi_device *sdev"
    (stub / "stub.h").write_text(STUB.replace("NAME", name).replace("UNIT", unit))
    (stub / "uses.c").write_text((IDE_USES if ide else USES).replace("NAME", name).replace("UPPER", name.upper()))
    ended = subprocess.run(
        [gcc, "-std=gnu99", "-nostdinc", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", str(stub),
         "-I", str(project / "c"), str(stub / "uses.c")], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_the_c_side_is_the_white_papers(tmp_path: Path) -> None:
    """Its functions, template lines and macros have the names section 4 gives them."""
    source = (bake(tmp_path, name="my_hba") / "c" / "my_hba_dump.c").read_text()
    for text in ("\nint my_hba_sanity_check(struct scsi_device *sdev)\n",
                 "\nint my_hba_quiesce(struct scsi_device *sdev)\n",
                 "\nvoid my_hba_poll(struct scsi_device *sdev)\n", "\t.dump_sanity_check\t= my_hba_sanity_check,\n",
                 "\t.dump_poll\t\t= my_hba_poll,\n", "#define MY_HBA_HOST_LOCK(host_lock)",
                 "#define MY_HBA_HOST_UNLOCK(host_lock)", "#define MY_HBA_MDELAY(n)"):
        assert source.count(text) == 1, text
    assert source.count("/* TODO") == 7


def test_the_c_side_of_ide(tmp_path: Path) -> None:
    """The white paper's four functions, on ide_drive_t."""
    source = (bake(tmp_path, name="my_ide", bus="ata") / "c" / "my_ide_dump.c").read_text()
    for text in ("\nint my_ide_sanity_check(ide_drive_t *drive)\n", "\nint my_ide_quiesce(ide_drive_t *drive)\n",
                 "\nvoid my_ide_poll(ide_drive_t *drive)\n", "\nint my_ide_shutdown(ide_drive_t *drive)\n",
                 "\t.sanity_check\t= my_ide_sanity_check,\n", "\t.poll\t\t= my_ide_poll,\n",
                 "#define MY_IDE_IDE_LOCK(lock)", "#define MY_IDE_IDE_UNLOCK(lock)", "#define MY_IDE_MDELAY(n)"):
        assert source.count(text) == 1, text
    assert source.count("/* TODO") == 6


def test_the_readme_names_every_file(project: Path) -> None:
    """Each module of the package is in the README's table."""
    table = " ".join(re.findall(r"^\| (`.+?`(?:, `.+?`)*) \|", (project / "README.md").read_text(), re.MULTILINE))
    named = set(re.findall(r"`(\w+)\.py`", table))
    assert named == {module for module in PACKAGE if not re.match(r"__init__|chips|model", module)}
    assert "`model*.py`" in table
    assert f"`c/{name_of(project)}_dump.c`" in table


@pytest.fixture(scope="module", params=BUSES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Toy and skeleton of a bus."""
    toy, skeleton = (bake(tmp_path_factory.mktemp(start), name="both", bus=request.param, starting_point=start)
                     for start in STARTS)
    return toy, skeleton


def test_the_starting_points_differ_in_four_files(both: tuple[Path, Path]) -> None:
    """Skeleton and toy share everything but the driver itself, what README and changelog say of it."""
    toy, skeleton = both
    differ = {path for path in files_of(toy) if (toy / path).read_text() != (skeleton / path).read_text()}
    assert differ == {"README.md", "CHANGELOG.md", *(f"ddsdk_both/{file}" for file in WRITTEN)}


@pytest.mark.parametrize("file", WRITTEN)
def test_the_skeleton_is_the_toy_without_bodies(file: str, both: tuple[Path, Path]) -> None:
    """Same functions, arguments and docstrings; what is not written yet raises one sentence that names it."""
    toy, skeleton = (functions(package_of(project) / file) for project in both)
    assert list(toy) == list(skeleton)
    for name, function in skeleton.items():
        whole = toy[name]
        assert ast.unparse(function.args) == ast.unparse(whole.args)
        assert ast.get_docstring(function) == ast.get_docstring(whole)
        if ast.unparse(function) != ast.unparse(whole):
            said = re.fullmatch(r"raise NotImplementedError\((['\"])(\w+): (.+)\.\1\)", ast.unparse(function.body[1]))
            assert said is not None, ast.unparse(function)
            assert said[2] == name
            assert len(function.body) == 2


def functions(path: Path) -> dict[str, ast.FunctionDef]:
    """The functions of a module, in their order."""
    return {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_byte_code_in_the_template_is_left_behind(tmp_path: Path) -> None:
    """An installer compiles what it can of the template; none of that gets into a project."""
    template = tmp_path / "template"
    shutil.copytree(TEMPLATE, template)
    for place in {path.parent for path in (template / "{{cookiecutter.__distribution}}").rglob("*.py")}:
        cache = place / "__pycache__"
        cache.mkdir()
        (cache / "regs.cpython-311.pyc").write_bytes(b"\0\x01\xff" * 100)
    for bus, start in product(BUSES, STARTS):
        made = files_of(bake(tmp_path / bus / start, template, bus=bus, starting_point=start))
        assert not [path for path in made if "__pycache__" in path]


def test_the_template_is_in_wheel_and_sdist() -> None:
    """pyproject.toml puts it where `ddsdk new` looks."""
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["force-include"] == {"templates/driver": "ddsdk/templates/driver"}
    assert "templates" in targets["sdist"]["include"]
