"""The story of a dump, and the stretch of one: what they object to."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from ddsdk.conformance.bench import Bench
from ddsdk.conformance.check import CheckFailed, Setup
from ddsdk.conformance.load import plans_for
from ddsdk.conformance.story import Story
from ddsdk.conformance.stretch import Ending, dump_some, honest, works_or_is_dead, write_some
from ddsdk.errors import MdelayFault
from ddsdk.sim import disk_faults


@pytest.fixture
def bench() -> Iterator[Bench]:
    """The bundled driver, ready for a crash."""
    with Bench.build(plans_for("mptfusion", chip="sas1068")[0], Setup(disk_bytes=1 << 20)) as built:
        yield built


@pytest.fixture
def story(bench: Bench) -> Iterator[Story]:
    """A machine with a dump partition."""
    with Story(bench) as told:
        yield told


def dumped(story: Story) -> Story:
    """The same after a dump."""
    story.crash()
    story.dump()
    return story


def flip(story: Story, at: int) -> None:
    """Change one byte of its disk."""
    with story.disks[0].image.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes((byte[0] ^ 1,)))


def test_a_complete_dump(story: Story) -> None:
    """Nothing to object to, asked either way."""
    assert dumped(story).report.complete
    assert story.complete_or_refused()


def test_a_sector_beside_the_partition(story: Story) -> None:
    """One that no write of the load named."""
    flip(dumped(story), 513)
    with pytest.raises(CheckFailed) as failure:
        story.must_be_complete()
    assert str(failure.value) == "1 sectors that belong to nobody's write changed: [1]"


def test_a_page_that_is_another(story: Story) -> None:
    """One byte of the dump, in the middle of the pages."""
    flip(dumped(story), (512 << 10) + 100 * 4096 + 5)
    with pytest.raises(CheckFailed) as failure:
        story.must_be_complete()
    assert str(failure.value) == "1 of 160 pages of the vmcore are not what memory held at the crash"


def test_a_header_that_is_damaged(story: Story) -> None:
    """Said in savecore's words, without the directory."""
    flip(dumped(story), (512 << 10) + 4096)
    with pytest.raises(CheckFailed) as failure:
        story.must_be_complete()
    assert str(failure.value) == ("the dump was reported complete, and savecore finds it no dump: disk0.img,"
                                  "offset=524288,size=671744: no dump header in block 1")


def test_a_refusal(story: Story) -> None:
    """For a held lock, and honest: the disk is as it was."""
    story.rig.kernel.spin_lock(story.rig.adapters[0].host.host_lock)
    dumped(story)
    assert not story.complete_or_refused()


def test_a_refusal_that_left_a_trace(story: Story) -> None:
    """A byte of the partition counts, too."""
    story.rig.kernel.spin_lock(story.rig.adapters[0].host.host_lock)
    flip(dumped(story), 600 << 10)
    with pytest.raises(CheckFailed) as failure:
        story.complete_or_refused()
    assert str(failure.value) == "1 sectors of a device that was refused changed: [1200]"


def test_what_the_driver_raised_is_its_own(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine notes it and goes on; the story raises it again, so that its owner can be named."""
    def quiesce() -> int:
        raise MdelayFault("mdelay(1)")

    monkeypatch.setattr(story.rig.adapters[0].device, "quiesce", quiesce)
    with pytest.raises(MdelayFault):
        dumped(story)


# -- a stretch -------------------------------------------------------------------------------------------------


def test_a_stretch_ends_well(bench: Bench) -> None:
    """On a healthy adapter."""
    bench.take_over()
    assert dump_some(bench) == Ending()


@pytest.mark.parametrize(("fault", "which"), [
    (disk_faults.lost_write(after=1), "4 pages at block 18"),
    (disk_faults.misdirected_write(8), "1 pages at block 16"),
    (disk_faults.torn_write(31, after=1), "4 pages at block 18"),
], ids=["lost", "misdirected", "torn"])
def test_a_write_that_is_not_there(bench: Bench, fault: disk_faults.DiskFault, which: str) -> None:
    """Whatever the device says."""
    assert bench.disk is not None
    bench.take_over()
    bench.disk.inject(fault)
    with pytest.raises(CheckFailed) as failure:
        write_some(bench)
    assert str(failure.value) == f"the write of {which} ended well, but the disk holds something else"


def test_an_error_ends_the_stretch(bench: Bench) -> None:
    """With the device's own errno and reason."""
    assert bench.disk is not None
    bench.take_over()
    bench.disk.inject(disk_faults.write_protected())
    ending = dump_some(bench)
    assert not ending
    assert (ending.error, ending.why) == (
        -errno.EROFS, "WRITE(10) to mptscsih0:0:0:0: DATA PROTECT 27/00 (write protected)")


@pytest.mark.parametrize(("error", "why", "objection"), [
    (-4711, "something", "a write ended with -4711, which is no negative errno"),
    (5, "something", "a write ended with 5, which is no negative errno"),
    (-errno.EIO, " ", "a write ended with -EIO and no word why"),
])
def test_an_error_is_to_be_honest(bench: Bench, error: int, why: str, objection: str) -> None:
    """A real errno, and a word why."""
    with pytest.raises(CheckFailed) as failure:
        honest(bench, error, why, "a write")
    assert str(failure.value) == objection


def test_dead_is_said_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that works; one that refuses at once; one that takes 5 s for it."""
    bench.take_over()
    assert works_or_is_dead(bench)
    took_ms = 0

    def refused(*_arguments: object) -> int:
        bench.let_pass(took_ms)
        bench.device.why = "the adapter is gone"
        return -errno.ENODEV

    monkeypatch.setattr(bench.device, "rw_block", refused)
    assert not works_or_is_dead(bench)
    took_ms = 5000
    with pytest.raises(CheckFailed) as failure:
        works_or_is_dead(bench)
    assert str(failure.value) == ("after the error no command works, and each takes 5.0 s to say so (the adapter is"
                                  " gone); a device that is given up must refuse at once")


@pytest.mark.parametrize("code_check", [True, False])
def test_code_check(bench: Bench, code_check: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that changed after its registration is refused, or not looked at."""
    with Story(bench, code_check=code_check) as story:
        monkeypatch.setattr("ddsdk_mptfusion.reply.MAX_POPS", 255)
        assert dumped(story).report.complete is not code_check
