/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/dispatch.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/do.h"
#include "daemon/file_look.h"
#include "daemon/inventory.h"
#include "lib/cleanup.h"
#include "lib/fdio.h"
#include "lib/log.h"

#define SERVICE(method) VARLINK_SERVICE "." method
#define MANAGER(method) IOVD_INTERFACE "." method

const struct method dispatch_methods[] = {
	{SERVICE("GetInfo"), ROLE_READ, LOCK_NONE, .run = do_get_info},
	{SERVICE("GetInterfaceDescription"), ROLE_READ, LOCK_NONE,
		.params = &do_get_interface_params, .run = do_get_interface},

	{MANAGER("ListDevices"), ROLE_READ, LOCK_NONE, .params = &do_list_devices_params,
		.run = do_list_devices},
	{MANAGER("ListGroups"), ROLE_READ, LOCK_NONE, .run = do_list_groups},
	{MANAGER("ShowGroup"), ROLE_READ, LOCK_NONE, .params = &do_show_group_params,
		.names = "group", .run = do_show_group},
	{MANAGER("SetGroup"), ROLE_CHANGE, LOCK_JOB, .params = &do_set_group_params,
		.names = "group", .run = do_set_group},
	{MANAGER("ShowHost"), ROLE_READ, LOCK_NONE, .run = do_show_host},
	{MANAGER("Show"), ROLE_READ, LOCK_NONE, .params = &do_show_params, .names = "name",
		.run = do_show},

	{MANAGER("Explain"), ROLE_READ, LOCK_NONE, .params = &do_explain_params, .names = "device",
		.run = do_explain},
	{MANAGER("Doctor"), ROLE_READ, LOCK_NONE, .run = do_doctor},

	{MANAGER("ListAttachments"), ROLE_READ, LOCK_NONE, .params = &do_list_attachments_params,
		.run = do_list_attachments},
	{MANAGER("ListVms"), ROLE_READ, LOCK_NONE, .run = do_list_vms},
	{MANAGER("Attach"), ROLE_CHANGE, LOCK_JOB, .params = &do_attach_params, .names = "device",
		.run = do_attach},
	{MANAGER("Detach"), ROLE_CHANGE, LOCK_JOB, .params = &do_detach_params, .run = do_detach},

	{MANAGER("Hook"), ROLE_CHANGE, LOCK_NONE, .params = &do_hook_params, .run = do_hook},
	{MANAGER("Quiesce"), ROLE_CHANGE, LOCK_JOB, .params = &do_quiesce_params,
		.run = do_quiesce},
	{MANAGER("Recover"), ROLE_CHANGE, LOCK_JOB, .params = &do_recover_params,
		.run = do_recover},
	{MANAGER("Resume"), ROLE_CHANGE, LOCK_JOB, .params = &do_resume_params, .run = do_resume},
	{MANAGER("Save"), ROLE_CHANGE, LOCK_NONE, .params = &do_save_params, .run = do_save},
	{MANAGER("Stored"), ROLE_CHANGE, LOCK_NONE, .params = &do_stored_params, .run = do_stored},
	{MANAGER("Restore"), ROLE_CHANGE, LOCK_JOB, .params = &do_restore_params,
		.run = do_restore},

	{MANAGER("Migrate"), ROLE_CHANGE, LOCK_JOB, .params = &do_migrate_params,
		.run = do_migrate},
	{MANAGER("CheckMove"), ROLE_CHANGE, LOCK_JOB, .params = &do_check_move_params,
		.run = do_check_move},
	{MANAGER("Reserve"), ROLE_CHANGE, LOCK_JOB, .params = &do_reserve_params,
		.run = do_reserve},
	{MANAGER("Store"), ROLE_CHANGE, LOCK_NONE, .params = &do_store_params, .run = do_store},
	{MANAGER("Grant"), ROLE_CHANGE, LOCK_NONE, .params = &do_grant_params, .run = do_grant},
	{MANAGER("Revoke"), ROLE_CHANGE, LOCK_NONE, .params = &do_revoke_params, .run = do_revoke},
	{MANAGER("EndMove"), ROLE_CHANGE, LOCK_NONE, .params = &do_move_params, .run = do_end_move},
	{MANAGER("ShowMove"), ROLE_CHANGE, LOCK_NONE, .params = &do_move_params,
		.run = do_show_move},

	{MANAGER("Bind"), ROLE_CHANGE, LOCK_JOB, .params = &do_bind_params, .names = "device",
		.run = do_bind},
	{MANAGER("Release"), ROLE_CHANGE, LOCK_JOB, .params = &do_release_params, .names = "device",
		.run = do_release},

	{MANAGER("HandOver"), ROLE_CHANGE, LOCK_NONE, .params = &do_hand_over_params,
		.run = do_hand_over},

	{MANAGER("CreateVfs"), ROLE_CHANGE, LOCK_JOB, .params = &do_create_vfs_params,
		.names = "pf", .run = do_create_vfs},
	{MANAGER("SetVf"), ROLE_CHANGE, LOCK_JOB, .params = &do_set_vf_params, .names = "vf",
		.run = do_set_vf},

	{MANAGER("ListFaults"), ROLE_READ, LOCK_NONE, .params = &do_list_faults_params,
		.run = do_list_faults},
	{MANAGER("ListJobs"), ROLE_READ, LOCK_NONE, .run = do_list_jobs},
	{MANAGER("ShowJob"), ROLE_READ, LOCK_NONE, .params = &do_show_job_params,
		.run = do_show_job},
	{MANAGER("WaitJob"), ROLE_READ, LOCK_NONE, .params = &do_wait_job_params,
		.run = do_wait_job},
	{MANAGER("CancelJob"), ROLE_CHANGE, LOCK_NONE, .params = &do_cancel_job_params,
		.run = do_cancel_job},
	{MANAGER("Watch"), ROLE_READ, LOCK_NONE, .stream = true, .params = &do_watch_params,
		.run = do_watch},
};
const unsigned int dispatch_method_count = ARRAY_SIZE(dispatch_methods);

