"""Refuses answers that would make no plugin: one line on stderr, exit code 1, nothing is left behind.

Valid Python before it is rendered, too: `ddsdk new` asks `complaint()` before it generates anything.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping

NAME_MAX = 16
CHIP_MAX = 16


def complaint(answers: Mapping[str, str]) -> str:
    """What is wrong with the answers, in one line; "" when nothing is."""
    name, chip, author = answers["name"], answers["chip"], answers["author"]
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or len(name) > NAME_MAX:
        return (f"name {name!r}: users type it: lower-case letters, digits and single _ between them, a letter first,"
                f" at most {NAME_MAX}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", chip) or len(chip) > CHIP_MAX:
        return f"chip {chip!r}: users type it: lower-case letters, digits, _ . and -, at most {CHIP_MAX}"
    for what in ("vendor_id", "device_id"):
        if not re.fullmatch(r"(0[xX])?[0-9a-fA-F]{1,4}", answers[what]):
            return f"{what} {answers[what]!r}: it must be a PCI id, one to four hexadecimal digits such as 0x1000"
    if answers["bus"] not in ("scsi", "ata"):
        return f"bus {answers['bus']!r}: it must be scsi or ata"
    if answers["starting_point"] not in ("toy", "skeleton"):
        return f"starting_point {answers['starting_point']!r}: it must be toy or skeleton"
    if not author.strip() or not author.isprintable() or set(author) & set('"\\'):
        return f"author {author!r}: it goes into pyproject.toml and LICENSE: one line, without quotes and backslashes"
    return ""


if __name__ == "__main__":
    wrong = complaint(json.loads(r"""{{ cookiecutter | jsonify }}"""))
    if wrong:
        print(f"error: {wrong}", file=sys.stderr)
        sys.exit(1)
