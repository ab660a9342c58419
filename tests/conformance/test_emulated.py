"""QEMUs that serve one machine after another, with adapters that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import define

from ddsdk.conformance.emulated import Emulated, Emulators
from ddsdk.errors import DeviceError
from ddsdk.sim.memory import Extent

MIB = 1 << 20


@define
class Adapter:
    """An adapter that counts its resets, and may be gone."""

    resets: int = 0
    gone: bool = False

    def reset(self) -> None:
        """See `EmulatedAdapter.reset`."""
        if self.gone:
            raise DeviceError("qtest: QEMU is gone")
        self.resets += 1


def extents(size: int = 2 * MIB) -> list[Extent]:
    """Memory of one piece."""
    return [Extent(0, memoryview(bytearray(size)))]


@pytest.fixture
def emulators() -> Any:
    """That are kept."""
    made = Emulators()
    made.keep = True
    yield made
    made.close()


def used(emulators: Emulators, **how: bool) -> Emulated:
    """One that served a machine, which left its traces."""
    one = emulators.take(extents(), MIB)
    one.adapter = Adapter(**how)
    one.image[:5] = b"trace"
    one.ram.extents[0].view[:5] = b"trace"
    return one


def test_the_next_machine_of_that_shape_gets_it_as_new(emulators: Emulators) -> None:
    """Reset once; memory and disk, as mapped and as a file, are zeroes."""
    one = used(emulators)
    emulators.give_back(one)
    assert one.adapter.resets == 1
    assert emulators.take(extents(), MIB) is one
    assert not any(one.image)
    assert not any(one.ram.extents[0].view)
    assert Path(one.path).read_bytes() == bytes(MIB)
    one.close()


def test_another_shape_gets_another(emulators: Emulators) -> None:
    """More memory, or a larger disk."""
    one = used(emulators)
    emulators.give_back(one)
    for other in (emulators.take(extents(4 * MIB), MIB), emulators.take(extents(), 2 * MIB)):
        assert other is not one
        other.close()
    assert emulators.close()
    assert not emulators.close()


def test_one_that_is_gone_is_not_kept(emulators: Emulators) -> None:
    """Its disk image goes with it."""
    one = used(emulators, gone=True)
    emulators.give_back(one)
    assert not Path(one.path).exists()
    assert not emulators.close()


def test_nothing_is_kept_unless_told() -> None:
    """Whoever judges one item leaves no process behind."""
    emulators = Emulators()
    one = used(emulators)
    emulators.give_back(one)
    assert (one.adapter.resets, Path(one.path).exists()) == (0, False)
