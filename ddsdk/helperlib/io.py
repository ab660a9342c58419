"""Register access: readl and its kin on memory BARs, inl and its kin on I/O BARs.

C: include/asm/io.h.  Works alike in both modes.  A register is named by its entry in a `RegBlock` (the value
comes back as its type) or by a byte offset (the value comes back as int).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, overload

from ddsdk.errors import RegisterAccessFault

if TYPE_CHECKING:
    from ddsdk.bus import Window
    from ddsdk.regs import Placed, Reg

R = TypeVar("R", bound="Reg")

_FORMATS: Final = {2: "H", 4: "I"}


class Iomem:
    """void __iomem *: a BAR mapped by pci_iomap(); `kind` is "mem" or "io", `size` its bytes.

    `read(offset, size)` and `write(offset, size, value)` serve memory, `port_in` and `port_out` ports; those
    of the other kind raise RegisterAccessFault.
    """

    __slots__ = ("kind", "name", "port_in", "port_out", "read", "size", "string", "write")

    def __init__(self, window: Window, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        self.size = window.size
        self.read: Callable[[int, int], int] = window.read
        self.write: Callable[[int, int, int], None] = window.write
        self.port_in: Callable[[int, int], int] = window.read
        self.port_out: Callable[[int, int, int], None] = window.write
        self.string: Any = window if hasattr(window, "read_string") else None     # bus.StringWindow
        if kind == "io":
            self.read, self.write = self._is_io, self._is_io
        else:
            self.port_in, self.port_out = self._is_mem, self._is_mem

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}, {self.size:#x} bytes>"

    def _is_io(self, offset: int, *_: int) -> NoReturn:
        raise RegisterAccessFault(f"{self.name}: offset {offset:#x} is an I/O port; use inb/inw/inl,"
                                  " outb/outw/outl")

    def _is_mem(self, offset: int, *_: int) -> NoReturn:
        raise RegisterAccessFault(f"{self.name}: offset {offset:#x} is memory mapped; use readb/readw/readl,"
                                  " writeb/writew/writel")


def _misfit(call: str, mem: Iomem, reg: Any, size: int) -> RegisterAccessFault:
    return RegisterAccessFault(f"{call}: {reg.name} of {mem.name} has {reg.size} bytes, {call} moves {size};"
                               f" use the {8 * reg.size}-bit call, or a byte offset for a part of it")


def _in(call: str, access: Callable[[int, int], int], mem: Iomem, reg: Any, size: int) -> Any:
    if reg.__class__ is int:
        return access(reg, size)
    if reg.size != size:
        raise _misfit(call, mem, reg, size)
    return reg.from_bus(access(reg.offset, size))


def _out(call: str, access: Callable[[int, int, int], None], value: int, mem: Iomem, reg: Any,
         size: int) -> None:
    if reg.__class__ is int:
        access(reg, size, value)
    elif reg.size != size:
        raise _misfit(call, mem, reg, size)
    else:
        access(reg.offset, size, value)


def _port(call: str, mem: Iomem, reg: Any, size: int) -> int:
    """Offset of the port of a string call; the same faults as the plain calls have."""
    if mem.kind != "io":
        mem.port_in(reg if reg.__class__ is int else reg.offset, size)      # raises
    if reg.__class__ is int:
        return int(reg)
    if reg.size != size:
        raise _misfit(call, mem, reg, size)
    return int(reg.offset)


def _ins(call: str, mem: Iomem, reg: Any, addr: memoryview, count: int, size: int) -> None:
    offset, read = _port(call, mem, reg, size), mem.port_in
    values: Sequence[int] = (mem.string.read_string(offset, size, count) if mem.string is not None
                             else [read(offset, size) for _ in range(count)])
    struct.pack_into(f"<{count}{_FORMATS[size]}", addr, 0, *values)


def _outs(call: str, mem: Iomem, reg: Any, addr: memoryview | bytes, count: int, size: int) -> None:
    offset, write = _port(call, mem, reg, size), mem.port_out
    values = struct.unpack_from(f"<{count}{_FORMATS[size]}", addr)
    if mem.string is not None:
        mem.string.write_string(offset, size, values)
        return
    for value in values:
        write(offset, size, value)


class IoCalls:
    """The register calls.  Values are unsigned; a write names the value first, as in C.

    readb, readl, inb and their writes repeat `_in` and `_out` in place: they are most of what a poll does.
    """

    __slots__ = ()

    @staticmethod
    @overload
    def readl(mem: Iomem, reg: Placed[R]) -> R: ...
    @staticmethod
    @overload
    def readl(mem: Iomem, reg: int) -> int: ...
    @staticmethod
    def readl(mem: Iomem, reg: Any) -> Any:
        """u32 readl(const void __iomem *)."""
        if reg.__class__ is int:
            return mem.read(reg, 4)
        if reg.size != 4:
            raise _misfit("readl", mem, reg, 4)
        return reg.from_bus(mem.read(reg.offset, 4))

    @staticmethod
    def writel(value: int, mem: Iomem, reg: Placed[Any] | int) -> None:
        """void writel(u32, void __iomem *)."""
        if isinstance(reg, int):
            mem.write(reg, 4, value)
        elif reg.size != 4:
            raise _misfit("writel", mem, reg, 4)
        else:
            mem.write(reg.offset, 4, value)

    @staticmethod
    @overload
    def readb(mem: Iomem, reg: Placed[R]) -> R: ...
    @staticmethod
    @overload
    def readb(mem: Iomem, reg: int) -> int: ...
    @staticmethod
    def readb(mem: Iomem, reg: Any) -> Any:
        """u8 readb(const void __iomem *)."""
        if reg.__class__ is int:
            return mem.read(reg, 1)
        if reg.size != 1:
            raise _misfit("readb", mem, reg, 1)
        return reg.from_bus(mem.read(reg.offset, 1))

    @staticmethod
    @overload
    def readw(mem: Iomem, reg: Placed[R]) -> R: ...
    @staticmethod
    @overload
    def readw(mem: Iomem, reg: int) -> int: ...
    @staticmethod
    def readw(mem: Iomem, reg: Any) -> Any:
        """u16 readw(const void __iomem *)."""
        return _in("readw", mem.read, mem, reg, 2)

    @staticmethod
    def writeb(value: int, mem: Iomem, reg: Placed[Any] | int) -> None:
        """void writeb(u8, void __iomem *)."""
        if isinstance(reg, int):
            mem.write(reg, 1, value)
        elif reg.size != 1:
            raise _misfit("writeb", mem, reg, 1)
        else:
            mem.write(reg.offset, 1, value)

    @staticmethod
    def writew(value: int, mem: Iomem, reg: Placed[Any] | int) -> None:
        """void writew(u16, void __iomem *)."""
        _out("writew", mem.write, value, mem, reg, 2)

    @staticmethod
    @overload
    def inb(mem: Iomem, reg: Placed[R]) -> R: ...
    @staticmethod
    @overload
    def inb(mem: Iomem, reg: int) -> int: ...
    @staticmethod
    def inb(mem: Iomem, reg: Any) -> Any:
        """u8 inb(unsigned long port); *mem* is the mapped I/O BAR."""
        if reg.__class__ is int:
            return mem.port_in(reg, 1)
        if reg.size != 1:
            raise _misfit("inb", mem, reg, 1)
        return reg.from_bus(mem.port_in(reg.offset, 1))

    @staticmethod
    @overload
    def inw(mem: Iomem, reg: Placed[R]) -> R: ...
    @staticmethod
    @overload
    def inw(mem: Iomem, reg: int) -> int: ...
    @staticmethod
    def inw(mem: Iomem, reg: Any) -> Any:
        """u16 inw(unsigned long port)."""
        return _in("inw", mem.port_in, mem, reg, 2)

    @staticmethod
    @overload
    def inl(mem: Iomem, reg: Placed[R]) -> R: ...
    @staticmethod
    @overload
    def inl(mem: Iomem, reg: int) -> int: ...
    @staticmethod
    def inl(mem: Iomem, reg: Any) -> Any:
        """u32 inl(unsigned long port)."""
        return _in("inl", mem.port_in, mem, reg, 4)

    @staticmethod
    def outb(value: int, mem: Iomem, reg: Placed[Any] | int) -> None:
        """void outb(u8, unsigned long port)."""
        if isinstance(reg, int):
            mem.port_out(reg, 1, value)
        elif reg.size != 1:
            raise _misfit("outb", mem, reg, 1)
        else:
            mem.port_out(reg.offset, 1, value)

    @staticmethod
    def outw(value: int, mem: Iomem, reg: Placed[Any] | int) -> None:
        """void outw(u16, unsigned long port)."""
        _out("outw", mem.port_out, value, mem, reg, 2)

    @staticmethod
    def outl(value: int, mem: Iomem, reg: Placed[Any] | int) -> None:
        """void outl(u32, unsigned long port)."""
        _out("outl", mem.port_out, value, mem, reg, 4)

    @staticmethod
    def insw(mem: Iomem, reg: Placed[Any] | int, addr: memoryview, count: int) -> None:
        """void insw(unsigned long port, void *addr, unsigned long count): *count* words from one port into memory."""
        _ins("insw", mem, reg, addr, count, 2)

    @staticmethod
    def insl(mem: Iomem, reg: Placed[Any] | int, addr: memoryview, count: int) -> None:
        """void insl(unsigned long port, void *addr, unsigned long count): *count* double words."""
        _ins("insl", mem, reg, addr, count, 4)

    @staticmethod
    def outsw(mem: Iomem, reg: Placed[Any] | int, addr: memoryview | bytes, count: int) -> None:
        """void outsw(unsigned long port, const void *addr, unsigned long count): *count* words out of memory."""
        _outs("outsw", mem, reg, addr, count, 2)

    @staticmethod
    def outsl(mem: Iomem, reg: Placed[Any] | int, addr: memoryview | bytes, count: int) -> None:
        """void outsl(unsigned long port, const void *addr, unsigned long count): *count* double words."""
        _outs("outsl", mem, reg, addr, count, 4)
