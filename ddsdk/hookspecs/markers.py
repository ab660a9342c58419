"""The two decorators of ddsdk's hooks: `hookspec` declares one, `hookimpl` implements one."""

from __future__ import annotations

import pluggy

PROJECT = "ddsdk"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
