"""`ddsdk info`: what a file or a partition holds."""
