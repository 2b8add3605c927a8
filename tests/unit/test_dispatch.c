/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon/dispatch with jobs and events, without a socket: messages go in as text, and what comes
 * out is kept by a sink.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/events.h"
#include "daemon/jobs.h"
#include "daemon/loop.h"
#include "lib/cleanup.h"
#include "tests/unit/unit.h"

#define MANAGER IOVD_INTERFACE "."

/* A daemon, and one client of it. */
struct scene {
	struct daemon daemon;
	struct request_peer peer;
	struct request *request; /* that has not ended */
	char last[8192];         /* the latest message, as much of it as fits */
	char second[8192];
	unsigned int messages, ends;
	int broken;
};

static void sink_send(void *sink, const char *text, size_t len, bool last)
{
	struct scene *s = sink;

	len = MIN(len, sizeof(s->last) - 1);
	memcpy(s->last, text, len);
	s->last[len] = '\0';
	s->messages++;
	if (s->messages == 2)
		memcpy(s->second, s->last, sizeof(s->second));
	s->ends += last;
	if (last)
		s->request = NULL;
	if (s->daemon.loop)
		loop_stop(s->daemon.loop);
}

static void sink_done(void *sink)
{
	struct scene *s = sink;

	s->ends++;
	s->request = NULL;
}

static const struct request_sink sink_ops = {.send = sink_send, .done = sink_done};

static void scene_begin(struct scene *s, enum role role)
{
	struct err e = ERR_INIT;

	*s = (struct scene){.peer = {.uid = 1000, .role = role}};
	s->daemon.loop = loop_new(&e);
	s->daemon.events = events_new(&e);
	s->daemon.jobs = jobs_new(s->daemon.loop, s->daemon.events, &e);
	ck_assert_ptr_nonnull(s->daemon.jobs);
}

static void scene_drop(struct scene *s)
{
	if (s->request)
		request_drop(s->request);
	s->request = NULL;
}

static void scene_end(struct scene *s)
{
	scene_drop(s);
	jobs_free(s->daemon.jobs);
	events_free(s->daemon.events);
	loop_free(s->daemon.loop);
}

static void send_text(struct scene *s, const char *text)
{
	s->last[0] = '\0';
	s->request = dispatch_message(
		&s->daemon, &s->peer, &sink_ops, s, text, strlen(text), &s->broken);
}

static void call(struct scene *s, const char *method, const char *rest)
{
	char text[1024];

	snprintf(text, sizeof(text), "{\"method\":\"%s\"%s}", method, rest);
	send_text(s, text);
}

static void expect_second(const struct scene *s, const char *part)
{
	ck_assert_msg(strstr(s->second, part) != NULL, "no '%s' in '%s'", part, s->second);
}

static void expect(const struct scene *s, const char *part)
{
	ck_assert_msg(strstr(s->last, part) != NULL, "no '%s' in '%s'", part, s->last);
}

/* --- calls ------------------------------------------------------------------------------------ */

START_TEST(call_is_answered)
{
	struct scene s;

	scene_begin(&s, ROLE_READ);
	call(&s, MANAGER "ListJobs", "");
	ck_assert_str_eq(s.last, "{\"parameters\":{\"schema\":\"iovd.jobs/1\",\"jobs\":[]}}");
	ck_assert_ptr_null(s.request);
	ck_assert_int_eq(s.broken, 0);
	scene_end(&s);
}
END_TEST

