/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/jobs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/dispatch.h"
#include "daemon/events.h"
#include "lib/cleanup.h"
#include "lib/list.h"
#include "lib/log.h"

#define JOBS_MAX_ENDED 256 /* kept, so that somebody can still ask */

struct jobs {
	struct watch_loop *loop;
	struct events *events;
	struct list_node list; /* what started or ended first comes first */
	unsigned int ended_count;
	unsigned int last_number;
	unsigned int tag; /* tells this daemon's job 1 from the one before a restart */
};

struct job {
	struct list_node node;
	struct jobs *jobs;
	char id[16];
	char *verb, *objects[JOB_MAX_OBJECTS];
	enum job_state state;
	unsigned int percent;
	char doing[96];
	char started[UTC_TEXT_SIZE];
	struct err error; /* of a failed or cancelled one */
	char *result;     /* of a done one: what the request that started it is answered with */
	size_t result_len;
	struct list_node waiters;
	void (*cancel)(struct job *job, void *arg);
	void *arg;
};

/* A request that is answered when the job ends. */
struct waiter {
	struct list_node node;
	struct job *job;
	struct request *rq;
	struct watch *timer; /* NULL: waits for ever */
	bool wants_result;   /* it started the job; others want the job's object */
};

static const char *const job_state_names[] = {
	[JOB_RUNNING] = "running",
	[JOB_DONE] = "done",
	[JOB_FAILED] = "failed",
	[JOB_CANCELLED] = "cancelled",
};

/* --- the objects ------------------------------------------------------------------------------ */

struct jobs *jobs_new(struct watch_loop *loop, struct events *events, struct err *e)
{
	struct jobs *jobs = calloc(1, sizeof(*jobs));

	if (!jobs || getrandom(&jobs->tag, sizeof(jobs->tag), 0) != sizeof(jobs->tag)) {
		free(jobs);
		err_set(e, ERR_FAILED, "MEMORY", "jobs cannot be kept");
		return NULL;
	}
	jobs->loop = loop;
	jobs->events = events;
	list_init(&jobs->list);
	return jobs;
}

static void job_free(struct job *job)
{
	assert(list_is_empty(&job->waiters));
	list_remove(&job->node);
	for (unsigned int i = 0; i < JOB_MAX_OBJECTS; i++)
		free(job->objects[i]);
	free(job->verb);
	free(job->result);
	free(job);
}

void jobs_free(struct jobs *jobs)
{
	if (!jobs)
		return;
	list_for_each_safe (node, &jobs->list)
		job_free(list_entry(node, struct job, node));
	free(jobs);
}

static struct job *job_new(struct jobs *jobs, const struct job_spec *spec)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->jobs = jobs;
	job->cancel = spec->cancel;
	job->arg = spec->arg;
	list_init(&job->waiters);
	list_init(&job->node);
	job->verb = strdup(spec->verb);
	for (unsigned int i = 0; i < JOB_MAX_OBJECTS && spec->objects[i]; i++) {
		job->objects[i] = strdup(spec->objects[i]);
		if (!job->objects[i])
			goto fail;
	}
	if (!job->verb)
		goto fail;
	snprintf(job->id, sizeof(job->id), "%04x-%u", jobs->tag & 0xffff, ++jobs->last_number);
	utc_now_text(job->started);
	str_copy(job->doing, sizeof(job->doing), "starting");
	return job;
fail:
	job_free(job);
	return NULL;
}

static bool job_has_object(const struct job *job, const char *object)
{
	for (unsigned int i = 0; i < JOB_MAX_OBJECTS && job->objects[i]; i++)
		if (strcmp(job->objects[i], object) == 0)
			return true;
	return false;
}

/* The running job that has this object, or NULL. */
static struct job *jobs_find_owner(const struct jobs *jobs, const char *object)
{
	list_for_each (node, &jobs->list) {
		struct job *job = list_entry(node, struct job, node);

		if (job->state == JOB_RUNNING && job_has_object(job, object))
			return job;
	}
	return NULL;
}

