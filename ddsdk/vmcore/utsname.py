"""Who the crashed machine was: struct new_utsname out of its own memory, for headers that carry one.

VMCOREINFO says where it is (SYMBOL(init_uts_ns), OFFSET(uts_namespace.name)); libkdumpfile believes no header whose
utsname has an empty member.
"""

from __future__ import annotations

from attrs import evolve

from ddsdk.errors import DdsdkError

from .dumpheader import NewUtsname, text
from .kernelinfo import KernelInfo
from .pages import PageSource
from .pagetable import kernel_space, read

#: Where the name lies in struct uts_namespace of kernels that do not say.
_NAME_OFFSET = 4
UNKNOWN = b"(none)"


def utsname_of(source: PageSource) -> NewUtsname:
    """The kernel's own, else what is known: never an empty member."""
    found = _in_memory(source) or NewUtsname(sysname=b"Linux", nodename=source.nodename.encode()[:64],
                                             release=source.release.encode()[:64],
                                             machine=source.abi.machine.encode())
    filled = {name: UNKNOWN for name in ("nodename", "release", "version", "domainname") if not getattr(found, name)}
    return evolve(found, **filled)  # type: ignore[misc]        # an attrs class by @c_struct


def _in_memory(source: PageSource) -> NewUtsname | None:
    """What init_uts_ns says, where it can be found and is Linux's."""
    info = KernelInfo.of(source.vmcoreinfo)
    place = info.symbol("init_uts_ns")
    if place is None:
        return None
    offset = info.offset("uts_namespace.name")
    wire = NewUtsname.on(source.abi)
    try:
        data = read(source, kernel_space(source), place + (_NAME_OFFSET if offset is None else offset), wire.size)
    except DdsdkError:
        return None
    if data is None or not data.startswith(b"Linux\0"):
        return None
    found = wire.unpack(data)
    names = {name: text(getattr(found, name)).encode() for name in ("sysname", "nodename", "release", "version",
                                                                   "machine", "domainname")}
    return NewUtsname(**names) if names["machine"] == source.abi.machine.encode() else None
