"""Register access, PCI, interrupts and memory beyond the table's one-liners."""

from __future__ import annotations

import pytest

from ddsdk.errors import AllocationFault, DmaFault, RegisterAccessFault, UsageError
from ddsdk.helperlib.kernel import DMA_TO_DEVICE, GFP_ATOMIC, GFP_KERNEL, IRQ_HANDLED, IRQ_NONE, PciDev, store_le32
from ddsdk.sim.trace import Trace
from tests.helperlib.board import BoardRegs, Mode, Status, World, build


def test_register_comes_back_as_its_type(world: World) -> None:
    """A register by name gives its value class, an offset gives a plain int."""
    world.kernel.writel(Mode.of(LEVEL=3), world.mem, BoardRegs.MODE)
    value = world.kernel.readl(world.mem, BoardRegs.MODE)
    assert type(value) is Mode
    assert value == Mode.of(LEVEL=3)
    assert type(world.kernel.readl(world.mem, 0x08)) is int


def test_wrong_width_names_the_register_and_the_call(world: World) -> None:
    """And the call that fits."""
    with pytest.raises(RegisterAccessFault) as caught:
        world.kernel.readl(world.mem, BoardRegs.HALF)
    assert str(caught.value) == ("readl: HALF of 0000:00:04.0 BAR 0 has 2 bytes, readl moves 4; use the"
                                 " 16-bit call, or a byte offset for a part of it")


def test_port_of_a_memory_bar_is_refused(world: World) -> None:
    """And the other way round, by offset too."""
    with pytest.raises(RegisterAccessFault, match=r"BAR 0: offset 0x8 is memory mapped; use readb"):
        world.kernel.outl(1, world.mem, 8)
    with pytest.raises(RegisterAccessFault, match=r"BAR 1: offset 0x8 is an I/O port; use inb"):
        world.kernel.writel(1, world.ports, 8)


def test_removed_device_reads_all_ones(world: World) -> None:
    """It cannot be enabled; reads give all ones, writes are lost."""
    world.machine.pci.unplug_all()
    assert world.kernel.pci_enable_device(world.pdev) == -5
    assert world.kernel.readl(world.mem, BoardRegs.STATUS) == 0xFFFF_FFFF
    world.kernel.writel(1, world.mem, BoardRegs.START)
    assert world.kernel.pci_read_config_word(world.pdev, 0) == 0xFFFF


def test_iomap_lists_the_bars_there_are(world: World) -> None:
    """Number, kind and size of each; a number out of range as well."""
    for bar in (3, 6, -1):
        with pytest.raises(UsageError, match=rf"has no BAR {bar}; it has 0 \(mem 0x20\), 1 \(io 0x20\)$"):
            world.kernel.pci_iomap(world.pdev, bar)


def test_pci_dev_knows_its_ids(world: World) -> None:
    """Vendor, device and interrupt number come from configuration space."""
    pdev = PciDev(world.kernel, world.pdev.function)
    assert (pdev.vendor, pdev.device, pdev.irq, pdev.name) == (0x1234, 0x5678, 11, "0000:00:04.0")
    assert pdev.kernel is world.kernel


def test_tasklet_of_a_handler_runs_after_it(world: World) -> None:
    """In softirq context: in_irq() is over, in_interrupt() is not."""
    kernel = world.kernel

    def note(name: str) -> None:
        world.note((name, kernel.in_irq(), kernel.in_interrupt()))

    tasklet = kernel.tasklet_init(note, "tasklet")

    def handler(_irq: int, _dev: object) -> int:
        handled = world.interrupt(lambda: kernel.tasklet_schedule(tasklet))
        note("handler")
        return handled

    kernel.request_irq(world.pdev, handler, world)
    kernel.writel(10, world.mem, BoardRegs.START)
    kernel.udelay(20)
    assert world.ran == [("handler", True, True), ("tasklet", False, True)]


def test_no_handler_runs_after_the_crash(world: World) -> None:
    """The line rises and stays risen; the poll finds the status."""
    kernel = world.kernel
    kernel.request_irq(world.pdev, lambda _irq, _dev: world.interrupt(lambda: world.note("handler")), world)
    world.kernel.writel(10, world.mem, BoardRegs.START)
    world.crash()
    world.settle()
    line = world.pdev.function.irq_line
    assert line is not None
    assert line.level
    assert world.ran == []
    world.poll(lambda: world.note("poll"))()
    assert world.ran == ["poll"]
    assert not line.level


def test_two_handlers_share_a_line(world: World) -> None:
    """Each is asked; the one whose dev is freed is not asked any more."""
    kernel = world.kernel

    def stranger(_irq: int, dev: object) -> int:
        world.note(dev)
        return IRQ_NONE

    kernel.request_irq(world.pdev, stranger, "stranger")
    kernel.request_irq(world.pdev, lambda _irq, dev: world.interrupt(lambda: world.note(dev)), "owner")
    kernel.writel(10, world.mem, BoardRegs.START)
    kernel.udelay(20)
    kernel.free_irq(world.pdev, "stranger")
    kernel.writel(10, world.mem, BoardRegs.START)
    kernel.udelay(20)
    assert world.ran == ["stranger", "owner", "owner"]


