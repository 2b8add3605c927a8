/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Resets of a VFIO device, and what it looks like after one.
 *
 * Theory of operation
 *
 * The kernel saves a function's config space before a reset and writes it back after: a bus master
 * would be one again. So mastering is switched off first, and the check after the reset can ask for
 * it to be off.
 *
 * Whether there is a reset is VFIO's word, which has tried it. The methods of sysfs are the kernel's
 * guess of the time when it found the function: the first on a shared bus may claim a bus reset that
 * later is none, since others are there.
 *
 * VFIO answers reads of many registers out of a copy that it keeps for guests: ids and BARs read
 * well through it even when there is no device any more. The check therefore reads the first 64
 * bytes as the hardware has them (sysfs `config`), and compares with those of the time when the
 * device was opened: a device that has vanished reads as all ones, one whose state was not written
 * back has BARs of zero. A VF has neither ids nor BARs of its own there (they read as ones and
 * zeroes): of it the class and the status count.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/iommu/vfio_device_priv.h"
#include "lib/iommu/vfio_uapi.h"

#define AT_ID      0x00
#define AT_COMMAND 0x04 /* and the status above it */
#define AT_CLASS   0x08 /* and the revision below it */
#define AT_BAR0    0x10
#define MASTER     0x0004u
#define ALL_ONES   0xffffffffu

int vfio_read_header(const struct vfio_device *d, uint8_t header[static VFIO_HEADER_BYTES])
{
	char path[64];
	auto_close int fd = -1;
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", d->id);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = pread(fd, header, VFIO_HEADER_BYTES, 0);
	if (len < 0)
		return -errno;
	return len == VFIO_HEADER_BYTES ? 0 : -EIO;
}

static uint32_t word(const uint8_t *header, size_t at)
{
	uint32_t little;

	memcpy(&little, header + at, sizeof(little));
	return le32toh(little);
}

static int check_bars(const uint8_t *before, const uint8_t *now, struct err *e)
{
	for (unsigned int i = 0; i < VFIO_BAR_COUNT; i++) {
		size_t at = AT_BAR0 + i * 4;

		if (word(before, at) == word(now, at))
			continue;
		err_set(e, ERR_FAILED, "DEV-RESET", "BAR %u is not where it was", i);
		return err_evidence(e, "config space at 0x%02zx: 0x%08x, was 0x%08x", at,
			word(now, at), word(before, at));
	}
	return 0;
}

int vfio_check_header(const uint8_t before[static VFIO_HEADER_BYTES],
	const uint8_t now[static VFIO_HEADER_BYTES], bool is_vf, struct err *e)
{
	size_t at = is_vf ? AT_CLASS : AT_ID;

	if (word(now, at) == ALL_ONES || word(now, at) != word(before, at)) {
		err_set(e, ERR_FAILED, "DEV-RESET", "the device does not answer as itself");
		return err_evidence(e, "config space at 0x%02zx: 0x%08x, was 0x%08x", at,
			word(now, at), word(before, at));
	}
	if (word(now, AT_COMMAND) & MASTER) {
		err_set(e, ERR_FAILED, "DEV-RESET", "the device is a bus master");
		return err_evidence(e, "command and status: 0x%08x", word(now, AT_COMMAND));
	}
	return is_vf ? 0 : check_bars(before, now, e);
}

int vfio_device_check(struct vfio_device *d, struct err *e)
{
	uint8_t now[VFIO_HEADER_BYTES];
	int rc = vfio_read_header(d, now);

	if (rc < 0)
		return err_sys(e, -rc, "read the config space of %s", d->id);
	if (vfio_check_header(d->header, now, d->is_vf, e) < 0)
		return err_wrap(e, "check %s after a reset", d->id);
	return 0;
}

/* --- what is there ---------------------------------------------------------------------------- */

#define INFO_BYTES                                                                                 \
	(sizeof(struct vfio_pci_hot_reset_info) +                                                  \
		VFIO_MAX_COMPANIONS * sizeof(struct vfio_pci_dependent_device))

static void add_companion(struct vfio_device *d, const struct vfio_pci_dependent_device *dep,
	struct vfio_reset_info *info)
{
	info->companions[info->companion_count++] = (struct vfio_companion){
		.addr =
			{
				.domain = dep->segment,
				.bus = dep->bus,
				.slot = dep->devfn >> 3,
				.function = dep->devfn & 7,
				.domain_given = true,
			},
		.ours = d->space && d->space->ops->has_companion(d->space, dep->group_id),
	};
}

