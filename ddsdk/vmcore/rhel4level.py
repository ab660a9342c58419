"""RHEL 4's `dump_level`: other bits than `--dump-level` for the same kinds (formats.md 1.7, field.md 7.3).

Only for reading its sysconfig files: the same number means something else there, so it is translated and both are said.
"""

from __future__ import annotations

from attrs import frozen

from ddsdk.errors import UsageError

from .pageflags import Kind

#: Bit 16 of a RHEL 4 level leaves nothing out: with bit 1, cache pages with private data are saved.
KEEP_PRIVATE = 16
#: bit -> kinds it leaves out.
RHEL4_BITS = ((1, Kind.CACHE | Kind.PRIVATE_CACHE), (2, Kind.ZERO), (4, Kind.FREE), (8, Kind.USER))


@frozen
class TranslatedLevel:
    """RHEL 4's *dump_level* as a `--dump-level`."""

    dump_level: int
    level: int

    def __str__(self) -> str:
        kinds = [str(kind.name).lower().replace("_", " ") for kind in Kind if kind.value & self.level]
        return (f"RHEL 4 dump_level {self.dump_level} is --dump-level {self.level}: "
                f"{', '.join(kinds) or 'no'} pages are left out")


def translate(dump_level: int) -> TranslatedLevel:
    """The `--dump-level` that leaves out what *dump_level* does; UsageError unless it is 0 to 31."""
    if not 0 <= dump_level < 32:
        raise UsageError(f"dump_level {dump_level}: RHEL 4's is 0 to 31, a sum of 1 (cache), 2 (zero), 4 (free), "
                         "8 (user) and 16 (keep private cache)")
    level = sum(int(kinds) for bit, kinds in RHEL4_BITS if dump_level & bit)
    if dump_level & KEEP_PRIVATE:
        level &= ~int(Kind.PRIVATE_CACHE)
    return TranslatedLevel(dump_level, level)