def test_disable_irq_waits_for_the_other_cpus_handler() -> None:
    """On return it is over."""
    world = build(ncpus=2)
    kernel = world.kernel

    def handler(_irq: int, _dev: object) -> int:
        world.note("begins")
        kernel.udelay(300)
        kernel.writel(Status.of(DONE=1), world.mem, BoardRegs.STATUS)
        world.note("ends")
        return IRQ_HANDLED

    kernel.request_irq(world.pdev, handler, world)
    kernel.writel(100, world.mem, BoardRegs.START)

    def other() -> None:
        kernel.udelay(200)
        kernel.disable_irq(world.pdev)
        world.note("disabled")

    world.machine.spawn(0, lambda: kernel.udelay(1000))
    world.machine.spawn(1, other)
    world.machine.run()
    assert world.ran == ["begins", "ends", "disabled"]


def test_device_without_a_line_cannot_request_one(world: World) -> None:
    """-EINVAL; masking is for nobody then."""
    function = world.pdev.function
    function.irq_line = None                # type: ignore[misc]
    assert world.kernel.request_irq(world.pdev, lambda _irq, _dev: IRQ_HANDLED, world) == -22
    world.kernel.disable_irq(world.pdev)
    world.kernel.enable_irq(world.pdev)


def test_mapping_beyond_the_mask_grants_nothing(world: World) -> None:
    """The refused list leaves no grant behind."""
    world.kernel.dma_set_mask(world.pdev, 0xFFFFFF)
    with pytest.raises(DmaFault) as caught:
        world.kernel.dma_map_sg(world.pdev, [(0x1000, 16), (0xFFFFF8, 16)], DMA_TO_DEVICE)
    assert str(caught.value) == ("dma_map: 16 bytes at 0xfffff8 are beyond the DMA mask 0xffffff of"
                                 " 0000:00:04.0; dma_set_mask() what it can address, or use memory below it")
    assert world.board.dma.grants == []


def test_coherent_memory_beyond_the_mask_is_given_back(world: World) -> None:
    """The reserve has as much left as before."""
    reserve = world.machine.memory.reserve
    before = reserve.free_bytes
    world.kernel.dma_set_mask(world.pdev, 0xFFFFFF)
    with pytest.raises(DmaFault, match=r"beyond 0000:00:04\.0's DMA mask 0xffffff"):
        world.kernel.dma_alloc_coherent(world.pdev, 4096)
    assert reserve.free_bytes == before


def test_budget_is_one_for_both_kinds_of_memory(world: World) -> None:
    """4096 declared: 4000 of coherent memory leave 96 for kmalloc; what is freed can be taken again."""
    kernel = world.kernel
    kernel.declare_crash_budget(4096)
    before_crash = kernel.kmalloc(1 << 20, GFP_KERNEL)
    world.crash()
    buffer = kernel.dma_alloc_coherent(world.pdev, 4000)
    kernel.kmalloc(96, GFP_ATOMIC)
    with pytest.raises(AllocationFault) as caught:
        kernel.kmalloc(1, GFP_ATOMIC)
    assert str(caught.value) == ("kmalloc: 1 bytes in crashdump_mode, 4096 of 4096 declared are in use;"
                                 " allocate at probe, or declare_crash_budget() there")
    kernel.kfree(before_crash)
    with pytest.raises(AllocationFault):
        kernel.kmalloc(1, GFP_ATOMIC)
    kernel.dma_free_coherent(world.pdev, buffer)
    kernel.kmalloc(4000, GFP_ATOMIC)


def test_pieces_are_counted_in_either_mode(world: World) -> None:
    """What kmalloc() gave counts until it is freed; kfree(NULL) frees nothing; DMA memory is no piece."""
    kernel = world.kernel
    kernel.declare_crash_budget(8192)
    first = kernel.kmalloc(16, GFP_KERNEL)
    world.crash()
    second = kernel.kmalloc(16, GFP_ATOMIC)
    kernel.dma_alloc_coherent(world.pdev, 4096)
    kernel.kfree(None)
    assert kernel.crash_memory.pieces == 2
    kernel.kfree(first)
    kernel.kfree(second)
    assert kernel.crash_memory.pieces == 0


def test_same_world_same_trace() -> None:
    """Interrupts, timers, tasklets, work, a crash, polled waits: twice the same history."""
    def history() -> tuple[str, list[str]]:
        world = build(ncpus=2, trace=Trace())
        kernel = world.kernel
        done = kernel.init_completion()
        work = kernel.INIT_WORK(lambda _data: kernel.msleep(1))
        tasklet = kernel.tasklet_init(lambda _data: kernel.schedule_work(work))

        def completion() -> None:
            kernel.tasklet_schedule(tasklet)
            kernel.complete(done)

        kernel.request_irq(world.pdev, lambda _irq, _dev: world.interrupt(completion), world)
        kernel.mod_timer(kernel.setup_timer(world.note), kernel.jiffies + 3)
        kernel.writel(2000, world.mem, BoardRegs.START)
        kernel.wait_for_completion(done)
        kernel.msleep(5)
        world.crash()
        kernel.poll = world.poll(completion)
        kernel.writel(2000, world.mem, BoardRegs.START)
        kernel.wait_for_completion_timeout(done, 10)
        kernel.printk("done")
        return world.machine.trace.digest(), [record.kind for record in world.machine.trace.records]

    first, second = history(), history()
    assert first == second
    assert {"timer", "tasklet", "work", "printk", "crash", "irq", "read", "write"} <= set(first[1])


def test_a_word_in_one_store() -> None:
    """Little-endian, four bytes, the neighbours as they were."""
    memory = bytearray(b"\xee" * 12)
    store_le32(memoryview(memory), 4, 0x11223344)
    assert memory == b"\xee" * 4 + b"\x44\x33\x22\x11" + b"\xee" * 4
