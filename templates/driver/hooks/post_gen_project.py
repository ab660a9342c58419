"""Puts the chosen starting point in place: files of an overlay directory replace those of the package.

An overlay is a directory `_NAME` beside the package; all of them are gone afterwards.  The ATA variant will be two more
rows here, and its overlays.
"""

from __future__ import annotations

import shutil
from pathlib import Path

#: (bus, starting point) -> overlays, the later one wins.
OVERLAYS = {
    ("scsi", "toy"): (),
    ("scsi", "skeleton"): ("_skeleton",),
}

if __name__ == "__main__":
    for overlay in OVERLAYS["{{ cookiecutter.bus }}", "{{ cookiecutter.starting_point }}"]:
        for source in Path(overlay).iterdir():
            source.replace(Path("{{ cookiecutter.__package }}") / source.name)
    # byte code of template files, if an installer made some, is none of the project's
    for directory in [*Path().glob("_*"), *Path().rglob("__pycache__")]:
        shutil.rmtree(directory)