START_TEST(wrong_calls_get_their_error)
{
	static const struct {
		const char *method, *rest, *error;
	} cases[] = {
		{MANAGER "Nothing", "", "\"error\":\"org.varlink.service.MethodNotFound\""},
		{"ListJobs", "", "\"error\":\"org.varlink.service.MethodNotFound\""},
		{MANAGER "ListJobs", ",\"parameters\":{\"x\":1}",
			"\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":"
			"{\"parameter\":\"x\"}"},
		{MANAGER "ShowJob", "", "{\"parameter\":\"id\"}"},
		{MANAGER "ShowJob", ",\"parameters\":{\"id\":\"1\",\"id\":\"2\"}",
			"\"error\":\"org.iovd.Usage\""},
		{MANAGER "ShowJob", ",\"parameters\":{\"id\":\"1\"}",
			"\"error\":\"org.iovd.NotFound\""},
		{MANAGER "Watch", "", "\"error\":\"org.varlink.service.ExpectedMore\""},
		{MANAGER "ListJobs", ",\"upgrade\":true", "{\"parameter\":\"upgrade\"}"},
	};
	struct scene s;

	scene_begin(&s, ROLE_CHANGE);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		call(&s, cases[i].method, cases[i].rest);
		expect(&s, cases[i].error);
		ck_assert_int_eq(s.broken, 0);
		ck_assert_ptr_null(s.request);
	}
	ck_assert_uint_eq(s.ends, ARRAY_SIZE(cases));
	scene_end(&s);
}
END_TEST

/* What is no Varlink ends the connection, but says why first. */
START_TEST(what_is_no_call_breaks)
{
	struct scene s;

	scene_begin(&s, ROLE_CHANGE);
	send_text(&s, "GET / HTTP/1.1");
	ck_assert_int_eq(s.broken, -1);
	expect(&s, "\"error\":\"org.iovd.Usage\"");
	scene_end(&s);
}
END_TEST

START_TEST(oneway_is_not_answered)
{
	struct scene s;

	scene_begin(&s, ROLE_READ);
	call(&s, MANAGER "ListJobs", ",\"oneway\":true");
	call(&s, MANAGER "Nothing", ",\"oneway\":true");
	ck_assert_uint_eq(s.messages, 0);
	ck_assert_uint_eq(s.ends, 2);
	scene_end(&s);
}
END_TEST

/* --- roles ------------------------------------------------------------------------------------ */

/* Every method, asked for by each role: refused exactly when the row says more is needed. */
START_TEST(every_row_is_guarded)
{
	for (unsigned int i = 0; i < dispatch_method_count; i++) {
		const struct method *m = &dispatch_methods[i];

		ck_assert_int_ne(m->role, ROLE_NONE);
		for (int role = ROLE_NONE; role < (int)m->role; role++) {
			struct scene s;

			scene_begin(&s, (enum role)role);
			call(&s, m->name, ",\"more\":true,\"parameters\":{\"no such\":1}");
			expect(&s, "\"error\":\"org.iovd.NotPermitted\"");
			scene_end(&s);
		}
	}
}
END_TEST

/* The role comes first: who may not call it does not get its parameters parsed. */
START_TEST(role_is_checked_before_parameters)
{
	struct scene s;

	scene_begin(&s, ROLE_READ);
	call(&s, MANAGER "CancelJob", ",\"parameters\":{\"x\":1,\"x\":2}");
	expect(&s, "\"error\":\"org.iovd.NotPermitted\"");
	scene_end(&s);
}
END_TEST

START_TEST(nobody_learns_nothing)
{
	struct scene s;

	scene_begin(&s, ROLE_NONE);
	call(&s, MANAGER "Nothing", "");
	expect(&s, "\"error\":\"org.iovd.NotPermitted\"");
	call(&s, "org.varlink.service.GetInfo", "");
	expect(&s, "\"error\":\"org.iovd.NotPermitted\"");
	scene_end(&s);
}
END_TEST

/* Whatever changes the host does so in a job; a reader's method never may. */
START_TEST(changes_are_jobs)
{
	for (unsigned int i = 0; i < dispatch_method_count; i++)
		if (dispatch_methods[i].lock == LOCK_JOB)
			ck_assert_int_eq(dispatch_methods[i].role, ROLE_CHANGE);
}
END_TEST

/* --- events ----------------------------------------------------------------------------------- */

