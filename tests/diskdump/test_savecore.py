"""From a partition to a vmcore and back to signatures, losing nothing on the way."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ddsdk.abi import ABIS, I386, X86_64, Abi
from ddsdk.diskdump.check import Verdict, check_device
from ddsdk.diskdump.crashdir import CaseDirectory, CrashDirectory, directory_name, run_nospace_script
from ddsdk.diskdump.header import Status
from ddsdk.diskdump.partition import DumpState, read_partition
from ddsdk.diskdump.record import FormatRecord
from ddsdk.diskdump.resign import Marker
from ddsdk.diskdump.savecore import SaveReport, save
from ddsdk.diskdump.signature import SignatureKind, signature_blocks
from ddsdk.diskdump.target import DumpTarget
from ddsdk.errors import DeviceError, FormatError
from ddsdk.vmcore.dumpheader import DiskDumpHeader
from ddsdk.vmcore.source import open_source
from tests.diskdump.images import DIRECTORY_NAME, formatted, pages_of, write_dump


def dumped(path: Path, *, abi: Abi = X86_64, kind: SignatureKind = SignatureKind.DESIGN, stride: int = 1,
           spec: str = "synthetic:4M,cpus=2", **how: object) -> DumpTarget:
    """A formatted partition with a dump on it."""
    target = formatted(path, 1200, abi=abi, kind=kind, stride=stride)
    with open_source(f"{spec},abi={abi.name}") as source:
        write_dump(target, source, **how)           # type: ignore[arg-type]
    return target


def saved_pages(report: SaveReport) -> dict[int, bytes]:
    """pfn -> page of the vmcore."""
    assert report.path is not None
    with open_source(report.path) as source:
        return pages_of(source)


@pytest.mark.parametrize("kind", SignatureKind, ids=lambda kind: kind.value)
@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_complete_dump(abi: Abi, kind: SignatureKind, tmp_path: Path) -> None:
    """Every page and note arrives, and the partition is byte for byte what the formatter left."""
    fresh = Path(formatted(tmp_path / "fresh.img", 1200, abi=abi, kind=kind).path).read_bytes()
    target = dumped(tmp_path / "d.img", abi=abi, kind=kind)
    report = save(target, str(tmp_path / "out"))
    assert (report.state, report.problem, report.warnings) == (DumpState.COMPLETE, None, ())
    assert report.path == str(tmp_path / "out" / DIRECTORY_NAME / "vmcore")
    with open_source(f"synthetic:4M,cpus=2,abi={abi.name}") as memory, open_source(report.path) as vmcore:
        assert pages_of(vmcore) == pages_of(memory)
        assert [(cpu.regs, cpu.pid) for cpu in vmcore.cpus] == [(cpu.regs, cpu.pid) for cpu in memory.cpus]
        assert vmcore.vmcoreinfo == memory.vmcoreinfo
        assert vmcore.abi == memory.abi
        assert report.resigned_blocks == 3 + memory.total_pages
    assert Path(target.path).read_bytes() == fresh
    assert check_device(target).verdict is Verdict.READY


def test_the_vmcore_is_private(tmp_path: Path) -> None:
    """Directories 0700 and the file 0600, whatever the umask: a vmcore has every secret of the machine."""
    target = dumped(tmp_path / "d.img")
    before = os.umask(0)
    try:
        report = save(target, str(tmp_path / "out"))
    finally:
        os.umask(before)
    assert report.path is not None
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (tmp_path / "out", Path(report.path).parent, report.path)]
    assert modes == [0o700, 0o700, 0o600]
    assert os.listdir(Path(report.path).parent) == ["vmcore"]


def test_interrupted_dump(tmp_path: Path) -> None:
    """Exactly the pages that were written, under a name that says so, with the ELF flag that says so."""
    target = dumped(tmp_path / "d.img", status=Status.INCOMPLETED, wanted=lambda n: n in {0, 1, 3, 6, 20})
    report = save(target, str(tmp_path / "out"))
    assert report.state is DumpState.INCOMPLETE
    assert report.path == str(tmp_path / "out" / DIRECTORY_NAME / "vmcore-incomplete")
    assert (report.pages, report.total_pages) == (80, 928)
    with open_source("synthetic:4M,cpus=2") as memory, open_source(report.path) as vmcore:
        pages, ordered = pages_of(memory), [pfn for run in memory.runs
                                            for pfn in range(run.start_pfn, run.start_pfn + run.npages)]
        there = [ordered[chunk * 16 + n] for chunk in (0, 1, 3, 6, 20) for n in range(16)]
        assert pages_of(vmcore) == {pfn: pages[pfn] for pfn in there}
        assert vmcore.incomplete
        assert len(vmcore.cpus) == 2
    assert check_device(target).ready


def test_dump_that_never_reached_memory(tmp_path: Path) -> None:
    """Header only: an incomplete vmcore without pages, and the partition is ready again."""
    target = dumped(tmp_path / "d.img", header_only=True)
    report = save(target, str(tmp_path / "out"))
    assert (report.state, report.pages, report.segments) == (DumpState.INCOMPLETE, 0, 0)
    assert check_device(target).ready


def test_sparse_format(tmp_path: Path) -> None:
    """Of a sparse format the signed blocks are given back, the record too; what is uncertain is counted."""
    target = dumped(tmp_path / "d.img", stride=64, status=Status.INCOMPLETED, wanted=lambda n: n < 20)
    report = save(target, str(tmp_path / "out"))
    assert (report.pages, report.uncertain_pages) == (317, 63)
    check = check_device(target)
    assert (check.ready, check.stride) == (True, 64)
    target = dumped(tmp_path / "e.img", stride=64)
    report = save(target, str(tmp_path / "out"))
    assert (report.state, report.pages) == (DumpState.COMPLETE, 928)
    assert report.path == str(tmp_path / "out" / f"{DIRECTORY_NAME}-2" / "vmcore")
    assert check_device(target).ready


def test_no_dump(tmp_path: Path) -> None:
    """Nothing to save: said, nothing made, nothing written."""
    target = formatted(tmp_path / "d.img", 100)
    before = Path(target.path).read_bytes()
    report = save(target, str(tmp_path / "out"))
    assert (report.state, report.path) == (DumpState.NONE, None)
    assert report.why == f"{target}: no dump header in block 1"
    assert Path(target.path).read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_keep(tmp_path: Path) -> None:
    """keep leaves the partition as it is: it can be saved once more, beside the first vmcore."""
    target = dumped(tmp_path / "d.img")
    before = Path(target.path).read_bytes()
    first = save(target, str(tmp_path / "out"), keep=True)
    assert first.resigned_blocks is None
    assert Path(target.path).read_bytes() == before
    second = save(target, str(tmp_path / "out"), keep=True)
    assert second.path == str(tmp_path / "out" / f"{DIRECTORY_NAME}-2" / "vmcore")
    assert saved_pages(first) == saved_pages(second)


def test_only_what_the_dump_overwrote_is_signed(tmp_path: Path) -> None:
    """Blocks behind the dump and outside the window keep every byte, damaged ones included."""
    inner = dumped(tmp_path / "d.img")
    data = bytearray(Path(inner.path).read_bytes())
    data[1100 * 4096] ^= 1                                          # behind the dump's 932 blocks
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"\x77" * 8192 + data + b"\x77" * 8192)
    save(DumpTarget(str(disk), 8192, 1200 * 4096), str(tmp_path / "out"))
    after = disk.read_bytes()
    assert after[:8192] == after[-8192:] == b"\x77" * 8192
    assert after[8192 + 932 * 4096:-8192] == data[932 * 4096:]
    assert after[8192 + 3 * 4096:8192 + 932 * 4096] == signature_blocks(SignatureKind.DESIGN, X86_64, 3, 929)


def test_i386_above_4_gib_is_elf64(tmp_path: Path) -> None:
    """A PAE machine with a page above 4 GiB gets an ELF64 file of machine i386; below it, ELF32."""
    target = dumped(tmp_path / "d.img", abi=I386)
    layout = DiskDumpHeader.on(I386)
    with target.open(write=True) as file:
        pfns = (1 << 20) + 8
        blocks = -(-pfns // 32768)
        bitmap = bytearray(blocks * 4096)
        bitmap[0] = 0xFF
        bitmap[pfns // 8 - 1] = 0xFF
        file.write(3 * 4096, bitmap)
        file.write(4096 + layout.offsetof("bitmap_blocks"), struct.pack("<III", blocks, pfns, 16))
        file.write(4096 + layout.offsetof("written_blocks"), struct.pack("<I", 3 + blocks + 16))
        content = b"".join(bytes([n + 1]) * 4096 for n in range(16))
        file.write((3 + blocks) * 4096, content)
    report = save(target, str(tmp_path / "out"))
    assert (report.elf_class, report.pages, report.segments) == (64, 16, 2)
    assert report.path is not None
    assert Path(report.path).read_bytes()[:20] == b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HH", 4, 3)
    pages = saved_pages(report)
    assert pages[1 << 20] == b"\x09" * 4096
    assert save(dumped(tmp_path / "e.img", abi=I386), str(tmp_path / "out")).elf_class == 32


def test_page_the_device_lost(tmp_path: Path) -> None:
    """A header that says complete over a block never written: the page is left out and the dump is not complete."""
    target = dumped(tmp_path / "d.img")
    with target.open(write=True) as file:
        file.write(500 * 4096, signature_blocks(SignatureKind.DESIGN, X86_64, 500, 2))
    report = save(target, str(tmp_path / "out"))
    assert (report.state, report.pages) == (DumpState.INCOMPLETE, 926)
    assert report.path is not None
    assert report.path.endswith("vmcore-incomplete")
    assert report.warnings == ("2 pages that it should hold are not on the device (first in block 500)",)
    with open_source("synthetic:4M,cpus=2") as memory:
        expected = pages_of(memory)
    for pfn in (256 + 500 - 164, 256 + 501 - 164):
        del expected[pfn]
    assert saved_pages(report) == expected


def test_rhel_swap_dump(tmp_path: Path) -> None:
    """A dump on a device without signatures is saved; then its header is erased, and nothing else changes."""
    target = dumped(tmp_path / "d.img")
    with target.open(write=True) as file:
        file.write(0, bytes(4096))
        file.write(2 * 4096 + 256, bytes(4096 - 256))
        file.write(1199 * 4096, bytes(4096))
    before = Path(target.path).read_bytes()
    report = save(target, str(tmp_path / "out"))
    assert (report.state, report.resigned_blocks) == (DumpState.COMPLETE, 0)
    after = Path(target.path).read_bytes()
    assert after[4096:8192] == bytes(4096)
    assert after[:4096] + after[8192:] == before[:4096] + before[8192:]


# --- the crash directory ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "name"), [
    (1100000000, "127.0.0.1-2004-11-09-11:33:20"), (0, "127.0.0.1-1970-01-01-00:00:00"),
    (-5, "127.0.0.1-1970-01-01-00:00:00"), (1 << 62, "127.0.0.1-1970-01-01-00:00:00"),
])
def test_directory_name(seconds: int, name: str) -> None:
    """The crash's time in UTC; a time no calendar has counts as 0, so that no header can choose the name."""
    assert directory_name(seconds) == name


