"""What a guest drill found: every reason for "no", and what it took."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from ..diskdump.engine import DumpReport
from ..lab.crash import CrashSaid
from ..sim.machine import Trigger


@frozen
class GuestReport:
    """How it went.  `differ`, `changed`, `outside` and `crash_differs` are reasons for "no" when they are not nothing.

    `said`: crash's words on the reference.  `differ`: pages the vmcore has differently or not at all, or too many;
    `changed`: pages of the guest's memory that are not what they were at the pause; `outside`: the first place outside
    the dump partition that changed; `crash_differs`: lines that crash prints otherwise of the vmcore.  `seconds`: what
    each step took.
    """

    seed: int
    trigger: Trigger
    load_us: int
    said: CrashSaid
    dump: DumpReport
    pages: int
    differ: int
    changed: int
    outside: str
    crash_differs: int
    seconds: dict[str, float] = field(factory=dict)

    @property
    def why_not(self) -> str:
        """Why the answer is no; empty when it is yes."""
        said = []
        if self.differ:
            said.append(f"{self.differ} of {self.pages} pages differ from the memory at the crash")
        if self.changed:
            said.append(f"{self.changed} pages of the guest's memory changed after its crash")
        if self.outside:
            said.append(f"outside the dump partition {self.outside} changed after the crash")
        if self.crash_differs:
            said.append(f"crash says {self.crash_differs} of {len(self.said.lines)} lines differently of the reference")
        return "; ".join(said)

    @property
    def seconds_after_boot(self) -> float:
        """From the load to the verdict."""
        return sum(self.seconds.values()) - self.seconds.get("boot", 0.0)


def as_dict(report: GuestReport) -> dict[str, Any]:
    """The report as JSON has it."""
    return {"seed": report.seed, "verified": not report.why_not, "why": report.why_not,
            "trigger": report.trigger.value, "load_us": report.load_us, "panic": report.said.panic,
            "where": report.said.where, "in_flight": report.said.in_flight,
            "pages": report.pages, "differ": report.differ, "memory_changed": report.changed,
            "outside_changed": report.outside, "crash_lines": len(report.said.lines),
            "crash_gave_up": report.said.failure, "crash_differ": report.crash_differs, "seconds": report.seconds}