static int read_companions(struct vfio_device *d, struct vfio_reset_info *info, struct err *e)
{
	auto_free struct vfio_pci_hot_reset_info *hot = calloc(1, INFO_BYTES);

	if (!hot)
		return err_sys(e, ENOMEM, "ask %s for its resets", d->id);
	hot->argsz = INFO_BYTES;
	if (ioctl(d->fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, hot) < 0) {
		if (errno == ENODEV)
			return 0;
		return err_sys(e, errno, "ask %s who is reset with it", d->id);
	}
	info->bus = hot->count > 0;
	for (uint32_t i = 0; i < MIN(hot->count, VFIO_MAX_COMPANIONS); i++)
		add_companion(d, &hot->devices[i], info);
	return 0;
}

int vfio_reset_info(struct vfio_device *d, struct vfio_reset_info *info, struct err *e)
{
	struct sysfs_dir dir;

	*info = (struct vfio_reset_info){.function = d->can_reset};
	sysfs_dir_init(&dir, d->root, "sys/bus/pci/devices/%s", d->id);
	sysfs_read_text(&dir, "reset_method", info->methods, sizeof(info->methods));
	return read_companions(d, info, e);
}

/* --- doing it --------------------------------------------------------------------------------- */

static int no_reset(const struct vfio_device *d, const struct vfio_reset_info *info, struct err *e)
{
	err_set(e, ERR_REFUSED, "DEV-NO-RESET", "%s has no reset that works for it alone", d->id);
	return err_evidence(e, "reset_method: %s; %zu functions on its bus",
		info->methods[0] ? info->methods : "none", info->companion_count);
}

int vfio_reset_function(struct vfio_device *d, struct err *e)
{
	struct vfio_reset_info info;

	if (!d->can_reset) {
		vfio_reset_info(d, &info, NULL);
		return no_reset(d, &info, e);
	}
	if (vfio_set_bus_master(d, false, e) < 0)
		return -1;
	if (ioctl(d->fd, VFIO_DEVICE_RESET) < 0) {
		int sys = errno;

		err_set(e, ERR_FAILED, "DEV-RESET", "reset %s: %s", d->id, strerror(sys));
		return -1;
	}
	return 0;
}

/* All on the bus are in d's space, so that nobody else's device is reset under him. */
static int check_companions(
	const struct vfio_device *d, const struct vfio_reset_info *info, struct err *e)
{
	char id[PCI_ADDR_MAX];

	if (!info->bus)
		return no_reset(d, info, e);
	for (size_t i = 0; i < info->companion_count; i++) {
		if (info->companions[i].ours)
			continue;
		pci_addr_format(&info->companions[i].addr, id);
		err_set(e, ERR_REFUSED, "GRP-SPLIT",
			"%s cannot be reset by its bus: %s is reset with it and is not in the same "
			"hands",
			d->id, id);
		return err_fix(e, "take %s as well", id);
	}
	return 0;
}

static int hot_reset(struct vfio_device *d)
{
	union {
		struct vfio_pci_hot_reset reset;
		uint32_t room[sizeof(struct vfio_pci_hot_reset) / 4 + VFIO_MAX_COMPANIONS];
	} ask = {0};

	ask.reset.count =
		(uint32_t)d->space->ops->proofs(d->space, ask.reset.group_fds, VFIO_MAX_COMPANIONS);
	ask.reset.argsz =
		(uint32_t)(sizeof(ask.reset) + ask.reset.count * sizeof(ask.reset.group_fds[0]));
	return ioctl(d->fd, VFIO_DEVICE_PCI_HOT_RESET, &ask);
}

int vfio_reset_bus(struct vfio_device *d, struct err *e)
{
	struct vfio_reset_info info;

	if (vfio_reset_info(d, &info, e) < 0 || check_companions(d, &info, e) < 0)
		return -1;
	list_for_each (node, &d->space->devices) {
		struct vfio_device *other = list_entry(node, struct vfio_device, node);

		if (vfio_set_bus_master(other, false, e) < 0)
			return -1;
	}
	if (hot_reset(d) < 0) {
		int sys = errno;

		err_set(e, ERR_FAILED, "DEV-RESET", "reset the bus of %s: %s", d->id,
			strerror(sys));
		return -1;
	}
	return 0;
}
