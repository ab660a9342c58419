"""REG, the host template: what it promises the mid-layer is what the driver then does, after the crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ddsdk.bus import Segment
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import (
    DID_BAD_TARGET,
    DID_NO_CONNECT,
    DMA_FROM_DEVICE,
    SAM_STAT_CHECK_CONDITION,
    SCSI_MLQUEUE_DEVICE_BUSY,
    ScsiCmnd,
    host_byte,
    status_byte,
)
from ddsdk.scsi.host import ScsiDevice

from ..bench import COMMAND_LIMIT_NS, DATA, HIGH, NS_PER_S, PAGE, Bench, Command
from ..check import Level, Need, Setup, check, not_applicable
from ..plan import Plan
from ..scsi_bench import ScsiBench

#: PCI drivers of the time queue 253 at most; more than this is not tried.
_COMMANDS_MAX: Final = 4096
#: Two bytes of a READ(10) count sectors: 32 MiB less one sector, and room to scatter them.
_LONGEST: Final = Setup(ram_bytes=80 << 20, disk_bytes=40 << 20)
#: Distance of scattered pieces beyond their own size.
_GAP: Final = PAGE


@check("REG-4", hook="queuecommand", needs=(Need.SCSI,), fix="""
       can_queue = number of request slots the driver really has      # allocate that many at probe
       def my_queuecommand(scmd, done):
           slot = hba.free.pop()        # under host_lock: there is one as long as can_queue is kept
           ...
           return 0
       """, source="white paper 4.3 (2): .can_queue of the template; 2.2: I/O is executed by queuecommand()")
def can_queue_is_true(bench: ScsiBench) -> None:
    """The driver takes can_queue commands at once, under host_lock, and each of them ends well, once.

    Beyond cmd_per_lun it may say SCSI_MLQUEUE_DEVICE_BUSY: all of them go to one disk here.
    """
    bench.take_over()
    host, size = bench.host, bench.setup.sector_size
    count = min(bench.depth, _COMMANDS_MAX, bench.sectors)
    data = bench.fill(DATA, count * size, 4)
    commands = [bench.command(True, n, [(DATA + n * size, size)]) for n in range(count)]
    taken = bench.start_all(commands)
    if len(taken) < count:
        refused, per_lun = commands[len(taken)].refused, min(host.cmd_per_lun, host.can_queue)
        bench.expect(refused == SCSI_MLQUEUE_DEVICE_BUSY and len(taken) >= per_lun,
                     f"can_queue is {host.can_queue}, cmd_per_lun {host.cmd_per_lun}, and with {len(taken)} commands"
                     f" outstanding queuecommand returned {refused:#x}; promise what there are slots for")
    bench.expect(bench.wait(*taken), f"of {len(taken)} commands queued at once {sum(not one.done for one in taken)} did"
                                     f" not end within {COMMAND_LIMIT_NS // NS_PER_S} s")
    twice = sum(one.ended > 1 for one in taken)
    bench.expect(not twice, f"{twice} of {len(taken)} commands ended more than once; call scsi_done() once for each")
    for n, one in enumerate(taken):
        why = bench.error_of(one) and bench.finish(bench.command_again(one))
        bench.expect(not why, f"command {n + 1} of {len(taken)} queued at once: {why}")
    bench.expect(bench.on_disk(0, len(taken) * size) == data[:len(taken) * size],
                 f"{len(taken)} writes queued at once ended well, but the disk holds something else")


#: Case -> where the segments are.
_MEMORY: Final[Mapping[str, int]] = MappingProxyType({"low": DATA, "above-4-GiB": HIGH + DATA})


def _memory(_plan: Plan) -> Sequence[str]:
    return tuple(_MEMORY)


@check("REG-5", hook="queuecommand", setup=Setup(high_memory=True), cases=_memory, fix="""
       sg_tablesize = elements of the longest list that fits a request, with the widest addresses
       """, source="white paper 4.3 (2): .sg_tablesize of the template")
def sg_tablesize_is_true(bench: Bench, case: str) -> None:
    """A write and a read with exactly sg_tablesize segments, no two adjacent, move every byte."""
    if case != "low" and bench.lacks(Need.HIGH_MEMORY):
        not_applicable(bench.lacks(Need.HIGH_MEMORY))
    bench.take_over()
    size = bench.setup.sector_size
    count = min(bench.max_segments, bench.max_bytes // size, (bench.setup.ram_bytes - DATA) // (2 * size))
    sg = [(_MEMORY[case] + 2 * size * n, size) for n in range(count)]
    _there_and_back(bench, sg, f"sg_tablesize is {bench.max_segments}")


@check("REG-6", hook="queuecommand", setup=_LONGEST, cases=lambda plan: ("one-piece", "scattered"),
       source="white paper 4.3 (2): .max_sectors of the template", fix="""
       Count the bytes a segment descriptor can carry: dma_map_sg() merges neighbours, so one segment may be as long as
       the whole command.  Split it, or lower max_sectors.
       """)
def max_sectors_is_true(bench: Bench, case: str) -> None:
    """A write and a read of max_sectors, as far as one command can, move every byte, in one piece and scattered."""
    bench.take_over()
    size, nbytes = bench.setup.sector_size, bench.max_bytes
    pieces = 1 if case == "one-piece" else max(1, min(bench.max_segments, nbytes // size))
    step = -(-nbytes // pieces // size) * size
    sg = [(DATA + (step + _GAP) * n, min(step, nbytes - step * n)) for n in range(pieces) if nbytes > step * n]
    _there_and_back(bench, sg, f"max_sectors is {bench.host.max_sectors}")


def _there_and_back(bench: Bench, sg: Sequence[Segment], limit: str) -> None:
    """A write of *sg* from sector 8 on and a read back; *limit* is what the template says about such a command."""
    nbytes = sum(length for _, length in sg)
    what = f"{limit}; %s of {nbytes} bytes in {len(sg)} segments"
    data, at = bench.fill(DATA, nbytes, 5), 0
    for paddr, length in sg:
        bench.memory.write(paddr, data[at:at + length])
        at += length
    why = bench.finish(bench.command(True, 8, sg))
    bench.expect(not why, f"{what % 'a write'}: {why}")
    bench.expect(bench.on_disk(8, nbytes) == data, f"{what % 'a write'} ended well, but the disk holds something else")
    for paddr, length in sg:
        bench.memory.write(paddr, bytes(length))
    why = bench.finish(bench.command(False, 8, sg))
    bench.expect(not why, f"{what % 'a read'}: {why}")
    bench.expect(b"".join(bench.memory.read(paddr, length) for paddr, length in sg) == data,
                 f"{what % 'a read'} ended well, but memory holds something else")


# -- addresses -----------------------------------------------------------------------------------------------


def _absent_id(bench: ScsiBench) -> ScsiDevice:
    there = (bench.dev.id, bench.host.this_id)
    free = next((number for number in range(bench.host.max_id) if number not in there), None)
    if free is None:
        not_applicable(f"max_id is {bench.host.max_id}: no id is free")
    return ScsiDevice(bench.host, bench.dev.channel, free, 0)


def _highest_id(bench: ScsiBench) -> ScsiDevice:
    last = bench.host.max_id - 1
    if last in (bench.dev.id, bench.host.this_id):
        not_applicable(f"max_id is {bench.host.max_id}: the highest id is in use")
    return ScsiDevice(bench.host, bench.dev.channel, last, 0)


def _highest_channel(bench: ScsiBench) -> ScsiDevice:
    last = bench.host.max_channel
    if last == bench.dev.channel:
        not_applicable(f"max_channel is {last}, where the disk is")
    return ScsiDevice(bench.host, last, bench.dev.id, 0)


def _highest_lun(bench: ScsiBench) -> ScsiDevice:
    last = bench.host.max_lun - 1
    if last == bench.dev.lun:
        not_applicable(f"max_lun is {bench.host.max_lun}: no LUN is free")
    return ScsiDevice(bench.host, bench.dev.channel, bench.dev.id, last)


def _own_id(bench: ScsiBench) -> ScsiDevice:
    own = bench.host.this_id
    if not 0 <= own < bench.host.max_id:
        not_applicable(f"this_id is {own}, no address of the {bench.host.max_id} there are")
    return ScsiDevice(bench.host, bench.dev.channel, own, 0)


#: Case -> an address where nobody is.
_NOBODY: Final[Mapping[str, Callable[[ScsiBench], ScsiDevice]]] = MappingProxyType({
    "absent-id": _absent_id,
    "highest-id": _highest_id,
    "highest-channel": _highest_channel,
    "highest-lun": _highest_lun,
    "this-id": _own_id,
})


def _nobody(_plan: Plan) -> Sequence[str]:
    return tuple(_NOBODY)


@check("REG-7", hook="queuecommand", needs=(Need.SCSI,), cases=_nobody, fix="""
       request.id, request.channel, request.lun = sdev.id, sdev.channel, sdev.lun       # all three
       ...
       if status == SELECTION_TIMEOUT:
           scmd.result = DID_NO_CONNECT << 16
       """, source="white paper 4.3 (2): .this_id of the template; field.md 4.3, row HBA: selection timeout")
def addresses_are_true(bench: ScsiBench, case: str) -> None:
    """A read of the highest address, of an absent target, of this_id ends with an honest error, and disturbs nobody.

    Honest is DID_NO_CONNECT, DID_BAD_TARGET, or the CHECK CONDITION of a target without that LUN.
    """
    host, disk = bench.host, bench.dev
    bench.expect(disk.id != host.this_id, f"the disk answers at id {disk.id}, which the driver calls its own (this_id)")
    bench.expect(disk.id < host.max_id and disk.channel <= host.max_channel and disk.lun < host.max_lun,
                 f"the disk is at {disk.name}, beyond max_channel {host.max_channel}, max_id {host.max_id}, max_lun"
                 f" {host.max_lun}; scans stop there")
    bench.take_over()
    where = _NOBODY[case](bench)
    name = f"a read of {where.name}, where nobody is ({case}),"
    memory = bench.fill(DATA, PAGE, 6)
    command = _read_of(bench, where)
    for _ in range(3):                  # a LUN that is not there may report the unit attention of the reset first
        bench.expect(bench.start(command), f"{name} was refused as busy though nothing is outstanding")
        bench.expect(bench.wait(command), f"{name} did not end within {COMMAND_LIMIT_NS // NS_PER_S} s")
        if "UNIT ATTENTION" not in bench.error_of(command):
            break
        command = _read_of(bench, where)
    scmd: ScsiCmnd = command.raw
    bench.expect(host_byte(scmd.result) in (DID_NO_CONNECT, DID_BAD_TARGET)
                 or (not host_byte(scmd.result) and status_byte(scmd.result) == SAM_STAT_CHECK_CONDITION),
                 f"{name} ended with {bench.error_of(command) or 'success'}, result {scmd.result:#010x}; it must be"
                 " DID_NO_CONNECT, DID_BAD_TARGET, or a CHECK CONDITION")
    bench.expect(bench.memory.read(DATA, PAGE) == memory, f"{name} changed memory")
    bench.goes_on(f"after {name.rstrip(',')}")


def _read_of(bench: ScsiBench, where: ScsiDevice) -> Command:
    return bench.scsi_command(cdb.read_write(False, 0, 1, False), DMA_FROM_DEVICE,
                              [(DATA, bench.setup.sector_size)], where)


@check("REG-8", hook="template", level=Level.ADVISORY, needs=(Need.SCSI,), fix="""
       cmd_per_lun=min(7, can_queue)
       """, source="white paper 4.3 (2): .cmd_per_lun of the template")
def cmd_per_lun_is_within_can_queue(bench: ScsiBench) -> None:
    """One device is not promised more commands than the whole host takes: 1 <= cmd_per_lun <= can_queue."""
    host = bench.host
    bench.expect(1 <= host.cmd_per_lun <= host.can_queue,
                 f"cmd_per_lun is {host.cmd_per_lun}, can_queue {host.can_queue}; no device can have more outstanding"
                 " than the host")
