"""The records a plugin registers check themselves."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.hookspecs import Chip, DriverInfo

CHIP = Chip("c1", 0x1000, 0x0030, "A chip")


def info(**changes: Any) -> DriverInfo:
    """A DriverInfo with *changes*."""
    fields: dict[str, Any] = {
        "name": "demo", "bus": "scsi", "summary": "A demo", "chips": (CHIP,),
        "probe": lambda pdev, chip: None, "hooks": object(), "modules": ("demo.driver",)}
    return DriverInfo(**{**fields, **changes})


def test_good() -> None:
    """A complete record is taken as it is."""
    assert info().chips[0].name == "c1"


@pytest.mark.parametrize(("changes", "message"), [
    ({"name": "a:b"}, "driver name 'a:b': letters, digits and _ only (users type it)"),
    ({"bus": "usb"}, "driver demo: bus 'usb' must be one of scsi, ata"),
    ({"chips": ()}, "driver demo: chips [] must be one or more, each name once"),
    ({"chips": (CHIP, CHIP)}, "driver demo: chips ['c1', 'c1'] must be one or more, each name once"),
    ({"modules": ()}, "driver demo: `modules` is empty; name the modules the code CRC covers"),
])
def test_bad(changes: dict[str, Any], message: str) -> None:
    """Each rule has its message."""
    with pytest.raises(ValueError) as error:
        info(**changes)
    assert str(error.value) == message


def test_pci_ids_are_16_bits() -> None:
    """A PCI id that cannot be one fails where it is written."""
    with pytest.raises(ValueError) as error:
        Chip("c", 0x10000, 0, "")
    assert str(error.value) == "chip 'c': PCI vendor id 0x10000 does not fit 16 bits"
