/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VFs do not survive a start of the host: those that iovd made are made again, with their settings,
 * each PF by a job. A PF may have no driver yet when the daemon starts, so what cannot be done is
 * tried again when something about the PF changes. A PF that has VFs by then, or that is another
 * device, is left alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/inventory.h"
#include "daemon/jobs.h"
#include "daemon/vf.h"
#include "lib/list.h"
#include "lib/log.h"

/* A PF whose VFs are not there yet. */
struct vf_wish {
	struct list_node node;
	struct daemon *d;
	struct vf_row row;
	struct job *job;     /* NULL: it waits for news */
	struct watch *retry; /* timer: it is to be tried */
	bool news;           /* something changed while the job ran */
};

static struct list_node wishes = {&wishes, &wishes};

static void wish_free(struct vf_wish *w)
{
	w->d->loop->ops->remove(w->retry);
	list_remove(&w->node);
	free(w);
}

/* The job has failed; with news it is tried again, else it waits for some. */
static void wish_fail(struct vf_wish *w, const struct err *e)
{
	log_warning("%s: its %u virtual functions are not made again yet: %s", w->row.pf,
		w->row.count, e->msg);
	job_fail(w->job, e);
	w->job = NULL;
	if (e->kind == ERR_PARTLY_DONE)
		wish_free(w); /* its stages go on by themselves */
	else if (w->news)
		w->d->loop->ops->set_timer(w->retry, 0);
}

static void wish_end(struct vf_wish *w, const char *what)
{
	log_info("%s: %s", w->row.pf, what);
	job_done(w->job, "{}", 2);
	wish_free(w);
}

static void wish_made(void *arg, const struct err *e)
{
	if (e)
		wish_fail(arg, e);
	else
		wish_end(arg, "its virtual functions are made again");
}

static void wish_step(void *arg, const char *stage, unsigned int percent)
{
	struct vf_wish *w = arg;

	job_progress(w->job, percent, "%s", stage);
}

static void wish_looked(void *arg, const struct sriov_facts *now, const struct err *e)
{
	struct vf_wish *w = arg;
	const struct vf_caller caller = {.done = wish_made, .progress = wish_step, .arg = w};
	struct err own = ERR_INIT;

	if (e)
		wish_fail(w, e);
	else if (now->count)
		wish_end(w, "it has virtual functions by now: left alone");
	else if (vf_change_again(w->d, &w->row, now, &caller, &own) < 0)
		wish_fail(w, &own);
}

/* Whether the PF of this wish is there, with a driver. */
static bool wish_is_due(const struct vf_wish *w)
{
	const struct device *pf = inventory_find(w->d->inventory, DEVICE_PCI, w->row.pf);

	if (pf && strcmp(pf->fingerprint, w->row.fingerprint) != 0)
		log_warning("%s is another device now: its virtual functions are not made again",
			w->row.pf);
	else if (pf && pf->driver[0])
		return true;
	else
		log_info("%s: its virtual functions wait for it and its driver", w->row.pf);
	return false;
}

static void wish_try(void *arg, unsigned int events)
{
	struct vf_wish *w = arg;
	char object[PCI_ADDR_MAX + 8];
	const struct job_spec job = {.verb = "vf create", .objects = {object}};
	struct err e = ERR_INIT;

	(void)events;
	if (w->job || !wish_is_due(w))
		return;
	snprintf(object, sizeof(object), "device:%s", w->row.pf);
	w->news = false;
	w->job = job_start(w->d->jobs, NULL, &job, &e);
	if (!w->job)
		log_warning("%s", e.msg); /* somebody is at it, which will be news */
	else if (vf_look(w->d, w->row.pf, wish_looked, w, &e) < 0)
		wish_fail(w, &e);
}

struct begin {
	struct daemon *d;
	char boot[40];
};

static void begin_row(void *arg, const struct vf_row *row)
{
	const struct begin *begin = arg;
	struct watch_loop *loop = begin->d->loop;
	struct err e = ERR_INIT;
	struct vf_wish *w;

	if (row->kept != VF_MADE || strcmp(row->boot, begin->boot) == 0)
		return;
	w = calloc(1, sizeof(*w));
	if (!w)
		return;
	w->d = begin->d;
	w->row = *row;
	list_append(&wishes, &w->node);
	w->retry = loop->ops->add_timer(loop, 0, wish_try, w, &e);
	if (!w->retry) {
		log_error("%s: %s", row->pf, e.msg);
		wish_free(w);
	}
}

void vf_begin(struct daemon *d)
{
	struct begin begin = {.d = d};
	struct err e = ERR_INIT;

	sriov_boot(inventory_sysroot(d->inventory), begin.boot);
	if (vf_row_each(d->store, begin_row, &begin, &e) < 0)
		log_error("virtual functions: %s", e.msg);
}

/* Told from within the inventory: looking there is for later. */
void vf_news(struct daemon *d, const char *id)
{
	list_for_each (node, &wishes) {
		struct vf_wish *w = list_entry(node, struct vf_wish, node);

		if (strcmp(w->row.pf, id) != 0)
			continue;
		w->news = true;
		if (!w->job)
			d->loop->ops->set_timer(w->retry, 0);
	}
}

void vf_end(void)
{
	list_for_each_safe (node, &wishes)
		wish_free(list_entry(node, struct vf_wish, node));
}
