"""What a command imports: little, and for a dump nothing after its code was fingerprinted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.diskdump.swaps import swap_area

from .conftest import Ddsdk

#: Runs `ddsdk ARGS...` and prints, as JSON, the modules of the core image and those loaded at the end.
_WATCHED = """
import json, sys
from ddsdk import rig
from ddsdk.cli.main import run

images = []
take = rig.core_image
def watched(*regions):
    images.append(take(*regions))
    return images[-1]
rig.core_image = watched
code = run(sys.argv[1:])
print(json.dumps({"code": code, "image": [m.__name__ for m in images[0].modules], "loaded": sorted(sys.modules)}))
"""


def _watch(*args: object) -> dict[str, list[str]]:
    done = subprocess.run([sys.executable, "-c", _WATCHED, *map(str, args)], capture_output=True, text=True, check=True,
                          env={**os.environ, "DDSDK_LOAD_PLUGINS": "mptfusion"})
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    assert found["code"] == 0, done.stderr
    return found


def test_a_dump_runs_no_core_code_that_was_not_fingerprinted(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """Every module of engine, mid-layer and helper library that a dump ends with was in the core's code image."""
    memory = tmp_path / "memory.raw"
    memory.write_bytes(bytes(1 << 20))
    assert ddsdk("format", "--force", image).code == 0
    found = _watch("dump", memory, "--abi", "x86_64", "--to", f"mptfusion:{image}", "--sample-rate", "0")
    core = ("ddsdk.ata.", "ddsdk.block.", "ddsdk.diskdump.", "ddsdk.helperlib.", "ddsdk.scsi.")
    assert [name for name in found["loaded"] if name.startswith(core)] == found["image"]
    assert {"ddsdk.diskdump.writer", "ddsdk.diskdump.signature", "ddsdk.helperlib.delay",
            "ddsdk.block.dump_queue", "ddsdk.scsi.dump_queue"} <= set(found["image"])


def test_a_partial_dump_runs_none_either(ddsdk: Ddsdk, image: Path) -> None:
    """Filter and codecs are loaded and fingerprinted before the crash; a plain dump does without them."""
    assert ddsdk("format", "--force", image).code == 0
    found = _watch("dump", "synthetic:4M", "--to", f"mptfusion:{image}", "--dump-level", "31", "--compress", "zstd")
    core = ("ddsdk.ata.", "ddsdk.block.", "ddsdk.diskdump.", "ddsdk.helperlib.", "ddsdk.scsi.", "ddsdk.vmcore.")
    assert [name for name in found["loaded"] if name.startswith(core)] == found["image"]
    assert {"ddsdk.diskdump.partial_write", "ddsdk.vmcore.classify", "ddsdk.vmcore.codecs"} <= set(found["image"])
    plain = _watch("dump", "synthetic:4M", "--to", f"mptfusion:{image}")["loaded"] if (
        ddsdk("format", "--force", image).code == 0) else []
    assert not {"ddsdk.diskdump.partial_write", "ddsdk.vmcore.classify", "ddsdk.vmcore.codecs"} & set(plain)


def test_a_dump_with_swap_areas_runs_none_either(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """What saves them is loaded and fingerprinted before the crash, too; a dump without does without."""
    area = tmp_path / "s.img"
    area.write_bytes(swap_area(20))
    assert ddsdk("format", "--force", image).code == 0
    found = _watch("dump", "synthetic:4M", "--to", f"mptfusion:{image}", "--swap", f"mptfusion:{area}")
    core = ("ddsdk.ata.", "ddsdk.block.", "ddsdk.diskdump.", "ddsdk.helperlib.", "ddsdk.scsi.", "ddsdk.vmcore.")
    assert [name for name in found["loaded"] if name.startswith(core)] == found["image"]
    swap = {"ddsdk.diskdump.swap_write", "ddsdk.diskdump.swapheader", "ddsdk.diskdump.recordstream"}
    assert swap <= set(found["image"])
    assert ddsdk("format", "--force", image).code == 0
    assert not swap & set(_watch("dump", "synthetic:4M", "--to", f"mptfusion:{image}")["loaded"])


def test_a_dump_onto_a_model_imports_no_more_than_it_needs(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """Start-up is most of a small dump: what a raw image and a model do not need is not imported."""
    memory = tmp_path / "memory.raw"
    memory.write_bytes(bytes(1 << 20))
    assert ddsdk("format", "--force", image).code == 0
    found = _watch("dump", memory, "--abi", "x86_64", "--to", f"mptfusion:{image}")
    unwanted = ("ddsdk.ata", "ddsdk.qemu", "elftools", "rich", "ddsdk.diskdump.savecore", "ddsdk.diskdump.partition")
    assert not [name for name in found["loaded"] if name.startswith(unwanted)]
