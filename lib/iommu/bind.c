/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 *	driver_override = wanted driver		nobody else may have it from here on
 *	drivers/OLD/unbind			the old driver lets go
 *	drivers/WANTED/bind			the wanted one takes it
 *	driver_override = wanted override	often none: as it was before
 *
 * A crash leaves any prefix of that, and whoever comes next begins at the top: each line looks
 * first. The override stands in the way of a module that is loaded in between, of udev, and of a
 * driver whose table of ids does not have the device (VFIO's drivers; one bound by new_id).
 * `drivers/X/bind` is written rather than drivers_probe, because it says why a driver refuses.
 */
#include "lib/iommu/bind.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "lib/kmod.h"

#define DEVICES "sys/bus/pci/devices"
#define DRIVERS "sys/bus/pci/drivers"

#define GENERIC_DRIVER "vfio-pci"
#define GENERIC_MODULE "vfio_pci"

/* --- names ------------------------------------------------------------------------------------ */

bool bind_is_vfio(const char *driver)
{
	return strstr(driver, "vfio");
}

bool bind_name_is_valid(const char *driver)
{
	if (!driver[0] || driver[0] == '.' || strlen(driver) >= BIND_DRIVER_MAX)
		return false;
	for (const char *s = driver; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("._-", *s))
			return false;
	return true;
}

int bind_alias_fits(const char *alias, const char *modalias)
{
	static const char ours[] = "vfio_pci:", theirs[] = "pci:";
	int wildcards = 0;

	if (strncmp(alias, ours, sizeof(ours) - 1) != 0 ||
		strncmp(modalias, theirs, sizeof(theirs) - 1) != 0 ||
		fnmatch(alias + sizeof(ours) - 1, modalias + sizeof(theirs) - 1, 0) != 0)
		return -1;
	for (const char *s = alias; *s; s++)
		wildcards += *s == '*';
	return wildcards;
}

/* --- looking ---------------------------------------------------------------------------------- */

static void device_dir(struct sysfs_dir *dir, const struct sysroot *root, const char *id)
{
	sysfs_dir_init(dir, root, DEVICES "/%s", id);
}

static void read_driver(const struct sysfs_dir *dir, char driver[static BIND_DRIVER_MAX])
{
	sysfs_read_link_name(dir, "driver", driver, BIND_DRIVER_MAX);
}

static void read_override(const struct sysfs_dir *dir, char override[static BIND_DRIVER_MAX])
{
	sysfs_read_text(dir, "driver_override", override, BIND_DRIVER_MAX);
	if (strcmp(override, "(null)") == 0)
		override[0] = '\0';
}

int bind_look(const struct sysroot *root, const char *id, struct bind_state *now, struct err *e)
{
	struct sysfs_dir dir;

	device_dir(&dir, root, id);
	*now = (struct bind_state){0};
	if (!sysfs_exists(&dir, "vendor"))
		return err_set(e, ERR_NOT_FOUND, "DEV-GONE", "%s is gone", id);
	read_driver(&dir, now->driver);
	read_override(&dir, now->override);
	return 0;
}

/* --- the steps -------------------------------------------------------------------------------- */

static int set_override(const struct sysfs_dir *dir, const char *wanted, struct err *e)
{
	char now[BIND_DRIVER_MAX];
	int rc;

	read_override(dir, now);
	if (strcmp(now, wanted) == 0)
		return 0;
	rc = sysfs_write_text(dir, "driver_override", wanted[0] ? wanted : "\n");
	read_override(dir, now);
	if (rc == 0 && strcmp(now, wanted) == 0)
		return 0;
	err_set(e, ERR_FAILED, "BIND-OVERRIDE", "its driver_override cannot be set to '%s'",
		wanted);
	return err_evidence(e, "/%s/driver_override: %s", dir->path,
		rc < 0   ? strerror(-rc)
		: now[0] ? now
			 : "(none)");
}

static int let_go(const struct sysfs_dir *dir, const char *id, const char *wanted, struct err *e)
{
	struct sysfs_dir driver;
	char before[BIND_DRIVER_MAX], now[BIND_DRIVER_MAX];
	int rc;

	read_driver(dir, before);
	if (!before[0] || strcmp(before, wanted) == 0)
		return 0;
	sysfs_dir_init(&driver, dir->root, DRIVERS "/%s", before);
	rc = sysfs_write_text(&driver, "unbind", id);
	read_driver(dir, now);
	if (!now[0] || strcmp(now, wanted) == 0)
		return 0; /* whoever did it */
	err_set(e, ERR_FAILED, "BIND-UNBIND", "the driver %s does not let go of %s", before, id);
	return err_evidence(e, "/%s/unbind: %s; it has driver %s", driver.path,
		rc < 0 ? strerror(-rc) : "written", now);
}

static int need_driver(const struct sysfs_dir *driver, const char *name, struct err *e)
{
	struct err why = ERR_INIT;

	if (sysfs_exists(driver, "bind"))
		return 0;
	if (sysroot_is_live(driver->root))
		kmod_load(name, &why);
	if (sysfs_exists(driver, "bind"))
		return 0;
	err_set(e, ERR_FAILED, "BIND-DRIVER", "there is no driver %s", name);
	err_evidence(e, "/%s is not there%s%s", driver->path, why.msg[0] ? "; " : "", why.msg);
	return err_fix(e, "load the module that has it, or choose another");
}

static int take(const struct sysfs_dir *dir, const char *id, const char *wanted, struct err *e)
{
	struct sysfs_dir driver;
	char now[BIND_DRIVER_MAX];
	int rc;

	read_driver(dir, now);
	if (!wanted[0] || strcmp(now, wanted) == 0)
		return 0;
	sysfs_dir_init(&driver, dir->root, DRIVERS "/%s", wanted);
	if (need_driver(&driver, wanted, e) < 0)
		return -1;
	rc = sysfs_write_text(&driver, "bind", id);
	read_driver(dir, now);
	if (strcmp(now, wanted) == 0)
		return 0;
	err_set(e, ERR_FAILED, "BIND-PROBE", "the driver %s does not take %s", wanted, id);
	return err_evidence(e, "/%s/bind: %s; it has %s%s", driver.path,
		rc < 0 ? strerror(-rc) : "written", now[0] ? "driver " : "no driver", now);
}

/* Without an override; one that its own driver has already stays there. */
static int give_to_kernel(const struct sysfs_dir *dir, const char *id, struct err *e)
{
	char modalias[128];
	struct sysfs_dir bus;
	struct bind_state now;

	if (set_override(dir, "", e) < 0 || bind_look(dir->root, id, &now, e) < 0)
		return -1;
	if (now.driver[0] && !bind_is_vfio(now.driver))
		return 0;
	if (let_go(dir, id, "", e) < 0)
		return -1;
	if (sysroot_is_live(dir->root) &&
		sysfs_read_text(dir, "modalias", modalias, sizeof(modalias)) >= 0)
		kmod_load(modalias, NULL); /* there may be none for it */
	sysfs_dir_init(&bus, dir->root, "sys/bus/pci");
	sysfs_write_text(&bus, "drivers_probe", id); /* fails where no driver wants it */
	return 0;
}

int bind_make(
	const struct sysroot *root, const char *id, const struct bind_state *wanted, struct err *e)
{
	struct bind_state now;
	struct sysfs_dir dir;

	device_dir(&dir, root, id);
	if (bind_look(root, id, &now, e) < 0)
		return -1;
	if (strcmp(wanted->driver, BIND_KERNELS) == 0)
		return give_to_kernel(&dir, id, e);
	if (wanted->driver[0] && strcmp(now.driver, wanted->driver) != 0 &&
		set_override(&dir, wanted->driver, e) < 0)
		return -1;
	if (let_go(&dir, id, wanted->driver, e) < 0 || take(&dir, id, wanted->driver, e) < 0)
		return -1;
	return set_override(&dir, wanted->override, e);
}

/* --- variants --------------------------------------------------------------------------------- */

struct variant {
	const char *modalias;
	char module[BIND_DRIVER_MAX];
	int wildcards; /* -1: none yet */
};

static void judge_alias(void *arg, const char *module, const char *alias)
{
	struct variant *best = arg;
	int wildcards = bind_alias_fits(alias, best->modalias);

	if (wildcards < 0 || (best->wildcards >= 0 && wildcards >= best->wildcards))
		return;
	if (str_copy(best->module, sizeof(best->module), module))
		best->wildcards = wildcards;
}

/* Every variant's driver has its module's name; only the generic one is spelled otherwise. */
static void name_driver(const struct variant *best, char driver[static BIND_DRIVER_MAX])
{
	if (best->wildcards < 0 || strcmp(best->module, GENERIC_MODULE) == 0)
		str_copy(driver, BIND_DRIVER_MAX, GENERIC_DRIVER);
	else
		str_copy(driver, BIND_DRIVER_MAX, best->module);
}

static int choose_vfio(const struct sysroot *root, const char *id,
	char driver[static BIND_DRIVER_MAX], struct err *e)
{
	char modalias[128], alias[160], dir[SYSFS_PATH_MAX];
	struct variant best = {.modalias = modalias, .wildcards = -1};
	struct sysfs_dir device;
	struct utsname kernel;
	int rc;

	device_dir(&device, root, id);
	rc = sysfs_read_text(&device, "modalias", modalias, sizeof(modalias));
	if (rc < 0)
		return err_sys(e, -rc, "read /%s/modalias", device.path);
	uname(&kernel);
	snprintf(dir, sizeof(dir), "%.300s/lib/modules/%s", sysroot_path(root), kernel.release);
	snprintf(alias, sizeof(alias), "vfio_%s", modalias);
	if (kmod_each_alias(dir, alias, judge_alias, &best, e) < 0)
		return -1;
	name_driver(&best, driver);
	return 0;
}

int bind_choose(const struct sysroot *root, const char *id, const char *wanted,
	char driver[static BIND_DRIVER_MAX], struct err *e)
{
	if (strcmp(wanted, BIND_VFIO) == 0)
		return choose_vfio(root, id, driver, e);
	if (!bind_name_is_valid(wanted))
		return err_set(e, ERR_USAGE, "NAME", "%.64s is no name of a driver", wanted);
	str_copy(driver, BIND_DRIVER_MAX, wanted);
	return 0;
}
