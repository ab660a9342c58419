"""What status codes mean for commands: results, sense data, what a device owes."""

from __future__ import annotations

import pytest

from ddsdk.abi import WIRE_BE
from ddsdk.scsi.cmnd import host_byte, status_byte
from ddsdk.sim import disk_faults
from ddsdk_ipr.adapter import FIRST_PORT
from ddsdk_ipr.frames import Ioasa, IoasaVset
from ddsdk_ipr.ioasc import Ioasc
from ddsdk_ipr.sense import ipr_gen_sense
from plugins.ipr.tests.driver_rig import CITRINE, GEMSTONE, PAGE, SNIPE, Make, Rig, S

OK, NO_CONNECT, ABORT, ERROR, RESET, PASSTHROUGH, IMM_RETRY = 0, 1, 5, 7, 8, 0x0A, 0x0C
GOOD, CHECK = 0, 2

#: fault -> (host byte, status, sync complete owed): a device on a SCSI bus; hw-ipr.md section 8.2
GSCSI = {
    "ioasc-good-with-information": (OK, GOOD, False),
    "ioasc-recovered": (OK, GOOD, True),
    "ioasc-start-unit-needed": (OK, CHECK, False),
    "ioasc-sync-required": (IMM_RETRY, GOOD, True),
    "ioasc-shutting-down": (ERROR, GOOD, True),
    "ioasc-shut-down": (ERROR, GOOD, True),
    "ioasc-reassign-advised": (ERROR, GOOD, True),
    "ioasc-medium-error": (PASSTHROUGH, CHECK, False),
    "ioasc-selection-timeout": (NO_CONNECT, GOOD, True),
    "ioasc-adapter-timeout": (ERROR, GOOD, True),
    "ioasc-permanent-failure": (ERROR, GOOD, True),
    "ioasc-firmware-error": (ERROR, GOOD, True),
    "ioasc-reset-needed": (ERROR, GOOD, True),
    "ioasc-invalid-request": (ERROR, GOOD, False),
    "ioasc-invalid-handle": (NO_CONNECT, GOOD, False),
    "ioasc-secondary-adapter": (NO_CONNECT, GOOD, False),
    "ioasc-bus-was-reset": (ERROR, GOOD, True),
    "bus-reset-by-other": (ERROR, GOOD, True),
    "ioasc-descriptor-invalid": (ERROR, GOOD, True),
    "ioasc-cancelled": (IMM_RETRY, GOOD, False),
}
#: The same for a volume set: sense data is made of every code, and the default row owes nothing.
VSET = {name: (host, CHECK if name != "ioasc-good-with-information" else GOOD,
               name in ("ioasc-sync-required", "ioasc-selection-timeout", "ioasc-bus-was-reset", "bus-reset-by-other"))
        for name, (host, _, _) in GSCSI.items()}


@pytest.fixture
def rig(make: Make) -> Rig:
    """A Gemstone taken over by the dump; its firmware has no autosense."""
    return make(autosense=False).probe().take_over()


def outcome(rig: Rig, fault: str) -> tuple[int, int, bool]:
    """Host byte, status, debt, of a write that *fault* strikes."""
    rig.model.faults.inject(fault)
    scmd = rig.run(rig.rw(True, 8))
    (res,) = (res for res in rig.ioa.resources.values() if res.subtype)
    return host_byte(scmd.result), status_byte(scmd.result), res.needs_sync_complete


@pytest.mark.parametrize("fault", GSCSI)
def test_result_of_a_scsi_device(rig: Rig, fault: str) -> None:
    """And the next command, which pays the debt, works."""
    assert outcome(rig, fault) == GSCSI[fault]
    while rig.run(rig.tur()).result:
        assert fault == "bus-reset-by-other"
    assert rig.run(rig.rw(True, 8)).result == 0


@pytest.mark.parametrize("fault", VSET)
def test_result_of_a_volume_set(make: Make, fault: str) -> None:
    """The adapter speaks for it."""
    rig = make(SNIPE, at=(0xFF, 0)).probe().take_over()
    assert outcome(rig, fault) == VSET[fault]


