"""What a reader may do with any bytes, and the inputs that once made one do something else."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ddsdk.diskdump.pagesource import PartitionSource
from ddsdk.diskdump.partition import read_partition
from ddsdk.diskdump.target import DumpTarget
from ddsdk.errors import FormatError
from tests.vmcore.hostile import outcome

#: One file an input.
FOUND: Final = Path(__file__).parent / "fuzz-finds"


def judge(path: Path, data: bytes) -> str:
    """"read", or what the FormatError of one line says: as a dump file, and as a partition."""
    said = outcome(path, data)
    if said == "read" or len(data) % 4096:
        return said
    target, refusal = DumpTarget(str(path)), ""
    try:
        dump = read_partition(target)
        if dump.facts is None:
            return said
        with target.open() as file, PartitionSource.of(file, dump) as source:
            for first, count in source.stored.runs():
                for pfn in range(first, min(first + count, first + 256)):
                    source.view(pfn * source.page_size, source.page_size)
    except FormatError as error:
        refusal = str(error)
    assert "\n" not in refusal
    return said
