/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which device a name means, and by which path it goes: for attach, and for explain. */
#include <stdio.h>
#include <string.h>

#include "daemon/attach.h"
#include "daemon/daemon.h"
#include "daemon/inventory.h"
#include "daemon/vf_pool.h"

static const struct {
	const char *code;
	enum attach_allow what;
} allows[] = {
	{"GRP-SPLIT", ATTACH_ALLOW_GROUP},
	{"DEV-NO-RESET", ATTACH_ALLOW_NO_RESET},
	{"DEV-UNKNOWN", ATTACH_ALLOW_UNKNOWN},
	{"HOST-CONSOLE", ATTACH_ALLOW_CONSOLE},
};

unsigned int attach_allow_of(const char *code, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(allows); i++)
		if (strlen(allows[i].code) == len && memcmp(allows[i].code, code, len) == 0)
			return allows[i].what;
	return 0;
}

/* Why auto takes a path, where it is for the device. */
static const char *const reasons[ATTACHMENT_PATHS] = {
	[ATTACHMENT_PARAVIRT] =
		"disks and networks go that way: the machine survives the loss of all but the "
		"device itself, and can move",
	[ATTACHMENT_PASSTHROUGH] =
		"PCI functions go that way: the machine has the device itself, as "
		"fast as it is",
};

static int refuse_path(const char *wanted, const struct device *device, struct err *e)
{
	char there[sizeof(e->evidence)] = "";

	for (unsigned int i = 0; i < ATTACHMENT_PATHS; i++) {
		size_t len = strlen(there);

		snprintf(there + len, sizeof(there) - len, "%s%s is for %s", i ? "; " : "",
			attachment_path_names[i], attach_paths[i]->fits_what);
	}
	if (wanted)
		err_set(e, ERR_REFUSED, "PATH", "there is no path %.64s for %s", wanted,
			device->id);
	else
		err_set(e, ERR_REFUSED, "PATH", "there is no path for %s", device->id);
	return err_evidence(e, "it is a %s device; %s", device_class_names[device->class], there);
}

static int choose_path(const char *wanted, struct attach_choice *c, struct err *e)
{
	for (unsigned int i = 0; i < ATTACHMENT_PATHS; i++) {
		if ((wanted && strcmp(wanted, attachment_path_names[i]) != 0) ||
			(!wanted && attach_paths[i]->only_asked) ||
			!attach_paths[i]->fits(c->device))
			continue;
		c->path = (enum attachment_path)i;
		c->reason = wanted ? "it was asked for" : reasons[i];
		return 0;
	}
	return refuse_path(wanted, c->device, e);
}

/* A port of a bridge: the bridge has the network. */
static void go_above(struct daemon *d, struct attach_choice *c)
{
	const struct device *above =
		inventory_find(d->inventory, DEVICE_NET, c->device->net.master);

	c->is_below = above;
	c->device = above ?: c->device;
}

/*
 * What is meant by the name: for a port of a bridge that is asked for by the path paravirt, the bridge;
 * for another interface, and for a disk that is to be passed through, the PCI
 * function below it.
 */
static void go_below(struct daemon *d, const char *path, struct attach_choice *c)
{
	const struct device *device = c->device, *below;
	bool passes = path && strcmp(path, attachment_path_names[ATTACHMENT_PASSTHROUGH]) == 0;

	if (path && device->class == DEVICE_NET && device->net.master[0] &&
		strcmp(path, attachment_path_names[ATTACHMENT_PARAVIRT]) == 0) {
		go_above(d, c);
		return;
	}
	if (device->class == DEVICE_PCI || !device->parent[0] ||
		!(passes || (device->class == DEVICE_NET && !path)))
		return;
	below = inventory_find(d->inventory, DEVICE_PCI, device->parent);
	c->is_below = below;
	c->device = below ?: device;
}

int attach_choose(struct daemon *d, const char *name, const char *path, struct attach_choice *c,
	struct err *e)
{
	const char *wanted = path && strcmp(path, "auto") != 0 ? path : NULL;

	*c = (struct attach_choice){.device = vf_pool_is(name)
						      ? vf_pool_choose(d, name, e)
						      : inventory_resolve(d->inventory, name, e)};
	if (!c->device)
		return -1;
	go_below(d, wanted, c);
	return choose_path(wanted, c, e);
}