def test_the_adapter_asks_for_a_reset(rig: Rig) -> None:
    """02048000: the command ends with DID_ERROR, and it gets one."""
    before = rig.ioa.resets
    assert outcome(rig, "ioasc-reset-required")[:2] == (ERROR, GOOD)
    rig.kernel.diskdump_update()
    assert (rig.ioa.resets, rig.ioa.allow_cmds) == (before + 1, True)


def test_sync_complete_is_paid_once(rig: Rig) -> None:
    """The next command has flag 08, the one after it has not."""
    outcome(rig, "ioasc-adapter-timeout")
    flags = []
    for _ in range(2):
        scmd = rig.tur()
        rig.queue(scmd)
        flags.append(rig.ioarcb(rig.block_of(scmd))[64] & 0x08)
        rig.poll_until_done(scmd)
    assert flags == [8, 0]


def test_a_frozen_queue_sends_commands_back(rig: Rig) -> None:
    """Those that were on their way come back with DID_IMM_RETRY, and again they work."""
    rig.disk.faults.inject(disk_faults.hardware_error())
    commands = [rig.rw(True, 8 * n) for n in range(4)]
    for scmd in commands:
        rig.queue(scmd)
    rig.poll_until_done(*commands)
    assert status_byte(commands[0].result) == CHECK
    assert {host_byte(scmd.result) for scmd in commands[1:]} == {IMM_RETRY}
    assert [rig.run(rig.rw(True, 8)).result for _ in range(2)] == [0, 0]


def test_residual(rig: Rig) -> None:
    """INQUIRY into more than there is: good, and resid says how much was left."""
    scmd = rig.run(rig.command(bytes((0x12, 0, 0, 0, 96, 0)), 2, [(0x100000, 96)]))
    assert (scmd.result, scmd.resid) == (0, 60)
    rig.disk.faults.inject(disk_faults.wrong_length(1))
    scmd = rig.run(rig.rw(False, 8))
    assert (host_byte(scmd.result), scmd.resid) == (ERROR, 512)


# -- check conditions ------------------------------------------------------------------------------------------


def test_sense_data_by_recovery(make: Make) -> None:
    """Without autosense: CANCEL ALL, then REQUEST SENSE with flags 30, in the same block, before the command ends."""
    rig = make(GEMSTONE, autosense=False).probe().take_over()
    seen: list[str] = []
    fetch = rig.model.requests._fetch

    def watched(request: object) -> None:
        fetch(request)  # type: ignore[arg-type]
        seen.append(f"{request.address:x} {request.cdb[0]:02x} {request.flags_hi:02x}")  # type: ignore[attr-defined]
    rig.model.requests._fetch = watched  # type: ignore[method-assign]
    rig.disk.faults.inject(disk_faults.medium_error(66))
    scmd = rig.run(rig.rw(True, 64))
    place = rig.ioa.free_q[-1].bus_addr
    assert seen == [f"{place:x} 2a 84", f"{place:x} ce 00", f"{place:x} 03 30"]
    assert (scmd.result, bytes(scmd.sense_buffer[:14])) == (2, bytes.fromhex("f0000300000042 0a000000000c00"))
    assert scmd.resid == PAGE - 1024


def test_untagged_devices_need_no_cancelling(make: Make) -> None:
    """One REQUEST SENSE, nothing else."""
    rig = make(GEMSTONE, autosense=False).probe().take_over()
    rig.sdev.tagged_supported = False
    rig.model.faults.inject("cancel-fails")
    rig.disk.faults.inject(disk_faults.hardware_error())
    scmd = rig.run(rig.rw(True, 64))
    assert bytes(scmd.sense_buffer[:14])[2::10] == b"\x04\x44"
    assert "cancel-fails" not in rig.model.faults.struck


