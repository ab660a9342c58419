"""What an IDE driver implements to be dumped through.  IDE has no Scsi_Host: the object is the drive.

Source: RHEL 4 `drivers/ide/ide-dump.c` (2.6.9-42.EL on); the same four steps as for SCSI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .markers import hookspec

if TYPE_CHECKING:
    from ddsdk.ata.host import IdeDrive


class AtaHookSpecs:
    """The hooks of one IDE dump device.  Only `dump_poll` is mandatory.

    The circumstances are those of ScsiHookSpecs: after the crash, interrupts off on the one CPU that still runs, locks
    of frozen CPUs held for ever.  `drive.hwif` is the channel, `drive.hwif.hwif_data` the driver's own.
    """

    @hookspec(firstresult=True)
    def dump_sanity_check(self, drive: IdeDrive) -> int | None:
        """Say whether *drive* and its channel can be trusted with a dump.

        Called before the device is chosen, after the mid-layer found the drive present and unchanged; perhaps twice.
        ide_lock is not taken by the caller, though a frozen CPU may hold it.  It looks at the interface (bus mastering
        on, a drive there: the alternate status, which clears nothing) and leaves no trace: it takes no lock, waits for
        nothing, writes no register.
        Returns 0 sane, -errno never use, > 0 cannot tell.  None: no opinion, as 0.
        C: int (*sanity_check)(ide_drive_t *)
        """

    @hookspec(firstresult=True)
    def quiesce(self, drive: IdeDrive) -> int | None:
        """Bring the channel from wherever the crash caught it to where a soft reset can run.

        Called once, before the mid-layer calls the port's do_reset; ide_lock is not held.  Release or re-initialise the
        driver's own locks, stop the bus master - of `hwif.mate` too, whose DMA would go on into memory that is being
        saved -, mask the drive's interrupt, forget what was in flight.  Every wait is bounded.
        Returns 0 or -errno; anything but 0 rejects the device.  None: nothing to do.
        C: int (*quiesce)(ide_drive_t *)
        """

    @hookspec
    def dump_poll(self, drive: IdeDrive) -> None:
        """Do what the interrupt handler would do now: look at the status, move data, end the command.

        Called over and over while a command is outstanding, at least once every 100 us of waiting, and from waits
        inside the driver's own reset; ide_lock is not held.  It returns at once while BSY says that there is nothing to
        do, moves the blocks that are ready, and calls ide_end_drive_cmd() when the command is over - of a write, only
        once the status after the last block is known.  It never waits.
        Returns nothing.
        C: void (*poll)(ide_drive_t *)
        """

    @hookspec(firstresult=True)
    def shutdown(self, drive: IdeDrive) -> int | None:
        """Leave the drive quiet: the dump is over, a warm reboot follows.

        Called once for every device that was quiesced, after FLUSH CACHE (EXT), also when the dump failed; ide_lock is
        not held.
        Returns 0 or -errno.  None: nothing to do.
        C: int (*shutdown)(ide_drive_t *)
        """
