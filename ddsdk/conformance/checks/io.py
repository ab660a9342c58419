"""IO: every byte where it belongs, and none anywhere else.  Memory of other kinds is in io_memory.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ddsdk.bus import Segment
from ddsdk.hookspecs.profile import Role

from .. import routes
from ..bench import DATA, PAGE, Bench
from ..check import Need, Setup, check, not_applicable
from ..transfers import differs, get, put, scattered, there_and_back, through_the_dump_layer

#: Sector, page, what the original dump wrote at a time, what 16 bits count and a sector more, and a megabyte.
_SIZES: Final = ("512", "1024", "1536", "4096", "16384", "65536", "66048", "262144", "1048576")


@check("IO-1", hook="queuecommand", source="field.md 4.3, invariants (ii) and (vi): never complete with a wrong"
       " page, the vmcore equals memory at freeze", cases=lambda plan: _SIZES, fix="""
       Take the length from the scatter list, not from what was seen last; set the direction from
       scmd->sc_data_direction:

           count = pci_map_sg(ha->pdev, sg, scmd->use_sg, scmd->sc_data_direction);
           for (i = 0; i < count; i++)
               my_sge(slot, i, sg_dma_address(&sg[i]), sg_dma_len(&sg[i]));
       """)
def data_arrives_bit_for_bit(bench: Bench, nbytes: str) -> None:
    """A write puts exactly the bytes of memory on the disk, a read brings them back, from a sector to a megabyte."""
    size = int(nbytes)
    bench.take_over()
    if size > bench.max_bytes:
        through_the_dump_layer(bench, 3, [(DATA, size)])
    else:
        there_and_back(bench, 24, [(DATA, size)], [(DATA + (3 << 20), size)])


@check("IO-2", hook="queuecommand", source="field.md 4.3, row disk: LBA shift by one, medium too small",
       fix="""
       Pass the command block on as it is: its LBA counts the disk's sectors from 0, the last is capacity - 1.
       """)
def first_and_last_sector(bench: Bench) -> None:
    """The disk's first sector and its last can be written and read, and their neighbours stay as they are."""
    bench.take_over()
    size, last = bench.setup.sector_size, bench.sectors - 1
    before = bench.plan.random("before").randbytes(4 * size)
    for sector, around in ((0, 0), (last, last - 3)):
        bench.put_on_disk(around, before)
        there_and_back(bench, sector, [(DATA, size)])
        have, at = bench.on_disk(around, 4 * size), (sector - around) * size
        want = before[:at] + have[at:at + size] + before[at + size:]
        bench.expect(have == want,
                     f"a write of sector {sector} of 0..{last} changed its neighbours: {differs(have, want)}")


@check("IO-3", hook="queuecommand", source="white paper 4.3 (2): .sg_tablesize in the host template; field.md 4.3, row"
       " time of crash: sg build", cases=lambda plan: ("1", "2", "3", "17", "max"), fix="""
       Where the list goes on in a chain, ring or next-list element, the last element of each piece says so, and the
       last one of all ends it; sg_tablesize is what always fits, however high the addresses are.
       """)
