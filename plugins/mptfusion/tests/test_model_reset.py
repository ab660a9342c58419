"""Resets: what they take, what they leave, and when they are not heard."""

from __future__ import annotations

import pytest

from ddsdk.bus import PCI_COMMAND
from ddsdk.errors import RegisterAccessFault
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk_mptfusion.model import LSI53C1030, SAS1068, MptIoc, build, hardware_models
from ddsdk_mptfusion.regs import IocState

MS = 1_000_000


def test_diagnostic_is_locked_without_the_keys(host):
    """A reset bit written while DRWE reads 0 does nothing."""
    host.write("DIAGNOSTIC", 0x04)
    assert host.state() == IocState.READY
    assert host.read("DIAGNOSTIC") == 0


@pytest.mark.parametrize(("keys", "drwe"), [
    ((0x4, 0xB, 0x2, 0x7, 0xD), 0x80),
    ((0xFF, 0x4, 0xB, 0x2, 0x7, 0xD), 0x80),
    ((0x4, 0x4, 0xB, 0x2, 0x7, 0xD), 0x80),          # a repeated first key resynchronises
    ((0x4, 0xB, 0x2, 0x7), 0x00),
    ((0x4, 0xB, 0x7, 0x2, 0xD), 0x00),
    ((0x4, 0xB, 0x2, 0x7, 0xD, 0xFFFFFFFF), 0x00),   # any further key locks again
])
def test_key_sequence(host, keys, drwe):
    """The five keys in a row set DRWE; anything else clears it."""
    for key in keys:
        host.write("WRITE_SEQUENCE", key)
    assert host.read("DIAGNOSTIC") == drwe


def test_hard_reset_takes_time_and_leaves_a_trace(ready):
    """All ones for 1 ms, RESET until 400 ms, then READY; DRWE dropped, history set, IntMask back to 0x9."""
    ready.write("HOST_INTERRUPT_MASK", 0x1)
    ready.unlock()
    ready.write("DIAGNOSTIC", 0x84)
    assert ready.read("DOORBELL") == 0xFFFFFFFF
    ready.advance(1 * MS)
    assert ready.read("DOORBELL") == 0x00000000
    assert ready.read("DIAGNOSTIC") == 0x20
    assert ready.read("HOST_INTERRUPT_MASK") == 0x9
    ready.advance(398 * MS)
    assert ready.state() == IocState.RESET
    ready.advance(1 * MS)
    assert ready.read("DOORBELL") == 0x10000000


def test_reset_history_is_cleared_by_writing_0(host):
    """Unlock, write the register without bit 5, lock: it reads 0."""
    host.hard_reset()
    host.unlock()
    assert host.read("DIAGNOSTIC") == 0xA0
    host.write("DIAGNOSTIC", 0x80)
    host.write("WRITE_SEQUENCE", 0xFFFFFFFF)
    assert host.read("DIAGNOSTIC") == 0x00


def test_stopping_the_arm_first(ready):
    """Bit 1 stops everything; the reset clears it."""
    ready.post(ready.tur)
    ready.unlock()
    ready.write("DIAGNOSTIC", 0x82)
    assert ready.read("DIAGNOSTIC") == 0x82
    ready.advance(1000 * MS)
    assert ready.read("HOST_INTERRUPT_STATUS") == 0
    ready.write("DOORBELL_WRITE", 0x40000000)
    ready.advance(1000 * MS)
    assert ready.read("HOST_INTERRUPT_STATUS") == 0x80000000
    ready.write("DIAGNOSTIC", 0x86)
    ready.advance(400 * MS)
    assert ready.read("DIAGNOSTIC") == 0x20
    assert ready.read("DOORBELL") == 0x10000000


def test_prevent_ioc_boot_keeps_it_in_reset(host):
    """With bit 9 set the firmware does not start; a reset without it does."""
    host.unlock()
    host.write("DIAGNOSTIC", 0x284)
    host.advance(10_000 * MS)
    assert host.state() == IocState.RESET
    host.unlock()
    host.write("DIAGNOSTIC", 0x84)
    host.advance(400 * MS)
    assert host.state() == IocState.READY