def test_crash_directory_must_not_be_a_symlink(tmp_path: Path) -> None:
    """A symbolic link as crash directory is refused, with a slash behind it too; the dump stays."""
    target = dumped(tmp_path / "d.img")
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    for name in ("out", "out/"):
        with pytest.raises(DeviceError, match="out: is a symbolic link; vmcores go into a real directory"):
            save(target, f"{tmp_path}/{name}")
    assert os.listdir(tmp_path / "real") == []
    assert read_partition(target).state is DumpState.COMPLETE


def test_planted_links_are_not_followed(tmp_path: Path) -> None:
    """A link planted under the name of the vmcore's directory is passed over, not followed."""
    target = dumped(tmp_path / "d.img")
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / DIRECTORY_NAME).symlink_to(tmp_path / "elsewhere")
    report = save(target, str(tmp_path / "out"))
    assert report.path == str(tmp_path / "out" / f"{DIRECTORY_NAME}-2" / "vmcore")
    assert os.listdir(tmp_path / "elsewhere") == []


def test_vmcore_is_made_anew_or_not_at_all(tmp_path: Path) -> None:
    """vmcore-incomplete is created exclusively: an existing file or link is not opened."""
    with CrashDirectory.open(str(tmp_path / "out")) as parent:
        case = parent.make(0)
        (Path(case.path) / "vmcore-incomplete").symlink_to(tmp_path / "victim")
        with pytest.raises(DeviceError, match="vmcore-incomplete: cannot be made: File exists"):
            case.create(4096)
        case.close()
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize(("path", "reason"), [
    ("file", "file: cannot be used as a crash directory: Not a directory"),
    ("missing/out", "missing/out: cannot be used as a crash directory: No such file or directory"),
])
def test_unusable_directories(path: str, reason: str, tmp_path: Path) -> None:
    """A file in the way, or a missing parent: one line, and the dump stays."""
    target = dumped(tmp_path / "d.img")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DeviceError, match=reason):
        save(target, str(tmp_path / path))
    assert read_partition(target).state is DumpState.COMPLETE


