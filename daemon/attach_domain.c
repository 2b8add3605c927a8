/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is special about attachments of libvirt's domains.
 *
 * They live as long as libvirt has the domain: undefined, or ended and never defined, it leaves its
 * devices to the host. One that a VMM is still connected to is left alone, whatever libvirt says.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/attach_op.h"
#include "daemon/domains.h"
#include "lib/log.h"

/* --- domains that are gone -------------------------------------------------------------------- */

static void gone_detached(void *arg, struct attachment *a, const struct err *e)
{
	(void)arg;
	if (e)
		log_error("%s: its domain is gone, and it cannot be taken back: %s", a->spec.id,
			e->msg);
}

static void take_back(struct daemon *d, struct attachment *a)
{
	static const struct attach_caller caller = {.done = gone_detached};
	struct err e = ERR_INIT;

	if (a->kept != KEPT_ATTACHED || (a->busy && !a->renewal) || a->gating)
		return;
	registry_look(d->registry, a);
	if (a->connected || a->vmm_pid) {
		log_warning("%s: libvirt has no domain %s, but its VM runs", a->spec.id,
			a->spec.domain);
		return;
	}
	log_info("%s: domain %s is gone: taken back", a->spec.id, a->spec.vm);
	if (detach_start(d, a, &caller, &e) < 0)
		gone_detached(NULL, a, &e);
}

void attach_domain_gone(struct daemon *d, const char *uuid)
{
	list_for_each_safe (node, registry_list(d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (strcmp(a->spec.domain, uuid) == 0)
			take_back(d, a);
	}
}

void attach_domains_listed(struct daemon *d)
{
	list_for_each_safe (node, registry_list(d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (a->spec.domain[0] && !domains_find(d->domains, a->spec.domain))
			take_back(d, a);
	}
}
