/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain is to arrive by the leases on its volumes (daemon/baton_lease.c): what it has is made here. */
#pragma once

#include "daemon/domain_xml.h"
#include "daemon/domains.h"

typedef void lease_reserve_fn(void *arg, const struct err *e);

/*
 * Makes what `each` describes, one after the other: claims the volume first, then attaches it with its
 * gate shut. Each of them, or none; done() hears which, later. `each` is the caller's, and stays
 * until then. -1: done() is not called.
 */
int lease_reserve(struct daemon *d, const struct domain *domain,
	const struct domain_description *each, size_t count, lease_reserve_fn *done, void *arg,
	struct err *e);
