"""RHEL 4's levels in our bits."""

from __future__ import annotations

import pytest

from ddsdk.errors import UsageError
from ddsdk.vmcore.rhel4level import translate

#: dump_level -> --dump-level, each bit alone and the ones people used.
TABLE = {0: 0, 1: 6, 2: 1, 4: 16, 8: 8, 16: 0, 17: 2, 19: 3, 7: 23, 15: 31, 31: 27}


@pytest.mark.parametrize(("theirs", "ours"), TABLE.items())
def test_each_bit_means_its_kind(theirs: int, ours: int) -> None:
    """The same letter, another meaning."""
    assert translate(theirs).level == ours


def test_both_numbers_are_said() -> None:
    """A level that is read from a file is shown with what it does."""
    assert str(translate(19)) == "RHEL 4 dump_level 19 is --dump-level 3: zero, cache pages are left out"
    assert str(translate(16)) == "RHEL 4 dump_level 16 is --dump-level 0: no pages are left out"


@pytest.mark.parametrize("level", [-1, 32])
def test_there_are_32(level: int) -> None:
    """Five bits."""
    with pytest.raises(UsageError, match=f"dump_level {level}: RHEL 4's is 0 to 31"):
        translate(level)
