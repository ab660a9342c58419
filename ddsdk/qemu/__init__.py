"""Adapters nobody here wrote: QEMU's device models, driven over a qtest socket by the same driver objects."""
