"""Puts the chosen starting point in place: files of an overlay directory replace those of the package.

An overlay is a directory `_NAME` beside the package; all of them are gone afterwards.  Its Python modules go into the
package, whatever else is in it to the same place in the distribution.
"""

from __future__ import annotations

import shutil
from pathlib import Path

#: (bus, starting point) -> overlays, the later one wins.
OVERLAYS = {
    ("scsi", "toy"): (),
    ("scsi", "skeleton"): ("_skeleton",),
    ("ata", "toy"): ("_ata",),
    ("ata", "skeleton"): ("_ata", "_ata_skeleton"),
}

if __name__ == "__main__":
    # byte code of template files, if an installer made some, is none of the project's
    for directory in list(Path().rglob("__pycache__")):
        shutil.rmtree(directory)
    for overlay in OVERLAYS["{{ cookiecutter.bus }}", "{{ cookiecutter.starting_point }}"]:
        for source in [path for path in Path(overlay).rglob("*") if path.is_file()]:
            place = source.relative_to(overlay)
            module = place.parent == Path() and place.suffix == ".py"
            source.replace(Path("{{ cookiecutter.__package }}") / place if module else place)
    for directory in Path().glob("_*"):
        shutil.rmtree(directory)
