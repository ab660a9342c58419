"""ddsdk: write, run and prove the panic-time I/O path of a storage driver."""

__version__ = "0.1.0"
