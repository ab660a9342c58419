"""ERR: faults of the disk and of the adapter, struck in the middle of a dump, at the take-over, and for ever.

What decides between success and error is the mid-layer's scsi_decide_disposition(): a driver has to tell it what the
adapter told the driver.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from attrs import frozen

from ddsdk.hookspecs.profile import Role
from ddsdk.sim import disk_faults
from ddsdk.sim.disk_faults import Access, DiskFault, FaultKind
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import Extent, PhysicalMemory

from .. import states
from ..bench import NS_PER_S, Bench
from ..check import Need, Setup, check, not_applicable
from ..plan import Plan
from ..stretch import (
    Ending,
    command_limit_ns,
    dump_some,
    flush,
    honest,
    read_some,
    works_or_is_dead,
    write_some,
)

#: Commands in flight where the driver takes more than one: the fault strikes among others.
_DEEP: Final = 4
_SMALL: Final = Setup(disk_bytes=1 << 20)
_SMALL_DEEP: Final = Setup(disk_bytes=1 << 20, queue_depth=_DEEP)
#: Commands that pass before a fault strikes.
_SPARED: Final = 2


@frozen
class _DiskCase:
    """A fault of the disk; `survived`: the right outcome by the mid-layer's rules is success, else an error.

    Those that are survived strike once.  The others stay until they are cleared, so that success would be a lie.
    """

    fault: DiskFault
    survived: bool


def _once(fault: DiskFault) -> _DiskCase:
    return _DiskCase(fault, True)


def _stays(fault: DiskFault) -> _DiskCase:
    return _DiskCase(fault, False)


#: Sectors in the middle of a command of any stretch.
_BAD: Final = (150, 160)
#: Every way a disk has to say no, or to say nothing, and what scsi_decide_disposition() makes of it.
_DISK: Final[Mapping[str, _DiskCase]] = MappingProxyType({
    "medium-error": _stays(disk_faults.medium_error(*_BAD)),                        # NEEDS_RETRY, but five times only
    "medium-error-once": _once(disk_faults.medium_error(*_BAD, times=1)),
    "becoming-ready": _once(disk_faults.becoming_ready(3, _SPARED)),
    "not-started": _stays(disk_faults.not_started(None, _SPARED)),
    "unit-attention": _once(disk_faults.unit_attention(after=_SPARED)),
    "parameters-changed": _once(disk_faults.unit_attention(0x2A, 0x01, after=_SPARED)),
    "medium-changed": _stays(disk_faults.unit_attention(0x28, 0x00, None, _SPARED)),    # it is another disk
    "recovered-error": _once(disk_faults.recovered_error(1, _SPARED)),
    "aborted-command": _once(disk_faults.aborted_command(1, _SPARED)),
    "hardware-error": _stays(disk_faults.hardware_error(None, _SPARED)),
    "write-protected": _stays(disk_faults.write_protected(_SPARED)),
    "sync-fails": _stays(disk_faults.sync_fails()),
    "sync-reserved": _stays(DiskFault(FaultKind.RESERVED, Access.FLUSH, times=None)),   # nothing moves: resid is 0
    "busy": _once(disk_faults.busy(3, _SPARED)),
    "task-set-full": _once(disk_faults.queue_full(3, _SPARED)),
    "reservation-conflict": _stays(disk_faults.reservation_conflict(None, _SPARED)),
    "hang": _once(disk_faults.hang(1, _SPARED, Access.WRITE)),
    "wrong-length": _once(disk_faults.wrong_length(1, 1, _SPARED)),
    "nothing-moved": _once(disk_faults.wrong_length(1 << 20, 1, _SPARED)),
    "slow": _once(disk_faults.slow(10 * NS_PER_S, 1, _SPARED, Access.READ)),
})


def _disk_faults(_plan: Plan) -> Sequence[str]:
    return tuple(_DISK)


def model_faults(plan: Plan) -> Sequence[str]:
    """Ids of the faults that the plugin's model declares; none where there is no model, or where it cannot be built
    (the first bench says why).
    """
    if plan.backend != "model":
        return ()
    try:
        with Machine(PhysicalMemory([Extent(0, memoryview(bytearray(4096)))])) as machine:
            return sorted(plan.model.build(machine, {}).model.faults.known)
    except Exception:
        return ()


@check("ERR-1", hook="queuecommand", needs=(Need.SCSI, Need.MODEL), setup=_SMALL_DEEP,
       source="field.md 4.3, row disk: UNIT ATTENTION, NOT READY, CHECK CONDITION kinds, BUSY/QUEUE FULL, short write,"
              " SYNCHRONIZE CACHE fails, read-only", cases=_disk_faults, fix="""
       scmd->result = DID_OK << 16 | reply->SCSIStatus;         /* what the target said, as it said it */
       scmd->resid = scmd->request_bufflen - reply->TransferCount;
       if (reply->SCSIState & AUTOSENSE_VALID)
           memcpy(scmd->sense_buffer, sense, min(reply->SenseCount, sizeof scmd->sense_buffer));
       """)
def a_disk_fault_ends_as_the_mid_layer_rules(bench: Bench, case: str) -> None:
    """Whatever status, sense data or silence the disk answers with in the middle of a dump: what the mid-layer retries
    ends well, anything else in an error with a reason, and the next command works.
    """
    assert bench.disk is not None
    disk, wanted = bench.disk, _DISK[case]
    limit_ns = command_limit_ns(bench, 0 if bench.lacks(Need.RESET) else 2 * states.reset_ns(bench))
    bench.take_over()
    for what, stretch, access in (("writes", write_some, Access.WRITE), ("reads", read_some, Access.READ),
                                  ("flushes", _write_and_flush, Access.FLUSH)):
        if not wanted.fault.on & access or (wanted.fault.on & Access.MEDIUM and access is Access.FLUSH):
            continue
        disk.inject(wanted.fault)
        with bench.within(limit_ns, f"a dump whose disk answers {case} to one of its {what}"):
            ending = stretch(bench)
        bench.expect(disk.faults.struck, f"the {what} never reached the disk, where {case} waited for them")
        _as_ruled(bench, case, wanted.survived, what, ending)
        disk.faults.clear()
        disk.faults.struck.clear()
        with bench.within(limit_ns, f"the command after {case}"):
            bench.works()


def _write_and_flush(bench: Bench) -> Ending:
    return write_some(bench) and flush(bench)


def _as_ruled(bench: Bench, case: str, survived: bool, what: str, ending: Ending) -> None:
    if survived:
        bench.expect(ending, f"{case} for one of the {what}, which the mid-layer retries, ended it: {ending}; tell"
                             " it the status, the sense data and how many bytes moved")
    else:
        bench.expect(not ending, f"{case} stayed, and all of the {what} ended well; an error that stays"
                                 " must be reported")


@check("ERR-2", hook="dump_poll", needs=(Need.MODEL,), setup=_SMALL_DEEP, cases=model_faults,
       source="field.md 4.3, row HBA; invariants (ii), (iii): complete or an honest failure, in bounded time", fix="""
       Everything the adapter can say ends in scmd->scsi_done() with a result that is true, or in a reset that forgets
       what was in flight.  A fault that no driver could survive: name it in ConformanceProfile.fatal_faults, with the
       reason.
       """)
def a_fault_in_mid_dump_is_survived(bench: Bench, fault: str) -> None:
    """Every fault the model knows, struck once in the middle of a dump, is survived with every byte right; one that
    the profile calls fatal ends in an honest error.
    """
    bench.take_over()
    bench.inject(fault, after=_SPARED)
    with bench.within(2 * command_limit_ns(bench), f"a dump in which {fault} strikes"):
        ending = dump_some(bench)
        if fault not in bench.faults.struck:            # its first chance is its only one, or comes with a reset
            bench.faults.clear()
            bench.inject(fault)
            ending = ending and _reset(bench) and dump_some(bench)
    _survived(bench, fault, ending, "in the middle of the dump")
    bench.faults.clear()
    if ending:
        bench.works()
    elif not ending.given_up:
        works_or_is_dead(bench)


@check("ERR-3", hook="quiesce", needs=(Need.MODEL,), setup=_SMALL, cases=model_faults,
       source="field.md 2, row 2: the HBA cannot be recovered after the crash; 4.3, row HBA", fix="""
       Reset more than once before giving up, and bound every wait in it.  A fault that no driver could survive: name it
       in ConformanceProfile.fatal_faults, with the reason.
       """)
def a_fault_at_the_take_over_is_survived(bench: Bench, fault: str) -> None:
    """The same, struck between the crash and the first block: survived, or the device is refused with a reason."""
    bench.crash()
    bench.inject(fault)
    ending = _take_over(bench, fault)
    if ending:
        with bench.within(command_limit_ns(bench), f"a dump in which {fault} strikes"):
            ending = dump_some(bench)
    _survived(bench, fault, ending, "at the take-over")
    bench.faults.clear()
    if ending or _take_over(bench, fault):      # refused once; what a second look finds is honest too
        bench.works()


def _reset(bench: Bench) -> Ending:
    """The host reset of a dump in which a command timed out, without the 30 s."""
    if bench.lacks(Need.RESET):
        return Ending()
    if not bench.call_reset():
        return Ending(-errno.EIO, "the host reset handler failed", given_up=True)
    bench.settle()
    return Ending()


def _take_over(bench: Bench, fault: str) -> Ending:
    """Sanity check and quiesce, as the dump engine calls them."""
    device = bench.device
    with bench.within(3 * command_limit_ns(bench), f"the take-over of an adapter with {fault}"):
        verdict = device.sanity_check()
        error = verdict if verdict < 0 else device.quiesce()
    return honest(bench, error, device.why, "the take-over")


def _survived(bench: Bench, fault: str, ending: Ending, when: str) -> None:
    """*fault* has struck; only one that the profile calls fatal may have ended the dump."""
    if fault not in bench.faults.struck:
        bench.expect(ending, f"{fault} never struck, but the dump ended {ending}")
        not_applicable(f"nothing meets this fault {when}")
    reason = bench.plan.profile.fatal_faults.get(fault)
    bench.expect(ending or reason,
                 f"{fault} ({bench.faults.known[fault]}), struck once {when}, ended the dump: {ending}; a single strike"
                 " is to be survived, or named in ConformanceProfile.fatal_faults with the reason why it cannot be")


# -- for ever ------------------------------------------------------------------------------------------------


#: A fault for ever of the disk: the adapter reports every command, and nothing of it may be kept.
_DISK_FOR_EVER: Final[Mapping[str, Callable[[], DiskFault]]] = MappingProxyType({
    "disk-unit-attention": lambda: disk_faults.unit_attention(times=None),
    "disk-aborted-command": lambda: disk_faults.aborted_command(None),
    "disk-wrong-length": lambda: disk_faults.wrong_length(1, None),
})
#: These wait for a reset.
_RESETS: Final = (Role.RESET_HANGS, Role.RESET_SLOW)
#: What nobody notices before 30 s have passed costs real time, for ever and again: one of a kind is enough.
_IN_MID_DUMP: Final = (Role.COMPLETION_LOST, Role.COMPLETION_LATE, Role.COMPLETION_DUPLICATE, Role.COMPLETION_FOREIGN,
                       Role.FIRMWARE_FAULT, Role.ADAPTER_GONE, Role.RESET_HANGS)
_AT_TAKE_OVER: Final = (Role.FIRMWARE_FAULT, Role.ADAPTER_GONE, *_RESETS)


def _played(plan: Plan, roles: Sequence[Role]) -> list[str]:
    """Those of *roles* that some fault of the model plays."""
    if plan.backend != "model":
        return []
    return [role.value for role in roles if plan.role(role) and role.value not in plan.profile.not_offered]


def _roles_and_disk(plan: Plan) -> Sequence[str]:
    disk = _DISK_FOR_EVER if plan.backend == "model" else ()
    return [*_played(plan, _IN_MID_DUMP), *disk]


def _roles_at_take_over(plan: Plan) -> Sequence[str]:
    return _played(plan, _AT_TAKE_OVER)


def _arm_for_ever(bench: Bench, case: str, hang: bool) -> None:
    """*hang*: a fault that waits for a reset gets one, by a command that hangs."""
    if case in _DISK_FOR_EVER:
        assert bench.disk is not None
        bench.disk.inject(_DISK_FOR_EVER[case]())
        return
    role = Role(case)
    if hang and role in _RESETS and bench.plays(Role.COMMAND_HUNG):
        bench.inject(Role.COMMAND_HUNG, times=0)
    bench.inject(role, times=0)


def _disarm(bench: Bench) -> None:
    assert bench.disk is not None
    bench.faults.clear()
    bench.disk.faults.clear()


@check("ERR-11", hook="dump_poll", needs=(Need.MODEL,), setup=_SMALL_DEEP, cases=_roles_and_disk,
       source="field.md 4.3 invariant (iii): bounded time, every poll loop ends by virtual time", fix="""
       Count tries, and give up: end the command with a result that says so, or return FAILED from the reset handler.
       """)
def a_fault_for_ever_ends(bench: Bench, case: str) -> None:
    """A fault that strikes every command from the middle of the dump on: each command ends within its bounds, with
    every byte right or in an honest error, and the dump with the first error.
    """
    bench.take_over()
    bench.expect(write_some(bench, count=2), "the writes before the fault failed")
    _arm_for_ever(bench, case, hang=True)
    ending = Ending()
    for stretch in (write_some, read_some):
        with bench.within(2 * command_limit_ns(bench), f"a dump with {case} on every command"):
            ending = ending and stretch(bench, count=2)
    _disarm(bench)
    if ending:
        bench.works()
    else:
        works_or_is_dead(bench)


@check("ERR-12", hook="quiesce", needs=(Need.MODEL,), setup=_SMALL, cases=_roles_at_take_over,
       source="white paper 2.2: the dump module checks each device and selects the first sane one; field.md 4.3"
              " invariant (iii)", fix="""
       Return -EIO from quiesce(), or FAILED from the reset handler, once the adapter has had its chances: the next
       dump device is waiting.
       """)
def a_fault_for_ever_at_the_take_over_ends(bench: Bench, case: str) -> None:
    """A fault that strikes always from the crash on: the adapter is refused, within bounds and with a reason, or works.
    """
    bench.crash()
    _arm_for_ever(bench, case, hang=False)
    ending = _take_over(bench, case)
    if ending:
        with bench.within(2 * command_limit_ns(bench), f"a dump with {case} on every command"):
            ending = write_some(bench, count=2)
    if Role(case) is Role.ADAPTER_GONE:
        bench.expect(not ending, "every register reads all ones, and the dump ended well")