def test_autosense(make: Make) -> None:
    """Where the firmware fetches it there is no recovery, unless it did not."""
    rig = make(CITRINE).probe().take_over()
    rig.model.faults.inject("cancel-fails")
    rig.disk.faults.inject(disk_faults.hardware_error())
    scmd = rig.run(rig.rw(True, 64))
    assert bytes(scmd.sense_buffer[:14])[2::10] == b"\x04\x44"
    rig.model.faults.clear()
    rig.model.faults.inject("autosense-missing")
    rig.disk.faults.inject(disk_faults.hardware_error())
    scmd = rig.run(rig.rw(True, 64))
    assert bytes(scmd.sense_buffer[:14])[2::10] == b"\x04\x44"


def test_the_first_port_never_has_autosense(make: Make) -> None:
    """128 bytes have no room for it."""
    rig = make(CITRINE, autosense=False).probe(FIRST_PORT).take_over()
    rig.disk.faults.inject(disk_faults.hardware_error())
    scmd = rig.run(rig.rw(True, 64))
    assert (scmd.result, bytes(scmd.sense_buffer[:14])[2::10]) == (2, b"\x04\x44")


@pytest.mark.parametrize(("fault", "host"), [("cancel-fails", ERROR), ("sense-fails", ERROR)])
def test_a_recovery_that_fails(rig: Rig, fault: str, host: int) -> None:
    """DID_ERROR beside the status; no sense data; the next command works."""
    rig.model.faults.inject(fault)
    rig.disk.faults.inject(disk_faults.hardware_error())
    scmd = rig.run(rig.rw(True, 64))
    assert (host_byte(scmd.result), status_byte(scmd.result), any(scmd.sense_buffer)) == (host, CHECK, False)
    assert rig.run(rig.rw(True, 64)).result == 0


@pytest.mark.parametrize(("fault", "seconds"), [("sense-hung", 20)])
def test_a_recovery_that_is_not_answered(rig: Rig, fault: str, seconds: int) -> None:
    """Its timer resets the adapter, and the command ends with DID_RESET."""
    rig.model.faults.inject(fault)
    rig.disk.faults.inject(disk_faults.hardware_error())
    before = rig.machine.clock.now_ns
    scmd = rig.run(rig.rw(True, 64))
    assert host_byte(scmd.result) == RESET
    assert seconds <= (rig.machine.clock.now_ns - before) / S < seconds + 5
    assert rig.run(rig.tur()).result == 2
    assert rig.run(rig.tur()).result == 0


def test_busy_comes_through(rig: Rig) -> None:
    """As a status, without sense data."""
    rig.disk.faults.inject(disk_faults.busy())
    assert rig.run(rig.rw(True, 8)).result == 0x08
    assert rig.ioa.resources[0, 0, 0].needs_sync_complete


# -- sense data made of an IOASC -------------------------------------------------------------------------------


def status(ioasc: int, **members: object) -> Ioasa:
    """A status area."""
    return Ioasa(**({"ioasc": ioasc, "u": bytes(12), "auto_sense": bytes(96)} | members))  # type: ignore[arg-type]


@pytest.mark.parametrize(("ioasa", "vset", "sense"), [
    (status(0x04448200), True, "70 00 04 00000000 06 00000000 44 82"),
    (status(0x05240000), True, "70 00 05 00000000 0a 00000000 24 00"),
    (status(0x05260000, ioasc_specific=0x00800008), True, "70 00 05 00000000 0a 00000000 26 00 00 c0 0008"),
    (status(0x03110C00, u=(0x55).to_bytes(4) + bytes(8)), False, "f0 00 03 00000055 06 00000000 11 0c"),
    (status(0x03110C00, u=IoasaVset.on(WIRE_BE).pack(IoasaVset(1, 2))), True,
     "72 03 11 0c 000000 0c 000a8000 00000001 00000002"),
    (status(Ioasc.IOA_WAS_RESET), True, ""),
    (status(Ioasc.PCI_ACCESS_ERROR), True, ""),
], ids=["plain", "illegal request", "field pointer", "disk LBA", "64-bit LBA", "reset", "PCI"])
def test_sense_of_an_ioasc(ioasa: Ioasa, vset: bool, sense: str) -> None:
    """hw-ipr.md section 8.2, last paragraph; nothing for codes of the driver's own."""
    assert ipr_gen_sense(ioasa, vset) == bytes.fromhex(sense).ljust(96, b"\0")
