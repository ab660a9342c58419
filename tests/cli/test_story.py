"""format, check, dump, info, savecore: each verb on what the one before left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .conftest import Ddsdk


def test_the_design_documents_line(ddsdk: Ddsdk) -> None:
    """White paper 5.2, for 261898 pages."""
    ended = ddsdk("estimate", "pages:261898")
    assert ended.code == 0
    assert ended.out.splitlines()[0] == (
        "disk_dump: total blocks required: 261909 (header 3 + bitmap 8 + memory 261898)")
    assert json.loads(ddsdk("estimate", "pages:261898", "--json").out)["total_blocks"] == 261909


def test_from_format_to_vmcore(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """A dump through the driver becomes a vmcore; afterwards the partition is ready again."""
    assert ddsdk("format", image).code == 0
    assert ddsdk("check", image).code == 0
    ended = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}")
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == (
        f"dumped 928 pages to mptfusion:{image} (simulated adapter, design signatures checked)")
    told = json.loads(ddsdk("info", image, "--json").out)
    assert (told["state"], told["written_pages"], told["release"]) == ("complete", 928, "6.1.0-synthetic")
    assert ddsdk("check", image).code == 1
    saved = ddsdk("savecore", image, tmp_path / "crash")
    assert saved.code == 0
    vmcore = Path(saved.out.split(": ")[0])
    assert vmcore.parent.name.startswith("127.0.0.1-")
    assert (vmcore.stat().st_mode & 0o777, vmcore.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    core = json.loads(ddsdk("info", vmcore, "--json").out)
    assert (core["kind"], core["pages"], core["cpus_with_registers"]) == ("ELF64 core", 928, 1)
    assert ddsdk("check", image).code == 0


def test_a_small_partition_takes_a_filtered_dump(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """--dump-level and --compress: smaller than the memory is enough; savecore writes any format, the log first."""
    small = tmp_path / "small.img"
    small.write_bytes(bytes(600 * 4096))
    assert ddsdk("format", small).code == 0
    refused = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{small}")
    assert refused.code == 5
    assert "the dump partition has 600 blocks, 932 are required: 332 are missing" in refused.err
    ended = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{small}", "--dump-level", "1", "--compress", "zstd")
    assert (ended.code, ended.out.splitlines()[1]) == (0, f"dumped 928 of 928 pages to mptfusion:{small} (simulated"
                                                          " adapter, design signatures checked)")
    told = json.loads(ddsdk("info", small, "--json").out)
    assert (told["state"], told["dump_level"], told["compress"], told["records"]) == ("complete", 1, "zstd", True)
    for kind, options in (("elf", ("--keep",)), ("lkcd", ("--keep",)), ("kdump", ("--compress", "lzo", "-j", "2"))):
        saved = ddsdk("savecore", small, tmp_path / kind, "--format", kind, *options)
        assert saved.code == 0
        core = json.loads(ddsdk("info", saved.out.split(": ")[0], "--json").out)
        assert (core["pages"], core["stored_pages"], core["incomplete"]) == (928, 928, False)
    assert ddsdk("check", small).code == 0


def test_what_does_not_fit_is_said(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """Exit code 1 of dump and of savecore; what fitted is there."""
    small = tmp_path / "small.img"
    small.write_bytes(bytes(100 * 4096))
    assert ddsdk("format", small).code == 0
    ended = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{small}", "--dump-level", "16")
    assert ended.code == 1
    assert f"mptfusion:{small} is full: 833 of 928 pages did not fit; the dump is incomplete" in ended.err
    saved = ddsdk("savecore", small, tmp_path / "out")
    assert saved.code == 1
    assert "vmcore-incomplete: 95 of 928 pages, ELF64" in saved.out
    assert "incomplete partial dump, 95 of 928 pages; the partition was too small for more" in saved.out
    assert ddsdk("check", small).code == 0


@pytest.mark.parametrize("abi", ["i386", "x86_64", "ia64", "ppc64"])
def test_every_machine(ddsdk: Ddsdk, image: Path, tmp_path: Path, abi: str) -> None:
    """The same story for the four ABIs; every page is compared by the drill."""
    ended = ddsdk("drill", "--memory", f"synthetic:2M,abi={abi},cpus=2", "--driver", "mptfusion")
    assert (ended.code, ended.out.split(" pages, ")[1]) == (0, "0 differ\n")


@pytest.mark.parametrize("options", [("--chip", "53c1030"), ("--block-order", "0"), ("--block-order", "8"),
                                     ("--queue-depth", "16"), ("--load-us", "0"), ("--trigger", "OS_INIT"),
                                     ("--memory", "synthetic:2M,seed=7")])
def test_drill_options(ddsdk: Ddsdk, options: tuple[str, str]) -> None:
    """Each option leaves a verified vmcore."""
    memory = () if "--memory" in options else ("--memory", "synthetic:2M,cpus=2")
    ended = ddsdk("drill", *memory, *options)
    assert (ended.code, ended.out.split(" pages, ")[1]) == (0, "0 differ\n")


def test_a_partition_in_the_middle_of_a_disk(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """offset= and size=: no byte outside the window changes, by format, dump or savecore."""
    image.write_bytes(os.urandom(16 << 20))
    before = image.read_bytes()
    window = f"{image},offset=4M,size=8M"
    assert ddsdk("format", "--force", window).code == 0
    assert ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{window}").code == 0
    assert ddsdk("savecore", window, tmp_path / "crash").code == 0
    after = image.read_bytes()
    assert after[:4 << 20] == before[:4 << 20]
    assert after[12 << 20:] == before[12 << 20:]
    assert after[4 << 20:12 << 20] != before[4 << 20:12 << 20]


def test_shipped_signatures_stay_shipped(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """A device formatted with +7 is recognised, dumped to, and signed with +7 again."""
    ddsdk("format", "--signature", "shipped", image)
    formatted = image.read_bytes()
    ended = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}")
    assert "shipped signatures checked" in ended.out
    assert ddsdk("savecore", image, tmp_path / "crash").code == 0
    assert image.read_bytes() == formatted


def test_sparse_format(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """--stride 16: dump and savecore work, and the device is as the format left it."""
    ddsdk("format", "--stride", 16, image)
    formatted = image.read_bytes()
    assert ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}", "--sample-rate", "0").code == 0
    assert ddsdk("savecore", image, tmp_path / "crash").code == 0
    assert ddsdk("check", image).code == 0
    assert len(formatted) == image.stat().st_size


def test_savecore_keep_leaves_the_dump(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """--keep: the partition still holds the dump, and a second savecore finds it."""
    ddsdk("format", image)
    ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}")
    before = image.read_bytes()
    assert ddsdk("savecore", "--keep", image, tmp_path / "crash").code == 0
    assert image.read_bytes() == before
    assert ddsdk("savecore", "--keep", image, tmp_path / "crash").code == 0
    assert len(list((tmp_path / "crash").iterdir())) == 2


def test_drivers_json(ddsdk: Ddsdk) -> None:
    """Names, ids and backends of the bundled driver."""
    (driver,) = json.loads(ddsdk("drivers", "--json").out)["drivers"]
    chips = {chip["name"]: chip for chip in driver["chips"]}
    assert chips["sas1068"]["pci_id"] == "1000:0054"
    assert chips["sas1068"]["backends"] == ["model", "qemu"]
    assert chips["53c1030"]["backends"] == ["model"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(ddsdk: Ddsdk, shell: str) -> None:
    """Each shell's script names the program."""
    ended = ddsdk("completion", shell)
    assert ended.code == 0
    assert "_DDSDK_COMPLETE" in ended.out
