/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * A database is judged at open, before anything is built on it: the file's magic, our application
 * id, a schema version that we know, SQLite's quick_check. One that fails is kept, and never opened
 * again: file, -wal and -shm are renamed together (the two latter first: a fresh database must not
 * find a log that is not its own, and a crash in between leaves a database that is only older), and
 * a fresh one takes its place. What fails for want of memory, space or permission is not damage,
 * and nothing is renamed then.
 *
 * The fresh file begins empty with version 0; each migration and its version are one transaction,
 * so a crash leaves a version that is true.
 */
#include "lib/store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#define STORE_STATEMENTS 64
#define STORE_BUSY_MS    5000 /* the last moments of a daemon before us */

struct statement {
	const char *sql; /* by its address */
	sqlite3_stmt *stmt;
};

struct store {
	sqlite3 *db;
	unsigned int count;
	struct statement statements[STORE_STATEMENTS];
};

struct store_row {
	sqlite3_stmt *stmt;
};

/* --- errors ----------------------------------------------------------------------------------- */

static bool is_damage(int rc)
{
	rc &= 0xff;
	return rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB;
}

/* What SQLite's results are to people. */
static const struct {
	int result;
	const char *code, *fix;
} troubles[] = {
	{SQLITE_FULL, "STORE-FULL", "make room where the state directory is, then try again"},
	{SQLITE_IOERR, "STORE-IO", "look at the disk of the state directory, and at its room"},
	{SQLITE_READONLY, "STORE-IO", "let the state directory be written to, then try again"},
	{SQLITE_CANTOPEN, "STORE-IO", "look at the disk of the state directory, and at its room"},
	{SQLITE_CORRUPT, "STORE-DAMAGED", "start iovd anew: it keeps the file, and begins another"},
	{SQLITE_NOTADB, "STORE-DAMAGED", "start iovd anew: it keeps the file, and begins another"},
};

static int store_err(const struct store *s, int rc, struct err *e, const char *what)
{
	const char *text = s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);
	int sys = s->db ? sqlite3_system_errno(s->db) : 0;
	const char *code = "STORE", *fix = NULL;

	for (unsigned int i = 0; i < ARRAY_SIZE(troubles); i++) {
		if (troubles[i].result != (rc & 0xff))
			continue;
		code = troubles[i].code;
		fix = troubles[i].fix;
	}
	err_set(e, ERR_FAILED, code, "%s: %s", what, text);
	err_evidence(e, "SQLite result %d%s%s%s%s", rc, sys ? ", " : "", sys ? strerror(sys) : "",
		s->db ? ", " : "", s->db ? sqlite3_db_filename(s->db, "main") : "");
	if (fix)
		err_fix(e, "%s", fix);
	return -1;
}

/* --- statements ------------------------------------------------------------------------------- */

static sqlite3_stmt *store_prepare(struct store *s, const char *sql, struct err *e)
{
	struct statement *st = s->statements;
	int rc;

	for (unsigned int i = 0; i < s->count; i++)
		if (st[i].sql == sql)
			return st[i].stmt;
	assert(s->count < STORE_STATEMENTS); /* literals, so their number is known */
	rc = sqlite3_prepare_v3(
		s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st[s->count].stmt, NULL);
	if (rc != SQLITE_OK) {
		store_err(s, rc, e, "prepare a statement");
		return NULL;
	}
	st[s->count].sql = sql;
	return st[s->count++].stmt;
}

static int store_bind(sqlite3_stmt *stmt, const struct store_value *values, size_t count)
{
	int rc = SQLITE_OK;

	for (int i = 0; i < (int)count && rc == SQLITE_OK; i++) {
		const struct store_value *v = &values[i];

		if (v->type == STORE_VALUE_INT)
			rc = sqlite3_bind_int64(stmt, i + 1, v->number);
		else if (v->type == STORE_VALUE_TEXT && v->text)
			rc = sqlite3_bind_text(stmt, i + 1, v->text, -1, SQLITE_TRANSIENT);
		else
			rc = sqlite3_bind_null(stmt, i + 1);
	}
	return rc;
}