START_TEST(watchers_get_events_in_order)
{
	struct scene s;

	scene_begin(&s, ROLE_READ);
	events_emit(s.daemon.events, "added", "device", "unseen", NULL, 0);
	call(&s, MANAGER "Watch", ",\"more\":true");
	ck_assert_ptr_nonnull(s.request);
	expect(&s, "\"event\":\"watching\"");
	expect(&s, "\"seq\":1,\"daemon\":\"");
	expect(&s, "\"continues\":true");
	events_emit(s.daemon.events, "removed", "device", "sdb", "{\"id\":\"sdb\"}", 12);
	expect(&s, "\"seq\":2");
	expect(&s, "\"event\":\"removed\",\"kind\":\"device\",\"id\":\"sdb\","
		   "\"data\":{\"id\":\"sdb\"}}");
	ck_assert_uint_eq(s.messages, 2);
	scene_drop(&s);
	events_emit(s.daemon.events, "added", "device", "sdc", NULL, 0);
	ck_assert_uint_eq(s.messages, 2);
	scene_end(&s);
}
END_TEST

/* The id by which the daemon of the scene is known, from its last message. */
static void read_daemon(struct scene *s, char id[17])
{
	const char *at = strstr(s->last, "\"daemon\":\"");

	ck_assert_ptr_nonnull(at);
	ck_assert_int_eq(sscanf(at, "\"daemon\":\"%16[0-9a-f]\"", id), 1);
}

static void watch_since(struct scene *s, uint64_t seq, const char *daemon)
{
	char more[160];

	snprintf(more, sizeof(more), ",\"more\":true,\"parameters\":{\"since\":%llu%s%s%s}",
		(unsigned long long)seq, daemon ? ",\"daemon\":\"" : "", daemon ? daemon : "",
		daemon ? "\"" : "");
	scene_drop(s);
	s->messages = 0;
	call(s, MANAGER "Watch", more);
	ck_assert_ptr_nonnull(s->request);
}

static void emit_many(struct scene *s, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		events_emit(s->daemon.events, "changed", "device", "sda", NULL, 0);
}

/* Who comes back misses nothing that is kept; what is not kept is named. */
START_TEST(watchers_resume)
{
	struct scene s;
	char id[17];

	scene_begin(&s, ROLE_READ);
	emit_many(&s, 3);
	watch_since(&s, 1, NULL);
	ck_assert_uint_eq(s.messages, 3); /* watching, 2, 3 */
	expect(&s, "\"seq\":3,");
	read_daemon(&s, id);
	emit_many(&s, 1);
	expect(&s, "\"seq\":4,");
	watch_since(&s, 4, id);
	ck_assert_uint_eq(s.messages, 1);
	expect(&s, "\"seq\":4,");
	expect(&s, "\"event\":\"watching\"");
	emit_many(&s, EVENTS_KEPT_MAX - 4);
	watch_since(&s, 0, id);
	ck_assert_uint_eq(s.messages, 1 + EVENTS_KEPT_MAX);
	emit_many(&s, 1); /* and the first is gone */
	watch_since(&s, 1, id);
	ck_assert_uint_eq(s.messages, 1 + EVENTS_KEPT_MAX);
	watch_since(&s, 0, id);
	ck_assert_uint_eq(s.messages, 2 + EVENTS_KEPT_MAX);
	expect_second(&s, "\"seq\":1,");
	expect_second(&s, "\"event\":\"lost\"");
	expect_second(&s, "\"data\":{\"from\":1,\"to\":1,\"why\":\"too many\"}");
	scene_end(&s);
}
END_TEST

/* Numbers of another daemon are no numbers of this one, even where there are such. */
START_TEST(watchers_know_a_new_daemon)
{
	static const char *const others[] = {"0123456789abcdef", NULL};
	static const uint64_t numbers[] = {1, 17};
	struct scene s;

	scene_begin(&s, ROLE_READ);
	emit_many(&s, 2);
	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++) {
		watch_since(&s, numbers[i], others[i]);
		ck_assert_uint_eq(s.messages, 4); /* watching, lost, 1, 2 */
		expect_second(&s, "\"event\":\"lost\"");
		expect_second(&s, "\"from\":null,\"to\":null,\"why\":\"restarted\"");
		expect(&s, "\"seq\":2,");
	}
	scene_end(&s);
}
END_TEST

