/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that are carried: the proof that nobody does them. */
#include <stdlib.h>

#include "daemon/carry.h"
#include "daemon/daemon.h"
#include "daemon/fence.h"
#include "daemon/supervisor.h"
#include "lib/nbd_uri.h"

/* What has failed has been given up by the kernel, and by nobody else. */
static bool failed_may_be_done(const struct attachment *a)
{
	return nbd_uri_is(a->spec.node) || a->spec.cache != ATTACHMENT_CACHE_NONE ||
	       !a->disk.is_direct;
}

bool carry_lacks_proof(const struct attachment *a, const struct session_status *status)
{
	if (!(a->gate & SESSION_GATE_CARRY))
		return false;
	if (!a->spec.rescue.fence[0])
		return status->hold && failed_may_be_done(a);
	return a->fencing != FENCING_DONE && (status->hold || a->fencing);
}

/* It may outlive whoever wanted it. */
struct path_end {
	struct daemon *d;
	char id[KEEPER_ID_SIZE];
	carry_ended_fn *ended;
	void *arg;
};

static void path_ended(void *arg, const struct err *e)
{
	struct path_end p = *(struct path_end *)arg;
	struct attachment *a = registry_by_id(p.d->registry, p.id);

	free(arg);
	if (!a || a->fencing != FENCING_RUNS)
		return;
	a->fencing = e ? FENCING_FAILED : FENCING_DONE;
	p.ended(p.arg, a, e);
}

int carry_end_path(
	struct daemon *d, struct attachment *a, carry_ended_fn *ended, void *arg, struct err *e)
{
	struct path_end *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to end a path");
	*p = (struct path_end){.d = d, .ended = ended, .arg = arg};
	str_copy(p->id, sizeof(p->id), a->spec.id);
	a->fencing = FENCING_RUNS;
	supervisor_set_gate(d->supervisor, a, a->gate | SESSION_GATE_FENCE);
	if (fence_begin(d, &a->spec, path_ended, p, e) == 0)
		return 0;
	a->fencing = FENCING_FAILED;
	free(p);
	return -1;
}
