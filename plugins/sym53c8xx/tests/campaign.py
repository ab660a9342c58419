"""What the crash campaign (ddsdk.campaign) is told of this driver."""

from __future__ import annotations

from typing import Any

from ddsdk.campaign import CampaignProfile
from ddsdk_sym53c8xx.model_faults import FAULTS


def masked(model: Any) -> str | None:
    """No cause is enabled; of a chip that is gone nobody can tell."""
    enabled = {name: model.values[name] for name in ("DIEN", "SIEN0", "SIEN1") if model.values[name]}
    return None if model.gone or not enabled else f"causes are enabled: {enabled}"


def leaks(host: Any, model: Any) -> dict[str, tuple[int, int]]:
    """Command blocks, the queue, and tasks."""
    np = host.hostdata
    blocks = (*np.free, *np.aborted)
    return {"free": (len(blocks), 63), "distinct": (len({ccb.tag for ccb in blocks}), 63), "busy": (len(np.busy), 0),
            "untagged": (np.without_tag, 0), "mapped": (sum(bool(ccb.mapped) for ccb in np.ccbs), 0),
            "queue": (np.put - np.start, 0),
            "tasks": (sum(len(port.tasks) for port in model.scsi.ports.values()), 0)}


CAMPAIGN = CampaignProfile(
    "sym53c8xx", ("53c895a", "53c810", "53c1010"), FAULTS, masked, leaks,
    after_crash={"irq-stuck": "before it a storm, and the machine says so"},
    # slow ones make every page slow; a target that repeats itself for ever costs each command its 30 s in steps of 1 us
    enough={"command-slow": 3, "reselect-late": 3, **dict.fromkeys(
        ("message-negotiate", "message-noop", "message-out-again", "message-unknown", "restore-pointers"), 50)},
    stuck=("command-hung", "reselect-lost", "target-hangs"),
    recovery_modules=tuple(f"ddsdk_sym53c8xx.{name}" for name in ("abort", "chip", "recovery", "sir")),
    lines=4000, recovery_lines=1500, longest_ns=400_000_000)
