/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the loop's thread owns everything here but a call's answer, which is its
 * thread's until that puts the call on the list of finished ones and wakes the loop.
 *
 *	virt_do()	a call, a thread		virt_late()	done(), too late
 *	thread		libvirt, answer, "finished"	virt_reap()	done() if not told yet; freed
 *
 * A thread that never comes back costs its stack and its call; there are at most MAX_CALLS.
 *
 * What is asked before the first attempt to connect has ended waits for that. Connecting is a call as
 * well. It ends with a connection on which all events are asked for
 * already: who lists the domains after up() has missed nothing. A connection is over when libvirt
 * says so (keepalive included); another is tried, at first at once, then ever less often.
 */
#include "lib/virt_priv.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/virt_events.h"

#define MAX_CALLS       64
#define CONNECT_MS      30000
#define RETRY_MIN_MS    200
#define RETRY_MAX_MS    10000
#define KEEPALIVE_S     5 /* seconds between signs of life, and how many may fail to come */
#define KEEPALIVE_COUNT 4

static void virt_be_silent(void *data, virErrorPtr error)
{
	(void)data, (void)error;
}

/* --- calls ------------------------------------------------------------------------------------ */

static void call_free(struct virt_call *call)
{
	for (size_t i = 0; i < call->answer.count; i++)
		free(call->answer.domains[i].name);
	free(call->answer.domains);
	free(call->answer.live);
	free(call->answer.config);
	free(call->answer.capabilities);
	free(call->domain);
	free(call->alias);
	free(call->text);
	free(call->metadata);
	free(call->destination);
	free(call->address);
	free(call->config);
	free(call);
}

/* One user less; the last one frees it. With the lock held, which it drops. */
static void virt_unref_unlock(struct virt *v)
{
	bool last = --v->references == 0;

	pthread_mutex_unlock(&v->lock);
	if (!last)
		return;
	list_for_each_safe (node, &v->finished)
		call_free(list_entry(node, struct virt_call, finished));
	pthread_mutex_destroy(&v->lock);
	close_fd(&v->wake_fd);
	free(v->uri);
	free(v);
}

static void *call_thread(void *arg)
{
	struct virt_call *call = arg;
	struct virt *v = call->v;
	const uint64_t one = 1;

	if (call->run(call, &call->err) < 0)
		assert(call->err.kind != ERR_NONE);
	pthread_mutex_lock(&v->lock);
	list_append(&v->finished, &call->finished);
	if (write(v->wake_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
	virt_unref_unlock(v);
	return NULL;
}

/* Threads get no signals: those are the loop's. */
static int call_start(struct virt_call *call, struct err *e)
{
	struct virt *v = call->v;
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, before;
	int rc;

	pthread_mutex_lock(&v->lock);
	v->references++;
	pthread_mutex_unlock(&v->lock);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, call_thread, call);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0)
		return 0;
	pthread_mutex_lock(&v->lock);
	v->references--;
	pthread_mutex_unlock(&v->lock);
	return err_sys(e, rc, "a thread for libvirt");
}

static void virt_late(void *arg, unsigned int events)
{
	struct virt_call *call = arg;
	virt_done_fn *done = steal_ptr(&call->done);
	struct err e = ERR_INIT;

	(void)events;
	err_set(&e, ERR_TIMED_OUT, "LIBVIRT-LATE", "libvirt does not answer in time");
	err_fix(&e, "look at libvirtd, and at what the domain is doing: virsh domjobinfo");
	if (done)
		done(call->arg, NULL, &e);
}

static struct virt_call *call_new(struct virt *v, int (*run)(struct virt_call *, struct err *),
	uint64_t deadline_ms, struct err *e)
{
	struct virt_call *call;

	if (v->call_count >= MAX_CALLS) {
		err_set(e, ERR_BUSY, "BUSY", "%u calls of libvirt have not ended", v->call_count);
		return NULL;
	}
	call = calloc(1, sizeof(*call));
	if (!call) {
		err_set(e, ERR_FAILED, "MEMORY", "no memory for a call of libvirt");
		return NULL;
	}
	call->v = v;
	call->run = run;
	call->deadline = v->loop->ops->add_timer(v->loop, deadline_ms, virt_late, call, e);
	if (!call->deadline) {
		free(call);
		return NULL;
	}
	list_append(&v->calls, &call->node);
	v->call_count++;
	return call;
}

static void call_end(struct virt_call *call)
{
	list_remove(&call->node);
	call->v->call_count--;
	call->v->loop->ops->remove(call->deadline);
	call->deadline = NULL;
}

