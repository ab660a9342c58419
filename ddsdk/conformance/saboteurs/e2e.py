"""Saboteurs of the E2E family: what no check of a few commands sees, and a dump does."""

from __future__ import annotations

from typing import Final

from . import Edit, Saboteur

_MAPS: Final = """
    request.mapped = adapter.kernel.dma_map_sg(adapter.pdev, scmd.sg, request.direction)
"""
_FLAGS: Final = "self.resetting = self.dead = False\n"
_SLOTS: Final = '"mapped", "scmd"'

SABOTEURS: Final[tuple[Saboteur, ...]] = (
    # -- the machine that is dumped ----------------------------------------------------------------------------------
    Saboteur("e2e-bus-address-0-is-an-error", "E2E-1", "Bus address 0 is taken for bad_dma_address.", (
        Edit("driver.py", _MAPS, _MAPS + """
    if not all(bus_addr for bus_addr, _ in request.mapped):
        adapter.printk("dma_map_sg() failed")
        return False
"""),
    )),
    Saboteur("e2e-works-on-the-first-cpu", "E2E-2", "On another CPU than the one that gets the interrupts: -EBUSY.", (
        Edit("dump.py", """
    command = kernel.pci_read""", """
    if kernel.machine.current_cpu.id:
        return -errno.EBUSY                         # smp_processor_id(): the interrupts go to CPU 0
    command = kernel.pci_read"""),
    )),
    Saboteur("e2e-finishing-for-ever", "E2E-3", "Busy while one of several commands ends, for ever if it never does.", (
        Edit("dump.py", "        return -errno.EBUSY   ", "        return 1              "),
        Edit("interrupt.py", """
    tags, adapter.done = adapter.done, []
    scmds = [finish_request(adapter, tag) for tag in tags]
""", """
    adapter.finishing = len(adapter.free) + 1 < len(adapter.requests)      # keep the order of several
    tags, adapter.done = adapter.done, []
    scmds = [finish_request(adapter, tag) for tag in tags]
    adapter.finishing = False
"""),
        Edit("driver.py", "    if not adapter.active or", "    if adapter.finishing or not adapter.active or"),
        Edit("adapter.py", _FLAGS, "self.resetting = self.dead = self.finishing = False\n"),
    )),
    Saboteur("e2e-not-in-an-interrupt", "E2E-5", "In an interrupt handler, where SysRq comes from: -EBUSY.", (
        Edit("dump.py", """
    command = kernel.pci_read""", """
    if kernel.in_irq():
        return -errno.EBUSY                         # nothing may sleep here
    command = kernel.pci_read"""),
    ), case="sysrq-c"),
    Saboteur("e2e-a-reset-of-its-own-cpu", "E2E-8", "A reset that another CPU has begun is waited for.", (
        Edit("recovery.py", """
    begin = not adapter.resetting
""", """
    cpu = kernel.machine.current_cpu.id                 # smp_processor_id()
    begin = not adapter.resetting or adapter.reset_cpu == cpu
"""),
        Edit("recovery.py", """
        adapter.reset_tries = 0
        write""", """
        adapter.reset_tries, adapter.reset_cpu = 0, cpu
        write"""),
        Edit("dump.py", """
    kernel.writel(MASK_ALL, adapter.chip, Regs.INTERRUPT_MASK)
    adapter.active = adapter.resetting = False
""", """
    kernel.writel(MASK_ALL, adapter.chip, Regs.INTERRUPT_MASK)
    adapter.active = False
"""),
    )),

    # -- the dump ----------------------------------------------------------------------------------------------------
    Saboteur("e2e-bus-address-0-is-free", "E2E-4", "A request is free while its bus address is 0.", (
        Edit("driver.py", """
    if not adapter.active or not adapter.free:
        return None
    request = adapter.free.pop()
""", """
    request = next((one for one in adapter.requests if not one.bus_addr), None)
    if not adapter.active or request is None:
        return None
"""),
        Edit("driver.py", """
    fill_block(adapter, request, scmd)
    request.scmd""", """
    fill_block(adapter, request, scmd)
    request.bus_addr = request.mapped[0][0] if request.mapped else adapter.pool.bus_addr + request.block
    request.scmd"""),
        Edit("adapter.py", _SLOTS, f'"bus_addr", {_SLOTS}'),
        Edit("adapter.py", "        self.direction = 0\n", "        self.direction = self.bus_addr = 0\n"),
        Edit("adapter.py", """
        mapped, request.mapped = request.mapped, ()
""", """
        request.bus_addr = 0
        mapped, request.mapped = request.mapped, ()
"""),
    )),
    Saboteur("e2e-pieces-overlap", "E2E-9", "Segments are cut at 64 KiB; the pieces of the first are not counted.", (
        Edit("driver.py", """
        pack(adapter.pool.view, request.list + number * ELEMENT_BYTES, bus_addr, length, 0)
""", """
        for piece, at in enumerate(range(0, length, 0x10000)):
            request.elements = number + piece + 1
            pack(adapter.pool.view, request.list + (number + piece) * ELEMENT_BYTES, bus_addr + at,
                 min(0x10000, length - at), 0)
"""),
        Edit("driver.py", """
    if not scmd.request_bufflen:
        return True
""", """
    request.elements = 0
    if not scmd.request_bufflen:
        return True
"""),
        Edit("driver.py", "SEGMENTS=len(request.mapped)", "SEGMENTS=request.elements"),
        Edit("adapter.py", _SLOTS, f'"elements", {_SLOTS}'),
    ), case="8"),
    Saboteur("e2e-one-flush-a-second", "E2E-7", "SYNCHRONIZE CACHE, if it is the second in a second, is GOOD.", (
        Edit("driver.py", """
    flags = kernel.spin_lock_irqsave(adapter.queue_lock)
    request = take""", """
    if scmd.cmnd[0] == SYNCHRONIZE_CACHE:
        if kernel.time_before(kernel.jiffies, adapter.flushed + kernel.HZ):
            end_cmds([scmd], DID_OK)
            return 0
        adapter.flushed = kernel.jiffies
    flags = kernel.spin_lock_irqsave(adapter.queue_lock)
    request = take"""),
        Edit("driver.py", "    DID_NO_CONNECT,\n", "    DID_NO_CONNECT,\n    DID_OK,\n"),
        Edit("driver.py", "from ddsdk.scsi.host import ScsiHost,",
             "from ddsdk.scsi.cdb import SYNCHRONIZE_CACHE\nfrom ddsdk.scsi.host import ScsiHost,"),
        Edit("adapter.py", "        self.reset_error = 0\n",
             "        self.reset_error = 0\n        self.flushed = kernel.jiffies - kernel.HZ\n"),
    )),

    # -- around it ---------------------------------------------------------------------------------------------------
    Saboteur("e2e-tags-at-random", "E2E-6", "The first tags are random numbers, so that none from before fits.", (
        Edit("adapter.py", "        self.tag = number\n",
             "        self.tag = number | random.randrange(0x100) * TAG_USE\n"),
        Edit("adapter.py", "from .frames import ScatterElement\n", "from .frames import TAG_USE, ScatterElement\n"),
        Edit("adapter.py", "from typing import TYPE_CHECKING, Final\n",
             "import random\nfrom typing import TYPE_CHECKING, Final\n"),
    )),
    Saboteur("e2e-resets-the-first-adapter", "E2E-10", "The host reset looks its adapter up, and takes the first.", (
        Edit("adapter.py", """
class Request:
""", """
#: struct list_head toy_adapters, of each kernel.
toy_adapters: Final[WeakKeyDictionary[Kernel, list[Adapter]]] = WeakKeyDictionary()


class Request:
"""),
        Edit("adapter.py", "from typing import TYPE_CHECKING, Final\n",
             "from typing import TYPE_CHECKING, Final\nfrom weakref import WeakKeyDictionary\n"),
        Edit("driver.py", """
    kernel.pci_set_drvdata(pdev, adapter)
""", """
    kernel.pci_set_drvdata(pdev, adapter)
    toy_adapters.setdefault(kernel, []).append(adapter)
"""),
        Edit("driver.py", "Request, end_cmds\n", "Request, end_cmds, toy_adapters\n"),
        Edit("recovery.py", 'toy_reset(shost.hostdata, "host reset")',
             'toy_reset(toy_adapters[shost.kernel][0], "host reset")'),
        Edit("recovery.py", "import Adapter, end_cmds\n", "import Adapter, end_cmds, toy_adapters\n"),
    )),
)
