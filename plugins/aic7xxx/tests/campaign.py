"""What the crash campaign (ddsdk.campaign) is told of this driver."""

from __future__ import annotations

from typing import Any

from ddsdk.campaign import CampaignProfile
from ddsdk_aic7xxx.model_faults import FAULTS


def masked(model: Any) -> str | None:
    """HCNTRL.INTEN is off; of a chip that is gone nobody can tell."""
    return None if model.gone or not model.hcntrl & 0x02 else "INTEN is set"


def free_slots(model: Any) -> set[int]:
    """The chip's own list of SCB slots that are free."""
    slots, slot = set[int](), model.values["FREE_SCBH"]
    while slot != 0xFF and slot not in slots:
        slots.add(slot)
        slot = model.slots[slot][0x1F]
    return slots


def leaks(host: Any, model: Any) -> dict[str, tuple[int, int]]:
    """SCBs on both sides of the bus, and tasks."""
    ahc = host.hostdata
    return {"free": (len(ahc.free), 64), "objects": (len({scb.number for scb in ahc.free}), 64),
            "elements": (len({scb.hscb for scb in ahc.scbs}), 66), "pending": (len(ahc.pending()), 0),
            "mapped": (sum(bool(scb.mapped) for scb in ahc.scbs), 0), "slots": (len(free_slots(model)), 32),
            "tasks": (sum(len(port.tasks) for port in model.bus.ports.values()), 0)}


CAMPAIGN = CampaignProfile(
    "aic7xxx", ("aic7892", "aic7899"), FAULTS, masked, leaks,
    # slow ones make every page slow, a busy target is asked again and again
    enough={"command-hung": 2, "completion-lost": 2, "command-slow": 3, "completion-late": 3, "target-busy": 50,
            "target-queue-full": 50, "message-unknown": 50},
    stuck=("command-hung", "completion-lost", "sequencer-parity"),
    recovery_modules=tuple(f"ddsdk_aic7xxx.{name}" for name in ("abort", "hw", "msgloop", "recovery", "scsiint")),
    lines=3000, longest_ns=3_000_000)
