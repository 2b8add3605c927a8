/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/lease_reserve.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/attach.h"
#include "daemon/baton.h"
#include "daemon/daemon.h"
#include "daemon/lease.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/nbd_uri.h"

struct reserving {
	struct daemon *d;
	const struct domain *domain;
	const struct domain_description *each;
	size_t count, next;
	char vm[REGISTRY_NAME_MAX];
	lease_reserve_fn *done;
	void *arg;
	struct err why; /* of an undo */
};

static void reserving_end(struct reserving *x, const struct err *e)
{
	x->done(x->arg, e);
	free(x);
}

/* --- back ------------------------------------------------------------------------------------- */

static void undo_step(struct reserving *x);

static void undone(void *arg, struct attachment *a, const struct err *e)
{
	if (e)
		log_error("%s: is not taken away: %s", a->spec.id, e->msg);
	undo_step(arg);
}

/* What was made is marked in the store: whatever is left after a crash goes then. */
static void undo_step(struct reserving *x)
{
	const struct attach_caller caller = {.done = undone, .arg = x};

	while (x->next > 0) {
		const char *name = x->each[--x->next].name;
		struct attachment *a = registry_by_name(x->d->registry, x->vm, name);
		struct err e = ERR_INIT;

		if (!a || !a->restoring)
			continue;
		if (detach_start(x->d, a, &caller, &e) == 0)
			return;
		log_error("%s: is not taken away: %s", a->spec.id, e.msg);
	}
	reserving_end(x, &x->why);
}

static void reserving_fail(struct reserving *x, const struct err *e)
{
	x->why = *e;
	undo_step(x);
}

/* --- there ------------------------------------------------------------------------------------ */

static void reserve_next(struct reserving *x);

static void attached(void *arg, const struct err *e)
{
	struct reserving *x = arg;

	if (e) {
		reserving_fail(x, e);
		return;
	}
	x->next++;
	reserve_next(x);
}

static void attach_one(struct reserving *x, int lease_fd)
{
	const struct attach_coming coming = {.lease_fd = lease_fd};
	struct err e = ERR_INIT;

	if (attach_described(x->d, x->domain, &x->each[x->next], &coming, attached, x, &e) < 0)
		reserving_fail(x, &e);
}

static int check_cache(
	const struct domain_description *one, const struct lease_seen *seen, struct err *e)
{
	bool none = !one->cache[0] || strcmp(one->cache, "none") == 0;

	if (none && seen->is_direct)
		return 0;
	err_set(e, ERR_REFUSED, "MIG-CACHE", "%s goes through the host's page cache", one->name);
	err_evidence(e, "cache %s, direct I/O is %s", none ? "none" : one->cache,
		seen->is_direct ? "possible" : "not possible");
	return err_fix(e, "attach it with --cache none, on storage that can do direct I/O");
}

static void claimed(void *arg, const struct lease_seen *seen, int fd, const struct err *e)
{
	struct reserving *x = arg;
	struct err own = ERR_INIT;

	if (!e && check_cache(&x->each[x->next], seen, &own) < 0)
		e = &own;
	if (!e) {
		attach_one(x, fd);
		return;
	}
	close_fd(&fd);
	reserving_fail(x, e);
}

/* What cannot write needs no lease: two hosts may read it. */
static int reserve_one(struct reserving *x, struct err *e)
{
	const struct domain_description *one = &x->each[x->next];

	if (one->path[0] && strcmp(one->path, attachment_path_names[ATTACHMENT_PARAVIRT]) != 0)
		return err_set(e, ERR_REFUSED, "LEASE-NONE",
			"%s, by the path %s, can hold no lease", one->name, one->path);
	if (one->readonly) {
		attach_one(x, -1);
		return 0;
	}
	return lease_claim(x->d, one->device, x->domain->uuid, claimed, x, e);
}

static void reserve_next(struct reserving *x)
{
	struct err e = ERR_INIT;
	int rc = 0;

	if (x->next < x->count)
		rc = reserve_one(x, &e);
	else if (baton_reserve_lease(x->d, x->vm, &e) == 0)
		reserving_end(x, NULL);
	else
		rc = -1;
	if (rc < 0)
		reserving_fail(x, &e);
}

int lease_reserve(struct daemon *d, const struct domain *domain,
	const struct domain_description *each, size_t count, lease_reserve_fn *done, void *arg,
	struct err *e)
{
	struct reserving *x = calloc(1, sizeof(*x));

	if (!x)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to take a domain");
	*x = (struct reserving){
		.d = d, .domain = domain, .each = each, .count = count, .done = done, .arg = arg};
	domain_vm(domain, x->vm);
	if (registry_has_vm(d->registry, x->vm)) {
		free(x);
		err_set(e, ERR_REFUSED, "MIG-UNDER-WAY", "it has attachments here already");
		return -1;
	}
	reserve_next(x);
	return 0;
}