struct job *jobs_find(struct jobs *jobs, const char *id, struct err *e)
{
	list_for_each (node, &jobs->list) {
		struct job *job = list_entry(node, struct job, node);

		if (strcmp(job->id, id) == 0)
			return job;
	}
	err_set(e, ERR_NOT_FOUND, "NO-JOB", "there is no job %s", id);
	err_fix(e, "see 'iovctl list jobs'; jobs do not outlive the daemon");
	return NULL;
}

const char *job_id(const struct job *job)
{
	return job->id;
}

/* --- showing ---------------------------------------------------------------------------------- */

void job_put(const struct job *job, struct json_out *o, const char *key)
{
	json_out_object(o, key);
	json_out_str(o, "id", job->id);
	json_out_str(o, "verb", job->verb);
	json_out_array(o, "objects");
	for (unsigned int i = 0; i < JOB_MAX_OBJECTS && job->objects[i]; i++)
		json_out_str(o, NULL, job->objects[i]);
	json_out_end(o);
	json_out_str(o, "state", job_state_names[job->state]);
	json_out_u64(o, "percent", job->percent);
	json_out_str(o, "doing", job->doing);
	json_out_str(o, "started", job->started);
	json_out_str(o, "error", job->error.msg[0] ? job->error.msg : NULL);
	json_out_end(o);
}

void jobs_put_list(const struct jobs *jobs, struct json_out *o)
{
	list_for_each (node, &jobs->list)
		job_put(list_entry(node, struct job, node), o, NULL);
}

static void job_emit(const struct job *job, const char *event)
{
	struct json_out o;
	auto_free char *text = NULL;
	size_t len = 0;

	json_out_init(&o);
	job_put(job, &o, NULL);
	text = json_out_finish(&o, &len);
	events_emit(job->jobs->events, event, "job", job->id, text, len);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void waiter_free(struct waiter *w)
{
	w->job->jobs->loop->ops->remove(w->timer);
	list_remove(&w->node);
	free(w);
}

static void waiter_gone(void *arg)
{
	waiter_free(arg);
}

static void waiter_timed_out(void *arg, unsigned int events)
{
	struct waiter *w = arg;
	struct request *rq = w->rq;
	struct err e = ERR_INIT;

	(void)events;
	err_set(&e, ERR_TIMED_OUT, "JOB-GOES-ON", "%s takes longer; job %s goes on", w->job->verb,
		w->job->id);
	err_evidence(&e, "%s", w->job->doing);
	err_fix(&e, "iovctl job %s --wait", w->job->id);
	request_fail_job(rq, &e, w->job->id);
	waiter_free(w);
}

/* The request becomes the job's to answer. 0, or -1. */
static int job_add_waiter(
	struct job *job, struct request *rq, uint64_t deadline_ms, bool wants_result, struct err *e)
{
	struct watch_loop *loop = job->jobs->loop;
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory to wait for a job");
	w->job = job;
	w->rq = rq;
	w->wants_result = wants_result;
	if (deadline_ms != JOB_NO_DEADLINE) {
		w->timer = loop->ops->add_timer(loop, deadline_ms, waiter_timed_out, w, e);
		if (!w->timer) {
			free(w);
			return -1;
		}
	}
	list_append(&job->waiters, &w->node);
	request_on_gone(rq, waiter_gone, w);
	return 0;
}

static void job_reply_object(const struct job *job, struct request *rq)
{
	struct json_out *o = request_begin_reply(rq);

	json_out_str(o, "schema", "iovd.job/1");
	job_put(job, o, "job");
	request_send_reply(rq);
}

static void job_answer(const struct job *job, struct request *rq, bool wants_result)
{
	switch (job->state) {
	case JOB_RUNNING:
		assert(!"a running job has no answer");
		break;
	case JOB_DONE:
		if (wants_result)
			request_send_document(rq, job->result, job->result_len);
		else
			job_reply_object(job, rq);
		break;
	case JOB_FAILED:
	case JOB_CANCELLED:
		request_fail(rq, &job->error);
		break;
	}
}

void job_wait(struct job *job, struct request *rq, uint64_t wait_ms)
{
	struct err e = ERR_INIT;

	if (job->state != JOB_RUNNING)
		job_answer(job, rq, false);
	else if (job_add_waiter(job, rq, wait_ms, false, &e) < 0)
		request_fail(rq, &e);
}

/* --- the life of a job ------------------------------------------------------------------------ */

int jobs_check_free(const struct jobs *jobs, const char *verb, const char *object, struct err *e)
{
	const struct job *owner = jobs_find_owner(jobs, object);

	if (!owner)
		return 0;
	err_set(e, ERR_BUSY, "JOB-BUSY", "%s: %s is being worked on", verb, object);
	err_evidence(e, "job %s: %s: %s", owner->id, owner->verb, owner->doing);
	return err_fix(e, "iovctl job %s --wait", owner->id);
}

struct job *job_start(
	struct jobs *jobs, struct request *rq, const struct job_spec *spec, struct err *e)
{
	struct job *job;

	assert(!rq || request_method(rq)->lock == LOCK_JOB);
	for (unsigned int i = 0; i < JOB_MAX_OBJECTS && spec->objects[i]; i++)
		if (jobs_check_free(jobs, spec->verb, spec->objects[i], e) < 0)
			return NULL;
	job = job_new(jobs, spec);
	if (!job) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for a job");
		return NULL;
	}
	if (rq && job_add_waiter(job, rq, spec->deadline_ms ? spec->deadline_ms : JOB_DEADLINE_MS,
			  true, e) < 0) {
		job_free(job);
		return NULL;
	}
	list_append(&jobs->list, &job->node);
	job_emit(job, "added");
	return job;
}

