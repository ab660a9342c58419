"""ERR, continued: what a driver says of a command that failed, and what it has left afterwards."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import (
    DMA_FROM_DEVICE,
    SAM_STAT_CHECK_CONDITION,
    SAM_STAT_GOOD,
    host_byte,
    status_byte,
)
from ddsdk.scsi.disposition import Disposition, scsi_decide_disposition
from ddsdk.scsi.host import ScsiDevice
from ddsdk.scsi.sense import UNIT_ATTENTION, SenseData
from ddsdk.sim import disk_faults

from ..bench import COMMAND_LIMIT_NS, DATA, NS_PER_S, PAGE, Bench, Command
from ..check import Need, check, not_applicable
from ..scsi_bench import ScsiBench

#: (key, asc) that a disk answers with to what it is asked wrongly: SBC-2, SPC-3.
_OUT_OF_RANGE: Final = (0x5, 0x21)
_INVALID_FIELD: Final = (0x5, 0x24)
_NO_SUCH_PAGE: Final = bytes((cdb.INQUIRY, 0x01, 0xEE, 0, 36, 0))
_WRITE_ERROR: Final = (0x3, 0x0C)
_INQUIRY_BYTES: Final = 255
#: Nobody waits longer for a target that is not there: selection times out after 250 ms.
_ABSENT_NS: Final = 2 * NS_PER_S
#: More failures than anything an adapter keeps for them: frames, tags, sense buffers.
_FAILURES: Final = 300
_SENSE_AT: Final = DATA + 0x8_0000
#: Two commands that the disk refuses are over by then.
_TOGETHER_MS: Final = 20


# -- sense data ----------------------------------------------------------------------------------------------


@check("ERR-4", hook="queuecommand", needs=(Need.SCSI,),
       source="formats.md 1.15: sense data decides what is retried (29, 04/01, RECOVERED ERROR); SPC-3, 4.5", fix="""
       memcpy(scmd->sense_buffer, ioc->sense[request], min(reply->SenseCount, sizeof scmd->sense_buffer));
       memset(ioc->sense[request], 0, SENSE_BYTES);             /* the next command of this slot starts empty */
       """)
def sense_data_is_that_of_the_command(bench: ScsiBench) -> None:
    """A CHECK CONDITION comes with the sense data of this very command, before the crash and after it, and no later
    command finds it in its buffer.
    """
    _sense(bench, "before the crash")
    bench.take_over()
    _sense(bench, "after the crash")
    if bench.disk is not None:
        _without_sense(bench)
        _information(bench)


def _sense(bench: ScsiBench, when: str) -> None:
    first, second = (_out_of_range, _OUT_OF_RANGE), (_no_such_page, _INVALID_FIELD)
    for make, wanted in (first, second, first):
        _expect_sense(bench, _ended(bench, partial(make, bench)), wanted, when)
        for _ in range(min(bench.depth, 64) + 1):
            after = _ended(bench, bench.probe_command)
            bench.expect(after.raw.result == 0, f"{when}, TEST UNIT READY after a failed command ended with"
                                                f" {after.raw.result:#x}; it should have been GOOD")
            bench.expect(not any(after.raw.sense_buffer), f"{when}, a command that ended GOOD has the sense data of an"
                                                          " earlier one in its buffer; clear what the adapter left")
    if bench.depth > 1 and bench.plan.profile.autosense:
        both = [_out_of_range(bench), _no_such_page(bench)]
        bench.expect(len(bench.start_all(both)) == 2, f"can_queue is {bench.depth}, and the driver takes but one")
        if bench.crashed:
            bench.let_pass(_TOGETHER_MS)        # both are over before anybody looks at the first
        bench.expect(bench.wait(*both), f"{when}, two commands that fail at the same time did not end within 30 s")
        for command, wanted in zip(both, (_OUT_OF_RANGE, _INVALID_FIELD), strict=True):
            _expect_sense(bench, command, wanted, f"{when}, two commands failing together")


def _without_sense(bench: ScsiBench) -> None:
    """A failed command that comes without sense data, right after one that had some."""
    assert bench.disk is not None
    _expect_sense(bench, _ended(bench, partial(_out_of_range, bench)), _OUT_OF_RANGE, "after the crash")
    bench.disk.inject(disk_faults.busy())
    command = _ended(bench, bench.probe_command)
    bench.expect(not any(command.raw.sense_buffer), "a command that ended BUSY has the sense data of an earlier one in"
                                                    " its buffer; copy it only where the adapter says there is some")


def _information(bench: ScsiBench) -> None:
    """Which sector is bad stands in bytes 3 to 6."""
    assert bench.disk is not None
    bench.disk.inject(disk_faults.medium_error(66))
    command = _ended(bench, lambda: bench.command(True, 64, [(DATA, PAGE)]))
    sense = _expect_sense(bench, command, _WRITE_ERROR, "after the crash")
    bench.expect(sense.information == 66, f"sector 66 cannot be written, by the sense data it is {sense.information};"
                                          " copy all of it, not only the key")


def _expect_sense(bench: ScsiBench, command: Command, wanted: tuple[int, int], when: str) -> SenseData:
    scmd = command.raw
    name = cdb.command_name(scmd.cmnd[0])
    bench.expect(status_byte(scmd.result) == SAM_STAT_CHECK_CONDITION,
                 f"{when}, {name} was answered CHECK CONDITION, its result is {scmd.result:#010x}; the status belongs"
                 " in the low byte")
    sense = SenseData.parse(scmd.sense_buffer)
    if sense is None and not bench.plan.profile.autosense:
        sense = _asked_for(bench)
    if sense is None:
        bench.expect(False, f"{when}, {name} ended with CHECK CONDITION and no sense data in scmd.sense_buffer")
        raise AssertionError
    bench.expect((sense.key, sense.asc) == wanted,
                 f"{when}, {name} was answered {wanted[0]:02x}/{wanted[1]:02x}, in scmd.sense_buffer stands {sense}")
    return sense


def _asked_for(bench: ScsiBench) -> SenseData | None:
    """REQUEST SENSE, as the mid-layer sends it when a driver has no autosense."""
    bench.memory.write(_SENSE_AT, bytes(cdb.SENSE_BYTES))
    command = bench.scsi_command(cdb.request_sense(), DMA_FROM_DEVICE, [(_SENSE_AT, cdb.SENSE_BYTES)])
    error = bench.finish(command)
    bench.expect(not error, f"REQUEST SENSE after a CHECK CONDITION failed: {error}")
    return SenseData.parse(bench.memory.read(_SENSE_AT, cdb.SENSE_BYTES))


def _out_of_range(bench: ScsiBench) -> Command:
    return bench.command(False, bench.sectors + 8, [(DATA, PAGE)])


def _no_such_page(bench: ScsiBench) -> Command:
    return bench.scsi_command(_NO_SUCH_PAGE, DMA_FROM_DEVICE, [(DATA + PAGE, cdb.INQUIRY_BYTES)])


def _ended(bench: ScsiBench, make: Callable[[], Command]) -> Command:
    """*make*'s command, ended; again while a unit attention is in its way."""
    for _ in range(3):
        command = make()
        bench.expect(bench.start(command), "the driver says busy though nothing is outstanding")
        bench.expect(bench.wait(command), f"{command.raw} did not end within 30 s")
        sense = SenseData.parse(command.raw.sense_buffer)
        if sense is None or sense.key != UNIT_ATTENTION:
            break
    return command


