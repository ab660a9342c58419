"""IO, third part: sectors of 4096 bytes, caches, short transfers, commands that move little, long commands."""

from __future__ import annotations

from typing import Final

from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, DMA_TO_DEVICE, host_byte, status_byte
from ddsdk.sim import disk_faults
from ddsdk.sim.disk_faults import Access

from ..bench import DATA, NS_PER_S, PAGE, Bench, Command
from ..check import Level, Need, Setup, check, not_applicable
from ..scsi_bench import ScsiBench
from ..transfers import differs, get, put, scattered, there_and_back

_MARK: Final = 0xA5
_ALLOCATION: Final = 255
#: What a disk with much in its cache may take to write it out.
_FLUSH_NS: Final = 2 * NS_PER_S
#: Of a transfer that comes out short: one more than 16 bits count.
_SHORT_BYTES: Final = 1 << 16


@check("IO-7", hook="queuecommand", source="formats.md 1.15: sector numbers are converted for 1K/2K/4K sector sizes",
       needs=(Need.BIG_SECTORS,),
       setup=Setup(sector_size=4096), fix="""
       Never multiply by 512: the command block counts the disk's sectors, the length comes from the scatter list.
       """)
def sectors_of_4096_bytes(bench: Bench) -> None:
    """A disk with sectors of 4096 bytes is found, written and read at its first sector, its last, and in between."""
    bench.take_over()
    for sector, sectors in ((0, 1), (bench.sectors - 1, 1), (100, min(16, bench.max_bytes // PAGE))):
        there_and_back(bench, sector, [(DATA, sectors * PAGE)])
    count = min(bench.max_segments, bench.max_bytes // PAGE, 8)
    there_and_back(bench, 200, scattered(bench, count))
    bench.works()


@check("IO-9", hook="queuecommand", source="field.md 4.3, row disk: write reordering with cache on; row power cycle:"
       " cut after each block", needs=(Need.MODEL,), setup=Setup(volatile_cache=True),
       cases=lambda plan: ("flush", "shutdown"), fix="""
       SYNCHRONIZE CACHE goes to the disk like any command, and ends when the disk says so: it may take seconds.
       """)
def what_was_flushed_survives_power_off(bench: Bench, how: str) -> None:
    """Once SYNCHRONIZE CACHE ended well, by flush() or shutdown(), what was written is there after the power went,
    however long the disk took for it.
    """
    bench.take_over()
    assert bench.disk is not None
    bench.disk.write_cache = True           # whatever the take-over could set
    written = []
    for n in range(8):
        data = bench.plan.random("IO-9", n).randbytes(4 * PAGE)
        bench.memory.write(DATA, data)
        error = bench.device.rw_block(True, 20 * n, [(DATA, 4 * PAGE)])
        bench.expect(not error, f"the write of block {20 * n} failed: {bench.device.why}")
        written.append((160 * n, data))
    bench.disk.inject(disk_faults.slow(_FLUSH_NS, on=Access.FLUSH))
    error = bench.device.flush() if how == "flush" else bench.device.shutdown()
    bench.expect(not error, f"{how} failed: {bench.device.why}")
    bench.machine.power_off()
    for sector, data in written:
        have = bench.on_disk(sector, len(data))
        bench.expect(have == data, f"{how} ended well, the power went, and at sector {sector} {differs(have, data)};"
                                   " SYNCHRONIZE CACHE must reach the disk and its end be waited for")


@check("IO-13", hook="queuecommand", source="field.md 4.3, row disk: short write; (ii): never complete with a wrong"
       " page", needs=(Need.SCSI, Need.MODEL), cases=lambda plan: ("write-1", "write-all", "read-1", "read-all"),
       fix="""
       scmd->resid = scsi_bufflen(scmd) - transferred;
       if (transferred < scmd->underflow)
           scmd->result = DID_ERROR << 16;
       """)
def a_short_transfer_is_reported(bench: ScsiBench, case: str) -> None:
    """When the disk says GOOD and fewer bytes moved, the result is an error, or resid says how many did not."""
    bench.take_over()
    bench.finish(bench.probe_command())
    assert bench.disk is not None
    way, missing = case.split("-")
    size = bench.setup.sector_size
    sectors = min(bench.max_bytes, _SHORT_BYTES) // size
    missing_sectors = 1 if missing == "1" else sectors
    bench.disk.inject(disk_faults.wrong_length(missing_sectors, times=None))     # a driver may try again by itself
    command = bench.command(way == "write", 64, [(DATA, sectors * size)])
    bench.expect(bench.start(command) and bench.wait(command), "a command that moves too little does not end")
    scmd = command.raw
    if host_byte(scmd.result) or status_byte(scmd.result):
        return
    moved, true = command.nbytes - scmd.resid, (sectors - missing_sectors) * size
    bench.expect(moved == true, f"of {command.nbytes} bytes {true} moved; the driver reports result {scmd.result:#x},"
                                f" resid {scmd.resid}: as if {moved} had")


@check("IO-14", hook="queuecommand", source="formats.md 1.15: after the host reset REQUEST SENSE, then MODE SENSE(6),"
       " allocation 255", needs=(Need.SCSI,), fix="""
       Without data there is no scatter list to map.  With less data than there is room for, the command is good:
       an underrun is an error only below scmd->underflow.
       """)
def commands_that_move_little(bench: ScsiBench) -> None:
    """TEST UNIT READY moves nothing and works; an answer shorter than its buffer is good, and resid tells the truth."""
    bench.take_over()
    error = bench.finish(bench.probe_command())
    bench.expect(not error, f"TEST UNIT READY, which moves nothing, failed: {error}")
    for name, block, at, more in (("INQUIRY", cdb.inquiry(_ALLOCATION), 4, 5),      # where its length stands, and how
                                  ("MODE SENSE", cdb.mode_sense_6(), 0, 1),         # much that leaves out
                                  ("REQUEST SENSE", cdb.request_sense(252), 7, 8)):
        put(bench, [(DATA - 64, 512)], bytes([_MARK]) * 512)
        command = bench.scsi_command(block, DMA_FROM_DEVICE, [(DATA, block[4])])
        error = bench.finish(command)
        bench.expect(not error, f"{name} with room for {block[4]} bytes failed: {error}")
        all_of_it = get(bench, [(DATA - 64, 512)])
        length, moved = min(all_of_it[64 + at] + more, block[4]), command.nbytes - command.raw.resid
        bench.expect(length <= moved <= command.nbytes,
                     f"{name} answered {length} bytes, by resid {command.raw.resid} it was {moved}")
        beside = all_of_it[:64] + all_of_it[64 + block[4]:]
        bench.expect(beside == bytes([_MARK]) * len(beside), f"{name}, with room for {block[4]} bytes, changed others")


@check("IO-15", hook="queuecommand", source="field.md 2, row 16: very large machines; 2.6.9 sd.c: READ(16), WRITE(16)"
       " where 32 bits of LBA do not reach", needs=(Need.SCSI,), fix="""
       Copy scmd->cmd_len bytes of the command block and say that length; cmnd[] is longer than ten bytes.
       """)
def long_commands(bench: ScsiBench) -> None:
    """Where max_cmd_len allows 16 bytes, READ(16) and WRITE(16) work, and an LBA beyond 32 bits is not cut off."""
    if bench.host.max_cmd_len < 16:
        not_applicable(f"max_cmd_len is {bench.host.max_cmd_len}")
    bench.take_over()
    data = bench.plan.random("IO-15").randbytes(PAGE)
    sectors = PAGE // bench.setup.sector_size
    before = bench.whole_disk()
    bench.memory.write(DATA, data)
    error = bench.finish(_wide(bench, True, 48, sectors))
    bench.expect(not error and bench.on_disk(48, PAGE) == data, f"WRITE(16) failed: {error or 'wrong data on disk'}")
    bench.memory.write(DATA, bytes(PAGE))
    error = bench.finish(_wide(bench, False, 48, sectors))
    bench.expect(not error and bench.memory.read(DATA, PAGE) == data, f"READ(16) failed: {error or 'wrong data'}")
    at = 48 * bench.setup.sector_size
    bench.put_on_disk(48, before[at:at + PAGE])
    error = bench.finish(_wide(bench, True, (1 << 32) + 48, sectors))
    bench.expect(error and bench.whole_disk() == before,
                 "WRITE(16) at sector 2**32 + 48 of a small disk must fail and change nothing; it"
                 f" {'changed the disk' if error else 'is good'}")


def _wide(bench: ScsiBench, write: bool, sector: int, sectors: int) -> Command:
    command = bench.scsi_command(cdb.read_write(write, sector, sectors, True),
                                 DMA_TO_DEVICE if write else DMA_FROM_DEVICE, [(DATA, PAGE)])
    command.raw.underflow = PAGE
    return command


@check("IO-16", hook="queuecommand", level=Level.ADVISORY, source="white paper 4.3 (2): .sg_tablesize; field.md 4.3,"
       " row memory: freed sg list", needs=(Need.SCATTER,), fix="""
       if (count > shost->sg_tablesize) {          /* never cut it off, never write past the list */
           scmd->result = DID_ERROR << 16;
           done(scmd);
           return 0;
       }
       """)
def one_segment_too_many_is_refused(bench: Bench) -> None:
    """Handed one segment more than sg_tablesize, the driver refuses, fails, or does it right: never half of it."""
    bench.take_over()
    count = bench.max_segments + 1
    size = bench.setup.sector_size
    if count > 4096 or count * size > bench.max_bytes:
        not_applicable(f"{count} segments are more than one command of the bench can have")
    sg = scattered(bench, count, size)
    before = bench.whole_disk()
    data = bench.plan.random("IO-16").randbytes(count * size)
    put(bench, sg, data)
    command = bench.command(True, 8, sg)
    ended = bench.start(command) and bench.wait(command)
    good = ended and not bench.error_of(command)
    have, at = bench.whole_disk(), 8 * size
    rest = have[:at] + have[at + len(data):] == before[:at] + before[at + len(data):]
    bench.expect(rest, f"a write of {count} segments, one too many, changed other sectors than its own")
    bench.expect(not good or have[at:at + len(data)] == data,
                 f"a write of {count} segments, one too many, ended well, and on the disk"
                 f" {differs(have[at:at + len(data)], data)}")
    bench.expect(ended or command.refused, f"a write of {count} segments, one too many, never ended")
    bench.works()
