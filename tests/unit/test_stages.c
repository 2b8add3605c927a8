/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lib/migrate/stages and lib/journal: an operation on a toy host -- a folder in which each stage
 * makes a file -- is broken off at every point, by failures and by kill -9, and the folder is
 * afterwards as before it or as after it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/loop.h"
#include "lib/cleanup.h"
#include "lib/migrate/stages.h"
#include "tests/unit/unit.h"

static const char *const migrations[] = {
	JOURNAL_SCHEMA "CREATE TABLE done (yes INTEGER); INSERT INTO done VALUES (0);"};
static const struct store_schema schema = {0x74657374, migrations, 1};

#define STAGES 4 /* the last one commits */

static char dir[64], db[80];
static struct watch_loop *loop;
static struct store *store;
static struct err e;

/* What the stages are told to do. */
static int fail_run = -1, fail_undo = -1; /* at this stage */
static unsigned int undo_failures;        /* so often */
static bool waits;                        /* every stage answers later */

/* How it ended. */
static struct err ended;
static unsigned int ends;

static void file_path(char *path, size_t size, unsigned int n)
{
	snprintf(path, size, "%s/file%u", dir, n);
}

static bool file_is_there(unsigned int n)
{
	char path[96];

	file_path(path, sizeof(path), n);
	return access(path, F_OK) == 0;
}

struct later {
	struct stages *x;
	struct err e;
	struct watch *timer;
};

static void later_ended(void *arg, unsigned int events)
{
	struct later *l = arg;
	struct stages *x = l->x;
	struct err copy = l->e;

	(void)events;
	loop->ops->remove(l->timer);
	free(l);
	stages_continue(x, copy.kind ? &copy : NULL);
}

/* Now, or from the loop. */
static int answer(struct stages *x, int rc, struct err *why)
{
	struct later *l;

	if (!waits)
		return rc;
	l = calloc(1, sizeof(*l));
	l->x = x;
	if (rc < 0)
		l->e = *why;
	l->timer = loop->ops->add_timer(loop, 1, later_ended, l, &e);
	return STAGE_WAITS;
}

static int run_n(struct stages *x, unsigned int n, struct err *why)
{
	char path[96];

	file_path(path, sizeof(path), n);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	if (fail_run == (int)n)
		return answer(x, err_set(why, ERR_FAILED, "TEST", "run %u fails", n), why);
	return answer(x, STAGE_DONE, NULL);
}

static int undo_n(struct stages *x, unsigned int n, struct err *why)
{
	char path[96];

	/* Last first. */
	for (unsigned int later = n + 1; later < STAGES - 1; later++)
		ck_assert(!file_is_there(later));
	if (fail_undo == (int)n && undo_failures) {
		undo_failures--;
		return answer(x, err_set(why, ERR_FAILED, "TEST", "undo %u fails", n), why);
	}
	file_path(path, sizeof(path), n);
	unlink(path);
	return answer(x, STAGE_DONE, NULL);
}

#define STAGE_FUNCTIONS(n)                                                                         \
	static int run##n(struct stages *x, void *arg, struct err *why)                            \
	{                                                                                          \
		(void)arg;                                                                         \
		return run_n(x, n, why);                                                           \
	}                                                                                          \
	static int undo##n(struct stages *x, void *arg, struct err *why)                           \
	{                                                                                          \
		(void)arg;                                                                         \
		return undo_n(x, n, why);                                                          \
	}

STAGE_FUNCTIONS(0)
STAGE_FUNCTIONS(1)
STAGE_FUNCTIONS(2)

static int commit(struct stages *x, void *arg, struct err *why)
{
	(void)x, (void)arg;
	if (fail_run == STAGES - 1)
		return err_set(why, ERR_FAILED, "TEST", "the commit fails");
	return store_run(store, "UPDATE done SET yes = 1", STORE_NO_BIND, NULL, NULL, why);
}

static const struct stage stages[] = {
	{"a", .run = run0, .undo = undo0},
	{"b", .run = run1, .undo = undo1},
	{"c", .run = run2, .undo = undo2},
	{"d", .run = commit, .commits = true},
};
static const struct stages_table forth = {"forth", stages, STAGES};

/* The reverse: no way back from the first stage on. */
static int uncommit(struct stages *x, void *arg, struct err *why)
{
	(void)x, (void)arg;
	return store_run(store, "UPDATE done SET yes = 0", STORE_NO_BIND, NULL, NULL, why);
}

static const struct stage back_stages[] = {
	{"d", .run = uncommit, .commits = true},
	{"c", .run = undo2},
	{"b", .run = undo1},
	{"a", .run = undo0},
};
static const struct stages_table back = {"back", back_stages, STAGES};

static void on_done(void *arg, const struct err *why)
{
	(void)arg;
	ends++;
	if (why)
		ended = *why;
	else
		memset(&ended, 0, sizeof(ended));
	if (!why || why->kind != ERR_PARTLY_DONE)
		loop_stop(loop);
}

static struct stages_owner owner(void)
{
	return (struct stages_owner){.loop = loop, .store = store, .done = on_done};
}

static void open_all(void)
{
	char *aside;

	loop = loop_new(&e);
	store = store_open(db, &schema, &aside, &e);
	ck_assert_msg(store, "%s", e.msg);
	ck_assert_ptr_null(aside);
}

static void close_all(void)
{
	store_close(store);
	loop_free(loop);
}

static void begin(void)
{
	unit_path(dir, sizeof(dir), "stages");
	ck_assert(mkdtemp(dir));
	snprintf(db, sizeof(db), "%s/x.db", dir);
	open_all();
}