# -- nobody there --------------------------------------------------------------------------------------------


@check("ERR-5", hook="queuecommand", needs=(Need.SCSI,),
       source="field.md 4.3, row HBA: selection timeout; row disk: device renamed/swapped", fix="""
       case SELECTION_TIMEOUT:
           scmd->result = DID_NO_CONNECT << 16;
       """)
def an_absent_target_is_reported_at_once(bench: ScsiBench) -> None:
    """A command to a target, or to a LUN, that is not there ends in an error within 2 s, and the disk still works."""
    bench.take_over()
    absent = [*_absent_target(bench), *_absent_lun(bench)]
    if not absent:
        not_applicable("the host has one target with one LUN, and that is the disk")
    for sdev in absent * 2:
        for command in _to_absent(bench, sdev):
            began_ns = bench.now_ns
            bench.expect(bench.start(command), f"the driver says busy to a command for {sdev.name}, which is not there;"
                                               " take it and end it with DID_NO_CONNECT")
            bench.expect(bench.wait(command, limit_ns=_ABSENT_NS), f"a command to {sdev.name}, which is not there, did"
                                                                   " not end within 2 s")
            bench.expect(not _answered(bench, command),
                         f"{cdb.command_name(command.raw.cmnd[0])} to {sdev.name}, which is not there, ended well after"
                         f" {(bench.now_ns - began_ns) // 1000} us")
        bench.expect(not bench.finish(bench.probe_command()), f"after a command to {sdev.name}, which is not there, the"
                                                              " disk does not answer")
    bench.works()


