"""Registers, PCI, interrupts, the log.  Scenarios for `test_readme.py`."""

from __future__ import annotations

from ddsdk.errors import (
    DeadlockFault,
    InterruptFault,
    RegisterAccessFault,
    SleepFault,
    UsageError,
)
from ddsdk.helperlib.kernel import IRQ_HANDLED
from tests.helperlib.board import BoardRegs, World
from tests.helperlib.scenarios import CRASH, NORMAL, faults, works


@works("readb", "readw", "readl", "writeb", "writew", "writel")
def memory_registers(w: World) -> None:
    """By register and by offset."""
    k, mem = w.kernel, w.mem
    k.writel(0x50, mem, BoardRegs.MODE)
    assert k.readl(mem, BoardRegs.MODE).LEVEL == 5
    k.writel(0x60, mem, 0x08)
    assert k.readl(mem, 0x08) == 0x60
    k.writew(0x1234, mem, BoardRegs.HALF)
    assert k.readw(mem, BoardRegs.HALF) == k.readw(mem, 0x0C) == 0x1234
    k.writeb(0x56, mem, BoardRegs.BYTE)
    assert k.readb(mem, BoardRegs.BYTE) == k.readb(mem, 0x0E) == 0x56


@works("inb", "inw", "inl", "outb", "outw", "outl")
def port_registers(w: World) -> None:
    """By register and by offset."""
    k, ports = w.kernel, w.ports
    k.outl(0x50, ports, BoardRegs.MODE)
    assert k.inl(ports, BoardRegs.MODE).LEVEL == 5
    k.outl(0x60, ports, 0x08)
    assert k.inl(ports, 0x08) == 0x60
    k.outw(0x1234, ports, BoardRegs.HALF)
    assert k.inw(ports, BoardRegs.HALF) == k.inw(ports, 0x0C) == 0x1234
    k.outb(0x56, ports, BoardRegs.BYTE)
    assert k.inb(ports, BoardRegs.BYTE) == k.inb(ports, 0x0E) == 0x56


@works("insw", "insl", "outsw", "outsl")
def string_io(w: World) -> None:
    """The last word out is what the register keeps; it comes in as often as asked for, little-endian."""
    k, ports = w.kernel, w.ports
    k.outsw(ports, BoardRegs.HALF, b"\x01\x02\x34\x12", 2)
    data = bytearray(6)
    k.insw(ports, BoardRegs.HALF, memoryview(data), 2)
    assert data == b"\x34\x12\x34\x12\0\0"
    k.outsl(ports, BoardRegs.MODE, memoryview(b"\x50\0\0\0\x60\0\0\0")[:8], 2)
    data = bytearray(8)
    k.insl(ports, 0x08, memoryview(data), 2)
    assert data == b"\x60\0\0\0" * 2


@faults("insl", RegisterAccessFault)
def insl_of_half(w: World) -> None:
    """A 16-bit register is not read with 32 bits."""
    w.kernel.insl(w.ports, BoardRegs.HALF, memoryview(bytearray(4)), 1)


@faults("outsw", RegisterAccessFault)
def outsw_to_memory(w: World) -> None:
    """Memory is not a port."""
    w.kernel.outsw(w.mem, BoardRegs.HALF, b"12", 1)


@faults("readl", RegisterAccessFault)
def readl_of_half(w: World) -> None:
    """A 16-bit register is not read with 32 bits."""
    w.kernel.readl(w.mem, BoardRegs.HALF)


@faults("writeb", RegisterAccessFault)
def writeb_of_half(w: World) -> None:
    """A 16-bit register is not written with 8 bits."""
    w.kernel.writeb(1, w.mem, BoardRegs.HALF)


@faults("writel", RegisterAccessFault)
def writel_of_half(w: World) -> None:
    """Nor with 32."""
    w.kernel.writel(1, w.mem, BoardRegs.HALF)


@faults("readw", RegisterAccessFault)
def readw_of_byte(w: World) -> None:
    """An 8-bit register is not read with 16 bits."""
    w.kernel.readw(w.mem, BoardRegs.BYTE)


@faults("outb", RegisterAccessFault)
def outb_to_memory(w: World) -> None:
    """Memory is not a port."""
    w.kernel.outb(1, w.mem, BoardRegs.BYTE)


@faults("readl", RegisterAccessFault)
def readl_of_port(w: World) -> None:
    """A port is not memory."""
    w.kernel.readl(w.ports, BoardRegs.MODE)


@faults("inl", RegisterAccessFault)
def inl_of_memory(w: World) -> None:
    """Memory is not a port."""
    w.kernel.inl(w.mem, BoardRegs.MODE)


@works("pci_enable_device", "pci_disable_device", "pci_set_master")
def command_register(w: World) -> None:
    """I/O, memory and bus mastering; disabling ends the last."""
    k, pdev = w.kernel, w.pdev
    assert pdev.function.config_read(4, 2) & 7 == 7
    k.pci_disable_device(pdev)
    assert pdev.function.config_read(4, 2) & 7 == 3
    pdev.function.config_write(4, 2, 0)
    assert k.pci_enable_device(pdev) == 0
    k.pci_set_master(pdev)
    assert pdev.function.config_read(4, 2) & 7 == 7


@works("pci_read_config_byte", "pci_read_config_word", "pci_read_config_dword",
       "pci_write_config_byte", "pci_write_config_word", "pci_write_config_dword")