/* Large ones push out many; one that is larger than the room is not kept, nor what was before. */
START_TEST(events_are_bounded_in_bytes)
{
	const size_t size = EVENTS_KEPT_BYTES / 4;
	char *data = malloc(2 * EVENTS_KEPT_BYTES);
	struct scene s;

	scene_begin(&s, ROLE_READ);
	ck_assert_ptr_nonnull(data);
	memset(data, '1', 2 * EVENTS_KEPT_BYTES);
	emit_many(&s, 10);
	for (unsigned int i = 0; i < 5; i++)
		events_emit(s.daemon.events, "changed", "device", "sda", data, size);
	watch_since(&s, 0, NULL);
	ck_assert_uint_eq(s.messages, 2 + 3); /* 13 to 15: with their frames four are too many */
	expect_second(&s, "\"from\":1,\"to\":12,");
	events_emit(s.daemon.events, "changed", "device", "sda", data, 2 * EVENTS_KEPT_BYTES);
	watch_since(&s, 15, NULL);
	ck_assert_uint_eq(s.messages, 2);
	expect(&s, "\"from\":16,\"to\":16,");
	emit_many(&s, 1);
	expect(&s, "\"seq\":17,");
	free(data);
	scene_end(&s);
}
END_TEST

/* --- jobs ------------------------------------------------------------------------------------- */

static void note_cancel(struct job *job, void *arg)
{
	*(bool *)arg = true;
	job_cancelled(job);
}

static struct job *start(struct scene *s, const char *object, bool *cancelled, struct err *e)
{
	struct job_spec spec = {
		.verb = "attach",
		.objects = {object, "vm:web1"},
		.cancel = cancelled ? note_cancel : NULL,
		.arg = cancelled,
	};

	return job_start(s->daemon.jobs, NULL, &spec, e);
}

static void call_job(struct scene *s, const char *method, const struct job *job, const char *rest)
{
	char parameters[128], name[64];

	snprintf(name, sizeof(name), MANAGER "%s", method);
	snprintf(parameters, sizeof(parameters), ",\"parameters\":{\"id\":\"%s\"%s}", job_id(job),
		rest);
	call(s, name, parameters);
}

START_TEST(job_is_waited_for)
{
	struct err e = ERR_INIT;
	struct scene s;
	struct job *job;

	scene_begin(&s, ROLE_READ);
	job = start(&s, "device:a", NULL, &e);
	job_progress(job, 50, "half way");
	call_job(&s, "ShowJob", job, "");
	expect(&s, "\"state\":\"running\",\"percent\":50,\"doing\":\"half way\"");
	call_job(&s, "WaitJob", job, "");
	ck_assert_ptr_nonnull(s.request);
	job_done(job, "{}", 2);
	ck_assert_ptr_null(s.request);
	expect(&s, "\"state\":\"done\",\"percent\":100");
	call_job(&s, "WaitJob", job, ",\"wait_ms\":0"); /* has ended: no waiting */
	expect(&s, "\"state\":\"done\"");
	scene_end(&s);
}
END_TEST

START_TEST(waiting_may_time_out)
{
	struct err e = ERR_INIT;
	struct scene s;
	struct job *job;
	char expected[64];

	scene_begin(&s, ROLE_READ);
	job = start(&s, "device:a", NULL, &e);
	call_job(&s, "WaitJob", job, ",\"wait_ms\":5");
	ck_assert_ptr_nonnull(s.request);
	ck_assert_int_eq(loop_run(s.daemon.loop, &e), 0);
	ck_assert_ptr_null(s.request);
	expect(&s, "\"error\":\"org.iovd.TimedOut\"");
	snprintf(expected, sizeof(expected), "\"job\":\"%s\"", job_id(job));
	expect(&s, expected);
	job_done(job, "{}", 2);
	scene_end(&s);
}
END_TEST

