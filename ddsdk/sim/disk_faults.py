"""What can go wrong with a disk, as data: each fault says when it strikes and what the initiator sees.

Status and sense codes: SPC-3 rev 23, tables 27 and 28; SAM-3, 5.3.1.  A fault that the disk does not report
(a lost, torn or misdirected write) is here too: only reading back finds it.
"""

from __future__ import annotations

from enum import Enum, Flag, auto

from attrs import define, field, frozen

from ddsdk.errors import UsageError


@frozen
class Sense:
    """Sense key, additional sense code and its qualifier.  `str()` is `03/11/00`."""

    key: int
    asc: int
    ascq: int = 0

    def __str__(self) -> str:
        return f"{self.key:02x}/{self.asc:02x}/{self.ascq:02x}"


class Access(Flag):
    """What a command does to the disk.  INQUIRY and REPORT LUNS are none of these and never fail."""

    READ = auto()
    WRITE = auto()
    FLUSH = auto()
    OTHER = auto()
    SENSE = auto()          # REQUEST SENSE; not part of ANY, it reports the other commands' troubles
    MEDIUM = READ | WRITE
    ANY = READ | WRITE | FLUSH | OTHER


class FaultKind(Enum):
    """How a fault shows."""

    CHECK = "CHECK CONDITION, nothing transferred"
    MEDIUM = "CHECK CONDITION at the first bad sector, what is before it transferred"
    RECOVERED = "CHECK CONDITION with everything transferred"
    BUSY = "status BUSY"
    QUEUE_FULL = "status TASK SET FULL"
    RESERVED = "status RESERVATION CONFLICT"
    HANG = "the command never ends"
    SHORT = "GOOD status, fewer bytes than asked for"
    SLOW = "the command takes longer"
    LOST_WRITE = "GOOD status, nothing written"
    TORN_WRITE = "GOOD status, only the first sectors written"
    MISDIRECTED_WRITE = "GOOD status, written elsewhere"


@frozen
class DiskFault:
    """One fault.  It strikes commands of kind `on` that touch sectors `first`..`last` (None: to the end).

    The first `after` such commands are spared, the next `times` (None: all) are struck.  `amount`: sectors
    missing (SHORT), sectors written (TORN_WRITE), sectors of shift (MISDIRECTED_WRITE), nanoseconds (SLOW).
    """

    kind: FaultKind
    on: Access = Access.ANY
    sense: Sense | None = None
    first: int = 0
    last: int | None = None
    after: int = 0
    times: int | None = 1
    amount: int = 0

    def __attrs_post_init__(self) -> None:
        if self.after < 0 or (self.times is not None and self.times < 1):
            raise UsageError(f"disk fault {self.kind.name}: after={self.after}, times={self.times}:"
                             " after must be 0 or more, times 1 or more (None: for ever)")
        if self.last is not None and not 0 <= self.first <= self.last:
            raise UsageError(f"disk fault {self.kind.name}: sectors {self.first}..{self.last} are no range")


@define
class _Armed:
    fault: DiskFault
    seen: int = 0

    def strikes(self) -> bool:
        """Count one matching command; say whether this one is struck."""
        number = self.seen - self.fault.after
        self.seen += 1
        return number >= 0 and (self.fault.times is None or number < self.fault.times)


@define
class FaultList:
    """The faults of one disk.  `armed` is empty on a healthy disk, which is what the data path asks."""

    armed: list[_Armed] = field(factory=list)
    struck: list[DiskFault] = field(factory=list)

    def inject(self, fault: DiskFault) -> None:
        """Arm *fault*.  Of several that match a command, the first injected strikes."""
        self.armed.append(_Armed(fault))

    def clear(self) -> None:
        """Disarm everything."""
        self.armed.clear()

    def strike(self, access: Access, lba: int = 0, sectors: int = 0, *,
               slow: bool = False) -> DiskFault | None:
        """The fault that strikes this command, or None.  Counts.  SLOW ones are asked for apart, by
        *slow*.
        """
        for armed in self.armed:
            fault = armed.fault
            if not fault.on & access or (fault.kind is FaultKind.SLOW) != slow:
                continue
            last = fault.last
            if sectors and (lba + sectors <= fault.first or (last is not None and lba > last)):
                continue
            if armed.strikes():
                self.struck.append(fault)
                return fault
        return None


