"""The dump service: signatures, partition, engine, savecore.  Sees dump devices and memory, never an adapter."""
