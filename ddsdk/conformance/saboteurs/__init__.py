"""Drivers and models broken on purpose, at least one for each check."""