int store_run(struct store *s, const char *sql, const struct store_value *values, size_t count,
	store_row_fn *fn, void *arg, struct err *e)
{
	struct store_row row = {.stmt = store_prepare(s, sql, e)};
	int rc;

	if (!row.stmt)
		return -1;
	rc = store_bind(row.stmt, values, count);
	if (rc == SQLITE_OK) {
		while ((rc = sqlite3_step(row.stmt)) == SQLITE_ROW)
			if (fn && fn(arg, &row) != 0)
				break;
	}
	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		store_err(s, rc, e, "the store");
	sqlite3_reset(row.stmt);
	sqlite3_clear_bindings(row.stmt);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : -1;
}

int64_t store_row_int(const struct store_row *row, int column)
{
	return sqlite3_column_int64(row->stmt, column);
}

const char *store_row_text(const struct store_row *row, int column)
{
	return (const char *)sqlite3_column_text(row->stmt, column);
}

int64_t store_last_id(const struct store *s)
{
	return sqlite3_last_insert_rowid(s->db);
}

int store_changes(const struct store *s)
{
	return sqlite3_changes(s->db);
}

int store_begin(struct store *s, struct err *e)
{
	return store_run(s, "BEGIN IMMEDIATE", STORE_NO_BIND, NULL, NULL, e);
}

int store_commit(struct store *s, struct err *e)
{
	if (store_run(s, "COMMIT", STORE_NO_BIND, NULL, NULL, e) == 0)
		return 0;
	store_rollback(s);
	return -1;
}

void store_rollback(struct store *s)
{
	/* Some failures have rolled back already; nothing else can go wrong here. */
	if (!sqlite3_get_autocommit(s->db))
		store_run(s, "ROLLBACK", STORE_NO_BIND, NULL, NULL, NULL);
}

/* --- open ------------------------------------------------------------------------------------- */

static int store_exec(struct store *s, const char *sql)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL);
}

static int store_pragma(struct store *s, const char *sql, int64_t *value)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		*value = sqlite3_column_int64(stmt, 0);
		rc = SQLITE_OK;
	}
	sqlite3_finalize(stmt);
	return rc;
}

/* quick_check's first row is "ok", or what it found. */
static int store_quick_check(struct store *s, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &stmt, NULL);
	const char *text;

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW) {
		sqlite3_finalize(stmt);
		store_err(s, rc, e, "check");
		return rc;
	}
	text = (const char *)sqlite3_column_text(stmt, 0);
	rc = text && strcmp(text, "ok") == 0 ? SQLITE_OK : SQLITE_CORRUPT;
	if (rc != SQLITE_OK)
		err_set(e, ERR_FAILED, "STORE-DAMAGED", "check: %s", text ? text : "no answer");
	sqlite3_finalize(stmt);
	return rc;
}

/* Whose it is and which version: SQLITE_CORRUPT stands for "not one that we can use". */
static int store_identify(
	struct store *s, const struct store_schema *schema, int64_t *version, struct err *e)
{
	int64_t id = 0, tables = 0;
	int rc = store_pragma(s, "PRAGMA application_id", &id);

	if (rc == SQLITE_OK)
		rc = store_pragma(s, "PRAGMA user_version", version);
	if (rc == SQLITE_OK)
		rc = store_pragma(s, "SELECT count(*) FROM sqlite_schema", &tables);
	if (rc != SQLITE_OK) {
		store_err(s, rc, e, "read");
		return rc;
	}
	if (id == (int64_t)schema->application_id || (id == 0 && tables == 0)) {
		if (*version >= 0 && *version <= schema->count)
			return SQLITE_OK;
		err_set(e, ERR_FAILED, "STORE-VERSION",
			"its schema has version %lld, and the latest known is %u",
			(long long)*version, schema->count);
		return SQLITE_CORRUPT;
	}
	err_set(e, ERR_FAILED, "STORE-DAMAGED", "it belongs to another program (id 0x%llx)",
		(unsigned long long)id);
	return SQLITE_CORRUPT;
}

static int store_migrate(
	struct store *s, const struct store_schema *schema, int64_t version, struct err *e)
{
	char mark[96];
	int rc = SQLITE_OK;

