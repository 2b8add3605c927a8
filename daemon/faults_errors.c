/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Error reporting of PCI Express (AER). The kernel's log says that there was an error, the function's
 * counters say which, by name, and how many: they are read a moment after a line about them, and of
 * attached functions now and then, since not every error makes a line. What they had before the
 * daemon began is nobody's news. The kernel's recovery from an error (a uevent) is the same hint where the log
 * cannot be read. VFIO's own signal of an error is an eventfd, which is the VMM's: it has the device, and a
 * second holder of its descriptor would outlive it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/faults_priv.h"
#include "daemon/inventory.h"

#define HINT_MS 50    /* from the line to the counters */
#define LOOK_MS 10000 /* between two looks at all that are attached */

static struct fault_counters *counters_find(const struct faults *f, const char *id)
{
	list_for_each (node, &f->counters) {
		struct fault_counters *c = list_entry(node, struct fault_counters, node);

		if (strcmp(c->id, id) == 0)
			return c;
	}
	return NULL;
}

static struct fault_counters *counters_add(struct faults *f, const char *id)
{
	struct fault_counters *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	str_copy(c->id, sizeof(c->id), id);
	list_append(&f->counters, &c->node);
	return c;
}

/* `name` as the kernel's counter is called; NULL: nobody knows. */
static void add_error(struct faults *f, const char *id, enum aer_severity severity,
	const char *name, uint64_t more)
{
	struct fault_entry like = {.source = "aer", .count = more, .stream = -1, .pasid = -1};
	const struct attachment *a = faults_attachment(f, id);

	like.time_ms = like.latest_ms = utc_now_ms();
	str_copy(like.code, sizeof(like.code), fault_kind_codes[FAULT_ERROR]);
	str_copy(like.device, sizeof(like.device), id);
	if (a)
		faults_name(&like, a);
	if (name)
		snprintf(like.reason, sizeof(like.reason), "%s %s: %s",
			aer_severity_names[severity], name, aer_words(name));
	else
		str_copy(like.reason, sizeof(like.reason), AER_NAMELESS);
	faults_add(f, &like);
	if (severity != AER_CORRECTABLE) {
		faults_report(f, id, FAULTS_ERROR, more);
		faults_dead_look(f, id);
	}
}

static void look_at_severity(struct faults *f, const char *id, enum aer_severity severity,
	const struct aer_counters *before, const struct aer_counters *now)
{
	uint64_t nameless = aer_nameless(before, now);

	for (size_t i = 0; i < now->count; i++) {
		uint64_t more = aer_more(before, &now->at[i]);

		if (more)
			add_error(f, id, severity, now->at[i].name, more);
	}
	if (nameless && severity == AER_FATAL)
		add_error(f, id, severity, NULL, nameless);
}

static void look_at(struct faults *f, const char *id)
{
	struct fault_counters *c = counters_find(f, id);
	struct aer_facts now;

	if (!aer_read(inventory_sysroot(f->d->inventory), id, &now))
		return;
	c = c ?: counters_add(f, id);
	if (!c)
		return;
	for (unsigned int s = 0; s < AER_SEVERITIES; s++)
		look_at_severity(f, id, (enum aer_severity)s, &c->facts.of[s], &now.of[s]);
	c->facts = now;
}

static void look_at_attached(struct faults *f)
{
	list_for_each (node, registry_list(f->d->registry)) {
		const struct attachment *a = list_entry(node, struct attachment, node);
		const struct attachment_passthrough *p = &a->spec.passthrough;

		if (a->spec.path != ATTACHMENT_PASSTHROUGH)
			continue;
		look_at(f, a->spec.device);
		for (unsigned int i = 0; i < p->companion_count; i++)
			look_at(f, p->companions[i]);
	}
}

static void look(void *arg, unsigned int events)
{
	struct faults *f = arg;

	(void)events;
	for (unsigned int i = 0; i < f->hint_count; i++)
		look_at(f, f->hints[i]);
	f->hint_count = 0;
	look_at_attached(f);
	f->d->loop->ops->set_timer(f->errors, LOOK_MS);
}

void faults_errors_hint(struct faults *f, const char *id)
{
	for (unsigned int i = 0; i < f->hint_count; i++)
		if (strcmp(f->hints[i], id) == 0)
			return;
	if (!id[0] || f->hint_count == FAULTS_HINTS_MAX)
		return;
	str_copy(f->hints[f->hint_count++], PCI_ADDR_MAX, id);
	f->d->loop->ops->set_timer(f->errors, HINT_MS);
}

static void begin_one(void *arg, const struct device *d)
{
	struct faults *f = arg;
	struct aer_facts now;
	struct fault_counters *c;

	if (!aer_read(inventory_sysroot(f->d->inventory), d->id, &now))
		return;
	c = counters_add(f, d->id);
	if (c)
		c->facts = now;
}

int faults_errors_new(struct faults *f, struct err *e)
{
	f->errors = f->d->loop->ops->add_timer(f->d->loop, LOOK_MS, look, f, e);
	return f->errors ? 0 : -1;
}

void faults_errors_begin(struct faults *f)
{
	inventory_each(f->d->inventory, DEVICE_PCI, begin_one, f);
}

void faults_errors_forget(struct faults *f, const char *id)
{
	struct fault_counters *c = counters_find(f, id);

	if (!c)
		return;
	list_remove(&c->node);
	free(c);
}

void faults_errors_free(struct faults *f)
{
	list_for_each_safe (node, &f->counters) {
		struct fault_counters *c = list_entry(node, struct fault_counters, node);

		list_remove(&c->node);
		free(c);
	}
	f->d->loop->ops->remove(f->errors);
}
