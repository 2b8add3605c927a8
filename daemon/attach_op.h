/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of attach and detach share: the operation, how a stage waits, common stages. */
#pragma once

#include "daemon/attach.h"
#include "daemon/daemon.h"
#include "daemon/domains.h"

enum attach_verb {
	ATTACH_ATTACH,
	ATTACH_RENEW,
	ATTACH_DETACH,
	ATTACH_ATTACH_DOMAIN,
	ATTACH_DETACH_DOMAIN,
	ATTACH_LEAVE,
	ATTACH_JOIN,
	ATTACH_VERBS
};

/* One attach, renew or detach that goes on: the `arg` of its stages. */
struct attach_op {
	struct daemon *d;
	struct attachment *a;
	struct attach_caller caller;
	struct attach_caller next; /* of a renewal: who wants it detached afterwards; or nobody */
	struct attachment_spec joins; /* of ATTACH_JOIN: what it is to be */
	bool quarantines;             /* of ATTACH_LEAVE */
	struct stages *waits;         /* the executor, while a stage waits */
	struct watch *timer;          /* of the stage that waits */
	int listen_fd; /* paravirt: from the stage that made it to the one that gives it away */
	struct virt_call *virt_call; /* that the stage waits for */
	struct domain_watch guest;   /* ... and the guest's answer */
	enum attach_verb verb;
	bool is_standby; /* the stage is about the device's standby */
	bool undone;     /* what is still going on can only end as before it */
	bool resumed;    /* from the journal: what was before it is not known here */
};

/* The stage that waits has ended; e is NULL, or why it failed. */
void op_wake(struct attach_op *op, const struct err *e);

/*
 * The stage waits for news of the worker (NULL: for none), or for the timer (`late` NULL: there is
 * none; somebody calls op_wake()). STAGE_WAITS or -1.
 */
int op_wait(struct attach_op *op, struct stages *x, void (*on_worker)(void *arg), watch_fn *late,
	uint64_t delay_ms, struct err *e);

/* Past the point of no return, which is in the store: it is attached, or being detached. */
void op_begin_attached(struct attach_op *op);
void op_begin_detaching(struct attach_op *op);

/* Stages of every path: it is in the store, no more in the store; attached; being detached. */
stage_fn op_keep, op_unkeep, op_keep_attached, op_keep_detaching;

/* Of a libvirt domain (daemon/attach_domain.c): into and out of its definition, and the running one. */
stage_fn op_define, op_undefine, op_plug, op_unplug;
/* The same of its standby, if it has one. */
stage_fn op_define_standby, op_undefine_standby, op_plug_standby, op_unplug_standby;

/* Whether it is about taking the device back. */
bool op_takes_back(const struct attach_op *op);

/* The rows of attach_paths[]. */
extern const struct attach_path attach_paravirt, attach_passthrough, attach_emulated;
