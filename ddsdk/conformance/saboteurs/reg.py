"""Saboteurs of the REG family."""

from __future__ import annotations

from typing import Final

from . import Edit, Saboteur

SABOTEURS: Final[tuple[Saboteur, ...]] = (
    # -- probe ---------------------------------------------------------------------------------------------------------
    Saboteur("reg-probe-forgets-to-enable-the-function", "REG-1", "probe() never calls pci_enable_device().", (
        Edit("driver.py", """
    if kernel.pci_enable_device(pdev):
        raise DeviceError(f"{pdev.name}: does not answer configuration cycles; is it seated and powered?")
""", "\n"),
    )),
    Saboteur("reg-probe-keeps-the-queue-lock", "REG-1", "An early return of probe() leaves the queue lock held.", (
        Edit("driver.py", """
    if kernel.request_irq(pdev, toy_interrupt, adapter):
        adapter.printk("no interrupt line; commands end by polling only")
    kernel.pci_set_drvdata(pdev, adapter)
""", """
    kernel.spin_lock(adapter.queue_lock)
    if kernel.request_irq(pdev, toy_interrupt, adapter) == 0:
        kernel.pci_set_drvdata(pdev, adapter)
        return make_host(adapter)
    kernel.spin_unlock(adapter.queue_lock)
"""),
    )),
    Saboteur("reg-probe-leaves-interrupts-off", "REG-1", "probe() turns interrupts off and does not restore them.", (
        Edit("driver.py", """
    kernel.pci_set_drvdata(pdev, adapter)
    return""", """
    kernel.local_irq_disable()
    kernel.pci_set_drvdata(pdev, adapter)
    return"""),
    )),
    Saboteur("reg-forgets-request-irq", "REG-2", "The driver was only ever tried by polling: it has no handler.", (
        Edit("driver.py", """
    if kernel.request_irq(pdev, toy_interrupt, adapter):
        adapter.printk("no interrupt line; commands end by polling only")
""", "\n"),
        Edit("driver.py", "from .interrupt import toy_finish, toy_interrupt\n", "from .interrupt import toy_finish\n"),
    )),
    Saboteur("reg-never-lets-the-line-rise", "REG-2", "CONTROL.INTERRUPT is set in crash mode instead of out of it.", (
        Edit("recovery.py", "INTERRUPT=not crashed", "INTERRUPT=crashed"),
    )),
    Saboteur("reg-hook-is-not-marked", "REG-3", "shutdown() was copied without its decorator: nobody calls it.", (
        Edit("dump.py", """
    @hookimpl
    def shutdown(""", """
    def shutdown("""),
    )),
    Saboteur("reg-hook-takes-the-host", "REG-3", "dump_poll() is declared with the host, not with the device.", (
        Edit("dump.py", """
    def dump_poll(self, sdev: ScsiDevice) -> None:
        \"""See toy_poll.\"""
        toy_poll(sdev)
""", """
    def dump_poll(self, shost: ScsiHost) -> None:
        \"""See toy_poll.\"""
        toy_poll(shost.devices[0])
"""),
        Edit("dump.py", "import ScsiDevice\n", "import ScsiDevice, ScsiHost\n"),
    )),
    Saboteur("reg-model-has-other-ids", "REG-10", "The model's PCI ids are those of the chip's other revision.", (
        Edit("model.py", "device=CHIP.device, bars", "device=CHIP.device + 1, bars"),
    )),
    Saboteur("reg-probe-looks-the-chip-up-unchecked", "REG-10", "A chip that is not in the driver's table: KeyError.", (
        Edit("driver.py", """
    adapter = Adapter(pdev, map_registers(pdev), f"{chip.name} {pdev.name}")
""", """
    title = {0x5C51: "toy"}[chip.device]
    adapter = Adapter(pdev, map_registers(pdev), f"{title} {pdev.name}")
"""),
    )),
    Saboteur("reg-probe-wants-a-fresh-adapter", "REG-11", "probe() refuses an adapter in any state but READY.", (
        Edit("driver.py", """
    adapter.caps = adapter.kernel.readl(adapter.chip, Regs.CAPS)
""", """
    if adapter.kernel.readl(adapter.chip, Regs.STATUS).STATE != State.READY:
        raise DeviceError(f"{adapter.name}: the self test failed")
    adapter.caps = adapter.kernel.readl(adapter.chip, Regs.CAPS)
"""),
        Edit("driver.py", "import SIGNATURE, Regs\n", "import SIGNATURE, Regs, State\n"),
    )),
    Saboteur("reg-probe-trusts-power-on", "REG-11", "probe() resets nothing: after power on the adapter is READY.", (
        Edit("driver.py", """
    if toy_reset(adapter, "probe"):
        kernel.dma_free_coherent(pdev, adapter.pool)
        raise DeviceError(f"{adapter.name}: the reset failed: {kernel.log[-1]}; is the adapter seated and powered?")
""", """
    adapter.reclaim()
    run(adapter)
    adapter.active = True
"""),
        Edit("driver.py", "from .recovery import (\n", "from .recovery import (\n    run,\n"),
        Edit("driver.py", "    toy_reset,\n", ""),
    ), case="in-flight"),
    Saboteur("reg-probe-does-not-look-who-is-there", "REG-13", "probe() reads no ID and takes no reset for failed.", (
        Edit("driver.py", """
    ident = adapter.kernel.readl(adapter.chip, Regs.ID)
    if ident.SIGNATURE != SIGNATURE:
        raise DeviceError(f"{adapter.name}: ID reads {int(ident):#010x}, its upper half must be {SIGNATURE:#06x}; name"
                          " the chip that is there")
""", "\n"),
        Edit("driver.py", "import SIGNATURE, Regs\n", "import Regs\n"),
        Edit("driver.py", """
    if toy_reset(adapter, "probe"):
        kernel.dma_free_coherent(pdev, adapter.pool)
        raise DeviceError(f"{adapter.name}: the reset failed: {kernel.log[-1]}; is the adapter seated and powered?")
""", """
    toy_reset(adapter, "probe")
"""),
    ), case="not-decoding"),
    Saboteur("reg-probe-waits-for-ready-for-ever", "REG-13", "probe() waits for READY, however long it takes.", (
        Edit("driver.py", """
    ident = adapter.kernel.readl(adapter.chip, Regs.ID)
""", """
    while adapter.kernel.readl(adapter.chip, Regs.STATUS).STATE == State.GONE:
        adapter.kernel.msleep(10)
    ident = adapter.kernel.readl(adapter.chip, Regs.ID)
"""),
        Edit("driver.py", "import SIGNATURE, Regs\n", "import SIGNATURE, Regs, State\n"),
    ), case="not-decoding"),

    # -- the host template ---------------------------------------------------------------------------------------------
    Saboteur("reg-can-queue-of-another-chip", "REG-4", "The template's can_queue stands; this adapter holds half.", (
        Edit("model_chip.py", "QUEUE: Final = 16", "QUEUE: Final = 8"),
        Edit("driver.py", "    shost.can_queue = len(adapter.requests)\n", ""),
    )),
    Saboteur("reg-sg-tablesize-of-another-chip", "REG-5", "The template's sg_tablesize stands; half of it fits.", (
        Edit("model_chip.py", "SEGMENTS: Final = 32", "SEGMENTS: Final = 16"),
        Edit("driver.py", "    shost.sg_tablesize = adapter.segments\n", ""),
    ), case="low"),
    Saboteur("reg-sg-tablesize-off-by-one", "REG-5", "A list of exactly sg_tablesize segments counts as too long.", (
        Edit("driver.py", "if len(request.mapped) > adapter.segments:", "if len(request.mapped) >= adapter.segments:"),
    ), case="low"),
    Saboteur("reg-wide-addresses-take-two", "REG-5", "An address above 4 GiB takes two elements of the list.", (
        Edit("driver.py", """
    if len(request.mapped) > adapter.segments:
""", """
    elements = sum(2 if bus_addr >> 32 else 1 for bus_addr, _ in request.mapped)
    if elements > adapter.segments:
"""),
    ), case="above-4-GiB"),
    Saboteur("reg-max-sectors-of-another-chip", "REG-6", "The template says 4 MiB; more than 1 MiB is refused.", (
        Edit("driver.py", "    max_sectors=2048,\n", "    max_sectors=8192,\n"),
        Edit("driver.py", """
    if len(request.mapped) > adapter.segments:
""", """
    if len(request.mapped) > adapter.segments or scmd.request_bufflen > 1 << 20:
"""),
    ), case="one-piece"),
    Saboteur("reg-splits-what-crosses-64-kib", "REG-6", "Elements are split at 64 KiB; the list has no room for it.", (
        Edit("driver.py", """
    if not scmd.request_bufflen:
        return True
""", """
    request.count = 0
    if not scmd.request_bufflen:
        return True
"""),
        Edit("driver.py", """
    if len(request.mapped) > adapter.segments:
""", """
    pieces = []
    for bus_addr, length in request.mapped:
        while length:
            size = min(length, 0x10000 - bus_addr % 0x10000)
            pieces.append((bus_addr, size))
            bus_addr, length = bus_addr + size, length - size
    request.count = len(pieces)
    if len(pieces) > adapter.segments:
"""),
        Edit("driver.py", "in enumerate(request.mapped):", "in enumerate(pieces):"),
        Edit("driver.py", "        SEGMENTS=len(request.mapped),\n", "        SEGMENTS=request.count,\n"),
        Edit("adapter.py", '__slots__ = ("block", "direction"', '__slots__ = ("block", "count", "direction"'),
    ), case="scattered"),
    Saboteur("reg-takes-no-target-for-any-error", "REG-7", "Nobody answers the selection: DID_ERROR, try again.", (
        Edit("interrupt.py", "Outcome.NO_TARGET: DID_NO_CONNECT, ", ""),
        Edit("interrupt.py", "DID_ABORT, DID_ERROR, DID_NO_CONNECT, DID_OK", "DID_ABORT, DID_ERROR, DID_OK"),
    ), case="absent-id"),
    Saboteur("reg-forgets-the-lun", "REG-7", "Every request goes to LUN 0.", (
        Edit("driver.py", "        LUN=sdev.lun,\n", "        LUN=0,\n"),
    ), case="highest-lun"),
    Saboteur("reg-cmd-per-lun-beyond-can-queue", "REG-8", "cmd_per_lun was copied from a driver with more requests.", (
        Edit("driver.py", "    cmd_per_lun=8,\n", "    cmd_per_lun=63,\n"),
    )),

    # -- the code ------------------------------------------------------------------------------------------------------
    Saboteur("reg-module-is-not-listed", "REG-9", "A module that runs after the crash is left out of DRIVER_MODULES.", (
        Edit("__init__.py", '"frames", "interrupt", "recovery"', '"frames", "recovery"'),
    ), case="dump"),
    Saboteur("reg-recovery-is-not-listed", "REG-9", "So is the module with the error handlers.", (
        Edit("__init__.py", '"interrupt", "recovery", "regs"', '"interrupt", "regs"'),
    ), case="dump"),
    Saboteur("reg-lists-a-module-that-is-not-there", "REG-9", "DRIVER_MODULES names a module that was renamed.", (
        Edit("__init__.py", '"interrupt", "recovery", "regs"', '"interrupt", "recover", "recovery", "regs"'),
    ), case="dump"),
    Saboteur("reg-reads-back-to-flush", "REG-12", "Posted writes are flushed by a read of a write-only register.", (
        Edit("driver.py", """
    kernel.writel(bus_addr >> 32, adapter.chip, Regs.SUBMIT_HIGH)
""", """
    kernel.writel(bus_addr >> 32, adapter.chip, Regs.SUBMIT_HIGH)
    kernel.readl(adapter.chip, Regs.SUBMIT_HIGH)
"""),
    ), case="before-the-crash"),
    Saboteur("reg-runs-before-ready", "REG-12", "CONTROL.RUN is written while the reset is still under way.", (
        Edit("recovery.py", """
    kernel.writel(Control.of(RESET=1), adapter.chip, Regs.CONTROL)
""", """
    kernel.writel(Control.of(RESET=1), adapter.chip, Regs.CONTROL)
    kernel.writel(Control.of(RUN=1), adapter.chip, Regs.CONTROL)
"""),
    ), case="before-the-crash"),
    Saboteur("reg-counts-in-a-module-variable", "REG-14", "Aborts are counted in a variable of the module.", (
        Edit("recovery.py", "RESET_POLL_MS: Final = 10\n", "RESET_POLL_MS: Final = 10\naborts = 0\n"),
        Edit("recovery.py", """
    adapter: Adapter = scmd.device.host.hostdata
    request = next(""", """
    global aborts
    aborts += 1
    adapter: Adapter = scmd.device.host.hostdata
    request = next("""),
    )),
)
