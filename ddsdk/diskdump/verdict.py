"""What a check of a dump partition found."""

from __future__ import annotations

from enum import Enum

from attrs import asdict, evolve, frozen

from ddsdk.abi import Abi

from .signature import SignatureKind
from .target import DumpTarget


class Verdict(Enum):
    """What `diskdumpfmt -c` says, with its exit codes (formats.md section 2; diskdumputils 1.4.1)."""

    READY = 0
    CONTAINS_DUMP = 1
    NEEDS_INITIAL_FORMAT = 2
    NEEDS_FORMAT = 3
    UNSUITABLE = 4
    SWAP = 5
    SWAP_WITH_DUMP = 6
    IN_USE = 7

    @property
    def words(self) -> str:
        """`"needs initial format"`."""
        return self.name.lower().replace("_", " ")


@frozen
class BlockRun:
    """*count* blocks `start`, `start` + `step`, ... share one verdict.

    signed, bad, unsigned (a sparse format left them), record (block 2 with our FormatRecord), parameters
    (block 2 with anything else).
    """

    start: int
    count: int
    what: str
    step: int = 1


@frozen
class CheckReport:
    """What was found.  `first_bad` is the first block that should carry its signature and does not."""

    target: DumpTarget
    verdict: Verdict
    why: str
    abi: Abi | None = None
    kind: SignatureKind | None = None
    blocks: int = 0
    checked_blocks: int = 0
    first_bad: int | None = None
    stride: int = 1
    runs: tuple[BlockRun, ...] = ()
    other: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Can a dump go there?"""
        return self.verdict is Verdict.READY

    def describe(self) -> dict[str, object]:
        """What `--json` shows, block by block in `runs`."""
        return {"device": str(self.target), "verdict": self.verdict.words, "code": self.verdict.value,
                "why": self.why, "abi": self.abi.name if self.abi else None,
                "signature": self.kind.value if self.kind else None, "blocks": self.blocks,
                "checked_blocks": self.checked_blocks, "first_bad": self.first_bad, "stride": self.stride,
                "runs": [asdict(run) for run in self.runs],
                "holds": list(self.other)}

def append_run(runs: list[BlockRun], run: BlockRun) -> None:
    """Add *run*, or lengthen the last one: neighbours, and single blocks at one distance (a sparse format)."""
    last = runs[-1] if runs else None
    if last is not None and last.what == run.what:
        if last.step == 1 and last.start + last.count == run.start:
            runs[-1] = evolve(last, count=last.count + run.count)
            return
        step = run.start - last.start if last.count == 1 else last.step
        if run.count == 1 and step > 1 and last.start + last.count * step == run.start:
            runs[-1] = evolve(last, count=last.count + 1, step=step)
            return
    runs.append(run)
