"""The chip this driver drives."""

from __future__ import annotations

from typing import Final

from ddsdk.hookspecs import Chip

CHIP: Final = Chip("{{cookiecutter.chip}}", {{cookiecutter.__vendor}}, {{cookiecutter.__device}}, "{{cookiecutter.chip}} IDE interface")
