"""`ddsdk` and `python -m ddsdk`: the program, imported where an interrupt is one line already."""

import sys


def main() -> None:
    """Console entry point."""
    try:
        from .cli.main import main as run_program
    except KeyboardInterrupt:
        sys.stderr.write("ddsdk: interrupted\n")
        sys.exit(130)
    run_program()


if __name__ == "__main__":
    main()
