/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a message to its handler: one const table, one choke point. A row says who may call a method
 * (checked before the parameters are even parsed), what its parameters are and which function does
 * it. Handlers live in daemon/do_*.c and are called from here only.
 *
 * The life of a request: made for a call, handed to the row's run() with the parameters read into
 * the row's structure, and ended exactly once, by request_send_reply() or request_fail(). Between
 * the two a handler may return to the loop and answer later. `args`, strings included, stays valid
 * until the end. When the client goes away first, the request ends by itself: request_on_gone()'s
 * function is told, and the request must not be used after it returns. Calls of one connection are
 * answered in order: the next one starts when this one has ended.
 */
#pragma once

#include <sys/types.h>

#include "lib/err.h"
#include "proto/json.h"
#include "proto/varlink.h"

struct daemon;
struct request;

enum role {
	ROLE_NONE,   /* may nothing */
	ROLE_READ,   /* group iovd */
	ROLE_CHANGE, /* root, or the daemon's own uid */
};

/* What a method holds while it runs. */
enum lock_class {
	LOCK_NONE, /* looks only */
	LOCK_JOB,  /* changes things, through a job that locks its objects (daemon/jobs.h) */
};

struct method {
	const char *name; /* in full */
	enum role role;
	enum lock_class lock;
	bool stream;                      /* many replies: only with "more" */
	const struct json_params *params; /* NULL: none */
	/* The parameter that names a device: if it is a path, a hand looks where that leads, before
	 * run(). */
	const char *names;
	void (*run)(struct request *rq, const void *args); /* args: the structure of `params` */
};

/* All methods, in no order; for the tests that hold it against the interface description. */
extern const struct method dispatch_methods[];
extern const unsigned int dispatch_method_count;

/* --- for handlers ----------------------------------------------------------------------------- */

struct daemon *request_daemon(const struct request *rq);
uid_t request_uid(const struct request *rq);
const struct method *request_method(const struct request *rq);

/*
 * The reply: add the members of its parameters to what request_begin_reply() returns, then send.
 * Beginning again forgets what was added; request_fail() is allowed in between.
 */
struct json_out *request_begin_reply(struct request *rq);
void request_send_reply(struct request *rq);

/*
 * Descriptors (at most FDIO_MAX_FDS) that go with the reply, which is to be sent next: they become
 * the request's, and are closed also when it ends otherwise. A client that takes no descriptors
 * gets the reply alone.
 */
void request_add_fds(struct request *rq, const int *fds, unsigned int count);

/* The reply whose parameters are this text of an object. */
void request_send_document(struct request *rq, const char *text, size_t len);

/* Ends the request with org.iovd.<kind of e>, and logs it, once. `job`: NULL, or what goes on. */
void request_fail(struct request *rq, const struct err *e);
void request_fail_job(struct request *rq, const struct err *e, const char *job);

/*
 * The same with org.varlink.service.<name> and its one parameter (NULL: none); `e` has the words
 * for the log.
 */
void request_fail_standard(struct request *rq, const char *name, const char *parameter,
	const char *value, const struct err *e);

/*
 * One reply of a stream, `text` being the whole parameters object; the request goes on. When the
 * client does not read fast enough it is dropped (fn of request_on_gone() is called from the loop
 * later, not from here).
 */
void request_stream(struct request *rq, const char *text, size_t len);

/* Calls fn(arg) when the client is gone, once, if that comes before the end of the request. */
void request_on_gone(struct request *rq, void (*fn)(void *arg), void *arg);

/* --- for the server --------------------------------------------------------------------------- */

/* How a request reaches its client; implemented by daemon/server.c and by tests. */
struct request_sink {
	/* One whole message (the NUL is added there). `last`: the request has ended. */
	void (*send)(void *sink, const char *text, size_t len, bool last);
	/* Descriptors, its own from now on, for the message that is sent next: the last one. */
	void (*take_fds)(void *sink, const int *fds, unsigned int count);
	/* The request has ended without a message (oneway). */
	void (*done)(void *sink);
};

struct request_peer {
	uid_t uid;
	pid_t pid; /* at connect time: for the log, never for decisions */
	enum role role;
};

/*
 * Handles one message. Returns the request if it has not ended yet (until sink->send(last) or
 * sink->done() it may be request_drop()ped), or NULL; -1 in *broken if the message was no Varlink
 * at all, and the connection is to be closed after what was sent.
 */
struct request *dispatch_message(struct daemon *d, const struct request_peer *peer,
	const struct request_sink *ops, void *sink, const char *text, size_t len, int *broken);

/* The client is gone: tells the handler, and frees the request. */
void request_drop(struct request *rq);
