"""REG: the plugin is found, its driver comes up, and what its template says is true."""

from __future__ import annotations

from ..bench import Bench
from ..check import Setup, check


@check("REG-1", hook="probe", source="white paper 4.3 (2): the host adapter driver registers with the mid-layer",
       setup=Setup(probe=False), fix="""
       def my_probe(pdev, chip):
           kernel = pdev.kernel
           kernel.pci_enable_device(pdev)
           kernel.pci_set_master(pdev)
           ...
           return shost
       """)
def probe_brings_the_adapter_up(bench: Bench) -> None:
    """The driver's probe() brings an adapter up that has just been powered on, and returns its host."""
    bench.probe()


@check("REG-2", hook="queuecommand", source="white paper 2.2: I/O is executed by calling queuecommand()", fix="""
       Before the crash commands end by interrupt: request_irq() in probe(), a handler that calls scmd.scsi_done().
       """)
def the_disk_is_found_by_interrupts(bench: Bench) -> None:
    """In normal mode INQUIRY, TEST UNIT READY and READ CAPACITY end by interrupt, and the disk has its true size."""
    bench.expect(bench.device.blocks == bench.setup.disk_bytes // 4096,
                 f"the disk has {bench.setup.disk_bytes} bytes, by the driver's answers {bench.device.blocks} blocks")