struct request {
	struct daemon *daemon;
	struct request_peer peer;
	const struct request_sink *ops;
	void *sink;
	const struct method *method; /* NULL until it is known */
	bool oneway;
	struct json *parameters; /* what the strings of args point into */
	void *args;
	struct json_out out;
	int fds[FDIO_MAX_FDS]; /* that go with the reply */
	unsigned int fd_count;
	void (*gone)(void *arg);
	void *gone_arg;
	bool *ended; /* for dispatch_message(), while it is on the stack */
};

/* --- the end of a request --------------------------------------------------------------------- */

void request_add_fds(struct request *rq, const int *fds, unsigned int count)
{
	assert(rq->fd_count + count <= FDIO_MAX_FDS);
	memcpy(rq->fds + rq->fd_count, fds, count * sizeof(*fds));
	rq->fd_count += count;
}

/* An error goes alone. */
static void request_drop_fds(struct request *rq)
{
	while (rq->fd_count)
		close_fd(&rq->fds[--rq->fd_count]);
}

static void request_free(struct request *rq)
{
	request_drop_fds(rq);
	json_out_release(&rq->out);
	json_free(rq->parameters);
	free(rq->args);
	free(rq);
}

/* Sends what rq->out holds as the last message, if it is wanted at all, and frees the request. */
static void request_finish(struct request *rq)
{
	auto_free char *text = NULL;
	size_t len;

	text = json_out_finish(&rq->out, &len);
	if (rq->ended)
		*rq->ended = true;
	if (rq->oneway || !text) {
		rq->ops->done(rq->sink);
	} else {
		if (rq->fd_count)
			rq->ops->take_fds(rq->sink, rq->fds, rq->fd_count);
		rq->fd_count = 0;
		rq->ops->send(rq->sink, text, len, true);
	}
	request_free(rq);
}

static void request_log(const struct request *rq, const struct err *e)
{
	log_info("uid %u pid %d: %s: %s [%s]%s%s", (unsigned int)rq->peer.uid, (int)rq->peer.pid,
		rq->method ? rq->method->name : "call", e->msg, e->code, e->evidence[0] ? ": " : "",
		e->evidence);
}