class FullDirectory(CrashDirectory):
    """A crash directory on a file system with a few bytes left, then more after each look."""

    def __init__(self, path: str, fd: int, free: list[int]) -> None:
        super().__init__(path, fd)
        self.free = free

    def free_bytes(self) -> int:
        """The next answer; the last one for ever."""
        return self.free.pop(0) if len(self.free) > 1 else self.free[0]


def test_space_is_checked_first(tmp_path: Path) -> None:
    """Too little space is found before a byte is written: both numbers, and what to do."""
    with CrashDirectory.open(str(tmp_path)) as real:
        full = FullDirectory(str(tmp_path), os.dup(real.fd), [5000])
        case = full.make(0)
        with pytest.raises(DeviceError, match="no space: the vmcore takes 1000000 bytes, 5000 are free; make room"):
            case.create(1_000_000)
        assert os.listdir(case.path) == []
        case.discard()
        os.close(full.fd)
    assert os.listdir(tmp_path) == []


def save_on_full_disk(tmp_path: Path, target: DumpTarget, answer: str) -> subprocess.CompletedProcess[str]:
    """savecore in a process that finds 1000 bytes free until it has asked *answer* for room."""
    code = f"""
        from ddsdk.diskdump import crashdir, savecore
        from ddsdk.diskdump.target import DumpTarget
        from ddsdk.errors import DeviceError
        calls = []
        free = crashdir.CrashDirectory.free_bytes
        crashdir.CrashDirectory.free_bytes = lambda self: 1000 if len(calls) < 1 else free(self)
        def ask(address, path):
            calls.append((address, path))
            return {answer}
        try:
            report = savecore.save(DumpTarget({target.path!r}), {str(tmp_path / "out")!r}, on_nospace=ask)
            print(report.state.value, calls)
        except DeviceError as error:
            print(error, calls)
    """
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)


