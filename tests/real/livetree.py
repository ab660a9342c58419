"""This Python with ddsdk and what it imports, as a tar archive that a guest without a file system unpacks and runs.

Everything keeps the path it has here, so that the interpreter finds its library and the loader its libraries.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Of the standard library and of site-packages: nothing that a dump needs.
_NOT_WANTED = re.compile(r"/(test|tests|idlelib|tkinter|turtledemo|ensurepip|lib2to3|pydoc_data|config-[^/]*|pip"
                         r"|setuptools|mypy|mypyc|ruff|hypothesis|_pytest|pytest|jsonschema[^/]*|babel|cookiecutter|jinja2)(/|$)|\.pyc$"
                         r"|/f2py/|\.a$|\.pyi$|\.h$|\.c$")


def interpreter() -> Path:
    """The real one, whatever virtual environment this is."""
    return Path(sys.executable).resolve()


def _libraries(path: Path) -> Iterator[Path]:
    """What the loader maps for *path*, the loader included."""
    said = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    for match in re.finditer(r"(?:=> )?(/\S+) \(0x", said):
        yield Path(match[1])


def _files() -> Iterator[Path]:
    paths = sysconfig.get_paths()
    folders = {Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {ROOT / "ddsdk"}
    yield interpreter()
    for folder in sorted(folders):
        nested = any(other != folder and other in folder.parents for other in folders)
        for path in sorted(folder.rglob("*") if not nested else ()):
            if path.is_file() and not _NOT_WANTED.search(str(path)) and (
                    "site-packages" not in path.parts or Path(paths["purelib"]) in path.parents):
                yield path


def make_archive(target: Path, script: str) -> None:
    """Write the archive: *script* is the guest's `task`; `python` in it is this interpreter in a root of its own."""
    paths = sysconfig.get_paths()
    wanted = dict.fromkeys(_files())
    for path in [path for path in wanted if path == interpreter() or path.suffix == ".so" or ".so." in path.name]:
        wanted.update(dict.fromkeys(_libraries(path)))
    places = ":".join(dict.fromkeys([str(ROOT), paths["purelib"], paths["platlib"]]))
    head = (f"mkdir -p proc dev sys tmp\nmount -t proc proc proc\nmount -t devtmpfs devtmpfs dev\n"
            f"python() {{ PYTHONPATH={places} PYTHONHOME={sys.base_prefix} chroot . {interpreter()} \"$@\"; }}\n")
    folder = target.parent
    (folder / "task").write_text(head + script)
    with tarfile.open(target, "w", dereference=True) as archive:
        archive.add(folder / "task", "task")
        for path in wanted:
            archive.add(path, str(path).lstrip("/"))
