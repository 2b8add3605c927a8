/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs: every change that a client asks for is one. A job locks the objects it is about (by their
 * ids: a second job on any of them is refused with Busy and the first one's id), tells how far it
 * is, and ends once. The request that started it is answered when it ends, or with TimedOut(job)
 * at the request's deadline, after which `iovctl job ID --wait` goes on waiting. A client that goes
 * away leaves the job running: a change that has begun ends by its own rules.
 *
 * The daemon is one thread: a job is a name for something that the loop does piece by piece.
 */
#pragma once

#include "lib/watch.h"
#include "proto/json.h"

#define JOB_MAX_OBJECTS 3
#define JOB_DEADLINE_MS 30000 /* until a waiting request is told TimedOut */
#define JOB_NO_DEADLINE UINT64_MAX

struct events;
struct job;
struct jobs;
struct request;

enum job_state { JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_CANCELLED };

struct job_spec {
	const char *verb; /* "attach" */
	const char
		*objects[JOB_MAX_OBJECTS]; /* what it locks, "device:/srv/a.img"; NULL: no more */
	uint64_t deadline_ms;              /* 0: JOB_DEADLINE_MS */
	/* Asked to stop: ends the job (now or later) as undone, or lets it go on. NULL: cannot. */
	void (*cancel)(struct job *job, void *arg);
	void *arg;
};

struct jobs *jobs_new(struct watch_loop *loop, struct events *events, struct err *e);

/* After the server has gone. Running jobs are forgotten where they stand (the journal knows). */
void jobs_free(struct jobs *jobs);

/*
 * A job for `rq`, which it answers from now on (NULL: nobody's). Strings are copied. NULL with e
 * set (ERR_BUSY) if an object is locked; the request is then still the caller's to fail.
 */
struct job *job_start(
	struct jobs *jobs, struct request *rq, const struct job_spec *spec, struct err *e);

/* 0 if no job is at the object, or -1 with e set (ERR_BUSY). */
int jobs_check_free(const struct jobs *jobs, const char *verb, const char *object, struct err *e);

const char *job_id(const struct job *job);

/* What it is doing now, for people ("starting the worker"), and how far it is, 0 to 100. */
void job_progress(struct job *job, unsigned int percent, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * The end, exactly one of them; the job is not the caller's any more. `result`: the JSON text of
 * the members' object that the request is answered with ("{...}"), copied.
 */
void job_done(struct job *job, const char *result, size_t len);
void job_fail(struct job *job, const struct err *e);
void job_cancelled(struct job *job);

/*
 * For do_job.c: the objects of `list jobs` into an open array; the job with this id, or NULL with e
 * set; its object. The latest ended jobs are kept, so that somebody can still ask.
 */
void jobs_put_list(const struct jobs *jobs, struct json_out *o);
struct job *jobs_find(struct jobs *jobs, const char *id, struct err *e);
void job_put(const struct job *job, struct json_out *o, const char *key);

/*
 * Answers rq with the job (or its error) when it has ended, or with TimedOut after wait_ms, which
 * may be JOB_NO_DEADLINE.
 */
void job_wait(struct job *job, struct request *rq, uint64_t wait_ms);

/* Asks it to stop. 0 (it ends soon, or has ended), or -1 if it cannot be stopped. */
int job_ask_cancel(struct job *job, struct err *e);