@pytest.mark.parametrize(("answer", "outcome"), [("1", "complete"), ("0", "no space"), ("None", "no space")])
def test_nospace_script(answer: str, outcome: str, tmp_path: Path) -> None:
    """Short of space the script is asked once: non-zero means try again, zero or no script means give up."""
    target = dumped(tmp_path / "d.img")
    done = save_on_full_disk(tmp_path, target, answer)
    assert outcome in done.stdout, done.stderr
    assert done.stdout.count("('127.0.0.1', ") == 1
    assert str(tmp_path / "out" / DIRECTORY_NAME) in done.stdout
    state = read_partition(target).state
    assert state is (DumpState.NONE if outcome == "complete" else DumpState.COMPLETE)
    if outcome != "complete":
        assert os.listdir(tmp_path / "out") == []


def scripts(tmp_path: Path, body: str, mode: int = 0o700) -> Path:
    """DIR with scripts/diskdump-nospace in it."""
    directory = tmp_path / "crash"
    (directory / "scripts").mkdir(parents=True)
    script = directory / "scripts/diskdump-nospace"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(mode)
    for path in (directory, directory / "scripts"):
        path.chmod(0o755)
    return directory


def run_script(directory: Path) -> int | None:
    """What the script answers."""
    with CrashDirectory.open(str(directory)) as opened:
        return run_nospace_script(opened, str(directory / "case"))


