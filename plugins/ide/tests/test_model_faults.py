"""Every fault of the model, as a host sees it in the registers (hw-ide.md 11)."""

from __future__ import annotations

import pytest

from ddsdk_ide.conformance import PROFILE
from ddsdk_ide.model_faults import FAULTS
from plugins.ide.tests.host import BUFFER, ERROR, MS, NIEN, NSECTOR, SRST, STATUS, Host, Make


def inject(host: Host, fault: str, **options: int) -> None:
    """Arm *fault*."""
    host.model.faults.inject(fault, **options)


def struck(host: Host, fault: str) -> bool:
    """It did."""
    return host.model.faults.struck.get(fault, 0) > 0


def test_the_profile_names_faults_of_the_model() -> None:
    """Every role, every fatal fault."""
    assert {role.fault for role in PROFILE.roles.values()} | set(PROFILE.fatal_faults) <= set(FAULTS)
    assert not PROFILE.expected_failures


# -- the interface -----------------------------------------------------------------------------------------------------


def test_adapter_gone(host: Host) -> None:
    """All ones everywhere, writes lost, no interrupt; configuration space answers."""
    inject(host, "adapter-gone")
    assert (host.alt(), host.inb(NSECTOR), host.bm(2), host.bm(4, size=4)) == (0xFF, 0xFF, 0xFF, 0xFFFF_FFFF)
    host.channel = 1
    assert host.alt() == 0xFF
    assert host.function.config_read(0, 4) == 0x7010_8086


def test_drive_gone(host: Host) -> None:
    """The drives' ports read all ones, those of the bus master do not; the other channel is still there."""
    inject(host, "drive-gone")
    assert (host.alt(), host.inb(STATUS), host.data(1), host.bm(2)) == (0xFF, 0xFF, b"\xff\xff", 0x00)
    host.control(SRST)
    assert host.alt() == 0xFF
    host.channel = 1
    assert host.alt() == 0x7F


@pytest.mark.parametrize("interrupt", [False, True])
def test_dma_error(host: Host, interrupt: bool) -> None:
    """ERROR, not active, the drive waits; nothing has moved."""
    inject(host, "dma-error", interrupt=interrupt)
    memory = host.fill(BUFFER, 0x1000)
    host.dma(0xC8, 0, 8, (BUFFER, 0x1000))
    host.advance(10 * MS)
    assert (host.bm(2), host.alt()) == (0x06 if interrupt else 0x02, 0x58)
    assert host.peek(BUFFER, 0x1000) == memory


def test_table_short(host: Host) -> None:
    """The table is over half way; the drive wants the rest."""
    inject(host, "table-short")
    host.drives[0, 0].disk.writev(0, [memoryview(b"\3" * 0x1000)])
    host.dma(0xC8, 0, 8, (BUFFER, 0x1000))
    host.advance(10 * MS)
    assert (host.bm(2), host.alt(), host.peek(BUFFER, 0x1000)) == (0x00, 0x58, b"\3" * 0x800 + bytes(0x800))


def test_table_long(host: Host) -> None:
    """All has moved, with an interrupt; active all the same."""
    inject(host, "table-long")
    host.drives[0, 0].disk.writev(0, [memoryview(b"\3" * 0x1000)])
    host.dma(0xC8, 0, 8, (BUFFER, 0x1000))
    assert (host.finish(), host.inb(NSECTOR)) == ((0x05, 0x50), 0x00)
    assert host.peek(BUFFER, 0x1000) == b"\3" * 0x1000


# -- commands ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["command-hung", "firmware-fault", "completion-lost"])
def test_bsy_until_a_reset(host: Host, fault: str) -> None:
    """For a minute; after SRST commands work."""
    inject(host, fault)
    host.command(0xE5)
    host.advance(60_000 * MS)
    assert (host.alt(), host.bm(2)) == (0x80, 0x00)
    assert host.reset() == 0x50
    assert host.run(0xE5) == 0x50


def test_completion_lost_has_done_its_work(host: Host) -> None:
    """A write that is never heard of is on the disk."""
    inject(host, "completion-lost")
    data = host.fill(BUFFER, 512)
    host.dma(0xCA, 3, 1, (BUFFER, 512), write=True)
    host.advance(10 * MS)
    found = bytearray(512)
    host.drives[0, 0].disk.readv(3, [memoryview(found)])
    assert (bytes(found), host.alt()) == (data, 0x80)


def test_completion_late(host: Host) -> None:
    """BSY for 5 s, or as long as one says."""
    inject(host, "completion-late", ns=7 * MS)
    host.command(0xE5)
    host.advance(6 * MS)
    assert host.alt() == 0x80
    host.advance(2 * MS)
    assert (host.alt(), host.bm(2)) == (0x50, 0x04)


