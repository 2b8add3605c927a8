/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who else is told of faults: one listener, which hears of those of attachments. */
#include <stdio.h>
#include <string.h>

#include "daemon/faults_priv.h"
#include "lib/log.h"

const char *const faults_what_names[] = {
	[FAULTS_DMA] = "stopped accesses",
	[FAULTS_ERROR] = "an error that was not corrected",
	[FAULTS_REQUEST] = "the host wants it back",
	[FAULTS_LINK] = "its link is down",
	[FAULTS_DEAD] = "it does not answer",
	[FAULTS_GONE] = "it is gone",
	[FAULTS_BACK] = "it is back",
};
static_assert(ARRAY_SIZE(faults_what_names) == FAULTS_WHATS, "a name for each");

void faults_set_listener(struct faults *f, faults_listener_fn *fn, void *arg)
{
	f->listener = fn;
	f->listener_arg = arg;
}

void faults_report_of(struct faults *f, struct attachment *a, enum faults_what what, uint64_t count)
{
	if (f->listener)
		f->listener(f->listener_arg, a, what, count);
}

void faults_report(struct faults *f, const char *id, enum faults_what what, uint64_t count)
{
	if (!id[0] || !f->listener)
		return;
	list_for_each (node, registry_list(f->d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (faults_concerns(f, a, id))
			faults_report_of(f, a, what, count);
	}
}

void faults_news(struct faults *f, const char *event, const char *id)
{
	if (!f)
		return;
	f->map_is_old = true;
	if (strcmp(event, "removed") == 0) {
		faults_errors_forget(f, id);
		faults_report(f, id, FAULTS_GONE, 1);
	} else if (strcmp(event, "added") == 0) {
		faults_report(f, id, FAULTS_BACK, 1);
	}
}

/* It could not be recovered: an entry for each that has to do without. */
static void tell_lost(struct faults *f, struct attachment *a)
{
	struct fault_entry like = {.source = "aer",
		.code = "FAULT-DEAD",
		.reason = "the kernel could not recover it from an error of PCI Express",
		.count = 1,
		.stream = -1,
		.pasid = -1};

	like.time_ms = like.latest_ms = utc_now_ms();
	str_copy(like.device, sizeof(like.device), a->spec.device);
	faults_name(&like, a);
	faults_add(f, &like);
}

void faults_recovery(struct faults *f, const char *id, const char *what)
{
	if (!f)
		return;
	log_debug("faults", "%s: %s", id, what);
	faults_errors_hint(f, id);
	if (strcmp(what, "FAILED_RECOVERY") != 0)
		return;
	list_for_each (node, registry_list(f->d->registry)) {
		struct attachment *a = list_entry(node, struct attachment, node);

		if (!faults_concerns(f, a, id))
			continue;
		tell_lost(f, a);
		faults_report_of(f, a, FAULTS_DEAD, 1);
	}
}
