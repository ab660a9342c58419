"""A crashed Linux goes through every driver there is, on its model and on QEMU's adapter where there is one.

Whatever the adapter, the vmcore is the same file, byte for byte, and crash says of it what it says of the reference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ddsdk.registry import discover
from tests.real.conftest import Lab, ddsdk
from tests.real.cores import CoreReader, crash, loads, memory

pytestmark = pytest.mark.real

DISK_BYTES = 1 << 30
COMMANDS = ("sys", "bt", "ps", "log", "mod", "kmem -i")


def targets() -> list[str]:
    """`DRIVER,chip=C,backend=B`: each driver's first chip on each backend that it has."""
    found = dict[tuple[str, str], str]()
    for model in discover().models:
        for backend in ("model", "qemu") if model.qemu else ("model",):
            found.setdefault((model.driver, backend), f"{model.driver},chip={model.chip.name},backend={backend}")
    return sorted(found.values())


@pytest.fixture(scope="module")
def reference(lab: Lab, tools: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What crash says of the reference core."""
    tools("crash", "qemu-system-x86_64")
    return crash(lab.vmlinux, lab.core, COMMANDS, tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    """SHA-256 of the vmcores so far, by target."""
    return {}


def test_each_bus_and_every_driver_is_there() -> None:
    """The six families; three of them on QEMU's adapters as well."""
    drivers = {target.partition(",")[0] for target in targets()}
    assert len(drivers) == len(list((Path(__file__).parents[2] / "plugins").glob("*/pyproject.toml")))
    assert sum("backend=qemu" in target for target in targets()) == 3


@pytest.mark.parametrize("target", targets())
def test_the_whole_way(target: str, lab: Lab, reference: list[str], digests: dict[str, str], tmp_path: Path) -> None:
    """format, dump, savecore; every page; crash."""
    driver, _, options = target.partition(",")
    disk, out = tmp_path / "d.img", tmp_path / "out"
    with disk.open("wb") as image:
        image.truncate(DISK_BYTES)
    ddsdk("format", disk)
    ddsdk("dump", lab.core, "--to", f"{driver}:{disk},{options}")
    ddsdk("savecore", disk, out)
    (vmcore,) = out.glob("127.0.0.1-*/vmcore")
    if not digests:
        reader = CoreReader(vmcore)
        for paddr, data in memory(lab.core, loads(lab.core)):
            assert reader.read(paddr, len(data)) == data, f"1 MiB at {paddr:#x}"
        assert reader.pages == sum(load.size for load in loads(lab.core)) // 4096
        reader.close()
    with vmcore.open("rb") as file:
        digests[target] = hashlib.file_digest(file, "sha256").hexdigest()
    assert len(set(digests.values())) == 1, digests
    assert crash(lab.vmlinux, vmcore, COMMANDS, tmp_path) == reference
