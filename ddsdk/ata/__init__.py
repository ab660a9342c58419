"""The IDE mid-layer: interfaces, taskfile commands, scanning and load in normal mode, and the dump half that polls."""
