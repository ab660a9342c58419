"""The E2E family."""

from __future__ import annotations