def medium_error(first: int, last: int | None = None, *, on: Access = Access.MEDIUM, after: int = 0,
                 times: int | None = None) -> DiskFault:
    """Sectors *first*..*last* (one sector when *last* is None) cannot be read 03/11/00 or written
    03/0C/00.
    """
    return DiskFault(FaultKind.MEDIUM, on, None, first, first if last is None else last, after, times)


def check_condition(key: int, asc: int, ascq: int = 0, *, on: Access = Access.ANY, after: int = 0,
                    times: int | None = 1) -> DiskFault:
    """Any sense data the caller likes."""
    return DiskFault(FaultKind.CHECK, on, Sense(key, asc, ascq), after=after, times=times)


def becoming_ready(times: int | None = 1, after: int = 0) -> DiskFault:
    """02/04/01: spinning up."""
    return check_condition(0x2, 0x04, 0x01, after=after, times=times)


def not_started(times: int | None = None, after: int = 0) -> DiskFault:
    """02/04/02: wants START STOP UNIT."""
    return check_condition(0x2, 0x04, 0x02, after=after, times=times)


def unit_attention(asc: int = 0x29, ascq: int = 0x00, times: int | None = 1, after: int = 0) -> DiskFault:
    """06/29/00: reset by somebody; other codes: what else changed."""
    return check_condition(0x6, asc, ascq, after=after, times=times)


def recovered_error(times: int | None = 1, after: int = 0) -> DiskFault:
    """01/17/01: recovered with retries; the data is good."""
    return DiskFault(FaultKind.RECOVERED, Access.MEDIUM, Sense(0x1, 0x17, 0x01), after=after, times=times)


def aborted_command(times: int | None = 1, after: int = 0) -> DiskFault:
    """0B/47/00: a parity error on the bus."""
    return check_condition(0xB, 0x47, 0x00, on=Access.MEDIUM, after=after, times=times)


def hardware_error(times: int | None = 1, after: int = 0) -> DiskFault:
    """04/44/00: internal target failure."""
    return check_condition(0x4, 0x44, 0x00, after=after, times=times)


def write_protected(after: int = 0, times: int | None = None) -> DiskFault:
    """07/27/00 on every write."""
    return check_condition(0x7, 0x27, 0x00, on=Access.WRITE, after=after, times=times)


def sync_fails(times: int | None = None, after: int = 0) -> DiskFault:
    """SYNCHRONIZE CACHE answers 04/44/00; what was in the cache stays there."""
    return check_condition(0x4, 0x44, 0x00, on=Access.FLUSH, after=after, times=times)


def busy(times: int | None = 1, after: int = 0) -> DiskFault:
    """Status BUSY."""
    return DiskFault(FaultKind.BUSY, after=after, times=times)


def queue_full(times: int | None = 1, after: int = 0) -> DiskFault:
    """Status TASK SET FULL."""
    return DiskFault(FaultKind.QUEUE_FULL, after=after, times=times)


def reservation_conflict(times: int | None = None, after: int = 0) -> DiskFault:
    """Another initiator holds the disk."""
    return DiskFault(FaultKind.RESERVED, after=after, times=times)


def hang(times: int | None = 1, after: int = 0, on: Access = Access.MEDIUM) -> DiskFault:
    """The command is taken and never answered."""
    return DiskFault(FaultKind.HANG, on, after=after, times=times)


def wrong_length(missing: int = 1, times: int | None = 1, after: int = 0) -> DiskFault:
    """*missing* sectors fewer than asked for, GOOD status."""
    return DiskFault(FaultKind.SHORT, Access.MEDIUM, after=after, times=times, amount=missing)


def slow(delay_ns: int, times: int | None = 1, after: int = 0, on: Access = Access.ANY) -> DiskFault:
    """*delay_ns* more than usual."""
    return DiskFault(FaultKind.SLOW, on, after=after, times=times, amount=delay_ns)


def lost_write(times: int | None = 1, after: int = 0) -> DiskFault:
    """Acknowledged and not written."""
    return DiskFault(FaultKind.LOST_WRITE, Access.WRITE, after=after, times=times)


def torn_write(sectors: int, times: int | None = 1, after: int = 0) -> DiskFault:
    """Acknowledged, only the first *sectors* written."""
    return DiskFault(FaultKind.TORN_WRITE, Access.WRITE, after=after, times=times, amount=sectors)


def misdirected_write(shift: int = 1, times: int | None = 1, after: int = 0) -> DiskFault:
    """Acknowledged, written *shift* sectors further on."""
    return DiskFault(FaultKind.MISDIRECTED_WRITE, Access.WRITE, after=after, times=times, amount=shift)
