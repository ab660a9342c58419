"""What QEMU is asked for: adapters added or on board, disks by SCSI id or by channel and unit."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.errors import DeviceError, UsageError
from ddsdk.hookspecs import Chip, QemuAdapter
from ddsdk.qemu.machine import AdapterSpec, DiskImage, device_arguments

SCSI = AdapterSpec("some-hba", 0x1000, 0x54)
PIIX = AdapterSpec("piix3-ide", 0x8086, 0x7010, disk_device="ide-hd", onboard="ide")
AHCI = AdapterSpec("ich9-ahci", 0x8086, 0x2922, disk_device="ide-hd")


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Three images; one has a comma in its name."""
    paths = [tmp_path / name for name in ("a.img", "b,1.img", "c.img")]
    for path in paths:
        path.write_bytes(bytes(512))
    return [str(path) for path in paths]


def devices(arguments: list[str]) -> list[str]:
    """The values of -device and -global, in order."""
    return [value for option, value in zip(arguments[::2], arguments[1::2], strict=True)
            if option in ("-device", "-global")]


def test_a_scsi_adapter_with_two_disks(images: list[str]) -> None:
    """As it always was: id=hba, disks by SCSI id on hba.0; errors are reported to the guest."""
    arguments = device_arguments(SCSI, [DiskImage(images[0]), DiskImage(images[1], 3, read_only=True)])
    assert arguments == [
        "-device", "some-hba,id=hba,addr=0x4",
        "-drive", f"file={images[0]},format=raw,if=none,id=disk0,readonly=off,cache=writeback,"
                  "werror=report,rerror=report",
        "-device", "scsi-hd,drive=disk0,bus=hba.0,scsi-id=0",
        "-drive", f"file={images[1].replace(',', ',,')},format=raw,if=none,id=disk1,readonly=on,cache=writeback,"
                  "werror=report,rerror=report",
        "-device", "scsi-hd,drive=disk1,bus=hba.0,scsi-id=3"]


def test_options_and_slot(images: list[str]) -> None:
    """Options follow the device, commas doubled; the bus suffix is the plugin's."""
    spec = AdapterSpec("hba2", 1, 2, {"sas_address": "5", "x": "a,b"}, "scsi-block", ".1")
    assert devices(device_arguments(spec, [DiskImage(images[0], 2)], slot=9)) == [
        "hba2,id=hba,addr=0x9,sas_address=5,x=a,,b", "scsi-block,drive=disk0,bus=hba.1,scsi-id=2"]


def test_ide_on_board(images: list[str]) -> None:
    """No -device for what `pc` has; drives by unit on the channel's own bus."""
    disks = [DiskImage(images[0]), DiskImage(images[1], 1), DiskImage(images[2], 0, channel=1)]
    assert devices(device_arguments(PIIX, disks)) == [
        "ide-hd,drive=disk0,bus=ide.0,unit=0", "ide-hd,drive=disk1,bus=ide.0,unit=1",
        "ide-hd,drive=disk2,bus=ide.1,unit=0"]
    spec = AdapterSpec("piix3-ide", 1, 2, {"bus-master": "off"}, "ide-hd", onboard="ide")
    assert devices(device_arguments(spec, [])) == ["piix3-ide.bus-master=off"]


def test_serial_ata(images: list[str]) -> None:
    """An adapter that is added: a port is a channel with one unit."""
    assert devices(device_arguments(AHCI, [DiskImage(images[0]), DiskImage(images[1], channel=3)], slot=6)) == [
        "ich9-ahci,id=hba,addr=0x6", "ide-hd,drive=disk0,bus=hba.0,unit=0", "ide-hd,drive=disk1,bus=hba.3,unit=0"]


@pytest.mark.parametrize(("spec", "disks", "message"), [
    (SCSI, [(0, 0), (0, 0)], "disks of some-hba: each needs a place of its own, not bus=hba.0,scsi-id=0;"
                             " bus=hba.0,scsi-id=0"),
    (PIIX, [(1, 1), (1, 1)], "disks of piix3-ide: each needs a place of its own, not bus=ide.1,unit=1;"
                             " bus=ide.1,unit=1")])
def test_two_disks_at_one_place(images: list[str], spec: AdapterSpec, disks: list[tuple[int, int]],
                                message: str) -> None:
    """Refused before QEMU is started; one target on two channels is fine."""
    with pytest.raises(UsageError) as error:
        device_arguments(spec, [DiskImage(images[0], target, channel=channel) for channel, target in disks])
    assert str(error.value) == message


def test_a_missing_image(tmp_path: Path) -> None:
    """Named, with what makes one."""
    with pytest.raises(DeviceError, match=r"gone.img: no such image or device; create it first \(truncate"):
        device_arguments(PIIX, [DiskImage(str(tmp_path / "gone.img"))])


def test_what_a_plugin_registered() -> None:
    """A QemuAdapter and a Chip make the spec; nothing is lost."""
    chip = Chip("piix3", 0x8086, 0x7010, "PIIX3")
    adapter = QemuAdapter("piix3-ide", {"a": "b"}, "ide-hd", ".7", "ide")
    assert AdapterSpec.of(adapter, chip) == AdapterSpec("piix3-ide", 0x8086, 0x7010, {"a": "b"}, "ide-hd", ".7", "ide")
    assert (PIIX.ide, AHCI.ide, SCSI.ide) == (True, True, False)
