"""What the crash campaign (ddsdk.campaign) is told of this driver."""

from __future__ import annotations

from typing import Any

from ddsdk.campaign import CampaignProfile
from ddsdk_mptfusion.model_faults import FAULTS

OFTEN, SLOW = 50, 5


def masked(model: Any) -> str | None:
    """Doorbell and reply interrupts are off; in a reset's blackout, or after a surprise removal, nobody can tell."""
    return None if model.silent() or model._him == 0x9 else f"IntMask is {model._him:#x}"


def leaks(host: Any, model: Any) -> dict[str, tuple[int, int]]:
    """Request frames, reply frames and tasks."""
    ioc = host.hostdata.ioc
    return {"FreeQ": (len(ioc.FreeQ), len(ioc.requests)), "distinct": (len(set(ioc.FreeQ)), len(ioc.requests)),
            "outstanding": (len(ioc.outstanding), 0), "reply frames": (len(set(model.free)), ioc.reply_depth),
            "credits": (model.credits_used, 0), "mapped": (sum(bool(r.mapped) for r in ioc.requests), 0),
            "tasks": (len(model.scsi.tasks), 0)}


CAMPAIGN = CampaignProfile(
    "mptfusion", ("53c1030", "sas1068"), FAULTS, masked, leaks,
    after_crash={"irq-stuck": "before it a storm, and the machine says so"},
    # a busy target is asked a hundred times a second, a slow one makes every page slow
    enough={"iocstatus-busy": OFTEN, "scsi-busy": OFTEN, "scsi-task-set-full": OFTEN, "command-slow": SLOW,
            "reply-late": SLOW},
    stuck=("command-hung", "reply-lost", "spontaneous-fault"),
    recovery_modules=tuple(f"ddsdk_mptfusion.{name}" for name in ("handshake", "ioc", "recovery", "task_mgmt")),
    exercised={"reply-by-address": 25},             # half of the commands take a reply frame
    recovery_lines=3000)
