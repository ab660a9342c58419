"""Filtering and the log on a kernel that really panicked, against makedumpfile and crash."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ddsdk.vmcore.classify import classify, classify_every_level
from ddsdk.vmcore.levels import EveryLevel
from ddsdk.vmcore.pageflags import Kind
from ddsdk.vmcore.source import open_source
from tests.real.conftest import Lab, ddsdk
from tests.real.cores import crash
from tests.real.kdumpfile import read_page_set

pytestmark = pytest.mark.real

#: What makedumpfile calls the kinds it counts.
WORDS = {Kind.ZERO: "Pages filled with zero", Kind.CACHE: "Non-private cache pages",
         Kind.PRIVATE_CACHE: "Private cache pages", Kind.USER: "User process data pages", Kind.FREE: "Free pages",
         Kind.HWPOISON: "Hwpoison pages", Kind.OFFLINE: "Offline pages"}


@pytest.fixture(scope="module")
def every_level(lab: Lab) -> EveryLevel:
    """All levels, of one pass."""
    with open_source(str(lab.core)) as memory:
        return classify_every_level(memory)


def makedumpfile(core: Path, out: Path, level: int) -> str:
    """Filter *core*; what it says."""
    out.unlink(missing_ok=True)
    done = subprocess.run(["makedumpfile", "--show-stats", "-l", "-d", str(level), core, out], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("level", range(32))
def test_every_level_keeps_makedumpfiles_page_set(lab: Lab, every_level: EveryLevel, tools: Callable[..., None],
                                                  tmp_path: Path, level: int) -> None:
    """Frame by frame; zero pages, whose bits makedumpfile leaves set, by their descriptors; and kind by kind."""
    tools("makedumpfile")
    said = makedumpfile(lab.core, tmp_path / "out", level)
    theirs = read_page_set(tmp_path / "out", level)
    ours = every_level.at(level)
    assert np.array_equal(every_level.ram.flags(0, len(theirs.ram)), theirs.ram)
    assert np.array_equal(ours.kept.flags(0, len(theirs.stored)), theirs.stored & ~theirs.zero)
    assert ours.kept_pages == ours.kept.count()
    for kind, words in WORDS.items():
        counted = re.search(rf"^ *{words} *: 0x([0-9a-f]+)$", said, re.MULTILINE)
        assert counted, said
        assert ours.counts[kind] == int(counted[1], 16), words
    assert ours.gaps == ()


@pytest.mark.parametrize("level", [0, 1, 16, 31])
def test_one_level_alone_is_the_same(lab: Lab, every_level: EveryLevel, level: int) -> None:
    """Classified for one level, which looks at fewer pages, or out of the pass for all: the same frames, and counts."""
    with open_source(str(lab.core)) as memory:
        alone = classify(memory, level)
    together = every_level.at(level)
    assert alone.kept == together.kept
    assert alone.counts == together.counts


def test_the_log_is_what_makedumpfile_and_crash_say(lab: Lab, tools: Callable[..., None], tmp_path: Path) -> None:
    """Line by line."""
    tools("makedumpfile", "crash")
    ours = ddsdk("log", lab.core)
    subprocess.run(["makedumpfile", "--dump-dmesg", lab.core, tmp_path / "dmesg"], capture_output=True, check=True)
    assert ours == (tmp_path / "dmesg").read_text()
    says = crash(lab.vmlinux, lab.core, ["log"], tmp_path)
    assert says[-len(ours.splitlines()):] == ours.splitlines()
    assert "Kernel panic - not syncing: sysrq triggered crash" in ours
    # crash puts the level behind the time
    leveled = [re.sub(r"^(\[ *\d+\.\d+\] )(<\d>)", r"\2\1", line)
               for line in crash(lab.vmlinux, lab.core, ["log -m"], tmp_path)]
    assert leveled[-len(ours.splitlines()):] == ddsdk("log", "--levels", lab.core).splitlines()


def test_the_allocators_lists_say_what_struct_page_says(lab: Lab) -> None:
    """As if the kernel did not export how a free page is marked: its lists are walked, to the same frames."""
    with open_source(str(lab.core)) as memory:
        marked = classify(memory, 16)
        memory.vmcoreinfo = b"\n".join(line for line in (memory.vmcoreinfo or b"").split(b"\n") if b"BUDDY" not in line)
        listed = classify(memory, 16)
    assert listed.kept == marked.kept
    assert listed.gaps == ()
