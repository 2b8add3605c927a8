/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is kept of bindings: a row for each device and holder. The rows of one device are a chain, in
 * the order in which they came: what a holder found is what the one before it had made. So when one
 * goes from the middle of a chain, the next one inherits what it had found.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/binding_internal.h"
#include "daemon/daemon.h"
#include "lib/cleanup.h"

#define COLUMNS "seq, device, holder, fingerprint, driver, old_driver, old_override"

static bool row_text(const struct store_row *row, int column, char *out, size_t size)
{
	const char *text = store_row_text(row, column);

	return text && str_copy(out, size, text);
}

static bool read_row(const struct store_row *row, struct binding_row *b)
{
	b->seq = store_row_int(row, 0);
	return row_text(row, 1, b->device, sizeof(b->device)) &&
	       row_text(row, 2, b->holder, sizeof(b->holder)) &&
	       row_text(row, 3, b->fingerprint, sizeof(b->fingerprint)) &&
	       row_text(row, 4, b->driver, sizeof(b->driver)) &&
	       row_text(row, 5, b->old.driver, sizeof(b->old.driver)) &&
	       row_text(row, 6, b->old.override, sizeof(b->old.override));
}

static int collect(void *arg, const struct store_row *row)
{
	struct binding_rows *all = arg;
	struct binding_row *more =
		reallocarray(all->rows, all->count + 1, sizeof(struct binding_row));

	if (!more)
		return -1;
	all->rows = more;
	if (read_row(row, &all->rows[all->count]))
		all->count++;
	return 0;
}

int binding_load(struct store *s, const char *holder, struct binding_rows *rows, struct err *e)
{
	static const char sql[] = "SELECT " COLUMNS " FROM binding WHERE holder = ? ORDER BY seq";

	*rows = (struct binding_rows){0};
	if (store_run(s, sql, STORE_BIND(STORE_TEXT(holder)), collect, rows, e) == 0)
		return 0;
	free(rows->rows);
	return -1;
}

int binding_load_latest(struct store *s, struct binding_rows *rows, struct err *e)
{
	static const char sql[] = "SELECT " COLUMNS " FROM binding WHERE seq IN ("
				  " SELECT max(seq) FROM binding"
				  " WHERE substr(holder, 1, 1) NOT IN ('+', '-') GROUP BY device)"
				  " ORDER BY seq";

	*rows = (struct binding_rows){0};
	if (store_run(s, sql, STORE_NO_BIND, collect, rows, e) == 0)
		return 0;
	free(rows->rows);
	return -1;
}

static int add_one(struct store *s, const struct binding_row *b, struct err *e)
{
	static const char sql[] = "INSERT OR IGNORE INTO binding"
				  " (device, holder, fingerprint, driver, old_driver, old_override)"
				  " VALUES (?, ?, ?, ?, ?, ?)";

	return store_run(s, sql,
		STORE_BIND(STORE_TEXT(b->device), STORE_TEXT(b->holder), STORE_TEXT(b->fingerprint),
			STORE_TEXT(b->driver), STORE_TEXT(b->old.driver),
			STORE_TEXT(b->old.override)),
		NULL, NULL, e);
}

int binding_add(struct store *s, const struct binding_rows *rows, struct err *e)
{
	int rc = store_begin(s, e);

	for (size_t i = 0; rc == 0 && i < rows->count; i++)
		rc = add_one(s, &rows->rows[i], e);
	if (rc == 0)
		return store_commit(s, e);
	store_rollback(s);
	return -1;
}

static int see_one(void *arg, const struct store_row *row)
{
	*(int64_t *)arg = store_row_int(row, 0);
	return 1;
}

/* The next later row of the device; 0 if there is none. */
static int64_t find_heir(struct store *s, const struct binding_row *row)
{
	static const char sql[] =
		"SELECT seq FROM binding WHERE device = ? AND seq > ? ORDER BY seq LIMIT 1";
	int64_t seq = 0;

	store_run(s, sql, STORE_BIND(STORE_TEXT(row->device), STORE_INT(row->seq)), see_one, &seq,
		NULL);
	return seq;
}

bool binding_has_heir(struct store *s, const struct binding_row *row)
{
	return find_heir(s, row) != 0;
}

int binding_forget(struct store *s, const struct binding_row *row, struct err *e)
{
	static const char inherit[] =
		"UPDATE binding SET old_driver = ?, old_override = ? WHERE seq = ?";
	static const char forget[] = "DELETE FROM binding WHERE seq = ?";
	int64_t heir = find_heir(s, row);

	if (store_begin(s, e) < 0)
		return -1;
	if ((!heir || store_run(s, inherit,
			      STORE_BIND(STORE_TEXT(row->old.driver), STORE_TEXT(row->old.override),
				      STORE_INT(heir)),
			      NULL, NULL, e) == 0) &&
		store_run(s, forget, STORE_BIND(STORE_INT(row->seq)), NULL, NULL, e) == 0)
		return store_commit(s, e);
	store_rollback(s);
	return -1;
}

bool binding_find(struct daemon *d, const char *device, const char *holder, struct binding_row *row)
{
	struct binding_rows all;
	bool found = false;

	if (binding_load(d->store, holder, &all, NULL) < 0)
		return false;
	for (size_t i = 0; i < all.count; i++) {
		if (strcmp(all.rows[i].device, device) != 0)
			continue;
		found = true;
		if (row)
			*row = all.rows[i];
	}
	free(all.rows);
	return found;
}
