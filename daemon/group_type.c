/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. The kernel changes a group's default domain with one write to one file, which
 * is done or not done: there is no half of it to undo after a crash. What it was is in the store
 * before that, so that "translate" means again what it meant (DMA or DMA-FQ). Groups have other
 * numbers after a boot, so that a row counts only in the boot that it was written in.
 *
 * The kernel refuses while a member has a driver that does DMA, or is open through VFIO; we look
 * first, since it does not say which. Its file has no "blocked": a group in which nothing is mapped
 * is one that translates and whose members have no driver.
 */
#include "daemon/group_type.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/daemon.h"
#include "daemon/hands.h"
#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "lib/cleanup.h"
#include "lib/store.h"

#define GROUPS      "sys/kernel/iommu_groups"
#define WRITE_MS    20000 /* the kernel moves each member to a new domain: milliseconds */
#define BOOT_ID_MAX 40

/* --- what it was ------------------------------------------------------------------------------ */

static void read_boot_id(const struct daemon *d, char boot[static BOOT_ID_MAX])
{
	struct sysfs_dir dir;

	sysfs_dir_init(&dir, inventory_sysroot(d->inventory), "proc/sys/kernel/random");
	sysfs_read_text(&dir, "boot_id", boot, BOOT_ID_MAX);
}

static bool is_translate(const char *type)
{
	return strcmp(type, "DMA") == 0 || strcmp(type, "DMA-FQ") == 0;
}

static int row_before(void *arg, const struct store_row *row)
{
	const char *before = store_row_text(row, 0);

	if (before && is_translate(before))
		str_copy(arg, GROUP_TYPE_MAX, before);
	return 1;
}

/* How the group translated before somebody had it changed; DMA (strict, the safe one) else. */
static int recall(struct daemon *d, uint32_t id, char word[static GROUP_TYPE_MAX], struct err *e)
{
	char boot[BOOT_ID_MAX];

	str_copy(word, GROUP_TYPE_MAX, "DMA");
	read_boot_id(d, boot);
	return store_run(d->store, "SELECT before FROM group_type WHERE number = ? AND boot = ?",
		STORE_BIND(STORE_INT(id), STORE_TEXT(boot)), row_before, word, e);
}

/* Only how it translates is worth keeping. */
static int keep(struct daemon *d, const struct group_type_plan *plan, struct err *e)
{
	char boot[BOOT_ID_MAX];

	if (plan->is_lent || !is_translate(plan->before))
		return 0;
	read_boot_id(d, boot);
	return store_run(d->store,
		"INSERT OR REPLACE INTO group_type (number, boot, before) VALUES (?, ?, ?)",
		STORE_BIND(STORE_INT(plan->group), STORE_TEXT(boot), STORE_TEXT(plan->before)),
		NULL, NULL, e);
}

/* --- may it be -------------------------------------------------------------------------------- */

static bool is_already(const struct iommu_group *group, const char *wanted)
{
	return strcmp(wanted, "translate") == 0 ? is_translate(group->type)
						: strcmp(wanted, group->type) == 0;
}

static int refuse_blocked(const struct iommu_group *group, struct err *e)
{
	err_set(e, ERR_REFUSED, "GRP-TYPE",
		"the kernel has no way to set IOMMU group %u to blocked", group->id);
	err_evidence(e,
		"/" GROUPS "/%u/type: %s; what can be written there: identity, DMA, DMA-FQ, "
		"auto",
		group->id, group->type[0] ? group->type : "cannot be read");
	return err_fix(e, "translate, with no driver on any member, has nothing mapped: every DMA "
			  "is a fault; "
			  "so is a device that iovd holds for an attachment (iovctl attach) until "
			  "its VMM opens "
			  "it");
}

/* Each member by itself: those that the inventory has, and no bridge, which is nobody's. */
static int check_uses(struct daemon *d, uint32_t id, struct err *e)
{
	const struct iommu_group *group = inventory_group(d->inventory, id, e);
	size_t count = group ? group->member_count : 0;
	auto_free struct iommu_member *members = NULL;

	members = calloc(MAX(count, 1), sizeof(*members));
	if (!group || !members)
		return group ? err_sys(e, ENOMEM, "look at the members") : -1;
	if (count)
		memcpy(members, group->members, count * sizeof(*members));
	for (size_t i = 0; i < count; i++) {
		const struct device *device =
			inventory_find(d->inventory, DEVICE_PCI, members[i].id);

		if (device && !device->pci.is_bridge && host_use_check(d->inventory, device, e) < 0)
			return -1;
	}
	return 0;
}

