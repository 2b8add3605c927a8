/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/quarantine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "lib/log.h"
#include "lib/store.h"
#include "lib/util.h"

#define REASON_SIZE 160

struct quarantined {
	struct list_node node;
	char id[PCI_ADDR_MAX];
	char fingerprint[40];
	char attachment[24];
	char reason[REASON_SIZE];
	char evidence[REASON_SIZE + 64];
};

static struct list_node all = {&all, &all};

static struct quarantined *find(const char *id)
{
	list_for_each (node, &all) {
		struct quarantined *q = list_entry(node, struct quarantined, node);

		if (strcmp(q->id, id) == 0)
			return q;
	}
	return NULL;
}

static void drop(struct quarantined *q)
{
	list_remove(&q->node);
	free(q);
}

void quarantine_end(void)
{
	list_for_each_safe (node, &all)
		drop(list_entry(node, struct quarantined, node));
}

static int note(const char *id, const char *fingerprint, const char *of, const char *reason)
{
	struct quarantined *q = calloc(1, sizeof(*q));

	if (!q)
		return -1;
	str_copy(q->id, sizeof(q->id), id);
	str_copy(q->fingerprint, sizeof(q->fingerprint), fingerprint);
	str_copy(q->attachment, sizeof(q->attachment), of);
	snprintf(q->reason, sizeof(q->reason), "%s", reason);
	snprintf(q->evidence, sizeof(q->evidence), "attachment %s has left it: %s", of, q->reason);
	list_append(&all, &q->node);
	return 0;
}

static int load_row(void *arg, const struct store_row *row)
{
	const char *words[4];

	(void)arg;
	for (int i = 0; i < 4; i++) {
		words[i] = store_row_text(row, i);
		if (!words[i])
			return 0;
	}
	return note(words[0], words[1], words[2], words[3]);
}

int quarantine_load(struct daemon *d, struct err *e)
{
	static const char rows[] = "SELECT device, fingerprint, attachment, reason FROM quarantine";

	return store_run(d->store, rows, STORE_NO_BIND, load_row, NULL, e);
}

/* ---------------------------------------------------------------------------------------------- */

static bool is_true(struct daemon *d, const struct quarantined *q)
{
	const struct device *device = inventory_find(d->inventory, DEVICE_PCI, q->id);

	return device && strcmp(device->fingerprint, q->fingerprint) == 0;
}

bool quarantine_is(struct daemon *d, const char *id)
{
	const struct quarantined *q = find(id);

	return q && is_true(d, q);
}

int quarantine_add(struct daemon *d, const char *id, const char *fingerprint, const char *of,
	const char *reason, struct err *e)
{
	static const char sql[] =
		"INSERT OR REPLACE INTO quarantine (device, fingerprint, attachment, reason)"
		" VALUES (?, ?, ?, ?)";
	struct quarantined *q = find(id);

	if (store_run(d->store, sql,
		    STORE_BIND(STORE_TEXT(id), STORE_TEXT(fingerprint), STORE_TEXT(of),
			    STORE_TEXT(reason)),
		    NULL, NULL, e) < 0)
		return -1;
	if (q)
		drop(q);
	if (note(id, fingerprint, of, reason) < 0)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a device in quarantine");
	log_warning("%s: quarantined: %s", id, reason);
	return 0;
}

int quarantine_release(struct daemon *d, const char *id, struct err *e)
{
	static const char sql[] = "DELETE FROM quarantine WHERE device = ?";
	struct quarantined *q = find(id);

	if (!q)
		return 0;
	if (store_run(d->store, sql, STORE_BIND(STORE_TEXT(id)), NULL, NULL, e) < 0)
		return -1;
	drop(q);
	inventory_wedge_changed(d->inventory, id); /* its state is another one */
	return 0;
}

void quarantine_tell(struct daemon *d, inventory_visit_fn *visit, void *visit_arg)
{
	list_for_each (node, &all) {
		const struct quarantined *q = list_entry(node, struct quarantined, node);
		const struct inventory_attachment told = {
			.device = q->id, .quarantined = q->evidence};

		if (is_true(d, q))
			visit(visit_arg, &told);
	}
}

void quarantine_put(const char *of, struct json_out *o)
{
	json_out_array(o, "quarantined");
	list_for_each (node, &all) {
		const struct quarantined *q = list_entry(node, struct quarantined, node);

		if (strcmp(q->attachment, of) != 0)
			continue;
		json_out_object(o, NULL);
		json_out_str(o, "device", q->id);
		json_out_str(o, "reason", q->reason);
		json_out_end(o);
	}
	json_out_end(o);
}
