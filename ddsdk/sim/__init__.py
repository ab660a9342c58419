"""The machine in Python: clock, CPUs, interrupts, locks, memory, PCI, disks, hardware models."""