def scatter_lists_up_to_the_maximum(bench: Bench, segments: str) -> None:
    """Scatter lists of pages that are not adjacent, from one to sg_tablesize, are moved in their order, bit for bit."""
    count = bench.max_segments if segments == "max" else int(segments)
    if count > bench.max_segments:
        not_applicable(f"sg_tablesize is {bench.max_segments}")
    bench.take_over()
    nbytes = _segment_bytes(bench, count)
    out = scattered(bench, min(count, bench.max_bytes // nbytes), nbytes)
    there_and_back(bench, 40, out, list(reversed(out)))


def _segment_bytes(bench: Bench, count: int) -> int:
    """Pages, or sectors where so many pages are more than a command moves or a bench holds."""
    return PAGE if count * PAGE <= min(bench.max_bytes, 2 << 20) else bench.setup.sector_size


@check("IO-4", hook="queuecommand", source="white paper 4.3 (2): .sg_tablesize, .max_sectors in the host template;"
       " formats.md 1.15: max blocks per I/O", setup=Setup(disk_bytes=64 << 20, ram_bytes=64 << 20),
       cases=lambda plan: ("segments", "bytes"), fix="""
       sg_tablesize and max_sectors are promises: the dump layer cuts its transfers by them.  Lower them in probe()
       when the adapter takes less: shost->sg_tablesize = min(shost->sg_tablesize, facts.max_sge).
       """)
def more_than_the_maximum_is_split(bench: Bench, what: str) -> None:
    """A transfer of a segment, or a page, more than one command may carry arrives all the same, in several commands."""
    bench.take_over()
    if what == "bytes":
        if bench.max_bytes > 40 << 20:
            not_applicable(f"one command moves {bench.max_bytes} bytes, more than the bench has")
        through_the_dump_layer(bench, 5, [(DATA, (bench.max_bytes // PAGE + 1) * PAGE)])
        return
    count = bench.max_segments + 1
    if count > 4096:
        not_applicable(f"sg_tablesize is {bench.max_segments}, more than the bench has pages")
    through_the_dump_layer(bench, 5, scattered(bench, count))


@check("IO-8", hook="queuecommand", source="field.md 4.3, (i): no byte outside the dump partition changed (the safety"
       " figure, more important than success)", setup=Setup(disk_bytes=2 << 20, ram_bytes=4 << 20), fix="""
       The transfer length of the command block, of the request and of the scatter list are one and the same number.
       """)
def nothing_else_changes(bench: Bench) -> None:
    """Writes change their sectors and nothing else; reads change nothing on the disk, and nothing but their buffer."""
    bench.take_over()
    generator = bench.plan.random("IO-8")
    size, ram = bench.setup.sector_size, bench.setup.ram_bytes
    disk = bytearray(generator.randbytes(bench.setup.disk_bytes))
    bench.put_on_disk(0, bytes(disk))
    bench.memory.write(0, generator.randbytes(ram))
    for n in range(60):
        sectors = generator.randint(1, 48)
        sector = generator.randrange(bench.sectors - sectors + 1)
        sg = _random_list(bench, sectors * size, DATA + generator.randrange(64) * PAGE, generator.randint(1, 6))
        before = bench.memory.read(0, ram)
        write = n % 3 != 2
        error = bench.finish(bench.command(write, sector, sg))
        bench.expect(not error,
                     f"{'a write' if write else 'a read'} of {sectors} sectors at {sector} failed: {error}")
        data = get(bench, sg)
        if write:
            disk[sector * size:(sector + sectors) * size] = data
        else:
            want = bytes(disk[sector * size:(sector + sectors) * size])
            bench.expect(data == want, f"the read of {sectors} sectors at {sector}: {differs(data, want)}")
            put(bench, sg, get_from(before, sg))
        after = bench.memory.read(0, ram)
        bench.expect(after == before,
                     f"{'a write' if write else 'a read'} of {sectors} sectors at {sector} changed memory"
                     f"{'' if write else ' outside its buffer'}: {differs(after, before)}")
    have = bench.whole_disk()
    bench.expect(have == disk, "after 40 writes the disk holds something else than what was written to it:"
                               f" {differs(have, bytes(disk))}")


def get_from(memory: bytes, sg: Sequence[Segment]) -> bytes:
    """What *memory*, which begins at address 0, holds at *sg*."""
    return b"".join(memory[paddr:paddr + length] for paddr, length in sg)


def _random_list(bench: Bench, nbytes: int, start: int, pieces: int) -> list[Segment]:
    """*nbytes* from *start* on, in up to *pieces* of whole sectors with a sector between."""
    size = bench.setup.sector_size
    count = min(pieces, bench.max_segments, nbytes // size)
    step = nbytes // size // count * size
    sg = [(start + n * (step + size), step) for n in range(count)]
    paddr, length = sg[-1]
    sg[-1] = (paddr, length + nbytes - count * step)
    return sg


@check("IO-11", hook="queuecommand", source="field.md 4.3, row HBA: late completion; DESIGN 10: commands in flight",
       needs=(Need.QUEUEING,), cases=lambda plan: ("in-order", "first-one-late", "first-one-hangs"), fix="""
       A completion names its command - by tag, by index, by address - and the driver ends that one, not the oldest.
       """)
def commands_in_flight_do_not_mix(bench: Bench, order: str) -> None:
    """Many commands in flight, each with data of its own, all land in their places, whatever order they end in."""
    bench.take_over()
    bench.finish(bench.probe_command())
    if order == "first-one-late":
        bench.play(Role.COMPLETION_LATE)
        _fly(bench, False)
    else:
        for write in (True, False):
            if order == "first-one-hangs":
                bench.play(Role.COMMAND_HUNG)
            _fly(bench, write, first_hangs=order == "first-one-hangs")
            if order == "first-one-hangs":
                routes.reset(bench)
                bench.settle()
                bench.finish(bench.probe_command())


def _fly(bench: Bench, write: bool, first_hangs: bool = False) -> None:
    """Up to 32 commands of several sizes at once; every one that ended well has its data in its place."""
    sizes = [PAGE // 2 * (1 + n % 5) for n in range(min(bench.depth, 32))]
    places = [(64 + 32 * n, [(DATA + 4 * PAGE * n, size)]) for n, size in enumerate(sizes)]
    data = [bench.plan.random("flight", write, n).randbytes(size) for n, size in enumerate(sizes)]
    for (sector, sg), one in zip(places, data, strict=True):
        if write:
            put(bench, sg, one)
        else:
            bench.put_on_disk(sector, one)
    taken = bench.start_all([bench.command(write, sector, sg) for sector, sg in places])
    bench.expect(taken, "the driver says busy though nothing is outstanding")
    due = taken[1:] if first_hangs else taken
    all_ended = bench.wait(*due)
    for n, command in enumerate(taken):
        sector, sg = places[n]
        error = bench.error_of(command) if command.done else "it never ends"
        bench.expect(not error or not command.done or command not in due,
                     f"command {n} of {len(taken)} in flight failed: {error}")
        have = bench.on_disk(sector, sizes[n]) if write else get(bench, sg)
        bench.expect(error or have == data[n], f"command {n} of {len(taken)} in flight ended well, and"
                                               f" {differs(have, data[n])}")
    bench.expect(all_ended, f"not all of {len(due)} commands in flight ended within 30 s")