def test_hard_reset_forgets_requests_replies_and_free_list(ready):
    """A request in flight is never answered; the next address reply finds no frame: FAULT 0x0006."""
    ready.post(ready.tur)
    ready.hard_reset()
    ready.advance(1000 * MS)
    assert ready.read("REPLY_FIFO") == 0xFFFFFFFF
    ready.frames_pushed = 0
    ready.handshake(bytes.fromhex("04000002 00000100 02000000 80000000 00000000 00000000"))
    ready.handshake(bytes.fromhex("00000006 00000000 03000000"))
    ready.post(ready.tur)                                   # unit attention: needs a reply frame
    ready.advance(10 * MS)
    assert ready.read("DOORBELL") == 0x44000006


def test_hard_reset_drops_a_write_in_flight(ready):
    """The disk keeps what it held; no reply comes."""
    request = bytes.fromhex("00000000 0a200000 05000000 00000000 00000000 00000001 2a000001 23450000 20000000"
                            "00000000 00400000 00003800 004000d5 00004000")
    ready.poke(0x400000, b"\xA5" * 0x4000)
    ready.post(request)
    ready.advance(20_000)
    ready.hard_reset()
    buffer = bytearray(0x4000)
    ready.target.units[0].disk.readv(0x12345, [memoryview(buffer)])
    assert bytes(buffer) == bytes(0x4000)


def test_message_unit_reset(ready):
    """RESET for 30 ms, READY after; FIFOs empty, IntMask and WhoInit stay, no reset history."""
    ready.write("HOST_INTERRUPT_MASK", 0x1)
    ready.post(ready.tur)
    ready.write("DOORBELL_WRITE", 0x40000000)
    assert ready.taken()
    assert ready.state() == IocState.RESET
    ready.advance(30 * MS)
    assert ready.read("DOORBELL") == 0x14000000
    assert ready.read("HOST_INTERRUPT_MASK") == 0x1
    assert ready.read("DIAGNOSTIC") == 0
    assert ready.read("REPLY_FIFO") == 0xFFFFFFFF


def test_message_unit_reset_is_not_heard_in_fault(host):
    """The doorbell is not even taken; only a hard reset helps."""
    host.write("REQUEST_FIFO", 0x00200000)
    host.write("DOORBELL_WRITE", 0x40000000)
    host.advance(5000 * MS)
    assert host.read("HOST_INTERRUPT_STATUS") == 0x80000000
    assert host.read("DOORBELL") == 0x40000008
    assert host.hard_reset()
    assert host.read("HOST_INTERRUPT_STATUS") == 0


def test_io_unit_reset_is_heard_in_reset(host):
    """An IOC that does not leave RESET by itself does so after 0x41000000, not after 0x40000000."""
    host.ioc.faults.inject("hard-reset-slow", ns=60_000 * MS)
    host.unlock()
    host.write("DIAGNOSTIC", 0x84)
    host.advance(10 * MS)
    host.write("DOORBELL_WRITE", 0x40000000)
    host.advance(1000 * MS)
    assert host.read("HOST_INTERRUPT_STATUS") == 0x80000000
    host.write("DOORBELL_WRITE", 0x41000000)
    assert host.taken()
    host.advance(100 * MS)
    assert host.state() == IocState.READY


def test_a_request_during_reset_is_lost(ready):
    """RequestFifo in RESET: no FAULT, no reply."""
    ready.write("DOORBELL_WRITE", 0x40000000)
    assert ready.taken()
    ready.write("REQUEST_FIFO", 0x00200000)
    ready.advance(40 * MS)
    assert ready.state() == IocState.READY


