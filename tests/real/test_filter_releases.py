"""Kernels of other releases, made up here, judged by makedumpfile: page sets and logs.

makedumpfile 1.7.2, Debian 12's, knows compound pages up to Linux 6.2.  DDSDK_MAKEDUMPFILE names a newer one (1.7.9
knows all of these), which then judges the newer releases as well.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ddsdk.vmcore.classify import classify_every_level
from ddsdk.vmcore.klog import kernel_log, log_lines
from ddsdk.vmcore.vmcoreinfo import build
from tests.real.kdumpfile import read_page_set
from tests.vmcore.cores import Load, elf64, note
from tests.vmcore.kernel import (
    ANON,
    DIRECT,
    HWPOISON,
    IMAGE,
    LRU,
    OLD_SWAPCACHE,
    PRIVATE,
    RELEASES,
    SLAB,
    SWAPBACKED,
    SWAPCACHE,
    V2_6_24,
    V3_10,
    V3_16,
    V4_4,
    V4_19,
    Kernel,
    P,
    Release,
)
from tests.vmcore.klogs import Ring, flat_buffer, record, record_buffer

pytestmark = pytest.mark.real

NEWER = os.environ.get("DDSDK_MAKEDUMPFILE")
JUDGED = (V3_10, *RELEASES) if NEWER else (V3_10, V3_16, V4_4, V4_19)
FRAMES = 16384


def core(directory: Path, kernel: Kernel, release: str = "") -> Path:
    """An ELF core with what makedumpfile wants to know beside what we do."""
    name = release or kernel.release.name
    name += ".0" * (2 - name.count("."))
    uts = kernel.take(512)
    for number, text in enumerate(("Linux", "node", name, "version", "x86_64", "domain")):
        kernel.write(uts + 4 + 65 * number, text.encode() + b"\0")
    kernel.info |= {
        "OSRELEASE": name, "SYMBOL(init_uts_ns)": f"{kernel.image(uts):x}", "SYMBOL(_stext)": f"{IMAGE:x}",
        "SYMBOL(init_level4_pgt)": kernel.info["SYMBOL(swapper_pg_dir)"],
        "SYMBOL(node_online_map)": f"{kernel.image(kernel.take(128)):x}", "SIZE(nodemask_t)": 128,
        "SIZE(list_head)": 16, "SIZE(pglist_data)": 4096, "SIZE(free_area)": 88, "SIZE(zone)": 1536,
        "NUMBER(NR_FREE_PAGES)": 0, "OFFSET(zone.free_area)": 256, "OFFSET(zone.vm_stat)": 1344,
        "OFFSET(zone.spanned_pages)": 144, "OFFSET(free_area.free_list)": 0, "OFFSET(pglist_data.node_zones)": 0,
        "OFFSET(pglist_data.nr_zones)": 3000, "OFFSET(pglist_data.node_start_pfn)": 3008,
        "OFFSET(pglist_data.node_spanned_pages)": 3016, "OFFSET(pglist_data.node_id)": 3024}
    path = directory / "core"
    memory = bytes(kernel.source().view(0, kernel.frames * P))
    path.write_bytes(elf64([Load(0, memory, vaddr=DIRECT)],
                           note(b"CORE", 1, bytes(336)) + note(b"VMCOREINFO", 0, build(kernel.info))))
    return path


def makedumpfile(*argv: object) -> None:
    """Run it; the test fails with its words."""
    done = subprocess.run([NEWER or "makedumpfile", *map(str, argv)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("release", JUDGED, ids=[release.name for release in JUDGED])
def test_every_release_keeps_makedumpfiles_page_set(release: Release, tools: Callable[..., None],
                                                    tmp_path: Path) -> None:
    """Pages of every kind, at levels that tell them apart."""
    tools("makedumpfile")
    kernel = Kernel(release, frames=FRAMES)
    for pfn in range(10240, 10300):
        kernel.write(pfn * P, b"x")
    if "PG_head_mask" in release.numbers:
        kernel.compound(512, 9, hugetlb=True)
        kernel.compound(1024, 9, flags=LRU, mapping=ANON)
        kernel.compound(1536, 2, flags=LRU)
        kernel.compound(1540, 2, **({"flags": SLAB} if "PG_slab" in release.numbers else {"mapcount": 0xF500_0000}))
    kernel.free(2048, 10)
    kernel.free(12288, 3)
    kernel.free(12300, 2)
    for pfn, flags in enumerate((LRU, LRU | PRIVATE, SWAPCACHE, SWAPCACHE | SWAPBACKED, OLD_SWAPCACHE, HWPOISON), 20):
        kernel.page(pfn, flags=flags)
    kernel.page(30, mapping=ANON)
    kernel.page(31, flags=LRU, mapping=ANON)
    path = core(tmp_path, kernel)
    found = classify_every_level(kernel.source())
    for level in (0, 1, 2, 4, 8, 16, 23, 31):
        out = tmp_path / f"out{level}"
        makedumpfile("-l", "-d", level, path, out)
        theirs = read_page_set(out, level)
        ours = found.at(level).kept.flags(0, len(theirs.stored))
        assert np.flatnonzero(ours != (theirs.stored & ~theirs.zero)).tolist() == [], f"level {level}"


def spoken(kernel: Kernel) -> Kernel:
    """A flat log that went round."""
    flat_buffer(kernel, b"".join(b"<%d>line %d\n" % (n % 8, n) for n in range(100)))
    return kernel


def recorded(kernel: Kernel) -> Kernel:
    """A record buffer that went round."""
    record_buffer(kernel, [record(b"three", ts=3_000_000_000), record(b"f\nour\x1b", ts=4_000_000)],
                  [record(b"one", ts=1000, dictionary=b"DEVICE=+pci"), record(b"two", ts=2_000_000_999)])
    return kernel


def ringed(kernel: Kernel) -> Kernel:
    """A ring that went round."""
    ring = Ring(kernel)
    for number in range(40):
        ring.add(b"record %d\nof many\t\x1b" % number * (number % 3), ts=number * 123_456_789)
    return kernel


@pytest.mark.parametrize(("made", "base", "release"), [(spoken, V2_6_24, "2.6.24"), (recorded, V4_19, "4.19"),
                                                       (ringed, V4_19, "5.10")], ids=["flat", "records", "ring"])
def test_logs_of_three_generations(made: Callable[[Kernel], Kernel], base: Release, release: str,
                                   tools: Callable[..., None], tmp_path: Path) -> None:
    """makedumpfile --dump-dmesg says the same; it leaves a flat log's levels in, and newer ones show callers."""
    tools("makedumpfile")
    kernel = made(Kernel(base, frames=FRAMES))
    makedumpfile("--dump-dmesg", core(tmp_path, kernel, release), tmp_path / "dmesg")
    theirs = (tmp_path / "dmesg").read_text().splitlines()
    ours = list(log_lines(kernel_log(kernel.source()), levels=made is spoken, callers=bool(NEWER)))
    assert theirs == ours
