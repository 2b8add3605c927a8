/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is remembered over a restart: one SQLite database, and the only place that knows SQLite.
 * A schema is a table of migrations; a statement is its text (a literal: it is prepared once, and
 * found again by its address), its values, and a function for each row.
 *
 *	store_run(s, "UPDATE vm SET state = ? WHERE id = ?", STORE_BIND(STORE_TEXT("on"),
 *		STORE_INT(7)), NULL, NULL, e)
 *
 * What was committed is on the disk (WAL, synchronous=FULL). A full or failing disk is an error of
 * the one operation (codes STORE-FULL, STORE-IO, STORE-DAMAGED): nothing of it is half done.
 * One thread.
 */
#pragma once

#include "lib/err.h"

struct store;
struct store_row;

struct store_schema {
	uint32_t application_id;
	/* migrations[n] leads from version n to n + 1; each runs in one transaction with it. */
	const char *const *migrations;
	unsigned int count;
};

enum store_type { STORE_VALUE_NULL, STORE_VALUE_INT, STORE_VALUE_TEXT };

struct store_value {
	enum store_type type;
	int64_t number;
	const char *text; /* NULL binds NULL */
};

#define STORE_INT(n)  ((struct store_value){.type = STORE_VALUE_INT, .number = (int64_t)(n)})
#define STORE_TEXT(s) ((struct store_value){.type = STORE_VALUE_TEXT, .text = (s)})

/* The values of a statement, as two arguments; STORE_NO_BIND when it has none. */
#define STORE_BIND(...)                                                                            \
	(const struct store_value[]){__VA_ARGS__},                                                 \
		sizeof((const struct store_value[]){__VA_ARGS__}) / sizeof(struct store_value)
#define STORE_NO_BIND NULL, 0

/*
 * Opens the database at `path`, or makes it, brings its schema up to date and checks it. One that
 * is damaged, or none of ours, or of a later version, is renamed aside, with its time in the name,
 * and a fresh one made: then *aside is the new name of the old file (NULL otherwise), the caller's
 * to free, and what was remembered is lost to the caller. NULL with e set where not even that works.
 */
#define STORE_ASIDE ".damaged-" /* in that name, behind the old one */

struct store *store_open(
	const char *path, const struct store_schema *schema, char **aside, struct err *e);
void store_close(struct store *s);

/* Runs a statement, calling fn (may be NULL) for each row until it returns nonzero. 0 or -1. */
typedef int store_row_fn(void *arg, const struct store_row *row);
int store_run(struct store *s, const char *sql, const struct store_value *values, size_t count,
	store_row_fn *fn, void *arg, struct err *e);

int64_t store_row_int(const struct store_row *row, int column);
const char *store_row_text(const struct store_row *row, int column); /* NULL for NULL; of the row */

/* The rowid that the last INSERT made; how many rows the last statement changed. */
int64_t store_last_id(const struct store *s);
int store_changes(const struct store *s);

/* One transaction at a time; without one each statement is its own. */
int store_begin(struct store *s, struct err *e);
int store_commit(struct store *s, struct err *e); /* -1: rolled back */
void store_rollback(struct store *s);