@pytest.mark.parametrize(("fault", "code", "status", "error"), [
    ("command-aborted", 0xE5, 0x51, 0x04), ("device-fault", 0xE5, 0x70, 0x00), ("flush-fails", 0xE7, 0x51, 0x04),
    ("flush-fails", 0xEA, 0x51, 0x04), ("multiple-refused", 0xC6, 0x51, 0x04), ("drq-stuck", 0xE5, 0x58, 0x00),
])
def test_ends_of_commands(host: Host, fault: str, code: int, status: int, error: int) -> None:
    """Status and error register, with an interrupt."""
    inject(host, fault)
    host.command(code, 0, 16)
    host.advance(100 * MS)
    assert (host.alt(), host.inb(ERROR), host.bm(2)) == (status, error, 0x04)


@pytest.mark.parametrize("fault", ["flush-fails", "multiple-refused", "icrc", "last-block-fails", "drq-missing"])
def test_faults_wait_for_their_command(host: Host, fault: str) -> None:
    """Any other passes."""
    inject(host, fault)
    assert host.run(0xE5) == 0x50
    assert not struck(host, fault)


def test_icrc(host: Host) -> None:
    """ICRC and ABRT when the data has moved."""
    inject(host, "icrc")
    host.dma(0xC8, 0, 8, (BUFFER, 0x1000))
    assert (host.finish()[1], host.inb(ERROR)) == (0x51, 0x84)


@pytest.mark.parametrize("code", [0x20, 0x30, 0xC8])
def test_drq_missing(host: Host, code: int) -> None:
    """Good status at once, nothing to move."""
    inject(host, "drq-missing")
    host.command(code, 0, 4)
    assert (host.rest(), host.bm(2)) == (0x50, 0x04)


def test_last_block_fails(host: Host) -> None:
    """Only after the data, and the block is not written."""
    inject(host, "last-block-fails")
    host.command(0x30, 0, 2)
    for byte in (b"\1", b"\2"):
        host.drq()
        host.put_data(byte * 512)
    assert (host.rest(), host.inb(ERROR)) == (0x51, 0x04)
    found = bytearray(1024)
    host.drives[0, 0].disk.readv(0, [memoryview(found)])
    assert found == b"\1" * 512 + bytes(512)


# -- resets ------------------------------------------------------------------------------------------------------------


def test_reset_hangs(host: Host) -> None:
    """BSY until another one."""
    inject(host, "reset-hangs")
    host.control(SRST | NIEN)
    host.advance(10_000)
    host.control(NIEN)
    host.advance(60_000 * MS)
    assert host.alt() == 0x80
    assert host.reset() == 0x50


def test_reset_slow(host: Host) -> None:
    """20 s."""
    inject(host, "reset-slow")
    host.control(SRST | NIEN)
    host.advance(10_000)
    host.control(NIEN)
    host.advance(19_999 * MS)
    assert host.alt() == 0x80
    host.advance(2 * MS)
    assert host.alt() == 0x50


@pytest.mark.parametrize(("fault", "code"), [("reset-diagnosis", 0x02), ("reset-drive-1", 0x81)])
def test_diagnosis(make_host: Make, fault: str, code: int) -> None:
    """What drive 0 says of itself, and of drive 1; the next reset finds nothing."""
    host = make_host(places=((0, 0), (0, 1)))
    inject(host, fault)
    assert (host.reset(), host.inb(ERROR)) == (0x50, code)
    assert (host.reset(), host.inb(ERROR)) == (0x50, 0x01)


def test_drive_1_busy(make_host: Make) -> None:
    """Drive 0 comes back, drive 1 does not."""
    host = make_host(places=((0, 0), (0, 1)))
    inject(host, "drive-1-busy")
    assert host.reset() == 0x50
    host.outb(6, 0xB0)
    assert host.alt() == 0x80


# -- interrupts --------------------------------------------------------------------------------------------------------


def test_irq_lost(host: Host) -> None:
    """The command is over, and nobody says so."""
    inject(host, "irq-lost")
    host.command(0xE5)
    assert (host.rest(), host.bm(2)) == (0x50, 0x00)


def test_irq_twice(host: Host) -> None:
    """Again, a little after it was served."""
    inject(host, "irq-twice")
    host.run(0xE5)
    host.bm(2, 0x04)
    host.advance(MS)
    assert host.bm(2) == 0x04


@pytest.mark.parametrize("fault", ["irq-spurious", "irq-stale"])
def test_irq_while_busy(host: Host, fault: str) -> None:
    """The line rises though BSY is set: for nobody, for the command before."""
    assert host.run(0xE5) == 0x50
    host.bm(2, 0x04)
    inject(host, fault)
    host.command(0xE5)
    assert (host.alt(), host.bm(2)) == (0x80, 0x04)
    assert host.rest() == 0x50