def _absent_target(bench: ScsiBench) -> list[ScsiDevice]:
    host, (channel, used) = bench.host, bench.plan.profile.disk_at
    free = [number for number in range(host.max_id) if number not in (used, host.this_id)]
    return [ScsiDevice(host, channel, free[-1], 0)] if free else []


def _absent_lun(bench: ScsiBench) -> list[ScsiDevice]:
    host, (channel, used) = bench.host, bench.plan.profile.disk_at
    return [ScsiDevice(host, channel, used, min(host.max_lun, 8) - 1)] if host.max_lun > 1 else []


def _to_absent(bench: ScsiBench, sdev: ScsiDevice) -> list[Command]:
    bench.memory.write(DATA, bytes(PAGE))
    return [bench.scsi_command(cdb.test_unit_ready(), sdev=sdev),
            bench.scsi_command(cdb.inquiry(), DMA_FROM_DEVICE, [(DATA, cdb.INQUIRY_BYTES)], sdev),
            bench.scsi_command(cdb.read_write(False, 0, PAGE // bench.setup.sector_size, False), DMA_FROM_DEVICE,
                               [(DATA, PAGE)], sdev)]


def _answered(bench: ScsiBench, command: Command) -> bool:
    """Whether somebody claims to be there.  INQUIRY is answered for an absent LUN too, and says so."""
    if scsi_decide_disposition(command.raw).disposition is not Disposition.SUCCESS:
        return False
    return command.raw.cmnd[0] != cdb.INQUIRY or cdb.InquiryData.parse(bench.memory.read(DATA, 36)).present


# -- nothing is eaten ----------------------------------------------------------------------------------------


@check("ERR-9", hook="queuecommand", source="field.md 4.3, row HBA: reply queue full; white paper 4.4 (1): the message"
       " frame queue", fix="""
       Every way out of a command - the failing ones, too - puts its frame, tag or slot back on the free list.
       """)
def errors_do_not_eat_the_queue(bench: Bench) -> None:
    """After many commands that failed the driver still takes as many at a time as before, before the crash and after
    it.
    """
    _keeps_depth(bench, "before the crash")
    bench.take_over()
    _keeps_depth(bench, "after the crash")


def _keeps_depth(bench: Bench, when: str) -> None:
    before = _fill(bench, when)
    lent = len(bench.lent)
    failures = max(before + 8, _FAILURES)
    for _ in range(failures):
        command = bench.command(False, bench.sectors + 8, [(DATA, PAGE)])
        bench.expect(bench.start(command), f"{when}, the driver says busy after some commands that failed, though"
                                           " nothing is outstanding; put the slot of a failed command back")
        bench.expect(bench.wait(command), f"{when}, a read beyond the end of the disk did not end within 30 s")
        bench.expect(bench.error_of(command), f"{when}, a read beyond the end of the disk ended well")
    after = _fill(bench, f"{when} and {failures} failed commands")
    bench.expect(after >= before, f"{when}, the driver took {before} commands at a time; after {failures} that failed"
                                  f" it takes {after}")
    bench.expect(len(bench.lent) <= lent, f"{when}, {len(bench.lent) - lent} pieces of memory of failed commands are"
                                          " still mapped; dma_unmap_sg() on every way out")


def _fill(bench: Bench, when: str) -> int:
    """How many commands the driver takes at a time; all of them end well."""
    room = bench.sectors // 8 - 2
    commands = [bench.command(True, 8 * (n % room) + 8, [(DATA + n % 64 * PAGE, PAGE)]) for n in range(bench.depth)]
    taken = bench.start_all(commands)
    bench.expect(bench.wait(*taken), f"{when}, {sum(not c.done for c in taken)} of {len(taken)} commands did not end"
                                     " within 30 s")
    again = [command for command in taken if bench.error_of(command)]
    for command in again[:4]:
        error = bench.finish(bench.command_again(command))
        bench.expect(not error, f"{when}, a write failed: {error}")
    return len(taken)


# -- what moved ----------------------------------------------------------------------------------------------


@check("ERR-10", hook="queuecommand", needs=(Need.SCSI,),
       source="field.md 4.3, row disk: short write; include/scsi/scsi_cmnd.h: resid, the bytes that were not moved",
       fix="""
       scmd->resid = scmd->request_bufflen - reply->TransferCount;
       """)
def resid_tells_what_moved(bench: ScsiBench) -> None:
    """A command that did not move everything never ends GOOD with resid 0: resid is what is missing."""
    bench.take_over()
    _underrun(bench)
    failed = _ended(bench, lambda: _out_of_range(bench))
    _no_lie(bench, failed, PAGE, "a read beyond the end of the disk")
    if bench.disk is None:
        return
    disk, size = bench.disk, bench.setup.sector_size
    faults = ((disk_faults.wrong_length(1, None), size, "a disk that moves one sector too few"),
              (disk_faults.wrong_length(PAGE // size, None), PAGE, "a disk that moves nothing and says GOOD"),
              (disk_faults.medium_error(66), PAGE - 2 * size, "a disk whose third sector is bad"),
              (disk_faults.aborted_command(None), PAGE, "a disk that aborts the command"),
              (disk_faults.busy(None), PAGE, "a busy disk"),
              (disk_faults.hardware_error(None), PAGE, "a broken disk"))
    for fault, missing, what in faults:
        for write in (True, False):
            disk.inject(fault)
            command = bench.command(write, 64, [(DATA, PAGE)])
            command.raw.underflow = 0
            access = f"a {'write to' if write else 'read from'} {what}"
            with bench.within(2 * COMMAND_LIMIT_NS, access):
                bench.expect(bench.start(command) and bench.wait(command), f"{access} did not end within 30 s")
            _no_lie(bench, command, missing, access)
            disk.faults.clear()
    bench.works()


def _underrun(bench: ScsiBench) -> None:
    """INQUIRY with room for more than there is: fine, and resid says how much was left empty."""
    bench.memory.write(DATA, bytes(_INQUIRY_BYTES))
    command = _ended(bench, lambda: bench.scsi_command(cdb.inquiry(_INQUIRY_BYTES), DMA_FROM_DEVICE,
                                                       [(DATA, _INQUIRY_BYTES)]))
    error = bench.error_of(command)
    bench.expect(not error, f"INQUIRY into {_INQUIRY_BYTES} bytes, more than there are, failed: {error}; an underrun is"
                            " no error where underflow is 0")
    there = min(_INQUIRY_BYTES, bench.memory.read(DATA + 4, 1)[0] + 5)
    bench.expect(command.raw.resid == _INQUIRY_BYTES - there,
                 f"INQUIRY moved {there} of {_INQUIRY_BYTES} bytes, resid is {command.raw.resid}; it should be"
                 f" {_INQUIRY_BYTES - there}")


def _no_lie(bench: ScsiBench, command: Command, missing: int, what: str) -> None:
    scmd = command.raw
    good = not host_byte(scmd.result) and status_byte(scmd.result) == SAM_STAT_GOOD
    bench.expect(not good or scmd.resid == missing, f"{what} ended GOOD with resid {scmd.resid}, but {missing} of"
                                                    f" {scmd.request_bufflen} bytes did not move")
    bench.expect(0 <= scmd.resid <= scmd.request_bufflen, f"{what} ended with resid {scmd.resid} of"
                                                          f" {scmd.request_bufflen} bytes; it is between 0 and that")
