"""The host template: what it says must make sense."""

from __future__ import annotations

import pytest

from ddsdk.errors import PluginError
from ddsdk.scsi.cmnd import ScsiCmnd
from ddsdk.scsi.host import ScsiDone, ScsiHostTemplate


def queuecommand(_scmd: ScsiCmnd, _done: ScsiDone) -> int:
    """Nobody calls it."""
    raise AssertionError


def template(**fields: int) -> ScsiHostTemplate:
    """A template with *fields*."""
    return ScsiHostTemplate("A host", "ahost", queuecommand, **fields)


def test_segments_are_whole_sectors_unless_a_driver_says_otherwise() -> None:
    """What a queue of 2.6.9 has without blk_queue_dma_alignment()."""
    assert template().dma_alignment == 511


@pytest.mark.parametrize("mask", [0, 1, 3, 511, 4095])
def test_alignment_is_a_mask(mask: int) -> None:
    """Any byte, words, dwords, sectors, pages."""
    assert template(dma_alignment=mask).dma_alignment == mask


@pytest.mark.parametrize("mask", [-1, 2, 4, 512])
def test_alignment_that_is_no_mask(mask: int) -> None:
    """One line: what, the value, the rule."""
    with pytest.raises(PluginError) as caught:
        template(dma_alignment=mask)
    assert str(caught.value) == (f"host template ahost: dma_alignment {mask} must be a mask: 511 for whole sectors, 3"
                                 " for dwords, 0 for any byte")


@pytest.mark.parametrize("what", ["can_queue", "sg_tablesize", "max_sectors", "cmd_per_lun"])
def test_a_limit_of_nothing(what: str) -> None:
    """An adapter that takes no command at all is none."""
    with pytest.raises(PluginError, match=f"^host template ahost: {what} 0 must be at least 1$"):
        template(**{what: 0})
