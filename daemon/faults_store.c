/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults in the store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/faults_priv.h"
#include "daemon/inventory.h"
#include "lib/store.h"

/* --- reading ---------------------------------------------------------------------------------- */

static void text(const struct store_row *row, int column, char *out, size_t size)
{
	const char *value = store_row_text(row, column);

	str_copy(out, size, value ? value : "");
}

static uint64_t number(const struct store_row *row, int column)
{
	int64_t value = store_row_int(row, column);

	return value > 0 ? (uint64_t)value : 0;
}

static int load_entry(void *arg, const struct store_row *row)
{
	struct faults *f = arg;
	struct fault_entry *x = calloc(1, sizeof(*x));

	if (!x)
		return 1;
	x->seq = store_row_int(row, 0);
	x->time_ms = number(row, 1);
	x->latest_ms = number(row, 2);
	text(row, 3, x->source, sizeof(x->source));
	text(row, 4, x->code, sizeof(x->code));
	text(row, 5, x->device, sizeof(x->device));
	text(row, 6, x->vm, sizeof(x->vm));
	text(row, 7, x->attachment, sizeof(x->attachment));
	x->stream = store_row_int(row, 8);
	x->pasid = store_row_int(row, 9);
	text(row, 10, x->iova, sizeof(x->iova));
	text(row, 11, x->class, sizeof(x->class));
	text(row, 12, x->access, sizeof(x->access));
	text(row, 13, x->reason, sizeof(x->reason));
	text(row, 14, x->raw, sizeof(x->raw));
	x->count = number(row, 15);
	x->suppressed = number(row, 16);
	list_append(&f->entries, &x->node);
	f->entry_count++;
	f->next_seq = MAX(f->next_seq, x->seq + 1);
	return 0;
}

static int load_log(void *arg, const struct store_row *row)
{
	struct faults *f = arg;
	const char *boot = store_row_text(row, 0);

	f->has_number = boot && f->boot[0] && strcmp(boot, f->boot) == 0;
	f->kept_number = f->next_number = f->has_number ? number(row, 1) : 0;
	return 1;
}

static void read_boot(struct faults *f)
{
	struct sysfs_dir dir;

	sysfs_dir_init(&dir, inventory_sysroot(f->d->inventory), "proc/sys/kernel/random");
	if (sysfs_read_text(&dir, "boot_id", f->boot, sizeof(f->boot)) < 0)
		f->boot[0] = '\0';
}

int faults_load(struct faults *f, struct err *e)
{
	static const char rows[] =
		"SELECT seq, time, latest, source, code, device, vm, attachment, stream, pasid,"
		" iova, class, access, reason, raw, count, suppressed FROM fault ORDER BY seq";
	static const char log[] = "SELECT boot, number FROM fault_log";

	read_boot(f);
	if (store_run(f->d->store, rows, STORE_NO_BIND, load_entry, f, e) < 0)
		return -1;
	return store_run(f->d->store, log, STORE_NO_BIND, load_log, f, e);
}

/* --- writing ---------------------------------------------------------------------------------- */

static int keep_entry(struct faults *f, const struct fault_entry *x, struct err *e)
{
	static const char row[] =
		"INSERT OR REPLACE INTO fault (seq, time, latest, source, code, device, vm,"
		" attachment, stream, pasid, iova, class, access, reason, raw, count, suppressed)"
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

	return store_run(f->d->store, row,
		STORE_BIND(STORE_INT(x->seq), STORE_INT(x->time_ms), STORE_INT(x->latest_ms),
			STORE_TEXT(x->source), STORE_TEXT(x->code), STORE_TEXT(x->device),
			STORE_TEXT(x->vm), STORE_TEXT(x->attachment), STORE_INT(x->stream),
			STORE_INT(x->pasid), STORE_TEXT(x->iova), STORE_TEXT(x->class),
			STORE_TEXT(x->access), STORE_TEXT(x->reason), STORE_TEXT(x->raw),
			STORE_INT(x->count), STORE_INT(x->suppressed)),
		NULL, NULL, e);
}

static int drop_old(struct faults *f, struct err *e)
{
	static const char sql[] = "DELETE FROM fault WHERE seq < ?";
	const struct fault_entry *first = list_entry(f->entries.next, struct fault_entry, node);

	if (list_is_empty(&f->entries))
		return 0;
	return store_run(f->d->store, sql, STORE_BIND(STORE_INT(first->seq)), NULL, NULL, e);
}

static int keep_log(struct faults *f, struct err *e)
{
	static const char clear[] = "DELETE FROM fault_log";
	static const char row[] = "INSERT INTO fault_log (boot, number) VALUES (?, ?)";

	if (!f->has_number || f->next_number > INT64_MAX)
		return 0;
	if (store_run(f->d->store, clear, STORE_NO_BIND, NULL, NULL, e) < 0)
		return -1;
	return store_run(f->d->store, row,
		STORE_BIND(STORE_TEXT(f->boot), STORE_INT(f->next_number)), NULL, NULL, e);
}

static int keep_all(struct faults *f, struct err *e)
{
	list_for_each (node, &f->entries) {
		const struct fault_entry *x = list_entry(node, struct fault_entry, node);

		if (x->is_dirty && keep_entry(f, x, e) < 0)
			return -1;
	}
	return drop_old(f, e) < 0 ? -1 : keep_log(f, e);
}

int faults_keep(struct faults *f, struct err *e)
{
	if (store_begin(f->d->store, e) < 0)
		return -1;
	if (keep_all(f, e) < 0) {
		store_rollback(f->d->store);
		return -1;
	}
	if (store_commit(f->d->store, e) < 0)
		return -1;
	f->kept_number = f->next_number;
	list_for_each (node, &f->entries) {
		struct fault_entry *x = list_entry(node, struct fault_entry, node);

		x->is_dirty = x->is_new = false;
	}
	return 0;
}