/* Connections are given back by a thread: it takes a word to the other side. */
static void on_close(virConnectPtr conn, int reason, void *arg);

static int run_close(struct virt_call *call, struct err *e)
{
	(void)e;
	if (call->has_events) {
		virConnectUnregisterCloseCallback(call->conn, on_close);
		for (size_t i = 0; i < VIRT_EVENTS; i++)
			if (call->event_ids[i] >= 0)
				virConnectDomainEventDeregisterAny(call->conn, call->event_ids[i]);
	}
	virConnectClose(call->conn);
	return 0;
}

/* `event_ids`: NULL for a mere reference. */
static void virt_close(struct virt *v, virConnectPtr conn, const int *event_ids)
{
	struct virt_call *call = conn ? call_new(v, run_close, CONNECT_MS, NULL) : NULL;

	if (!call)
		return;
	call->conn = conn;
	call->has_events = event_ids;
	if (event_ids)
		memcpy(call->event_ids, event_ids, sizeof(call->event_ids));
	if (call_start(call, NULL) == 0)
		return;
	call_end(call);
	call_free(call);
}

/* NULL stays NULL. False: no memory. */
static bool copy(char **to, const char *text)
{
	*to = text ? strdup(text) : NULL;
	return *to || !text;
}

static int call_take(struct virt_call *call, const struct virt_ask *ask, struct err *e)
{
	call->which = ask->which;
	if (copy(&call->domain, ask->domain) && copy(&call->alias, ask->alias) &&
		copy(&call->text, ask->text) && copy(&call->metadata, ask->metadata) &&
		copy(&call->destination, ask->destination) && copy(&call->address, ask->address) &&
		copy(&call->config, ask->config))
		return 0;
	return err_set(e, ERR_FAILED, "MEMORY", "no memory for a call of libvirt");
}

/* On the connection that there is now. */
static int call_begin(struct virt_call *call, struct err *e)
{
	virConnectRef(call->v->conn);
	call->conn = call->v->conn;
	return call_start(call, e);
}

/* It has no thread. */
static void call_drop(struct virt_call *call)
{
	if (call->conn)
		virConnectClose(call->conn);
	call_end(call);
	call_free(call);
}

/* The first attempt to connect has succeeded, or failed for this reason. */
static void begin_waiting(struct virt *v, const struct err *why)
{
	list_for_each_safe (node, &v->calls) {
		struct virt_call *call = list_entry(node, struct virt_call, node);
		virt_done_fn *done = call->done;
		void *arg = call->arg;
		struct err e = ERR_INIT;

		if (!call->waits)
			continue;
		call->waits = false;
		if (why)
			e = *why;
		else if (done && call_begin(call, &e) == 0)
			continue;
		call_drop(call);
		if (done)
			done(arg, NULL, &e);
	}
}

struct virt_call *virt_do(
	struct virt *v, const struct virt_ask *ask, virt_done_fn *done, void *arg, struct err *e)
{
	struct virt_call *call;

	if (!v || (!v->conn && v->told_down)) {
		err_set(e, ERR_UNREACHABLE, "LIBVIRT-DOWN", "there is no connection to libvirt");
		err_evidence(e, "%s", v ? v->uri : "--libvirt none");
		err_fix(e, "start libvirtd, or tell iovd where it is (--libvirt)");
		return NULL;
	}
	call = call_new(v, virt_runs[ask->op], ask->deadline_ms ?: VIRT_DEADLINE_MS, e);
	if (!call)
		return NULL;
	call->done = done;
	call->arg = arg;
	call->waits = !v->conn;
	if (call_take(call, ask, e) == 0 && (call->waits || call_begin(call, e) == 0))
		return call;
	call_drop(call);
	return NULL;
}

void virt_forget(struct virt_call *call)
{
	call->done = NULL;
}

/* --- events ----------------------------------------------------------------------------------- */

static void tell(struct virt *v, virDomainPtr dom, struct virt_event *event)
{
	if (virDomainGetUUIDString(dom, event->uuid) < 0)
		return;
	event->name = virDomainGetName(dom);
	v->listener->event(v->arg, event);
}

static const char *const lifecycle_names[] = {
	[VIR_DOMAIN_EVENT_DEFINED] = "defined",
	[VIR_DOMAIN_EVENT_UNDEFINED] = "undefined",
	[VIR_DOMAIN_EVENT_STARTED] = "started",
	[VIR_DOMAIN_EVENT_SUSPENDED] = "suspended",
	[VIR_DOMAIN_EVENT_RESUMED] = "resumed",
	[VIR_DOMAIN_EVENT_STOPPED] = "stopped",
	[VIR_DOMAIN_EVENT_SHUTDOWN] = "shutdown",
	[VIR_DOMAIN_EVENT_PMSUSPENDED] = "pmsuspended",
	[VIR_DOMAIN_EVENT_CRASHED] = "crashed",
};