int group_type_check(struct daemon *d, uint32_t id, const char *wanted,
	struct group_type_plan *plan, struct err *e)
{
	const struct iommu_group *group = inventory_group(d->inventory, id, e);

	if (!group)
		return -1;
	*plan = (struct group_type_plan){.group = id};
	str_copy(plan->before, sizeof(plan->before), group->type);
	if (is_already(group, wanted))
		return 1;
	if (strcmp(wanted, "blocked") == 0)
		return refuse_blocked(group, e);
	if (check_uses(d, id, e) < 0)
		return -1;
	group = inventory_group(d->inventory, id, e);
	if (!group || iommu_group_check_viable(group, e) < 0)
		return -1;
	if (strcmp(wanted, "translate") == 0)
		return recall(d, id, plan->word, e);
	str_copy(plan->word, sizeof(plan->word), wanted);
	return 0;
}

/* --- doing it --------------------------------------------------------------------------------- */

struct setting {
	group_type_done_fn *done;
	void *arg;
};

static void set_ended(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct setting s = *(struct setting *)arg;

	(void)result;
	(void)len;
	close_fd(&fd);
	free(arg);
	s.done(s.arg, e);
}

int group_type_set(struct daemon *d, const struct group_type_plan *plan, group_type_done_fn *done,
	void *arg, struct err *e)
{
	const char *root = d->conf->sysroot[0] ? d->conf->sysroot : "/";
	char number[16], object[32];
	const char *const words[HAND_WORDS] = {"group-type", root, number, plan->word};
	struct setting *s = malloc(sizeof(*s));

	if (!s)
		return err_sys(e, ENOMEM, "set a type");
	*s = (struct setting){.done = done, .arg = arg};
	snprintf(number, sizeof(number), "%u", plan->group);
	snprintf(object, sizeof(object), "IOMMU group %u", plan->group);
	if (keep(d, plan, e) == 0 &&
		hands_do(d->hands, object, words, WRITE_MS, set_ended, s, e) == 0)
		return 0;
	free(s);
	return -1;
}

/* --- in the hand ------------------------------------------------------------------------------ */

static int refuse_write(const char *group, const char *word, int sys, struct err *e)
{
	err_set(e, ERR_REFUSED, "GRP-TYPE", "the kernel does not let IOMMU group %s be %s", group,
		word);
	err_evidence(e, "write %s to /" GROUPS "/%s/type: %s", word, group, strerror(sys));
	if (sys == EPERM || sys == EBUSY)
		return err_fix(e,
			"take the drivers off its members, and end what has one open "
			"(fuser -v /dev/vfio/%s)",
			group);
	if (sys == EINVAL)
		return err_fix(e, "the IOMMU's driver may want another type for one of its devices "
				  "(see the kernel's log); before Linux 6.5 only a group of one "
				  "device can be changed");
	return err_fix(e, "see the kernel's log");
}

int group_type_work(char **words, void *result, int *fd, struct err *e)
{
	struct sysroot *root;
	struct sysfs_dir dir;
	char now[GROUP_TYPE_MAX];
	int rc;

	(void)result;
	(void)fd;
	if (sysroot_open(words[0], &root, e) < 0)
		return -1;
	sysfs_dir_init(&dir, root, GROUPS "/%s", words[1]);
	rc = sysfs_write_text(&dir, "type", words[2]);
	if (rc < 0) {
		refuse_write(words[1], words[2], -rc, e);
	} else {
		rc = sysfs_read_text(&dir, "type", now, sizeof(now));
		if (rc < 0 || strcmp(now, words[2]) != 0)
			rc = err_set(e, ERR_FAILED, "GRP-TYPE",
				"IOMMU group %s was set to %s, and is %s", words[1], words[2],
				rc < 0 ? "not to be read" : now);
	}
	sysroot_close(root);
	return rc < 0 ? -1 : 0;
}
