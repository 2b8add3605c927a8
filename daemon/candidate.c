/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/candidate.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/file_look.h"
#include "daemon/host_use.h"
#include "daemon/inventory.h"
#include "lib/cleanup.h"

struct candidate {
	struct daemon *d;
	char *name; /* as it was given */
	struct recover_wish wish;
	candidate_done_fn *done;
	void *arg;
};

static void candidate_end(struct candidate *c, const struct err *e)
{
	c->done(c->arg, e ? NULL : &c->wish, e);
	free(c->name);
	free(c);
}

static void candidate_opened(
	void *arg, const struct backing_facts *facts, int fd, const struct err *e)
{
	struct candidate *c = arg;

	if (!e) {
		c->wish.facts = *facts;
		c->wish.fd = fd;
	}
	candidate_end(c, e);
}

/* The one before gets the turn after all others, if this one was a spare. */
static void take_turn(struct attachment_rescue *r, const char *device, const char *before)
{
	unsigned int i = 0;

	while (i < r->spare_count && strcmp(r->spares[i], device) != 0)
		i++;
	if (i == r->spare_count)
		return;
	memmove(r->spares[i], r->spares[i + 1], (r->spare_count - i - 1) * sizeof(r->spares[0]));
	str_copy(r->spares[r->spare_count - 1], PATH_MAX, before);
}

/*
 * Its own device may have come back under another name, and another have its name now: the kernel
 * gives them out as disks come. Then it is the one that says that it is the same volume.
 */
static const struct device *find(struct candidate *c, struct err *e)
{
	const struct attachment_spec *spec = &c->wish.spec;
	const struct device *device = inventory_resolve(c->d->inventory, c->name, e), *same;

	if (strcmp(c->name, spec->device) != 0 ||
		(device && strcmp(device->fingerprint, spec->fingerprint) == 0))
		return device;
	same = inventory_find_volume(c->d->inventory, spec->fingerprint);
	return same ? same : device;
}

/* The device, as the attachment will have it. */
static int choose(struct candidate *c, struct err *e)
{
	const struct device *device = find(c, e);
	struct attachment_spec *spec = &c->wish.spec;
	const struct host_use_own own = {.attachment = spec->id[0] ? spec->id : NULL};
	char before[PATH_MAX];

	if (!device)
		return -1;
	device_node_path(device, spec->node, sizeof(spec->node));
	str_copy(before, sizeof(before), spec->device);
	if (!spec->node[0] || !str_copy(spec->device, sizeof(spec->device), device->id))
		return err_set(e, ERR_REFUSED, "PATH", "%s has no node to open", device->id);
	str_copy(spec->fingerprint, sizeof(spec->fingerprint), device->fingerprint);
	c->wish.class = device->class;
	c->wish.is_identified = device->class == DEVICE_BLOCK && device->block.is_identified;
	if (strcmp(spec->device, before) == 0)
		return 0;
	take_turn(&spec->rescue, spec->device, before);
	return host_use_check_own(c->d->inventory, device, &own, e); /* looks at all of it anew */
}

static void candidate_find(struct candidate *c)
{
	const struct attachment_spec *spec = &c->wish.spec;
	struct err e = ERR_INIT;

	if (choose(c, &e) < 0 ||
		backing_open(c->d->hands, spec->node, spec->readonly, candidate_opened, c, &e) < 0)
		candidate_end(c, &e);
}

/* A hand has looked where the path leads. */
static void candidate_led(void *arg, const struct inventory_look *look, const struct err *e)
{
	struct candidate *c = arg;
	struct inventory *inv = c->d->inventory; /* which outlives the candidate */

	if (e) {
		candidate_end(c, e);
		return;
	}
	inventory_set_look(inv, c->name, look);
	candidate_find(c);
	inventory_set_look(inv, NULL, NULL);
}

int candidate_begin(struct daemon *d, const struct attachment_spec *spec, const char *name,
	candidate_done_fn *done, void *arg, struct err *e)
{
	struct candidate *c = calloc(1, sizeof(*c));
	struct err own = ERR_INIT;

	if (c)
		c->name = strdup(name);
	if (!c || !c->name) {
		free(c);
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to look at %.200s", name);
	}
	c->d = d;
	c->wish = (struct recover_wish){.spec = *spec, .fd = -1};
	c->done = done;
	c->arg = arg;
	if (!inventory_wants_look(name))
		candidate_find(c);
	else if (file_look_begin(d->hands, name, candidate_led, c, &own) < 0)
		candidate_end(c, &own);
	return 0;
}
