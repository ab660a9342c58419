"""Every fault the model declares, injected by its id: what the host sees of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ddsdk.bus import PCI_COMMAND
from ddsdk.errors import UsageError
from ddsdk_ipr.frames import RequestType
from ddsdk_ipr.model import CITRINE
from ddsdk_ipr.model_core import State
from ddsdk_ipr.model_faults import CARRIED_OUT_IOASC, COMMAND_IOASC, FAULTS, INT_BITS
from plugins.ipr.tests.conftest import BLOCK, DATA, ENTRIES, IOA, QUEUE, READ_LAST, Host, MakeHost, descriptor, request

S = 1_000_000_000
TUR = bytes(6)
READ_8 = bytes((0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0))
INQUIRY = bytes((0x12, 0, 0, 0, 36, 0))
OTHER = BLOCK + 0x1000


def words(host: Host) -> list[int]:
    """New entries of the queue, toggle bits and all, as they stand."""
    at = host.position
    return [int.from_bytes(host.peek(QUEUE + 4 * n, 4)) for n in range(at, ENTRIES)]


# -- bus side --------------------------------------------------------------------------------------------------


def all_ones(host: Host) -> None:
    """Every register, from the next read on; BIST does not help."""
    host.ioa.faults.inject("all-ones")
    assert [host.read(name) for name in ("INT", "MASK", "UPROC", "MAILBOX")] == [0xFFFFFFFF] * 4
    host.write("UPROC_SET", 0x82800000)
    host.function.config_write(0x0F, 1, 0x40)
    host.advance(2 * S)
    assert host.function.config_read(PCI_COMMAND, 2) == 0x6
    assert host.read("INT") == 0xFFFFFFFF


def bus_master_cleared(host: Host) -> None:
    """The block cannot be fetched."""
    host.ioa.faults.inject("bus-master-cleared")
    assert host.scsi(TUR) is None
    assert host.read("INT") & 0x10000000
    assert host.function.config_read(PCI_COMMAND, 2) == 0x2


def irq_lost(host: Host) -> None:
    """INT and MASK say so, the line does not."""
    line = host.function.irq_line
    assert line is not None
    host.write("INT_CLR", 0x2)
    host.write("MASK_CLR", 0x2)
    host.ioa.faults.inject("irq-lost")
    assert host.scsi(TUR) == 0
    assert (host.read("INT"), line.level) == (0x2, False)


def irq_stuck(host: Host) -> None:
    """Cleared, and up all the same."""
    line = host.function.irq_line
    assert line is not None
    host.write("MASK_CLR", 0x2)
    assert line.level
    host.ioa.faults.inject("irq-stuck")
    host.write("INT_CLR", 0x2)
    assert (host.read("INT"), line.level) == (0, True)


def crit_op(host: Host) -> None:
    """Bit 25 for a second after the alert."""
    host.ioa.faults.inject("crit-op")
    host.write("UPROC_SET", 0x01000000)
    assert host.read("INT") & 0x02000000
    host.advance(S)
    assert not host.read("INT") & 0x02000000


def bist_hangs(host: Host) -> None:
    """Bit 6 stays; the next BIST ends."""
    host.ioa.faults.inject("bist-hangs")
    host.function.config_write(0x0F, 1, 0x40)
    host.advance(100 * S)
    assert host.function.config_read(0x0F, 1) == 0xC0
    host.function.config_write(0x0F, 1, 0x40)
    host.advance(S)
    assert host.function.config_read(0x0F, 1) == 0x80


def bist_fails(host: Host) -> None:
    """A completion code, and a firmware that does not start."""
    host.ioa.faults.inject("bist-fails", code=3)
    host.bist()
    assert host.function.config_read(0x0F, 1) == 0x83
    host.start()
    assert (host.read("INT"), host.ioa.state) == (0, State.RESET)


def never_operational(host: Host) -> None:
    """STARTING for good."""
    host.ioa.faults.inject("never-operational")
    host.bist()
    host.start()
    host.advance(1000 * S)
    assert (host.read("INT"), host.ioa.state) == (0, State.STARTING)


def operational_slow(host: Host) -> None:
    """30 s."""
    host.ioa.faults.inject("operational-slow")
    host.bist()
    host.write("UPROC_SET", 0x82800000)
    host.advance(30 * S - 1)
    assert host.read("INT") == 0
    host.advance(1)
    assert host.read("INT") == 0x80000000


def mailbox_silent(host: Host) -> None:
    """No DBG_ACK."""
    host.ioa.faults.inject("mailbox-silent")
    host.write("UPROC_SET", 0x01400000)
    host.advance(S)
    assert not host.read("INT") & 0x01000000


def unit_check_buffer_garbled(host: Host) -> None:
    """The state word is 0."""
    host.ioa.faults.inject("unit-check-buffer-garbled")
    host.ioa.enter_unit_check()
    assert host.ioa.mailbox._memory[host.read("MAILBOX")] == 0


# -- the adapter's own commands --------------------------------------------------------------------------------


def start_step_fails(host: Host) -> None:
    """Also ID HRRQ, whose queue is then used to say so."""
    host.ioa.faults.inject("start-step-fails", times=2)
    assert host.scsi(INQUIRY, 36, handle=IOA) == 0x04448400
    host.bist()
    host.start()
    assert host.identify() == 0x04448400


def start_step_hung(host: Host) -> None:
    """No answer."""
    host.ioa.faults.inject("start-step-hung")
    assert host.scsi(INQUIRY, 36, handle=IOA) is None


def page28_refused(host: Host) -> None:
    """05240000."""
    host.ioa.faults.inject("page28-refused")
    assert host.scsi(bytes((0x1A, 0, 0x28, 0, 255, 0)), 255, handle=IOA) == 0x05240000


def hung(fault: str, cdb: bytes) -> Callable[[Host], None]:
    """A command to a resource, or to the adapter, is never answered."""
    def test(host: Host) -> None:
        host.ioa.faults.inject(fault)
        assert host.ioacmd(cdb, handle=IOA if cdb[0] == 0xF7 else 0x42) is None
    return test


def fails(fault: str, cdb: bytes, ioasc: int) -> Callable[[Host], None]:
    """It is answered badly, and does nothing."""
    def test(host: Host) -> None:
        host.ioa.faults.inject("command-hung")
        host.submit(request(READ_8, at=OTHER, index=6, nbytes=4096), OTHER, descriptor(READ_LAST, 4096))
        host.advance(1_000_000)
        host.ioa.faults.inject(fault)
        assert host.ioacmd(cdb, handle=IOA if cdb[0] == 0xF7 else 0x42) == ioasc
        assert host.scsi(TUR) == 0
    return test


def hcam(fault: str, kind: int, first: int) -> Callable[[Host], None]:
    """A notification as a request arrives, when it was asked for; the fault waits until then."""
    def test(host: Host) -> None:
        host.ioa.faults.inject(fault)
        assert host.scsi(TUR) == 0
        cdb = bytes((0xCF, kind, 0, 0, 0, 0, 0, 8, 0))
        host.submit(request(cdb, at=OTHER, index=100, handle=IOA, kind=RequestType.HCAM, nbytes=2048), OTHER,
                    descriptor(READ_LAST, 2048))
        host.advance(1_000_000)
        host.submit(request(TUR))
        assert sorted(host.wait() + host.wait()) == [5, 100]
        assert host.peek(DATA, 1)[0] == first
    return test


def stale_handle(host: Host) -> None:
    """Removed and added as far as notifications were asked for; the old handle is refused, the new one works."""
    for index in (100, 101):
        at = BLOCK + 0x1000 * index
        host.submit(request(bytes((0xCF, 1, 0, 0, 0, 0, 0, 8, 0)), at=at, index=index, handle=IOA,
                            kind=RequestType.HCAM, nbytes=2048), at,
                    descriptor(READ_LAST, 2048, DATA + 0x1000 * (index - 99)))
    host.advance(1_000_000)
    host.ioa.faults.inject("stale-handle")
    host.submit(request(TUR))
    found = host.wait()
    found += host.wait()
    assert sorted(found) == [5, 100, 101]
    assert host.ioasc() == 0x05250000
    assert [host.peek(DATA + 0x1000 * n, 2).hex() for n in (1, 2)] == ["e102", "e101"]
    assert host.scsi(TUR, handle=0x42) == 0x05250000
    assert host.scsi(TUR) == 0


# -- requests --------------------------------------------------------------------------------------------------


def unit_check(host: Host) -> None:
    """INT UNIT_CHECK, silence, the code in the buffer."""
    host.ioa.faults.inject("unit-check", prc=0xABCD)
    assert host.scsi(TUR) is None
    assert host.read("INT") & 0x08000000
    assert 0xABCD in host.ioa.mailbox._memory.values()


def firmware_hang(host: Host) -> None:
    """INT says nothing, and nothing comes any more."""
    host.ioa.faults.inject("firmware-hang")
    assert host.scsi(TUR) is None
    assert host.run(request(TUR, at=OTHER, index=6), OTHER, index=6) is None
    assert not host.read("INT") & 0x1C000018


def command_hung(host: Host) -> None:
    """CANCEL ALL does not find it."""
    host.ioa.faults.inject("command-hung")
    assert host.scsi(TUR) is None
    assert host.run(request(bytes((0xCE,)), at=OTHER, index=6, kind=RequestType.IOACMD), OTHER, index=6) == 0


def command_slow(host: Host) -> None:
    """10 s."""
    host.ioa.faults.inject("command-slow")
    assert host.scsi(TUR) is None
    assert host.wait(10 * S) == [5]


def bus_reset_by_other(host: Host) -> None:
    """Every command of the bus, and the unit attention after it."""
    host.ioa.faults.inject("bus-reset-by-other", after=1)
    host.submit(request(READ_8, at=OTHER, index=6, nbytes=4096), OTHER, descriptor(READ_LAST, 4096))
    host.submit(request(TUR))
    assert sorted(host.wait() + host.wait(1000)) == [5, 6]
    assert (host.ioasc(), host.ioasc(OTHER)) == (0x06298000, 0x06298000)
    assert host.scsi(TUR) == 0x04448502


def sense_hung(host: Host) -> None:
    """Only the REQUEST SENSE that follows a check condition."""
    host.ioa.faults.inject("sense-hung")
    host.target.reset("bus")
    assert host.scsi(TUR) == 0x04448502
    assert host.scsi(bytes((0x03, 0, 0, 0, 18, 0)), 18, hi=0x30) is None


def sense_fails(host: Host) -> None:
    """The same, badly."""
    host.ioa.faults.inject("sense-fails")
    host.target.reset("bus")
    assert host.scsi(TUR) == 0x04448502
    assert host.scsi(bytes((0x03, 0, 0, 0, 18, 0)), 18, hi=0x30) == 0x04080100


def completion_lost(host: Host) -> None:
    """Carried out all the same."""
    host.ioa.faults.inject("completion-lost")
    host.poke(DATA, b"\x77" * 4096)
    assert host.scsi(bytes((0x2A, 0, 0, 0, 0, 8, 0, 0, 8, 0)), 4096, True) is None
    back = bytearray(4096)
    host.target.units[0].disk.readv(8, [memoryview(back)])
    assert bytes(back) == b"\x77" * 4096


def completion_late(host: Host) -> None:
    """10 s."""
    host.ioa.faults.inject("completion-late")
    assert host.scsi(TUR) is None
    assert host.wait(10 * S) == [5]


def completion_duplicate(host: Host) -> None:
    """Twice."""
    host.ioa.faults.inject("completion-duplicate")
    host.submit(request(TUR))
    assert host.wait() == [5, 5]


def completion_stale(host: Host) -> None:
    """The one before, as the next request is fetched."""
    host.ioa.faults.inject("completion-stale")
    host.submit(request(TUR, at=OTHER, index=6), OTHER)
    assert host.wait() == [5]
    assert host.wait() == [6]


def completion_foreign(host: Host) -> None:
    """Index 104 first."""
    host.ioa.faults.inject("completion-foreign")
    host.submit(request(TUR))
    assert host.wait() == [104, 5]


def completion_out_of_order(host: Host) -> None:
    """The next one overtakes it; without a next one it comes 5 ms later."""
    host.ioa.faults.inject("completion-out-of-order")
    host.submit(request(TUR))
    host.submit(request(TUR, at=OTHER, index=6), OTHER)
    assert host.wait() == [6, 5]
    host.ioa.faults.inject("completion-out-of-order")
    assert host.scsi(TUR) == 0


def bad_index(host: Host) -> None:
    """115, which is one too many."""
    host.ioa.faults.inject("bad-index")
    host.submit(request(TUR))
    assert host.wait() == [115, 5]


def toggle_stuck(host: Host) -> None:
    """It is written, and does not look new; the next goes behind it."""
    host.ioa.faults.inject("toggle-stuck")
    assert host.scsi(TUR) is None
    assert host.run(request(TUR, at=OTHER, index=6), OTHER, index=6) is None
    assert [word >> 2 for word in words(host)[:2]] == [5, 6]


READY: dict[str, Callable[[Host], None]] = {
    "all-ones": all_ones, "bus-master-cleared": bus_master_cleared, "irq-lost": irq_lost, "irq-stuck": irq_stuck,
    "crit-op": crit_op, "bist-hangs": bist_hangs, "bist-fails": bist_fails, "never-operational": never_operational,
    "operational-slow": operational_slow, "mailbox-silent": mailbox_silent,
    "unit-check-buffer-garbled": unit_check_buffer_garbled, "start-step-fails": start_step_fails,
    "start-step-hung": start_step_hung, "page28-refused": page28_refused,
    "cancel-hung": hung("cancel-hung", bytes((0xCE,))),
    "cancel-fails": fails("cancel-fails", bytes((0xCE,)), 0x04448600),
    "device-reset-hung": hung("device-reset-hung", bytes((0xC3,))),
    "device-reset-fails": fails("device-reset-fails", bytes((0xC3,)), 0x04448600),
    "shutdown-hung": hung("shutdown-hung", bytes((0xF7, 0x80))),
    "shutdown-fails": fails("shutdown-fails", bytes((0xF7,)), 0x05240000),
    "hcam-error-log": hcam("hcam-error-log", 2, 0xE2), "hcam-config-changed": hcam("hcam-config-changed", 1, 0xE1),
    "stale-handle": stale_handle, "unit-check": unit_check, "firmware-hang": firmware_hang,
    "command-hung": command_hung, "command-slow": command_slow, "bus-reset-by-other": bus_reset_by_other,
    "sense-hung": sense_hung, "sense-fails": sense_fails, "completion-lost": completion_lost,
    "completion-late": completion_late, "completion-duplicate": completion_duplicate,
    "completion-stale": completion_stale, "completion-foreign": completion_foreign,
    "completion-out-of-order": completion_out_of_order, "bad-index": bad_index, "toggle-stuck": toggle_stuck,
}


@pytest.mark.parametrize("fault", READY)
def test_fault(ready: Host, fault: str) -> None:
    """The function of that name says what it does."""
    READY[fault](ready)
    assert fault in ready.ioa.faults.struck


@pytest.mark.parametrize("fault", INT_BITS)
def test_a_bit_of_int(ready: Host, fault: str) -> None:
    """It comes up, and the request is lost; the next one is not."""
    ready.ioa.faults.inject(fault)
    assert ready.scsi(TUR) is None
    assert ready.read("INT") & 0x1C000018 == INT_BITS[fault]
    assert ready.run(request(TUR, at=OTHER, index=6), OTHER, index=6) == 0


@pytest.mark.parametrize("fault", COMMAND_IOASC)
def test_a_status_code(ready: Host, fault: str) -> None:
    """The command ends with it, and nothing of it was done."""
    ready.ioa.faults.inject(fault)
    ready.poke(DATA, b"\x11" * 4096)
    assert ready.scsi(READ_8, 4096) == COMMAND_IOASC[fault]
    assert (ready.residual(), ready.peek(DATA, 4096)) == (4096, b"\x11" * 4096)
    assert ready.scsi(TUR) == (0x023F0000 if fault == "ioasc-sync-required" else 0)


@pytest.mark.parametrize("fault", CARRIED_OUT_IOASC)
def test_a_status_code_of_a_command_that_was_carried_out(ready: Host, fault: str) -> None:
    """Data is there, nothing is left over."""
    ready.ioa.faults.inject(fault)
    ready.poke(DATA, b"\x11" * 4096)
    assert ready.scsi(READ_8, 4096) == CARRIED_OUT_IOASC[fault]
    assert (ready.residual(), ready.peek(DATA, 4096)) == (0, bytes(4096))


def test_missing_autosense(make_host: MakeHost) -> None:
    """Where the firmware has it: once it does not."""
    host = make_host(CITRINE)
    host.bring_up()
    host.ioa.faults.inject("autosense-missing")
    assert host.scsi(TUR) == 0x04448502
    assert host.peek(BLOCK + 0x80 + 28, 4) == bytes(4)
    assert host.scsi(bytes((0x03, 0, 0, 0, 18, 0)), 18, hi=0x30) == 0


def test_every_fault_has_a_test() -> None:
    """And each test is of a fault there is."""
    assert {*READY, *INT_BITS, *COMMAND_IOASC, *CARRIED_OUT_IOASC, "autosense-missing"} == set(FAULTS)


def test_an_unknown_fault(host: Host) -> None:
    """The error lists what there is."""
    with pytest.raises(UsageError, match="unit-check"):
        host.ioa.faults.inject("flux-capacitor")
