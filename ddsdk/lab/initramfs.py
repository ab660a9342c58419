"""The guest's initramfs: static busybox, an init that loads modules, fills memory, works the disks, and panics.

The init takes its orders from the kernel's command line: `ddsdk.load=GLOB` are the disks to be busy with (below /dev),
`ddsdk.crash_us=N` is when it crashes by sysrq-c after the load began; `never` leaves the crash to whoever is outside;
`ddsdk.fill=N` has it fill N MiB of memory before, so that a large machine is not a large empty one;
`ddsdk.swap=DISK` and `ddsdk.swap_pages=N` have it swap to a disk that has an area, and write N numbered pages of tmpfs;
`ddsdk.task=DISK` has it do something else instead: unpack the tar archive on that disk and run the script `task` in it.
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .kernels import KernelTree
from .tools import LabError, find_tool

#: qemu_fw_cfg hands VMCOREINFO to QEMU, pvpanic-pci reports the panic.
MODULES_NEEDED = ("qemu_fw_cfg", "pvpanic-pci")
MODULES_WANTED = ("sd_mod",)
PROGRAMS = ("busybox", "cpio", "gzip", "modprobe")
#: Bytes at the start of a disk that the load reads and writes; nothing of it goes further.
LOAD_BYTES = 48 << 20
#: What the console says when the load is on, and when there is nothing to put it on.
LOADED, NO_DISK = "LAB loaded", "LAB no disk"
#: What it says when the task of a disk is over; its exit status follows.
TASK_ENDED = "LAB task ended"

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
option() { sed -n "s/.*ddsdk\\.$1=\\([^ ]*\\).*/\\1/p" /proc/cmdline; }
while read module; do insmod /modules/$module || echo "LAB insmod $module failed"; done < /modules/order
echo "LAB iomem begin"; cat /proc/iomem; echo "LAB iomem end"

# memory of every kind: file pages, anonymous pages, incompressible and repeated bytes, pages freed again
mount -t tmpfs -o size=25% tmpfs /mnt
dd if=/dev/urandom of=/mnt/random bs=1M count=16 2>/dev/null
yes ddsdk-lab | dd of=/mnt/text bs=1M count=16 2>/dev/null
dd if=/dev/urandom of=/mnt/freed bs=1M count=16 2>/dev/null; rm /mnt/freed
fill=$(option fill)
if [ "${fill:-0}" -gt 0 ]; then
  mkdir /fill; mount -t tmpfs -o size=90% tmpfs /fill
  n=0
  while [ $n -lt $fill ]; do
    (cat /proc/kallsyms /modules/*.ko /bin/busybox; dd if=/dev/urandom bs=1M count=1; yes "ddsdk-lab $n") 2>/dev/null |
      dd of=/fill/$n bs=64k count=256 iflag=fullblock 2>/dev/null
    n=$((n + 16))
  done
fi
swap=$(option swap)
if [ "$swap" ]; then
  for n in $(seq 600); do [ -b /dev/$swap ] && break; usleep 100000; done
  swapon /dev/$swap || echo "LAB no swap"
  mkdir /swapped; mount -t tmpfs -o size=100g tmpfs /swapped
  awk -v pages=$(option swap_pages) 'BEGIN { for (; n < pages; n++) printf "ddsdk-swap %08d %4076s", n, "" }' \\
    > /swapped/pages
  sync
  echo "LAB $(cat /proc/swaps | tail -n 1)"
fi
for n in 1 2 3; do sleep 100000 & done
task=$(option task)
if [ "$task" ]; then
  for n in $(seq 600); do [ -b /dev/$task ] && break; usleep 100000; done
  mkdir /task; mount -t tmpfs -o size=60% tmpfs /task
  tar xf /dev/$task -C /task && cd /task && sh ./task
  echo "LAB task ended $?"
  while true; do sleep 100; done
fi
(while true; do sha1sum /mnt/random > /dev/null; done) &

# the crash must find commands in flight
load=$(option load); crash_us=$(option crash_us)
for n in $(seq 600); do ls /dev/${load:-sd?} >/dev/null 2>&1 && break; usleep 100000; done
sleep 1
found=
for disk in /dev/${load:-sd?}; do
  [ -b $disk ] || continue
  found=yes
  echo "LAB load on $disk"
  (while true; do dd if=$disk of=/dev/null bs=64k count=256 iflag=direct; done) >/dev/null 2>&1 &
  (while true; do dd if=$disk of=/dev/null bs=4k count=512 skip=8192 iflag=direct; done) >/dev/null 2>&1 &
  (while true; do dd if=/mnt/random of=$disk bs=16k count=1024 oflag=direct; done) >/dev/null 2>&1 &
  (while true; do dd if=/mnt/random of=$disk bs=128k count=128 seek=128 oflag=direct; done) >/dev/null 2>&1 &
done
[ $found ] || echo "LAB no disk"
echo "LAB loaded"
[ "$crash_us" = never ] && while true; do sleep 100; done
usleep ${crash_us:-2000000}
echo "LAB crash now"
echo 1 > /proc/sys/kernel/sysrq
echo c > /proc/sysrq-trigger
echo "LAB the kernel survived sysrq-c"
"""


def build(tree: KernelTree, modules: Iterable[str], scratch: Path) -> Path:
    """A gzipped newc archive under *scratch* that boots *tree* into `INIT` with *modules* (names, aliases) loaded.

    A kernel that has not got one of *modules* goes without; LabError when one of MODULES_NEEDED is missing.
    """
    root = scratch / "initramfs"
    for directory in ("bin", "dev", "mnt", "modules", "proc", "sys"):
        (root / directory).mkdir(parents=True)
    shutil.copy(_static_busybox(), root / "bin/busybox")
    _copy_modules(tree, modules, root / "modules")
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


def _copy_modules(tree: KernelTree, modules: Iterable[str], target: Path) -> None:
    order: list[str] = []
    for name in (*MODULES_NEEDED, *MODULES_WANTED, *modules):
        files = tree.module_files(name)
        if files is None and name in MODULES_NEEDED:
            raise LabError(f"{tree.root}: this kernel has no module {name}; nobody could notice its panic without it")
        for source in files or []:
            plain = source.name.removesuffix(".xz")
            if plain in order:
                continue
            data = source.read_bytes()
            (target / plain).write_bytes(lzma.decompress(data) if source.suffix == ".xz" else data)
            order.append(plain)
    (target / "order").write_text("".join(f"{name}\n" for name in order))


def _static_busybox() -> str:
    found = find_tool("busybox")
    if found is None or b"/ld-linux" in Path(found).read_bytes():
        raise LabError(f"{found or 'busybox'}: no statically linked busybox; install busybox-static (Debian: apt-get"
                       " install busybox-static)")
    return found
