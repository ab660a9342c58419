"""The crashed kernel's own log beside its vmcore, written before it: small, and what is looked at first."""

from __future__ import annotations

from ddsdk.errors import DdsdkError
from ddsdk.vmcore.kernelinfo import KernelInfo

from .crashdir import CaseDirectory
from .partition import PartitionDump
from .target import TargetFile

LOG_NAME = "vmcore-dmesg.txt"
#: What VMCOREINFO names in the three generations of the log (vmcore/klog.py).
_SYMBOLS = ("prb", "log_first_idx", "log_buf")


def save_log(case: CaseDirectory, file: TargetFile, dump: PartitionDump) -> str:
    """Write the log into *case*; what went wrong in one line, or nothing.

    A dump whose VMCOREINFO names no log has none to write.
    """
    info = KernelInfo.of(dump.sub.vmcoreinfo if dump.sub is not None else None)
    if all(info.symbol(name) is None for name in _SYMBOLS):
        return ""
    from ddsdk.vmcore.klog import kernel_log, log_lines  # only where there is a log

    from .pagesource import PartitionSource

    try:
        source = PartitionSource.of(file, dump)
        source.fill_zeros = True            # no cache, user or free page holds a part of the log
        log = kernel_log(source)
        if not log.records and log.warnings:
            return f"no {LOG_NAME}: {log.warnings[0]}"
        case.write_text(LOG_NAME, "\n".join(log_lines(log)) + "\n")
    except DdsdkError as error:
        return f"no {LOG_NAME}: {error}"
    return ""