void request_fail_job(struct request *rq, const struct err *e, const char *job)
{
	request_drop_fds(rq);
	request_log(rq, e);
	json_out_release(&rq->out);
	varlink_put_error(&rq->out, e, job);
	request_finish(rq);
}

void request_fail(struct request *rq, const struct err *e)
{
	request_fail_job(rq, e, NULL);
}

void request_fail_standard(struct request *rq, const char *name, const char *parameter,
	const char *value, const struct err *e)
{
	request_log(rq, e);
	json_out_release(&rq->out);
	json_out_object(&rq->out, NULL);
	json_out_fmt(&rq->out, "error", VARLINK_SERVICE ".%s", name);
	json_out_object(&rq->out, "parameters");
	if (parameter)
		json_out_str(&rq->out, parameter, value);
	json_out_end(&rq->out);
	json_out_end(&rq->out);
	request_finish(rq);
}

struct json_out *request_begin_reply(struct request *rq)
{
	json_out_release(&rq->out);
	json_out_object(&rq->out, NULL);
	json_out_object(&rq->out, "parameters");
	return &rq->out;
}

void request_send_reply(struct request *rq)
{
	struct err e = ERR_INIT;

	if (json_out_failed(&rq->out)) {
		err_set(&e, ERR_FAILED, "REPLY-SIZE", "the reply is too large for the daemon");
		request_fail(rq, &e);
		return;
	}
	json_out_end(&rq->out);
	json_out_end(&rq->out);
	request_finish(rq);
}

void request_send_document(struct request *rq, const char *text, size_t len)
{
	json_out_release(&rq->out);
	json_out_object(&rq->out, NULL);
	json_out_raw(&rq->out, "parameters", text, len);
	json_out_end(&rq->out);
	request_finish(rq);
}

void request_stream(struct request *rq, const char *text, size_t len)
{
	auto_free char *message = NULL;
	struct json_out o;
	size_t message_len;

	json_out_init(&o);
	json_out_object(&o, NULL);
	json_out_raw(&o, "parameters", text, len);
	json_out_bool(&o, "continues", true);
	json_out_end(&o);
	message = json_out_finish(&o, &message_len);
	if (message)
		rq->ops->send(rq->sink, message, message_len, false);
	else
		log_warning("uid %u pid %d: an event was lost: no memory",
			(unsigned int)rq->peer.uid, (int)rq->peer.pid);
}

void request_on_gone(struct request *rq, void (*fn)(void *arg), void *arg)
{
	rq->gone = fn;
	rq->gone_arg = arg;
}

void request_drop(struct request *rq)
{
	if (rq->gone)
		rq->gone(rq->gone_arg);
	request_free(rq);
}

struct daemon *request_daemon(const struct request *rq)
{
	return rq->daemon;
}

uid_t request_uid(const struct request *rq)
{
	return rq->peer.uid;
}

const struct method *request_method(const struct request *rq)
{
	return rq->method;
}

/* --- the way in ------------------------------------------------------------------------------- */

static const struct method *dispatch_find(const char *name)
{
	for (unsigned int i = 0; i < dispatch_method_count; i++)
		if (strcmp(dispatch_methods[i].name, name) == 0)
			return &dispatch_methods[i];
	return NULL;
}

static int dispatch_refuse(const struct request_peer *peer, const char *method, struct err *e)
{
	err_set(e, ERR_NOT_PERMITTED, "PERMISSION", "%s is not for you", method);
	err_evidence(e, "uid %u", (unsigned int)peer->uid);
	return err_fix(e, peer->role == ROLE_NONE
				  ? "ask as root, or as a member of the group that owns the socket"
				  : "ask as root");
}

static int dispatch_read_args(struct request *rq, struct json_span text, struct err *e)
{
	static const struct json_params none = {.count = 0};
	const struct json_params *params = rq->method->params ? rq->method->params : &none;

	if (text.text) {
		rq->parameters = json_parse(text.text, text.len, e);
		if (!rq->parameters)
			return -1;
	}
	rq->args = calloc(1, MAX(params->size, 1));
	if (!rq->args)
		return err_set(e, ERR_FAILED, "MEMORY", "no memory for a call");
	return json_read_params(rq->parameters, params, rq->args, e);
}

