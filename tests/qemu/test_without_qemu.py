"""The command line on a machine without QEMU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_the_backend_that_is_missing_is_named_and_the_next_device_is_taken(tmp_path: Path) -> None:
    """One line with the remedy for the first device; the dump goes to the second."""
    for name in ("one.img", "two.img"):
        with (tmp_path / name).open("wb") as image:
            image.truncate(24 << 20)
    environment = {**os.environ, "PATH": str(tmp_path)}

    def ddsdk(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "ddsdk", *argv], cwd=tmp_path, env=environment,
                              capture_output=True, text=True, check=False)

    for name in ("one.img", "two.img"):
        assert ddsdk("format", name).returncode == 0
    emulated = "mptfusion:one.img,chip=sas1068,backend=qemu"
    done = ddsdk("dump", "synthetic:8M", "--to", emulated, "--to", "mptfusion:two.img")
    complaints = [line for line in done.stderr.splitlines() if "qemu-system-x86_64 not found" in line]
    assert len(complaints) == 1
    assert "apt-get install qemu-system-x86" in complaints[0]
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "mptfusion:two.img (simulated adapter" in done.stdout
    alone = ddsdk("dump", "synthetic:8M", "--to", emulated)
    assert (alone.returncode, "Traceback" in alone.stderr) == (5, False)
