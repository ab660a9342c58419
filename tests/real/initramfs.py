"""The lab guest's initramfs: static busybox, an init that loads modules, fills memory, and panics."""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
from pathlib import Path

from tests.real.kernels import KernelTree, LabError, run

#: qemu_fw_cfg hands VMCOREINFO to QEMU, pvpanic-pci reports the panic; the rest are disks to be busy with.
MODULES_NEEDED = ("qemu_fw_cfg", "pvpanic-pci")
MODULES_WANTED = ("sd_mod", "sym53c8xx", "ata_piix")

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
while read module; do insmod /modules/$module || echo "LAB insmod $module failed"; done < /modules/order
echo "LAB iomem begin"; cat /proc/iomem; echo "LAB iomem end"

# memory of every kind: file pages, anonymous pages, incompressible and repeated bytes, pages freed again
mount -t tmpfs -o size=25% tmpfs /mnt
dd if=/dev/urandom of=/mnt/random bs=1M count=16 2>/dev/null
yes ddsdk-lab | dd of=/mnt/text bs=1M count=16 2>/dev/null
dd if=/dev/urandom of=/mnt/freed bs=1M count=16 2>/dev/null; rm /mnt/freed
for n in 1 2 3; do sleep 100000 & done
(while true; do sha1sum /mnt/random > /dev/null; done) &

# the crash must find commands in flight
sleep 1
for disk in /dev/sd?; do
  [ -b $disk ] || continue
  echo "LAB load on $disk"
  (while true; do dd if=$disk of=/dev/null bs=64k count=256 iflag=direct; done) >/dev/null 2>&1 &
  (while true; do dd if=/mnt/random of=$disk bs=16k count=1024 oflag=direct; done) >/dev/null 2>&1 &
done
sleep 2
echo "LAB crash now"
echo 1 > /proc/sys/kernel/sysrq
echo c > /proc/sysrq-trigger
echo "LAB the kernel survived sysrq-c"
"""


def _module_files(tree: KernelTree, name: str) -> list[Path] | None:
    """*name* and what it depends on in load order; [] when built in, None when this kernel has not got it."""
    try:
        said = run(["modprobe", "-d", tree.root, "-S", tree.version, "-D", name])
    except LabError:
        return None
    return [Path(line.split()[1]) for line in said.splitlines() if line.startswith("insmod ")]


def _copy_modules(tree: KernelTree, target: Path) -> None:
    order: list[str] = []
    for name in MODULES_NEEDED + MODULES_WANTED:
        files = _module_files(tree, name)
        if files is None and name in MODULES_NEEDED:
            raise LabError(f"{tree.package} has no module {name}; the lab cannot notice the panic without it")
        for source in files or []:
            plain = source.name.removesuffix(".xz")
            if plain in order:
                continue
            data = source.read_bytes()
            (target / plain).write_bytes(lzma.decompress(data) if source.suffix == ".xz" else data)
            order.append(plain)
    (target / "order").write_text("".join(f"{name}\n" for name in order))


def _static_busybox() -> str:
    found = shutil.which("busybox", path="/bin:/usr/bin")
    if found is None or b"/ld-linux" in Path(found).read_bytes():
        raise LabError("no statically linked busybox; run tests/real/install-tools as root")
    return found


def build(tree: KernelTree, scratch: Path) -> Path:
    """A gzipped newc archive under *scratch* that boots *tree* into `INIT`."""
    root = scratch / "initramfs"
    for directory in ("bin", "dev", "mnt", "modules", "proc", "sys"):
        (root / directory).mkdir(parents=True)
    shutil.copy(_static_busybox(), root / "bin/busybox")
    _copy_modules(tree, root / "modules")
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    names = sorted(str(p.relative_to(root)) for p in root.rglob("*"))
    archive = scratch / "initramfs.gz"
    with archive.open("wb") as out, \
            subprocess.Popen(["gzip", "-1n"], stdin=subprocess.PIPE, stdout=out) as packer:
        assert packer.stdin is not None
        made = subprocess.run(["cpio", "--quiet", "--reproducible", "-H", "newc", "-o", "-R", "0:0"],
                              cwd=root, input=os.fsencode("\n".join(names) + "\n"), stdout=packer.stdin,
                              check=False)
        packer.stdin.close()
    if made.returncode or packer.returncode:
        raise LabError(f"cpio or gzip could not make {archive}: is there room?")
    return archive
