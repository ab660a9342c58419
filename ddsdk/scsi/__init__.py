"""The SCSI mid-layer: hosts, commands, scanning and load in normal mode, and the dump half that polls."""
