"""What a partial dump saves: decided after the crash, in memory that was taken before it.

In a compressed dump zero pages stay, whatever the level: a record of theirs takes some forty bytes, and readers then
know that the page is zeros and not unknown (as makedumpfile's compressed files, formats.md 3.5).
"""

from __future__ import annotations

from typing import cast

from ddsdk.vmcore.classify import Classifier
from ddsdk.vmcore.codecs import Codec
from ddsdk.vmcore.pageflags import Kind
from ddsdk.vmcore.pagemap import PageMap
from ddsdk.vmcore.pagetable import Memory

from .device import DumpMemory
from .partial_write import PartialWriter, Written
from .writer import Attempt


class DumpFilter:
    """The filter of *level* and the codec of a partial dump of *memory*.  Made while the machine is healthy.

    `kept`: the page frames to save, once `run` has been called.  `gaps`: what was kept because it is not known.
    """

    def __init__(self, memory: DumpMemory, level: int, codec: str) -> None:
        self.codec = Codec(codec)
        self.kept = PageMap.of_runs(((run.start_pfn, run.npages) for run in memory.runs), memory.max_pfn)
        self.gaps: tuple[str, ...] = ()
        self._memory = memory
        looked_for = level if self.codec is Codec.NONE else level & ~Kind.ZERO
        self._classifier = Classifier(cast(Memory, memory), looked_for) if level else None

    @property
    def budget_bytes(self) -> int:
        """The most memory that `run` has at any time."""
        return len(self.kept.bits) + (self._classifier.budget_bytes if self._classifier is not None else 0)

    def run(self) -> None:
        """Classify.  Memory too damaged to be classified is saved whole, and a line says so."""
        if self._classifier is None:
            return
        try:
            found = self._classifier.run()
        except Exception as error:      # a crashed machine's memory holds anything; no mistake over it costs the dump
            self.gaps = (f"the filter failed, {type(error).__name__}: {error}: every page is kept",)
            return
        self.kept = found.kept
        self.gaps = tuple(str(gap) for gap in found.gaps)

    def write(self, attempt: Attempt) -> Written:
        """The dump of what is kept on *attempt*'s device."""
        return PartialWriter(attempt, self.kept, self.codec).write()
