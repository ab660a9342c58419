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


def judge(path: Path, data: bytes) -> None:
    """Read *data* as a dump file and, filled up to whole blocks, as a partition: done, or FormatError of one line."""
    outcome(path, data)
    path.write_bytes(data.ljust(-(-len(data) // 4096) * 4096, b"\0"))
    target = DumpTarget(str(path))
    try:
        dump = read_partition(target)
        if dump.facts is None:
            return
        with target.open() as file, PartitionSource.of(file, dump) as source:
            for first, count in source.stored.runs():
                for pfn in range(first, min(first + count, first + 256)):
                    source.view(pfn * source.page_size, source.page_size)
    except FormatError as error:
        said = str(error)
    else:
        return
    assert "\n" not in said
