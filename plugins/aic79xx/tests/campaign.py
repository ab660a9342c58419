"""What the crash campaign (ddsdk.campaign) is told of this driver."""

from __future__ import annotations

from typing import Any

from ddsdk.campaign import CampaignProfile
from ddsdk_aic79xx.ahd import AHD_SCBS
from ddsdk_aic79xx.model_control import RunState
from ddsdk_aic79xx.model_faults import FAULTS, SEQUENCER_INTERRUPTS
from ddsdk_aic79xx.regs import Scratch


def masked(model: Any) -> str | None:
    """HCNTRL.INTEN is off; of a chip that is gone nobody can tell."""
    return "INTEN is set" if model.inten and model.state is not RunState.GONE else None


def leaks(host: Any, model: Any) -> dict[str, tuple[int, int]]:
    """SCBs, elements, freezes, tasks."""
    ahd = host.hostdata
    return {"free": (len(ahd.free), AHD_SCBS), "tags": (len({scb.tag for scb in ahd.free}), AHD_SCBS),
            "elements": (len({scb.element.busaddr for scb in (*ahd.scbs, ahd.tmf_scb)} | {ahd.reserved.busaddr}),
                         AHD_SCBS + 2),
            "pending": (len(ahd.pending), 0), "to be sent again": (len(ahd.busyq), 0),
            "mapped": (sum(bool(scb.mapped) for scb in ahd.scbs), 0),
            "frozen": (ahd.qfrozen + model.get(Scratch.QFREEZE_COUNT), 0),
            "tasks": (sum(len(target.tasks) for target in model.bus.targets.values()), 0)}


CAMPAIGN = CampaignProfile(
    "aic79xx", ("aic7901", "aic7902", "aic7902a"), FAULTS, masked, leaks,
    # a program that stops and asks for ever lets no time pass; each of the others costs its command 30 s
    enough=dict.fromkeys(SEQUENCER_INTERRUPTS, 20) | dict.fromkeys(
        ("command-hung", "completion-lost", "command-slow", "completion-late", "sequencer-hung", "status-busy",
         "status-queue-full", "tmf-ignored"), 1),
    stuck=("command-hung", "completion-lost", "sequencer-parity", "sequencer-hung"),
    recovery_modules=tuple(f"ddsdk_aic79xx.{name}" for name in (
        "busfree", "flush", "init", "lists", "lost", "message", "recovery", "reset", "scsiint")),
    lines=3000, longest_ns=3_000_000, recovery_s=32)
