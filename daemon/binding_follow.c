/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. A device that is plugged in comes as the kernel makes it: without override,
 * and with the host's driver as soon as that has probed it. If a driver is kept for it, it gets that
 * one, by a job that locks the device as any other does.
 *
 * That it was plugged in is seen by its folder in /sys, which has another inode then: a device that
 * went and came between two looks is news of a change only. And so one that merely lost its driver,
 * by an administrator's hand, stays as he wants it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/binding_internal.h"
#include "daemon/binding_keep.h"
#include "daemon/daemon.h"
#include "daemon/inventory.h"
#include "daemon/jobs.h"
#include "lib/list.h"
#include "lib/log.h"
#include "lib/pci.h"

/* A device that a driver is, or was, kept for. */
struct followed {
	struct list_node node;
	struct daemon *d;
	char id[BINDING_ID_MAX];
	ino_t inode;         /* of its folder when it was looked at; 0: it was not there */
	struct watch *begin; /* timer: it is to be looked at */
	struct job *job;     /* that gives it its driver */
};

static struct list_node all = {&all, &all};

static void followed_free(struct followed *f)
{
	f->d->loop->ops->remove(f->begin);
	list_remove(&f->node);
	free(f);
}

static struct followed *followed_find(const char *id)
{
	list_for_each (node, &all) {
		struct followed *f = list_entry(node, struct followed, node);

		if (strcmp(f->id, id) == 0)
			return f;
	}
	return NULL;
}

static ino_t folder_inode(const struct followed *f)
{
	const char *root = sysroot_path(inventory_sysroot(f->d->inventory));
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%.4000s/sys/bus/pci/devices/%s", root, f->id);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

static void applied(void *arg, const struct err *e)
{
	struct followed *f = arg;

	if (e)
		job_fail(f->job, e);
	else
		job_done(f->job, "{}", 2);
	f->job = NULL;
}

static void apply(struct followed *f, const char *driver)
{
	char object[BINDING_ID_MAX + 8];
	const struct job_spec job = {.verb = "bind", .objects = {object}};
	struct err e = ERR_INIT;

	snprintf(object, sizeof(object), "device:%s", f->id);
	f->job = job_start(f->d->jobs, NULL, &job, &e);
	if (!f->job) {
		f->inode = 0; /* somebody is at it, which will be news */
		log_warning("%s: does not get its driver %s yet: %s", f->id, driver, e.msg);
		return;
	}
	log_info("%s: was plugged in, and gets its driver %s", f->id, driver);
	if (binding_apply(f->d, f->id, applied, f, &e) < 0)
		applied(f, &e);
}

static void look(void *arg, unsigned int events)
{
	struct followed *f = arg;
	const struct device *device = inventory_find(f->d->inventory, DEVICE_PCI, f->id);
	struct binding_row row;
	ino_t inode;

	(void)events;
	if (!device || f->job || !binding_find(f->d, f->id, BINDING_KEPT, &row))
		return;
	inode = folder_inode(f);
	if (inode == f->inode)
		return;
	f->inode = inode;
	if (strcmp(device->driver, row.driver) != 0)
		apply(f, row.driver);
}

static struct followed *followed_new(struct daemon *d, const char *id)
{
	struct followed *f = calloc(1, sizeof(*f));
	struct err e = ERR_INIT;

	if (!f)
		return NULL;
	f->d = d;
	str_copy(f->id, sizeof(f->id), id);
	list_append(&all, &f->node);
	f->begin = d->loop->ops->add_timer(d->loop, 0, look, f, &e);
	if (f->begin)
		return f;
	log_error("%s: %s", id, e.msg);
	followed_free(f);
	return NULL;
}

void binding_news(struct daemon *d, const char *id)
{
	struct followed *f = followed_find(id);
	struct pci_addr addr;

	if (!d->jobs)
		return; /* --apply-bindings sees what it does itself */
	if (!f && pci_addr_parse(id, &addr) && binding_find(d, id, BINDING_KEPT, NULL))
		f = followed_new(d, id);
	if (f)
		d->loop->ops->set_timer(f->begin, 0); /* when the inventory is at rest */
}

void binding_follow(struct daemon *d)
{
	struct binding_rows rows;
	struct err e = ERR_INIT;

	if (binding_load(d->store, BINDING_KEPT, &rows, &e) < 0) {
		log_error("kept bindings: %s", e.msg);
		return;
	}
	for (size_t i = 0; i < rows.count; i++) {
		struct followed *f = followed_new(d, rows.rows[i].device);

		if (f)
			f->inode = folder_inode(f);
	}
	free(rows.rows);
}

void binding_follow_end(void)
{
	list_for_each_safe (node, &all)
		followed_free(list_entry(node, struct followed, node));
}