static void end(void)
{
	char cmd[96];

	close_all();
	snprintf(cmd, sizeof(cmd), "rm -r '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static int take_int(void *arg, const struct store_row *row)
{
	*(int *)arg = (int)store_row_int(row, 0);
	return 0;
}

static bool is_done(void)
{
	int yes = -1;

	store_run(store, "SELECT yes FROM done", STORE_NO_BIND, take_int, &yes, &e);
	return yes;
}

/* All of it, or none of it, and nothing open in the journal. */
static void expect(bool done)
{
	int open = -1;

	store_run(store, "SELECT count(*) FROM journal", STORE_NO_BIND, take_int, &open, &e);
	ck_assert_int_eq(open, 0);
	ck_assert_int_eq(is_done(), done);
	for (unsigned int n = 0; n < STAGES - 1; n++)
		ck_assert_int_eq(file_is_there(n), done);
}

static void run(const struct stages_table *table)
{
	struct stages_owner o = owner();

	ends = 0;
	ck_assert_int_eq(stages_start(table, "x", &o, &e), 0);
	ck_assert_int_eq(loop_run(loop, &e), 0);
}

START_TEST(runs_all_stages)
{
	begin();
	for (int later = 0; later < 2; later++) {
		waits = later;
		run(&forth);
		ck_assert_int_eq(ended.kind, ERR_NONE);
		expect(true);
		run(&back);
		expect(false);
	}
	end();
}
END_TEST

START_TEST(failure_at_any_stage_undoes_all)
{
	begin();
	for (int i = 0; i < 2 * STAGES; i++) {
		waits = i >= STAGES;
		fail_run = i % STAGES;
		run(&forth);
		ck_assert_int_eq(ended.kind, ERR_ROLLED_BACK);
		ck_assert_uint_eq(ends, 1);
		expect(false);
	}
	end();
}
END_TEST

START_TEST(undo_that_fails_is_told_and_tried_again)
{
	begin();
	fail_run = 2;
	fail_undo = 1;
	undo_failures = 1;
	run(&forth);
	ck_assert_uint_eq(ends, 2); /* PARTLY_DONE first */
	ck_assert_int_eq(ended.kind, ERR_NONE);
	expect(false);
	end();
}
END_TEST

START_TEST(no_way_back_after_the_commit)
{
	begin();
	run(&forth);
	fail_undo = 1;
	undo_failures = 1;
	run(&back);
	ck_assert_uint_eq(ends, 2);
	expect(false);
	end();
}
END_TEST

/* --- crashes ---------------------------------------------------------------------------------- */

static void resume_op(void *arg, const struct journal_op *op)
{
	*(struct journal_op *)arg = *op;
}

static void recover(void)
{
	struct journal_op op = {0};
	struct stages_owner o = owner();

	ck_assert_int_eq(journal_each(store, resume_op, &op, &e), 0);
	if (op.id == 0)
		return;
	ck_assert_int_eq(
		stages_resume(strcmp(op.verb, "forth") == 0 ? &forth : &back, &op, &o, &e), 0);
	ck_assert_int_eq(loop_run(loop, &e), 0);
}

/* The same program, killed at the point; false when it is not on the way. */
static bool crash(const struct stages_table *table, const char *point)
{
	char file[96];
	int status, fd;
	pid_t pid;

	snprintf(file, sizeof(file), "%s/fault", dir);
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_eq(write(fd, point, strlen(point)), (ssize_t)strlen(point));
	close(fd);
	close_all();
	pid = fork();
	if (pid == 0) {
		setenv("IOVD_FAULT", file, 1);
		open_all();
		run(table);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	open_all();
	return WIFSIGNALED(status);
}

/* Kills at every point of `table` (undoing it, if fail_run says so), then recovers. */
static void sweep(const struct stages_table *table, bool before)
{
	static const char *const moments[] = {"begun", "done", "undo", "undone"};
	unsigned int killed = 0;
	char point[64];

	for (unsigned int n = 0; n < STAGES; n++) {
		for (unsigned int m = 0; m < ARRAY_SIZE(moments); m++) {
			snprintf(point, sizeof(point), "%s.%s.%s", table->verb,
				table->stages[n].name, moments[m]);
			killed += crash(table, point);
			recover();
			expect(is_done());
			if (is_done() == before)
				continue;
			run(before ? &forth : &back);
			expect(before);
		}
	}
	ck_assert_uint_ge(killed, 2 * STAGES - 1);
}

START_TEST(crash_at_any_point_of_a_run)
{
	begin();
	sweep(&forth, false);
	end();
}
END_TEST

START_TEST(crash_at_any_point_of_what_cannot_go_back)
{
	begin();
	run(&forth);
	sweep(&back, true);
	end();
}
END_TEST

START_TEST(crash_at_any_point_of_an_undo)
{
	begin();
	fail_run = STAGES - 1;
	sweep(&forth, false);
	end();
}
END_TEST

START_TEST(journal_that_cannot_be_written_begins_nothing)
{
	struct stages_owner o;

	begin();
	o = owner();
	ck_assert_int_eq(store_run(store, "DROP TABLE journal", STORE_NO_BIND, NULL, NULL, &e), 0);
	ck_assert_int_eq(stages_start(&forth, "x", &o, &e), -1);
	ck_assert(!file_is_there(0));
	end();
}
END_TEST

UNIT_MAIN(runs_all_stages, failure_at_any_stage_undoes_all, undo_that_fails_is_told_and_tried_again,
	no_way_back_after_the_commit, crash_at_any_point_of_a_run,
	crash_at_any_point_of_what_cannot_go_back, crash_at_any_point_of_an_undo,
	journal_that_cannot_be_written_begins_nothing)