	for (; version < schema->count && rc == SQLITE_OK; version++) {
		snprintf(mark, sizeof(mark), "PRAGMA application_id = %d; PRAGMA user_version = %d",
			(int)schema->application_id, (int)version + 1);
		rc = store_exec(s, "BEGIN IMMEDIATE");
		if (rc == SQLITE_OK)
			rc = store_exec(s, schema->migrations[version]);
		if (rc == SQLITE_OK)
			rc = store_exec(s, mark);
		if (rc == SQLITE_OK)
			rc = store_exec(s, "COMMIT");
	}
	if (rc != SQLITE_OK) {
		store_err(s, rc, e, "bring the schema up to date");
		store_rollback(s);
	}
	return rc;
}

static void store_free(struct store *s)
{
	for (unsigned int i = 0; i < s->count; i++)
		sqlite3_finalize(s->statements[i].stmt);
	sqlite3_close(s->db);
	free(s);
}

/* An SQLite result code; SQLITE_OK with *out set. */
static int store_try(
	const char *path, const struct store_schema *schema, struct store **out, struct err *e)
{
	static const char settings[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
				       "PRAGMA foreign_keys = ON";
	struct store *s = calloc(1, sizeof(*s));
	int64_t version = 0;
	int rc;

	if (!s) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for the store");
		return SQLITE_NOMEM;
	}
	rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_extended_result_codes(s->db, 1);
		sqlite3_busy_timeout(s->db, STORE_BUSY_MS);
	}
	if (rc != SQLITE_OK)
		store_err(s, rc, e, "open");
	if (rc == SQLITE_OK)
		rc = store_identify(s, schema, &version, e);
	if (rc == SQLITE_OK)
		rc = store_quick_check(s, e);
	if (rc == SQLITE_OK && (rc = store_exec(s, settings)) != SQLITE_OK)
		store_err(s, rc, e, "set up");
	if (rc == SQLITE_OK)
		rc = store_migrate(s, schema, version, e);
	if (rc == SQLITE_OK)
		*out = s;
	else
		store_free(s);
	return rc;
}

/* --- aside ------------------------------------------------------------------------------------ */

static int rename_one(const char *path, const char *to, const char *suffix, struct err *e)
{
	auto_free char *from_full = NULL, *to_full = NULL;

	if (asprintf(&from_full, "%s%s", path, suffix) < 0 ||
		asprintf(&to_full, "%s%s", to, suffix) < 0)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a file's name");
	if (rename(from_full, to_full) < 0 && errno != ENOENT)
		return err_sys(e, errno, "rename %s to %s", from_full, to_full);
	return 0;
}

/* A name that no file has: a second damage within a second must not overwrite the first. */
static char *aside_name(const char *path)
{
	char when[32];
	time_t now = time(NULL);
	struct tm tm;
	char *name = NULL;

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
	for (unsigned int n = 0; n < 1000; n++) {
		free(name);
		if (asprintf(&name, "%s" STORE_ASIDE "%s-%u", path, when, n) < 0)
			return NULL;
		if (access(name, F_OK) < 0)
			return name;
	}
	free(name);
	return NULL;
}

static char *store_put_aside(const char *path, struct err *e)
{
	auto_free char *name = aside_name(path);

	if (!name) {
		err_set(e, ERR_FAILED, "STORE", "no name to keep %s under", path);
		return NULL;
	}
	if (rename_one(path, name, "-wal", e) < 0 || rename_one(path, name, "-shm", e) < 0 ||
		rename_one(path, name, "", e) < 0)
		return NULL;
	return steal_ptr(&name);
}

struct store *store_open(
	const char *path, const struct store_schema *schema, char **aside, struct err *e)
{
	struct store *s = NULL;
	struct err why = ERR_INIT;
	int rc = store_try(path, schema, &s, &why);

	*aside = NULL;
	if (rc != SQLITE_OK && is_damage(rc)) {
		*aside = store_put_aside(path, e);
		if (!*aside)
			return NULL;
		log_error("%s: %s: kept as %s, and begun anew", path, why.msg, *aside);
		rc = store_try(path, schema, &s, &why);
	}
	if (rc != SQLITE_OK) {
		if (e)
			*e = why;
		err_wrap(e, "%s", path);
		free(steal_ptr(aside));
		return NULL;
	}
	return s;
}

void store_close(struct store *s)
{
	if (s)
		store_free(s);
}
