"""The conformance kit: does a driver survive the panic path?

`conformance_checks("NAME")` gives pytest everything there is to run; this is the whole of a driver's conformance test:

    @pytest.mark.parametrize("check", conformance_checks("mydriver"))
    def test_conformance(check): check.run()
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest.mark.structures import ParameterSet


def conformance_checks(target: str | os.PathLike[str] | None, *, chip: str | None = None, backend: str = "model",
                       seed: int = 1, select: str | None = None) -> list[ParameterSet]:
    """A pytest parameter for each item to run on *target*: a plugin's directory, a driver's name, None: all installed.

    *chip*: only this one, else each that *backend* (model or qemu) can play.  *select*: as `-k` of `ddsdk conformance`.
    The parameter's value has `run()`: it raises AssertionError with what was seen, the driver's line and the last
    things that happened; it skips what is not offered, and xfails what the profile expects.  Ids: 53c1030-POLL-1.
    UsageError: an unknown name, or nothing matches.  PluginError, one line: the plugin cannot be judged.
    """
    from .pytest_entry import parameters

    return parameters(target, chip=chip, backend=backend, seed=seed, select=select or "")