START_TEST(failed_job_answers_its_error)
{
	struct err e = ERR_INIT;
	struct scene s;
	struct job *job;

	scene_begin(&s, ROLE_READ);
	job = start(&s, "device:a", NULL, &e);
	call_job(&s, "WaitJob", job, "");
	err_set(&e, ERR_ROLLED_BACK, "WORKER-START", "the worker did not start");
	job_fail(job, &e);
	expect(&s, "\"error\":\"org.iovd.RolledBack\"");
	call(&s, MANAGER "ListJobs", "");
	expect(&s, "\"state\":\"failed\"");
	expect(&s, "\"error\":\"the worker did not start\"");
	scene_end(&s);
}
END_TEST

/* A client that goes away while it waits leaves the job alone. */
START_TEST(job_outlives_its_client)
{
	struct err e = ERR_INIT;
	struct scene s;
	struct job *job;

	scene_begin(&s, ROLE_READ);
	job = start(&s, "device:a", NULL, &e);
	call_job(&s, "WaitJob", job, ",\"wait_ms\":60000");
	scene_drop(&s);
	job_done(job, "{}", 2);
	call_job(&s, "ShowJob", job, "");
	expect(&s, "\"state\":\"done\"");
	scene_end(&s);
}
END_TEST

START_TEST(objects_are_locked)
{
	struct err e = ERR_INIT;
	struct scene s;
	struct job *job;

	scene_begin(&s, ROLE_READ);
	job = start(&s, "device:a", NULL, &e);
	ck_assert_ptr_null(start(&s, "device:b", NULL, &e)); /* the same vm */
	ck_assert_int_eq(e.kind, ERR_BUSY);
	ck_assert_ptr_nonnull(strstr(e.evidence, job_id(job)));
	job_done(job, "{}", 2);
	job = start(&s, "device:a", NULL, &e);
	ck_assert_ptr_nonnull(job);
	job_done(job, "{}", 2);
	scene_end(&s);
}
END_TEST

START_TEST(job_is_cancelled_or_says_no)
{
	struct err e = ERR_INIT;
	bool cancelled = false;
	struct scene s;
	struct job *job;

	scene_begin(&s, ROLE_CHANGE);
	job = start(&s, "device:a", &cancelled, &e);
	call_job(&s, "CancelJob", job, "");
	ck_assert(cancelled);
	expect(&s, "\"state\":\"cancelled\"");
	job = start(&s, "device:a", NULL, &e);
	call_job(&s, "CancelJob", job, "");
	expect(&s, "\"error\":\"org.iovd.Refused\"");
	job_done(job, "{}", 2);
	scene_end(&s);
}
END_TEST

/* Only so many ended jobs are kept, and the running one is not the one to go. */
START_TEST(old_jobs_are_forgotten)
{
	struct err e = ERR_INIT;
	struct job *first, *second;
	char second_id[32], rest[64];
	struct scene s;

	scene_begin(&s, ROLE_READ);
	first = start(&s, "device:a", NULL, &e);
	second = job_start(s.daemon.jobs, NULL, &(struct job_spec){.verb = "x"}, &e);
	str_copy(second_id, sizeof(second_id), job_id(second));
	job_done(second, "{}", 2);
	for (unsigned int i = 0; i < 300; i++)
		job_done(job_start(s.daemon.jobs, NULL, &(struct job_spec){.verb = "x"}, &e), "{}",
			2);
	snprintf(rest, sizeof(rest), ",\"parameters\":{\"id\":\"%s\"}", second_id);
	call(&s, MANAGER "ShowJob", rest);
	expect(&s, "NotFound");
	job_done(first, "{}", 2);
	call_job(&s, "ShowJob", first, "");
	expect(&s, "\"state\":\"done\"");
	scene_end(&s);
}
END_TEST

UNIT_MAIN(call_is_answered, wrong_calls_get_their_error, what_is_no_call_breaks,
	oneway_is_not_answered, every_row_is_guarded, role_is_checked_before_parameters,
	nobody_learns_nothing, changes_are_jobs, watchers_get_events_in_order, watchers_resume,
	watchers_know_a_new_daemon, events_are_bounded_in_bytes, job_is_waited_for,
	waiting_may_time_out, failed_job_answers_its_error, job_outlives_its_client,
	objects_are_locked, job_is_cancelled_or_says_no, old_jobs_are_forgotten)
