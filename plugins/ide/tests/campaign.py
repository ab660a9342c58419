"""What the crash campaign (ddsdk.campaign) is told of this driver."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs

from ddsdk.campaign import CampaignProfile, Variant
from ddsdk.registry import Registry
from ddsdk_ide.model import build
from ddsdk_ide.model_faults import FAULTS
from ddsdk_ide.model_personality import QEMU


def masked(model: Any) -> str | None:
    """nIEN is set on both channels; of one that is gone nobody can tell."""
    return next((f"channel {channel.number}" for channel in model.channels
                 if not (model.gone or channel.gone or channel.control.NIEN)), None)


def leaks(host: Any, _model: Any) -> dict[str, tuple[int, int]]:
    """The channel's task and what it has mapped."""
    channel = host.hwif_data
    return {"task": (int(channel.task is not None), 0), "mapped": (len(channel.mapped), 0)}


def as_qemu(registry: Registry) -> Registry:
    """The same drivers; models of QEMU's personality."""
    return attrs.evolve(registry, models=tuple(
        attrs.evolve(model, build=partial(build, model.chip, personality=QEMU)) if model.driver == "ide" else model
        for model in registry.models))


def without_dma(adapter: Any) -> None:
    """Data moves by programmed I/O, before the crash and after it."""
    adapter.drive.using_dma = False


CAMPAIGN = CampaignProfile(
    "ide", ("piix4", "piix3"), FAULTS, masked, leaks, "ata",
    after_crash=dict.fromkeys(("adapter-gone", "drive-gone"), "a load without a drive is no load"),
    enough={"completion-late": 5},                  # a slow drive makes every page slow
    stuck=("command-hung", "firmware-fault", "irq-lost", "completion-lost", "dma-error"),
    recovery_modules=("ddsdk_ide.recovery",),
    variants=(Variant("real"), Variant("qemu", as_qemu),
              Variant("pio", prepare=without_dma, slow=True, max_sectors=8)),
    queue_depths=(1,), recovery_lines=150, recovery_s=80)
