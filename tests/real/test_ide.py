"""The IDE mid-layer on QEMU's PIIX3: the toy driver of tests/ata, its registers moved to where that chip has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest

from ddsdk.ata.host import IdeHwif
from ddsdk.bus import Bar, PciFunction
from ddsdk.drill import Drill, run_drill
from ddsdk.helperlib.kernel import PciDev
from ddsdk.hookspecs import Chip, DriverInfo, HardwareModelInfo, QemuAdapter
from ddsdk.registry import Registry
from tests.ata import toy_driver, toy_model

pytestmark = pytest.mark.real

#: Register of the toy -> (BAR, offset) of a PIIX, channel 0 (hw-ide.md 2).
PLACES = {**{offset: (0, offset) for offset in range(8)}, 0x8: (1, 0), 0x9: (4, 0), 0xA: (4, 2), 0xC: (4, 4)}


@pytest.fixture(autouse=True)
def qemu(tools: Callable[..., None]) -> None:
    """Everything here needs it."""
    tools("qemu-system-x86_64")


class Moved:
    """The toy's register window, on a PIIX function."""

    size = 0x10

    def __init__(self, function: PciFunction) -> None:
        self._windows = {bar: function.window(bar) for bar in (0, 1, 4)}

    def read(self, offset: int, size: int) -> int:
        bar, at = PLACES[offset]
        return self._windows[bar].read(at, size)

    def write(self, offset: int, size: int, value: int) -> None:
        bar, at = PLACES[offset]
        self._windows[bar].write(at, size, value)

    def read_string(self, offset: int, size: int, count: int) -> Sequence[int]:
        return cast(Any, self._windows[0]).read_string(offset, size, count)      # type: ignore[no-any-return]

    def write_string(self, offset: int, size: int, values: Sequence[int]) -> None:
        cast(Any, self._windows[0]).write_string(offset, size, values)


class Function:
    """A PIIX function with the toy's one BAR."""

    def __init__(self, function: PciFunction) -> None:
        self._function = function
        self._window = Moved(function)

    @property
    def bars(self) -> Sequence[Bar | None]:
        return (Bar("io", 0, 0x10), None, None, None, None, None)

    def window(self, bar: int) -> Moved:
        return self._window

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


def probe(pdev: PciDev, chip: Chip) -> IdeHwif:
    """The toy's, on the other chip."""
    pdev.function = cast(PciFunction, Function(pdev.function))
    return toy_driver.toy_probe(pdev, chip)


CHIPS = (Chip("dma", 0x8086, 0x7010, "PIIX3"), Chip("pio", 0x8086, 0x7010, "PIIX3, its bus master not used"))
REGISTRY = Registry(
    MappingProxyType({"toy": DriverInfo(name="toy", bus="ata", summary="", chips=CHIPS, probe=probe,
                                        hooks=toy_driver.ToyHooks(), modules=("tests.ata.toy_driver",))}),
    tuple(HardwareModelInfo("toy", chip, toy_model.build, (),
                            QemuAdapter("piix3-ide", disk_device="ide-hd", onboard="ide")) for chip in CHIPS))


@pytest.mark.parametrize(("chip", "memory"), [("dma", "synthetic:8M,cpus=2"), ("pio", "synthetic:1M,cpus=2")])
@pytest.mark.parametrize("load_us", [0, 20_000])
def test_the_whole_story_where_nobody_here_wrote_the_chip(tmp_path: Path, chip: str, memory: str,
                                                          load_us: int) -> None:
    """Scan by interrupt 14, load, crash, soft reset, dump, savecore: every page equal, nothing else changed."""
    report = run_drill(Drill("toy", memory, chip=chip, backend="qemu", load_us=load_us), REGISTRY, tmp_path)
    assert report.differ == 0
    assert report.pages > 100