def configuration_space(w: World) -> None:
    """The ids, and three registers that can be written."""
    k, pdev = w.kernel, w.pdev
    assert k.pci_read_config_dword(pdev, 0) == 0x5678_1234
    assert k.pci_read_config_word(pdev, 2) == 0x5678
    k.pci_write_config_byte(pdev, 0x0C, 0x10)
    assert k.pci_read_config_byte(pdev, 0x0C) == 0x10
    k.pci_write_config_word(pdev, 4, 2)
    assert k.pci_read_config_word(pdev, 4) == 2
    k.pci_write_config_dword(pdev, 0x10, 0xF000_1000)
    assert k.pci_resource_start(pdev, 0) == 0xF000_1000


@works("pci_resource_start", "pci_resource_len", "pci_iomap")
def resources(w: World) -> None:
    """Two BARs, nothing in the third."""
    k, pdev = w.kernel, w.pdev
    assert k.pci_resource_start(pdev, 0) == 0xF000_0000
    assert [k.pci_resource_len(pdev, bar) for bar in (0, 1, 2)] == [32, 32, 0]
    assert k.pci_resource_start(pdev, 2) == 0
    assert (k.pci_iomap(pdev, 0).kind, k.pci_iomap(pdev, 1).kind) == ("mem", "io")


@faults("pci_iomap", UsageError)
def iomap_of_nothing(w: World) -> None:
    """There is no BAR 2."""
    w.kernel.pci_iomap(w.pdev, 2)


@works("pci_set_drvdata", "pci_get_drvdata")
def driver_data(w: World) -> None:
    """What was put in comes out."""
    w.kernel.pci_set_drvdata(w.pdev, w)
    assert w.kernel.pci_get_drvdata(w.pdev) is w


@works("request_irq", modes=(NORMAL,))
def handler_is_called(w: World) -> None:
    """With its interrupt number and its own pointer."""
    def handler(irq: int, dev: object) -> int:
        w.note((irq, dev))
        return w.interrupt(lambda: None)
    assert w.kernel.request_irq(w.pdev, handler, "mine") == 0
    w.kernel.writel(5, w.mem, BoardRegs.START)
    w.kernel.udelay(10)
    assert w.ran == [(w.pdev.irq, "mine")]


@faults("request_irq", InterruptFault, (CRASH,))
def request_irq(w: World) -> None:
    """It unmasks the line."""
    w.kernel.request_irq(w.pdev, lambda irq, dev: IRQ_HANDLED, w)


def raise_interrupt(w: World) -> None:
    """DONE comes now; nobody acknowledges it."""
    w.kernel.writel(0, w.mem, BoardRegs.START)
    w.kernel.udelay(10)


@works("free_irq", modes=(NORMAL,))
def handler_is_removed(w: World) -> None:
    """It is not called any more."""
    w.kernel.request_irq(w.pdev, lambda irq, dev: w.interrupt(lambda: w.note("handler")), w)
    raise_interrupt(w)
    w.kernel.free_irq(w.pdev, w)
    raise_interrupt(w)
    assert w.ran == ["handler"]


@works("free_irq", modes=(CRASH,))
def handler_of_before_is_removed(w: World) -> None:
    """The one installed before the crash; world.ran holds its token."""
    w.kernel.free_irq(w.pdev, w.board)


@faults("free_irq", SleepFault, (NORMAL,))
def free_irq_in_irq(w: World) -> None:
    """It waits for handlers."""
    w.in_irq(lambda: w.kernel.free_irq(w.pdev, w.board))


@faults("free_irq", UsageError, (NORMAL,))
def free_irq_of_nothing(w: World) -> None:
    """No handler has this pointer."""
    w.kernel.free_irq(w.pdev, "nobody's")


@works("enable_irq", "disable_irq", "disable_irq_nosync", modes=(NORMAL,))
def line_is_masked(w: World) -> None:
    """It waits until the second enable."""
    w.kernel.request_irq(w.pdev, lambda irq, dev: w.interrupt(lambda: w.note("handler")), w)
    w.kernel.disable_irq(w.pdev)
    w.kernel.disable_irq_nosync(w.pdev)
    raise_interrupt(w)
    w.kernel.enable_irq(w.pdev)
    w.kernel.udelay(1)
    assert w.ran == []
    w.kernel.enable_irq(w.pdev)
    w.kernel.udelay(1)
    assert w.ran == ["handler"]


@works("disable_irq", "disable_irq_nosync", modes=(CRASH,))
def masking_does_no_harm(w: World) -> None:
    """No handler runs anyway."""
    w.kernel.disable_irq(w.pdev)
    w.kernel.disable_irq_nosync(w.pdev)


@faults("disable_irq", DeadlockFault, (NORMAL,))
def disable_irq_in_handler(w: World) -> None:
    """It would wait for its own end."""
    def handler(irq: int, dev: object) -> int:
        w.kernel.disable_irq(w.pdev)
        return IRQ_HANDLED
    w.kernel.request_irq(w.pdev, handler, w)
    raise_interrupt(w)


@faults("enable_irq", InterruptFault, (CRASH,))
def enable_irq(w: World) -> None:
    """White paper 4.3 item 3."""
    w.kernel.enable_irq(w.pdev)


@works("printk")
def logs(w: World) -> None:
    """A line of the log."""
    w.kernel.printk("mptbase: hello")
    assert w.kernel.log == ["mptbase: hello"]