void job_progress(struct job *job, unsigned int percent, const char *fmt, ...)
{
	va_list ap;

	job->percent = MIN(percent, 100);
	va_start(ap, fmt);
	vsnprintf(job->doing, sizeof(job->doing), fmt, ap);
	va_end(ap);
	job_emit(job, "changed");
}

/* Answers everybody, tells the watchers, and forgets the oldest ended job if there are too many. */
static void job_end(struct job *job, enum job_state state)
{
	struct jobs *jobs = job->jobs;

	assert(job->state == JOB_RUNNING);
	job->state = state;
	str_copy(job->doing, sizeof(job->doing), "");
	while (!list_is_empty(&job->waiters)) {
		struct waiter *w = list_entry(job->waiters.next, struct waiter, node);
		struct request *rq = w->rq;
		bool wants_result = w->wants_result;

		waiter_free(w);
		job_answer(job, rq, wants_result);
	}
	job_emit(job, "changed");
	list_remove(&job->node); /* to the end: the list is in the order in which they ended */
	list_append(&jobs->list, &job->node);
	if (++jobs->ended_count <= JOBS_MAX_ENDED)
		return;
	list_for_each (node, &jobs->list) {
		struct job *oldest = list_entry(node, struct job, node);

		if (oldest->state == JOB_RUNNING)
			continue;
		job_free(oldest);
		jobs->ended_count--;
		return;
	}
}

void job_done(struct job *job, const char *result, size_t len)
{
	job->percent = 100;
	job->result = malloc(len);
	if (!job->result) {
		err_set(&job->error, ERR_FAILED, "MEMORY",
			"%s is done, but there is no memory to say how", job->verb);
		job_end(job, JOB_FAILED);
		return;
	}
	memcpy(job->result, result, len);
	job->result_len = len;
	job_end(job, JOB_DONE);
}

void job_fail(struct job *job, const struct err *e)
{
	job->error = *e;
	job_end(job, JOB_FAILED);
}

void job_cancelled(struct job *job)
{
	err_set(&job->error, ERR_FAILED, "JOB-CANCELLED", "%s was cancelled, and undone",
		job->verb);
	job_end(job, JOB_CANCELLED);
}

int job_ask_cancel(struct job *job, struct err *e)
{
	if (job->state != JOB_RUNNING)
		return 0;
	if (!job->cancel) {
		err_set(e, ERR_REFUSED, "JOB-NO-CANCEL", "job %s (%s) cannot be cancelled", job->id,
			job->verb);
		return err_fix(e, "wait for it: iovctl job %s --wait", job->id);
	}
	job->cancel(job, job->arg);
	return 0;
}
