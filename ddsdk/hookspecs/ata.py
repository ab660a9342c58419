"""What an IDE driver implements to be dumped through.  IDE has no Scsi_Host: the object is the drive.

Source: RHEL 4 `drivers/ide/ide-dump.c` (2.6.9-42.EL on); the same four steps as for SCSI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .markers import hookspec

if TYPE_CHECKING:
    from typing import TypeAlias

    IdeDrive: TypeAlias = Any       # ddsdk.ata.host.IdeDrive once the ATA mid-layer exists


class AtaHookSpecs:
    """The hooks of one IDE dump device.  Only `dump_poll` is mandatory.  Same circumstances as
    ScsiHookSpecs.
    """

    @hookspec(firstresult=True)
    def dump_sanity_check(self, drive: IdeDrive) -> int | None:
        """Say whether *drive* and its channel can be trusted with a dump.

        Called before the device is chosen; looks at the interface and the drive's state, writes nothing.
        Returns 0 sane, -errno never use, > 0 cannot tell.  None: no opinion.
        C: int (*sanity_check)(ide_drive_t *)
        """

    @hookspec(firstresult=True)
    def quiesce(self, drive: IdeDrive) -> int | None:
        """Bring the channel from wherever the crash caught it to where a soft reset can run.

        Called once, before the mid-layer's soft reset of the channel.  Every wait is bounded.
        Returns 0 or -errno.  None: nothing to do.
        C: int (*quiesce)(ide_drive_t *)
        """

    @hookspec
    def dump_poll(self, drive: IdeDrive) -> None:
        """Do what the interrupt handler would do now: look at the status, move data, end the command.

        Called over and over while a command is outstanding; returns at once when BSY says there is nothing to
        do.  Returns nothing.
        C: void (*poll)(ide_drive_t *)
        """

    @hookspec(firstresult=True)
    def shutdown(self, drive: IdeDrive) -> int | None:
        """Leave the drive quiet, after FLUSH CACHE (EXT).  Returns 0 or -errno.  None: nothing to do.

        C: int (*shutdown)(ide_drive_t *)
        """