static bool is_migration(int event, int detail)
{
	return (event == VIR_DOMAIN_EVENT_STARTED && detail == VIR_DOMAIN_EVENT_STARTED_MIGRATED) ||
	       (event == VIR_DOMAIN_EVENT_SUSPENDED &&
		       detail == VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED) ||
	       (event == VIR_DOMAIN_EVENT_RESUMED && detail == VIR_DOMAIN_EVENT_RESUMED_MIGRATED) ||
	       (event == VIR_DOMAIN_EVENT_STOPPED && detail == VIR_DOMAIN_EVENT_STOPPED_MIGRATED);
}

static void on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *arg)
{
	struct virt_event told = {.kind = VIRT_DOMAIN_CHANGED};

	(void)conn;
	told.what = event >= 0 && (size_t)event < ARRAY_SIZE(lifecycle_names)
			    ? lifecycle_names[event]
			    : "changed";
	told.migrated = is_migration(event, detail);
	tell(arg, dom, &told);
}

static void on_removed(virConnectPtr conn, virDomainPtr dom, const char *alias, void *arg)
{
	struct virt_event told = {.kind = VIRT_DEVICE_REMOVED, .device = alias};

	(void)conn;
	tell(arg, dom, &told);
}

static void on_kept(virConnectPtr conn, virDomainPtr dom, const char *alias, void *arg)
{
	struct virt_event told = {.kind = VIRT_DEVICE_KEPT, .device = alias};

	(void)conn;
	tell(arg, dom, &told);
}

static void on_pass(virConnectPtr conn, virDomainPtr dom, int pass, void *arg)
{
	struct virt_event told = {.kind = VIRT_MIGRATION_PASS};

	(void)conn;
	told.pass = pass > 0 ? (unsigned int)pass : 0;
	tell(arg, dom, &told);
}

static void on_job(
	virConnectPtr conn, virDomainPtr dom, virTypedParameterPtr params, int count, void *arg)
{
	struct virt_event told = {.kind = VIRT_JOB_DONE, .success = true};
	unsigned long long downtime = 0;
	int success;

	(void)conn;
	if (virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_DOWNTIME, &downtime) == 1)
		told.downtime_ms = downtime;
	if (virTypedParamsGetBoolean(params, count, VIR_DOMAIN_JOB_SUCCESS, &success) == 1)
		told.success = success != 0;
	tell(arg, dom, &told);
}

static const struct {
	int id;
	virConnectDomainEventGenericCallback fn;
} wanted_events[VIRT_EVENTS] = {
	{VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)},
	{VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_removed)},
	{VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, VIR_DOMAIN_EVENT_CALLBACK(on_kept)},
	{VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, VIR_DOMAIN_EVENT_CALLBACK(on_pass)},
	{VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, VIR_DOMAIN_EVENT_CALLBACK(on_job)},
};

/* --- the connection --------------------------------------------------------------------------- */

static void virt_connect(struct virt *v);

static void virt_try_again(void *arg, unsigned int events)
{
	(void)events;
	virt_connect(arg);
}

static void virt_retry(struct virt *v, const struct err *why)
{
	if (!v->told_down) {
		v->told_down = true;
		begin_waiting(v, why);
		v->listener->down(v->arg, why);
	}
	if (v->retry)
		v->loop->ops->set_timer(v->retry, v->retry_ms);
	else
		v->retry = v->loop->ops->add_timer(v->loop, v->retry_ms, virt_try_again, v, NULL);
	v->retry_ms = MIN(v->retry_ms * 2, RETRY_MAX_MS);
}

/* On the loop's thread, like all callbacks. */
static void on_close(virConnectPtr conn, int reason, void *arg)
{
	struct virt *v = arg;
	struct err e = ERR_INIT;

	(void)reason;
	if (conn != v->conn)
		return; /* it was closed by us, or has not come up */
	v->conn = NULL;
	err_set(&e, ERR_UNREACHABLE, "LIBVIRT-DOWN", "the connection to libvirt ended");
	virt_close(v, conn, v->event_ids);
	virt_retry(v, &e);
}