/* A request that waits for a hand to look where a path leads. */
struct look_wait {
	struct request *rq; /* NULL: its client has gone */
};

static void look_gone(void *arg)
{
	((struct look_wait *)arg)->rq = NULL;
}

static void look_done(void *arg, const struct inventory_look *look, const struct err *e)
{
	struct look_wait *w = arg;
	struct request *rq = w->rq;
	struct inventory *inv;

	free(w);
	if (!rq)
		return;
	request_on_gone(rq, NULL, NULL);
	if (e) {
		request_fail(rq, e);
		return;
	}
	inv = rq->daemon->inventory; /* which outlives the request */
	inventory_set_look(inv, json_member_str(rq->parameters, rq->method->names), look);
	rq->method->run(rq, rq->args);
	inventory_set_look(inv, NULL, NULL);
}

static void dispatch_look(struct request *rq, const char *name)
{
	struct look_wait *w = malloc(sizeof(*w));
	struct err e = ERR_INIT;

	if (!w) {
		err_set(&e, ERR_FAILED, "MEMORY", "no memory to look at %s", name);
		request_fail(rq, &e);
		return;
	}
	w->rq = rq;
	if (file_look_begin(rq->daemon->hands, name, look_done, w, &e) < 0) {
		free(w);
		request_fail(rq, &e);
		return;
	}
	request_on_gone(rq, look_gone, w);
}

static void dispatch_run(struct request *rq)
{
	const char *name =
		rq->method->names ? json_member_str(rq->parameters, rq->method->names) : NULL;

	if (name && inventory_wants_look(name))
		dispatch_look(rq, name);
	else
		rq->method->run(rq, rq->args);
}

/* Ends the request, or hands it to its handler. */
static void dispatch_call(struct request *rq, const struct varlink_call *call)
{
	struct err e = ERR_INIT;

	rq->oneway = call->oneway;
	rq->method = dispatch_find(call->method);
	if (rq->peer.role < (rq->method ? rq->method->role : ROLE_READ)) {
		dispatch_refuse(&rq->peer, call->method, &e);
		request_fail(rq, &e);
	} else if (!rq->method) {
		err_set(&e, ERR_FAILED, "METHOD", "there is no method %s", call->method);
		request_fail_standard(rq, "MethodNotFound", "method", call->method, &e);
	} else if (call->upgrade) {
		err_set(&e, ERR_USAGE, JSON_CODE_PARAM, "no method upgrades the connection");
		request_fail_standard(rq, "InvalidParameter", "parameter", "upgrade", &e);
	} else if (rq->method->stream && !call->more) {
		err_set(&e, ERR_USAGE, "MORE", "it has many replies, and the call takes one");
		request_fail_standard(rq, "ExpectedMore", NULL, NULL, &e);
	} else if (dispatch_read_args(rq, call->parameters, &e) == 0) {
		dispatch_run(rq);
	} else if (strcmp(e.code, JSON_CODE_PARAM) == 0) {
		request_fail_standard(rq, "InvalidParameter", "parameter", e.evidence, &e);
	} else {
		request_fail(rq, &e);
	}
}

static struct request *request_new(struct daemon *d, const struct request_peer *peer,
	const struct request_sink *ops, void *sink)
{
	struct request *rq = calloc(1, sizeof(*rq));

	if (!rq)
		return NULL;
	rq->daemon = d;
	rq->peer = *peer;
	rq->ops = ops;
	rq->sink = sink;
	json_out_init(&rq->out);
	return rq;
}

struct request *dispatch_message(struct daemon *d, const struct request_peer *peer,
	const struct request_sink *ops, void *sink, const char *text, size_t len, int *broken)
{
	struct request *rq = request_new(d, peer, ops, sink);
	struct varlink_call call;
	struct err e = ERR_INIT;
	bool ended = false;

	*broken = 0;
	if (!rq) {
		*broken = -1;
		return NULL;
	}
	rq->ended = &ended;
	if (varlink_parse_call(text, len, &call, &e) < 0) {
		*broken = -1;
		request_fail(rq, &e);
		return NULL;
	}
	dispatch_call(rq, &call);
	if (ended)
		return NULL;
	rq->ended = NULL;
	return rq;
}
