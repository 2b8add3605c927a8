/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs and events, as clients see them. */
#include "daemon/daemon.h"
#include "daemon/dispatch.h"
#include "daemon/do.h"
#include "daemon/events.h"
#include "daemon/jobs.h"
#include "daemon/show.h"

struct job_args {
	const char *id;
	uint64_t wait_ms;
};

static const struct json_field job_fields[] = {
	{"id", JSON_FIELD_STRING, .required = true, .offset = offsetof(struct job_args, id)},
	{"wait_ms", JSON_FIELD_U64, .offset = offsetof(struct job_args, wait_ms),
		.absent = JOB_NO_DEADLINE},
};

/* ShowJob and CancelJob take the id only. */
const struct json_params do_show_job_params = {job_fields, 1, sizeof(struct job_args)};
const struct json_params do_cancel_job_params = {job_fields, 1, sizeof(struct job_args)};
const struct json_params do_wait_job_params = {
	job_fields, ARRAY_SIZE(job_fields), sizeof(struct job_args)};

void do_list_jobs(struct request *rq, const void *args)
{
	struct json_out *o = request_begin_reply(rq);

	(void)args;
	json_out_str(o, "schema", "iovd.jobs/1");
	json_out_array(o, "jobs");
	jobs_put_list(request_daemon(rq)->jobs, o);
	json_out_end(o);
	request_send_reply(rq);
}

/* The job that the request names; NULL when there is none, and the request has ended then. */
static struct job *do_find_job(struct request *rq, const struct job_args *a)
{
	struct err e = ERR_INIT;
	struct job *job = jobs_find(request_daemon(rq)->jobs, a->id, &e);

	if (!job)
		request_fail(rq, &e);
	return job;
}

static void do_reply_job(struct request *rq, const struct job *job)
{
	struct json_out *o = request_begin_reply(rq);

	json_out_str(o, "schema", "iovd.job/1");
	job_put(job, o, "job");
	request_send_reply(rq);
}

void do_show_job(struct request *rq, const void *args)
{
	struct job *job = do_find_job(rq, args);

	if (job)
		do_reply_job(rq, job);
}

int show_job(struct daemon *d, const char *name, struct json_out *o, const char *key, struct err *e)
{
	const struct job *job = jobs_find(d->jobs, name, e);

	if (!job)
		return 0;
	job_put(job, o, key);
	return 1;
}

void do_wait_job(struct request *rq, const void *args)
{
	const struct job_args *a = args;
	struct job *job = do_find_job(rq, a);

	if (job)
		job_wait(job, rq, a->wait_ms);
}

void do_cancel_job(struct request *rq, const void *args)
{
	struct job *job = do_find_job(rq, args);
	struct err e = ERR_INIT;

	if (!job)
		return;
	if (job_ask_cancel(job, &e) < 0)
		request_fail(rq, &e);
	else
		do_reply_job(rq, job);
}

#define WATCH_FROM_NOW UINT64_MAX

struct watch_args {
	uint64_t since;
	const char *daemon;
};

static const struct json_field watch_fields[] = {
	{"since", JSON_FIELD_U64, .offset = offsetof(struct watch_args, since),
		.absent = WATCH_FROM_NOW},
	{"daemon", JSON_FIELD_STRING, .offset = offsetof(struct watch_args, daemon)},
};
const struct json_params do_watch_params = {
	watch_fields, ARRAY_SIZE(watch_fields), sizeof(struct watch_args)};

void do_watch(struct request *rq, const void *args)
{
	const struct watch_args *a = args;
	const struct events_since since = {.seq = a->since, .daemon = a->daemon};

	events_add_watcher(
		request_daemon(rq)->events, rq, a->since == WATCH_FROM_NOW ? NULL : &since);
}
