"""A Linux that really boots, works its disks and panics under QEMU: what guest drill and real tier start from."""
