"""What holds for every test: hypothesis draws the same examples in every run, and keeps none."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("ddsdk", derandomize=True, database=None, deadline=None, max_examples=60)
settings.load_profile("ddsdk")
