"""What the crash campaign (ddsdk.campaign) is told of this driver."""

from __future__ import annotations

from typing import Any

from ddsdk.campaign import CampaignProfile
from ddsdk_ipr.model_faults import FAULTS


def masked(model: Any) -> str | None:
    """Every bit of MASK is set; of an adapter that is silent nobody can tell."""
    return None if model.silent or model.mask == 0xFFFFFFFF else f"MASK is {model.mask:#x}"


def leaks(host: Any, model: Any) -> dict[str, tuple[int, int]]:
    """Command blocks; four are the adapter's own, for what it has to say unasked."""
    ioa = host.hostdata
    return {"free blocks": (len(set(ioa.free_q)), 100), "pending": (sum(b.pending for b in ioa.blocks), 4),
            "held": (sum(b.held for b in ioa.blocks), 4), "mapped": (sum(bool(b.mapped) for b in ioa.blocks), 0),
            "requests": (len(model.requests.held), 4)}


CAMPAIGN = CampaignProfile(
    "ipr", ("gemstone", "citrine", "snipe"), FAULTS, masked, leaks,
    after_crash={"irq-stuck": "before it a storm, and the machine says so",
                 "all-ones": "a load that fails at once is none"},
    enough={"command-slow": 3, "completion-late": 3, "ioasc-sync-required": 50, "ioasc-cancelled": 50},
    stuck=("command-hung", "completion-lost", "firmware-hang"),
    recovery_modules=tuple(f"ddsdk_ipr.{name}" for name in ("bringup", "eh", "job", "reset")),
    lines=3000, recovery_s=70, limit_s=2500)
