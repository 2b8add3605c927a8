/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: between two owners, in a process of its own (daemon/hands.h).
 *
 * All functions of the attachment enter one address space in which nothing is mapped: from then on
 * their DMA goes nowhere (type1: with the group; iommufd: as each is opened). Only then are they
 * reset, each alone where it can be, the others together by the bus they share; and only what was
 * looked at after that counts as reset. The end of the process is the end of the block: the kernel
 * closes the functions, bus masters off, and the group is back in its default domain, in which
 * nothing is mapped for a device that VFIO has.
 *
 * A VMM that ends is seen (its pidfd, IN_CLOSE) before the kernel has let go of what it had open.
 * There is no event for that, so the open is tried again until it succeeds. Nothing of the guest's
 * memory is freed before: it is pinned until the mappings go, which is in that very release.
 */
#include "daemon/passthrough.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/iommu/iommu.h"
#include "lib/iommu/pci_path.h"
#include "lib/iommu/vfio_device.h"
#include "lib/sysfs.h"

#define RETRY_MS 5 /* between two tries to open what somebody is letting go of */

/* What is in the hand. */
struct held {
	struct sysroot *root;
	struct iommu_space *space;
	struct vfio_device *functions[1 + ATTACHMENT_MAX_COMPANIONS];
	bool is_reset[1 + ATTACHMENT_MAX_COMPANIONS];
	unsigned int count;
};

static void held_release(struct held *h)
{
	for (unsigned int i = h->count; i-- > 0;)
		vfio_device_close(h->functions[i]);
	iommu_space_free(h->space);
	sysroot_close(h->root);
}
#define auto_held __attribute__((cleanup(held_release)))

/* --- opening ---------------------------------------------------------------------------------- */

static int open_one(struct held *h, const struct pci_addr *addr, uint64_t until_ms, struct err *e)
{
	const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};

	while (vfio_device_open(h->root, h->space, addr, &h->functions[h->count], e) < 0) {
		if (strcmp(e->code, "DEV-TAKEN") != 0)
			return -1;
		if (now_ms() >= until_ms) {
			e->kind = ERR_BUSY;
			return -1;
		}
		nanosleep(&pause, NULL);
	}
	h->count++;
	return 0;
}

static int make_space(struct held *h, const struct pci_addr *addr, struct err *e)
{
	enum iommu_api api;

	if (sysroot_open("/", &h->root, e) < 0 || iommu_probe(h->root, addr, &api, e) < 0)
		return -1;
	return iommu_space_new(api, &h->space, e);
}

/* All of `ids`, which is taken apart. */
static int open_all(struct held *h, char *ids, uint64_t until_ms, struct err *e)
{
	struct pci_addr addr;
	char *rest;

	for (char *id = strtok_r(ids, ",", &rest); id; id = strtok_r(NULL, ",", &rest)) {
		if (!pci_addr_parse(id, &addr) || h->count == ARRAY_SIZE(h->functions))
			return err_set(e, ERR_FAILED, "HAND", "%s cannot be opened", id);
		if (!h->space && make_space(h, &addr, e) < 0)
			return -1;
		if (open_one(h, &addr, until_ms, e) < 0)
			return -1;
	}
	return 0;
}

/* --- resetting -------------------------------------------------------------------------------- */

static void mark_reset(struct held *h, const struct vfio_reset_info *info)
{
	char id[PCI_ADDR_MAX];

	for (size_t n = 0; n < info->companion_count; n++) {
		pci_addr_format(&info->companions[n].addr, id);
		for (unsigned int i = 0; i < h->count; i++)
			if (strcmp(vfio_device_id(h->functions[i]), id) == 0)
				h->is_reset[i] = true;
	}
}

static int reset_one(struct held *h, unsigned int i, bool must, struct err *e)
{
	struct vfio_device *d = h->functions[i];
	struct vfio_reset_info info;

	if (vfio_reset_info(d, &info, e) < 0)
		return -1;
	if (info.function)
		return vfio_reset_function(d, e);
	if (info.bus && vfio_reset_bus(d, e) == 0) {
		mark_reset(h, &info);
		return 0;
	}
	if (!must)
		return 0;
	if (info.bus && strcmp(e->code, "GRP-SPLIT") != 0 && strcmp(e->code, "DEV-NO-RESET") != 0)
		return -1;
	err_set(e, ERR_REFUSED, "DEV-NO-RESET", "%s cannot be reset", vfio_device_id(d));
	err_evidence(e, "/sys/bus/pci/devices/%s/reset_method: \"%s\"; %s", vfio_device_id(d),
		info.methods,
		info.bus ? "its bus has others on it" : "its bus cannot be reset either");
	return err_fix(e, "none, short of a reboot of the host");
}

static int reset_all(struct held *h, bool must, struct err *e)
{
	for (unsigned int i = 0; i < h->count; i++)
		if (!h->is_reset[i] && reset_one(h, i, must, e) < 0)
			return -1;
	for (unsigned int i = 0; i < h->count; i++)
		if (vfio_set_bus_master(h->functions[i], false, e) < 0 ||
			vfio_device_check(h->functions[i], e) < 0)
			return -1;
	return 0;
}

/* --- who it is -------------------------------------------------------------------------------- */

/* Before anything is done to it: what is there may be another one, with data of its own. */
static int check_serial(
	const struct held *h, const char *wanted, struct passthrough_identity *is, struct err *e)
{
	const char *id = vfio_device_id(h->functions[0]);
	struct pci_config c;

	*is = (struct passthrough_identity){.serial = ""};
	if (pci_config_read(h->root, id, &c) && c.has_serial)
		snprintf(is->serial, sizeof(is->serial), "0x%" PRIx64, c.serial);
	if (!wanted[0] || strcmp(wanted, is->serial) == 0)
		return 0;
	err_set(e, ERR_HOST_CHANGED, "DEV-GONE", "another device is at %s now", id);
	err_evidence(e, "its serial number is %s, and was %s", is->serial[0] ? is->serial : "none",
		wanted);
	return err_fix(e, "put the one that was there back, or detach what was attached");
}

int passthrough_work_reset(char **words, void *result, int *fd, struct err *e)
{
	auto_held struct held h = {.count = 0};
	uint64_t wait_ms;

	(void)fd;
	if (parse_u64(words[2], UINT32_MAX, &wait_ms) < 0)
		return err_set(e, ERR_FAILED, "HAND", "%s is no time", words[2]);
	if (open_all(&h, words[0], now_ms() + wait_ms, e) < 0)
		return err_wrap(e, "block it");
	if (check_serial(&h, words[3], result, e) < 0)
		return -1;
	return reset_all(&h, strcmp(words[1], "reset") == 0, e);
}
