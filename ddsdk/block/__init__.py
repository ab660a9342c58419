"""What the SCSI and the IDE mid-layer share: polled execution, the dump device, I/O load, the shape of a bus."""