def test_script_gets_address_and_directory_and_nothing_else(tmp_path: Path) -> None:
    """Two arguments, PATH and LC_ALL, no input; its exit status is the answer."""
    out = tmp_path / "seen"
    directory = scripts(tmp_path, f'echo "$# $1 $2" > {out}; env | grep -v -e PWD= -e SHLVL= -e _= | sort >> {out}; '
                                  f"cat >> {out}; exit 3")
    assert run_script(directory) == 3
    assert out.read_text().splitlines() == [
        f"2 127.0.0.1 {directory}/case", "LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]


def test_no_script(tmp_path: Path) -> None:
    """No scripts directory, or none of that name: nobody to ask."""
    (tmp_path / "crash").mkdir(mode=0o755)
    assert run_script(tmp_path / "crash") is None
    (tmp_path / "crash/scripts").mkdir(mode=0o755)
    assert run_script(tmp_path / "crash") is None


@pytest.mark.parametrize("which", ["", "scripts", "scripts/diskdump-nospace"])
def test_script_that_others_may_write(which: str, tmp_path: Path) -> None:
    """A script, or a directory on its way, that others may write is not run."""
    out = tmp_path / "seen"
    directory = scripts(tmp_path, f"touch {out}")
    (directory / which).chmod(0o777)
    with pytest.raises(DeviceError, match=r"mode 0777: a script is run only when .* nobody else may write them"):
        run_script(directory)
    assert not out.exists()


def test_script_behind_a_link(tmp_path: Path) -> None:
    """A script that is a symbolic link is not run."""
    directory = scripts(tmp_path, "exit 1")
    script = directory / "scripts/diskdump-nospace"
    script.rename(tmp_path / "elsewhere")
    script.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeviceError, match="diskdump-nospace: cannot be run"):
        run_script(directory)


def test_script_that_is_not_executable(tmp_path: Path) -> None:
    """A script without the execute bit: one line."""
    with pytest.raises(DeviceError, match="diskdump-nospace: cannot be run: Permission denied"):
        run_script(scripts(tmp_path, "exit 1", mode=0o600))


def test_script_whose_interpreter_is_missing(tmp_path: Path) -> None:
    """That is not the same as no script: one line."""
    directory = scripts(tmp_path, "exit 1")
    (directory / "scripts/diskdump-nospace").write_text("#!/no/such/interpreter\n")
    with pytest.raises(DeviceError, match="diskdump-nospace: cannot be run: No such file or directory"):
        run_script(directory)


# --- failures on the way --------------------------------------------------------------------------------------


def limited(target: DumpTarget, out: Path, limit_bytes: int) -> subprocess.CompletedProcess[str]:
    """savecore in a process that may not write files beyond *limit_bytes* (EFBIG)."""
    code = f"""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))
        from ddsdk.diskdump import savecore
        from ddsdk.diskdump.target import DumpTarget
        from ddsdk.errors import DeviceError
        try:
            report = savecore.save(DumpTarget({target.path!r}), {str(out)!r})
            print(report.state.value, report.problem)
        except DeviceError as error:
            print(error)
    """
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)


def test_file_system_refuses_the_size(tmp_path: Path) -> None:
    """A file that may not grow as needed: one line, nothing left behind, the dump where it was."""
    target = dumped(tmp_path / "d.img")
    done = limited(target, tmp_path / "out", 1 << 20)
    assert os.strerror(errno.EFBIG) in done.stdout, done.stderr
    assert os.listdir(tmp_path / "out") == []
    assert read_partition(target).state is DumpState.COMPLETE


