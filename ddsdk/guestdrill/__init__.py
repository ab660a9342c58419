"""`ddsdk drill --guest`: a Linux that really crashed is dumped through its own adapter, and witnesses are heard."""
