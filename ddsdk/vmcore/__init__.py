"""Dump files, and memory to be dumped: ELF cores, raw RAM images, synthetic machines."""
