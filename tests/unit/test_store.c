/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lib/store: what was committed is there; what is damaged is kept aside; what is full is an error. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/store.h"
#include "tests/unit/unit.h"

static const char *const migrations[] = {
	"CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT UNIQUE);",
	"ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 7;",
};
static const struct store_schema first = {0x74657374, migrations, 1};
static const struct store_schema second = {0x74657374, migrations, 2};
static const struct store_schema foreign = {0x12345678, migrations, 2};

static char dir[64], path[80];
static char *aside;
static struct err e;

static void begin(void)
{
	unit_path(dir, sizeof(dir), "store");
	ck_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/x.db", dir);
}

static void end(void)
{
	char cmd[96];

	free(aside);
	snprintf(cmd, sizeof(cmd), "rm -r '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static struct store *open_store(const struct store_schema *schema)
{
	struct store *s = store_open(path, schema, &aside, &e);

	ck_assert_msg(s, "%s", e.msg);
	return s;
}

static int add(struct store *s, const char *name)
{
	return store_run(s, "INSERT INTO thing (name) VALUES (?)", STORE_BIND(STORE_TEXT(name)),
		NULL, NULL, &e);
}

static int count_row(void *arg, const struct store_row *row)
{
	*(int64_t *)arg = store_row_int(row, 0);
	return 0;
}

static int64_t count(struct store *s)
{
	int64_t n = -1;

	ck_assert_int_eq(
		store_run(s, "SELECT count(*) FROM thing", STORE_NO_BIND, count_row, &n, &e), 0);
	return n;
}

static void fill(const struct store_schema *schema, int things)
{
	struct store *s = open_store(schema);
	char name[32];

	for (int i = 0; i < things; i++) {
		snprintf(name, sizeof(name), "thing %d", i);
		ck_assert_int_eq(add(s, name), 0);
	}
	ck_assert_ptr_null(aside);
	store_close(s);
}

START_TEST(rows_outlive_the_store)
{
	struct store *s;

	begin();
	fill(&second, 3);
	s = open_store(&second);
	ck_assert_int_eq(count(s), 3);
	ck_assert_ptr_null(aside);
	ck_assert_int_eq(add(s, "thing 1"), -1); /* UNIQUE */
	ck_assert_int_eq(e.kind, ERR_FAILED);
	ck_assert_int_eq(add(s, "another"), 0);
	ck_assert_int_eq(store_last_id(s), 4);
	store_close(s);
	end();
}
END_TEST

START_TEST(rows_outlive_kill_minus_nine)
{
	struct store *s;
	pid_t pid;

	begin();
	pid = fork();
	if (pid == 0) {
		s = open_store(&second);
		add(s, "committed");
		store_begin(s, &e);
		add(s, "not committed");
		raise(SIGKILL);
	}
	waitpid(pid, NULL, 0);
	s = open_store(&second);
	ck_assert_ptr_null(aside);
	ck_assert_int_eq(count(s), 1);
	store_close(s);
	end();
}
END_TEST

static int take_values(void *arg, const struct store_row *row)
{
	(void)arg;
	ck_assert_int_eq(store_row_int(row, 0), INT64_MIN);
	ck_assert_str_eq(store_row_text(row, 1), "it's");
	ck_assert_ptr_null(store_row_text(row, 2));
	return 0;
}

START_TEST(values_come_back_as_they_were)
{
	struct store *s;

	begin();
	s = open_store(&second);
	ck_assert_int_eq(
		store_run(s, "SELECT ?, ?, ?",
			STORE_BIND(STORE_INT(INT64_MIN), STORE_TEXT("it's"), STORE_TEXT(NULL)),
			take_values, NULL, &e),
		0);
	store_close(s);
	end();
}
END_TEST

START_TEST(transactions_are_whole_or_not_at_all)
{
	struct store *s;

	begin();
	s = open_store(&second);
	ck_assert_int_eq(store_begin(s, &e), 0);
	ck_assert_int_eq(add(s, "a"), 0);
	store_rollback(s);
	ck_assert_int_eq(count(s), 0);
	store_rollback(s); /* nothing to do */
	ck_assert_int_eq(store_begin(s, &e), 0);
	ck_assert_int_eq(add(s, "a"), 0);
	ck_assert_int_eq(store_commit(s, &e), 0);
	ck_assert_int_eq(count(s), 1);
	store_close(s);
	end();
}
END_TEST

START_TEST(older_schema_is_brought_up_to_date)
{
	struct store *s;

	begin();
	fill(&first, 2);
	s = open_store(&second);
	ck_assert_ptr_null(aside);
	ck_assert_int_eq(count(s), 2);
	ck_assert_int_eq(
		store_run(s, "UPDATE thing SET size = 8", STORE_NO_BIND, NULL, NULL, &e), 0);
	ck_assert_int_eq(store_changes(s), 2);
	store_close(s);
	end();
}
END_TEST

/* The store opens fresh, and the old file is where `aside` says, byte for byte. */
static void expect_aside(off_t size)
{
	struct store *s = open_store(&second);
	struct stat st;

	ck_assert_ptr_nonnull(aside);
	ck_assert_int_eq(stat(aside, &st), 0);
	ck_assert_int_eq(st.st_size, size);
	ck_assert_int_eq(count(s), 0);
	ck_assert_int_eq(add(s, "new"), 0);
	store_close(s);
	free(steal_ptr(&aside));
	s = open_store(&second); /* and stays so */
	ck_assert_ptr_null(aside);
	ck_assert_int_eq(count(s), 1);
	store_close(s);
}

static off_t size_of_file(void)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_size;
}

static void overwrite(off_t at, size_t len)
{
	char junk[4096];
	int fd = open(path, O_WRONLY);

	memset(junk, 0xa5, sizeof(junk));
	ck_assert_int_eq(pwrite(fd, junk, len, at), (ssize_t)len);
	close(fd);
}

START_TEST(what_is_no_database_is_kept_aside)
{
	int fd;

	begin();
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	ck_assert_int_eq(ftruncate(fd, 10000), 0);
	close(fd);
	overwrite(0, 4096);
	expect_aside(10000);
	end();
}
END_TEST

START_TEST(damaged_page_is_found_at_open)
{
	off_t size;

	begin();
	fill(&second, 500);
	size = size_of_file();
	ck_assert_int_gt(size, 3 * 4096);
	overwrite(2 * 4096, 4096);
	expect_aside(size);
	end();
}
END_TEST

START_TEST(truncated_file_is_kept_aside)
{
	begin();
	fill(&second, 500);
	ck_assert_int_eq(truncate(path, 4096 + 100), 0);
	expect_aside(4096 + 100);
	end();
}
END_TEST

START_TEST(empty_file_is_a_new_store)
{
	struct store *s;

	begin();
	close(open(path, O_WRONLY | O_CREAT, 0600));
	s = open_store(&second);
	ck_assert_ptr_null(aside);
	ck_assert_int_eq(count(s), 0);
	store_close(s);
	end();
}
END_TEST

START_TEST(newer_schema_is_kept_aside)
{
	struct store *s;

	begin();
	fill(&second, 1);
	s = store_open(path, &first, &aside, &e);
	ck_assert_ptr_nonnull(s);
	ck_assert_ptr_nonnull(aside);
	ck_assert_int_eq(count(s), 0);
	store_close(s);
	end();
}
END_TEST

START_TEST(swapped_database_is_kept_aside)
{
	begin();
	fill(&foreign, 1);
	expect_aside(size_of_file());
	end();
}
END_TEST

START_TEST(two_damages_are_both_kept)
{
	auto_free char *one = NULL;
	struct store *s;

	begin();
	fill(&second, 1);
	overwrite(0, 100);
	s = open_store(&second);
	one = steal_ptr(&aside);
	ck_assert_ptr_nonnull(one);
	store_close(s);
	overwrite(0, 100);
	s = open_store(&second);
	ck_assert_ptr_nonnull(aside);
	ck_assert_str_ne(one, aside);
	ck_assert_int_eq(access(one, F_OK), 0);
	store_close(s);
	end();
}
END_TEST

START_TEST(what_cannot_be_opened_is_an_error)
{
	begin();
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_ptr_null(store_open(path, &second, &aside, &e));
	ck_assert_ptr_null(aside);
	ck_assert_int_eq(e.kind, ERR_FAILED);
	end();
}
END_TEST

/* Writes until it fails; the store is whole and goes on when there is room again. */
static void fill_up(struct store *s, const char *code, int64_t *stored)
{
	char name[4000];
	int64_t n = 0;

	memset(name, 'x', sizeof(name));
	for (;; n++) {
		snprintf(name, 32, "%lld", (long long)n);
		name[strlen(name)] = '-';
		name[sizeof(name) - 1] = '\0';
		ck_assert_int_lt(n, 10000);
		if (add(s, name) < 0)
			break;
	}
	ck_assert_str_eq(e.code, code);
	ck_assert_str_ne(e.fix, "");
	*stored = count(s);
	ck_assert_int_eq(*stored, n);
}

START_TEST(limited_file_is_an_error_and_no_more)
{
	struct rlimit limit, before;
	struct store *s;
	int64_t stored;

	begin();
	signal(SIGXFSZ, SIG_IGN);
	s = open_store(&second);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = (struct rlimit){.rlim_cur = 300000, .rlim_max = before.rlim_max};
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	fill_up(s, "STORE-IO", &stored);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	ck_assert_int_eq(add(s, "there is room again"), 0);
	store_close(s);
	s = open_store(&second);
	ck_assert_ptr_null(aside);
	ck_assert_int_eq(count(s), stored + 1);
	store_close(s);
	end();
}
END_TEST

START_TEST(full_file_system_is_an_error_and_no_more)
{
	struct store *s;
	int64_t stored;

	begin();
	if (mount("none", dir, "tmpfs", 0, "size=300k") < 0) {
		puts("not run: tmpfs cannot be mounted");
		end();
		return;
	}
	s = open_store(&second);
	fill_up(s, "STORE-FULL", &stored);
	ck_assert_int_eq(mount("none", dir, "tmpfs", MS_REMOUNT, "size=10m"), 0);
	ck_assert_int_eq(add(s, "there is room again"), 0);
	ck_assert_int_eq(count(s), stored + 1);
	store_close(s);
	ck_assert_int_eq(umount(dir), 0);
	end();
}
END_TEST

UNIT_MAIN(rows_outlive_the_store, rows_outlive_kill_minus_nine, values_come_back_as_they_were,
	transactions_are_whole_or_not_at_all, older_schema_is_brought_up_to_date,
	what_is_no_database_is_kept_aside, damaged_page_is_found_at_open,
	truncated_file_is_kept_aside, empty_file_is_a_new_store, newer_schema_is_kept_aside,
	swapped_database_is_kept_aside, two_damages_are_both_kept,
	what_cannot_be_opened_is_an_error, limited_file_is_an_error_and_no_more,
	full_file_system_is_an_error_and_no_more)
