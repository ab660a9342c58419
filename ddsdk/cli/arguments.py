"""Arguments that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..diskdump.signature import SignatureKind
from ..diskdump.target import DumpTarget
from ..errors import UsageError
from ..sizes import parse_size

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
device_argument = click.argument("device", metavar="DEVICE[,offset=O][,size=S]")
sample_rate_option = click.option("--sample-rate", type=int, default=None, metavar="N",
                                  help="Check one chunk of every 2**N; 0 checks every block, -1 none.")
block_order_option = click.option("--block-order", type=click.IntRange(0, 8), default=2, show_default=True, metavar="N",
                                  help="2**N pages an I/O, 0 to 8.")
dump_level_option = click.option(
    "--dump-level", type=click.IntRange(0, 31), default=0, show_default=True, metavar="N",
    help="Leave pages out: the sum of 1 (zero), 2 (cache), 4 (private cache), 8 (user), 16 (free).")


def parse_device(text: str) -> DumpTarget:
    """A dump partition as typed: a file or block device, or a window of one."""
    path, *options = text.split(",")
    values: dict[str, int] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if key not in ("offset", "size") or not equals:
            raise UsageError(f"{text!r}: option {option!r} is none of offset=, size=")
        if key in values:
            raise UsageError(f"{text!r}: {key}= is given twice")
        values[key] = parse_size(value, f"{key}=")
    if not path:
        raise UsageError(f"{text!r}: it must be DEVICE[,offset=O][,size=S]")
    return DumpTarget(path, values.get("offset", 0), values.get("size"))


def signature_option(function: F) -> F:
    """`--signature design|shipped`."""
    return click.option("--signature", type=click.Choice([kind.value for kind in SignatureKind]),
                        default=SignatureKind.DESIGN.value, show_default=True,
                        help="design: the design document's +3; shipped: +7, as RHEL kernels wrote.")(function)
