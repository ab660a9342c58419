/*
 * diskdump support for the {{cookiecutter.name}} driver ({{cookiecutter.chip}}): the C side of the port.
 *
 * Diskdump white paper rev 0.1, section 4.  Linux 2.6.9 with the diskdump patch.  Move the pieces into the driver, and
 * write what is marked TODO as ../{{cookiecutter.__package}}/dump.py has it: the conformance kit has judged that.
 */

#include <linux/delay.h>
#include <linux/diskdump.h>
#include <linux/errno.h>
#include <linux/interrupt.h>
#include <linux/spinlock.h>
#include <scsi/scsi_device.h>
#include <scsi/scsi_host.h>

#include "{{cookiecutter.name}}.h"	/* the driver's: struct {{cookiecutter.name}}_adapter, {{cookiecutter.name}}_interrupt() */

/* 4.3 (3): nothing enables interrupts while dumping.  For the error handlers, instead of spin_lock_irq(). */
#define {{cookiecutter.__NAME}}_HOST_LOCK(host_lock)		\
	do {						\
		if (crashdump_mode())			\
			spin_lock(host_lock);		\
		else					\
			spin_lock_irq(host_lock);	\
	} while (0)

#define {{cookiecutter.__NAME}}_HOST_UNLOCK(host_lock)		\
	do {						\
		if (crashdump_mode())			\
			spin_unlock(host_lock);		\
		else					\
			spin_unlock_irq(host_lock);	\
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
int {{cookiecutter.name}}_sanity_check(struct scsi_device *sdev)
{
	struct {{cookiecutter.name}}_adapter *adapter = (struct {{cookiecutter.name}}_adapter *)sdev->host->hostdata;

	if (!adapter)
		return -ENXIO;

	/* somebody stopped in the middle of the queue */
	if (spin_is_locked(&adapter->queue_lock))
		return -EBUSY;

	/* TODO: PCI COMMAND: -ENODEV when it reads all ones, -ENXIO without bus mastering */
	/* TODO: STATUS: -ENODEV when it reads all ones */
	/* TODO: 1 while a reset is under way, or after one that failed */

	return 0;
}

/*
 * 4.4 (2): after the device was chosen, before the host reset.  0, or -errno and the device is not used.
 */
int {{cookiecutter.name}}_quiesce(struct scsi_device *sdev)
{
	struct {{cookiecutter.name}}_adapter *adapter = (struct {{cookiecutter.name}}_adapter *)sdev->host->hostdata;

	if (!adapter)
		return -ENXIO;

	/* whoever held it is frozen and will never release it */
	spin_lock_init(&adapter->queue_lock);

	/* TODO: del_timer() what watched a reset; mask the chip's interrupts; forget the requests in flight */

	return 0;
}

/*
 * 4.4 (3): what the interrupt handler would do now, and whatever it would have deferred.
 */
void {{cookiecutter.name}}_poll(struct scsi_device *sdev)
{
	struct {{cookiecutter.name}}_adapter *adapter = (struct {{cookiecutter.name}}_adapter *)sdev->host->hostdata;

	if (!adapter)
		return;

	{{cookiecutter.name}}_interrupt(0, adapter, NULL);

	/* TODO: the body of the tasklet that the handler schedules */
}

/*
 * RHEL 4 only: the dump is over, a warm reboot follows.
 */
int {{cookiecutter.name}}_shutdown(struct scsi_device *sdev)
{
	struct {{cookiecutter.name}}_adapter *adapter = (struct {{cookiecutter.name}}_adapter *)sdev->host->hostdata;

	if (!adapter)
		return 0;

	/* TODO: reset the chip, wait with {{cookiecutter.__NAME}}_MDELAY(1) in a bounded loop; no DMA from here on */

	return 0;
}

/*
 * 4.3 (2): what is new in the driver's template; the white paper has the first and the last, RHEL 4 all four.
 */
struct scsi_host_template driver_template = {
	/* TODO: .name .proc_name .queuecommand .eh_abort_handler .eh_host_reset_handler .can_queue ... as they are */
	.dump_sanity_check	= {{cookiecutter.name}}_sanity_check,
	.dump_quiesce		= {{cookiecutter.name}}_quiesce,
	.dump_shutdown		= {{cookiecutter.name}}_shutdown,
	.dump_poll		= {{cookiecutter.name}}_poll,
};
