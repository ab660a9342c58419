"""`python -m ddsdk`."""

from .cli.main import main

main()