def test_failure_while_signing_is_a_problem_not_a_loss(tmp_path: Path) -> None:
    """When the partition cannot be written the vmcore is there all the same, and the report says what is left."""
    big = 16 << 20
    outer = tmp_path / "disk.img"
    inner = dumped(tmp_path / "d.img")
    with outer.open("wb") as file:
        file.truncate(big)
        file.seek(big)
        file.write(Path(inner.path).read_bytes())
    target = DumpTarget(str(outer), big, 1200 * 4096)
    code = f"""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({big}, {big}))
        from ddsdk.diskdump import savecore
        from ddsdk.diskdump.target import DumpTarget
        report = savecore.save(DumpTarget({str(outer)!r}, {big}, {1200 * 4096}), {str(tmp_path / "out")!r})
        print(report.state.value, report.resigned_blocks, report.problem)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("complete None the signatures are not back: "), done.stderr
    assert "write error at byte 4096: File too large" in done.stdout
    assert (tmp_path / "out" / DIRECTORY_NAME / "vmcore").exists()
    assert read_partition(target).state is DumpState.COMPLETE


def test_two_at_once(tmp_path: Path) -> None:
    """A second savecore on the same partition is turned away."""
    target = dumped(tmp_path / "d.img")
    with open(target.path, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DeviceError, match="another format, dump or savecore is at work on it"):
            save(target, str(tmp_path / "out"))


def test_damaged_header_stays(tmp_path: Path) -> None:
    """A dump whose header cannot be is not saved, not erased, and no directory is made."""
    target = dumped(tmp_path / "d.img")
    with target.open(write=True) as file:
        file.write(4096 + DiskDumpHeader.on(X86_64).offsetof("max_mapnr"), b"\xff\xff\xff\xff")
    before = Path(target.path).read_bytes()
    with pytest.raises(FormatError, match="the header is damaged"):
        save(target, str(tmp_path / "out"))
    assert Path(target.path).read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_killed_while_signing(tmp_path: Path) -> None:
    """A kill half way through the signatures leaves a marker; the next savecore finishes, and saves nothing twice."""
    target = dumped(tmp_path / "d.img")
    fresh = Path(formatted(tmp_path / "fresh.img", 1200).path).read_bytes()
    save(target, str(tmp_path / "out"), keep=True)
    with target.open(write=True) as file:                   # what resign() leaves when it is killed at block 500
        file.write(4096, Marker(FormatRecord(SignatureKind.DESIGN, X86_64, 1200), 932).pack().ljust(4096, b"\0"))
        file.write(3 * 4096, signature_blocks(SignatureKind.DESIGN, X86_64, 3, 497))
    assert read_partition(target).state is DumpState.NONE
    report = save(target, str(tmp_path / "out"), keep=True)
    assert (report.state, report.resigned_blocks) == (DumpState.NONE, None)
    report = save(target, str(tmp_path / "out"))
    assert (report.state, report.path, report.resigned_blocks) == (DumpState.NONE, None, 931)
    assert report.why.endswith("an earlier savecore saved it and was stopped while it gave the signatures back; "
                               "they are back now")
    assert Path(target.path).read_bytes() == fresh


@pytest.mark.parametrize("phase", ["copy", "sign"])
def test_killed(phase: str, tmp_path: Path) -> None:
    """kill -9 while copying leaves the dump and no vmcore; while signing, a whole vmcore and a device that says so."""
    target = dumped(tmp_path / "d.img")
    code = f"""
        import os, signal
        from ddsdk.diskdump import savecore
        from ddsdk.diskdump.target import DumpTarget
        def tell(phase, done, total):
            if phase == {phase!r}:
                os.kill(os.getpid(), signal.SIGKILL)
        savecore.save(DumpTarget({target.path!r}), {str(tmp_path / "out")!r}, progress=tell)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    case = tmp_path / "out" / DIRECTORY_NAME
    if phase == "copy":
        assert os.listdir(case) == ["vmcore-incomplete"]
        assert (case / "vmcore-incomplete").read_bytes()[:4] == bytes(4)        # not an ELF file yet
        assert save(target, str(tmp_path / "out")).state is DumpState.COMPLETE
    else:
        with open_source("synthetic:4M,cpus=2") as memory, open_source(str(case / "vmcore")) as vmcore:
            assert pages_of(vmcore) == pages_of(memory)
        assert check_device(target).verdict is Verdict.NEEDS_FORMAT
        assert save(target, str(tmp_path / "out")).state is DumpState.NONE
    assert check_device(target).ready


def test_progress(tmp_path: Path) -> None:
    """Phases come in order and end at their totals."""
    target = dumped(tmp_path / "d.img", status=Status.INCOMPLETED)
    seen: list[tuple[str, int, int]] = []
    save(target, str(tmp_path / "out"), progress=lambda phase, done, total: seen.append((phase, done, total)))
    last = {phase: (done, total) for phase, done, total in seen}
    assert last == {"scan": (928, 928), "copy": (928, 928), "sign": (930, 930)}
    assert [phase for phase, *_ in seen] == sorted((phase for phase, *_ in seen), key=["scan", "copy", "sign"].index)


def test_case_directory_is_removed_only_when_empty(tmp_path: Path) -> None:
    """Discarding removes our file and our directory, never somebody else's file."""
    with CrashDirectory.open(str(tmp_path / "out")) as parent:
        case: CaseDirectory = parent.make(0)
        case.create(4096).close()
        (Path(case.path) / "notes.txt").write_text("by somebody else")
        case.discard()
    assert os.listdir(tmp_path / "out" / directory_name(0)) == ["notes.txt"]
