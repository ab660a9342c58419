/*
 * diskdump support for the {{cookiecutter.name}} driver ({{cookiecutter.chip}}): the C side of the port.
 *
 * Diskdump white paper rev 0.1, section 4.  Linux 2.6.9 with the diskdump patch.  Move the pieces into the driver, and
 * write what is marked TODO as ../{{cookiecutter.__package}}/dump.py has it: the conformance kit has judged that.
 */

#include <linux/delay.h>
#include <linux/diskdump.h>
#include <linux/errno.h>
#include <linux/ide.h>
#include <linux/interrupt.h>
#include <linux/pci.h>
#include <linux/spinlock.h>

#include "{{cookiecutter.name}}.h"	/* the driver's: struct {{cookiecutter.name}}_adapter, {{cookiecutter.name}}_step(), {{cookiecutter.name}}_write_srst() */

/* 4.3 (3): nothing enables interrupts while dumping.  For the reset, instead of spin_lock_irq(&ide_lock). */
#define {{cookiecutter.__NAME}}_IDE_LOCK(lock)			\
	do {						\
		if (crashdump_mode())			\
			spin_lock(lock);		\
		else					\
			spin_lock_irq(lock);		\
	} while (0)

#define {{cookiecutter.__NAME}}_IDE_UNLOCK(lock)			\
	do {						\
		if (crashdump_mode())			\
			spin_unlock(lock);		\
		else					\
			spin_unlock_irq(lock);		\
	} while (0)

/* 4.3 (4): mdelay() warns in_irq() and starves the NMI watchdog. */
#define {{cookiecutter.__NAME}}_MDELAY(n)				\
	do {						\
		if (crashdump_mode())			\
			diskdump_mdelay(n);		\
		else					\
			mdelay(n);			\
	} while (0)

/*
 * 4.4 (1): can I/O be issued?  0, -errno never, > 0 cannot tell.  Looks and changes nothing: no lock, no wait, no write
 * of a register.
 */
int {{cookiecutter.name}}_sanity_check(ide_drive_t *drive)
{
	struct {{cookiecutter.name}}_adapter *adapter = drive->hwif->hwif_data;

	if (!adapter)
		return -ENXIO;

	/* TODO: PCI COMMAND: -ENODEV when it reads all ones, -ENXIO without bus mastering */
	/* TODO: BM_STATUS: -ENODEV when it reads all ones */
	/* TODO: 1 while a reset is under way, or after one that failed */

	return 0;
}

/*
 * 4.4 (2): after the device was chosen, before the soft reset.  0, or -errno and the device is not used.
 */
int {{cookiecutter.name}}_quiesce(ide_drive_t *drive)
{
	struct {{cookiecutter.name}}_adapter *adapter = drive->hwif->hwif_data;

	if (!adapter)
		return -ENXIO;

	/* TODO: stop the bus master, of the other channel too; NIEN in the control register; forget the command */

	return 0;
}

/*
 * 4.4 (3): what the interrupt handler would do now, and whatever it would have deferred.
 */
void {{cookiecutter.name}}_poll(ide_drive_t *drive)
{
	struct {{cookiecutter.name}}_adapter *adapter = drive->hwif->hwif_data;

	if (!adapter)
		return;

	{{cookiecutter.name}}_step(adapter);
}

/*
 * RHEL 4 only: the dump is over, a warm reboot follows.
 */
int {{cookiecutter.name}}_shutdown(ide_drive_t *drive)
{
	struct {{cookiecutter.name}}_adapter *adapter = drive->hwif->hwif_data;

	if (!adapter)
		return 0;

	{{cookiecutter.name}}_write_srst(adapter);

	/* TODO: wait until BSY is clear with {{cookiecutter.__NAME}}_MDELAY(10) in a bounded loop; leave NIEN set */

	return 0;
}

/*
 * 4.3 (2) has the hooks in the host template; IDE has none.  The same four on ide_drive_t, for the mid-layer to find.
 */
struct ide_dump_operations {
	int (*sanity_check)(ide_drive_t *drive);
	int (*quiesce)(ide_drive_t *drive);
	void (*poll)(ide_drive_t *drive);
	int (*shutdown)(ide_drive_t *drive);
};

/* TODO: the structure belongs into <linux/ide.h>, a pointer to this one into ide_hwif_t, set in the probe */
struct ide_dump_operations {{cookiecutter.name}}_dump_operations = {
	.sanity_check	= {{cookiecutter.name}}_sanity_check,
	.quiesce	= {{cookiecutter.name}}_quiesce,
	.poll		= {{cookiecutter.name}}_poll,
	.shutdown	= {{cookiecutter.name}}_shutdown,
};