static int ask_for_events(virConnectPtr conn, struct virt *v, int ids[VIRT_EVENTS], struct err *e)
{
	if (virConnectSetKeepAlive(conn, KEEPALIVE_S, KEEPALIVE_COUNT) < 0 ||
		virConnectRegisterCloseCallback(conn, on_close, v, NULL) < 0)
		return virt_err(e, "watch the connection");
	for (size_t i = 0; i < VIRT_EVENTS; i++) {
		ids[i] = virConnectDomainEventRegisterAny(
			conn, NULL, wanted_events[i].id, wanted_events[i].fn, v, NULL);
		if (ids[i] < 0)
			return virt_err(e, "ask for events");
	}
	return 0;
}

static int run_open(struct virt_call *call, struct err *e)
{
	memset(call->event_ids, -1, sizeof(call->event_ids));
	call->conn = virConnectOpen(call->v->uri);
	if (!call->conn)
		return virt_err(e, "connect");
	return ask_for_events(call->conn, call->v, call->event_ids, e);
}

static void virt_opened(struct virt *v, struct virt_call *call)
{
	if (call->err.kind == ERR_NONE && virConnectIsAlive(call->conn) != 1)
		err_set(&call->err, ERR_UNREACHABLE, "LIBVIRT-DOWN",
			"the connection ended at once");
	if (call->err.kind != ERR_NONE) {
		virt_close(v, call->conn, call->event_ids);
		virt_retry(v, &call->err);
		return;
	}
	v->conn = call->conn;
	memcpy(v->event_ids, call->event_ids, sizeof(v->event_ids));
	v->retry_ms = RETRY_MIN_MS;
	v->told_down = false;
	v->listener->up(v->arg);
	begin_waiting(v, NULL);
}

static void virt_connect(struct virt *v)
{
	struct err e = ERR_INIT;
	struct virt_call *call = call_new(v, run_open, CONNECT_MS, &e);

	if (call && call_start(call, &e) == 0)
		return;
	if (call) {
		call_end(call);
		call_free(call);
	}
	virt_retry(v, &e);
}

/* A call's thread is done with it. */
static void virt_finish(struct virt *v, struct virt_call *call)
{
	bool failed = call->err.kind != ERR_NONE;

	call_end(call);
	if (call->run == run_open)
		virt_opened(v, call);
	else if (call->run != run_close)
		virConnectClose(call->conn); /* one reference of several: no word is sent */
	if (call->done)
		call->done(call->arg, failed ? NULL : &call->answer, failed ? &call->err : NULL);
	call_free(call);
}

static void virt_reap(void *arg, unsigned int events)
{
	struct virt *v = arg;
	uint64_t count;

	(void)events;
	if (read(v->wake_fd, &count, sizeof(count)) < 0)
		return;
	for (;;) {
		struct virt_call *call = NULL;

		pthread_mutex_lock(&v->lock);
		if (!list_is_empty(&v->finished)) {
			call = list_entry(v->finished.next, struct virt_call, finished);
			list_remove(&call->finished);
		}
		pthread_mutex_unlock(&v->lock);
		if (!call)
			return;
		virt_finish(v, call);
	}
}

struct virt *virt_new(struct watch_loop *loop, const char *uri,
	const struct virt_listener *listener, void *arg, struct err *e)
{
	struct virt *v = calloc(1, sizeof(*v));

	if (!v || !(v->uri = strdup(uri)))
		goto no_memory;
	v->loop = loop;
	v->listener = listener;
	v->arg = arg;
	v->retry_ms = RETRY_MIN_MS;
	v->references = 1;
	pthread_mutex_init(&v->lock, NULL);
	list_init(&v->calls);
	list_init(&v->finished);
	v->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	v->wake = loop->ops->add_fd(loop, v->wake_fd, WATCH_READ, virt_reap, v, e);
	if (!v->wake || virt_events_begin(loop, e) < 0) {
		virt_free(v);
		return NULL;
	}
	virSetErrorFunc(NULL, virt_be_silent);
	virt_connect(v);
	return v;
no_memory:
	free(v);
	err_set(e, ERR_FAILED, "MEMORY", "no memory for libvirt");
	return NULL;
}

/* The loop has ended, and with it libvirt's events: the connection is left to the process's end. */
void virt_free(struct virt *v)
{
	if (!v)
		return;
	virt_events_end();
	v->loop->ops->remove(v->retry);
	v->loop->ops->remove(v->wake);
	list_for_each_safe (node, &v->calls) {
		struct virt_call *call = list_entry(node, struct virt_call, node);

		v->loop->ops->remove(call->deadline);
		call->done = NULL;
		list_remove(&call->node);
		if (call->waits)
			call_free(call);
	}
	pthread_mutex_lock(&v->lock);
	virt_unref_unlock(v);
}

bool virt_is_up(const struct virt *v)
{
	return v->conn;
}

const char *virt_uri(const struct virt *v)
{
	return v->uri;
}
