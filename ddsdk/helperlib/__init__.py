"""The helper library: the kernel calls a driver may make, in normal mode and in crashdump_mode."""