def test_every_reset_leaves_a_unit_attention(ready):
    """After a message unit reset too, the disk reports 06/29/00 once."""
    ready.write("DOORBELL_WRITE", 0x40000000)
    assert ready.until(lambda: ready.state() == IocState.READY)
    ready.frames_pushed = 0
    ready.bring_up()
    reply = ready.frame_of(ready.run(ready.tur))
    assert reply[0x0C:0x0E] == bytes((2, 1))
    assert ready.run(ready.tur) == 0x10


def test_both_functions_of_a_1030_reset_together(make_host):
    """A hard reset through function 1 takes function 0 down in the middle of its work."""
    host = make_host(chip=LSI53C1030)
    host.bring_up()
    second = host.machine.pci.functions[1]
    assert (host.function.name, second.name) == ("0000:00:04.0", "0000:00:04.1")
    assert isinstance(second.model, MptIoc)
    assert not second.model.scsi.targets
    second.config_write(PCI_COMMAND, 2, 0x7)
    window = second.window(1)
    host.post(host.tur)
    for key in (0xFF, 0x4, 0xB, 0x2, 0x7, 0xD):
        window.write(0x04, 4, key)
    window.write(0x08, 4, 0x84)
    host.advance(1 * MS)
    assert host.read("DOORBELL") == 0
    assert host.read("DIAGNOSTIC") == 0x20
    host.advance(400 * MS)
    assert host.read("DOORBELL") == 0x10000000
    assert window.read(0x00, 4) == 0x10000000
    assert host.read("REPLY_FIFO") == 0xFFFFFFFF


def test_the_aperture_is_not_a_register_file(host):
    """Reads and writes of the diagnostic window are refused, with the way out."""
    window = host.function.window(3)
    with pytest.raises(RegisterAccessFault, match="first memory window"):
        window.read(0, 4)
    with pytest.raises(RegisterAccessFault, match="loading firmware"):
        window.write(0x10, 4, 1)


def test_the_io_window_shows_the_same_registers(host):
    """BAR 0 and BAR 1 are one register file."""
    host.function.window(0).write(0x34, 4, 0x8)
    assert host.read("HOST_INTERRUPT_MASK") == 0x8
    assert host.function.window(0).read(0x00, 4) == host.read("DOORBELL")


def test_hardware_models_lists_both_chips():
    """Names, ids, QEMU counterpart; each builds a function with those ids, not yet plugged in."""
    models = {model.chip.name: model for model in hardware_models()}
    assert {name: (m.chip.vendor, m.chip.device) for name, m in models.items()} == {
        "53c1030": (0x1000, 0x0030), "sas1068": (0x1000, 0x0054)}
    assert {m.driver for m in models.values()} == {"mptfusion"}
    assert models["53c1030"].qemu is None
    assert models["sas1068"].qemu is not None
    assert (models["sas1068"].qemu.device, models["sas1068"].qemu.disk_device) == ("mptsas1068", "scsi-hd")
    with Machine(PhysicalMemory.anonymous(1 << 20)) as machine:
        for name, model in models.items():
            function = machine.pci.plug(model.build(machine, {}))
            assert function.config_read(0, 4) == models[name].chip.device << 16 | 0x1000
        assert [f.name for f in machine.pci.functions] == ["0000:00:04.0", "0000:00:04.1", "0000:00:05.0"]


@pytest.mark.parametrize(("chip", "bars"), [
    (LSI53C1030, [("io", 0x100, False), ("mem", 0x10000, True), None, ("mem", 0x10000, True), None, None]),
    (SAS1068, [("io", 0x100, False), ("mem", 0x4000, True), None, ("mem", 0x10000, True), None, None])])
def test_windows_of_each_chip(chip, bars):
    """I/O first, then the register file and the aperture as 64-bit memory."""
    with Machine(PhysicalMemory.anonymous(1 << 20)) as machine:
        function = build(machine, {}, chip)
        assert [bar and (bar.kind, bar.size, bar.is_64) for bar in function.bars] == bars
