"""What a SCSI host adapter driver implements to be dumped through.

Source: diskdump white paper rev 0.1, 4.4 (sanity_check, quiesce, poll); RHEL 4 `include/scsi/scsi_host.h`
(2.6.9-89.29.1.EL: dump_sanity_check, dump_quiesce, dump_shutdown, dump_poll in scsi_host_template).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .markers import hookspec

if TYPE_CHECKING:
    from ddsdk.scsi.host import ScsiDevice


class ScsiHookSpecs:
    """The hooks of one SCSI dump device.  Only `dump_poll` is mandatory.

    All are called after the crash: `kernel.crashdump_mode()` is true, interrupts are off on the one CPU that
    still runs, and whatever the frozen CPUs held stays held.
    """

    @hookspec(firstresult=True)
    def dump_sanity_check(self, sdev: ScsiDevice) -> int | None:
        """Say whether *sdev*'s adapter can be trusted with a dump.

        Called before the device is chosen, after the mid-layer found it online and unchanged; host_lock is
        not taken by the caller, though a frozen CPU may hold it.  Possibly called twice (a strict pass, then
        a lenient one).  It looks and leaves no trace: it takes no lock, waits for nothing, writes no
        register.
        Returns 0 sane, -errno never use, > 0 cannot tell (used only when risky dumps are allowed).  None: no
        opinion, as 0.
        C: int (*dump_sanity_check)(struct scsi_device *)
        """

    @hookspec(firstresult=True)
    def quiesce(self, sdev: ScsiDevice) -> int | None:
        """Bring the driver from wherever the crash caught it to where a host reset can run.

        Called once, after the device is chosen and before the mid-layer calls eh_host_reset_handler;
        host_lock is not held.  Release or re-initialise the driver's own locks, mask the chip, forget what
        was in flight.  Waits go through diskdump_mdelay() or schedule_timeout().
        Returns 0 or -errno; anything but 0 rejects the device.  None: nothing to do.
        C: int (*dump_quiesce)(struct scsi_device *)
        """

    @hookspec
    def dump_poll(self, sdev: ScsiDevice) -> None:
        """Do what the interrupt handler would do now, and whatever it would have deferred.

        Called over and over while a command is outstanding, at least once every 100 us of waiting, and from
        waits inside the driver's own reset; host_lock is not held.  Calls scmd.scsi_done() for every command
        that ended.  It returns at once when the chip has nothing to say, never waits, never unmasks the
        chip's interrupt.
        Returns nothing.
        C: void (*dump_poll)(struct scsi_device *)
        """

    @hookspec(firstresult=True)
    def shutdown(self, sdev: ScsiDevice) -> int | None:
        """Leave the adapter quiet: the dump is over, a warm reboot follows.

        Called once for every device that was quiesced, after SYNCHRONIZE CACHE, also when the dump failed;
        host_lock is not held.  Nothing is outstanding, unless the adapter stopped answering.
        Returns 0 or -errno.  None: nothing to do.
        C: int (*dump_shutdown)(struct scsi_device *)
        """
