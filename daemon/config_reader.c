/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. One hand at a time reads a batch. If it does not come back in time, the
 * functions of its batch are asked for one by one, so that only the one that hangs stays unread: its
 * own hand is left behind, and it counts as one that cannot be seen. A hand's object is of its own
 * name ("configuration space of ..."): that a device cannot be read just now, since it is in the
 * middle of a long reset, must not make others take it for wedged.
 */
#include "daemon/config_reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/daemon.h"
#include "daemon/hands.h"
#include "daemon/inventory.h"
#include "lib/iommu/pci_path.h"
#include "lib/log.h"

/* Reading takes a millisecond each, waking a device some hundred: these are for what hangs. */
const struct config_reader_limits config_reader_default_limits = {
	.batch_ms = 20000, .single_ms = 5000, .patience_ms = 10000};

struct config_reader {
	struct daemon *d;
	struct config_reader_limits limits;
	char ids[CONFIG_BATCH][PCI_ADDR_MAX]; /* what is being read */
	unsigned int count;                   /* 0: nothing */
	unsigned int single; /* which of them, when they are asked for one by one */
	bool is_singly, is_begun;
	struct watch *patience;
	void (*done)(void *arg);
	void *arg;
};

struct config_reader *config_reader_new(
	struct daemon *d, const struct config_reader_limits *limits, struct err *e)
{
	struct config_reader *r = calloc(1, sizeof(*r));

	if (r)
		*r = (struct config_reader){.d = d, .limits = *limits};
	else
		err_sys(e, ENOMEM, "read configuration spaces");
	return r;
}

void config_reader_free(struct config_reader *r)
{
	if (r)
		r->d->loop->ops->remove(r->patience);
	free(r);
}

static void tell_done(struct config_reader *r)
{
	void (*done)(void *arg) = r->done;

	r->d->loop->ops->remove(r->patience);
	r->patience = NULL;
	r->done = NULL;
	if (done)
		done(r->arg);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void read_ended(void *arg, const void *result, size_t len, int fd, const struct err *e);

/* Those from `first` on, as many as `count`. */
static int ask(struct config_reader *r, unsigned int first, unsigned int count, uint64_t ms)
{
	const char *root = r->d->conf->sysroot[0] ? r->d->conf->sysroot : "/";
	char list[CONFIG_BATCH * PCI_ADDR_MAX] = "", object[64];
	const char *const words[HAND_WORDS] = {"config", root, list};
	struct err e = ERR_INIT;
	size_t len = 0;

	for (unsigned int i = first; i < first + count; i++)
		len += (size_t)snprintf(
			list + len, sizeof(list) - len, "%s%s", i > first ? "," : "", r->ids[i]);
	snprintf(object, sizeof(object), "configuration space%s of %s", count > 1 ? "s" : "",
		r->ids[first]);
	if (hands_do(r->d->hands, object, words, ms, read_ended, r, &e) == 0)
		return 0;
	log_warning("%s: %s", object, e.msg);
	return -1;
}

/* Keeps the next ones that the inventory lacks. */
static unsigned int take_batch(struct config_reader *r)
{
	const char *ids[CONFIG_BATCH];
	size_t count = inventory_unread_configs(r->d->inventory, ids, CONFIG_BATCH);

	for (size_t i = 0; i < count; i++)
		str_copy(r->ids[i], sizeof(r->ids[i]), ids[i]);
	return (unsigned int)count;
}

static void give_up(struct config_reader *r, unsigned int first, unsigned int count)
{
	for (unsigned int i = first; i < first + count; i++)
		inventory_put_config(r->d->inventory, r->ids[i], NULL);
}

/* The next of a batch that is read one by one, or the next batch. */
static void go_on(struct config_reader *r)
{
	while (r->is_singly && r->single < r->count) {
		if (ask(r, r->single, 1, r->limits.single_ms) == 0)
			return;
		give_up(r, r->single++, 1);
	}
	r->is_singly = false;
	while ((r->count = take_batch(r)) > 0) {
		if (ask(r, 0, r->count, r->limits.batch_ms) == 0)
			return;
		give_up(r, 0, r->count);
	}
	tell_done(r);
}

static void read_ended(void *arg, const void *result, size_t len, int fd, const struct err *e)
{
	struct config_reader *r = arg;
	unsigned int first = r->is_singly ? r->single : 0;
	unsigned int count = r->is_singly ? 1 : r->count;
	struct config_batch batch;

	close_fd(&fd);
	if (!e && len >= sizeof(batch)) {
		memcpy(&batch, result, sizeof(batch));
		for (unsigned int i = 0; i < count; i++)
			inventory_put_config(r->d->inventory, r->ids[first + i], &batch.configs[i]);
	} else if (r->is_singly || count == 1) {
		log_warning("the configuration space of %s cannot be read: %s", r->ids[first],
			e ? e->msg : "no answer");
		give_up(r, first, count);
	} else {
		r->is_singly = true;
		r->single = 0;
		go_on(r);
		return;
	}
	r->single++;
	go_on(r);
}

void config_reader_look(struct config_reader *r)
{
	if (r && r->is_begun && r->count == 0)
		go_on(r);
}

static void patience_ended(void *arg, unsigned int events)
{
	(void)events;
	tell_done(arg);
}

int config_reader_begin(struct config_reader *r, void (*done)(void *arg), void *arg, struct err *e)
{
	struct watch_loop *loop = r->d->loop;

	r->is_begun = true;
	config_reader_look(r);
	r->patience = loop->ops->add_timer(
		loop, r->count ? r->limits.patience_ms : 0, patience_ended, r, e);
	if (!r->patience)
		return -1;
	r->done = done;
	r->arg = arg;
	return 0;
}

/* --- in the hand ------------------------------------------------------------------------------ */

int config_work_read(char **words, void *result, int *fd, struct err *e)
{
	struct config_batch *batch = result;
	struct sysroot *root;
	char *rest = words[1];
	const char *id;

	(void)fd;
	if (sysroot_open(words[0], &root, e) < 0)
		return -1;
	for (unsigned int i = 0; i < CONFIG_BATCH && (id = strsep(&rest, ",")); i++)
		pci_config_read(root, id, &batch->configs[i]);
	sysroot_close(root);
	return 0;
}
